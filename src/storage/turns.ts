import pLimit, { type LimitFunction } from 'p-limit'
import { CongestionControl } from '../core/storage/congestion.ts'

export interface TurnsOptions {
  /** at a time at first; the number is fixed where it is `max` too */
  initial: number
  max: number
  /** milliseconds */
  now?: (() => number) | undefined
  /** the share of the time since it was last asked that the program was at work, 0 to 1; default: this thread's */
  busy?: (() => number) | undefined
}

/** Over which throughput is measured, ms. */
const window = 250

/** As many at a time as throughput says are worth it. */
export class Turns {
  readonly #control: CongestionControl
  readonly #atATime: LimitFunction
  readonly #now: () => number

  constructor({ initial, max, now = Date.now, busy = busyThread() }: TurnsOptions) {
    this.#now = now
    this.#control = new CongestionControl({ initial, min: 1, max, window, busy }, now())
    this.#atATime = pLimit(this.#control.limit)
  }

  /** at a time, as of now */
  get limit(): number {
    return this.#control.limit
  }

  get peak(): number {
    return this.#control.peak
  }

  get halvings(): number {
    return this.#control.halvings
  }

  /**
   * Waits for a place, and keeps it for as long as `use` takes.
   * @throws what `use` throws
   */
  take<T>(use: () => Promise<T>): Promise<T> {
    return this.#atATime(use)
  }

  /** Whoever has a place has moved so many bytes with a request. */
  succeeded(bytes: number): void {
    this.#control.succeeded(bytes, this.#now())
    this.#follow()
  }

  /** The store asked to slow down, or may have. */
  throttled(now = this.#now()): void {
    this.#control.throttled(now)
    this.#follow()
  }

  #follow(): void {
    const { limit } = this.#control
    if (this.#atATime.concurrency !== limit) this.#atATime.concurrency = limit
  }
}

/** The share of the time since it was last asked that this thread was at work, 0 to 1. */
function busyThread(): () => number {
  let last = performance.eventLoopUtilization()
  return () => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, last)
    last = now
    return utilization
  }
}
