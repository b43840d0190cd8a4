/** Who does a job, who is asked whether it is wanted still, and when it is counted: with handlers that do nothing. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { ExitCode, TemporaryError } from '../../../src/errors.ts'
import { type JobData, openBoss } from '../../../src/queue/boss.ts'
import { recordRun } from '../../../src/runs/recorded-run.ts'
import { enqueueUpload, readUploadRequest } from '../../../src/upload/run.ts'
import { type JobHandler, openHandler, type Workplace } from '../../../src/worker/handlers.ts'
import { Worker } from '../../../src/worker/worker.ts'
import { uploadDefaults } from '../../contract/upload.ts'
import { workerDefaults } from '../../contract/worker.ts'
import { fakeAudio, type TestBed } from '../../support/bed.ts'
import { embeddedBed } from '../../support/beds.ts'
import { pgliteTestDatabase } from '../../support/database.ts'

let bed: TestBed
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(() => bed.close())
beforeEach(() => bed.reset())
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

interface Job {
  id: string
  data: JobData
  retryCount: number
  retryLimit: number
}

/** Queues uploads of so many tracks, and gives them to a worker whose handlers of uploads are these, as they are opened. */
async function withWorker(
  tracks: number,
  open: (options: Record<string, unknown>) => Promise<JobHandler>,
  work: (
    worker: Worker,
    jobs: readonly Job[],
    perform: (job: Job | undefined) => Promise<unknown>,
  ) => Promise<void>,
): Promise<void> {
  for (let number = 0; number < tracks; number++)
    await bed.addTrack({ path: `${number}.flac`, content: fakeAudio(100, number) })
  await bed.run('upload-local', async context =>
    enqueueUpload(context, await readUploadRequest(context, uploadDefaults), undefined),
  )
  const rows = await bed.database.knex('autodj_jobs.job').where({ name: 'upload' }).select('id', 'data')
  const jobs = rows.map(({ id, data }): Job => ({ id, data, retryCount: 0, retryLimit: 8 }))
  vi.spyOn(openHandler, 'upload').mockImplementation((_, options) => open(options))
  const { error } = await bed.run('worker', context =>
    recordRun(context, bed.database, async run => {
      const boss = await openBoss(context, bed.database, { supervise: false })
      const settings = { ...workerDefaults, concurrency: { fetch: 0, upload: 1, analyze: 0 } }
      const place: Workplace = { context, database: bed.database, run, settings, tempFolder: bed.dir }
      const worker = new Worker(place, boss)
      try {
        await work(worker, jobs, job => worker.perform('upload', job as never))
      } finally {
        await worker.close()
        await boss.stop({ graceful: false })
      }
      return { exitCode: ExitCode.ok, summary: {} }
    }),
  )
  expect(error).toBeUndefined()
}

const idle = (told: string[] = [], name = 'handler'): JobHandler => ({
  take: async () => ({ state: 'done', what: 'nothing' }),
  sweep: async () => void told.push(`${name} sweeps`),
  close: async () => void told.push(`${name} closes`),
})

test('jobs of one command line share a handler; all of a kind sweep once, and each is closed', async () => {
  const told: string[] = []
  let opened = 0
  await withWorker(
    3,
    async () => idle(told, `${++opened}`),
    async (_, [first, second, third], perform) => {
      await perform(first)
      await perform(second)
      expect(opened).toBe(1)
      await perform({ ...third, data: { ...third?.data, options: { deleteLocal: true } } } as Job)
      expect(opened).toBe(2)
      expect(told).toEqual([])
    },
  )
  expect(told).toEqual([expect.stringMatching(/^[12] sweeps$/), '1 closes', '2 closes'])
})

test('a handler that cannot be opened fails its job, and is opened anew for the next', async () => {
  let opened = 0
  await withWorker(
    2,
    async () => {
      if (++opened === 1) throw new TemporaryError('no', { code: 'db.unreachable', cure: 'Wait.' })
      return idle()
    },
    async (worker, [first, second], perform) => {
      const output = { code: 'db.unreachable', message: 'no', cure: 'Wait.' }
      expect(await perform(first)).toMatchObject({ status: 'failed', output })
      expect(await perform(second)).toMatchObject({ status: 'completed' })
      expect(worker.totals).toMatchObject({ done: { upload: 1 }, retried: 1 })
    },
  )
})

test('whether its user cancelled a job is asked once a second, however many tracks it has, and anew if it could not be told', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  const { knex } = bed.database
  let asked = 0
  const count = ({ sql }: { sql: string }) =>
    void (/select a\.id from analysis_jobs a where a\.id/.test(sql) && asked++)
  knex.on('query', count)
  try {
    await withWorker(
      4,
      async () => idle(),
      async (_, [first, second, third, fourth], perform) => {
        await knex.raw('alter table analysis_jobs rename to away')
        await expect(perform(first)).rejects.toThrow(/analysis_jobs/)
        await knex.raw('alter table away rename to analysis_jobs')
        asked = 0
        await perform(first)
        vi.advanceTimersByTime(999)
        await perform(second)
        expect(asked).toBe(1)
        vi.advanceTimersByTime(1)
        await perform(third)
        expect(asked).toBe(2)
        const cancelled = { status: 'FAILED', error_message: 'Job cancelled by user' }
        await knex('analysis_jobs').update(cancelled)
        vi.advanceTimersByTime(1_000)
        expect(await perform(fourth)).toMatchObject({ status: 'completed', output: { result: 'cancelled' } })
      },
    )
  } finally {
    knex.removeListener('query', count)
  }
})

test('the row of a job counts its tracks soon after each ends, while the worker works', async () => {
  const row = () => bed.database.knex('analysis_jobs').first('failed_tracks')
  const failing: JobHandler = {
    ...idle(),
    take: async () => ({
      ...{ state: 'failed', code: 'file.missing', reason: 'gone' },
      ...{ final: true, recorded: true },
    }),
  }
  await withWorker(
    2,
    async () => failing,
    async (_, [first, second], perform) => {
      await perform(first)
      await expect.poll(row, { timeout: 60_000 }).toEqual({ failed_tracks: 1 })
      await perform(second)
      await expect.poll(row, { timeout: 60_000 }).toEqual({ failed_tracks: 2 })
    },
  )
})

test('what dead runs left in S3 is looked for every ten minutes', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  const told: string[] = []
  await withWorker(
    1,
    async () => idle(told),
    async (worker, [job], perform) => {
      await perform(job)
      const sweeps = async (minutes: number) => {
        vi.advanceTimersByTime(minutes * 60_000)
        await worker.maintain()
        return told.splice(0).length
      }
      expect([await sweeps(10), await sweeps(0.1), await sweeps(9.9), await sweeps(0.2)]).toEqual([
        0, 1, 0, 1,
      ])
    },
  )
})
