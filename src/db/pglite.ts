import { readdir, realpath } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { PGlite, types } from '@electric-sql/pglite'
import type { Knex } from 'knex'
import PgliteClient from 'knex-pglite'
import pgUtils from 'pg/lib/utils.js'
import { LockedError, systemErrorCode, systemErrorReason, toError, UsageError } from '../errors.ts'
import { compileBetterLate, keepWasmCode } from '../heap.ts'
import { requireOpenFiles } from '../open-files.ts'
import type { Database, OpenOptions } from './database.ts'
import {
  type ClientClass,
  classified,
  makeKnex,
  PostgresDialect,
  type QueryObject,
  type RawConnection,
} from './dialects.ts'
import { unusable } from './errors.ts'
import { acquireLockFile, type LockFile } from './lock-file.ts'

/**
 * Knex on PGlite, made to answer as PostgreSQL does. knex-pglite puts Knex's method name in the place of the command
 * that PGlite reports, so that `del()` is not taken for a DELETE and gives the whole response, and a `select` has a
 * row count of 0: responses go through Knex's own dialect instead. Several statements in one `raw` without bindings
 * work, as they do with node-postgres.
 */
class PgliteDialect extends classified(PgliteClient as unknown as ClientClass) {
  override async _query(
    connection: RawConnection & Pick<PGlite, 'exec'>,
    query: QueryObject,
  ): Promise<QueryObject> {
    if (query.method === 'raw' && (query.bindings ?? []).length === 0) {
      try {
        const results = await connection.exec(query.sql, query.options)
        query.response = results.length === 1 ? results[0] : (results as never)
        return query
      } catch (error) {
        query.driverMessage = toError(error).message
        throw error
      }
    }
    // By itself PGlite makes arrays of the types it knows only, which an enum is not.
    query.bindings = (query.bindings ?? []).map(value => pgUtils.prepareValue(value))
    return super._query(connection, query)
  }

  override processResponse(query: QueryObject, runner: unknown): unknown {
    return PostgresDialect.prototype.processResponse.call(this, query, runner)
  }
}

/**
 * PGlite's own 128 MB are cleared at each opening, which takes longer than many a command's work. 100,000 tracks are
 * read, written and looked up as fast with an eighth of it: the system keeps the files in memory as well.
 */
const sharedBuffers = '16MB'

/** Opens the folder as the one process that may; see `openDatabase`. */
export async function openPglite(folder: string, options: OpenOptions): Promise<Database> {
  // Without them it says that files exist which do not.
  requireOpenFiles(256, 'the embedded database')
  // PGlite follows no link to it.
  const dataDir = await realpath(folder).catch(() => resolve(folder))
  const where = `pglite:${folder}`
  await refuseForeign(dataDir, where)
  const release = await lockFolder(dataDir, folder, options.applicationName)
  let pglite: PGlite | undefined
  try {
    keepWasmCode()
    pglite = new PGlite({
      dataDir,
      startParams: [...PGlite.defaultStartParams, '-c', `shared_buffers=${sharedBuffers}`],
      // As node-postgres has them: 64-bit integers are strings, bytea is a Buffer.
      parsers: {
        [types.INT8]: (text: string) => text,
        [types.BYTEA]: (text: string) => Buffer.from(text.slice(2), 'hex'),
      },
    })
    await compileBetterLate(pglite.waitReady)
    if (options.readOnly) await pglite.exec('set default_transaction_read_only = on')
  } catch (error) {
    await pglite?.close().catch(() => undefined)
    await release()
    throw unusable(error, where)
  }
  const opened = pglite
  const instance = makeKnex({
    client: PgliteDialect,
    where,
    // As a function, or Knex would copy the instance property by property.
    connection: () => ({ pglite: opened }) as Knex.StaticConnectionConfig,
  })
  return {
    knex: instance,
    dialect: 'pglite',
    where,
    async close() {
      try {
        await instance.destroy()
        if (!opened.closed) await opened.close()
      } finally {
        await release()
      }
    },
  }
}

/** Within the folder: whoever comes to it by another way (a link, another mount, a container) meets it, too. */
const lockWithin = 'autodj.lock'

/** @returns how to give it up @throws LockedError */
async function lockFolder(dataDir: string, folder: string, command: string): Promise<() => Promise<void>> {
  const held: LockFile[] = []
  const release = async (): Promise<void> => {
    for (const lock of held.splice(0).reverse()) await lock.release()
  }
  try {
    for (const path of [`${dataDir}.lock`, join(dataDir, lockWithin)])
      held.push(await acquireLockFile(path, command))
  } catch (error) {
    await release()
    if (!(error instanceof LockedError) || error.code !== 'locked') throw error
    throw new LockedError(`the embedded database ${folder} is ${error.message}`, {
      cure: `${error.cure} PostgreSQL takes any number of commands at a time.`,
      details: error.details,
      cause: error,
    })
  }
  return release
}

const cure = 'Name a new folder in DATABASE_URL (example: pglite:.autodj/db).'

/**
 * A database is made in a new or empty folder only, not among files of someone else.
 *
 * @throws UsageError
 */
async function refuseForeign(dataDir: string, where: string): Promise<void> {
  const isOfDatabase = (name: string): boolean => /^(pg_.*|PG_VERSION|base|global|postgresql\..*)$/.test(name)
  const found = await readdir(dataDir).catch((error: unknown) => {
    const code = systemErrorCode(error)
    if (code === 'ENOENT') return []
    const cause =
      code === 'ENOTDIR'
        ? 'it is a file, not a folder'
        : `its folder cannot be read: ${systemErrorReason(error)}`
    throw new UsageError(`the database cannot be opened (${where}): ${cause}`, { code: 'db.folder', cure })
  })
  const names = found.filter(name => !name.startsWith(lockWithin))
  if (names.length > 0 && !names.some(isOfDatabase)) {
    throw new UsageError(`the database cannot be opened (${where}): the folder holds other files`, {
      code: 'db.folder',
      cure,
    })
  }
}
