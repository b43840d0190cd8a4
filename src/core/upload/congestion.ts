/**
 * How many transfers at a time: grows while more of them move more bytes, halves when the store says it is too much.
 * Additive increase and multiplicative decrease, as TCP does (Chiu & Jain 1989), with the growth bound to measured
 * throughput. Pure: time and what was moved come in as parameters.
 */
interface CongestionOptions {
  readonly initial: number
  readonly min: number
  readonly max: number
  /** milliseconds over which throughput is measured before the next step */
  readonly window: number
}

/** A step must bring this much more throughput to be kept. */
const worthwhileGain = 1.05

export class CongestionControl {
  readonly #options: CongestionOptions
  #limit: number
  #peak: number
  #halvings = 0
  #windowStart: number
  #moved = 0
  #lastRate = 0
  #lastStep = 0
  /** after a decrease no other one counts for a window: one burst of SlowDown is one signal */
  #quietUntil = 0
  #settledWindows = 0

  constructor(options: CongestionOptions, now: number) {
    this.#options = options
    this.#limit = Math.min(options.max, Math.max(options.min, options.initial))
    this.#peak = this.#limit
    this.#windowStart = now
  }

  /** transfers at a time, now */
  get limit(): number {
    return this.#limit
  }

  get peak(): number {
    return this.#peak
  }

  get halvings(): number {
    return this.#halvings
  }

  /** A transfer ended well. `work` in bytes (with a constant for the request, so that small files count). */
  succeeded(work: number, now: number): void {
    this.#moved += work
    const elapsed = now - this.#windowStart
    if (elapsed < this.#options.window) return
    const rate = this.#moved / elapsed
    this.#windowStart = now
    this.#moved = 0
    if (this.#lastStep > 0 && rate < this.#lastRate * worthwhileGain) {
      // The last step brought nothing: stay, and look again some windows later, since networks change.
      this.#lastStep = 0
      this.#settledWindows = 0
      return
    }
    if (this.#lastStep === 0 && this.#settledWindows++ < 8 && this.#lastRate > 0) return
    this.#lastRate = rate
    this.#lastStep = Math.min(Math.max(1, Math.round(this.#limit / 4)), this.#options.max - this.#limit)
    this.#limit += this.#lastStep
    this.#peak = Math.max(this.#peak, this.#limit)
  }

  /** The store asked to slow down. */
  throttled(now: number): void {
    if (now < this.#quietUntil) return
    this.#limit = Math.max(this.#options.min, Math.floor(this.#limit / 2))
    this.#halvings++
    this.#lastStep = 0
    this.#settledWindows = 0
    this.#moved = 0
    this.#windowStart = now
    this.#quietUntil = now + this.#options.window
  }
}
