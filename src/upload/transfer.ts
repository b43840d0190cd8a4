/**
 * The transfer engine: one local file into one object, proved. It reads files within the memory there is, gives them
 * their key and headers, and sends small ones in one PUT, large ones in parts; the bytes are checksummed on the way
 * out, and the server's own checksum of the stored object is compared before anything is called uploaded.
 */

import pLimit, { type LimitFunction } from 'p-limit'
import { BufferPool } from '../audio-files/buffer-pool.ts'
import type { ContentHash, SourceFile } from '../audio-files/source.ts'
import {
  type FileIdentity,
  isSameFile,
  LocalFileError,
  openRoot,
  openSource,
  type Source,
} from '../audio-files/source.ts'
import type { AudioFolder } from '../core/audio-path.ts'
import { type AudioType, detectAudio } from '../core/content-type.ts'
import { decodeCrc32, encodeCrc32 } from '../core/crc32.ts'
import { cacheControl, objectKey } from '../core/keys.ts'
import type { HashedFile } from '../db/ledger.ts'
import type { ErrorCode } from '../error-codes.ts'
import { type RequestOptions, Requests } from '../storage/requests.ts'
import { type ObjectHeaders, StoreError } from '../storage/store.ts'
import { Interrupted, type MultipartOptions, MultipartUploader } from './multipart-upload.ts'
import {
  base64OfHex,
  DamagedOnArrival,
  KeyConflict,
  type ProvedObject,
  UploadVerifier,
  whenTaken,
} from './verifier.ts'

export interface TransferOptions extends RequestOptions, MultipartOptions {
  audioFolder: AudioFolder
  keyPrefix: string
  /** headers beside Content-Type, Cache-Control and metadata: storage class, encryption, tags */
  headers?: Partial<ObjectHeaders>
  /** bytes the process may take, file content included */
  memory: number
  /** files above this size go in parts, bytes */
  multipartThreshold: number
}

/** One file to be moved. */
export interface TransferJob {
  trackId: string
  artist: string
  title: string
  /** as in the row */
  filePath: string
  /** a key that the row has already; it is kept */
  existingKey: string | null
  /** bytes, as the row has it: if it is wrong, the file is opened twice */
  size: number | null
  /** an earlier hash of this file; used only while the file is the same */
  remembered: HashedFile | undefined
}

export type TransferOutcome =
  | {
      /** `adopted`: the same bytes were there already; `shared`: another track of this run put them there */
      readonly state: 'uploaded' | 'adopted' | 'shared'
      readonly object: ProvedObject
      readonly source: SourceFile
      readonly bytesSent: number
    }
  | {
      /** `interrupted`: told to stop in the middle of a large file; the next run continues it */
      readonly state: 'skipped' | 'failed' | 'interrupted'
      readonly code: ErrorCode
      readonly reason: string
      readonly cure?: string
    }

/** For a file that is not recognised as audio: stored as what it is, bytes. */
const unknownType: AudioType = {
  contentType: 'application/octet-stream',
  extension: 'bin',
  container: 'mpeg',
}

/** What Node.js, its libraries and their sockets take beside file content, bytes (measured: 110 to 130 MiB resident). */
const programMemory = 136 * 1024 ** 2

/** Times a file is sent that arrives damaged. */
const mostDamaged = 3

/** Files up to this size are read many at a time, bytes. */
const smallFile = 512 * 1024

export class TransferEngine {
  readonly #options: TransferOptions
  readonly #pool: BufferPool
  /** files being read: few, so that what was read is still in the cache when it is sent */
  readonly #loads: LimitFunction
  /** small files being read: many, so that threads are woken for several at once */
  readonly #smallLoads: LimitFunction
  readonly #requests: Requests
  readonly #verifier: UploadVerifier
  readonly #multipart: MultipartUploader
  /** objects being written, by key: two rows with one file make one object */
  readonly #inFlight = new Map<string, Promise<ProvedObject>>()
  #root: Promise<string> | undefined

