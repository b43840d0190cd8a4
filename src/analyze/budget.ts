interface Waiter {
  readonly amount: number
  readonly grant: () => void
}

/** So much of something that is shared: bytes on disk, threads. Those who wait are served in the order they came. */
export class Budget {
  readonly limit: number
  readonly #waiting: Waiter[] = []
  #used = 0

  constructor(limit: number) {
    this.limit = limit
  }

  /** what is taken now */
  get used(): number {
    return this.#used
  }

  /**
   * Waits until `amount` fits. More than the whole is granted when nobody else has any.
   *
   * @returns gives it back; calling it twice is harmless
   * @throws the signal's reason
   */
  async reserve(amount: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#waiting.length > 0 || !this.#fits(amount)) await this.#wait(amount, signal)
    else this.#used += amount
    let released = false
    return () => {
      if (released) return
      released = true
      this.#used -= amount
      this.#grantNext()
    }
  }

  #fits(amount: number): boolean {
    return this.#used === 0 || this.#used + amount <= this.limit
  }

  #wait(amount: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        reject(signal.reason)
        this.#grantNext()
      }
      const waiter: Waiter = {
        amount,
        grant: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.push(waiter)
    })
  }

  #grantNext(): void {
    for (let next = this.#waiting[0]; next && this.#fits(next.amount); next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#used += next.amount
      next.grant()
    }
  }
}
