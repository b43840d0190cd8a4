/**
 * One object whose every request ends in a reset connection, as `rclone serve s3` does to a key that is not there, on a
 * server that answers everything else: that object fails, and nobody waits for a store that is not away.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { runAnalyze } from '../../src/analyze/run.ts'
import { ExitCode } from '../../src/errors.ts'
import { runFetch } from '../../src/fetch/run.ts'
import { analyzeDefaults } from '../contract/analyze.ts'
import { restore } from '../contract/safety.ts'
import { upload } from '../contract/upload.ts'
import { fetchDefaults } from '../contract/worker.ts'
import { type BedRun, fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import type { TestServer } from '../support/s3-server.ts'
import { crc32Text } from '../support/sums.ts'

const MiB = 1024 ** 2
let bed: TestBed
let server: TestServer

beforeAll(async () => {
  ;({ bed, server } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(() => bed.close())
beforeEach(async () => {
  // The least that jitter draws: what is tried again is at once.
  vi.spyOn(Math, 'random').mockReturnValue(0)
  server.faults.clear()
  await bed.reset()
})

async function inS3(name: string, size = 5_000): Promise<string> {
  const content = fakeAudio(size, size + name.length)
  await bed.store.put(`audio/${name}`, content, {
    headers: { contentType: 'audio/flac' },
    checksums: { crc32: crc32Text(content) },
  })
  const id = await bed.addTrack({ path: name, source: 'S3', key: `audio/${name}` })
  await bed.database.knex('tracks').where({ id }).update({ file_size: size })
  return id
}

const reset = (key: string | RegExp, operation?: string) =>
  server.faults.add({ match: { key, ...(operation !== undefined && { operation }) }, fault: { reset: true } })

const sources = async (...ids: string[]) => {
  const rows = await bed.tracks()
  return ids.map(id => rows.get(id)?.file_source)
}

const failures = (run: BedRun) => run.items.filter(item => item['state'] === 'failed')

const itsOwn = {
  state: 'failed',
  reason: expect.stringMatching(/although S3 answers other requests/),
  cure: expect.stringMatching(/Run it again.*try it with another S3 program/),
}

describe('one object fails, and the run ends', () => {
  test.each([
    ['in one request', 5_000],
    ['in ranges', 17 * MiB],
  ])('restore of three, %s', async (_how, size) => {
    const ids = [await inS3('one.flac'), await inS3('away.flac', size), await inS3('two.flac')]
    reset('audio/away.flac', 'GetObject')
    const run = await restore(bed)
    expect([run.exitCode, run.error]).toEqual([ExitCode.someFailed, undefined])
    expect(await sources(...ids)).toEqual(['LOCAL', 'S3', 'LOCAL'])
    expect(failures(run)).toMatchObject([{ subject: 'audio/away.flac', ...itsOwn }])
    server.faults.clear()
    expect((await restore(bed)).exitCode).toBe(ExitCode.ok)
    expect(await sources(...ids)).toEqual(['LOCAL', 'LOCAL', 'LOCAL'])
  })

  test.each([
    ['whole', 5_000],
    ['in parts', 17 * MiB],
  ])('upload of three, %s', async (_how, size) => {
    const ids = [
      await bed.addTrack({ path: 'one.flac', content: fakeAudio(5_000, 1) }),
      await bed.addTrack({ path: 'away.flac', content: fakeAudio(size, 2), artist: 'Away' }),
      await bed.addTrack({ path: 'two.flac', content: fakeAudio(5_000, 3) }),
    ]
    reset(/Away/)
    const run = await upload(bed)
    expect([run.exitCode, run.error]).toEqual([ExitCode.someFailed, undefined])
    expect(await sources(...ids)).toEqual(['S3', 'LOCAL', 'S3'])
    expect(failures(run)).toMatchObject([itsOwn])
  })

  test('analyze', async () => {
    await inS3('away.flac')
    reset('audio/away.flac')
    const run = await bed.run('analyze', context => runAnalyze(context, analyzeDefaults))
    expect([run.exitCode, run.error]).toEqual([ExitCode.someFailed, undefined])
    expect(failures(run)).toMatchObject([itsOwn])
  })

  test('fetch: the row is left as it is', async () => {
    const [away, there] = [await inS3('away.flac'), await inS3('there.flac')]
    await bed.database.knex('tracks').update({ file_source: null, file_path: null })
    reset('audio/away.flac')
    const run = await bed.run('fetch', context => runFetch(context, { ...fetchDefaults, from: ['s3'] }))
    expect([run.exitCode, run.error]).toEqual([ExitCode.someFailed, undefined])
    expect(failures(run)).toMatchObject([{ ...itsOwn, track_id: away, passing: true }])
    expect(await sources(away, there)).toEqual([null, 'S3'])
  })
})

test('a true outage is waited for: all requests are reset for a while, and the run ends well', async () => {
  const ids: string[] = []
  for (let index = 0; index < 12; index++) ids.push(await inS3(`${index}.flac`))
  const away = server.faults.add({ after: 6, times: 20, fault: { reset: true } })
  const run = await restore(bed)
  expect([run.exitCode, away.struck]).toEqual([ExitCode.ok, 20])
  expect(await sources(...ids)).toEqual(Array(12).fill('LOCAL'))
})

describe('a signal ends a run that waits for the store', () => {
  async function stopInOutage(
    operation: string,
    start: (stopping: AbortController) => Promise<BedRun>,
  ): Promise<BedRun> {
    const away = server.faults.add({ match: { operation }, fault: { reset: true } })
    const stopping = new AbortController()
    const running = start(stopping)
    await vi.waitFor(() => expect(away.struck).toBeGreaterThan(0), { timeout: 60_000 })
    // From here on it answers nothing; what else is asked is whether it is back.
    const probes = server.faults.add({ fault: { reset: true } })
    await vi.waitFor(() => expect(probes.struck).toBeGreaterThan(0), { timeout: 60_000 })
    stopping.abort('sigterm')
    return running
  }

  test('restore', async () => {
    const ids = [await inS3('one.flac'), await inS3('two.flac')]
    const run = await stopInOutage('GetObject', stopping => restore(bed, {}, { stopping }))
    expect([run.exitCode, run.error, failures(run)]).toEqual([ExitCode.sigterm, undefined, []])
    expect(await sources(...ids)).toEqual(['S3', 'S3'])
    server.faults.clear()
    expect((await restore(bed)).exitCode).toBe(ExitCode.ok)
  })

  test('analyze', async () => {
    await inS3('one.flac')
    const run = await stopInOutage('GetObject', stopping =>
      bed.run('analyze', context => runAnalyze(context, analyzeDefaults), { stopping }),
    )
    expect([run.exitCode, run.error, failures(run)]).toEqual([ExitCode.sigterm, undefined, []])
  })

  test.each([
    ['PutObject', 5_000],
    ['UploadPart', 17 * MiB],
  ])('upload, in %s', async (operation, size) => {
    await bed.addTrack({ path: 'one.flac', content: fakeAudio(size, 1) })
    const run = await stopInOutage(operation, stopping => upload(bed, { maxOutage: 3_600_000 }, { stopping }))
    expect([run.exitCode, run.error, failures(run)]).toEqual([ExitCode.sigterm, undefined, []])
    server.faults.clear()
    // What the next run resumes is kept.
    expect(await bed.openUploads()).toHaveLength(operation === 'UploadPart' ? 1 : 0)
    expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
  })
})
