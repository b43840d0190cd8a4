import { pgliteTestDatabase } from '../support/database.ts'
import { databaseContract } from './database.ts'

databaseContract('PGlite', pgliteTestDatabase)
