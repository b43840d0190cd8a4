import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { workerContract } from './worker.ts'

workerContract(
  'PGlite and the embedded S3 server',
  async () => (await embeddedBed(await pgliteTestDatabase())).bed,
)
