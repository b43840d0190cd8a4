import { randomUUID } from 'node:crypto'
import { cpSync } from 'node:fs'
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import knex from 'knex'
import type { Database } from '../../src/db/database.ts'
import { migrateUp } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { temporaryFolder } from './temporary-folder.ts'

/**
 * A PGlite folder as initdb leaves it, made once for a version of PGlite and then copied: a copy opens in a tenth of
 * the time that making one takes. It lacks the two databases that PostgreSQL makes others from and nobody opens: two
 * thirds of its files, and most of the time of a copy.
 */
async function template(): Promise<string> {
  const main = createRequire(import.meta.url).resolve('@electric-sql/pglite')
  const { version } = JSON.parse(await readFile(join(dirname(main), '..', 'package.json'), 'utf8')) as {
    version: string
  }
  const cache = join(import.meta.dirname, '../../node_modules/.cache/autodj-test')
  const path = join(cache, `pglite-${version}-alone`)
  if (await stat(path).catch(() => undefined)) return path
  await mkdir(cache, { recursive: true })
  const draft = `${path}.${randomUUID()}`
  const pglite = new PGlite(draft)
  await pglite.exec("update pg_database set datistemplate = false where datname like 'template_'")
  await pglite.exec('drop database template0')
  await pglite.exec('drop database template1')
  await pglite.close()
  try {
    await rename(draft, path)
  } catch {
    await rm(draft, { recursive: true }) // another test file was faster
  }
  return path
}

export interface TestDatabase {
  url: string
  /** Opens it; whoever opens closes. */
  open(options?: { readOnly?: boolean; applicationName?: string; poolSize?: number }): Promise<Database>
  /** Opens it for as long as `work` lasts. */
  use<T>(work: (database: Database) => Promise<T>): Promise<T>
  /** Another with the same in it. Close it first. */
  copy(): Promise<TestDatabase>
  /** Removes it. Close it first. */
  drop(): Promise<void>
}

/** The same database, with the schema in it. */
export async function migrated(database: TestDatabase): Promise<TestDatabase> {
  await database.use(migrateUp)
  return database
}

function opening(url: string): Pick<TestDatabase, 'url' | 'open' | 'use'> {
  const open: TestDatabase['open'] = options =>
    openDatabase(url, { applicationName: 'autodj test', ...options })
  return {
    url,
    open,
    async use(work) {
      const database = await open()
      try {
        return await work(database)
      } finally {
        await database.close()
      }
    },
  }
}

/** An empty embedded database of one's own. */
export async function pgliteTestDatabase(): Promise<TestDatabase> {
  return pgliteCopy(await template())
}

async function pgliteCopy(of: string): Promise<TestDatabase> {
  const folder = temporaryFolder('db')
  // Hundreds of small files: one after the other through libuv's pool they take ten times the time.
  cpSync(of, join(folder, 'db'), { recursive: true })
  const url = `pglite:${join(folder, 'db')}`
  return {
    ...opening(url),
    copy: () => pgliteCopy(join(folder, 'db')),
    drop: () => rm(folder, { recursive: true, force: true }),
  }
}

/** An empty database of one's own on the server at `serverUrl`. */
export async function postgresTestDatabase(serverUrl: string): Promise<TestDatabase> {
  return postgresCopy(serverUrl, 'template1')
}

async function postgresCopy(serverUrl: string, of: string): Promise<TestDatabase> {
  const name = `autodj_test_${randomUUID().replaceAll('-', '').slice(0, 16)}`
  const admin = async (sql: string): Promise<void> => {
    const server = knex({ client: 'pg', connection: serverUrl, pool: { min: 0, max: 1 } })
    try {
      await server.raw(sql)
    } finally {
      await server.destroy()
    }
  }
  await admin(`create database ${name} template ${of}`)
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return {
    ...opening(url.href),
    copy: () => postgresCopy(serverUrl, name),
    drop: () => admin(`drop database ${name} with (force)`),
  }
}

/** What a trigger does with rows of `tracks` while `work` runs. @param when which rows; default: all */
export async function withTrigger<T>(
  { knex }: Pick<Database, 'knex'>,
  { body, on = 'update', when = 'true' }: { body: string; on?: string; when?: string },
  work: () => Promise<T>,
): Promise<T> {
  await knex.raw(
    `create function public.meddle() returns trigger language plpgsql as $$ begin ${body} end $$`,
  )
  try {
    await knex.raw(
      `create trigger meddle before ${on} on public.tracks for each row
       when (${when}) execute function public.meddle()`,
    )
    return await work()
  } finally {
    await knex.raw('drop function public.meddle() cascade')
  }
}
