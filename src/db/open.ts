import type { Knex } from 'knex'
import { type DatabaseUrl, parseDatabaseUrl } from '../core/database-url.ts'
import { toError, UsageError } from '../errors.ts'
import type { Database, OpenOptions } from './database.ts'
import { makeKnex, PostgresDialect } from './dialects.ts'
import { classifyDbError, unusable } from './errors.ts'
import { readLibpq } from './libpq.ts'

/** How long a connection may take to come up, in ms. */
const connectTimeoutMs = 10_000
/** How long a statement may run, and a transaction lie idle, before the server ends it, in ms. */
const statementTimeoutMs = 300_000
const idleInTransactionTimeoutMs = 120_000
/** How long a statement may wait for what another transaction has locked, ms. Rows are not waited for: see locked-rows.ts. */
const lockTimeoutMs = 30_000

/**
 * Opens the database: `postgresql://…` or `pglite:DIR` (made when missing; held by lock files beside it and
 * in it, `DIR.lock` and `DIR/autodj.lock`, for as long as it is open). The connection is tried at once.
 *
 * @throws UsageError for another kind of URL; LockedError when another process holds the folder; TemporaryError or
 *   FatalError, with cause and cure, when it cannot be reached or does not let us in
 */
export async function openDatabase(url: string, options: OpenOptions): Promise<Database> {
  const parsed = parseDatabaseUrl(url)
  if (parsed.kind === 'postgres') return openPostgres(parsed, options)
  if (parsed.kind === 'pglite') {
    const { openPglite } = await import('./pglite.ts')
    return openPglite(parsed.folder, options)
  }
  throw new UsageError(`DATABASE_URL ${parsed.problem}`, {
    cure: 'Write it like postgresql://user:password@host:5432/autodj or pglite:.autodj/db.',
  })
}

async function openPostgres(
  { url, options: own, where }: Extract<DatabaseUrl, { kind: 'postgres' }>,
  options: OpenOptions,
): Promise<Database> {
  const settings = [
    `-c statement_timeout=${statementTimeoutMs}`,
    `-c idle_in_transaction_session_timeout=${idleInTransactionTimeoutMs}`,
    `-c lock_timeout=${lockTimeoutMs}`,
    // Between two pages of rows a bucket may be listed for an hour.
    '-c idle_session_timeout=0',
    ...(own === undefined ? [] : [own]),
    ...(options.readOnly ? ['-c default_transaction_read_only=on'] : []),
  ].join(' ')
  const libpq = readLibpq(url)
  let { ssl } = libpq
  const open = (sessionSettings: string | undefined): Knex =>
    makeKnex({
      client: PostgresDialect,
      // The oldest that is supported: what Knex asks each server for tells apart those before 9.2.
      version: '15',
      where,
      pool: { min: 0, max: options.poolSize ?? 8, idleTimeoutMillis: 30_000 },
      connection: {
        connectionString: libpq.url,
        ...(ssl === undefined ? {} : { ssl }),
        application_name: options.applicationName,
        options: sessionSettings,
        connectionTimeoutMillis: connectTimeoutMs,
        // The server's own timeout comes first; this one is for a server that no longer answers.
        query_timeout: statementTimeoutMs + 30_000,
        keepAlive: true,
        keepAliveInitialDelayMillis: 10_000,
      } as Knex.PgConnectionConfig,
    })

  let instance = open(settings)
  try {
    try {
      await probe(instance, where)
    } catch (error) {
      if (!libpq.mayBePlain || !/does not support SSL/i.test(toError(error).message)) throw error
      await instance.destroy()
      ssl = false
      instance = open(settings)
      await probe(instance, where)
    }
  } catch (error) {
    await instance.destroy()
    // PgBouncer refuses session settings at start-up, and to SET them would leak them to its other clients.
    if (!/unsupported startup parameter/i.test(toError(error).message)) throw error
    instance = open(own)
    await probe(instance, where).catch(async (again: unknown) => {
      await instance.destroy()
      throw again
    })
  }
  return { knex: instance, dialect: 'postgres', where, close: () => instance.destroy() }
}

async function probe(instance: Knex, where: string): Promise<void> {
  try {
    await instance.raw('select 1')
  } catch (error) {
    throw classifyDbError(error, where) ?? unusable(error, where)
  }
}
