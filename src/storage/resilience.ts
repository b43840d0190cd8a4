/** Retries that survive an outage: attempts per transfer, and one breaker for all of them. */
import { setTimeout as sleep } from 'node:timers/promises'
import { CircuitBreaker, fullJitter } from '../core/retry.ts'
import type { CongestionControl } from '../core/storage/congestion.ts'
import { formatDuration } from '../core/units.ts'
import { TemporaryError } from '../errors.ts'
import type { Reporter } from '../report/reporter.ts'
import { StoreError, type StoreErrorKind } from './store.ts'

/** What shows that nobody can be reached, as opposed to one request having gone wrong. */
const outageKinds: ReadonlySet<StoreErrorKind> = new Set<StoreErrorKind>([
  'unavailable',
  'network',
  'timeout',
])

/** What no other transfer will be spared: the run stops at the first one. */
const haltingKinds: ReadonlySet<StoreErrorKind> = new Set<StoreErrorKind>([
  'credentials',
  'no-credentials',
  'expired-token',
  'no-bucket',
  'wrong-region',
  'clock-skew',
])

/** Whether an error is one that no other track will be spared. */
export function isHalting(error: unknown): boolean {
  return error instanceof RunHalted || (error instanceof StoreError && haltingKinds.has(error.kind))
}

/** Attempts that a transfer gets while the store answers; those of an outage are not counted. */
const maxAttempts = 8

/** How long the store may keep silent before it is said to be away, milliseconds. */
const silence = 2_000

/**
 * How often a request may fail again after the store was found to be back: from then on it is not the store that is
 * away, and what the request is for has failed.
 */
const maxReturns = 3

interface ResilienceOptions {
  /** asks the store one cheap question; throws while it is away */
  probe(signal: AbortSignal): Promise<void>
  control: Pick<CongestionControl, 'throttled'>
  report: Pick<Reporter, 'warn' | 'note' | 'detail'>
  /** milliseconds */
  maxOutage: number
  signal: AbortSignal
  /** nothing is waited for any longer, what is being asked may be finished; default: `signal` */
  stopping?: AbortSignal
  now?: () => number
  random?: () => number
  /** milliseconds between probes, at most */
  probeCap?: number
}

/** Thrown to all transfers when the run cannot continue: an outage longer than allowed, or credentials that are gone. */
export class RunHalted extends Error {
  override readonly cause: Error

  constructor(cause: Error) {
    super(cause.message, { cause })
    this.name = 'RunHalted'
    this.cause = cause
  }
}

export class Resilience {
  readonly #options: Required<ResilienceOptions>
  /** aborted when nothing is waited for any longer */
  readonly #waiting: AbortSignal
  readonly #breaker = new CircuitBreaker()
  #recovery: Promise<void> | undefined
  #halted: RunHalted | undefined
  #retries = 0
  #absences = 0

  constructor(options: ResilienceOptions) {
    const { signal } = options
    this.#options = { now: Date.now, random: Math.random, probeCap: 15_000, stopping: signal, ...options }
    this.#waiting = AbortSignal.any([signal, this.#options.stopping])
  }

  /** requests that were sent again */
  get retries(): number {
    return this.#retries
  }

  /** times that it looked like an outage, and everything waited for the answer to a question of its own */
  get outages(): number {
    return this.#breaker.outages
  }

  /** of these, those in which that was not answered, either: the store was away */
  get absences(): number {
    return this.#absences
  }

