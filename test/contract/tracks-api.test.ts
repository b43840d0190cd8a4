import { describe } from 'vitest'
import { pgliteTestDatabase } from '../support/database.ts'
import { tracksApiContract } from './tracks-api.ts'

describe('tracks API on PGlite', () => tracksApiContract(pgliteTestDatabase))
