/** Keeps what is sent under a bandwidth limit that may change with the time of day. */
import { setTimeout as pause } from 'node:timers/promises'
import { type BandwidthTable, bandwidthAt } from '../core/bandwidth.ts'

/**
 * A token bucket that may run into debt: a body of any size passes, and the next one waits until it is paid for.
 * One second of unused rate is kept.
 */
export class Throttle {
  readonly #table: BandwidthTable | undefined
  readonly #now: () => number
  readonly #sleep: (milliseconds: number, signal: AbortSignal) => Promise<void>
  #tokens = 0
  #at: number

  constructor(
    table: BandwidthTable | undefined,
    now: () => number = Date.now,
    sleep = (milliseconds: number, signal: AbortSignal) => pause(milliseconds, undefined, { signal }),
  ) {
    this.#table = table
    this.#now = now
    this.#sleep = sleep
    this.#at = now()
  }

  /** Waits until `bytes` may be sent. @throws the signal's reason */
  async pass(bytes: number, signal: AbortSignal): Promise<void> {
    if (!this.#table) return
    for (;;) {
      const now = this.#now()
      const rate = bandwidthAt(this.#table, new Date(now))
      if (rate === Number.POSITIVE_INFINITY) {
        this.#tokens = 0
        this.#at = now
        return
      }
      this.#tokens = Math.min(rate, this.#tokens + ((now - this.#at) / 1_000) * rate)
      this.#at = now
      if (this.#tokens >= 0) {
        this.#tokens -= bytes
        return
      }
      // A minute at most: the timetable may change meanwhile.
      await this.#sleep(Math.min(60_000, Math.max(1, (-this.#tokens / rate) * 1_000)), signal)
    }
  }
}
