/**
 * What a job of each kind does with its track: the same code as the command, with the same claims in the ledger. A job
 * that is delivered twice finds its work done and does nothing.
 */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { analyzeCommand, analyzeTracks } from '../analyze/analyze.ts'
import { type AnalyzeJobOptions, analyzeFilter, openAnalyzer } from '../analyze/run.ts'
import { Readers } from '../audio-files/readers.ts'
import { folderExists } from '../audio-files/source.ts'
import { openServedCheck } from '../cdn/served.ts'
import type { Context } from '../context.ts'
import type { BandwidthTable } from '../core/bandwidth.ts'
import type { Database } from '../db/database.ts'
import { releaseClaims, rememberedByPath, runsAlive } from '../db/ledger.ts'
import { claimTracks, type Track, type TrackFilter, trackPage } from '../db/tracks.ts'
import { sweepStaging } from '../fetch/fetcher.ts'
import { type FetchJobOptions, openFetcher } from '../fetch/run.ts'
import { fetchClaim, fetchTrack, withPreview } from '../fetch/track.ts'
import { countJobs, isEmpty } from '../queue/counts.ts'
import type { JobKind } from '../queue/names.ts'
import type { RecordedRun } from '../runs/recorded-run.ts'
import { Resilience } from '../storage/resilience.ts'
import type { ObjectStore } from '../storage/store.ts'
import { Throttle } from '../storage/throttle.ts'
import {
  commitUploads,
  recordUploadProblem,
  reportUpload,
  transferJob,
  uploadClaim,
} from '../upload/commit.ts'
import { Journal } from '../upload/journal.ts'
import { readerThreads, type UploadJobOptions } from '../upload/run.ts'
import { TransferEngine } from '../upload/transfer.ts'

/** What became of a track. A `final` failure is one that trying again does not change; `recorded`: the ledger has it. */
export type JobEnd =
  | { readonly state: 'done'; readonly what: string }
  | {
      readonly state: 'failed'
      readonly code: string
      readonly reason: string
      readonly cure?: string | undefined
      readonly final: boolean
      readonly recorded: boolean
    }
  | { readonly state: 'interrupted' }

export interface Performer {
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
  readonly bwlimit: BandwidthTable | undefined
  /** bytes that uploads may take */
  readonly memory: number
  /** downloads begun a minute */
  readonly rate: number | undefined
  /** bytes of downloads on disk */
  readonly tempLimit: number
  /** milliseconds */
  readonly maxOutage: number
}

/** What all performers work with. */
export interface Workplace {
  readonly context: Context
  readonly database: Database
  readonly run: RecordedRun
  readonly settings: WorkerSettings
  /** Take nothing new. */
  readonly stopping: AbortSignal
  /** Removed when the worker ends. */
  readonly tempFolder: string
}

const MiB = 1024 ** 2

export const openPerformer: Readonly<
  Record<JobKind, (place: Workplace, options: Readonly<Record<string, unknown>>) => Promise<Performer>>
> = {
  fetch: (place, options) => openFetching(place, options as unknown as FetchJobOptions),
  upload: (place, options) => openUploading(place, options as unknown as UploadJobOptions),
  analyze: (place, options) => openAnalysing(place, options as unknown as AnalyzeJobOptions),
}

async function openUploading(place: Workplace, options: UploadJobOptions): Promise<Performer> {
  const { context, database, run, settings, stopping } = place
  const { config, signal, report } = context
  const { knex } = database
  const concurrency = settings.concurrency.upload
  const store = await context.store()
  const checking = options.deleteLocal
    ? await openServedCheck(config, { concurrency: 8, signal, now: context.now })
    : undefined
  const journal = new Journal(database, store, run.id)
  const readers = new Readers(readerThreads())
  const engine = new TransferEngine({
    store,
    journal,
    report,
    audioFolder: config.audioFolder,
    keyPrefix: config.s3.keyPrefix,
    headers: options.headers,
    maxConcurrency: concurrency,
    initialConcurrency: concurrency,
    memory: settings.memory,
    multipartThreshold: Math.min(16 * MiB, settings.memory),
    partSize: 8 * MiB,
    maxOutage: settings.maxOutage,
    throttle: new Throttle(settings.bwlimit),
    readers,
    stopping,
    signal,
  })
  return {
    async take(id) {
      const filter: TrackFilter = { ids: [id], sources: ['LOCAL', 'YOUTUBE', null], hasFile: true }
      const track = await claimTrack(place, uploadClaim, filter)
      if (track === undefined) {
        return absent(place, id, ({ fileSource }) =>
          fileSource === 'S3' ? undefined : { code: 'row.no-file', reason: 'the row names no local file' },
        )
      }
      try {
        const filePath = track.filePath as string
        const remembered = (await rememberedByPath(knex, [filePath], config.audioFolder)).get(filePath)
        const outcome = await engine.transfer(transferJob(track, remembered))
        reportUpload(report, track, outcome)
        if (!('object' in outcome)) {
          if (outcome.state === 'interrupted') return { state: 'interrupted' }
          await recordUploadProblem(database, run.id, id, outcome)
          // Every file looks gone where the folder is not mounted any more.
          const final = outcome.state === 'skipped' && (await folderExists(config.audioRoot))
          return { ...outcome, state: 'failed', final, recorded: true }
        }
        const ends = await commitUploads(context, database, [{ track, outcome }], {
          store,
          runId: run.id,
          deleteLocal: options.deleteLocal,
          served: checking?.served,
        })
        const end = ends.get(id)
        return end === undefined || end.state === 'done'
          ? { state: 'done', what: outcome.state }
          : { ...end, final: end.code === 'row.deleted', recorded: true }
      } finally {
        await releaseClaims(knex, { kind: uploadClaim, runId: run.id, trackIds: [id] })
      }
    },
    async sweep() {
      // A job that comes back goes on with the upload that its dead worker began.
      if (isEmpty(await countJobs(knex), ['upload'])) await journal.sweep()
    },
    async close() {
      await journal.close()
      await readers.close()
      checking?.close()
    },
  }
}

