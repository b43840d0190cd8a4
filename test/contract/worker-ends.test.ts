/** What becomes of one job by how its work ended: done, tried again, given up at once, put back, or the end of the worker. */
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { PgBoss } from 'pg-boss'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { enqueueAnalyze } from '../../src/analyze/run.ts'
import { stagingPrefix } from '../../src/core/prefixes.ts'
import { ExitCode } from '../../src/errors.ts'
import { enqueueFetch } from '../../src/fetch/run.ts'
import { type JobData, openBoss } from '../../src/queue/boss.ts'
import type { JobKind } from '../../src/queue/names.ts'
import { NamedTracks } from '../../src/runs/named-tracks.ts'
import { recordRun } from '../../src/runs/recorded-run.ts'
import { makeTempFolder } from '../../src/runs/temp-folders.ts'
import { StoreError } from '../../src/storage/store.ts'
import { enqueueUpload, readUploadRequest } from '../../src/upload/run.ts'
import { runWorker } from '../../src/worker/run.ts'
import { Worker } from '../../src/worker/worker.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import type { StoreHooks } from '../support/hooked-store.ts'
import { analyzeDefaults, fixture } from './analyze.ts'
import { uploadDefaults } from './upload.ts'
import { fetchDefaults, workerDefaults } from './worker.ts'

let bed: TestBed
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(() => bed.close())
beforeEach(() => bed.reset())
afterEach(() => void vi.restoreAllMocks())

const content = fakeAudio(3_000, 1)
const file = () => path.join(bed.audioRoot, 'a.flac')
const uploads = (flags: Partial<typeof uploadDefaults> = {}) =>
  bed.run('upload-local', async context =>
    enqueueUpload(context, await readUploadRequest(context, { ...uploadDefaults, ...flags }), undefined),
  )

interface Given {
  kind?: JobKind
  /** bytes of the file to be uploaded */
  size?: number
  /** what is to be analysed */
  audio?: Buffer
  /** attempts before this one, of eight */
  retryCount?: number
  hooks?: StoreHooks
  /** comes once the job is queued */
  meanwhile?: (id: string) => Promise<unknown> | unknown
  stopping?: AbortController
  /** settings of the worker */
  env?: Record<string, string>
  deleteLocal?: boolean
}
/** Queues one job and has a worker do it. */
async function perform({
  kind = 'upload',
  size,
  retryCount = 0,
  audio = content,
  meanwhile,
  deleteLocal = false,
  ...options
}: Given) {
  const { knex } = bed.database
  const id =
    kind === 'upload'
      ? await bed.addTrack({ path: 'a.flac', content: size === undefined ? content : fakeAudio(size, 2) })
      : kind === 'fetch'
        ? await bed.addTrack({ path: 'a.flac', source: 'UNAVAILABLE' })
        : await bed.addTrack({ path: null, source: 'S3', key: 'audio/a.flac' })
  if (kind === 'upload') await uploads({ deleteLocal })
  else if (kind === 'fetch')
    await bed.run('fetch', context => enqueueFetch(context, { ...fetchDefaults, from: ['s3'], force: true }))
  else {
    await bed.store.put('audio/a.flac', audio, { headers: { contentType: 'audio/flac' }, checksums: {} })
    await bed.run('analyze', context =>
      enqueueAnalyze(context, { ...analyzeDefaults, track: [id], job: undefined }),
    )
  }
  const [queued] = await knex('autodj_jobs.job').where({ name: kind }).select('id', 'data')
  const job = { id: queued.id, data: queued.data as JobData, retryCount, retryLimit: 8 }
  await meanwhile?.(id)
  let worker: Worker | undefined
  const run = await bed.run(
    'worker',
    context =>
      recordRun(context, bed.database, async recorded => {
        const temp = await makeTempFolder(recorded.id)
        const boss = await openBoss(context, bed.database, { supervise: false })
        const place = {
          context: { ...context, stopping: recorded.stopping },
          database: bed.database,
          run: recorded,
          settings: { ...workerDefaults, maxOutage: 0, concurrency: { fetch: 1, upload: 1, analyze: 1 } },
          tempFolder: temp.path,
        }
        worker = new Worker(place, boss)
        try {
          const result = await worker.perform(kind, job as never)
          return { exitCode: ExitCode.ok, summary: { result, halted: recorded.stopping.aborted } }
        } finally {
          await worker.close()
          await boss.stop({ graceful: false })
          await temp.remove()
        }
      }),
    options,
  )
  const [ended] = await knex('autodj_ledger.runs').where({ command: 'worker' }).pluck('summary')
  const { done, ...totals } = worker?.totals ?? { done: undefined }
  return {
    result: ended.result,
    halted: ended.halted,
    done: done?.[kind],
    totals,
    failure: worker?.failure,
    run,
    items: await knex('autodj_ledger.items').select('error_code', 'error', 'cure', 'command'),
    row: (await bed.tracks()).get(id),
    claims: await knex('autodj_ledger.claims'),
  }
}
const none = { retried: 0, givenUp: 0, interrupted: 0 }
const refusing = (error: Error): StoreHooks => ({
  put: {
    before: () => {
      throw error
    },
  },
})

