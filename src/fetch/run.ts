/** `autodj fetch`: claims tracks without audio, gets it, and writes down what became of each. */
import pLimit from 'p-limit'
import { folderExists } from '../audio-files/source.ts'
import type { Context } from '../context.ts'
import { formatBytes, plural } from '../core/units.ts'
import { requireCodeForS3 } from '../db/application-code.ts'
import type { Database } from '../db/database.ts'
import { abandonDeadRuns, runsAlive } from '../db/ledger.ts'
import { requireSchema } from '../db/require-schema.ts'
import { claimTracks, type TrackFilter } from '../db/tracks.ts'
import { ExitCode, toError, UsageError } from '../errors.ts'
import { isProcessAlive, machineName, type RecordedRun, recordRun } from '../runs/recorded-run.ts'
import { makeTempFolder, type TempFolder } from '../runs/temp-folders.ts'
import { RunHalted } from '../storage/resilience.ts'
import type { ObjectStore } from '../storage/store.ts'
import { Throttle } from '../storage/throttle.ts'
import { Journal } from '../upload/journal.ts'
import { Fetcher, type FetchSource, type FetchTrack, fetchSources, sweepStaging } from './fetcher.ts'
import { createLocalIndex } from './local-index.ts'
import { hasFfmpeg } from './normalize.ts'
import { previewGuard } from './public-address.ts'
import { fetchClaim, fetchCommand, fetchTrack, hasAudio, withPreview } from './track.ts'

const claimSize = 50

export interface FetchFlags {
  readonly dryRun: boolean
  readonly concurrency: number | undefined
  readonly limit: number | undefined
  readonly maxDuration: number | undefined
  readonly retryFailed: boolean
  readonly track: readonly string[]
  readonly from: readonly string[]
  readonly url: string | undefined
  /** bytes */
  readonly maxSize: number
  /** milliseconds */
  readonly timeout: number
  readonly rate: number | undefined
  readonly normalize: boolean
  /** a `preview_url` may lead to addresses inside this network */
  readonly privatePreviews?: boolean
}

type FetchTotals = Record<FetchSource, number> & {
  present: number
  failed: number
  changed: number
  bytes: number
}

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
    const fetcher = await openFetcher(context, database, store, run, { ...flags, sources })
    try {
      const work = new FetchRun(context, database, store, run, fetcher.fetcher, flags)
      const exitCode = await work.run()
      return { exitCode, summary: summarise(context, work.totals, flags) }
    } finally {
      await fetcher.close()
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
  const { audioRoot, audioFolder } = context.config
  const { url, maxSize, timeout, normalize, privatePreviews, limit, job } = flags
  const options: FetchJobOptions = {
    sources: [...readChoice(flags)],
    url,
    maxSize,
    timeout,
    normalize,
    privatePreviews,
  }
  const { enqueueTracks } = await import('../queue/enqueue.ts')
  return enqueueTracks(context, {
    kind: 'fetch',
    filters: filtersOf(flags, await folderExists(audioRoot)),
    wanted: async track => !(await hasAudio(track, audioFolder)),
    options: { ...options },
    limit,
    job,
  })
}

