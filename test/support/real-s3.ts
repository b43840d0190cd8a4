/** A bucket of a test's own on the S3 server that the environment names (see `testS3`). */
import { randomUUID } from 'node:crypto'
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  PutBucketVersioningCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { createS3Store } from '../../src/storage/s3.ts'
import type { TestBucket } from '../contract/reconcile.ts'
import type { TestS3 } from './servers.ts'

/** @returns the name of the new bucket */
export async function createBucket(s3: TestS3): Promise<string> {
  const bucket = `autodj-test-${randomUUID().slice(0, 12)}`
  const client = new S3Client({ ...s3, forcePathStyle: true })
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
  return bucket
}

export async function realBucket(s3: TestS3, { versioned = false } = {}): Promise<TestBucket> {
  const { endpoint, region, credentials } = s3
  const bucket = await createBucket(s3)
  const admin = new S3Client({ ...s3, forcePathStyle: true })
  if (versioned) {
    await admin.send(
      new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: 'Enabled' } }),
    )
  }
  const store = createS3Store({ bucket, endpoint, credentials: { ...credentials } })
  return {
    store,
    env: {
      S3_BUCKET_NAME: bucket,
      S3_ENDPOINT: endpoint,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    },
    async close() {
      for await (const page of store.listVersions()) {
        await store.delete(page.map(({ key, versionId }) => (versioned ? { key, versionId } : { key })))
      }
      store.close()
      await admin.send(new DeleteBucketCommand({ Bucket: bucket }))
      admin.destroy()
    },
  }
}
