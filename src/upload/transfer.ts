/**
 * The transfer engine: one local file into one object, proved. Small files go out in one PUT, large ones in parts
 * that are resumed across runs. The bytes are checksummed here on the way out, and the server's own checksum of the
 * stored object is compared before anything is called uploaded.
 */

import { crc32 } from 'node:zlib'
import pLimit, { type LimitFunction } from 'p-limit'
import { CongestionControl } from '../core/congestion.ts'
import { type AudioType, detectAudio } from '../core/content-type.ts'
import { combineCrc32, decodeCrc32, encodeCrc32 } from '../core/crc32.ts'
import { objectKey } from '../core/keys.ts'
import { type Part, partSizeFor, partsOf } from '../core/multipart.ts'
import { printable } from '../core/units.ts'
import type { HashedFile, PartRecord, UploadRecord } from '../db/ledger.ts'
import type { Reporter } from '../report/reporter.ts'
import {
  type ObjectHead,
  type ObjectHeaders,
  type ObjectStore,
  type PutResult,
  StoreError,
  type UploadedPart,
} from '../storage/store.ts'
import { BufferPool, type Lease } from './memory.ts'
import type { ContentHash, Readers, SourceFile } from './readers.ts'
import { Resilience, RunHalted } from './resilience.ts'
import {
  type FileIdentity,
  isSameFile,
  LocalFileError,
  localFileError,
  openRoot,
  openSource,
  type Source,
} from './source.ts'
import type { Throttle } from './throttle.ts'

/** What the engine keeps of multipart uploads, so that another run can go on with them. */
export interface UploadJournal {
  /** uploads of that key that no other live run owns, with their confirmed parts */
  resumable(key: string): Promise<(UploadRecord & { parts: PartRecord[] })[]>
  /** this run goes on with an upload that another began */
  resumed(uploadId: string): Promise<void>
  begun(upload: Omit<UploadRecord, 'bucket' | 'runId'>): Promise<void>
  confirmed(uploadId: string, part: PartRecord): void
  ended(uploadId: string): Promise<void>
}

export interface TransferOptions {
  store: ObjectStore
  journal: UploadJournal
  report: Pick<Reporter, 'warn' | 'note' | 'detail'>
  audioRoot: string
  keyPrefix: string
  /** headers beside Content-Type, Cache-Control and metadata: storage class, encryption, tags */
  headers?: Partial<ObjectHeaders>
  /** transfers at a time at most; the engine finds out how many are worth it */
  maxConcurrency: number
  /** with `initialConcurrency === maxConcurrency` the number is fixed */
  initialConcurrency: number
  /** bytes the process may take, file content included */
  memory: number
  /** files above this size go in parts, bytes */
  multipartThreshold: number
  /** bytes */
  partSize: number
  /** milliseconds */
  maxOutage: number
  throttle: Throttle
  /** threads that read and hash; whoever opened them closes them */
  readers: Readers
  /** no new files and no new parts */
  stopping: AbortSignal
  /** abandon what is in flight */
  signal: AbortSignal
  onBytes?: (bytes: number) => void
  now?: () => number
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
  /** bytes, as the row has it: where it is wrong, the file is opened twice */
  size: number | null
  /** an earlier hash of this file; used only while the file is the same */
  remembered: HashedFile | undefined
}

/** An object whose checksum the server confirmed. */
export interface ProvedObject {
  key: string
  /** bytes */
  size: number
  /** hex */
  sha256: string
  /** base64 */
  crc32: string
  etag: string
  versionId?: string
  contentType: string
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
      /** `interrupted`: told to stop in the middle of a large file; the next run goes on with it */
      readonly state: 'skipped' | 'failed' | 'interrupted'
      readonly code: string
      readonly reason: string
      readonly cure?: string
    }

/** For a file that is not recognised as audio: stored as what it is, bytes. */
const unknownType: AudioType = {
  contentType: 'application/octet-stream',
  extension: 'bin',
  container: 'mpeg',
}

export const cacheControl = 'public, max-age=31536000, immutable'

/** What Node.js, its libraries and their sockets take beside file content, bytes (measured: 110 to 130 MiB resident). */
const programMemory = 136 * 1024 ** 2

/** Files up to this size are read many at a time, bytes. */
const smallFile = 512 * 1024

