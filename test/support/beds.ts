/** Beds to run commands in: on an embedded S3 server, or on the real one that the environment names. */

import { TestBed } from './bed.ts'
import type { TestDatabase } from './database.ts'
import { createBucket } from './real-s3.ts'
import type { S3ServerOptions } from './s3-server/server.ts'
import { accessKey, type TestServer, testServer } from './s3-server.ts'
import type { TestS3 } from './servers.ts'

/** A server of the bed's own: closing the bed closes it too. */
export async function embeddedBed(
  database: TestDatabase,
  options: Partial<S3ServerOptions> = {},
): Promise<{ bed: TestBed; server: TestServer }> {
  const server = await testServer(options)
  const { url: endpoint, region } = server
  const bed = await TestBed.open(database, { endpoint, region, bucket: 'music', credentials: accessKey })
  bed.onClose(() => server.close())
  return { bed, server }
}

/** On a new bucket of the real server, which stays. */
export async function realBed(database: TestDatabase, s3: TestS3): Promise<TestBed> {
  return TestBed.open(database, { ...s3, bucket: await createBucket(s3) })
}
