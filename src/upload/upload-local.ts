/**
 * `upload-local`: claims tracks with a local file, moves their files, and commits rows and ledger in batches once the
 * server has confirmed the bytes. Any number of runs share the work; any of them may be killed.
 */

import type { ServedCheck } from '../cdn/served.ts'
import type { Context } from '../context.ts'
import { formatCount, plural, printable } from '../core/units.ts'
import type { Database } from '../db/database.ts'
import { abandonDeadRuns, type HashedFile, rememberedByPath } from '../db/ledger.ts'
import { claimTracks, countTracks, type Track, type TrackFilter, trackIdsByFilePath } from '../db/tracks.ts'
import { ExitCode, toError } from '../errors.ts'
import type { Progress } from '../report/reporter.ts'
import { Committer } from '../runs/committer.ts'
import { Passes, rowsKeepComing, setBackCode } from '../runs/passes.ts'
import { isProcessAlive, machineName, type RecordedRun } from '../runs/recorded-run.ts'
import { RunHalted } from '../storage/resilience.ts'
import type { ObjectStore } from '../storage/store.ts'
import {
  commitUploads,
  type Moved,
  recordUploadProblem,
  reportUpload,
  transferJob,
  uploadClaim,
  uploadCommand,
} from './commit.ts'
import { Journal } from './journal.ts'
import type { UploadTotals } from './summary.ts'
import { TransferEngine, type TransferOptions, type TransferOutcome } from './transfer.ts'

/** Tracks claimed at a time: few at first, so that several runs share a small library, more as there prove to be more. */
const firstClaim = 50
const largestClaim = 400
/** A batch is committed when it has so many tracks, or after so long. */
const commitSize = 400
const commitInterval = 400

export interface UploadOptions
  extends Pick<
    TransferOptions,
    | 'headers'
    | 'maxConcurrency'
    | 'initialConcurrency'
    | 'memory'
    | 'multipartThreshold'
    | 'partSize'
    | 'maxOutage'
    | 'throttle'
    | 'readers'
  > {
  limit: number | undefined
  retryFailed: boolean
  /** paths as in the rows, or track ids; undefined: all */
  only: readonly string[] | undefined
  deleteLocal: boolean
  /** undefined when no CDN is configured */
  served: ServedCheck | undefined
}

/** Which rows `upload-local` takes: those with a local file and no proof in S3 yet. */
export async function uploadFilters(
  { knex }: Database,
  options: Pick<UploadOptions, 'retryFailed' | 'only'>,
  report: Pick<Context['report'], 'warn'>,
): Promise<TrackFilter[]> {
  const base: TrackFilter = { sources: ['LOCAL', 'YOUTUBE', null], hasFile: true }
  const filter = options.retryFailed ? { ...base, failedIn: uploadCommand } : base
  if (options.only === undefined) return [filter]
  const { ids, unknown } = await trackIdsByFilePath(knex, options.only)
  if (unknown.count > 0) {
    report.warn(
      `--files-from: ${plural(unknown.count, 'line')} of ${formatCount(options.only.length)} ` +
        `${unknown.count === 1 ? 'is' : 'are'} neither a file path of a track nor the id of one, such as "${printable(unknown.first)}"`,
    )
  }
  const filters: TrackFilter[] = []
  for (let start = 0; start < ids.length; start += 10_000)
    filters.push({ ...filter, ids: ids.slice(start, start + 10_000) })
  return filters
}

export async function uploadLocal(
  context: Context,
  database: Database,
  store: ObjectStore,
  run: RecordedRun,
  options: UploadOptions,
): Promise<{
  exitCode: ExitCode
  totals: UploadTotals
  engine: TransferEngine['statistics']
  seconds: number
}> {
  const upload = new UploadRun(context, database, store, run, options)
  const startedAt = performance.now()
  try {
    const exitCode = await upload.run()
    return {
      exitCode,
      totals: upload.totals,
      engine: upload.engine.statistics,
      seconds: (performance.now() - startedAt) / 1_000,
    }
  } finally {
    await upload.close()
  }
}

