/** What `--enqueue` and `worker` promise, on any database and any S3 server. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest'
import { enqueueAnalyze } from '../../src/analyze/run.ts'
import { commands } from '../../src/commands.ts'
import { recentRuns, startRun } from '../../src/db/ledger.ts'
import { ExitCode } from '../../src/errors.ts'
import type { FetchFlags } from '../../src/fetch/flags.ts'
import { enqueueFetch } from '../../src/fetch/run.ts'
import { openBoss } from '../../src/queue/boss.ts'
import { countJobs } from '../../src/queue/counts.ts'
import { enqueueUpload, readUploadRequest } from '../../src/upload/run.ts'
import type { WorkerFlags } from '../../src/worker/flags.ts'
import { runWorker } from '../../src/worker/run.ts'
import { Worker } from '../../src/worker/worker.ts'
import { type BedRun, fakeAudio, type TestBed } from '../support/bed.ts'
import { urlOf } from '../support/listening.ts'
import { addObject, analyzeDefaults, demo, expectNoTempOf, rowOf } from './analyze.ts'
import { uploadDefaults } from './upload.ts'

const MiB = 1024 ** 2

export const workerDefaults: WorkerFlags = {
  fetch: 2,
  upload: 4,
  analyze: 2,
  untilEmpty: true,
  maxDuration: undefined,
  bwlimit: undefined,
  memory: 192 * MiB,
  rate: undefined,
  tempLimit: 1024 ** 3,
  maxOutage: 60_000,
  lockWait: 15_000,
  force: true,
  drainTimeout: 60_000,
}

export const fetchDefaults: FetchFlags = {
  dryRun: false,
  concurrency: undefined,
  limit: undefined,
  maxDuration: undefined,
  bwlimit: undefined,
  lockWait: 15_000,
  retryFailed: false,
  force: false,
  track: [],
  from: [],
  url: undefined,
  maxSize: 512 * MiB,
  timeout: 60_000,
  rate: undefined,
  privatePreviews: false,
  normalize: false,
  enqueue: false,
  job: undefined,
}

const work = (
  bed: TestBed,
  flags: Partial<WorkerFlags> = {},
  options: Parameters<TestBed['run']>[2] = {},
): Promise<BedRun> =>
  bed.run('worker', context => runWorker(context, { ...workerDefaults, ...flags }), options)

const enqueueUploads = (
  bed: TestBed,
  flags: Partial<typeof uploadDefaults> = {},
  job?: string,
): Promise<BedRun> =>
  bed.run('upload-local', async context =>
    enqueueUpload(context, await readUploadRequest(context, { ...uploadDefaults, ...flags }), job),
  )

const enqueueAnalyses = (
  bed: TestBed,
  flags: Partial<typeof analyzeDefaults> = {},
  job?: string,
): Promise<BedRun> =>
  bed.run('analyze', context => enqueueAnalyze(context, { ...analyzeDefaults, ...flags, job }))

const enqueueFetches = (bed: TestBed, env: Record<string, string> = {}, job?: string): Promise<BedRun> =>
  bed.run('fetch', context => enqueueFetch(context, { ...fetchDefaults, job }), { env })

interface JobRow {
  id: string
  playlist_url: string
  status: string
  total_tracks: number
  analyzed_tracks: number
  downloaded_tracks: number
  failed_tracks: number
  error_message: string | null
  error_details: { failures: { track_id: string; code: string }[] } | null
  started_at: Date | null
  completed_at: Date | null
}

const jobRows = async (bed: TestBed): Promise<JobRow[]> =>
  bed.database.knex('analysis_jobs').orderBy('created_at')

/** A run on another machine that is alive and has a track's upload in hand. */
async function claimElsewhere({ database: { knex } }: TestBed, trackId: string): Promise<void> {
  const id = randomUUID()
  await startRun(knex, {
    id,
    command: 'upload-local',
    args: {},
    host: 'another machine',
    pid: 1,
    version: '0',
  })
  await knex('autodj_ledger.claims').insert({ kind: 'upload', track_id: trackId, run_id: id })
}

