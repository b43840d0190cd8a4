import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { trackRunsContract } from './track-runs.ts'

trackRunsContract(
  'PGlite and the embedded S3 server',
  async () => (await embeddedBed(await pgliteTestDatabase())).bed,
  { locking: false },
)
