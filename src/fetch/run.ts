/** `autodj fetch`: claims tracks without audio, gets it, and writes down what became of each. */
import { requireFiles } from '../audio-files/mounted.ts'
import { folderExists } from '../audio-files/source.ts'
import type { Context } from '../context.ts'
import { isSelecting } from '../core/selection.ts'
import { formatBytes, plural } from '../core/units.ts'
import { requireCodeForS3 } from '../db/application-code.ts'
import type { Database } from '../db/database.ts'
import { runsAlive } from '../db/ledger.ts'
import { lockedLine } from '../db/locked-rows.ts'
import { requireSchema } from '../db/require-schema.ts'
import { hasNoRows, type TrackFilter } from '../db/tracks.ts'
import { ExitCode, UsageError } from '../errors.ts'
import { type RecordedRun, recordRun } from '../runs/recorded-run.ts'
import { makeTempFolder, type TempFolder } from '../runs/temp-folders.ts'
import { plannedTracks, runTracks, type TrackChoice, type TrackRunEnd } from '../runs/track-run.ts'
import type { ObjectStore } from '../storage/store.ts'
import { UploadLedger } from '../upload/upload-ledger.ts'
import { Fetcher, type FetchSource, fetchSources, sweepStaging } from './fetcher.ts'
import type { FetchFlags } from './flags.ts'
import { createLocalIndex } from './local-index.ts'
import { hasFfmpeg } from './normalize.ts'
import { previewGuard } from './public-address.ts'
import { type FetchTotals, FetchWork, fetchCommand, withoutAudio } from './work.ts'

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** @throws UsageError for flags that name what is not there */
export async function runFetch(context: Context, flags: FetchFlags): Promise<ExitCode> {
  const sources = readChoice(flags)
  const database = await context.database()
  await requireSchema(database, 'adoption.code_updated_at')
  if (flags.dryRun) return planFetch(context, database, flags)
  await requireCodeForS3(database)
  context.limitDuration(flags.maxDuration)
  const store = await context.store()
  await store.checkBucket(context.signal)
  return recordRun(context, database, async run => {
    const rootExists = await hasFolder(context, database, flags)
    if (!rootExists)
      context.report.warn(`no audio folder at ${context.config.audioRoot}: local tracks are skipped`)
    const { work, close } = await openFetchWork(context, database, store, run, { ...flags, sources })
    try {
      const end = await runTracks(context, database, run, {
        work,
        choices: choicesOf(flags, rootExists),
        limit: flags.limit,
        lockWait: flags.lockWait,
        claims: { first: 50, largest: 50 },
        commits: { size: 50, interval: 1_000 },
        slots: () => flags.concurrency ?? 4,
        progress: context.report.progress({ label: 'fetching', unit: 'tracks' }),
      })
      return {
        exitCode: end.exitCode,
        summary: summarise(context, work.totals, end, {
          ...flags,
          rootExists,
          isEmpty: end.taken === 0 && (await hasNoRows(database)),
        }),
      }
    } finally {
      await close()
    }
  })
}

/** @throws UsageError for flags that name what is not there */
function readChoice(flags: Pick<FetchFlags, 'from' | 'track'>): ReadonlySet<FetchSource> {
  for (const id of flags.track)
    if (!uuid.test(id)) throw new UsageError(`--track: "${id}" is not a track id`, { code: 'usage.flag' })
  return readSources(flags.from)
}

/** How a queued track is to be fetched; what else the flags say chooses tracks, or is the worker's. */
export interface FetchJobOptions
  extends Pick<FetchFlags, 'url' | 'maxSize' | 'timeout' | 'normalize' | 'privatePreviews'> {
  readonly sources: readonly FetchSource[]
}

