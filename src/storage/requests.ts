/**
 * The requests of transfers: as many with content at a time as throughput says are worth it, each sent again until it
 * is answered, all of them waiting together while the store is away.
 */
import pLimit, { type LimitFunction } from 'p-limit'
import { CongestionControl } from '../core/storage/congestion.ts'
import type { Reporter } from '../report/reporter.ts'
import { Resilience } from './resilience.ts'
import type { ObjectStore } from './store.ts'

export interface RequestOptions {
  store: ObjectStore
  report: Pick<Reporter, 'warn' | 'note' | 'detail'>
  /** transfers at a time at most; the engine finds out how many are worth it */
  maxConcurrency: number
  /** with `initialConcurrency === maxConcurrency` the number is fixed */
  initialConcurrency: number
  /** milliseconds */
  maxOutage: number
  /** nothing is waited for any longer */
  stopping: AbortSignal
  /** abandon what is in flight */
  signal: AbortSignal
  now?: () => number
  /** the share of the time since it was last asked that the program was at work, 0 to 1; default: this thread's */
  busy?: () => number
}

/** Over which throughput is measured, ms. */
export const window = 250

export class Requests {
  readonly #control: CongestionControl
  readonly #resilience: Resilience
  readonly #atATime: LimitFunction
  readonly #now: () => number

  constructor(options: RequestOptions) {
    this.#now = options.now ?? Date.now
    this.#control = new CongestionControl(
      {
        initial: options.initialConcurrency,
        min: 1,
        max: options.maxConcurrency,
        window,
        busy: options.busy ?? busyThread(),
      },
      this.#now(),
    )
    this.#atATime = pLimit(this.#control.limit)
    this.#resilience = new Resilience({
      probe: signal => options.store.checkBucket(signal),
      control: this.#control,
      report: options.report,
      maxOutage: options.maxOutage,
      stopping: options.stopping,
      signal: options.signal,
      now: this.#now,
    })
  }

  /** requests with content at a time, as of now */
  get concurrency(): number {
    return this.#control.limit
  }

  get statistics() {
    return {
      concurrency: this.#control.limit,
      peakConcurrency: this.#control.peak,
      halvings: this.#control.halvings,
      retries: this.#resilience.retries,
      outages: this.#resilience.outages,
    }
  }

  /**
   * A request without content; it takes nobody's place.
   * @throws RunHalted · StoreError when it is not to be retried, or was often enough · the signal's reason,
   *   or AbortError when it would have to wait for the store after being told to stop
   */
  ask<T>(request: () => Promise<T>): Promise<T> {
    return this.#resilience.run(request)
  }

  /**
   * Waits for a place, and keeps it for as long as `use` takes.
   * @throws what `use` throws
   */
  inTurn<T>(use: () => Promise<T>): Promise<T> {
    return this.#atATime(use)
  }

  /**
   * A request that carries content, of someone who has a place.
   * @param bytes of content: throughput is measured by them
   * @throws as {@link ask}
   */
  async carry<T>(bytes: number, request: () => Promise<T>): Promise<T> {
    const result = await this.#resilience.run(request)
    this.#control.succeeded(bytes, this.#now())
    if (this.#atATime.concurrency !== this.#control.limit) this.#atATime.concurrency = this.#control.limit
    return result
  }

  /**
   * A request that carries content, in its turn.
   * @throws as {@link ask}
   */
  send<T>(bytes: number, request: () => Promise<T>): Promise<T> {
    return this.inTurn(() => this.carry(bytes, request))
  }
}

/** The share of the time since it was last asked that this thread was at work, 0 to 1. */
export function busyThread(): () => number {
  let last = performance.eventLoopUtilization()
  return () => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, last)
    last = now
    return utilization
  }
}
