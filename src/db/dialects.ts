import knex, { type Knex } from 'knex'
import PostgresClient from 'knex/lib/dialects/postgres/index.js'
import { toError } from '../errors.ts'
import { classifyDbError } from './errors.ts'

/** Set on a connection, it makes Knex's pool throw that connection away instead of handing it out again. */
export interface RawConnection {
  __knex__disposed?: unknown
}

export interface QueryObject {
  sql: string
  bindings?: unknown[]
  method?: string
  /** what the driver is told besides */
  options?: { rowMode?: 'array' }
  response?: { command?: string }
  driverMessage?: string
}

/** Knex's own logger would write to the console. Whatever matters is thrown. */
const silent = { warn() {}, error() {}, deprecate() {}, debug() {} }

/** How long a task waits for a free connection, in ms. */
const acquireTimeoutMs = 60_000

interface DialectConfig extends Omit<Knex.Config, 'client'> {
  client: ClientClass
  /** The database as messages may show it. */
  where: string
}

/** Knex with the settings that both dialects share. Bound values never get into a message. */
export function makeKnex(config: DialectConfig): Knex {
  return knex({
    log: silent,
    compileSqlOnError: false,
    acquireConnectionTimeout: acquireTimeoutMs,
    ...config,
  } as unknown as Knex.Config)
}

export type ClientClass = new (
  // biome-ignore lint/suspicious/noExplicitAny: what TypeScript wants of a mixin's base
  ...args: any[]
) => Knex.Client & {
  _query(connection: RawConnection, query: QueryObject): Promise<QueryObject>
  processResponse(query: QueryObject, runner: unknown): unknown
}

/**
 * What both dialects share: every failure leaves as a classified error, and without the SQL that Knex puts in
 * front of the driver's message.
 */
export function classified(Base: ClientClass): ClientClass {
  return class extends Base {
    override async _query(connection: RawConnection, query: QueryObject): Promise<QueryObject> {
      try {
        return await super._query(connection, query)
      } catch (thrown) {
        const error = toError(thrown)
        query.driverMessage = error.message
        // The driver gave up waiting, the server may still be answering: that connection is of no more use.
        if (error.message === 'Query read timeout') connection.__knex__disposed = error
        throw error
      }
    }

    override query(connection: RawConnection, param: string | QueryObject): Promise<unknown> {
      const query = typeof param === 'string' ? { sql: param } : param
      return super.query(connection, query).catch((thrown: unknown) => {
        const error = toError(thrown)
        if (query.driverMessage !== undefined) error.message = query.driverMessage
        throw classifyDbError(error, (this.config as unknown as DialectConfig).where) ?? error
      })
    }

    override async acquireConnection(): Promise<unknown> {
      try {
        return await super.acquireConnection()
      } catch (error) {
        throw classifyDbError(error, (this.config as unknown as DialectConfig).where) ?? error
      }
    }
  }
}

/** Knex on a PostgreSQL server. */
export const PostgresDialect = classified(PostgresClient as unknown as ClientClass)
