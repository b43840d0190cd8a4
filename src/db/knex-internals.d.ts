/** Knex has no `exports` map and types only its root; the dialect's class is what a dialect of one's own extends. */
declare module 'knex/lib/dialects/postgres/index.js' {
  import type { Knex } from 'knex'

  const PostgresClient: typeof Knex.Client
  export default PostgresClient
}

/** Exported by node-postgres' `./lib/*`, but not typed. */
declare module 'pg/lib/utils.js' {
  const utils: { prepareValue(value: unknown): unknown }
  export default utils
}
