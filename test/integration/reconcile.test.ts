import { describe } from 'vitest'
import { reconcileContract } from '../contract/reconcile.ts'
import { pgliteTestDatabase, postgresTestDatabase } from '../support/database.ts'
import { realBucket, testS3 } from '../support/real-s3.ts'
import { testPostgres } from '../support/servers.ts'

const postgres = testPostgres()
const endpoint = testS3()

describe.skipIf(endpoint === undefined)('on a real S3 server', () => {
  const bucket = (options?: { versioned?: boolean }) => realBucket(endpoint!, options)
  reconcileContract('PGlite', { database: pgliteTestDatabase, bucket })
  if (postgres !== undefined) {
    reconcileContract('PostgreSQL', { database: () => postgresTestDatabase(postgres), bucket })
  }
})
