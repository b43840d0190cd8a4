/**
 * Jobs out of the queue and into the handlers, and what comes of them back: to the queue, to the counts of
 * `analysis_jobs`, to the ledger.
 */

import type { JobResult, JobWithMetadata, PgBoss } from 'pg-boss'
import type { Context } from '../context.ts'
import { printable } from '../core/units.ts'
import type { Database } from '../db/database.ts'
import { abandonDeadRuns, recordItems } from '../db/ledger.ts'
import type { ErrorCode } from '../error-codes.ts'
import { AppError, toError } from '../errors.ts'
import {
  cancelledBatches,
  cancelledWithWork,
  dropCancelled,
  forgetOldBatches,
  lostTracks,
  openBatches,
  refreshBatch,
  settleTrack,
  startBatch,
} from '../queue/batches.ts'
import { type JobData, putBack } from '../queue/boss.ts'
import { commandOf, type JobKind } from '../queue/names.ts'
import { isProcessAlive, machineName } from '../runs/recorded-run.ts'
import { sweepTempFolders } from '../runs/temp-folders.ts'
import { isHalting, RunHalted } from '../storage/resilience.ts'
import { StoreError } from '../storage/store.ts'
import { type JobEnd, type JobHandler, openHandler, type Workplace } from './handlers.ts'

/** What dead runs left in S3 is looked for this often, milliseconds. */
const sweepInterval = 10 * 60_000
/** How long a job that its user cancels may go on taking new tracks, milliseconds. */
const cancelInterval = 1_000

export interface WorkerTotals {
  done: Record<JobKind, number>
  /** Failed, and to be tried again. */
  retried: number
  /** Failed for good: in the dead letter queue. */
  givenUp: number
  /** Put back because the worker stopped. */
  interrupted: number
}

export class Worker {
  readonly totals: WorkerTotals = {
    done: { fetch: 0, upload: 0, analyze: 0 },
    retried: 0,
    givenUp: 0,
    interrupted: 0,
  }
  /** What ended the worker from within. */
  failure: Error | undefined
  readonly #place: Workplace
  readonly #context: Context
  readonly #database: Database
  readonly #boss: PgBoss
  /** One for each kind and set of options; jobs of one command line share theirs. */
  readonly #handlers = new Map<string, Promise<JobHandler>>()
  readonly #counts: BatchCounts
  #lastSweep = performance.now()

  constructor(place: Workplace, boss: PgBoss) {
    this.#place = place
    this.#boss = boss
    this.#context = place.context
    this.#database = place.database
    this.#counts = new BatchCounts(place.database)
  }

  /** Does one job. Never throws but for the database, when the queue tries it again. */
  async perform(kind: JobKind, job: JobWithMetadata<JobData>): Promise<JobResult> {
    const { track, batch, since, options } = job.data
    const { knex } = this.#database
    if (await this.#counts.cancelled(batch)) {
      await dropCancelled(knex, batch)
      return { id: job.id, status: 'completed', output: { result: 'cancelled' } }
    }
    await this.#counts.started(batch)
    const end = await this.#take(kind, track, new Date(since), options)
    if (end.state === 'done') {
      await settleTrack(knex, { batch, trackId: track, kind, error: undefined })
      this.#counts.ended(batch)
      this.totals.done[kind]++
      return { id: job.id, status: 'completed', output: { result: end.what } }
    }
    if (end.state === 'interrupted') {
      this.totals.interrupted++
      await putBack(this.#boss, this.#database, kind, job)
      // To a job that is no longer this worker's pg-boss does nothing.
      return { id: job.id, status: 'failed', output: { code: 'interrupted', message: 'the worker stopped' } }
    }
    const { code, reason, cure } = end
    const output = { code, message: printable(reason), ...(cure !== undefined && { cure }) }
    if (!end.final && job.retryCount < job.retryLimit) {
      this.totals.retried++
      this.#context.report.detail(`${kind} ${track}: ${printable(reason)}; will be retried`)
      return { id: job.id, status: 'failed', output }
    }
    if (!end.recorded) await this.#record(kind, track, end)
    await settleTrack(knex, { batch, trackId: track, kind, error: { code, reason } })
    this.#counts.ended(batch)
    this.totals.givenUp++
    return { id: job.id, status: 'deadletter', output }
  }

  async #take(kind: JobKind, track: string, since: Date, options: JobData['options']): Promise<JobEnd> {
    const { stopping } = this.#place.run
    if (stopping.aborted) return { state: 'interrupted' }
    try {
      const handler = await this.#handler(kind, options)
      return await handler.take(track, since)
    } catch (thrown) {
      const error = toError(thrown)
      if (isHalting(error)) {
        this.failure ??= error instanceof RunHalted ? error.cause : error
        // No job would fare any better: credentials that are gone, an outage too long.
        this.#place.run.halt(this.failure)
        return { state: 'interrupted' }
      }
      if (stopping.aborted) return { state: 'interrupted' }
      const known = error instanceof AppError || error instanceof StoreError
      if (!known) {
        const { message, stack = message } = error
        this.#context.report.warn(`${kind} ${track}: unexpected: ${printable(message)}`)
        this.#context.report.detail(stack)
      }
      const { code, cure } = known ? error : { code: 'bug' as const, cure: undefined }
      return { state: 'failed', code, reason: error.message, cure, final: false, recorded: false }
    }
  }