type ClaimedPage = Awaited<ReturnType<typeof claimTracks>> & {
  /** by path */
  remembered: Map<string, HashedFile>
}

class UploadRun {
  readonly totals: UploadTotals = {
    uploaded: 0,
    adopted: 0,
    shared: 0,
    skipped: 0,
    failed: 0,
    interrupted: 0,
    changed: 0,
    deletedLocal: 0,
    keptLocal: 0,
    bytesSent: 0,
    bytesProved: 0,
  }
  readonly engine: TransferEngine
  readonly #context: Context
  readonly #database: Database
  readonly #store: ObjectStore
  readonly #run: RecordedRun
  readonly #options: UploadOptions
  readonly #journal: Journal
  readonly #progress: Progress
  readonly #committer: Committer<Moved>
  /** aborted when nothing new is to be begun: a signal, the time budget, or an end of the run from within */
  readonly #stopping: AbortSignal
  readonly #halt = new AbortController()
  #taken = 0
  #failure: Error | undefined

  constructor(
    context: Context,
    database: Database,
    store: ObjectStore,
    run: RecordedRun,
    options: UploadOptions,
  ) {
    this.#context = context
    this.#database = database
    this.#store = store
    this.#run = run
    this.#options = options
    this.#stopping = AbortSignal.any([context.stopping, run.lost, this.#halt.signal])
    this.#progress = context.report.progress({ label: 'uploading', unit: 'files', showBytes: true })
    this.#journal = new Journal(database, store, run.id)
    this.engine = new TransferEngine({
      ...options,
      store,
      journal: this.#journal,
      report: context.report,
      audioFolder: context.config.audioFolder,
      keyPrefix: context.config.s3.keyPrefix,
      stopping: this.#stopping,
      signal: context.signal,
      onBytes: bytes => this.#progress.advance({ bytes }),
    })
    this.#committer = new Committer<Moved>(tracks => this.#commit(tracks), {
      size: commitSize,
      interval: commitInterval,
    })
  }

  async run(): Promise<ExitCode> {
    try {
      for (const filter of await uploadFilters(this.#database, this.#options, this.#context.report))
        await this.#runFilter(filter)
      await this.#committer.flush()
      if (!this.#stopping.aborted) await this.#journal.sweep()
    } catch (error) {
      this.#failure ??= toError(error)
    } finally {
      this.#progress.done()
    }
    if (this.#failure) throw this.#failure
    const stopped = this.#context.stopExitCode()
    if (stopped !== undefined) return stopped
    this.#run.lost.throwIfAborted()
    return this.totals.failed + this.totals.skipped + this.totals.changed > 0
      ? ExitCode.someFailed
      : ExitCode.ok
  }

  async close(): Promise<void> {
    await this.#journal.close()
  }

  /** Passes over the rows until one brings nothing new: rows of runs that died meanwhile come up again. */
  async #runFilter(filter: TrackFilter): Promise<void> {
    const { knex } = this.#database
    const counted = countTracks(knex, filter).then(({ tracks, bytes, withoutSize }) => {
      const items = Math.min(tracks, this.#options.limit ?? tracks)
      this.#progress.total({ items, ...(items === tracks && withoutSize === 0 ? { bytes } : {}) })
    })
    counted.catch(() => {}) // told below
    const passes = new Passes()
    while (!this.#stopping.aborted && passes.begin()) {
      if ((await this.#pass(filter, passes)) === 0) break
      await this.#committer.flush()
      await abandonDeadRuns(knex, { host: machineName(), isAlive: isProcessAlive })
    }
    if (passes.isFull) this.#context.report.warn(rowsKeepComing)
    await counted
  }

  async #pass(filter: TrackFilter, passes: Passes): Promise<number> {
    const running = new Set<Promise<void>>()
    const before = this.#taken
    const limit = this.#options.limit ?? Number.POSITIVE_INFINITY
    let claimSize = firstClaim
    let claimed = before
    /** The page after this one, on its way while this one is worked on: the database keeps nobody waiting. */
    let coming: Promise<ClaimedPage> | undefined
    const claimAfter = (afterId: string | undefined): void => {
      if (claimed >= limit || this.#stopping.aborted) return
      coming = this.#claim(filter, afterId, Math.min(claimSize, limit - claimed))
      coming.catch(() => {}) // told where it is waited for
      claimSize = Math.min(largestClaim, claimSize * 2)
    }
    try {
      claimAfter(undefined)
      while (coming && !this.#stopping.aborted) {
        const { tracks, remembered, nextAfterId }: ClaimedPage = await coming
        coming = undefined
        claimed += tracks.length
        for (const [index, track] of tracks.entries()) {
          if (this.#stopping.aborted) break
          if (index === tracks.length >> 1 && nextAfterId !== null) claimAfter(nextAfterId)
          if (!passes.isDue(track.id)) {
            await this.#setBack(track)
            continue
          }
          this.#taken++
          const one = this.#transfer(track, remembered.get(track.filePath as string)).finally(() =>
            running.delete(one),
          )
          running.add(one)
          while (running.size >= this.engine.fileSlots) await Promise.race(running)
        }
        if (tracks.length === 0 && nextAfterId !== null) claimAfter(nextAfterId)
      }
    } finally {
      // Also when claiming failed: what is in flight is finished, whatever comes then.
      await Promise.allSettled([...running, coming])
    }
    return this.#taken - before
  }

  async #claim(filter: TrackFilter, afterId: string | undefined, limit: number): Promise<ClaimedPage> {
    const { knex } = this.#database
    const tried = { command: uploadCommand, runId: this.#run.id }
    const page = await claimTracks(knex, {
      kind: uploadClaim,
      runId: this.#run.id,
      afterId,
      limit,
      filter: { ...filter, notRecordedBy: tried },
    })
    const paths = page.tracks.map(track => track.filePath as string)
    return { ...page, remembered: await rememberedByPath(knex, paths, this.#context.config.audioFolder) }
  }

  async #transfer(track: Track, remembered: HashedFile | undefined): Promise<void> {
    try {
      const outcome = await this.engine.transfer(transferJob(track, remembered))
      this.#report(track, outcome)
      if ('object' in outcome) await this.#committer.add({ track, outcome })
      else await recordUploadProblem(this.#database, this.#run.id, track.id, outcome)
    } catch (error) {
      // Nothing that follows would fare better: let what is in flight finish, and end.
      this.#failure ??= error instanceof RunHalted ? error.cause : toError(error)
      this.#halt.abort()
    }
  }

  /** Its file is in S3 and its row said so, twice in this run. */
  async #setBack(track: Track): Promise<void> {
    const outcome = {
      state: 'failed',
      code: setBackCode,
      reason: 'its row was set back after it was uploaded, again and again',
      cure: 'Find what writes file_source (a trigger, an older application, `autodj restore`), then run it again.',
    } as const
    this.totals.changed++
    reportUpload(this.#context.report, track, outcome)
    await recordUploadProblem(this.#database, this.#run.id, track.id, outcome)
  }

  #report(track: Track, outcome: TransferOutcome): void {
    this.#progress.advance({ items: 1, bytes: 0 })
    this.totals[outcome.state]++
    reportUpload(this.#context.report, track, outcome)
    if (!('object' in outcome)) return
    this.totals.bytesSent += outcome.bytesSent
    this.totals.bytesProved += outcome.object.size
    this.#progress.note(`${this.engine.statistics.concurrency} at a time`)
  }

  async #commit(moved: readonly Moved[]): Promise<void> {
    const ends = await commitUploads(this.#context, this.#database, moved, {
      store: this.#store,
      runId: this.#run.id,
      deleteLocal: this.#options.deleteLocal,
      served: this.#options.served,
    })
    for (const end of ends.values()) {
      if (end.state === 'failed') this.totals.changed++
      else if (end.local === 'deleted') this.totals.deletedLocal++
      else if (end.local === 'kept') this.totals.keptLocal++
    }
  }
}
