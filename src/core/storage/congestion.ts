/**
 * How many transfers at a time: grows while more of them move more bytes, halves when the store says it is too much.
 * Doubles at first, as TCP's slow start does (a store 40 ms away needs many more than one in the same rack), then
 * additive increase and multiplicative decrease (Chiu & Jain 1989), with the growth bound to measured throughput.
 * Pure: time and what was moved come in as parameters.
 */
export interface CongestionOptions {
  readonly initial: number
  readonly min: number
  readonly max: number
  /** milliseconds over which throughput is measured, at least, before the next step */
  readonly window: number
  /** the share of the last window that this program itself was at work, 0 to 1: no more is begun where it bounds */
  readonly busy?: () => number
}

/** What a step is, and what it must bring to be kept. */
interface Step {
  /** of the limit */
  readonly growth: number
  /** of the throughput */
  readonly gain: number
}

const doubling: Step = { growth: 1, gain: 1.25 }
const addition: Step = { growth: 0.25, gain: 1.05 }

/** What a request costs beside its bytes, in bytes, when throughput is measured: small files count too. */
const requestWeight = 64 * 1024
/** Windows after a step that brought nothing until the next one is tried: networks change. */
const restingWindows = 16
/** From this share on the program itself has no time for more, and looks again some windows later. */
const mostBusy = 0.9
const busyWindows = 4

export class CongestionControl {
  readonly #options: CongestionOptions
  #limit: number
  #peak: number
  #halvings = 0
  #step = doubling
  #windowStart: number
  #moved = 0
  #ended = 0
  /** the throughput before the step that is on trial, and the limit to go back to */
  #trial: { readonly rate: number; readonly limit: number } | undefined
  #resting = 0
  /** after a decrease no other one counts for a window: one burst of SlowDown is one signal */
  #quietUntil = 0

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

  /** A request that carried so many bytes ended well. */
  succeeded(bytes: number, now: number): void {
    this.#moved += bytes + requestWeight
    this.#ended += 1
    const elapsed = now - this.#windowStart
    // Before each place has had its turn, the throughput is still that of the limit before.
    if (elapsed < this.#options.window || this.#ended < this.#limit) return
    const rate = this.#moved / elapsed
    this.#begin(now)
    this.#judge(rate)
  }

  /** The store asked to slow down. */
  throttled(now: number): void {
    if (now < this.#quietUntil) return
    this.#limit = Math.max(this.#options.min, Math.floor(this.#limit / 2))
    this.#halvings++
    this.#rest()
    this.#begin(now)
    this.#quietUntil = now + this.#options.window
  }

  #begin(now: number): void {
    this.#windowStart = now
    this.#moved = 0
    this.#ended = 0
  }

  #judge(rate: number): void {
    const isBusy = (this.#options.busy?.() ?? 0) > mostBusy
    if (this.#trial !== undefined && rate < this.#trial.rate * this.#step.gain) {
      this.#limit = this.#trial.limit
      this.#rest()
      return
    }
    if (this.#trial === undefined && this.#resting-- > 0) return
    if (isBusy) {
      this.#trial = undefined
      this.#resting = busyWindows
      return
    }
    this.#trial = { rate, limit: this.#limit }
    const step = Math.max(1, Math.round(this.#limit * this.#step.growth))
    this.#limit = Math.min(this.#options.max, this.#limit + step)
    this.#peak = Math.max(this.#peak, this.#limit)
  }

  #rest(): void {
    this.#trial = undefined
    this.#step = addition
    this.#resting = restingWindows
  }
}
