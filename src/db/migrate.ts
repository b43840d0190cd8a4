import type { Knex } from 'knex'
import * as application from '../../migrations/0001_application.ts'
import * as ledger from '../../migrations/0002_ledger.ts'
import type { Database } from './open.ts'

/**
 * The migrations in order. Listed by hand under names without extension: Knex stores the names, and a scan of the
 * folder would find .ts in one place and .js in another, which it calls a corrupt directory.
 */
const MIGRATIONS: readonly { name: string; migration: Knex.Migration }[] = [
  { name: '0001_application', migration: application },
  { name: '0002_ledger', migration: ledger },
]

const KNEX_CONFIG: Knex.MigratorConfig = {
  tableName: 'knex_migrations',
  schemaName: 'autodj',
  migrationSource: {
    getMigrations: async () => MIGRATIONS.map(({ name }) => name),
    getMigrationName: (name: string) => name,
    getMigration: async (name: string) => {
      const found = MIGRATIONS.find(each => each.name === name)
      if (found === undefined) throw new Error(`no migration ${name}`)
      return found.migration
    },
  },
}

/** Brings the database to the newest schema, in one transaction. Gives the migrations that were applied. */
export async function migrateUp(db: Database): Promise<{ applied: string[] }> {
  return db.knex.transaction(async trx => {
    // 0x6175746f646a is "autodj". Held to the end of the transaction, so PgBouncer does not matter.
    await trx.raw('select pg_advisory_xact_lock(107152678061162)')
    await trx.raw('create schema if not exists autodj')
    const [, applied] = (await trx.migrate.latest(KNEX_CONFIG)) as [number, string[]]
    return { applied }
  })
}