/** A fetcher as the flags and the configuration want it, and how to close it. Sweeps what killed runs left. */
export async function openFetcher(
  context: Context,
  database: Database,
  store: ObjectStore,
  run: RecordedRun,
  flags: Pick<FetchFlags, 'url' | 'maxSize' | 'timeout' | 'rate' | 'normalize' | 'privatePreviews'> & {
    sources: ReadonlySet<FetchSource>
    /** a folder that the caller removes; undefined: one of its own, gone when it is closed */
    tempFolder?: string
    /** how long uploads wait for S3 to come back, milliseconds; default a minute */
    maxOutage?: number
  },
): Promise<{ fetcher: Fetcher; close: () => Promise<void> }> {
  const { config, report } = context
  const { knex } = database
  await sweepStaging(store, config.s3.keyPrefix, ids => runsAlive(knex, ids))
  const temp = flags.tempFolder === undefined ? await makeTempFolder(run.id) : undefined
  const tempFolder = flags.tempFolder ?? (temp as TempFolder).path
  const normalize = flags.normalize && (await hasFfmpeg(tempFolder, context.signal))
  if (flags.normalize && !normalize) report.warn('ffmpeg is not installed: loudness stays as it is')
  const journal = new Journal(database, store, run.id)
  const sources = new Set(flags.sources)
  if (!(await folderExists(config.audioRoot))) {
    if (sources.delete('local')) report.detail(`no audio folder at ${config.audioRoot}`)
  }
  const fetcher = new Fetcher({
    store,
    journal,
    report,
    audioFolder: config.audioFolder,
    keyPrefix: config.s3.keyPrefix,
    throttle: new Throttle(undefined),
    signal: context.signal,
    stopping: AbortSignal.any([context.stopping, run.lost]),
    trackExists: async id => uuid.test(id) && (await knex('tracks').where({ id }).first('id')) !== undefined,
    localIndex: createLocalIndex(knex, config.audioFolder, () => context.now().getTime()),
    sources,
    url: flags.url,
    mayPreviewFrom: flags.privatePreviews ? undefined : previewGuard(config.s3.endpoint),
    command: config.fetchCommand,
    runId: run.id,
    tempFolder,
    maxBytes: flags.maxSize,
    timeoutMs: flags.timeout,
    perMinute: flags.rate,
    normalize,
    maxOutage: flags.maxOutage ?? 60_000,
  })
  return {
    fetcher,
    async close() {
      await fetcher.close()
      await journal.close()
      await temp?.remove()
    },
  }
}

/** What `--from` names, or everything. */
function readSources(from: readonly string[]): ReadonlySet<FetchSource> {
  if (from.length === 0) return new Set(fetchSources)
  for (const one of from) {
    if (!fetchSources.some(source => source === one))
      throw new UsageError(`--from: "${one}" is none of ${fetchSources.join(', ')}`, { code: 'usage.flag' })
  }
  return new Set(from as FetchSource[])
}

function filtersOf(flags: Pick<FetchFlags, 'track' | 'retryFailed'>, rootExists: boolean): TrackFilter[] {
  const common: TrackFilter = {
    ...(flags.track.length > 0 ? { ids: flags.track } : {}),
    ...(flags.retryFailed ? { failedIn: fetchCommand } : {}),
  }
  const filters: TrackFilter[] = [
    { ...common, sources: ['UNAVAILABLE'] },
    { ...common, sources: ['LOCAL', 'YOUTUBE', null], hasFile: false },
  ]
  // Without the folder every local file looks gone: it is more likely not mounted.
  if (rootExists) filters.push({ ...common, sources: ['LOCAL', 'YOUTUBE', null], hasFile: true })
  return filters
}

class FetchRun {
  readonly totals: FetchTotals = {
    s3: 0,
    local: 0,
    url: 0,
    command: 0,
    preview: 0,
    present: 0,
    failed: 0,
    changed: 0,
    bytes: 0,
  }
  readonly #context: Context
  readonly #database: Database
  readonly #store: ObjectStore
  readonly #run: RecordedRun
  readonly #fetcher: Fetcher
  readonly #flags: FetchFlags
  readonly #halt = new AbortController()
  readonly #stopping: AbortSignal
  #taken = 0
  #failure: Error | undefined

  constructor(
    context: Context,
    database: Database,
    store: ObjectStore,
    run: RecordedRun,
    fetcher: Fetcher,
    flags: FetchFlags,
  ) {
    this.#context = context
    this.#database = database
    this.#store = store
    this.#run = run
    this.#fetcher = fetcher
    this.#flags = flags
    this.#stopping = AbortSignal.any([context.stopping, run.lost, this.#halt.signal])
  }

