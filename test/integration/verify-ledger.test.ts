import { describe } from 'vitest'
import { verifyLedgerContract } from '../contract/verify-ledger.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { testPostgres } from '../support/servers.ts'

const server = testPostgres()

describe.skipIf(server === undefined)('PostgreSQL', () =>
  verifyLedgerContract(() => postgresTestDatabase(server!)),
)
