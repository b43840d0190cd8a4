import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { fileIdentityContract } from './file-identity.ts'

fileIdentityContract(
  'PGlite and the embedded S3 server',
  async () => (await embeddedBed(await pgliteTestDatabase())).bed,
)
