import { describe } from 'vitest'
import { pgliteTestDatabase } from '../support/database.ts'
import { verifyLedgerContract } from './verify-ledger.ts'

describe('PGlite', () => verifyLedgerContract(pgliteTestDatabase))