  #handler(kind: JobKind, options: JobData['options']): Promise<JobHandler> {
    const key = `${kind} ${JSON.stringify(options)}`
    const open = this.#handlers.get(key)
    if (open !== undefined) return open
    const opened = openHandler[kind](this.#place, options)
    this.#handlers.set(key, opened)
    // One that could not be opened is tried anew with the next job.
    opened.catch(() => this.#handlers.delete(key))
    return opened
  }

  async #record(
    kind: JobKind,
    trackId: string,
    { code, reason, cure }: { code: ErrorCode; reason: string; cure?: string | undefined },
  ): Promise<void> {
    await recordItems(this.#database.knex, [
      {
        command: commandOf[kind],
        subject: trackId,
        trackId,
        state: 'failed',
        errorCode: code,
        error: printable(reason),
        cure,
        runId: this.#place.run.id,
      },
    ])
    this.#context.report.item({
      subject: trackId,
      state: 'failed',
      fields: { track_id: trackId, kind, code },
      reason,
      cure,
    })
  }

  /**
   * What has to be done now and then, by whichever worker is there: claims and temporary folders of processes that died
   * on this machine, jobs that killed their worker each time, counts of `analysis_jobs`.
   */
  async maintain(): Promise<void> {
    const { knex } = this.#database
    await abandonDeadRuns(knex, { host: machineName(), isAlive: isProcessAlive })
    await sweepTempFolders()
    for (const { batch, trackId, kind } of await lostTracks(knex, 1_000)) {
      const code = 'job.lost'
      const reason = 'the worker died on this track each time'
      await this.#record(kind, trackId, {
        code,
        reason,
        cure: 'Check the file, and the memory of the machine.',
      })
      await settleTrack(knex, { batch, trackId, kind, error: { code, reason } })
    }
    for (const batch of await cancelledWithWork(knex)) await dropCancelled(knex, batch)
    for (const batch of await openBatches(knex)) await refreshBatch(knex, batch)
    if (performance.now() - this.#lastSweep > sweepInterval) await this.#sweepStore()
  }

  /** Ends the handlers; what is in hand must have ended. */
  async close(): Promise<void> {
    await this.#counts.close()
    await sweepTempFolders()
    await this.#sweepStore()
    await forgetOldBatches(this.#database.knex)
    for (const handler of this.#handlers.values()) await (await handler).close()
  }

  async #sweepStore(): Promise<void> {
    this.#lastSweep = performance.now()
    // All of a kind sweep the same.
    const kinds = new Map([...this.#handlers].map(([key, handler]) => [key.split(' ')[0], handler]))
    for (const handler of kinds.values()) await (await handler).sweep()
  }
}

/** Refreshes rows of `analysis_jobs` soon after their tracks end, and not for each of them. */
class BatchCounts {
  readonly #database: Database
  readonly #started = new Set<string>()
  readonly #looked = new Map<string, { at: number; cancelled: Promise<boolean> }>()
  readonly #due = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #current: Promise<void> = Promise.resolve()
  /** milliseconds; grows where counting takes long */
  #interval = 1_000

  constructor(database: Database) {
    this.#database = database
  }

  /** Whether the application's user has cancelled it, as of a second ago at most. */
  cancelled(batch: string): Promise<boolean> {
    const before = this.#looked.get(batch)
    if (before !== undefined && performance.now() - before.at < cancelInterval) return before.cancelled
    const cancelled = cancelledBatches(this.#database.knex, [batch]).then(found => found.has(batch))
    this.#looked.set(batch, { at: performance.now(), cancelled })
    // A question that failed is asked again.
    cancelled.catch(() => this.#looked.delete(batch))
    return cancelled
  }

  async started(batch: string): Promise<void> {
    if (this.#started.has(batch)) return
    await startBatch(this.#database.knex, batch)
    this.#started.add(batch)
  }

  ended(batch: string): void {
    this.#due.add(batch)
    this.#timer ??= setTimeout(() => {
      this.#current = this.#refresh().catch(() => {})
    }, this.#interval)
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#current
    await this.#refresh()
  }

  async #refresh(): Promise<void> {
    const due = [...this.#due]
    this.#due.clear()
    const startedAt = performance.now()
    try {
      for (const batch of due) await refreshBatch(this.#database.knex, batch)
    } finally {
      this.#interval = Math.max(1_000, 20 * (performance.now() - startedAt))
      this.#timer = undefined
    }
  }
}
