/**
 * What a job of each kind does with its track: the same code as the command, with the same claims in the ledger. A job
 * that is delivered twice finds its work done and does nothing.
 */

import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { type AnalyzeJobOptions, analyzeFilter, openAnalyzer } from '../analyze/run.ts'
import { AnalyzeWork } from '../analyze/work.ts'
import { Readers, readerThreads } from '../audio-files/readers.ts'
import { folderExists } from '../audio-files/source.ts'
import { openServedCheck } from '../cdn/served.ts'
import type { Context } from '../context.ts'
import type { Database } from '../db/database.ts'
import { runsAlive } from '../db/ledger.ts'
import { requireAllRows } from '../db/row-security.ts'
import { type Track, type TrackFilter, trackPage } from '../db/tracks.ts'
import type { ErrorCode } from '../error-codes.ts'
import { sweepStaging } from '../fetch/fetcher.ts'
import { type FetchJobOptions, openFetchWork } from '../fetch/run.ts'
import { countJobs, isEmpty } from '../queue/counts.ts'
import type { JobKind } from '../queue/names.ts'
import { NamedTracks } from '../runs/named-tracks.ts'
import type { RecordedRun } from '../runs/recorded-run.ts'
import { isRowProblem, type TrackTask, type TrackWork } from '../runs/track-work.ts'
import type { UploadJobOptions } from '../upload/run.ts'
import { UploadWork } from '../upload/work.ts'

/** What became of a track. A `final` failure is one that trying again does not change; `recorded`: the ledger has it. */
export type JobEnd =
  | { readonly state: 'done'; readonly what: string }
  | {
      readonly state: 'failed'
      readonly code: ErrorCode
      readonly reason: string
      readonly cure?: string | undefined
      readonly final: boolean
      readonly recorded: boolean
    }
  | { readonly state: 'interrupted' }

export interface JobHandler {
  /**
   * @param since when it was queued
   * @throws RunHalted and what else no other track would be spared; what has gone wrong with the database
   */
  take(trackId: string, since: Date): Promise<JobEnd>
  /** Removes what dead runs left behind in S3. */
  sweep(): Promise<void>
  close(): Promise<void>
}

interface WorkerSettings {
  /** Jobs in hand at a time, by kind; 0: none of it. */
  readonly concurrency: Readonly<Record<JobKind, number>>
  /** bytes that uploads may take */
  readonly memory: number
  /** downloads begun a minute */
  readonly rate: number | undefined
  /** bytes of downloads on disk */
  readonly tempLimit: number
  /** milliseconds */
  readonly maxOutage: number
  /** milliseconds */
  readonly lockWait: number
  /** what --force says */
  readonly force: boolean
}

/** What all handlers work with. */
export interface Workplace {
  readonly context: Context
  readonly database: Database
  readonly run: RecordedRun
  readonly settings: WorkerSettings
  /** Removed when the worker ends. */
  readonly tempFolder: string
}

const MiB = 1024 ** 2

export const openHandler: Readonly<
  Record<JobKind, (place: Workplace, options: Readonly<Record<string, unknown>>) => Promise<JobHandler>>
> = {
  fetch: (place, options) => openFetching(place, options as unknown as FetchJobOptions),
  upload: (place, options) => openUploading(place, options as unknown as UploadJobOptions),
  analyze: (place, options) => openAnalyzing(place, options as unknown as AnalyzeJobOptions),
}

async function openUploading(place: Workplace, options: UploadJobOptions): Promise<JobHandler> {
  const { context, database, run, settings } = place
  const { config, signal } = context
  const concurrency = settings.concurrency.upload
  const store = await context.store()
  if (options.deleteLocal) await requireAllRows(database, { force: settings.force })
  const checking = options.deleteLocal
    ? await openServedCheck(config, { concurrency: 32, signal, now: context.now })
    : undefined
  const readers = new Readers(readerThreads())
  const work = new UploadWork(context, database, store, run, {
    headers: options.headers,
    maxConcurrency: concurrency,
    initialConcurrency: concurrency,
    memory: settings.memory,
    multipartThreshold: Math.min(16 * MiB, settings.memory),
    partSize: 8 * MiB,
    maxOutage: settings.maxOutage,
    throttle: context.throttle,
    readers,
    deleteLocal: options.deleteLocal,
    served: checking?.served,
  })
  return {
    take: handle(place, work, {
      filterOf: id => ({ ids: [id], sources: ['LOCAL', 'YOUTUBE', null], hasFile: true }),
      // Every file looks gone if the folder is no longer mounted.
      isFinal: async outcome => outcome.state === 'skipped' && (await folderExists(config.audioRoot)),
      lacking: ({ fileSource }) =>
        fileSource === 'S3' ? undefined : { code: 'row.no-file', reason: 'the row names no local file' },
    }),
    async sweep() {
      // A job that comes back continues the upload that its dead worker began.
      if (isEmpty(await countJobs(database.knex), ['upload'])) await work.sweep()
    },
    async close() {
      await work.close()
      await readers.close()
      checking?.close()
    },
  }
}

