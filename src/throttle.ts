/** Keeps what goes over the line under a bandwidth limit that may change with the time of day. */
import { setTimeout as pause } from 'node:timers/promises'
import { type BandwidthTable, bandwidthAt } from './core/bandwidth.ts'
import type { ObjectStore } from './storage/store.ts'

/** Someone who waits for a slice to pass. */
interface Waiting {
  readonly bytes: number
  readonly signal: AbortSignal | undefined
  resolve(): void
  reject(error: unknown): void
}

/** Bytes that pass at once at most; less at low rates, so that none waits long for another's. */
const largestSlice = 64 * 1024

/**
 * A token bucket: a body passes in slices, and is paid for before it is sent or asked for. One second of unused rate is
 * kept. A run has one for all that it sends and receives.
 *
 * Streams go before bodies: while one waits its connection stands still, and would be given up.
 */
export class Throttle {
  readonly #table: BandwidthTable | undefined
  readonly #now: () => number
  readonly #sleep: (milliseconds: number, signal?: AbortSignal) => Promise<void>
  readonly #lanes: Readonly<Record<'streams' | 'bodies', Waiting[]>> = { streams: [], bodies: [] }
  #isServing = false
  #tokens = 0
  #at: number

  constructor(
    table: BandwidthTable | undefined,
    now: () => number = Date.now,
    sleep = (milliseconds: number, signal?: AbortSignal) => pause(milliseconds, undefined, { signal }),
  ) {
    this.#table = table
    this.#now = now
    this.#sleep = sleep
    this.#at = now()
  }

  /** Waits until `bytes` may be sent or received. @throws the signal's reason */
  async pass(bytes: number, signal?: AbortSignal): Promise<void> {
    await this.#pass('bodies', bytes, signal)
  }

  /** The chunks of a body, each when it may pass. @throws the signal's reason */
  async *through<Chunk extends Uint8Array>(
    body: AsyncIterable<Chunk>,
    signal?: AbortSignal,
  ): AsyncGenerator<Chunk, void> {
    for await (const chunk of body) {
      await this.#pass('streams', chunk.byteLength, signal)
      yield chunk
    }
  }

  /** The store, its downloads under the limit. Uploads are not: whoever sends measures how fast that goes. */
  downloadsOf(store: ObjectStore): ObjectStore {
    if (this.#table === undefined) return store
    return {
      ...store,
      get: async (key, options) => {
        const content = await store.get(key, options)
        if (content === undefined) return undefined
        const { head, body } = content
        return {
          head,
          body: {
            destroy: error => body.destroy(error),
            [Symbol.asyncIterator]: () => this.through(body, options?.signal),
          },
        }
      },
      getInto: async (key, into, options) => {
        await this.pass(into.byteLength, options?.signal)
        return store.getInto(key, into, options)
      },
    }
  }

  async #pass(lane: 'streams' | 'bodies', bytes: number, signal: AbortSignal | undefined): Promise<void> {
    const table = this.#table
    if (table === undefined) return
    for (let left = bytes; left > 0; ) {
      const rate = bandwidthAt(table, new Date(this.#now()))
      const slice = Math.min(left, largestSlice, Math.ceil(rate / 10))
      await new Promise<void>((resolve, reject) => {
        this.#lanes[lane].push({ bytes: slice, signal, resolve, reject })
        void this.#serve(table)
      })
      left -= slice
    }
  }

  /** One after another, so that none overtakes another of its lane. */
  async #serve(table: BandwidthTable): Promise<void> {
    if (this.#isServing) return
    this.#isServing = true
    const { streams, bodies } = this.#lanes
    for (;;) {
      const next = streams.shift() ?? bodies.shift()
      if (next === undefined) break
      await this.#take(table, next.bytes, next.signal).then(next.resolve, next.reject)
    }
    this.#isServing = false
  }

  async #take(table: BandwidthTable, bytes: number, signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      signal?.throwIfAborted()
      const now = this.#now()
      const rate = bandwidthAt(table, new Date(now))
      if (rate === Number.POSITIVE_INFINITY) {
        this.#tokens = 0
        this.#at = now
        return
      }
      // A slice of a faster hour is to pass anyway.
      this.#tokens = Math.min(Math.max(rate, bytes), this.#tokens + ((now - this.#at) / 1_000) * rate)
      this.#at = now
      if (this.#tokens >= bytes) {
        this.#tokens -= bytes
        return
      }
      // A minute at most: the timetable may change in the meantime.
      const wait = Math.min(60_000, Math.max(1, ((bytes - this.#tokens) / rate) * 1_000))
      await this.#sleep(wait, signal).catch((error: unknown) => {
        signal?.throwIfAborted()
        throw error
      })
    }
  }
}