describe('done', () => {
  test('with its work', async () => {
    const { result, done, totals, row, items, claims } = await perform({})
    expect(result).toMatchObject({ status: 'completed', output: { result: 'uploaded' } })
    expect([done, totals, row?.file_source, items, claims]).toEqual([1, none, 'S3', [], []])
  })

  test.each<[string, Given, boolean]>([
    ['goes', { deleteLocal: true }, false],
    ['stays, where nobody asked for that', {}, true],
    // Nothing listens there.
    [
      'stays, where the CDN does not serve it',
      { deleteLocal: true, env: { CLOUDFRONT_DOMAIN: 'http://127.0.0.1:9' } },
      true,
    ],
  ])('with its work, and the local file %s', async (_, given, stays) => {
    expect((await perform(given)).row?.file_source).toBe('S3')
    expect(existsSync(file())).toBe(stays)
  })

  test('with an analysis, of a file that is damaged, too', async () => {
    const whole = fixture('music.flac')
    const given = { kind: 'analyze', audio: whole.subarray(0, whole.length / 2) } as const
    const { result, done, totals } = await perform(given)
    expect([result.status, result.output.result, done, totals]).toEqual(['completed', 'analysed', 1, none])
  })

  test('already, when its work was done before', async () => {
    const { result, done } = await perform({
      meanwhile: id => bed.database.knex('tracks').where({ id }).update({ file_source: 'S3' }),
    })
    expect([result.status, result.output.result, done]).toEqual(['completed', 'done already', 1])
  })

  test('already, when it needs nothing any longer', async () => {
    const { result, done, claims } = await perform({
      kind: 'fetch',
      meanwhile: async id => {
        writeFileSync(file(), content)
        await bed.database.knex('tracks').where({ id }).update({ file_source: 'LOCAL' })
      },
    })
    expect([result.status, result.output.result, done, claims]).toEqual(['completed', 'done already', 1, []])
  })
})

describe('given up at once', () => {
  test.each<[string, Given, string, RegExp]>([
    [
      'its row is gone',
      { meanwhile: id => bed.database.knex('tracks').where({ id }).delete() },
      'row.missing',
      /^no such track$/,
    ],
    [
      'its row names no file',
      { meanwhile: id => bed.database.knex('tracks').where({ id }).update({ file_path: null }) },
      'row.no-file',
      /^the row names no local file$/,
    ],
    ['its file is gone', { meanwhile: () => rmSync(file()) }, 'file.missing', /./],
    ['its file is empty', { meanwhile: () => writeFileSync(file(), '') }, 'file.empty', /./],
    [
      'its row goes while it is sent',
      { hooks: { put: { before: () => bed.database.knex('tracks').delete() } } },
      'row.deleted',
      /was deleted in the meantime/,
    ],
    [
      'a track without audio, to be analysed',
      {
        kind: 'analyze',
        meanwhile: id =>
          bed.database
            .knex('tracks')
            .where({ id })
            .update({ file_source: 'UNAVAILABLE', s3_object_key: null }),
      },
      'row.no-audio',
      /^the track has no audio from this source$/,
    ],
    ['what is no audio, to be analysed', { kind: 'analyze' }, 'audio.undecodable', /./],
  ])('%s', async (_, given, code, reason) => {
    const { result, totals, items } = await perform(given)
    expect(result.status).toBe('deadletter')
    expect(result.output.code).toMatch(new RegExp(`^${code}`))
    expect(result.output.message).toMatch(reason)
    expect(totals).toEqual({ ...none, givenUp: 1 })
    if (code === 'row.missing' || code === 'row.deleted') return
    // Of a row that is there; a failure is told once, with the same cure in the queue, where it has one of its own.
    const { cure } = result.output
    expect(cure === undefined).toBe(code === 'row.no-file' || code === 'row.no-audio')
    expect(items).toMatchObject([cure === undefined ? {} : { cure }])
  })
})