const counts = async (bed: TestBed) =>
  Object.fromEntries(
    (await countJobs(bed.database.knex)).map(({ kind, queued, active, givenUp }) => [
      kind,
      [queued, active, givenUp],
    ]),
  )

export function workerContract(name: string, openBed: () => Promise<TestBed>): void {
  describe(`worker on ${name}`, () => {
    let bed: TestBed
    const expectNoTemp = async (): Promise<void> => {
      const runs = (await recentRuns(bed.database.knex, { limit: 100 })).map(({ id }) => id)
      expect(runs).not.toEqual([])
      await expectNoTempOf(runs)
    }
    beforeAll(async () => {
      bed = await openBed()
    })
    afterAll(() => bed.close())
    beforeEach(() => bed.reset())

    test('queued once however often; done as the command does it; counted in analysis_jobs', async () => {
      await bed.addTracks(12, 40_000)
      const tables = () =>
        bed.database.knex('pg_tables').where({ schemaname: 'public' }).orderBy('tablename').pluck('tablename')
      const ofTheApplication = await tables()
      const first = await enqueueUploads(bed)
      // What Alembic looks at.
      expect(await tables()).toEqual(ofTheApplication)
      expect(first.summary).toMatchObject({ kind: 'upload', queued: 12, already_queued: 0 })
      expect((await enqueueUploads(bed)).summary).toMatchObject({
        queued: 0,
        already_queued: 12,
        job_id: null,
      })
      expect(await jobRows(bed)).toMatchObject([
        {
          id: first.summary['job_id'],
          status: 'PENDING',
          total_tracks: 12,
          downloaded_tracks: 0,
          started_at: null,
        },
      ])
      expect(await counts(bed)).toEqual({ fetch: [0, 0, 0], upload: [12, 0, 0], analyze: [0, 0, 0] })

      const worked = await work(bed)
      expect(worked.error).toBeUndefined()
      expect(worked.exitCode).toBe(ExitCode.ok)
      expect(worked.summary).toMatchObject({ done: 12, given_up: 0, put_back: 0 })
      expect(worked.items.filter(item => item['state'] === 'uploaded')).toHaveLength(12)
      expect(await jobRows(bed)).toMatchObject([
        {
          status: 'COMPLETED',
          total_tracks: 12,
          analyzed_tracks: 0,
          downloaded_tracks: 12,
          failed_tracks: 0,
          error_message: null,
          error_details: null,
          started_at: expect.any(Date),
          completed_at: expect.any(Date),
        },
      ])
      expect([...(await bed.tracks()).values()].every(row => row.file_source === 'S3')).toBe(true)
      expect((await bed.objects()).size).toBe(12)
      expect(await counts(bed)).toEqual({ fetch: [0, 0, 0], upload: [0, 0, 0], analyze: [0, 0, 0] })
      expect(await bed.database.knex('autodj_ledger.claims')).toEqual([])
      await expectNoTemp()
    })

    test('fetch, then analyze, into one row that the application made', async () => {
      const job = randomUUID()
      await bed.database.knex('analysis_jobs').insert({ id: job, playlist_url: 'https://example.com/list' })
      const files = ['01-first-light.mp3', '09-deja-vu.m4a'].map(file => path.resolve('assets/demo', file))
      const ids = [
        await bed.addTrack({ path: null, source: 'UNAVAILABLE', title: files[0] as string }),
        await bed.addTrack({ path: null, source: 'UNAVAILABLE', title: files[1] as string }),
      ]
      const env = { FETCH_COMMAND: 'cp {title} {output}' }
      expect((await enqueueFetches(bed, env, job)).summary).toMatchObject({ queued: 2, job_id: job })
      expect(await work(bed, {}, { env })).toMatchObject({ exitCode: ExitCode.ok })
      expect(await jobRows(bed)).toMatchObject([
        {
          playlist_url: 'https://example.com/list',
          status: 'COMPLETED',
          total_tracks: 2,
          downloaded_tracks: 2,
          analyzed_tracks: 0,
        },
      ])

      expect((await enqueueAnalyses(bed, {}, job)).summary).toMatchObject({ queued: 2, job_id: job })
      expect(await jobRows(bed)).toMatchObject([
        { status: 'PROCESSING', total_tracks: 2, analyzed_tracks: 0, completed_at: null },
      ])
      expect(await work(bed)).toMatchObject({ exitCode: ExitCode.ok })
      expect(await jobRows(bed)).toMatchObject([
        { status: 'COMPLETED', total_tracks: 2, downloaded_tracks: 2, analyzed_tracks: 2, failed_tracks: 0 },
      ])
      for (const id of ids) expect((await rowOf(bed, id)).bpm).toBeGreaterThan(60)
      await expectNoTemp()
    })

    test('a file that is gone is given up at once, with the reason; --retry-failed takes it up again', async () => {
      const sound = await bed.addTrack({ path: 'sound.mp3', content: fakeAudio(20_000, 1) })
      const gone = await bed.addTrack({ path: 'gone.mp3' })
      await enqueueUploads(bed)
      const worked = await work(bed)
      expect(worked.exitCode).toBe(ExitCode.someFailed)
      expect(worked.summary).toMatchObject({ done: 1, given_up: 1, attempts_failed: 0 })
      expect(await jobRows(bed)).toMatchObject([
        {
          status: 'COMPLETED',
          total_tracks: 2,
          downloaded_tracks: 1,
          failed_tracks: 1,
          error_message: expect.stringMatching(/^1 of 2 failed; the first: .*gone\.mp3/),
          error_details: { failures: [{ track_id: gone, kind: 'upload', code: 'file.missing' }] },
        },
      ])
      expect(await counts(bed)).toMatchObject({ upload: [0, 0, 1] })
      expect((await bed.tracks()).get(sound)?.file_source).toBe('S3')

      writeFileSync(path.join(bed.audioRoot, 'gone.mp3'), fakeAudio(20_000, 2))
      expect((await enqueueUploads(bed, { retryFailed: true })).summary).toMatchObject({ queued: 1 })
      expect(await counts(bed)).toMatchObject({ upload: [1, 0, 0] })
      expect((await work(bed)).exitCode).toBe(ExitCode.ok)
      expect((await bed.tracks()).get(gone)?.file_source).toBe('S3')
      expect(await bed.database.knex('autodj_ledger.items')).toEqual([])
    })

    test('a job that had ended keeps status, times and mix, and its counts only grow', async () => {
      const job = randomUUID()
      const completed = new Date('2026-01-02T03:04:05Z')
      await bed.database.knex('analysis_jobs').insert({
        id: job,
        playlist_url: 'https://example.com/list',
        status: 'COMPLETED',
        total_tracks: 25,
        analyzed_tracks: 24,
        downloaded_tracks: 20,
        failed_tracks: 1,
        result: JSON.stringify({ total_tracks: 25 }),
        started_at: completed,
        completed_at: completed,
      })
      const ids = await bed.addTracks(2, 20_000)
      await bed.addTrack({ path: 'gone.mp3' })
      const ended = { status: 'COMPLETED', total_tracks: 25, started_at: completed, completed_at: completed }
      expect((await enqueueUploads(bed, {}, job)).summary).toMatchObject({ queued: 3, job_id: job })
      expect(await jobRows(bed)).toMatchObject([{ ...ended, downloaded_tracks: 20, failed_tracks: 1 }])
      await work(bed)
      expect(await jobRows(bed)).toMatchObject([
        {
          ...ended,
          analyzed_tracks: 24,
          downloaded_tracks: 22,
          failed_tracks: 2,
          error_message: null,
          result: { total_tracks: 25 },
        },
      ])
      expect((await bed.tracks()).get(ids[0]!)?.file_source).toBe('S3')
      // Nor when its tracks are forgotten and more are added.
      await bed.database.knex('autodj_ledger.job_tracks').del()
      await bed.database.knex('autodj_ledger.continued_jobs').del()
      await bed.addTracks(1, 20_001)
      await enqueueUploads(bed, {}, job)
      await work(bed)
      expect(await jobRows(bed)).toMatchObject([{ ...ended, downloaded_tracks: 23 }])
    })

    test('a job that its user cancels is worked on no more, and stays cancelled', async () => {
      await bed.addTracks(6, 20_000)
      const { summary } = await enqueueUploads(bed)
      const id = summary['job_id'] as string
      // As the application does it.
      const cancelled = { status: 'FAILED', error_message: 'Job cancelled by user' }
      await bed.database
        .knex('analysis_jobs')
        .where({ id })
        .update({ ...cancelled, completed_at: new Date() })
      const [before] = await jobRows(bed)
      expect((await work(bed)).exitCode).toBe(ExitCode.ok)
      expect(await jobRows(bed)).toEqual([before])
      expect(await counts(bed)).toMatchObject({ upload: [0, 0, 0] })
      expect([...(await bed.tracks()).values()].every(row => row.file_source === 'LOCAL')).toBe(true)
      expect((await enqueueUploads(bed, {}, id)).error?.message).toBe(`--job: ${id} was cancelled`)
      // The tracks themselves are free for the next one.
      expect((await enqueueUploads(bed)).summary).toMatchObject({ queued: 6 })
      expect((await work(bed)).exitCode).toBe(ExitCode.ok)
      expect((await jobRows(bed))[0]).toEqual(before)
      expect([...(await bed.tracks()).values()].every(row => row.file_source === 'S3')).toBe(true)
    })

    test('a row whose every track fails has FAILED', async () => {
      await bed.addTrack({ path: 'gone.mp3' })
      await enqueueUploads(bed)
      await work(bed)
      expect(await jobRows(bed)).toMatchObject([{ status: 'FAILED', total_tracks: 1, failed_tracks: 1 }])
    })

    test('a job that comes back after its work was committed finds it done', async () => {
      const [id] = await bed.addTracks(1, 30_000)
      const analysed = await addObject(bed, 'audio/a.mp3', demo('01-first-light.mp3'))
      await enqueueUploads(bed)
      await enqueueAnalyses(bed, { track: [analysed] })
      expect((await work(bed)).summary).toMatchObject({ done: 2 })
      const { analyzed_at } = await rowOf(bed, analysed)
      const ledger = await bed.database.knex('autodj_ledger.objects').orderBy('key')

      // As after a kill between the commit and the word to the queue.
      await bed.database.knex.raw(
        `update autodj_jobs.job set state = 'retry', retry_count = 1, completed_on = null where state = 'completed'`,
      )
      const again = await work(bed)
      expect(again.summary).toMatchObject({ done: 2, given_up: 0 })
      expect(again.items).toEqual([])
      expect((await rowOf(bed, analysed)).analyzed_at).toEqual(analyzed_at)
      expect(await bed.database.knex('autodj_ledger.objects').orderBy('key')).toEqual(ledger)
      expect((await bed.tracks()).get(id as string)?.file_source).toBe('S3')
    })

    test('a track that a live run holds is waited for', async () => {
      const [id] = await bed.addTracks(1, 30_000)
      await claimElsewhere(bed, id as string)
      await enqueueUploads(bed)
      const working = work(bed)
      for (;;) {
        const { upload } = await counts(bed)
        if (upload?.[1] === 1) break
        await sleep(50)
      }
      // It asks again and again, and is told that the track is taken.
      let asked = 0
      const count = ({ sql }: { sql: string }) => void (sql.includes('autodj_ledger.claims') && asked++)
      bed.database.knex.on('query', count)
      await expect.poll(() => asked, { timeout: 240_000 }).toBeGreaterThan(4)
      bed.database.knex.off('query', count)
      expect((await bed.tracks()).get(id as string)?.file_source).toBe('LOCAL')
      await bed.database.knex('autodj_ledger.claims').del()
      expect((await working).summary).toMatchObject({ done: 1, attempts_failed: 0 })
      expect((await bed.tracks()).get(id as string)?.file_source).toBe('S3')
    })

    test('stopped, it finishes what is in hand, leaves the rest queued, and ends with 0', async () => {
      await bed.addTracks(60, 20_000)
      await enqueueUploads(bed)
      const stopping = new AbortController()
      const working = work(bed, { untilEmpty: false, upload: 2, fetch: 0, analyze: 0 }, { stopping })
      while (![...(await bed.tracks()).values()].some(row => row.file_source === 'S3')) await sleep(20)
      stopping.abort('sigterm')
      const stopped = await working
      expect(stopped.exitCode).toBe(ExitCode.ok)
      const rows = [...(await bed.tracks()).values()]
      const done = rows.filter(row => row.file_source === 'S3').length
      expect(done).toBeGreaterThan(0)
      const { upload } = await counts(bed)
      expect(upload).toEqual([60 - done, 0, 0])
      expect((await jobRows(bed))[0]).toMatchObject({
        downloaded_tracks: done,
        status: done === 60 ? 'COMPLETED' : 'PROCESSING',
      })

      expect((await work(bed)).exitCode).toBe(ExitCode.ok)
      expect((await bed.objects()).size).toBe(60)
      expect(await jobRows(bed)).toMatchObject([{ status: 'COMPLETED', downloaded_tracks: 60 }])
    })

    test('stopped while it waits for what is queued to be done, it ends too', {
      timeout: 120_000,
    }, async () => {
      const [id] = await bed.addTracks(1, 30_000)
      await enqueueUploads(bed)
      await claimElsewhere(bed, id as string)
      const stopping = new AbortController()
      const working = work(bed, { untilEmpty: true }, { stopping })
      // One that does not end is given what it waits for, so that no other test waits for it.
      onTestFailed(async () => {
        await bed.database.knex('autodj_ledger.claims').del()
        await working.catch(() => undefined)
      })
      await expect
        .poll(() => counts(bed).then(({ upload }) => upload), { timeout: 60_000 })
        .not.toEqual([0, 0, 0])
      stopping.abort('sigterm')
      expect((await working).exitCode).toBe(ExitCode.ok)
      expect((await bed.tracks()).get(id as string)?.file_source).toBe('LOCAL')
    })

    test('large files go in parts of 8 MiB', async () => {
      const [id] = await bed.addTracks(1, 17 * 1024 ** 2)
      await enqueueUploads(bed)
      expect((await work(bed)).exitCode).toBe(ExitCode.ok)
      const key = (await bed.tracks()).get(id as string)?.s3_object_key as string
      expect((await bed.store.head(key))?.etag).toMatch(/-3"?$/)
    })

    test('a job that a stop puts back loses no retry, not even its last', async () => {
      const [id] = await bed.addTracks(1, 30_000)
      await enqueueUploads(bed)
      const { knex } = bed.database
      await knex.raw('update autodj_jobs.job set retry_limit = 0')
      await claimElsewhere(bed, id as string)
      const stopping = new AbortController()
      const working = work(bed, { untilEmpty: false, upload: 1, fetch: 0, analyze: 0 }, { stopping })
      while ((await counts(bed))['upload']?.[1] !== 1) await sleep(50)
      stopping.abort('sigterm')
      const stopped = await working
      expect(stopped.exitCode).toBe(ExitCode.ok)
      expect(stopped.summary).toMatchObject({ put_back: 1, given_up: 0, attempts_failed: 0 })
      expect(await counts(bed)).toMatchObject({ upload: [1, 0, 0] })

      // And it still has its one attempt: that one fails, and is the last.
      await knex('autodj_ledger.claims').del()
      rmSync(path.join(bed.audioRoot, 'folder 0'), { recursive: true })
      const tried = await work(bed)
      expect(tried.summary).toMatchObject({ done: 0, given_up: 1, put_back: 0 })
    })

    test('what may pass by itself is tried again, up to the limit and no further', {
      timeout: 120_000,
    }, async () => {
      const { knex } = bed.database
      const id = await bed.addTrack({ path: null, source: 'UNAVAILABLE' })
      const url = 'http://127.0.0.1:9/{id}'
      await bed.run('fetch', context =>
        enqueueFetch(context, { ...fetchDefaults, from: ['url'], url, enqueue: true }),
      )
      await knex.raw('update autodj_jobs.job set retry_limit = 1, retry_delay = 0, retry_backoff = false')
      const stopping = new AbortController()
      const working = work(bed, { untilEmpty: true }, { stopping })
      // One that tries for ever is stopped, so that no other test waits for it.
      onTestFailed(async () => {
        stopping.abort('sigterm')
        await working.catch(() => undefined)
      })
      const tried = await working
      expect(tried.summary).toMatchObject({ attempts_failed: 1, given_up: 1, done: 0 })
      expect(await counts(bed)).toMatchObject({ fetch: [0, 0, 1] })
      expect((await bed.tracks()).get(id)?.file_source).toBe('UNAVAILABLE')
    })

    test('a job that killed its worker each time is written down by another', async () => {
      const [id] = (await bed.addTracks(1, 30_000)) as [string]
      await enqueueUploads(bed)
      await bed.run('worker', async context => {
        const { knex } = bed.database
        await knex.raw('update autodj_jobs.job set retry_limit = 0')
        const boss = await openBoss(context, bed.database, { supervise: false })
        const [job] = await boss.fetch('upload')
        // What the supervisor does when a heartbeat stays out.
        await boss.fail('upload', job!.id)
        await boss.stop({ graceful: false })
        const runId = randomUUID()
        await startRun(knex, {
          id: runId,
          command: 'worker',
          args: {},
          host: 'h',
          pid: process.pid,
          version: '0',
        })
        const { signal, stopping } = context
        const worker = new Worker(
          {
            context,
            database: bed.database,
            run: { id: runId, lost: signal, stopping, halt() {} },
            settings: { ...workerDefaults, concurrency: { fetch: 1, upload: 1, analyze: 1 } },
            tempFolder: bed.dir,
          },
          boss,
        )
        await worker.maintain()
        return ExitCode.ok
      })
      expect(await jobRows(bed)).toMatchObject([
        {
          status: 'FAILED',
          failed_tracks: 1,
          error_details: { failures: [{ track_id: id, code: 'job.lost' }] },
        },
      ])
      expect(await bed.database.knex('autodj_ledger.items')).toMatchObject([
        { command: 'upload-local', subject: id, error_code: 'job.lost' },
      ])
    })

    test('a URL with a secret: --url warns that it is kept with the jobs, FETCH_URL is in none', async () => {
      const content = fakeAudio(20_000, 8)
      const asked: string[] = []
      const server = createServer((request, response) => {
        asked.push(request.url ?? '')
        response.end(content)
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      try {
        const id = await bed.addTrack({ path: null, source: 'UNAVAILABLE' })
        const url = `${urlOf(server)}/{id}?token=hush`
        const queue = (flags: Partial<FetchFlags>) =>
          bed.run('fetch', context => enqueueFetch(context, { ...fetchDefaults, from: ['url'], ...flags }))
        const warned = expect.objectContaining({ message: expect.stringMatching(/set FETCH_URL where/) })
        const jobs = async () => JSON.stringify(await bed.database.knex('autodj_jobs.job').select('data'))
        expect((await queue({ url })).messages).toContainEqual(warned)
        expect(await jobs()).toContain('hush')
        await bed.database.knex('autodj_jobs.job').del()
        expect((await queue({})).messages).not.toContainEqual(warned)
        expect(await jobs()).not.toContain('hush')
        expect((await work(bed, {}, { env: { FETCH_URL: url } })).exitCode).toBe(ExitCode.ok)
        expect(asked).toEqual([`/${id}?token=hush`])
        expect((await bed.tracks()).get(id)?.file_source).toBe('S3')
      } finally {
        server.close()
      }
    })

    test('an audio folder that looks unmounted: nothing that needs it is done', async () => {
      const ids = [await bed.addTrack({ path: 'a.mp3' }), await bed.addTrack({ path: 'b.mp3' })]
      await enqueueUploads(bed, { force: true })
      await bed.run('fetch', context =>
        enqueueFetch(context, { ...fetchDefaults, force: true, from: ['s3'] }),
      )
      const before = await bed.tracks()
      const refused = await work(bed, { force: false })
      expect(refused.error).toMatchObject({ exitCode: ExitCode.safetyLimit })
      const left = await work(bed, { force: false, fetch: undefined, upload: undefined })
      expect(left.exitCode).toBe(ExitCode.ok)
      expect(left.messages).toContainEqual(
        expect.objectContaining({ message: expect.stringMatching(/left to other machines/) }),
      )
      expect(await bed.tracks()).toEqual(before)
      expect(await counts(bed)).toMatchObject({ upload: [2, 0, 0], fetch: [2, 0, 0] })
      // --force says that it is right: the files are gone.
      await work(bed, { force: true, upload: 0 })
      expect(ids.map(id => before.get(id)?.file_source)).toEqual(['LOCAL', 'LOCAL'])
      expect([...(await bed.tracks()).values()].map(row => row.file_source)).toEqual([
        'UNAVAILABLE',
        'UNAVAILABLE',
      ])
    })

    test('without the audio folder uploads are left to other machines', async () => {
      await bed.addTracks(1, 30_000)
      await enqueueUploads(bed)
      rmSync(bed.audioRoot, { recursive: true })
      try {
        const refused = await work(bed)
        expect(refused.error).toMatchObject({ code: 'config.audio-root', exitCode: ExitCode.usage })
        const left = await work(bed, { upload: undefined })
        expect(left.exitCode).toBe(ExitCode.ok)
        expect(left.messages).toContainEqual(
          expect.objectContaining({ message: expect.stringMatching(/left to other/) }),
        )
        expect(await counts(bed)).toMatchObject({ upload: [1, 0, 0] })
      } finally {
        mkdirSync(bed.audioRoot)
      }
    })

    test("flags that are the worker's are refused; --job must be there", async () => {
      const command = (verb: string) => commands.find(one => one.name === verb)!
      const defaults = (verb: string) =>
        Object.fromEntries(Object.entries(command(verb).flags).map(([key, one]) => [key, one.defaultValue]))
      const given = {
        upload: ['upload-local', { memory: 100 * MiB }],
        fetch: ['fetch', { rate: 5 }],
        analyze: ['analyze', { check: true }],
      } as const
      for (const [verb, flags] of Object.values(given)) {
        const run = await bed.run(verb, context =>
          command(verb).run(context, { ...defaults(verb), ...flags, enqueue: true }, []),
        )
        expect(run.error, verb).toMatchObject({ exitCode: ExitCode.usage, code: 'usage.flag' })
      }
      for (const job of ['nonsense', randomUUID()]) {
        expect((await enqueueAnalyses(bed, {}, job)).error?.message).toBe(
          `--job: "${job}" is not a row of analysis_jobs`,
        )
      }
    })
  })
}
