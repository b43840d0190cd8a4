import { pgliteTestDatabase } from '../support/database.ts'
import { migrateContract } from './migrate.ts'

migrateContract('PGlite', pgliteTestDatabase)