async function openFetching(place: Workplace, options: FetchJobOptions): Promise<JobHandler> {
  const { context, database, run, settings } = place
  const { knex } = database
  const store = await context.store()
  const { work, close } = await openFetchWork(context, database, store, run, {
    ...options,
    sources: new Set(options.sources),
    rate: settings.rate,
    force: settings.force,
    maxOutage: settings.maxOutage,
    tempFolder: await ownFolder(place),
  })
  return {
    take: handle(place, work, {
      filterOf: id => ({ ids: [id] }),
      isFinal: async outcome => outcome.state === 'failed' && !outcome.passing,
      lacking: () => undefined,
    }),
    async sweep() {
      await sweepStaging(store, context.config.s3.keyPrefix, ids => runsAlive(knex, ids))
    },
    close,
  }
}

async function openAnalyzing(place: Workplace, options: AnalyzeJobOptions): Promise<JobHandler> {
  const { context, database, run, settings } = place
  const { analyzer, origin } = await openAnalyzer(context, {
    ...options,
    // One that waits for its download beside each that is analysed.
    concurrency: Math.max(1, Math.ceil(settings.concurrency.analyze / 2)),
    tempLimit: settings.tempLimit,
    maxOutage: settings.maxOutage,
    runId: run.id,
    stopping: run.stopping,
    tempFolder: await ownFolder(place),
  })
  const flags = { ...options, missing: false, outdated: false, failed: false, all: false, check: false }
  const filterOf = (id: string, since: Date) =>
    analyzeFilter({ ...flags, track: [id] }, since, { origin: origin !== undefined, folder: true })
  return {
    take: handle(place, new AnalyzeWork(context, database, analyzer, run, false), {
      filterOf,
      isFinal: async outcome => outcome.state === 'failed' && outcome.about === 'content',
      async lacking({ id }) {
        const { notAnalyzedSince: _, ...withAudio } = filterOf(id, new Date())
        return (await trackPage(database.knex, { limit: 1, filter: withAudio })).length > 0
          ? undefined
          : { code: 'row.no-audio', reason: 'the track has no audio from this source' }
      },
    }),
    async sweep() {},
    async close() {},
  }
}

type MaybePromise<T> = T | Promise<T>

interface KindOfJob<Outcome> {
  /** the row as the job takes it, or none */
  filterOf(trackId: string, since: Date): TrackFilter
  /** whether trying again does not change it */
  isFinal(outcome: Outcome): Promise<boolean>
  /** what a row lacks that is there and not taken; undefined: it is done */
  lacking(track: Track): MaybePromise<{ code: ErrorCode; reason: string } | undefined>
}

function handle<Task extends TrackTask, Outcome extends { readonly state: string }>(
  { database, run, settings }: Workplace,
  work: TrackWork<Task, Outcome>,
  { filterOf, isFinal, lacking }: KindOfJob<Outcome>,
): JobHandler['take'] {
  const { knex } = database
  const tracks = new NamedTracks(database, run, work, settings.lockWait)
  return async (id, since) => {
    const end = await tracks.take(filterOf(id, since))
    switch (end.state) {
      case 'interrupted':
        return { state: 'interrupted' }
      case 'left-out':
        return { state: 'done', what: 'done already' }
      case 'locked': {
        const reason = 'another transaction keeps its row locked'
        const cure = 'See in pg_stat_activity and pg_locks who holds it, then queue it again.'
        return { state: 'failed', code: 'row.locked', reason, cure, final: false, recorded: false }
      }
      case 'absent': {
        const [track] = await trackPage(knex, { limit: 1, filter: { ids: [id] } })
        const found: Awaited<ReturnType<typeof lacking>> =
          track === undefined ? { code: 'row.missing', reason: 'no such track' } : await lacking(track)
        return found === undefined
          ? { state: 'done', what: 'done already' }
          : { state: 'failed', ...found, final: true, recorded: false }
      }
      case 'ended': {
        const { outcome, problem } = end
        // A file can be damaged and its track done.
        const isFailed = outcome.state === 'failed' || outcome.state === 'skipped'
        if (problem === undefined || !(isFailed || isRowProblem(problem)))
          return { state: 'done', what: outcome.state }
        const { code, reason, cure } = problem
        const final = isRowProblem(problem) ? code !== 'row.changed' : await isFinal(outcome)
        return { state: 'failed', code, reason, cure, final, recorded: true }
      }
    }
  }
}

let folders = 0

async function ownFolder({ tempFolder }: Workplace): Promise<string> {
  const folder = path.join(tempFolder, `${++folders}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return folder
}
