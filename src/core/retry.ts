/** When to try again, and when the other side is gone for everyone. Pure: time and chance come in as parameters. */

/**
 * Milliseconds to wait before attempt `attempt + 1`: anything from 0 to an exponentially growing cap.
 * Source: Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), full jitter.
 *
 * @param attempt 1 after the first failure
 * @param random from 0 to 1
 */
export function fullJitter(attempt: number, random: number, { base = 200, cap = 20_000 } = {}): number {
  return Math.round(random * Math.min(cap, base * 2 ** (attempt - 1)))
}

/** Failures in a row, over all transfers, that make an outage. */
const outageThreshold = 5

/**
 * Circuit breaker: closed while requests get answers. Failures in a row with no success between open it, if one of them
 * is of a request that was sent again: many that fail at once may just have been too many. Then everything waits while
 * one probe asks whether the store is back.
 */
export class CircuitBreaker {
  #failures = 0
  #openedAt: number | undefined
  #outages = 0

  get isOpen(): boolean {
    return this.#openedAt !== undefined
  }

  /** how many times it opened */
  get outages(): number {
    return this.#outages
  }

  /**
   * @param attempt of the request that failed, from 1
   * @returns true when this failure opened it
   */
  failed(now: number, attempt: number): boolean {
    if (this.isOpen || ++this.#failures < outageThreshold || attempt === 1) return false
    this.#openedAt = now
    this.#outages++
    return true
  }

  succeeded(): void {
    this.#failures = 0
    this.#openedAt = undefined
  }

  /** milliseconds since it opened; 0 when closed */
  openFor(now: number): number {
    return this.#openedAt === undefined ? 0 : now - this.#openedAt
  }
}
