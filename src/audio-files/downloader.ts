/**
 * Objects into open files: small ones in one request, large ones in ranges, many at a time. What comes is in memory
 * first, from where threads write and hash it; memory stays within a budget, whatever the sizes.
 */
import { ftruncate } from 'node:fs'
import { promisify } from 'node:util'
import { encodeCrc32 } from '../core/crc32.ts'
import type { Resilience } from '../storage/resilience.ts'
import { type ObjectHead, type ObjectStore, StoreError } from '../storage/store.ts'
import { BufferPool } from './buffer-pool.ts'
import type { Readers } from './readers.ts'
import type { ContentHash } from './source.ts'

const truncate = promisify(ftruncate)

const MiB = 1024 ** 2
/** Objects up to this size come in one request, larger ones in ranges of it, bytes. */
const defaultRangeSize = 8 * MiB

export interface DownloaderOptions {
  readonly store: ObjectStore
  /** threads that write and hash; whoever opened them closes them */
  readonly threads: Readers
  /** bytes that are held at once, at least two ranges; they and the store's sockets bound the requests at once */
  readonly memory: number
  /** sends a request again where that helps; without it each is sent once */
  readonly resilience?: Pick<Resilience, 'run'>
  readonly signal: AbortSignal
  /** bytes of a range (tests); default 8 MiB */
  readonly rangeSize?: number
}

export interface Download extends ContentHash {
  /** of the object that came, and whose CRC-32, where the store tells it, is that of what came */
  readonly head: ObjectHead
}

interface RangeRequest {
  readonly start?: number
  readonly ifMatch?: string
  readonly onBytes: ((bytes: number) => void) | undefined
  /** aborted when another range of the object has failed: this one need not be asked for any more */
  readonly failed?: AbortSignal
}

export class Downloader {
  readonly #options: DownloaderOptions
  readonly #rangeSize: number
  readonly #pool: BufferPool

  constructor(options: DownloaderOptions) {
    this.#options = options
    this.#rangeSize = options.rangeSize ?? defaultRangeSize
    this.#pool = new BufferPool(options.memory)
  }

  /**
   * Fills an empty file, open for reading and writing, with the object at `key`. Nothing is synced: that is for whoever gives the file its name.
   *
   * @param size bytes it is thought to have; saves a request where that is right
   * @param onBytes told of bytes as they come
   * @returns undefined where there is no such object
   * @throws StoreError, `precondition` where it was replaced meanwhile; the file system's error; the signal's reason
   */
  async fill(
    key: string,
    descriptor: number,
    { size, onBytes }: { size?: number | undefined; onBytes?: (bytes: number) => void } = {},
  ): Promise<Download | undefined> {
    if (size !== undefined && size <= this.#rangeSize) {
      const whole = await this.#fillWhole(key, descriptor, size, onBytes)
      if (whole !== 'other-size') return whole
    }
    const head = await this.#ask(() => this.#options.store.head(key, { signal: this.#options.signal }))
    if (head === undefined) return undefined
    if (head.size > this.#rangeSize) return this.#fillInRanges(head, descriptor, onBytes)
    const whole = await this.#fillWhole(key, descriptor, head.size, onBytes)
    if (whole === 'other-size') throw replaced(key)
    return whole
  }

  async #fillWhole(
    key: string,
    descriptor: number,
    size: number,
    onBytes: ((bytes: number) => void) | undefined,
  ): Promise<Download | undefined | 'other-size'> {
    let attempts = 0
    const request = async () => {
      // What an earlier attempt wrote may have been longer.
      if (attempts++ > 0) await truncate(descriptor, 0)
      return this.#get(key, size, { onBytes }, async (bytes, head) => {
        if (bytes.length !== head.size) throw cutShort(key, bytes.length, head.size)
        const sums = await this.#options.threads.write(descriptor, bytes, 0, { crc32: true, sha256: true })
        return proved(head, { crc32: sums.crc32!, sha256: sums.sha256! })
      })
    }
    try {
      return await this.#ask(request)
    } catch (error) {
      if (error instanceof StoreError && error.status === 416) return 'other-size'
      throw error
    }
  }

  async #fillInRanges(
    head: ObjectHead,
    descriptor: number,
    onBytes: ((bytes: number) => void) | undefined,
  ): Promise<Download> {
    const { key, size, etag } = head
    const failed = new AbortController()
    const ranges: Promise<void>[] = []
    for (let start = 0; start < size; start += this.#rangeSize) {
      const length = Math.min(this.#rangeSize, size - start)
      ranges.push(
        this.#ask(async () => {
          const where = { start, ifMatch: etag, onBytes, failed: failed.signal }
          const came = await this.#get(key, length, where, async bytes => {
            if (bytes.length !== length) throw cutShort(key, bytes.length, length)
            await this.#options.threads.write(descriptor, bytes, start, { crc32: false, sha256: false })
            return true
          })
          if (came === undefined) throw replaced(key)
        }).catch((error: unknown) => {
          failed.abort(error)
          throw error
        }),
      )
    }
    // All of them, so that none still writes when the file is closed.
    await Promise.allSettled(ranges)
    failed.signal.throwIfAborted()
    const { sha256, crc32 } = await this.#options.threads.hash(descriptor)
    return proved(head, { sha256, crc32 })
  }

  /** One request into leased memory, and what is done with it there. */
  async #get<T>(
    key: string,
    length: number,
    { onBytes, failed, ...where }: RangeRequest,
    use: (bytes: Buffer, head: ObjectHead) => Promise<T>,
  ): Promise<T | undefined> {
    const { store, signal } = this.#options
    const lease = await this.#pool.lease(Math.max(1, length), signal)
    try {
      failed?.throwIfAborted()
      const got = await store.getInto(key, lease.bytes, { ...where, signal, onReceived: onBytes })
      return got && (await use(lease.bytes.subarray(0, got.bytes), got.head))
    } finally {
      lease.release()
    }
  }

  #ask<T>(request: () => Promise<T>): Promise<T> {
    return this.#options.resilience === undefined ? request() : this.#options.resilience.run(request)
  }
}

/** @throws StoreError `bad-digest` where the store's CRC-32 of the whole object is another */
function proved(head: ObjectHead, sums: ContentHash): Download {
  const expected = head.checksums.crc32
  const crc32 = encodeCrc32(sums.crc32)
  if (expected !== undefined && expected !== crc32) {
    throw new StoreError(
      'bad-digest',
      `the download of ${head.key} has CRC-32 ${crc32}, the store has ${expected}`,
    )
  }
  return { head, ...sums }
}

function cutShort(key: string, came: number, expected: number): StoreError {
  return new StoreError('network', `only ${came} of ${expected} bytes of ${key} arrived`)
}

function replaced(key: string): StoreError {
  return new StoreError('precondition', `${key} was replaced while it was downloaded`)
}
