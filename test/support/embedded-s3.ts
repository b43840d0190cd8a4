/** A bucket of a test's own on an embedded S3 server of its own. */
import { createS3Store } from '../../src/storage/s3.ts'
import type { TestBucket } from '../contract/reconcile.ts'
import { accessKey, testServer } from './s3-server.ts'

export async function embeddedBucket({
  versioned = false,
  clock = Date.now,
}: {
  versioned?: boolean
  /** the server's, milliseconds since 1970 */
  clock?: () => number
} = {}): Promise<TestBucket> {
  const name = 'music'
  const server = await testServer({
    clock,
    buckets: [versioned ? { name, versioning: 'Enabled' as const } : name],
  })
  const store = createS3Store({ bucket: name, endpoint: server.url, credentials: { ...accessKey } })
  return {
    store,
    faults: server.faults,
    env: {
      S3_BUCKET_NAME: name,
      S3_ENDPOINT: server.url,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: accessKey.accessKeyId,
      AWS_SECRET_ACCESS_KEY: accessKey.secretAccessKey,
    },
    async close() {
      store.close()
      await server.close()
    },
  }
}