describe('tried again, and in the end given up', () => {
  const cases: [string, Given, string, string][] = [
    [
      'the store refuses it',
      { hooks: refusing(new StoreError('denied', 'no\u0007 entry')) },
      'store.denied',
      'upload-local',
    ],
    [
      'its row changes while it is sent',
      { hooks: { put: { before: () => bed.database.knex('tracks').update({ file_path: 'b.flac' }) } } },
      'row.changed',
      'upload-local',
    ],
    [
      'the audio cannot be had that is to be analysed',
      {
        kind: 'analyze',
        hooks: {
          getInto: { before: () => Promise.reject(new StoreError('denied', 'no\u0007 entry')) },
          get: { before: () => Promise.reject(new StoreError('denied', 'no\u0007 entry')) },
        },
      },
      'store.denied',
      'analyze',
    ],
    [
      'nobody expected it',
      { hooks: refusing(new TypeError('x\u0007 is not a function')) },
      'bug',
      'upload-local',
    ],
  ]
  test.each(cases)('%s', async (_, given, code, command) => {
    const first = await perform({ ...given, retryCount: 7 })
    expect(first.result.status).toBe('failed')
    expect(first.totals).toEqual({ ...none, retried: 1 })
    expect(first.result.output.message).not.toContain('\u0007')
    expect(first.row?.file_source).toBe(given.kind === 'analyze' ? 'S3' : 'LOCAL')
    expect(first.result.output.code).toBe(code)
    if (code === 'bug') {
      expect(first.run.messages.map(one => one['message'])).toContainEqual(
        expect.stringMatching(/^upload .*: unexpected: x.* is not a function$/),
      )
      expect(first.items).toEqual([])
    }
    await bed.reset()
    const last = await perform({ ...given, retryCount: 8 })
    expect(last.result.status).toBe('deadletter')
    expect(last.totals).toEqual({ ...none, givenUp: 1 })
    expect(last.items).toMatchObject([{ error_code: code, command }])
    expect(last.run.items.filter(item => item['state'] === 'failed')).toHaveLength(1)
  })
})

test('a row that another transaction keeps locked is tried again, and in the end given up, with whom to ask', async () => {
  vi.spyOn(NamedTracks.prototype, 'take').mockResolvedValue({ state: 'locked' })
  const first = await perform({ retryCount: 7 })
  expect(first.result).toMatchObject({ status: 'failed', output: { code: 'row.locked' } })
  expect(first.items).toEqual([])
  await bed.reset()
  const last = await perform({ retryCount: 8 })
  expect(last.result.status).toBe('deadletter')
  expect(last.items).toMatchObject([
    { error_code: 'row.locked', cure: expect.stringContaining('pg_stat_activity') },
  ])
})

test('a file that is gone with its folder is not given up', async () => {
  const { result, totals } = await perform({ meanwhile: () => rmSync(bed.audioRoot, { recursive: true }) })
  mkdirSync(bed.audioRoot)
  expect([result.status, totals]).toEqual(['failed', { ...none, retried: 1 }])
})

describe('put back', () => {
  test('what a worker that is told to stop has not begun', async () => {
    const stopping = new AbortController()
    stopping.abort('SIGTERM')
    const { result, totals, row, failure } = await perform({ stopping })
    expect(result).toMatchObject({ status: 'failed', output: { code: 'interrupted' } })
    expect([totals, row?.file_source, failure]).toEqual([{ ...none, interrupted: 1 }, 'LOCAL', undefined])
  })

  test('a large file in the middle of which it is told to stop', async () => {
    const stopping = new AbortController()
    const { result, totals, row, claims } = await perform({
      size: 17 * 1024 ** 2,
      stopping,
      hooks: { uploadPart: { after: () => stopping.abort('SIGTERM') } },
    })
    expect(result).toMatchObject({ status: 'failed', output: { code: 'interrupted' } })
    expect([totals, row?.file_source, claims]).toEqual([{ ...none, interrupted: 1 }, 'LOCAL', []])
    expect(await bed.openUploads()).toHaveLength(1)
  })

  test('what no job would fare better with: the worker ends with it', async () => {
    const { result, totals, halted, failure, items } = await perform({
      hooks: refusing(new StoreError('credentials', 'the key is gone')),
    })
    expect(result).toMatchObject({ status: 'failed', output: { code: 'interrupted' } })
    expect([totals, halted, items]).toEqual([{ ...none, interrupted: 1 }, true, []])
    expect(failure).toMatchObject({ code: 'store.credentials', message: 'the key is gone' })
    expect(failure).toBeInstanceOf(StoreError)
  })
})

