/** Gathers what was done and commits it in batches, one at a time, in the order in which it was added. */
export class Committer<T> {
  readonly #commit: (batch: readonly T[]) => Promise<void>
  readonly #limits: { size: number; interval: number }
  #batch: T[] = []
  #current: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | undefined
  #failure: unknown

  /** @param limits a batch is committed when it has this many, or after this many milliseconds */
  constructor(commit: (batch: readonly T[]) => Promise<void>, limits: { size: number; interval: number }) {
    this.#commit = commit
    this.#limits = limits
  }

  /** @throws what an earlier commit threw: the run is to end */
  async add(done: T): Promise<void> {
    this.#batch.push(done)
    if (this.#batch.length >= this.#limits.size) return this.flush()
    this.#timer ??= setTimeout(() => void this.flush().catch(() => {}), this.#limits.interval)
    if (this.#failure) throw this.#failure
  }

  /** Commits what was added. What is added while it waits for an earlier commit goes with it. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#current = this.#current.then(() => {
      const batch = this.#batch
      this.#batch = []
      return batch.length === 0 ? undefined : this.#commit(batch)
    })
    this.#current.catch(error => {
      this.#failure ??= error
    })
    await this.#current
  }
}
