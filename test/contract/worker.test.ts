import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll } from 'vitest'
import { startS3Server } from '../../src/embedded/s3-server/server.ts'
import { TestBed } from '../support/bed.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { workerContract } from './worker.ts'

const closing: (() => Promise<unknown>)[] = []
afterAll(() => Promise.all(closing.map(close => close())))

workerContract('PGlite and the embedded S3 server', async () => {
  const dir = await mkdtemp(path.join(tmpdir(), 'autodj-s3-'))
  const credentials = { accessKeyId: 'TESTKEY', secretAccessKey: 'testsecret' }
  const server = await startS3Server({ dir, credentials: [credentials], buckets: ['test-bucket'] })
  closing.push(async () => {
    await server.close()
    await rm(dir, { recursive: true, force: true })
  })
  const { url: endpoint, region } = server
  return TestBed.open(await pgliteTestDatabase(), { endpoint, region, bucket: 'test-bucket', credentials })
})
