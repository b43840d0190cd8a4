/** What `autodj upload-local` does with its flags: checks them, looks before it leaps, plans or runs. */

import { requireFiles } from '../audio-files/mounted.ts'
import { describeSurvey, surveyPaths } from '../audio-files/path-survey.ts'
import { Readers, readerThreads } from '../audio-files/readers.ts'
import { LocalFileError, requireAudioRoot } from '../audio-files/source.ts'
import { readText } from '../cli/read-text.ts'
import { requireBucket } from '../config.ts'
import type { Context } from '../context.ts'
import { formatDollars } from '../core/cost/prices.ts'
import { listedNames } from '../core/listed-names.ts'
import { isSelecting } from '../core/selection.ts'
import { formatBytes, formatCount, formatEstimate, plural, printable } from '../core/units.ts'
import { partSizeFor } from '../core/upload/multipart.ts'
import { requireCodeForS3 } from '../db/application-code.ts'
import type { Database } from '../db/database.ts'
import { lastNumber } from '../db/ledger.ts'
import { requireSchema } from '../db/require-schema.ts'
import { requireAllRows } from '../db/row-security.ts'
import { hasNoRows, type Track, type TrackFilter, trackIdsByFilePath } from '../db/tracks.ts'
import { type ExitCode, UsageError } from '../errors.ts'
import { recordRun } from '../runs/recorded-run.ts'
import { plannedTracks, runTracks, type TrackChoice } from '../runs/track-run.ts'
import type { ObjectHeaders } from '../storage/store.ts'
import type { UploadFlags } from './flags.ts'
import { summariseUpload } from './summary.ts'
import { type UploadSettings, UploadWork, uploadCommand } from './work.ts'

/** Where the engine starts before it has measured anything, and where it ends at the latest. */
const initialConcurrency = 16
const maxConcurrency = 256

interface UploadRequest extends Omit<UploadSettings, 'served' | 'readers' | 'onBytes'> {
  readonly limit: number | undefined
  /** milliseconds */
  readonly lockWait: number
  readonly retryFailed: boolean
  /** continue even if the audio folder looks empty */
  readonly force: boolean
  /** paths as in the rows, or track ids; undefined: all */
  readonly only: readonly string[] | undefined
}

/** Which rows `upload-local` takes: those with a local file and no proof in S3 yet. */
async function uploadChoices(
  { knex }: Database,
  { retryFailed, only }: Pick<UploadRequest, 'retryFailed' | 'only'>,
  report: Pick<Context['report'], 'warn'>,
): Promise<TrackChoice[]> {
  const base: TrackFilter = { sources: ['LOCAL', 'YOUTUBE', null], hasFile: true }
  const filter = retryFailed ? { ...base, failedIn: uploadCommand } : base
  if (only === undefined) return [{ filter }]
  const { ids, unknown } = await trackIdsByFilePath(knex, only)
  if (unknown.count > 0) {
    report.warn(
      `--files-from: ${plural(unknown.count, 'line')} of ${formatCount(only.length)} ` +
        `${unknown.count === 1 ? 'is' : 'are'} not the file path or id of a track, such as "${printable(unknown.first)}"`,
    )
  }
  const choices: TrackChoice[] = []
  for (let start = 0; start < ids.length; start += 10_000)
    choices.push({ filter: { ...filter, ids: ids.slice(start, start + 10_000) } })
  return choices
}

/** @throws UsageError for flags that contradict each other or name what cannot be read */
export async function readUploadRequest(context: Context, flags: UploadFlags): Promise<UploadRequest> {
  if (flags.kmsKeyId !== undefined && flags.sse !== 'aws:kms') {
    throw new UsageError('--kms-key-id needs --sse aws:kms', { code: 'usage.flag' })
  }
  return {
    headers: readHeaders(flags),
    maxConcurrency: flags.concurrency ?? maxConcurrency,
    initialConcurrency: flags.concurrency ?? initialConcurrency,
    memory: flags.memory,
    multipartThreshold: Math.min(flags.multipartThreshold, flags.memory),
    partSize: flags.partSize,
    maxOutage: flags.maxOutage,
    throttle: context.throttle,
    limit: flags.limit,
    force: flags.force,
    lockWait: flags.lockWait,
    retryFailed: flags.retryFailed,
    only:
      flags.filesFrom === undefined
        ? undefined
        : listedNames(await readText('--files-from', flags.filesFrom, context.cwd)),
    deleteLocal: flags.deleteLocal,
  }
}

