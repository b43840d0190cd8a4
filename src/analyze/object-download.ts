/** One object into a temporary file: resumed where it broke off, and named only once its checksum is right. */
import { createHash, type Hash } from 'node:crypto'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { ItemError, systemErrorCode, TemporaryError } from '../errors.ts'
import { renameOver } from '../file-effects.ts'
import type { Resilience } from '../storage/resilience.ts'
import { StoreError } from '../storage/store.ts'
import type { Origin, OriginContent } from './origin.ts'

/** What the ledger knows of an object. */
export interface KnownObject {
  readonly size: number
  readonly etag: string | null
  readonly sha256: string | null
  readonly crc32: string | null
}

/** The object is larger than what was reserved for it. */
export class LargerThanReserved extends Error {
  readonly size: number

  constructor(size: number) {
    super(`${size} bytes`)
    this.name = 'LargerThanReserved'
    this.size = size
  }
}

/** A connection that brought at least so much before it broke does not count as a failed attempt, bytes. */
const progress = 256 * 1024
/** How often a download may begin from nothing, because what came was wrong or the object was replaced. */
const maxBeginnings = 2

interface DownloadOptions {
  readonly key: string
  /** Appears there whole and right, or not at all. */
  readonly target: string
  readonly origin: Origin
  readonly known: KnownObject | undefined
  /** Bytes on disk that are reserved. */
  readonly room: number
  readonly resilience: Resilience
  readonly signal: AbortSignal
  readonly onBytes: (bytes: number) => void
}

/**
 * @returns its size, and whether there was a checksum to compare
 * @throws ItemError, LargerThanReserved, or StoreError for this object; RunHalted and TemporaryError `temp.full`
 *   if no other would fare better; the signal's reason
 */
export async function download(options: DownloadOptions): Promise<{ bytes: number; verified: boolean }> {
  const draft = `${options.target}.part`
  try {
    await using file = await open(draft, 'wx', 0o600)
    const transfer = new Transfer(file, options)
    while (!transfer.complete) await options.resilience.run(() => transfer.goOn())
    const { bytes, verified } = transfer
    await file.close()
    await renameOver(draft, options.target)
    return { bytes, verified }
  } catch (error) {
    await rm(draft, { force: true })
    const code = systemErrorCode(error)
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
    throw new TemporaryError('the temporary folder is full', {
      code: 'temp.full',
      cure: 'Free some space, point TMPDIR elsewhere, or lower --temp-limit; then run it again.',
      cause: error,
    })
  }
}

class Transfer {
  bytes = 0
  verified = false
  complete = false
  readonly #file: FileHandle
  readonly #options: DownloadOptions
  /** as the first answer described it; later ones are held to that */
  #object: Omit<OriginContent, 'body'> | undefined
  #beginnings = 1
  #sha256: Hash = createHash('sha256')
  #crc32 = 0

  constructor(file: FileHandle, options: DownloadOptions) {
    this.#file = file
    this.#options = options
  }

  /** One request: from where the last one broke off to the end, if it gets there. */
  async goOn(): Promise<void> {
    const before = this.bytes
    try {
      await this.#request()
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      if (error.kind === 'precondition') {
        return this.#beginAgain(
          new ItemError(
            'object.changing',
            'the object was replaced while it was downloaded, again and again',
          ),
        )
      }
      if (error.kind === 'bad-digest') return this.#beginAgain(corrupt(error.message))
      if (!error.retryable || this.bytes - before < progress) throw error
    }
  }

  async #request(): Promise<void> {
    // Every byte had come when the last connection broke: there is nothing left to ask for.
    if (this.#object === undefined || this.bytes < this.#object.size) await this.#receive()
    this.#compare(this.#object!)
    this.complete = true
  }

  async #receive(): Promise<void> {
    const { origin, key, room, signal, onBytes } = this.#options
    const content = await origin.open(key, { start: this.bytes, etag: this.#object?.etag, signal })
    if (content === undefined) {
      throw new ItemError('object.missing', 'the object is not there')
    }
    const { body, ...described } = content
    this.#object ??= described
    try {
      if (described.size > room) throw new LargerThanReserved(described.size)
      for await (const chunk of body) {
        if (this.bytes + chunk.length > this.#object.size) {
          throw new StoreError('bad-digest', 'more bytes arrived than the object has')
        }
        await this.#write(chunk)
        onBytes(chunk.length)
      }
    } catch (error) {
      body.destroy()
      throw error
    }
    if (this.bytes < this.#object.size) {
      throw new StoreError(
        'network',
        `the connection ended after ${this.bytes} of ${this.#object.size} bytes`,
      )
    }
  }

  async #write(chunk: Uint8Array): Promise<void> {
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await this.#file.write(chunk, done, chunk.length - done, this.bytes + done)
      done += bytesWritten
    }
    this.#sha256.update(chunk)
    this.#crc32 = crc32(chunk, this.#crc32)
    this.bytes += chunk.length
  }

  /** The ledger's word counts where it is about this very object; the object's own in any case. */
  #compare(object: Omit<OriginContent, 'body'>): void {
    const { known } = this.#options
    const same =
      known !== undefined && known.size === object.size && (known.etag ?? object.etag) === object.etag
    const sha256 = this.#sha256.digest('hex')
    const crc = Buffer.alloc(4)
    crc.writeUInt32BE(this.#crc32)
    const wanted: [name: string, want: string | null | undefined, have: string][] = [
      ['SHA-256', object.sha256, sha256],
      ['CRC32', object.crc32, crc.toString('base64')],
      ['SHA-256', same ? known.sha256 : undefined, sha256],
      ['CRC32', same ? known.crc32 : undefined, crc.toString('base64')],
    ]
    for (const [name, want, have] of wanted) {
      if (want === null || want === undefined) continue
      if (want !== have) {
        throw new StoreError('bad-digest', `its ${name} differs from the one it was uploaded with`)
      }
      this.verified = true
    }
  }

  /** @throws `reason` when that was often enough */
  async #beginAgain(reason: ItemError): Promise<void> {
    if (++this.#beginnings > maxBeginnings) throw reason
    await this.#file.truncate(0)
    this.bytes = 0
    this.verified = false
    this.#object = undefined
    this.#sha256 = createHash('sha256')
    this.#crc32 = 0
  }
}

const corrupt = (how: string): ItemError =>
  new ItemError(
    'download.corrupt',
    `the object did not arrive as it was uploaded: ${how}`,
    '`autodj verify --full` compares it; upload it again if the copy in S3 is damaged.',
  )
