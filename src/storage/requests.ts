/**
 * The requests of transfers: as many with content at a time as throughput says are worth it, each sent again until it
 * is answered, all of them waiting together while the store is away.
 */
import type { Reporter } from '../report/reporter.ts'
import { Resilience } from './resilience.ts'
import type { ObjectStore } from './store.ts'
import { Turns, type TurnsOptions } from './turns.ts'

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
  busy?: TurnsOptions['busy']
}

export class Requests {
  readonly #turns: Turns
  readonly #resilience: Resilience

  constructor(options: RequestOptions) {
    const { initialConcurrency: initial, maxConcurrency: max, now, busy } = options
    this.#turns = new Turns({ initial, max, now, busy })
    this.#resilience = new Resilience({
      probe: signal => options.store.checkBucket(signal),
      control: this.#turns,
      report: options.report,
      maxOutage: options.maxOutage,
      stopping: options.stopping,
      signal: options.signal,
      ...(now && { now }),
    })
  }

  /** requests with content at a time, as of now */
  get concurrency(): number {
    return this.#turns.limit
  }

  get statistics() {
    return {
      concurrency: this.#turns.limit,
      peakConcurrency: this.#turns.peak,
      halvings: this.#turns.halvings,
      retries: this.#resilience.retries,
      outages: this.#resilience.absences,
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
    return this.#turns.take(use)
  }

  /**
   * A request that carries content, of someone who has a place.
   * @param bytes of content: throughput is measured by them
   * @throws as {@link ask}
   */
  async carry<T>(bytes: number, request: () => Promise<T>): Promise<T> {
    const result = await this.#resilience.run(request)
    this.#turns.succeeded(bytes)
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