  /**
   * Runs one request until it succeeds, fails for good, or the run is halted.
   * @throws RunHalted · StoreError when it is not to be retried, or was often enough · AbortError, or the signal's
   *   reason, when it would have to wait and nothing is waited for any longer
   */
  async run<T>(request: () => Promise<T>): Promise<T> {
    let returns = 0
    let hasWaited = false
    for (let attempt = 1; ; attempt++) {
      await this.#gate()
      try {
        const result = await request()
        this.#breaker.succeeded()
        return result
      } catch (error) {
        if (!(error instanceof StoreError)) throw error
        if (haltingKinds.has(error.kind)) throw this.#halt(error)
        if (!error.retryable) {
          // A refusal is an answer: the store is there.
          if (error.kind !== 'aborted') this.#breaker.succeeded()
          throw error
        }
        if (mayBeTooMuch(error) && !this.#breaker.isOpen) this.#options.control.throttled(this.#options.now())
        if (error.kind === 'throttled') this.#breaker.succeeded()
        let isAway = false
        if (outageKinds.has(error.kind)) {
          if (hasWaited && !this.#breaker.isOpen && ++returns >= maxReturns) throw failsAlone(error)
          isAway = this.#noteOutage(error, attempt)
          hasWaited = isAway
        }
        if (isAway) attempt = 0
        else if (attempt >= maxAttempts) throw error
        this.#retries++
        this.#options.report.detail(`trying again (${attempt}): ${error.message}`)
        if (attempt > 0) await this.#pause(fullJitter(attempt, this.#options.random()))
      }
    }
  }

  /** @returns whether there is an outage, this failure's or one already known */
  #noteOutage(error: StoreError, attempt: number): boolean {
    if (this.#breaker.failed(this.#options.now(), attempt)) {
      this.#recovery = this.#recover(error)
      // Nobody may be waiting at the gate when it is halted.
      this.#recovery.catch(() => {})
    }
    return this.#breaker.isOpen
  }

  async #gate(): Promise<void> {
    if (this.#halted) throw this.#halted
    this.#options.signal.throwIfAborted()
    if (this.#recovery) await this.#recovery
  }

  /** Waits until the store answers. That it is away is only said once it has answered nothing to a question of its own. */
  async #recover(first: StoreError): Promise<void> {
    const { now, maxOutage, probe, random, probeCap, report } = this.#options
    let isTold = false
    const tell = (): void => {
      if (isTold) return
      isTold = true
      this.#absences++
      report.warn(
        `S3 cannot be reached (${first.message}): waiting for it, up to ${formatDuration(maxOutage)}`,
        { code: 'store.outage' },
      )
    }
    for (let attempt = 1; ; attempt++) {
      const left = Math.max(0, maxOutage - this.#breaker.openFor(now()))
      if (left === 0 && attempt > 1) {
        this.#recovery = undefined
        throw this.#halt(
          new TemporaryError(`S3 has been unreachable for ${formatDuration(maxOutage)}`, {
            code: 'store.outage',
          }),
        )
      }
      await this.#pause(Math.min(left, 250 + fullJitter(attempt, random(), { base: 500, cap: probeCap })))
      const silent = setTimeout(tell, silence)
      try {
        await probe(this.#waiting)
        break
      } catch (error) {
        if (this.#waiting.aborted) throw new DOMException('told to stop', 'AbortError')
        if (error instanceof StoreError && haltingKinds.has(error.kind)) {
          this.#recovery = undefined
          throw this.#halt(error)
        }
        // Any other refusal is an answer: the store is there again.
        if (error instanceof StoreError && !error.retryable) break
        tell()
      } finally {
        clearTimeout(silent)
      }
    }
    if (isTold) report.note(`S3 is back after ${formatDuration(this.#breaker.openFor(now()))}: continuing`)
    this.#breaker.succeeded()
    this.#recovery = undefined
  }

  #halt(error: Error): RunHalted {
    this.#halted ??= new RunHalted(error)
    return this.#halted
  }

  async #pause(milliseconds: number): Promise<void> {
    await sleep(milliseconds, undefined, { signal: this.#waiting })
  }
}

/** Whether fewer requests at a time may cure it: not every store says SlowDown, many just take no more connections. */
function mayBeTooMuch({ kind, status }: StoreError): boolean {
  return kind === 'throttled' || kind === 'network' || kind === 'timeout' || status === 503
}

/** The same failure, as that of what the request was for. */
function failsAlone(error: StoreError): StoreError {
  return new StoreError(error.kind, `${error.message}, again and again, although S3 answers other requests`, {
    cure: 'Run it again. If it fails again, the store, or a proxy in front of it, has trouble with this one object: look for its key in their logs, and try it with another S3 program.',
    ...(error.status !== undefined && { status: error.status }),
    ...(error.requestId !== undefined && { requestId: error.requestId }),
    ...(error.details !== undefined && { details: error.details }),
    cause: error,
  })
}