/** `--enqueue`: tracks without audio, for workers. */
export async function enqueueFetch(
  context: Context,
  flags: FetchFlags & { readonly job: string | undefined },
): Promise<ExitCode> {
  const database = await context.database()
  const { audioFolder } = context.config
  const { url, maxSize, timeout, normalize, privatePreviews, limit, job, force } = flags
  const options: FetchJobOptions = {
    sources: [...readChoice(flags)],
    url,
    maxSize,
    timeout,
    normalize,
    privatePreviews,
  }
  if (url !== undefined && holdsSecrets(url)) {
    context.report.warn(
      '--url is kept with each job (schema autodj_jobs) until a day after it is done, query and all; set FETCH_URL where the workers run instead',
    )
  }
  const { enqueueTracks } = await import('../queue/enqueue.ts')
  return enqueueTracks(context, {
    kind: 'fetch',
    choices: choicesOf(flags, await hasFolder(context, database, flags)),
    wanted: tracks => withoutAudio(tracks, { knex: database.knex, audioFolder, force }),
    options: { ...options },
    limit,
    job,
  })
}

/** The work as the flags and the configuration want it, and how to close it. Sweeps what killed runs left. */
export async function openFetchWork(
  context: Context,
  database: Database,
  store: ObjectStore,
  run: RecordedRun,
  flags: Pick<
    FetchFlags,
    'url' | 'maxSize' | 'timeout' | 'rate' | 'normalize' | 'privatePreviews' | 'force'
  > & {
    sources: ReadonlySet<FetchSource>
    /** a folder that the caller removes; undefined: one of its own, gone when it is closed */
    tempFolder?: string
    /** how long it waits for S3 to come back, milliseconds; default a minute */
    maxOutage?: number
  },
): Promise<{ work: FetchWork; close: () => Promise<void> }> {
  const { config, report } = context
  const { knex } = database
  const { maxOutage = 60_000 } = flags
  await sweepStaging(store, config.s3.keyPrefix, ids => runsAlive(knex, ids))
  const temp = flags.tempFolder === undefined ? await makeTempFolder(run.id) : undefined
  const tempFolder = flags.tempFolder ?? (temp as TempFolder).path
  const normalize = flags.normalize && (await hasFfmpeg(tempFolder, context.signal))
  if (flags.normalize && !normalize) report.warn('ffmpeg is not installed: the loudness is left unchanged')
  const ledger = new UploadLedger(database, store, run.id)
  const sources = new Set(flags.sources)
  if (!(await folderExists(config.audioRoot))) {
    if (sources.delete('local')) report.detail(`no audio folder at ${config.audioRoot}`)
  }
  const fetcher = new Fetcher({
    store,
    ledger,
    report,
    audioFolder: config.audioFolder,
    keyPrefix: config.s3.keyPrefix,
    throttle: context.throttle,
    signal: context.signal,
    stopping: run.stopping,
    trackExists: async id => uuid.test(id) && (await knex('tracks').where({ id }).first('id')) !== undefined,
    localIndex: createLocalIndex(knex, config.audioFolder, () => context.now().getTime()),
    sources,
    url: flags.url ?? config.fetchUrl,
    network: config.network,
    mayPreviewFrom: flags.privatePreviews ? () => true : previewGuard(config.s3.endpoint),
    command: config.fetchCommand,
    runId: run.id,
    tempFolder,
    maxBytes: flags.maxSize,
    timeoutMs: flags.timeout,
    perMinute: flags.rate,
    normalize,
    maxOutage,
  })
  return {
    work: new FetchWork(context, database, store, run, { fetcher, maxOutage, force: flags.force }),
    async close() {
      await fetcher.close()
      await ledger.close()
      await temp?.remove()
    },
  }
}

