import { describe } from 'vitest'
import { databaseContract } from '../contract/database.ts'
import { migrateContract } from '../contract/migrate.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { testPostgres } from '../support/servers.ts'

const server = testPostgres()

describe.skipIf(server === undefined)('on PostgreSQL', () => {
  const make = () => postgresTestDatabase(server!)
  databaseContract('PostgreSQL', make)
  migrateContract('PostgreSQL', make)
})
