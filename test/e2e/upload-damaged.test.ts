/** Stores that compute no checksums: what is uploaded is read back, and what arrived damaged is sent again, not kept. */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ObjectStore } from '../../src/storage/store.ts'
import { fakeAudio } from '../support/bed.ts'
import { cli } from '../support/cli.ts'
import { type TestServer, testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** A store that takes no notice of checksums and tells none (moto, Ceph RGW 16, rclone). */
const careless = {
  ignore: [
    'x-amz-checksum-crc32',
    'x-amz-checksum-sha256',
    'x-amz-checksum-mode',
    'x-amz-checksum-algorithm',
  ],
  withhold: ['x-amz-checksum-crc32', 'x-amz-checksum-crc64nvme', 'x-amz-checksum-type', 'ChecksumCRC32'],
}
const small = fakeAudio(70_000, 1)
const large = fakeAudio(17 * 1024 * 1024, 2)

let dir: string
let s3: TestServer
let store: ObjectStore
let env: Record<string, string>

beforeEach(async () => {
  dir = temporaryFolder('damaged')
  await mkdir(path.join(dir, 'audio'))
  s3 = await testServer({ defaultChecksum: 'none' })
  store = s3.open()
  env = {
    ...s3.settings,
    DATABASE_URL: 'pglite:db',
  }
  await writeFile(path.join(dir, 'audio', 'small.flac'), small)
  await writeFile(path.join(dir, 'audio', 'large.flac'), large)
  for (const command of ['migrate', 'import'])
    expect((await cli([command], { cwd: dir, env })).exitCode).toBe(0)
})
afterEach(async () => {
  store.close()
  await s3.close()
})

async function contents(prefix: string): Promise<Buffer[]> {
  const all: Buffer[] = []
  for await (const page of store.list({ prefix })) {
    for (const { key } of page) all.push(Buffer.concat(await Array.fromAsync((await store.get(key))!.body)))
  }
  return all.sort((a, b) => a.length - b.length)
}

test('each is read back and compared, and the summary says so', async () => {
  s3.faults.add({ fault: careless })
  const { exitCode, messages } = await cli(['upload-local', '--json'], { cwd: dir, env })
  const summary = messages.find(message => message['message_type'] === 'summary')
  expect(exitCode).toBe(0)
  expect(summary).toMatchObject({ confirmed: 0, read_back: 2, bytes_read_back: small.length + large.length })
  await writeFile(path.join(dir, 'audio', 'more.flac'), fakeAudio(1000, 3))
  await cli(['import'], { cwd: dir, env })
  const planned = await cli(['upload-local', '--dry-run'], { cwd: dir, env })
  expect(planned.stdout + planned.stderr).toContain(
    'This store does not report checksums: each file is read back',
  )
})

test('damaged on its way: sent again, small and in parts; nothing damaged stays', async () => {
  s3.faults.add({ match: { operation: 'PutObject' }, times: 1, fault: { ...careless, corruptBody: true } })
  s3.faults.add({ match: { operation: 'UploadPart' }, times: 1, fault: { ...careless, corruptBody: true } })
  s3.faults.add({ fault: careless })
  const { exitCode, stderr } = await cli(['upload-local'], { cwd: dir, env })
  expect([exitCode, stderr]).toEqual([0, expect.not.stringContaining('conflict')])
  const stored = await contents('audio/')
  expect(stored.map(body => [small, large].some(file => file.equals(body)))).toEqual([true, true])
})

test('left damaged by a run that was killed: moved aside and sent again, no conflict for ever', async () => {
  s3.faults.add({ fault: careless })
  expect((await cli(['upload-local'], { cwd: dir, env })).exitCode).toBe(0)
  const [page] = await Array.fromAsync(store.list({ prefix: 'audio/' }))
  const { key } = page!.find(({ size }) => size === small.length)!
  const head = await store.head(key)
  const damaged = Buffer.from(small)
  damaged[1000] = damaged[1000]! ^ 1
  await store.put(key, damaged, {
    headers: { contentType: 'audio/flac', metadata: head!.metadata },
    checksums: {},
  })
  await rm(path.join(dir, 'db'), { recursive: true })
  for (const command of ['migrate', 'import', 'upload-local']) {
    const { exitCode, stderr } = await cli([command], { cwd: dir, env })
    expect([command, exitCode, stderr]).toEqual([command, 0, expect.any(String)])
  }
  // The new rows have new ids; the content at the key is the file again, and the damaged one waits in quarantine.
  expect((await contents('audio/')).map(body => [small, large].some(file => file.equals(body)))).toEqual([
    true,
    true,
  ])
  expect(await contents('quarantine/damaged/')).toEqual([damaged])
})

test('an object that says it is another recording is a conflict, and stays', async () => {
  const first = await cli(['upload-local'], { cwd: dir, env })
  expect(first.exitCode).toBe(0)
  const [page] = await Array.fromAsync(store.list({ prefix: 'audio/' }))
  const { key } = page!.find(({ size }) => size === small.length)!
  const other = fakeAudio(small.length, 9)
  await store.put(key, other, { headers: { contentType: 'audio/flac' }, checksums: {} })
  await rm(path.join(dir, 'db'), { recursive: true })
  for (const command of ['migrate', 'import']) await cli([command], { cwd: dir, env })
  const { exitCode, stderr } = await cli(['upload-local'], { cwd: dir, env })
  expect([exitCode, stderr]).toEqual([3, expect.stringContaining('already exists with a different content')])
  expect((await contents('audio/')).some(body => body.equals(other))).toBe(true)
})