describe('a worker as a whole', () => {
  const work = (flags: Partial<typeof workerDefaults>, options: Parameters<TestBed['run']>[2] = {}) =>
    bed.run('worker', context => runWorker(context, { ...workerDefaults, ...flags }), options)

  test('asks for the next job at once when one is done, and for none once it is told to stop', async () => {
    for (const name of ['a.flac', 'b.flac']) await bed.addTrack({ path: name, content })
    await uploads()
    const asked = vi.spyOn(PgBoss.prototype, 'notifyWorker')
    const stopping = new AbortController()
    let sent = 0
    const hooks: StoreHooks = { put: { after: () => void (++sent === 2 && stopping.abort('SIGTERM')) } }
    const { summary } = await work(
      { untilEmpty: false, fetch: 0, upload: 1, analyze: 0 },
      { stopping, hooks },
    )
    expect([summary['done'], asked.mock.calls.length]).toEqual([2, 1])
  })

  test('says how many seats it has', async () => {
    const stopping = new AbortController()
    stopping.abort('SIGTERM')
    const { messages } = await work({ untilEmpty: false, fetch: 0, upload: 2, analyze: 0 }, { stopping })
    const concurrency = { fetch: 0, upload: 2, analyze: 0 }
    expect(messages).toContainEqual(expect.objectContaining({ state: 'working', concurrency }))
  })

  test('that does not come to its end in time stops at once, and says so with its exit code', async () => {
    await bed.addTrack({ path: 'a.flac', content })
    await uploads()
    const stopping = new AbortController()
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    const working = work(
      { untilEmpty: false, fetch: 0, analyze: 0, drainTimeout: 50 },
      {
        stopping,
        hooks: {
          put: {
            async before(_key, _body, { signal }) {
              stopping.abort('SIGTERM')
              signal?.addEventListener('abort', () => end())
              await ended
              signal?.throwIfAborted()
            },
          },
        },
      },
    )
    const { exitCode, messages } = await working
    expect(exitCode).toBe(ExitCode.sigterm)
    expect(messages.map(one => one['message'])).toContainEqual(
      expect.stringMatching(/^still at work after .*: stopping at once$/),
    )
    expect([...(await bed.tracks()).values()]).toMatchObject([{ file_source: 'LOCAL' }])
  })

  test('whose credentials are gone ends with that', async () => {
    await bed.addTrack({ path: 'a.flac', content })
    await uploads()
    const { error, exitCode } = await work(
      {},
      { hooks: refusing(new StoreError('credentials', 'the key is gone')) },
    )
    expect([error?.code, exitCode]).toEqual(['store.credentials', ExitCode.fatal])
    expect(await bed.database.knex('autodj_jobs.job').where({ name: 'upload' }).pluck('state')).toEqual([
      'created',
    ])
  })

  test('that was to end with its jobs ends with what was given up', async () => {
    await bed.addTrack({ path: 'a.flac', content })
    await uploads()
    rmSync(file())
    writeFileSync(path.join(bed.audioRoot, 'other'), 'x')
    const { exitCode, summary } = await work({})
    expect(exitCode).toBe(ExitCode.someFailed)
    expect(summary).toMatchObject({ done: 0, given_up: 1, attempts_failed: 0, put_back: 0 })
    // Seconds, not milliseconds.
    expect(summary['seconds']).toBeLessThan(600)
  })

  test('that was to work for so long ends with 10, and one that was stopped otherwise with 0', async () => {
    const timed = await work({ untilEmpty: false, fetch: 0, analyze: 0, maxDuration: 20 })
    expect([timed.exitCode, timed.error]).toEqual([ExitCode.timeBudget, undefined])
    const stopping = new AbortController()
    stopping.abort('SIGTERM')
    const stopped = await work({ untilEmpty: false, fetch: 0, analyze: 0 }, { stopping })
    expect([stopped.exitCode, stopped.error]).toEqual([ExitCode.ok, undefined])
  })

  test('leaves an upload that a dead worker began to the job that comes back, and aborts it once there is none', async () => {
    const headers = { contentType: 'audio/flac' }
    const begun = async () => {
      const uploadId = await bed.store.createUpload('audio/half.flac', { headers })
      await bed.database.knex('autodj_ledger.uploads').insert({
        ...{ bucket: bed.access.bucket, key: 'audio/half.flac', upload_id: uploadId, path: 'half.flac' },
        ...{ mtime_ns: '1', size: 1, part_size: 5 * 1024 ** 2 },
      })
    }
    await begun()
    // Two jobs: one makes the handler, the other is left in the queue.
    await bed.addTrack({ path: 'b.flac', content })
    const first = await perform({})
    expect(first.done).toBe(1)
    expect(await bed.openUploads()).toEqual(['audio/half.flac'])
    await bed.database.knex('autodj_jobs.job').delete()
    await bed.database.knex('tracks').delete()
    const last = await perform({ meanwhile: () => bed.database.knex('autodj_jobs.job').delete() })
    expect(last.done).toBe(1)
    expect(await bed.openUploads()).toEqual([])
  })

  test('takes away what a dead run has left half-way, and leaves alone what a run that lives has', async () => {
    const alive = await bed.startRun('fetch')
    const [theirs, left] = [alive, randomUUID()].map(id => `${stagingPrefix('audio/')}${id}/a.flac`) as [
      string,
      string,
    ]
    for (const key of [theirs, left])
      await bed.store.put(key, content, { headers: { contentType: 'audio/flac' }, checksums: {} })
    await perform({ kind: 'fetch' })
    expect([...(await bed.objects()).keys()]).toEqual([theirs])
  })
})
