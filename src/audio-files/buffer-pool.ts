/**
 * Buffers for file content under one budget. They are shared memory, so that hashing threads read them in place, and
 * they are used again: garbage of this size is what makes a collector work.
 */

/** Buffers come in powers of two from this size on, so that a free one usually fits. */
const smallestClass = 64 * 1024

interface LentBuffer {
  /** `size` bytes; the content is whatever was there before */
  readonly bytes: Buffer
  /** Gives it back; calling it twice is harmless. */
  release(): void
}

interface Waiter {
  readonly size: number
  readonly grant: () => void
}

export class BufferPool {
  readonly #budget: number
  readonly #free = new Map<number, Buffer[]>()
  readonly #waiting: Waiter[] = []
  /** bytes of buffers that exist, lent or free */
  #allocated = 0
  /** bytes of buffers that are lent */
  #lent = 0

  /** @param budget bytes; one buffer larger than that is still lent, alone */
  constructor(budget: number) {
    this.#budget = budget
  }

  /** bytes that exist now: what the pool costs in memory */
  get allocated(): number {
    return this.#allocated
  }

  /** Waits, first come first served, until `size` bytes fit the budget. @throws the signal's reason */
  async lease(size: number, signal?: AbortSignal): Promise<LentBuffer> {
    signal?.throwIfAborted()
    const classSize = sizeClass(size)
    if (this.#waiting.length > 0 || !this.#fits(classSize)) await this.#wait(classSize, signal)
    else this.#lent += classSize
    const whole = this.#take(classSize)
    let released = false
    return {
      bytes: whole.subarray(0, size),
      release: () => {
        if (released) return
        released = true
        this.#lent -= classSize
        this.#free.get(classSize)?.push(whole)
        this.#grantNext()
      },
    }
  }

  #fits(size: number): boolean {
    return this.#lent === 0 || this.#lent + size <= this.#budget
  }

  #wait(size: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        size,
        grant: () => {
          signal?.removeEventListener('abort', abort)
          resolve()
        },
      }
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        reject(signal?.reason)
        this.#grantNext()
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting.push(waiter)
    })
  }

  #grantNext(): void {
    for (let next = this.#waiting[0]; next && this.#fits(next.size); next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#lent += next.size
      next.grant()
    }
  }

  #take(classSize: number): Buffer {
    let list = this.#free.get(classSize)
    if (!list) {
      list = []
      this.#free.set(classSize, list)
    }
    const reused = list.pop()
    if (reused) return reused
    this.#dropFree(classSize)
    this.#allocated += classSize
    // One that could grow begins at a page of memory, as direct writes ask for; others begin anywhere.
    return Buffer.from(new SharedArrayBuffer(classSize, { maxByteLength: classSize }), 0, classSize)
  }

  /** Free buffers of other sizes make room, so that the whole stays within the budget. */
  #dropFree(needed: number): void {
    for (const [size, list] of this.#free) {
      while (this.#allocated + needed > this.#budget && list.length > 0) {
        list.pop()
        this.#allocated -= size
      }
    }
  }
}

/** Powers of two, and one and a half of them: at most a third of a buffer is idle. */
function sizeClass(size: number): number {
  let power = smallestClass
  while (power < size) {
    if (power * 1.5 >= size) return power * 1.5
    power *= 2
  }
  return power
}