/** The run itself, recorded in the ledger. */
export async function runUpload(context: Context, request: UploadRequest): Promise<ExitCode> {
  const { report, config } = context
  const readers = new Readers(readerThreads())
  context.onRelease(() => readers.close())
  // All at once: threads start, the database connects while the SDK is loaded, the bucket answers in the meantime. What is
  // wrong with the bucket is said first.
  requireBucket(config)
  const opening = context.database()
  const storing = context.store({ maxSockets: request.maxConcurrency + 4 })
  const checked = storing.then(store => store.checkBucket(context.signal))
  for (const one of await Promise.allSettled([checked, opening]))
    if (one.status === 'rejected') throw one.reason
  const [store, database] = await Promise.all([storing, opening])
  await requireSchema(database, 'adoption.code_updated_at')
  await requireCodeForS3(database)
  await requireAudioRoot(config.audioRoot)
  await requireFiles(database, config.audioFolder, { force: request.force, living: true })
  if (request.deleteLocal) await requireAllRows(database, request)
  const checking = request.deleteLocal ? await openChecking(context) : undefined
  if (checking) context.onRelease(checking.close)
  if (request.deleteLocal && !checking) {
    report.note('CLOUDFRONT_DOMAIN is not set: local files are deleted after the proof in S3 alone')
  }
  return recordRun(context, database, async run => {
    const progress = report.progress({ label: 'uploading', unit: 'files', showBytes: true })
    const work = new UploadWork(context, database, store, run, {
      ...request,
      readers,
      served: checking?.served,
      onBytes: bytes => progress.advance({ bytes }),
    })
    try {
      const end = await runTracks(context, database, run, {
        work,
        choices: await uploadChoices(database, request, report),
        limit: request.limit,
        lockWait: request.lockWait,
        claims: { first: 50, largest: 400 },
        commits: { size: 400, interval: 400 },
        slots: () => work.engine.fileSlots,
        progress,
        note: () => `${work.engine.statistics.concurrency} at a time`,
        finish: () => work.sweep(),
      })
      const summary = summariseUpload(work.totals, work.engine.statistics, end, {
        retryFailed: request.retryFailed,
        listed: request.only !== undefined || isSelecting(context.selection),
        stopped: context.stopExitCode() !== undefined,
        isEmpty: end.taken === 0 && (await hasNoRows(database)),
      })
      report.summary(summary)
      return { exitCode: end.exitCode, summary: summary.fields }
    } finally {
      await work.close()
    }
  })
}

/** Loaded only where local files are to go: it brings TLS diagnosis and URL signing along. */
async function openChecking(context: Context) {
  const { openServedCheck } = await import('../cdn/served.ts')
  return openServedCheck(context.config, { concurrency: 32, signal: context.signal, now: context.now })
}

/** How a queued track is to be uploaded; what else the flags say chooses tracks, or is the worker's. */
export type UploadJobOptions = Pick<UploadRequest, 'headers' | 'deleteLocal'>

/** `--enqueue`: what the flags ask for, for workers. */
export async function enqueueUpload(
  context: Context,
  request: UploadRequest,
  job: string | undefined,
): Promise<ExitCode> {
  const { headers, deleteLocal, limit } = request
  const { enqueueTracks } = await import('../queue/enqueue.ts')
  const choices = await uploadChoices(await context.database(), request, context.report)
  const options: UploadJobOptions = { headers, deleteLocal }
  return enqueueTracks(context, { kind: 'upload', choices, options: { ...options }, limit, job })
}

/** Amazon's list prices for us-east-1, US dollars; said as an estimate. */
const prices = { putPer1000: 0.005, storagePerGBMonth: 0.023 }

