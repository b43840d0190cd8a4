/**
 * Objects into open files: small ones in one request, large ones in ranges, many at a time. What comes is in memory
 * first, from where threads write and hash it; memory stays within a budget, whatever the sizes.
 */
import { closeSync, ftruncate } from 'node:fs'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'
import pLimit from 'p-limit'
import { combineCrc32, encodeCrc32 } from '../core/crc32.ts'
import { openDirect } from '../file-effects.ts'
import type { Requests } from '../storage/requests.ts'
import { type ObjectHead, type ObjectStore, StoreError } from '../storage/store.ts'
import { BufferPool } from './buffer-pool.ts'
import type { NewFile, WritableFile } from './reader-thread.ts'
import type { Readers } from './readers.ts'

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
  /** sends a request again where that helps, and measures */
  readonly requests: Pick<Requests, 'ask' | 'carry'>
  readonly signal: AbortSignal
  /** bytes of a range (tests); default 8 MiB */
  readonly rangeSize?: number
}

/** An object that came whole. */
export interface Download {
  /** of the object that came; its CRC-32, if the store tells one, is that of what came */
  readonly head: ObjectHead
  /** hex */
  readonly sha256: string
  /** undefined if the SHA-256 is the expected one, which says more */
  readonly crc32: number | undefined
}

/** What is known of an object before it is asked for. */
interface Expectation {
  /** bytes it is thought to have; saves a request if that is right */
  readonly size?: number | undefined
  /** hex; while it is right, no other sum is computed */
  readonly sha256?: string | undefined
}

/** A file that is to be filled; it is made when there is something to write. */
export interface Draft {
  readonly path: string
  /** once it is there, open for reading and writing: whoever made the draft closes it */
  descriptor?: number | undefined
}

interface RangeRequest {
  readonly start?: number
  readonly ifMatch?: string
}