/** What a request costs beside its bytes, in bytes, when throughput is measured: small files count too. */
const requestWeight = 64 * 1024

/** A large file's hash, and where it was computed in this run, the CRC-32 of each part. */
type PartedContent = ContentHash & {
  readonly parts?: { readonly size: number; readonly crc32s: readonly number[] }
}

class Interrupted extends Error {}

/** The key holds other bytes: they are left alone. */
class KeyConflict extends Error {}

export class TransferEngine {
  readonly #options: TransferOptions
  readonly #pool: BufferPool
  /** files being read: few, so that what was read is still in the cache when it is sent */
  readonly #loads: LimitFunction
  /** small files being read: many, so that threads are woken for several at once */
  readonly #smallLoads: LimitFunction
  readonly #control: CongestionControl
  readonly #resilience: Resilience
  readonly #requests: LimitFunction
  readonly #now: () => number
  /** objects being written, by key: two rows with one file make one object */
  readonly #inFlight = new Map<string, Promise<ProvedObject>>()
  #root: Promise<string> | undefined

  constructor(options: TransferOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#pool = new BufferPool(Math.max(options.memory - programMemory, options.memory / 4))
    this.#loads = pLimit(options.readers.threads * 2)
    this.#smallLoads = pLimit(32)
    this.#control = new CongestionControl(
      { initial: options.initialConcurrency, min: 1, max: options.maxConcurrency, window: 500 },
      this.#now(),
    )
    this.#requests = pLimit(this.#control.limit)
    this.#resilience = new Resilience({
      probe: signal => options.store.checkBucket(signal),
      control: this.#control,
      report: options.report,
      maxOutage: options.maxOutage,
      signal: options.signal,
      now: this.#now,
    })
  }

  /** files worth having in work at a time: some are read and hashed while others are sent */
  get fileSlots(): number {
    return this.#control.limit + Math.max(2, Math.ceil(this.#control.limit / 2))
  }

  get statistics() {
    return {
      concurrency: this.#control.limit,
      peakConcurrency: this.#control.peak,
      halvings: this.#control.halvings,
      retries: this.#resilience.retries,
      outages: this.#resilience.outages,
    }
  }

  /**
   * Moves one file. Problems of that file are outcomes.
   * @throws RunHalted when no file can be moved any more · the signal's reason
   */
  async transfer(job: TransferJob): Promise<TransferOutcome> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#transferOnce(job)
      } catch (error) {
        if (error instanceof LocalFileError && error.problem === 'changed' && attempt === 1) continue
        return this.#toOutcome(error)
      }
    }
  }

  #toOutcome(error: unknown): TransferOutcome {
    if (error instanceof LocalFileError) {
      const state = error.problem === 'refused' ? 'failed' : 'skipped'
      return { state, code: `file.${error.problem}`, reason: error.message, cure: error.cure }
    }
    if (error instanceof Interrupted) {
      return { state: 'interrupted', code: 'interrupted', reason: error.message }
    }
    if (error instanceof KeyConflict) {
      return {
        state: 'failed',
        code: 'upload.conflict',
        reason: error.message,
        cure: 'Nothing was overwritten. Look at both with `autodj reconcile --deep`.',
      }
    }
    if (error instanceof StoreError && error.kind !== 'aborted') {
      return { state: 'failed', code: error.code, reason: error.message, cure: error.cure }
    }
    throw error
  }

  async #transferOnce(job: TransferJob): Promise<TransferOutcome> {
    const { audioRoot, multipartThreshold } = this.#options
    this.#root ??= openRoot(audioRoot)
    const root = await this.#root
    const remembered = job.remembered && identified(job.remembered)
    let expected = remembered?.size ?? job.size ?? 0
    for (let attempt = 1; attempt <= 3; attempt++) {
      if (expected <= multipartThreshold) {
        const { lease, source, content } = await this.#load(job.filePath, root, expected, remembered)
        try {
          if (lease && content)
            return await this.#sendWhole(job, source, lease.bytes.subarray(0, source.size), content)
        } finally {
          lease?.release()
        }
        expected = source.size
      } else {
        const source = await openSource(job.filePath, audioRoot, root)
        try {
          if (source.size > multipartThreshold) return await this.#transferInParts(job, source, remembered)
          expected = source.size
        } finally {
          await source.close()
        }
      }
    }
    throw new LocalFileError('changed', `${job.filePath} keeps changing its size`, 'Run again later.')
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
      const lease: Lease | undefined =
        expected > 0 ? await this.#pool.lease(expected, this.#options.signal) : undefined
      try {
        const { audioRoot } = this.#options
        const memory = lease?.bytes
        return {
          lease,
          ...(await this.#options.readers.load({ filePath, audioRoot, root, memory, remembered })),
        }
      } catch (error) {
        lease?.release()
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
      const headers = this.#headersOf(job, content, type)
      await throttle.pass(bytes.length, signal)
      const checksums = { crc32: encodeCrc32(content.crc32), sha256: base64OfHex(content.sha256) }
      const sent = await this.#requests(() =>
        this.#resilience.run(async () => {
          const result = await store.put(key, bytes, { headers, checksums, ifNoneMatch: true, signal })
          this.#succeeded(bytes.length)
          return result
        }),
      ).catch(error => this.#whenTaken(error))
      if (sent === 'exists') return this.#adopt(key, content, type, source.size)
      onBytes?.(bytes.length)
      return { bytesSent: bytes.length, object: await this.#confirm(key, content, type, source.size, sent) }
    })
  }

  /** Many reads, many parts, in any order, resumed where an earlier run left off. */
  async #transferInParts(
    job: TransferJob,
    source: Source,
    remembered: (ContentHash & FileIdentity) | undefined,
  ): Promise<TransferOutcome> {
    const content = remembered && isSameFile(remembered, source) ? remembered : await this.#hashFile(source)
    const type =
      (await detectAudio({
        size: source.size,
        read: (offset, length) => readSome(source, offset, length),
      })) ?? unknownType
    const key = this.#keyOf(job, content, type)
    return this.#once(key, source, content, async () => {
      // A large file is worth a question first: it may be there already.
      const present = await this.#resilience.run(() =>
        this.#options.store.head(key, { signal: this.#options.signal }),
      )
      if (present) return this.#adopt(key, content, type, source.size)
      return this.#sendParts(job, source, content, type, key)
    })
  }

  async #sendParts(job: TransferJob, source: Source, content: PartedContent, type: AudioType, key: string) {
    const { store, journal, signal, onBytes } = this.#options
    const headers = this.#headersOf(job, content, type)
    const { uploadId, parts, partSize } = await this.#beginOrResume(key, source, content, headers)
    const all = [...partsOf(source.size, partSize)]
    const expected = content.parts?.size === partSize ? content.parts.crc32s : undefined
    const crcOf = ({ partNumber }: Part) => expected?.[partNumber - 1]
    let bytesSent = 0
    try {
      const missing = all.filter(part => {
        const there = parts.get(part.partNumber)?.crc32
        const wanted = crcOf(part)
        return there === undefined || (wanted !== undefined && decodeCrc32(there) !== wanted)
      })
      await this.#inParallel(missing, async part => {
        const sent = await this.#sendPart(key, uploadId, part, source, crcOf(part))
        parts.set(part.partNumber, sent)
        bytesSent += part.size
        onBytes?.(part.size)
        journal.confirmed(uploadId, { ...sent, crc32: sent.crc32 as string })
      })
      await source.assertUnchanged()
      const ordered = all.map(part => parts.get(part.partNumber) as UploadedPart)
      const whole = ordered.reduce(
        (crc, part) => combineCrc32(crc, decodeCrc32(part.crc32 as string), part.size),
        0,
      )
      if (whole !== content.crc32) {
        throw changedSince(source)
      }
      const checksums = { crc32: encodeCrc32(content.crc32) }
      const completed = await this.#resilience
        .run(() =>
          store.completeUpload(key, uploadId, ordered, {
            checksums,
            size: source.size,
            ifNoneMatch: true,
            signal,
          }),
        )
        .catch(error => this.#whenTaken(error))
      if (completed === 'exists') {
        // Another writer was first, or our own Complete succeeded and its answer was lost.
        const adopted = await this.#adopt(key, content, type, source.size)
        await this.#discard(key, uploadId)
        return { ...adopted, bytesSent, adopted: bytesSent === 0 }
      }
      const object = await this.#confirm(key, content, type, source.size, completed)
      await journal.ended(uploadId)
      return { bytesSent, object }
    } catch (error) {
      const resumable =
        error instanceof Interrupted ||
        error instanceof RunHalted ||
        (error instanceof StoreError && error.retryable)
      if (!resumable) await this.#discard(key, uploadId)
      throw error
    }
  }

  /** @param known its CRC-32 where it was hashed before: what is sent is then what was hashed, or the server refuses it */
  async #sendPart(
    key: string,
    uploadId: string,
    part: Part,
    source: Source,
    known: number | undefined,
  ): Promise<UploadedPart> {
    const { store, readers, throttle, signal } = this.#options
    const lease = await this.#pool.lease(part.size, signal)
    try {
      const read = await readers
        .read(source.descriptor, lease.bytes, part.offset, {
          crc32: known === undefined,
          sha256: store.signsPayload,
        })
        .catch(error => {
          throw localFileError(error, source.relative)
        })
      if (read.size < part.size)
        throw new LocalFileError('changed', `${source.relative} became shorter`, 'Run again.')
      const checksum = encodeCrc32(known ?? (read.crc32 as number))
      const sha256 = read.sha256 && base64OfHex(read.sha256)
      await throttle.pass(part.size, signal)
      return await this.#requests(() =>
        this.#resilience.run(async () => {
          const sent = await store.uploadPart(key, uploadId, part.partNumber, lease.bytes, {
            crc32: checksum,
            sha256,
            signal,
          })
          this.#succeeded(part.size)
          return { ...sent, crc32: checksum, size: part.size }
        }),
      )
    } catch (error) {
      // Refused, and not because it was damaged on the way: it is no longer what was hashed.
      if (known !== undefined && error instanceof StoreError && error.kind === 'bad-digest')
        if (crc32(lease.bytes) !== known) throw changedSince(source)
      throw error
    } finally {
      lease.release()
    }
  }

  /**
   * An upload to that key that was begun for the very same content and with the same headers, with the parts that the
   * server has and that are what they should be, in the part size that it was begun with; or a new one. Others that
   * nobody owns are aborted.
   */
  async #beginOrResume(key: string, source: Source, content: ContentHash, headers: ObjectHeaders) {
    const { store, journal, signal } = this.#options
    const parts = new Map<number, UploadedPart>()
    let chosen: { uploadId: string; partSize: number } | undefined
    const wanted = headersAsText(headers)
    for (const upload of await journal.resumable(key)) {
      const sameContent = upload.sha256 === content.sha256 && upload.size === source.size
      // S3 fixes headers when an upload begins: parts kept would mean a storage class that nobody asks for any more.
      const others = sameContent ? differingHeaders(upload.headers, wanted) : []
      const fits = sameContent && others.length === 0
      if (others.length > 0) {
        this.#options.report.warn(
          `${printable(source.relative)}: an earlier run began it with another ${others.join(', ')}; it is sent anew`,
        )
      }
      const held =
        fits && chosen === undefined
          ? await this.#resilience.run(() => store.listParts(key, upload.uploadId, signal))
          : undefined
      if (held === undefined) {
        await this.#discard(key, upload.uploadId)
        continue
      }
      chosen = upload
      await journal.resumed(upload.uploadId)
      const recorded = new Map(upload.parts.map(part => [part.partNumber, part]))
      const onServer = new Map(held.map(part => [part.partNumber, part]))
      for (const expected of partsOf(source.size, upload.partSize)) {
        const there = onServer.get(expected.partNumber)
        if (there?.size !== expected.size) continue
        const ours = recorded.get(expected.partNumber)
        const checksum = there.crc32 ?? (ours?.etag === there.etag ? ours.crc32 : undefined)
        if (checksum !== undefined) parts.set(expected.partNumber, { ...there, crc32: checksum })
      }
    }
    if (chosen !== undefined) return { uploadId: chosen.uploadId, partSize: chosen.partSize, parts }
    const partSize = partSizeFor(source.size, this.#options.partSize)
    const uploadId = await this.#resilience.run(() => store.createUpload(key, { headers, signal }))
    await journal.begun({
      key,
      uploadId,
      path: source.relative,
      inode: source.inode,
      mtimeNs: source.mtimeNs,
      size: source.size,
      sha256: content.sha256,
      partSize,
      headers: wanted,
    })
    return { uploadId, partSize, parts }
  }

  /** Runs the parts with as many at a time as memory allows; stops taking new ones when told to. */
  async #inParallel(parts: readonly Part[], send: (part: Part) => Promise<void>): Promise<void> {
    const { stopping } = this.#options
    const atATime = pLimit(Math.max(2, this.#options.maxConcurrency))
    let failure: unknown
    await Promise.all(
      parts.map(part =>
        atATime(async () => {
          if (failure !== undefined) return
          if (stopping.aborted) {
            failure = new Interrupted('told to stop; the next run goes on with the parts that are missing')
            return
          }
          try {
            await send(part)
          } catch (error) {
            failure ??= error
          }
        }),
      ),
    )
    if (failure !== undefined) throw failure
  }

  /** Aborts an upload and forgets it; failing to is not worse than what led here, and cleanup finds it. */
  async #discard(key: string, uploadId: string): Promise<void> {
    try {
      await this.#options.store.abortUpload(key, uploadId)
      await this.#options.journal.ended(uploadId)
    } catch (error) {
      this.#options.report.detail(`an upload of ${key} could not be aborted: ${error}`)
    }
  }

  /** Makes sure that one key is written by one transfer at a time. */
  async #once(
    key: string,
    source: SourceFile,
    content: ContentHash,
    write: () => Promise<{ object: ProvedObject; bytesSent: number; adopted?: boolean }>,
  ): Promise<TransferOutcome> {
    for (;;) {
      const other = this.#inFlight.get(key)
      if (!other) break
      const shared = await other.catch(() => undefined)
      if (!shared) continue
      if (shared.sha256 !== content.sha256)
        throw new KeyConflict(`another track of this run has other content at ${key}`)
      return { state: 'shared', object: shared, source, bytesSent: 0 }
    }
    const written = write()
    const proved = written.then(({ object }) => object)
    proved.catch(() => {})
    this.#inFlight.set(key, proved)
    try {
      const { object, bytesSent, adopted = bytesSent === 0 } = await written
      return { state: adopted ? 'adopted' : 'uploaded', object, source, bytesSent }
    } finally {
      this.#inFlight.delete(key)
    }
  }

  /** `exists`, also as the way in which our own request, whose answer was lost, meets its own effect. */
  #whenTaken(error: unknown): 'exists' {
    if (error instanceof StoreError && (error.kind === 'exists' || error.kind === 'no-upload'))
      return 'exists'
    throw error
  }

  /** The key is taken: by the same bytes, then they are ours; or by others, then nothing is touched. */
  async #adopt(key: string, content: ContentHash, type: AudioType, size: number) {
    const { store, signal } = this.#options
    const head = await this.#resilience.run(() => store.head(key, { signal }))
    if (!head)
      throw new StoreError('unavailable', `${key} was there and is gone again`, { cure: 'Run again.' })
    await this.#assertSame(head, content, size)
    return { bytesSent: 0, adopted: true, object: prove(head, content, head.contentType ?? type.contentType) }
  }

  /** The server's own checksum of what it stored. Servers that give none are made to read it back. */
  async #confirm(
    key: string,
    content: ContentHash,
    type: AudioType,
    size: number,
    result: PutResult,
  ): Promise<ProvedObject> {
    const stored = { key, size, etag: result.etag, versionId: result.versionId }
    if (result.checksums.crc32 !== undefined) {
      if (decodeCrc32(result.checksums.crc32) === content.crc32)
        return prove(stored, content, type.contentType)
      throw new StoreError('bad-digest', `${key} was stored with another checksum than was sent`, {
        cure: 'Run again.',
      })
    }
    const { store, signal } = this.#options
    const head = await this.#resilience.run(() => store.head(key, { signal }))
    if (!head)
      throw new StoreError('unavailable', `${key} was stored and cannot be found`, { cure: 'Run again.' })
    await this.#assertSame(head, content, size)
    return prove(stored, content, type.contentType)
  }

  async #assertSame(head: ObjectHead, content: ContentHash, size: number): Promise<void> {
    const differs = (what: string) => new KeyConflict(`${head.key} exists and its ${what} is another`)
    if (head.size !== size) throw differs(`size (${head.size} bytes, here ${size})`)
    if (head.checksums.crc32 !== undefined) {
      if (decodeCrc32(head.checksums.crc32) !== content.crc32) throw differs('checksum')
      return
    }
    if (head.checksums.sha256 !== undefined) {
      if (Buffer.from(head.checksums.sha256, 'base64').toString('hex') !== content.sha256)
        throw differs('checksum')
      return
    }
    // No checksum of the server's own: only the bytes themselves prove anything.
    const read = await this.#resilience.run(() => this.#readBack(head.key))
    if (read !== content.crc32) throw differs('content')
  }

  async #readBack(key: string): Promise<number | undefined> {
    const stored = await this.#options.store.get(key, { signal: this.#options.signal })
    if (!stored) return undefined
    let crc = 0
    for await (const chunk of stored.body) crc = crc32(chunk, crc)
    return crc
  }

  async #hashFile(source: Source): Promise<PartedContent> {
    const partSize = partSizeFor(source.size, this.#options.partSize)
    const hashed = await this.#options.readers.hash(source.descriptor, partSize).catch(error => {
      throw localFileError(error, source.relative)
    })
    await source.assertUnchanged()
    if (hashed.size !== source.size) {
      throw new LocalFileError('changed', `${source.relative} changed while it was hashed`, 'Run again.')
    }
    return { ...hashed, parts: { size: partSize, crc32s: hashed.parts } }
  }

  #keyOf(job: TransferJob, content: ContentHash, type: AudioType): string {
    const { artist, title } = job
    const { keyPrefix: prefix } = this.#options
    const extension = type === unknownType ? extensionOf(job.filePath) : type.extension
    return job.existingKey ?? objectKey({ prefix, artist, title, sha256: content.sha256, extension })
  }

  #headersOf(job: TransferJob, content: ContentHash, type: AudioType): ObjectHeaders {
    return {
      ...this.#options.headers,
      contentType: type.contentType,
      cacheControl,
      metadata: { sha256: content.sha256, 'track-id': job.trackId },
    }
  }

  #succeeded(bytes: number): void {
    this.#control.succeeded(bytes + requestWeight, this.#now())
    if (this.#requests.concurrency !== this.#control.limit) this.#requests.concurrency = this.#control.limit
  }
}

