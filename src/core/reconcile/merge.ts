import { FatalError } from '../../errors.ts'
import { compareUtf8 } from '../utf8-order.ts'

/** One step of a merge: what the left and the right side have under `key`; at least one of them is there. */
interface Joined<L, R> {
  key: string
  left?: L
  right?: R
  /** Set where an earlier left entry of the same key was joined with this right entry already. */
  again?: true
}

/**
 * Full outer join of two ordered streams. Left keys may repeat (two rows, one object), right keys may not.
 * One page of either side is read ahead; memory does not depend on the length of the streams.
 *
 * @throws FatalError `reconcile.order` when a side is not in order: a merge over it would invent differences
 */
export async function* mergeOrdered<L, R>(
  left: AsyncIterable<readonly L[]>,
  right: AsyncIterable<readonly R[]>,
  keyOfLeft: (entry: L) => string,
  keyOfRight: (entry: R) => string,
): AsyncGenerator<Joined<L, R>[]> {
  const lefts = new Cursor(left, keyOfLeft, 'rows', true)
  const rights = new Cursor(right, keyOfRight, 'listing', false)
  try {
    await lefts.fill()
    await rights.fill()
    let joined: Joined<L, R>[] = []
    let lastMatch: string | undefined
    while (!lefts.done || !rights.done) {
      const order = lefts.done ? 1 : rights.done ? -1 : compareUtf8(lefts.key, rights.key)
      if (order === 0) {
        const pair: Joined<L, R> = { key: lefts.key, left: lefts.entry, right: rights.entry }
        if (lastMatch === lefts.key) pair.again = true
        joined.push(pair)
        lastMatch = lefts.key
        lefts.advance()
      } else if (order < 0) {
        joined.push({ key: lefts.key, left: lefts.entry })
        lefts.advance()
      } else {
        // The right entry stays until the left side is past it, so that every row of its key meets it.
        if (rights.key !== lastMatch) joined.push({ key: rights.key, right: rights.entry })
        rights.advance()
      }
      if (lefts.empty || rights.empty) {
        if (joined.length > 0) yield joined
        joined = []
        await lefts.fill()
        await rights.fill()
      }
    }
    if (joined.length > 0) yield joined
  } finally {
    await Promise.allSettled([lefts.close(), rights.close()])
  }
}

/** One side of a merge: the entry at hand, the rest of its page, and the next page on its way. */
class Cursor<T> {
  done = false
  entry!: T
  key = ''
  #page: readonly T[] = []
  #index = -1
  #started = false
  readonly #iterator: AsyncIterator<readonly T[]>
  #next: Promise<IteratorResult<readonly T[]>> | undefined
  readonly #keyOf: (entry: T) => string
  readonly #what: string
  readonly #repeats: boolean

  constructor(
    pages: AsyncIterable<readonly T[]>,
    keyOf: (entry: T) => string,
    what: string,
    repeats: boolean,
  ) {
    this.#iterator = pages[Symbol.asyncIterator]()
    this.#keyOf = keyOf
    this.#what = what
    this.#repeats = repeats
  }

  /** Whether the page at hand is used up; `fill` gets the next one. */
  get empty(): boolean {
    return !this.done && this.#index >= this.#page.length
  }

  advance(): void {
    this.#index += 1
    if (this.#index < this.#page.length) this.#take()
  }

  async fill(): Promise<void> {
    if (this.#started && !this.empty) return
    do {
      const result = await (this.#next ?? this.#iterator.next())
      if (result.done === true) {
        this.done = true
        this.#next = undefined
        this.#started = true
        return
      }
      this.#page = result.value
      this.#index = 0
      this.#next = this.#iterator.next()
      // It is awaited by the next fill; until then a failure must not count as unhandled.
      this.#next.catch(() => {})
    } while (this.#page.length === 0)
    this.#take()
    this.#started = true
  }

  async close(): Promise<void> {
    await this.#iterator.return?.()
  }

  #take(): void {
    this.entry = this.#page[this.#index] as T
    const key = this.#keyOf(this.entry)
    if (this.#started) {
      const order = compareUtf8(this.key, key)
      if (order > 0 || (order === 0 && !this.#repeats)) {
        throw new FatalError(
          `the ${this.#what} came out of order: ${JSON.stringify(key)} after ${JSON.stringify(this.key)}`,
          { code: 'reconcile.order', details: { previous: this.key, key } },
        )
      }
    }
    this.key = key
  }
}

/**
 * Runs ordered streams side by side, at most `width` at once, and yields their pages one stream after the other.
 * Every stream buffers at most `depth` pages ahead. A failure of any stream ends the whole, in its place.
 */
export async function* inSequence<T>(
  streams: AsyncIterable<() => AsyncIterable<T>>,
  { width, depth }: { width: number; depth: number },
): AsyncGenerator<T> {
  const source = streams[Symbol.asyncIterator]()
  const running: Prefetch<T>[] = []
  let exhausted = false
  const start = async (): Promise<void> => {
    while (!exhausted && running.length < width) {
      const next = await source.next()
      if (next.done === true) exhausted = true
      else running.push(new Prefetch(next.value(), depth))
    }
  }
  try {
    await start()
    for (let head = running[0]; head !== undefined; head = running[0]) {
      for (let item = await head.take(); item.done !== true; item = await head.take()) yield item.value
      running.shift()
      await start()
    }
  } finally {
    await Promise.allSettled([...running.map(stream => stream.close()), source.return?.()])
  }
}

/** Reads a stream ahead of its consumer, up to `depth` items. */
class Prefetch<T> {
  readonly #iterator: AsyncIterator<T>
  readonly #depth: number
  readonly #ready: IteratorResult<T>[] = []
  #failure: { error: unknown } | undefined
  #waiting: (() => void) | undefined
  #reading = false
  #ended = false

  constructor(stream: AsyncIterable<T>, depth: number) {
    this.#iterator = stream[Symbol.asyncIterator]()
    this.#depth = depth
    void this.#read()
  }

  async take(): Promise<IteratorResult<T>> {
    while (this.#ready.length === 0) {
      if (this.#failure !== undefined) throw this.#failure.error
      const wake = new Promise<void>(resolve => {
        this.#waiting = resolve
      })
      void this.#read()
      await wake
    }
    const item = this.#ready.shift() as IteratorResult<T>
    void this.#read()
    return item
  }

  async close(): Promise<void> {
    this.#ended = true
    await this.#iterator.return?.()
  }

  async #read(): Promise<void> {
    if (this.#reading) return
    this.#reading = true
    try {
      while (!this.#ended && this.#ready.length < this.#depth) {
        const item = await this.#iterator.next()
        if (item.done === true) this.#ended = true
        this.#ready.push(item)
        this.#wake()
      }
    } catch (error) {
      this.#failure = { error }
      this.#ended = true
      this.#wake()
    } finally {
      this.#reading = false
    }
  }

  #wake(): void {
    this.#waiting?.()
    this.#waiting = undefined
  }
}
