import type { Knex } from 'knex'

export interface Database {
  readonly knex: Knex
  readonly dialect: 'postgres' | 'pglite'
  /** The database as it may be shown: no password. */
  readonly where: string
  close(): Promise<void>
}

export interface OpenOptions {
  /** Shown in `pg_stat_activity` and in the lock file: `autodj upload-local`. */
  applicationName: string
  /** The session refuses every write. Default false. */
  readOnly?: boolean
  /** Connections at most; PGlite has one in any case. Default 8. */
  poolSize?: number
}
