/** Quantiles of any number of durations in constant memory. */

/** Each bucket is 2 % wider than the one before, so a quantile is right to 1 %. */
const growth = Math.log(1.02)
/** ms; what is faster counts as this */
const shortest = 0.01

/**
 * A histogram with logarithmic buckets (as in HdrHistogram, https://hdrhistogram.github.io/HdrHistogram/): about 1,000
 * of them cover 10 µs to 3 h.
 */
export class LatencyHistogram {
  readonly #counts = new Map<number, number>()
  #total = 0

  /** @param milliseconds 0 or more */
  add(milliseconds: number): void {
    const bucket = Math.floor(Math.log(Math.max(milliseconds, shortest) / shortest) / growth)
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + 1)
    this.#total++
  }

  get count(): number {
    return this.#total
  }

  /**
   * The duration that this share of all is not longer than, ms; `undefined` when there is none.
   * @param share 0 to 1: 0.95 for p95
   */
  quantile(share: number): number | undefined {
    const rank = Math.max(1, Math.ceil(share * this.#total))
    let seen = 0
    for (const bucket of [...this.#counts.keys()].sort((a, b) => a - b)) {
      seen += this.#counts.get(bucket)!
      if (seen >= rank) return shortest * Math.exp((bucket + 0.5) * growth)
    }
    return undefined
  }
}