  constructor(options: TransferOptions) {
    this.#options = options
    this.#pool = new BufferPool(Math.max(options.memory - programMemory, options.memory / 4))
    this.#loads = pLimit(options.readers.threads * 2)
    this.#smallLoads = pLimit(32)
    this.#requests = new Requests(options)
    this.#verifier = new UploadVerifier(options.store, this.#requests, options.signal)
    this.#multipart = new MultipartUploader(options, this.#pool, this.#requests, this.#verifier)
  }

  /** files worth having in work at a time: some are read and hashed while others are sent */
  get fileSlots(): number {
    const { concurrency } = this.#requests
    return concurrency + Math.max(2, Math.ceil(concurrency / 2))
  }

  get statistics() {
    return { ...this.#requests.statistics, ...this.#verifier.statistics }
  }

  /**
   * Moves one file. Problems of that file are outcomes.
   * @throws RunHalted when no file can be moved any longer · the signal's reason
   */
  async transfer(job: TransferJob): Promise<TransferOutcome> {
    for (let attempt = 1; ; attempt++) {
      try {
        // Whoever finds it changed believes no earlier hash of it any longer.
        return await this.#transferOnce(attempt === 1 ? job : { ...job, remembered: undefined })
      } catch (error) {
        if (error instanceof LocalFileError && error.problem === 'changed' && attempt === 1) continue
        if (error instanceof DamagedOnArrival && attempt < mostDamaged) continue
        return this.#toOutcome(error)
      }
    }
  }

  #toOutcome(error: unknown): TransferOutcome {
    if (error instanceof LocalFileError) {
      const state = error.problem === 'refused' ? 'failed' : 'skipped'
      return { state, code: error.code, reason: error.message, cure: error.cure }
    }
    if (error instanceof Interrupted) {
      return { state: 'interrupted', code: 'interrupted', reason: error.message }
    }
    if (error instanceof KeyConflict) {
      return { state: 'failed', code: 'upload.conflict', reason: error.message }
    }
    if (error instanceof StoreError && error.kind !== 'aborted') {
      return { state: 'failed', code: error.code, reason: error.message, cure: error.cure }
    }
    throw error
  }

