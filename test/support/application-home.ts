import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Revision } from '../../src/core/migrate/application-schema.ts'
import type { Database } from '../../src/db/database.ts'
import { loadDump } from './alembic.ts'
import { runInChild } from './cli-run.ts'
import { postgresTestDatabase } from './database.ts'
import { embeddedBucket } from './embedded-s3.ts'
import { temporaryFolder } from './temporary-folder.ts'

/** The application's own folder with its settings, its database at one revision, and a bucket. */
interface ApplicationHome extends AsyncDisposable {
  folder: string
  /** What its `.env` holds. */
  settings: Readonly<Record<string, string>>
  db: Database
  bucket: Awaited<ReturnType<typeof embeddedBucket>>
  /** Runs autodj in the folder, with nothing in the environment but `PATH` and `HOME`; `killAt` as in `runInChild`. */
  run(argv: string[], killAt?: number): ReturnType<typeof runInChild>
}

/** A home in the application's default set-up: `.env` with the keys its validator knows, `autodj.env` for the rest. */
export async function applicationHome(server: string, revision: Revision): Promise<ApplicationHome> {
  await using made = new AsyncDisposableStack()
  const folder = temporaryFolder('application')
  made.defer(() => rm(folder, { recursive: true, force: true }))
  const bucket = await embeddedBucket()
  made.defer(() => bucket.close())
  const database = await postgresTestDatabase(server)
  made.defer(() => database.drop())
  const db = await database.open()
  made.defer(() => db.close())
  await loadDump(db.knex, revision)
  const { S3_ENDPOINT, ...known } = bucket.env as Record<string, string>
  const settings = { ...known, DATABASE_URL: database.url, SECRET_KEY: 'x', REDIS_URL: 'redis://x' }
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`)
  await writeFile(path.join(folder, '.env'), lines.join(''), { mode: 0o600 })
  await writeFile(path.join(folder, 'autodj.env'), `S3_ENDPOINT=${S3_ENDPOINT}\n`, { mode: 0o600 })
  const resources = made.move()
  return {
    folder,
    settings,
    db,
    bucket,
    run: (argv, killAt) =>
      runInChild({
        argv,
        env: { PATH: process.env['PATH'] ?? '', HOME: folder },
        cwd: folder,
        killAt,
      }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}
