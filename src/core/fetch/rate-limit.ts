/** Starts spread over time: `perMinute` of them a minute, none saved up. Pure: time comes in. */
export class RateLimit {
  readonly #interval: number
  #next = Number.NEGATIVE_INFINITY

  /** @param perMinute undefined: no limit */
  constructor(perMinute: number | undefined) {
    this.#interval = perMinute === undefined ? 0 : 60_000 / perMinute
  }

  /** Takes the next start. @returns milliseconds to wait for it */
  take(now: number): number {
    const start = Math.max(now, this.#next)
    this.#next = start + this.#interval
    return start - now
  }
}