  async #transferOnce(job: TransferJob): Promise<TransferOutcome> {
    const { audioFolder, multipartThreshold } = this.#options
    this.#root ??= openRoot(audioFolder.root)
    const root = await this.#root
    const remembered = job.remembered && identified(job.remembered)
    let expected = remembered?.size ?? job.size ?? 0
    for (let attempt = 1; attempt <= 3; attempt++) {
      if (expected <= multipartThreshold) {
        const { lease, source, content } = await this.#load(job.filePath, root, expected, remembered)
        try {
          if (content)
            return await this.#sendWhole(job, source, lease.bytes.subarray(0, source.size), content)
        } finally {
          lease.release()
        }
        expected = source.size
      } else {
        const source = await openSource(job.filePath, audioFolder, root)
        try {
          if (source.size > multipartThreshold) return await this.#transferInParts(job, source, remembered)
          expected = source.size
        } finally {
          await source.close()
        }
      }
    }
    throw new LocalFileError('changed', `${job.filePath} keeps changing size`, 'Run again later.')
  }

  /** Opens a file and reads it, if it has no more than `expected` bytes, into memory that is then the caller's. */
  #load(
    filePath: string,
    root: string,
    expected: number,
    remembered: (ContentHash & FileIdentity) | undefined,
  ) {
    const loads = expected <= smallFile ? this.#smallLoads : this.#loads
    return loads(async () => {
      const { audioFolder, readers, signal } = this.#options
      const lease = await this.#pool.lease(expected, signal)
      const memory = lease.bytes
      try {
        return { lease, ...(await readers.load({ filePath, audioFolder, root, memory, remembered })) }
      } catch (error) {
        lease.release()
        throw error
      }
    })
  }

  /** One PUT. */
  async #sendWhole(
    job: TransferJob,
    source: SourceFile,
    bytes: Buffer,
    content: ContentHash,
  ): Promise<TransferOutcome> {
    const { store, throttle, signal, onBytes } = this.#options
    const type = (await detectAudio(bytes)) ?? unknownType
    const key = this.#keyOf(job, content, type)
    return this.#once(key, source, content, async () => {
      const headers = await this.#headersOf(job, content, type)
      await throttle.pass(bytes.length, signal)
      const checksums = { crc32: encodeCrc32(content.crc32), sha256: base64OfHex(content.sha256) }
      const sent = await this.#requests
        .send(bytes.length, () => store.put(key, bytes, { headers, checksums, ifNoneMatch: true, signal }))
        .catch(whenTaken)
      if (sent === 'exists') {
        return {
          bytesSent: 0,
          object: await this.#verifier.adopt(key, content, type.contentType, source.size),
        }
      }
      onBytes?.(bytes.length)
      const object = await this.#verifier.confirm(key, content, type.contentType, source.size, sent)
      return { bytesSent: bytes.length, object }
    })
  }

  /** Many reads, many parts, in any order, resumed where an earlier run left off. */
  async #transferInParts(
    job: TransferJob,
    source: Source,
    remembered: (ContentHash & FileIdentity) | undefined,
  ): Promise<TransferOutcome> {
    const content =
      remembered && isSameFile(remembered, source) ? remembered : await this.#multipart.hash(source)
    const type =
      (await detectAudio({
        size: source.size,
        read: (offset, length) => readSome(source, offset, length),
      })) ?? unknownType
    const key = this.#keyOf(job, content, type)
    return this.#once(key, source, content, async () => {
      // A large file is worth a question first: it may be there already.
      const { store, signal } = this.#options
      const present = await this.#requests.ask(() => store.head(key, { signal }))
      if (present) {
        return {
          bytesSent: 0,
          object: await this.#verifier.adopt(key, content, type.contentType, source.size),
        }
      }
      return this.#multipart.send(key, source, content, await this.#headersOf(job, content, type))
    })
  }

  /** Makes sure that one key is written by one transfer at a time. */
  async #once(
    key: string,
    source: SourceFile,
    content: ContentHash,
    write: () => Promise<{ object: ProvedObject; bytesSent: number }>,
  ): Promise<TransferOutcome> {
    for (;;) {
      const other = this.#inFlight.get(key)
      if (!other) break
      const shared = await other.catch(() => undefined)
      if (!shared) continue
      if (shared.sha256 !== content.sha256)
        throw new KeyConflict(`another track of this run has different content at ${key}`)
      return { state: 'shared', object: shared, source, bytesSent: 0 }
    }
    const written = write()
    const proved = written.then(({ object }) => object)
    proved.catch(() => {})
    this.#inFlight.set(key, proved)
    try {
      const { object, bytesSent } = await written
      return { state: bytesSent === 0 ? 'adopted' : 'uploaded', object, source, bytesSent }
    } finally {
      this.#inFlight.delete(key)
    }
  }

  #keyOf(job: TransferJob, content: ContentHash, type: AudioType): string {
    const { artist, title } = job
    const { keyPrefix: prefix } = this.#options
    const extension = type === unknownType ? extensionOf(job.filePath) : type.extension
    return job.existingKey ?? objectKey({ prefix, artist, title, sha256: content.sha256, extension })
  }

  async #headersOf(job: TransferJob, content: ContentHash, type: AudioType): Promise<ObjectHeaders> {
    const library = await this.#options.ledger.library()
    return {
      ...this.#options.headers,
      contentType: type.contentType,
      cacheControl,
      metadata: { sha256: content.sha256, 'track-id': job.trackId, ...(library && { library }) },
    }
  }
}

/** Only what is known down to the inode can be told to be the same file. */
function identified(file: HashedFile): (ContentHash & FileIdentity) | undefined {
  const { ctimeNs, inode, device, crc32, ...rest } = file
  if (ctimeNs === null || inode === null || device === null) return undefined
  return { ...rest, ctimeNs, inode, device, crc32: decodeCrc32(crc32) }
}

async function readSome(source: Source, offset: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.alloc(Math.max(0, Math.min(length, source.size - offset)))
  await source.read(bytes, offset)
  return bytes
}

function extensionOf(filePath: string): string {
  return /\.([a-z0-9]{1,8})$/.exec(filePath.toLowerCase())?.[1] ?? unknownType.extension
}
