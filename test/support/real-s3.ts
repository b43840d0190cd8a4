/** A bucket of a test's own on the S3 server that TEST_S3_ENDPOINT, TEST_S3_ACCESS_KEY and TEST_S3_SECRET_KEY name. */
import { randomUUID } from 'node:crypto'
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  PutBucketVersioningCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { createS3Store } from '../../src/storage/s3.ts'
import type { TestBucket } from '../contract/reconcile.ts'

/** Endpoint of the server, or undefined, said aloud: then the tests that want one are skipped. */
export function testS3(): string | undefined {
  const endpoint = process.env['TEST_S3_ENDPOINT']
  if (!endpoint) console.warn('TEST_S3_ENDPOINT is not set: tests on a real S3 server are skipped')
  return endpoint || undefined
}

export async function realBucket(endpoint: string, { versioned = false } = {}): Promise<TestBucket> {
  const credentials = {
    accessKeyId: process.env['TEST_S3_ACCESS_KEY'] ?? '',
    secretAccessKey: process.env['TEST_S3_SECRET_KEY'] ?? '',
  }
  const bucket = `autodj-test-${randomUUID().slice(0, 12)}`
  const admin = new S3Client({ endpoint, region: 'us-east-1', credentials, forcePathStyle: true })
  await admin.send(new CreateBucketCommand({ Bucket: bucket }))
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
      AWS_REGION: 'us-east-1',
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
