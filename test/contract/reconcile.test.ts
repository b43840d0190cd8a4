import { pgliteTestDatabase } from '../support/database.ts'
import { embeddedBucket } from '../support/embedded-s3.ts'
import { reconcileContract } from './reconcile.ts'

reconcileContract('PGlite and the embedded S3 server', {
  database: pgliteTestDatabase,
  bucket: embeddedBucket,
  quick: true,
})