/** Whether a template of URLs says more than where the tracks are: a password, or a query, which may be a signature. */
function holdsSecrets(template: string): boolean {
  return /^[a-z]+:\/\/[^/?#]*@/i.test(template) || template.includes('?')
}

/** What `--from` names, or everything. */
function readSources(from: readonly string[]): ReadonlySet<FetchSource> {
  if (from.length === 0) return new Set(fetchSources)
  for (const one of from) {
    if (!fetchSources.some(source => source === one))
      throw new UsageError(`--from: "${one}" is not one of ${fetchSources.join(', ')}`, {
        code: 'usage.flag',
      })
  }
  return new Set(from as FetchSource[])
}

/** Whether there is an audio folder. @throws SafetyLimitError if it looks unmounted */
async function hasFolder(
  { config }: Context,
  database: Database,
  { force }: Pick<FetchFlags, 'force'>,
): Promise<boolean> {
  if (!(await folderExists(config.audioRoot))) return false
  await requireFiles(database, config.audioFolder, { force, living: true })
  return true
}

function choicesOf(flags: Pick<FetchFlags, 'track' | 'retryFailed'>, rootExists: boolean): TrackChoice[] {
  const common: TrackFilter = {
    ...(flags.track.length > 0 ? { ids: flags.track } : {}),
    ...(flags.retryFailed ? { failedIn: fetchCommand } : {}),
  }
  const choices: TrackChoice[] = [
    { filter: { ...common, sources: ['UNAVAILABLE'] } },
    { filter: { ...common, sources: ['LOCAL', 'YOUTUBE', null], hasFile: false } },
  ]
  // Without the folder every local file looks gone: it is more likely not mounted.
  if (rootExists)
    choices.push({ filter: { ...common, sources: ['LOCAL', 'YOUTUBE', null], hasFile: true }, once: true })
  return choices
}

async function planFetch(context: Context, database: Database, flags: FetchFlags): Promise<ExitCode> {
  const { knex } = database
  const { audioFolder } = context.config
  const choices = choicesOf(flags, await hasFolder(context, database, flags))
  const tracks = plannedTracks(context, database, { choices, limit: flags.limit }, page =>
    withoutAudio(page, { knex, audioFolder, force: flags.force }),
  )
  let count = 0
  for await (const track of tracks) {
    count++
    const name = `${track.artist} - ${track.title}`
    const fields = { track_id: track.id, file_source: track.fileSource }
    context.report.item({ subject: name, state: 'would-fetch', fields, text: name })
  }
  context.report.summary({
    lines: [
      count === 0
        ? 'Dry run: nothing to fetch.'
        : `Dry run: ${plural(count, 'track')} without audio; nothing was fetched.`,
    ],
    next: count > 0 ? '`autodj fetch` to get it' : undefined,
    fields: { dry_run: true, tracks: count },
  })
  return ExitCode.ok
}

function summarise(
  { report, selection, stopExitCode }: Context,
  totals: FetchTotals,
  { leftOut, locked, left }: TrackRunEnd,
  {
    track,
    retryFailed,
    rootExists,
    isEmpty,
  }: Pick<FetchFlags, 'track' | 'retryFailed'> & { readonly rootExists: boolean; readonly isEmpty: boolean },
): Record<string, unknown> {
  const sawAll =
    track.length === 0 &&
    !retryFailed &&
    !isSelecting(selection) &&
    rootExists &&
    stopExitCode() === undefined
  const fetched = fetchSources.reduce((sum, source) => sum + totals[source], 0)
  const from = fetchSources
    .filter(source => totals[source] > 0)
    .map(source => `${totals[source]} from ${source}`)
  const fields = {
    ...totals,
    present: leftOut,
    fetched,
    rows_changed: totals.changed,
    rows_locked: locked,
    left_to_others: left,
  }
  report.summary({
    lines: [
      fetched === 0 && totals.failed === 0
        ? sawAll && totals.changed + locked + left === 0
          ? isEmpty
            ? 'Nothing to fetch: the table of tracks has no rows.'
            : 'Every track has audio.'
          : 'Nothing was fetched.'
        : `${plural(fetched, 'track')} fetched, ${formatBytes(totals.bytes)}${from.length > 0 ? ` (${from.join(', ')})` : ''}.`,
      ...(totals.failed > 0
        ? [`${plural(totals.failed, 'track')} could not be fetched; see above for the reasons.`]
        : []),
      ...(totals.changed > 0
        ? [`${plural(totals.changed, 'row')} changed in the meantime and were left alone.`]
        : []),
      ...(locked > 0 ? [lockedLine(locked)] : []),
      ...(left > 0 ? [`${plural(left, 'track')} being handled by other runs.`] : []),
    ],
    next: totals.failed > 0 ? '`autodj fetch --retry-failed`, once the causes are fixed' : undefined,
    fields,
  })
  return fields
}
