import { describe } from 'vitest'
import { databaseContract } from '../contract/database.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { testPostgres } from '../support/servers.ts'

const server = testPostgres()

describe.skipIf(server === undefined)('on PostgreSQL', () => {
  databaseContract('PostgreSQL', () => postgresTestDatabase(server!))
})
