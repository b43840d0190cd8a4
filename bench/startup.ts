/**
 * `npm run bench:startup`: wall milliseconds from the shell's word to the end, warm, medians of 20. With TEST_POSTGRES_URL
 * also runs with nothing to do over 10,000 rows (scale/library.ts), beside a bucket that answers out of nothing.
 */
import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import makeKnex from 'knex'
import { migrateUp } from '../src/db/migrate.ts'
import { openDatabase } from '../src/db/open.ts'
import { credentials, Judgements, median, work } from './peers.ts'
import { bucket, fillLibrary } from './scale/library.ts'

const bin = fileURLToPath(new URL('../bin/autodj.js', import.meta.url))
const judgements = new Judgements('startup')

function measure(what: string, argv: readonly string[], bar?: number, env?: Record<string, string>): void {
  const times = Array.from({ length: 22 }, () => {
    const begun = performance.now()
    execFileSync(process.execPath, argv, {
      stdio: 'ignore',
      ...(env && { env: { PATH: process.env['PATH'] ?? '', HOME: work, ...env } }),
    })
    return performance.now() - begun
  })
  // The first two fill the compile cache.
  const value = Math.round(median(times.slice(2)))
  console.log(`${what.padEnd(36)} ${value} ms`)
  judgements.add(what, value, bar === undefined ? 'none' : `< ${bar} ms`, bar === undefined || value < bar)
}

/** A library of 10,000 rows that is settled, and its bucket. */
async function withLibrary(server: string, use: (env: Record<string, string>) => void): Promise<void> {
  const name = `autodj_startup_${process.pid}`
  const url = Object.assign(new URL(server), { pathname: `/${name}` }).href
  const admin = makeKnex({ client: 'pg', connection: server, pool: { min: 0, max: 1 } })
  let objects: ChildProcess | undefined
  try {
    await admin.raw(`create database ${name}`)
    const database = await openDatabase(url, { applicationName: 'bench' })
    await migrateUp(database)
    await fillLibrary(database.knex, { rows: 10_000, settled: true })
    await database.close()
    objects = fork(path.join(import.meta.dirname, 'scale', 'bucket.ts'), ['10000'])
    const [endpoint] = (await once(objects, 'message')) as [string]
    const audio = path.join(work, 'audio')
    mkdirSync(path.join(audio, 'here'), { recursive: true })
    use({
      ...credentials,
      DATABASE_URL: url,
      S3_BUCKET_NAME: bucket,
      S3_ENDPOINT: endpoint,
      CLOUDFRONT_DOMAIN: endpoint,
      AUDIO_STORAGE_PATH: audio,
    })
  } finally {
    objects?.disconnect()
    await admin.raw(`drop database if exists ${name} with (force)`)
    await admin.destroy()
  }
}

measure('node -e 0 (the floor)', ['-e', '0'])
measure('autodj --version', [bin, '--version'], 150)
measure('autodj --help', [bin, '--help'], 150)
measure('autodj upload-local --help', [bin, 'upload-local', '--help'], 150)
const server = process.env['TEST_POSTGRES_URL'] ?? ''
if (server === '') console.log('runs with nothing to do: left out, as TEST_POSTGRES_URL is not set')
else
  await withLibrary(server, env => {
    const nothing = (command: string, ...argv: string[]) =>
      measure(`${command}, nothing to do`, [bin, ...argv, '-q'], 250, env)
    nothing('upload-local', 'upload-local')
    nothing('fetch', 'fetch')
    nothing('analyze', 'analyze')
    nothing('verify', 'verify', '--since', '1d')
    nothing('cleanup', 'cleanup')
    nothing('import', 'import')
    nothing('status', 'status')
  })
judgements.print()
