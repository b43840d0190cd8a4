import { describe } from 'vitest'
import { reconcileContract } from '../contract/reconcile.ts'
import { pgliteTestDatabase, postgresTestDatabase } from '../support/database.ts'
import { realBucket } from '../support/real-s3.ts'
import { testPostgres, testS3 } from '../support/servers.ts'

const postgres = testPostgres()
const s3 = testS3()

describe.skipIf(s3 === undefined)('on a real S3 server', () => {
  const bucket = (options?: { versioned?: boolean }) => realBucket(s3!, options)
  reconcileContract('PGlite', { database: pgliteTestDatabase, bucket })
  if (postgres !== undefined) {
    reconcileContract('PostgreSQL', { database: () => postgresTestDatabase(postgres), bucket })
  }
})
