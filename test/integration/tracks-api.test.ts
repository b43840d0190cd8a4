import { describe } from 'vitest'
import { tracksApiContract } from '../contract/tracks-api.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { testPostgres } from '../support/servers.ts'

const server = testPostgres()
describe.skipIf(server === undefined)('tracks API on PostgreSQL', () =>
  tracksApiContract(() => postgresTestDatabase(server as string)),
)