  async run(): Promise<ExitCode> {
    const rootExists = await folderExists(this.#context.config.audioRoot)
    if (!rootExists)
      this.#context.report.warn(
        `no audio folder at ${this.#context.config.audioRoot}: local tracks are left alone`,
      )
    await abandonDeadRuns(this.#database.knex, { host: machineName(), isAlive: isProcessAlive })
    for (const filter of filtersOf(this.#flags, rootExists)) await this.#pass(filter)
    if (this.#failure) throw this.#failure
    const stopped = this.#context.stopExitCode()
    if (stopped !== undefined) return stopped
    this.#run.lost.throwIfAborted()
    return this.totals.failed + this.totals.changed > 0 ? ExitCode.someFailed : ExitCode.ok
  }

  async #pass(filter: TrackFilter): Promise<void> {
    const { knex } = this.#database
    const limit = pLimit(this.#flags.concurrency ?? 4)
    const claim = { kind: fetchClaim, runId: this.#run.id }
    let afterId: string | undefined
    while (!this.#stopping.aborted) {
      const left =
        this.#flags.limit === undefined ? claimSize : Math.min(claimSize, this.#flags.limit - this.#taken)
      if (left <= 0) return
      const page = await claimTracks(knex, {
        ...claim,
        afterId,
        limit: left,
        filter: { ...filter, notRecordedBy: { command: fetchCommand, runId: this.#run.id } },
      })
      const tracks = await withPreview(knex, page.tracks)
      await Promise.all(tracks.map(track => limit(() => this.#one(track))))
      if (page.nextAfterId === null) return
      afterId = page.nextAfterId
    }
  }

  async #one(track: FetchTrack): Promise<void> {
    if (this.#stopping.aborted) return
    try {
      const end = await fetchTrack(this.#context, this.#database, track, {
        fetcher: this.#fetcher,
        bucket: this.#store.bucket,
        runId: this.#run.id,
      })
      if (end.state === 'present') {
        this.totals.present++
        return
      }
      this.#taken++
      if (end.state === 'fetched') {
        this.totals[end.source]++
        this.totals.bytes += end.bytes
      } else if (end.code.startsWith('row.')) this.totals.changed++
      else this.totals.failed++
    } catch (error) {
      if (this.#stopping.aborted && toError(error).name === 'AbortError') return
      this.#failure ??= error instanceof RunHalted ? error.cause : toError(error)
      this.#halt.abort()
    }
  }
}

async function planFetch(context: Context, { knex }: Database, flags: FetchFlags): Promise<ExitCode> {
  const { trackPages } = await import('../db/tracks.ts')
  let count = 0
  const rootExists = await folderExists(context.config.audioRoot)
  for (const filter of filtersOf(flags, rootExists)) {
    for await (const page of trackPages(knex, { filter, signal: context.signal })) {
      for (const track of page) {
        if (count === flags.limit || (await hasAudio(track, context.config.audioFolder))) continue
        count++
        const name = `${track.artist} - ${track.title}`
        const fields = { track_id: track.id, file_source: track.fileSource }
        context.report.item({ subject: name, state: 'would-fetch', fields, text: name })
      }
    }
  }
  context.report.summary({
    lines: [`Dry run: ${plural(count, 'track')} without audio; nothing was fetched.`],
    next: count > 0 ? '`autodj fetch` to get it' : undefined,
    fields: { dry_run: true, tracks: count },
  })
  return ExitCode.ok
}

function summarise(
  { report, stopExitCode }: Context,
  totals: FetchTotals,
  { track, retryFailed }: Pick<FetchFlags, 'track' | 'retryFailed'>,
): Record<string, unknown> {
  const sawAll = track.length === 0 && !retryFailed && stopExitCode() === undefined
  const fetched = fetchSources.reduce((sum, source) => sum + totals[source], 0)
  const from = fetchSources
    .filter(source => totals[source] > 0)
    .map(source => `${totals[source]} from ${source}`)
  const fields = { ...totals, fetched }
  report.summary({
    lines: [
      fetched === 0 && totals.failed === 0
        ? sawAll
          ? 'Every track has audio.'
          : 'Nothing was fetched.'
        : `${plural(fetched, 'track')} fetched, ${formatBytes(totals.bytes)}${from.length > 0 ? ` (${from.join(', ')})` : ''}.`,
      ...(totals.failed > 0
        ? [`${plural(totals.failed, 'track')} could not be fetched: the reasons are above.`]
        : []),
      ...(totals.changed > 0
        ? [`${plural(totals.changed, 'row')} changed meanwhile and were left alone.`]
        : []),
    ],
    next: totals.failed > 0 ? '`autodj fetch --retry-failed` when the cause is gone' : undefined,
    fields,
  })
  return fields
}