/** Ranges of one object that are under way or held at a time at most, so that two large ones share the memory. */
const rangesAtOnce = 6

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
   * Makes a file, in the place of one of its name, and fills it with the object at `key`. Nothing is synced: that is for
   * whoever gives the file its last name.
   *
   * @returns undefined if there is no such object
   * @throws StoreError, `precondition` if it was replaced in the meantime; the file system's error; the signal's reason
   */
  async fill(key: string, draft: Draft, expected: Expectation = {}): Promise<Download | undefined> {
    if (expected.size !== undefined && expected.size <= this.#rangeSize) {
      const whole = await this.#fillWhole(key, draft, expected.size, expected)
      if (whole !== 'other-size') return whole
    }
    const head = await this.#options.requests.ask(() =>
      this.#options.store.head(key, { signal: this.#options.signal }),
    )
    if (head === undefined) return undefined
    if (head.size > this.#rangeSize) return this.#fillInRanges(head, draft, expected)
    const whole = await this.#fillWhole(key, draft, head.size, expected)
    if (whole === 'other-size') throw replaced(key)
    return whole
  }

  async #fillWhole(
    key: string,
    draft: Draft,
    size: number,
    expected: Expectation,
  ): Promise<Download | undefined | 'other-size'> {
    const { threads } = this.#options
    try {
      return await this.#withMemory(size, memory =>
        this.#options.requests.carry(size, async () => {
          // What an earlier attempt wrote may have been longer.
          if (draft.descriptor !== undefined) await truncate(draft.descriptor, 0)
          const got = await this.#get(key, memory)
          if (got === undefined) return undefined
          const { head } = got
          if (got.bytes.length !== head.size) throw cutShort(key, got.bytes.length, head.size)
          const wanted = { crc32: expected.sha256 === undefined, sha256: true }
          const {
            sha256 = '',
            crc32: sum,
            descriptor,
          } = await threads.write(fileOf(draft), got.bytes, 0, wanted)
          draft.descriptor = descriptor
          return proved(head, sha256, sha256 === expected.sha256 ? undefined : (sum ?? crc32(got.bytes)))
        }),
      )
    } catch (error) {
      if (error instanceof StoreError && error.status === 416) return 'other-size'
      throw error
    }
  }

  async #fillInRanges(head: ObjectHead, draft: Draft, expected: Expectation): Promise<Download> {
    const none = { crc32: false, sha256: false }
    const { descriptor } = await this.#options.threads.write(fileOf(draft), nothing, 0, none)
    draft.descriptor = descriptor
    const direct = openDirect(descriptor)
    try {
      return await this.#fillFromRanges(head, { descriptor, direct }, expected)
    } finally {
      if (direct !== undefined) closeSync(direct)
    }
  }

  async #fillFromRanges(head: ObjectHead, file: WritableFile, expected: Expectation): Promise<Download> {
    const { key, size, etag } = head
    const { threads } = this.#options
    const failed = new AbortController()
    const hash = threads.hashPieces()
    /** CRC-32 of each range, if the SHA-256 alone does not do */
    const sums: number[] = []
    /** The ranges are hashed one after another; each holds its memory until its turn is over. */
    let hashed = Promise.resolve()
    const atATime = pLimit(rangesAtOnce)
    const ranges: Promise<void>[] = []
    for (let start = 0; start < size; start += this.#rangeSize) {
      const length = Math.min(this.#rangeSize, size - start)
      let mayHash: (piece: Buffer | undefined) => void = () => {}
      const piece = new Promise<Buffer | undefined>(resolve => {
        mayHash = resolve
      })
      hashed = hashed.then(async () => {
        const bytes = await piece
        if (bytes !== undefined && !failed.signal.aborted)
          await hash.update(bytes).catch(error => failed.abort(error))
      })
      const turn = hashed
      const index = ranges.length
      ranges.push(
        atATime(() =>
          this.#withMemory(length, async memory => {
            await this.#options.requests.carry(length, async () => {
              failed.signal.throwIfAborted()
              const got = await this.#get(key, memory, { start, ifMatch: etag })
              if (got === undefined) throw replaced(key)
              if (got.bytes.length !== length) throw cutShort(key, got.bytes.length, length)
              const wanted = { crc32: expected.sha256 === undefined, sha256: false }
              sums[index] = (await threads.write(file, got.bytes, start, wanted)).crc32 ?? 0
            })
            mayHash(memory)
            await turn
          }),
        ).catch((error: unknown) => {
          failed.abort(error)
          mayHash(undefined)
          throw error
        }),
      )
    }
    // All of them, so that none still writes when the file is closed.
    await Promise.allSettled(ranges)
    const sha256 = await hash.end()
    failed.signal.throwIfAborted()
    if (expected.sha256 === undefined) {
      const lengthOf = (index: number) => Math.min(this.#rangeSize, size - index * this.#rangeSize)
      return proved(
        head,
        sha256,
        sums.reduce((whole, sum, index) => combineCrc32(whole, sum, lengthOf(index)), 0),
      )
    }
    return proved(
      head,
      sha256,
      sha256 === expected.sha256 ? undefined : (await threads.hash(file.descriptor)).crc32,
    )
  }

  /** Lends memory for as long as `use` takes: to all attempts at a request, so that none of them waits for others' ends. */
  async #withMemory<T>(length: number, use: (memory: Buffer) => Promise<T>): Promise<T> {
    const lease = await this.#pool.lease(Math.max(1, length), this.#options.signal)
    try {
      return await use(lease.bytes)
    } finally {
      lease.release()
    }
  }

  async #get(
    key: string,
    memory: Buffer,
    where: RangeRequest = {},
  ): Promise<{ head: ObjectHead; bytes: Buffer } | undefined> {
    const { store, signal } = this.#options
    const got = await store.getInto(key, memory, { ...where, signal })
    return got && { head: got.head, bytes: memory.subarray(0, got.bytes) }
  }
}

const nothing = Buffer.from(new SharedArrayBuffer(0))

const fileOf = ({ path, descriptor }: Draft): WritableFile | NewFile =>
  descriptor === undefined ? { path } : { descriptor }

/** @throws StoreError `bad-digest` if the store's CRC-32 of the whole object is another */
function proved(head: ObjectHead, sha256: string, sum: number | undefined): Download {
  const expected = head.checksums.crc32
  const came = sum === undefined ? undefined : encodeCrc32(sum)
  if (came !== undefined && expected !== undefined && expected !== came) {
    throw new StoreError(
      'bad-digest',
      `the download of ${head.key} has CRC-32 ${came}, the store has ${expected}`,
    )
  }
  return { head, sha256, crc32: sum }
}

function cutShort(key: string, came: number, expected: number): StoreError {
  return new StoreError('network', `only ${came} of ${expected} bytes of ${key} arrived`)
}

function replaced(key: string): StoreError {
  return new StoreError('precondition', `${key} was replaced while it was downloaded`)
}
