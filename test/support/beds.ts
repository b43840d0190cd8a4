/** Beds to run commands in: on embedded parts, and on real servers. */
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll } from 'vitest'
import { startS3Server } from '../../src/embedded/s3-server/server.ts'
import { TestBed } from './bed.ts'
import { pgliteTestDatabase, postgresTestDatabase } from './database.ts'
import type { TestS3 } from './servers.ts'

/** PGlite and the embedded S3 server, which ends with the test file. Call it where tests are defined. */
export function embeddedBeds(): () => Promise<TestBed> {
  const closing: (() => Promise<unknown>)[] = []
  afterAll(() => Promise.all(closing.map(close => close())))
  return async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'autodj-s3-'))
    const credentials = { accessKeyId: 'TESTKEY', secretAccessKey: 'testsecret' }
    const server = await startS3Server({ dir, credentials: [credentials], buckets: ['test-bucket'] })
    closing.push(async () => {
      await server.close()
      await rm(dir, { recursive: true, force: true })
    })
    const { url: endpoint, region } = server
    return TestBed.open(await pgliteTestDatabase(), { endpoint, region, bucket: 'test-bucket', credentials })
  }
}

/** A database and a bucket of its own on real servers. */
export async function realBed(postgres: string, s3: TestS3): Promise<TestBed> {
  const bucket = `bed-${randomUUID().slice(0, 12)}`
  const client = new S3Client({ ...s3, forcePathStyle: true })
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
  return TestBed.open(await postgresTestDatabase(postgres), { ...s3, bucket })
}