/** `--dry-run`: looks at every file, sends nothing. */
export async function planUpload(context: Context, request: UploadRequest): Promise<void> {
  const { report, config } = context
  const database = await context.database()
  await requireSchema(database, 'uploads.headers')
  const root = await requireAudioRoot(config.audioRoot)
  await requireFiles(database, config.audioFolder, { force: request.force, living: true })
  const survey = await surveyPaths(database.knex, config.audioFolder, context.signal)
  const plan = { files: 0, bytes: 0, requests: 0, problems: 0 }
  const choices = await uploadChoices(database, request, report)
  const readers = new Readers(readerThreads())
  context.onRelease(() => readers.close())
  const look = async (track: Track) => {
    const filePath = track.filePath as string
    try {
      const asked = {
        filePath,
        audioFolder: config.audioFolder,
        root,
        memory: undefined,
        remembered: undefined,
      }
      return { track, filePath, size: (await readers.load(asked)).source.size }
    } catch (error) {
      if (!(error instanceof LocalFileError)) throw error
      return { track, filePath, error }
    }
  }
  const tracks = plannedTracks(context, database, { choices, limit: request.limit }, page =>
    Promise.all(page.map(look)),
  )
  for await (const { track, filePath, size, error } of tracks) {
    if (error === undefined) {
      plan.files++
      plan.bytes += size
      plan.requests +=
        size <= request.multipartThreshold ? 1 : Math.ceil(size / partSizeFor(size, request.partSize)) + 3
      report.item({ subject: filePath, state: 'would-upload', fields: { track_id: track.id, bytes: size } })
    } else {
      plan.problems++
      report.item({
        subject: filePath,
        state: error.problem === 'refused' ? 'refused' : 'skipped',
        fields: { track_id: track.id, code: error.code },
        reason: error.message,
        cure: error.cure,
      })
    }
  }
  const confirms = plan.files === 0 ? undefined : await givesChecksums(context)
  const rate = await lastNumber(database.knex, uploadCommand, 'bytes_per_second')
  const seconds = plan.bytes / (rate ?? assumedRate)
  const dollars = (plan.requests / 1_000) * prices.putPer1000
  const monthly = (plan.bytes / 1e9) * prices.storagePerGBMonth
  report.summary({
    lines: [
      `Dry run: ${plural(plan.files, 'file')}, ${formatBytes(plan.bytes)}, in ${plural(plan.requests, 'request')}; nothing was uploaded.`,
      `Paths: ${describeSurvey(survey)}.`,
      `Time: ${formatEstimate(seconds)} at ${rate === undefined ? '100 Mbit/s (no run measured yet)' : `${formatBytes(rate)}/s, as in the last run`}; ` +
        `requests: ${formatDollars(dollars)}, once; storage: ${formatDollars(monthly)} a month (S3 Standard list price, us-east-1).`,
      ...(confirms === false
        ? [
            `This store does not report checksums: each file is read back after its upload, ${formatBytes(plan.bytes)} more.`,
          ]
        : []),
      ...(plan.problems > 0
        ? [`${formatCount(plan.problems)} cannot be uploaded; see above for the reasons.`]
        : []),
    ],
    next: plan.files > 0 ? 'run it again without --dry-run' : undefined,
    fields: {
      dry_run: true,
      files: plan.files,
      bytes: plan.bytes,
      requests: plan.requests,
      ...(confirms === undefined ? {} : { store_gives_checksums: confirms }),
      problems: plan.problems,
      paths: survey,
      estimated_seconds: Math.round(seconds),
      estimated_request_dollars: dollars,
      estimated_dollars_a_month: monthly,
    },
  })
}

/**
 * Whether the store will confirm what is uploaded, or has to be read back: AWS does; of another an object that is
 * there already tells. `undefined`: it is not known, as there is none, or the store is not to be asked.
 */
async function givesChecksums(context: Context): Promise<boolean | undefined> {
  const { s3 } = context.config
  if (s3.bucket === undefined) return undefined
  const { isAws } = await import('../storage/s3-connection.ts')
  if (isAws(s3.endpoint)) return true
  try {
    const store = await context.store()
    for await (const [first] of store.list({ prefix: s3.keyPrefix, signal: context.signal })) {
      const head = first && (await store.head(first.key, { signal: context.signal }))
      return head && Object.keys(head.checksums).length > 0
    }
  } catch (error) {
    context.report.detail(`it is unknown whether the store reports checksums: ${error}`)
  }
  return undefined
}

/** 100 Mbit/s, bytes a second. */
const assumedRate = 12_500_000

function readHeaders({ storageClass, sse, kmsKeyId, tag, acl }: UploadFlags): Partial<ObjectHeaders> {
  const tags: Record<string, string> = {}
  for (const one of tag) {
    const equals = one.indexOf('=')
    if (equals < 1) throw new UsageError(`--tag: "${one}" is not key=value`, { code: 'usage.flag' })
    tags[one.slice(0, equals)] = one.slice(equals + 1)
  }
  if (Object.keys(tags).length > 10)
    throw new UsageError('--tag: S3 takes at most 10 tags', { code: 'usage.flag' })
  return {
    ...(storageClass === undefined ? {} : { storageClass }),
    ...(sse === undefined ? {} : { serverSideEncryption: sse }),
    ...(kmsKeyId === undefined ? {} : { kmsKeyId }),
    ...(tag.length === 0 ? {} : { tags }),
    ...(acl === undefined ? {} : { acl }),
  }
}