function prove(
  { key, size, etag, versionId }: Pick<ObjectHead, 'key' | 'size' | 'etag' | 'versionId'>,
  content: ContentHash,
  contentType: string,
): ProvedObject {
  return {
    key,
    size,
    etag,
    versionId,
    contentType,
    sha256: content.sha256,
    crc32: encodeCrc32(content.crc32),
  }
}

/** Comparable; metadata is left out: it says which content, and for which of its tracks. */
function headersAsText({ metadata: _, ...headers }: ObjectHeaders): string {
  const sorted = (value: object): object =>
    Object.fromEntries(
      Object.entries(value)
        .filter(([, one]) => one !== undefined)
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, one]) => [name, typeof one === 'object' ? sorted(one) : one]),
    )
  return JSON.stringify(sorted(headers))
}

/** Which headers differ, in words; none where it is not known what an upload was begun with. */
function differingHeaders(was: string | null, wanted: string): string[] {
  if (was === null || was === wanted) return []
  const [a, b] = [was, wanted].map(text => JSON.parse(text) as Record<string, unknown>)
  return [...new Set([...Object.keys(a!), ...Object.keys(b!)])]
    .filter(name => JSON.stringify(a![name]) !== JSON.stringify(b![name]))
    .map(name => name.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`))
}

function changedSince(source: Source): LocalFileError {
  return new LocalFileError(
    'changed',
    `${source.relative} is not what it was when it was hashed`,
    'Run again.',
  )
}

function base64OfHex(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64')
}

/** Only what is known down to the inode can be told to be the same file. */
function identified({ inode, device, crc32, ...rest }: HashedFile): (ContentHash & FileIdentity) | undefined {
  if (inode === null || device === null) return undefined
  return { ...rest, inode, device, crc32: decodeCrc32(crc32) }
}

async function readSome(source: Source, offset: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.alloc(Math.max(0, Math.min(length, source.size - offset)))
  await source.read(bytes, offset)
  return bytes
}

function extensionOf(filePath: string): string {
  return /\.([a-z0-9]{1,8})$/i.exec(filePath)?.[1]?.toLowerCase() ?? unknownType.extension
}
