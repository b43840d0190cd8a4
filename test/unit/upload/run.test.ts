/** Every fault of the design's table that concerns uploading, planted in the embedded S3 server or on the disk. */

import { mkdirSync, readFileSync, rmSync, utimesSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { abandonDeadRuns } from '../../../src/db/ledger.ts'
import { ExitCode, TemporaryError } from '../../../src/errors.ts'
import { machineName } from '../../../src/runs/recorded-run.ts'
import { readUploadRequest, runUpload } from '../../../src/upload/run.ts'
import { upload, uploadDefaults } from '../../contract/upload.ts'
import { fakeAudio, type TestBed } from '../../support/bed.ts'
import { embeddedBed } from '../../support/beds.ts'
import { pgliteTestDatabase } from '../../support/database.ts'
import { accessKey, type TestServer } from '../../support/s3-server.ts'

const MiB = 1024 ** 2
let bed: TestBed
let server: TestServer

beforeAll(async () => {
  ;({ bed, server } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(() => bed.close())
beforeEach(async () => {
  server.faults.clear()
  await bed.reset()
  server.requests.length = 0
})

async function expectAllUploaded(): Promise<void> {
  const rows = [...(await bed.tracks()).values()]
  for (const row of rows) {
    expect(row.file_source).toBe('S3')
    const file = readFileSync(path.join(bed.audioRoot, row.file_path as string))
    expect((await bed.content(row.s3_object_key as string))?.equals(file)).toBe(true)
  }
  expect((await bed.objects()).size).toBe(rows.length)
  expect(await bed.openUploads()).toEqual([])
}

describe('faults that pass: the run goes on and ends well', () => {
  test('500 and 503 SlowDown: backs off, halves the concurrency, goes on', async () => {
    await bed.addTracks(30, 1_000)
    server.faults.add({
      match: { operation: 'PutObject' },
      times: 6,
      fault: { status: 503, code: 'SlowDown' },
    })
    server.faults.add({
      match: { operation: 'PutObject' },
      after: 10,
      times: 3,
      fault: { status: 500, code: 'InternalError' },
    })
    const run = await upload(bed)
    expect(run.exitCode).toBe(ExitCode.ok)
    expect(run.summary).toMatchObject({ uploaded: 30, slow_downs: expect.any(Number) })
    expect(run.summary['slow_downs']).toBeGreaterThanOrEqual(1)
    expect(run.summary['retries']).toBeGreaterThanOrEqual(6)
    await expectAllUploaded()
  })

  test.each([
    ['a reset in mid-body', 'PutObject', { reset: true, afterBytes: 20_000 }],
    ['a reset before anything', 'PutObject', { reset: true }],
    ['a stall', 'PutObject', { stall: 'forever' }],
    ['bytes that arrive damaged', 'PutObject', { corruptBody: true }],
    ['409 ConditionalRequestConflict', 'PutObject', { status: 409, code: 'ConditionalRequestConflict' }],
    ['a lost answer to a put', 'PutObject', { loseResponse: true }],
    ['a reset in a part', 'UploadPart', { reset: true, afterBytes: 1_000_000 }],
    ['a stalled part', 'UploadPart', { stall: 'forever' }],
    ['a damaged part', 'UploadPart', { corruptBody: true }],
    ['a lost answer to a part', 'UploadPart', { loseResponse: true }],
    ['a lost answer to CreateMultipartUpload', 'CreateMultipartUpload', { loseResponse: true }],
    ['a lost answer to CompleteMultipartUpload', 'CompleteMultipartUpload', { loseResponse: true }],
    ['500 to CompleteMultipartUpload', 'CompleteMultipartUpload', { status: 500, code: 'InternalError' }],
  ] as const)('%s', async (_name, operation, fault) => {
    const large = operation !== 'PutObject'
    await bed.addTrack({ path: 'one.flac', content: fakeAudio(large ? 17 * MiB : 60_000, 1) })
    await bed.addTrack({ path: 'two.flac', content: fakeAudio(50_000, 2) })
    const planted = server.faults.add({ match: { operation }, times: 1, fault })
    const run = await upload(bed, {}, { store: { timeouts: { idleMs: 1_000, connectMs: 1_000 } } })
    expect(planted.struck).toBe(1)
    expect(run.items.filter(item => item['state'] === 'failed')).toEqual([])
    expect(run.exitCode).toBe(ExitCode.ok)
    if (operation !== 'CreateMultipartUpload') await expectAllUploaded()
    const stored = server.requests.filter(
      one => one.status === 200 && /^(PutObject|CompleteMultipartUpload)$/.test(one.operation),
    )
    expect(stored.length).toBeLessThanOrEqual(2)
  })

  test('an outage: everything waits, one request asks, and the run ends well by itself', async () => {
    await bed.addTracks(20, 1_000)
    const away = server.faults.add({
      fault: { status: 503, code: 'ServiceUnavailable' },
      after: 12,
      times: 14,
    })
    const run = await upload(bed, { concurrency: 4 })
    expect(away.struck).toBe(14)
    expect(run.exitCode).toBe(ExitCode.ok)
    expect(run.summary).toMatchObject({ uploaded: 20 })
    await expectAllUploaded()
  })
})

describe('faults that do not pass: one clear line, the right exit code, nothing half done', () => {
  test('an outage longer than --max-outage: exit 5; the next run finishes', async () => {
    await bed.addTracks(20, 1_000)
    const away = server.faults.add({ after: 6, fault: { reset: true } })
    const run = await upload(bed, { concurrency: 4, maxOutage: 600 })
    expect(run.exitCode).toBe(ExitCode.temporary)
    expect(run.error?.message).toMatch(/S3 has been unreachable for/)
    away.remove()
    expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
    await expectAllUploaded()
  })

  test.each([
    ['wrong secret', { credentials: { ...accessKey, secretAccessKey: 'wrong' } }, /credentials|signature/i],
    [
      'unknown key',
      { credentials: { accessKeyId: 'OTHER', secretAccessKey: 'x' } },
      /credentials|access key/i,
    ],
    ['no such bucket', { bucket: 'not-there' }, /bucket/i],
    ['wrong region', { region: 'eu-west-3' }, /region/i],
  ])('%s is found before anything is sent', async (_name, store, message) => {
    await bed.addTracks(3, 1_000)
    const run = await upload(bed, {}, { store })
    expect(run.exitCode).toBe(ExitCode.fatal)
    expect(run.error?.message).toMatch(message)
    expect(run.error?.cure).toMatch(/\w/)
    expect(run.error?.message).not.toContain('\n')
    expect(server.requests.filter(one => one.operation === 'PutObject')).toEqual([])
    expect(run.items).toEqual([])
  })

  test('credentials that expire for good in mid-run: exit 5, what is done is recorded, the next run goes on', async () => {
    await bed.addTracks(12, 1_000)
    const expired = server.faults.add({
      match: { operation: 'PutObject' },
      after: 5,
      fault: { status: 400, code: 'ExpiredToken' },
    })
    const run = await upload(bed, { concurrency: 2 })
    expect(run.exitCode).toBe(ExitCode.temporary)
    const done = [...(await bed.tracks()).values()].filter(row => row.file_source === 'S3')
    expect(done).toHaveLength(5)
    expired.remove()
    expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
    await expectAllUploaded()
  })

  test("access denied to one object is that track's failure, named with its cure", async () => {
    await bed.addTracks(4, 1_000)
    server.faults.add({
      match: { operation: 'PutObject' },
      after: 1,
      times: 1,
      fault: { status: 403, code: 'AccessDenied' },
    })
    const run = await upload(bed)
    expect(run.exitCode).toBe(ExitCode.someFailed)
    expect(run.summary).toMatchObject({ uploaded: 3, failed: 1 })
    expect(run.items.find(item => item['state'] === 'failed')).toMatchObject({
      code: 'store.denied',
      cure: expect.stringMatching(/\w/),
    })
  })

  test('the database goes away in mid-run: exit 5, and the next run adopts what was sent', async () => {
    await bed.addTracks(10, 1_000)
    const run = await bed.run('upload-local', async context => {
      const knex = new Proxy(bed.database.knex, {
        get(target, property, receiver) {
          const isGone =
            property === 'transaction' && server.requests.some(one => one.operation === 'PutObject')
          if (!isGone) return Reflect.get(target, property, receiver)
          return () =>
            Promise.reject(
              new TemporaryError('the connection to the database broke', { code: 'db.unreachable' }),
            )
        },
      })
      const request = await readUploadRequest(context, uploadDefaults)
      return runUpload({ ...context, database: async () => ({ ...bed.database, knex }) }, request)
    })
    expect(run.exitCode).toBe(ExitCode.temporary)
    // The process of that run would be gone by now; in here it is ours.
    await abandonDeadRuns(bed.database.knex, { host: machineName(), isAlive: () => false })
    const second = await upload(bed)
    expect(second.exitCode).toBe(ExitCode.ok)
    expect(second.summary).toMatchObject({ uploaded: 0, adopted: 10 })
    await expectAllUploaded()
  })

  test('a second signal: requests are abandoned, and no open part is left', async () => {
    await bed.addTrack({ path: 'long.flac', content: fakeAudio(40 * MiB, 1) })
    server.faults.add({ match: { operation: 'UploadPart' }, after: 2, fault: { stall: 'forever' } })
    const [stopping, forcing] = [new AbortController(), new AbortController()]
    const waiting = setInterval(() => {
      if (server.requests.filter(one => one.operation === 'UploadPart').length < 4) return
      stopping.abort('sigint')
      forcing.abort(new Error('second signal'))
    }, 20)
    const run = await upload(bed, { concurrency: 4 }, { stopping, forcing }).catch(error => error)
    clearInterval(waiting)
    expect(run.exitCode ?? run.message).not.toBe(ExitCode.ok)
    server.faults.clear()
    expect(await bed.openUploads()).toEqual([])
    expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
    await expectAllUploaded()
  })
})

describe('the disk', () => {
  test('a file that changes while it is read gets one fresh try', async () => {
    const id = await bed.addTrack({ path: 'busy.flac', content: fakeAudio(17 * MiB, 1) })
    const file = path.join(bed.audioRoot, 'busy.flac')
    server.faults.add({ match: { operation: 'UploadPart' }, times: 1, fault: { delay: 300 } })
    const touching = setInterval(() => {
      if (!server.requests.some(one => one.operation === 'UploadPart')) return
      clearInterval(touching)
      utimesSync(file, 1, 1)
    }, 10)
    const run = await upload(bed)
    clearInterval(touching)
    expect(run.exitCode).toBe(ExitCode.ok)
    expect((await bed.tracks()).get(id)?.file_source).toBe('S3')
    await expectAllUploaded()
  })

  test('a file that never stops changing is skipped, and no part of it is left', async () => {
    await bed.addTrack({ path: 'busy.flac', content: fakeAudio(17 * MiB, 1) })
    let time = 1
    const touching = setInterval(() => utimesSync(path.join(bed.audioRoot, 'busy.flac'), time, time++), 5)
    const run = await upload(bed)
    clearInterval(touching)
    expect(run.exitCode).toBe(ExitCode.someFailed)
    expect(run.items).toEqual([expect.objectContaining({ state: 'skipped', code: 'file.changed' })])
    expect((await bed.objects()).size).toBe(0)
    expect(await bed.openUploads()).toEqual([])
  })

  test('an audio folder that is not there is one line, not a skip of every track', async () => {
    await bed.addTracks(3, 100)
    rmSync(bed.audioRoot, { recursive: true })
    const run = await upload(bed)
    mkdirSync(bed.audioRoot)
    expect(run.exitCode).toBe(ExitCode.fatal)
    expect(run.items).toEqual([])
    expect(run.error?.message).toMatch(/audio folder/)
  })
})