async function openFetching(place: Workplace, options: FetchJobOptions): Promise<Performer> {
  const { context, database, run, settings } = place
  const { knex } = database
  const store = await context.store()
  const { fetcher, close } = await openFetcher(context, database, store, run, {
    ...options,
    sources: new Set(options.sources),
    rate: settings.rate,
    maxOutage: settings.maxOutage,
    tempFolder: await ownFolder(place),
  })
  const resilience = outages(place, store)
  return {
    async take(id) {
      const track = await claimTrack(place, fetchClaim, { ids: [id] })
      if (track === undefined) return absent(place, id, () => undefined)
      try {
        const [one] = await withPreview(knex, [track])
        const work = { fetcher, bucket: store.bucket, runId: run.id }
        const end = await resilience.run(() => fetchTrack(context, database, one!, work))
        if (end.state !== 'failed') return { state: 'done', what: end.state }
        return { ...end, final: !end.passing, recorded: true }
      } finally {
        await releaseClaims(knex, { kind: fetchClaim, runId: run.id, trackIds: [id] })
      }
    },
    async sweep() {
      await sweepStaging(store, context.config.s3.keyPrefix, ids => runsAlive(knex, ids))
    },
    close,
  }
}

async function openAnalysing(place: Workplace, options: AnalyzeJobOptions): Promise<Performer> {
  const { context, database, run, settings, stopping } = place
  const { config, report, now } = context
  const { analyzer, origin } = await openAnalyzer(context, {
    ...options,
    // One that waits for its download beside each that is analysed.
    concurrency: Math.max(1, Math.ceil(settings.concurrency.analyze / 2)),
    tempLimit: settings.tempLimit,
    maxOutage: settings.maxOutage,
    runId: run.id,
    stopping,
    tempFolder: await ownFolder(place),
  })
  const flags = { ...options, missing: false, outdated: false, failed: false, all: false, check: false }
  return {
    async take(id, since) {
      const filter = analyzeFilter({ ...flags, track: [id] }, since, {
        origin: origin !== undefined,
        folder: true,
      })
      const track = await claimTrack(place, analyzeCommand, filter)
      if (track === undefined) {
        const { notAnalyzedSince: _, ...withAudio } = filter
        const there = (await trackPage(database.knex, { limit: 1, filter: withAudio })).length > 0
        return absent(place, id, () =>
          there ? undefined : { code: 'row.no-audio', reason: 'the track has no audio from this source' },
        )
      }
      const subject = track.s3ObjectKey ?? track.filePath ?? id
      const fields = { track_id: id, artist: track.artist, title: track.title }
      try {
        const ended = await analyzeTracks(database, analyzer, {
          ids: [id],
          runId: run.id,
          bucket: config.s3.bucket,
          now,
          claimed: analyzeCommand,
        })
        const result = ended.get(id)
        if (result === undefined) return absent(place, id, () => undefined)
        if (result.state === 'interrupted') return { state: 'interrupted' }
        if (result.state === 'failed') {
          const { code, reason, cure, about } = result
          report.item({ subject, state: 'failed', fields: { ...fields, code }, reason, cure })
          return { state: 'failed', code, reason, cure, final: about === 'content', recorded: true }
        }
        report.item({ subject, state: result.state, fields })
        return { state: 'done', what: result.state }
      } finally {
        await releaseClaims(database.knex, { kind: analyzeCommand, runId: run.id, trackIds: [id] })
      }
    },
    async sweep() {},
    async close() {},
  }
}

/**
 * Claims a track, and waits for it where another run has it: that run is alive, or its lease is about to run out.
 *
 * @returns undefined where the row is not, or no longer, one that the filter takes
 * @throws AbortError when the worker stops meanwhile
 */
async function claimTrack(
  { database: { knex }, run, stopping }: Workplace,
  kind: string,
  filter: TrackFilter,
): Promise<Track | undefined> {
  for (let pause = 100; ; pause = Math.min(2_000, pause * 2)) {
    const { tracks } = await claimTracks(knex, { kind, runId: run.id, limit: 1, filter })
    if (tracks[0] !== undefined) return tracks[0]
    if ((await trackPage(knex, { limit: 1, filter })).length === 0) return undefined
    await sleep(pause, undefined, { signal: stopping })
  }
}

/** What to say of a track that is not to be treated: its row is gone, or `problem` names what it lacks, or it is done. */
async function absent(
  { database: { knex } }: Workplace,
  id: string,
  problem: (track: Track) => { code: string; reason: string } | undefined,
): Promise<JobEnd> {
  const [track] = await trackPage(knex, { limit: 1, filter: { ids: [id] } })
  const found =
    track === undefined ? { code: 'row.missing', reason: 'there is no such track' } : problem(track)
  return found === undefined
    ? { state: 'done', what: 'done already' }
    : { state: 'failed', ...found, final: true, recorded: false }
}

function outages({ context, settings, stopping }: Workplace, store: ObjectStore): Resilience {
  return new Resilience({
    probe: signal => store.checkBucket(signal),
    control: { throttled() {} },
    report: context.report,
    maxOutage: settings.maxOutage,
    signal: stopping,
  })
}

let folders = 0

async function ownFolder({ tempFolder }: Workplace): Promise<string> {
  const folder = path.join(tempFolder, `${++folders}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return folder
}
