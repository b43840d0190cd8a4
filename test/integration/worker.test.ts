import { randomUUID } from 'node:crypto'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { describe, test } from 'vitest'
import { workerContract } from '../contract/worker.ts'
import { TestBed } from '../support/bed.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { testPostgres, testS3 } from '../support/servers.ts'

const [postgres, s3] = [testPostgres(), testS3()]

if (postgres && s3) {
  workerContract('PostgreSQL and a real S3 server', async () => {
    const bucket = `worker-${randomUUID().slice(0, 8)}`
    const client = new S3Client({ ...s3, forcePathStyle: true })
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    client.destroy()
    return TestBed.open(await postgresTestDatabase(postgres), { ...s3, bucket })
  })
} else {
  describe.skip('worker on PostgreSQL and a real S3 server', () => test('is skipped', () => {}))
}
