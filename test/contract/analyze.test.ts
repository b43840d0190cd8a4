import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { analyzeContract } from './analyze.ts'

analyzeContract(
  'PGlite and the embedded S3 server',
  async () => (await embeddedBed(await pgliteTestDatabase())).bed,
)
