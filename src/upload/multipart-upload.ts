/**
 * A large file into one object: in parts, many at a time and in any order, begun anew or resumed where an earlier run
 * left off.
 */
import { crc32 } from 'node:zlib'
import pLimit from 'p-limit'
import type { BufferPool } from '../audio-files/buffer-pool.ts'
import type { Readers } from '../audio-files/readers.ts'
import type { ContentHash } from '../audio-files/source.ts'
import { LocalFileError, localFileError, type Source } from '../audio-files/source.ts'
import { combineCrc32, decodeCrc32, encodeCrc32 } from '../core/crc32.ts'
import { printable } from '../core/units.ts'
import { type Part, partSizeFor, partsOf } from '../core/upload/multipart.ts'
import { isAbortError } from '../errors.ts'
import type { Reporter } from '../report/reporter.ts'
import type { Requests } from '../storage/requests.ts'
import { RunHalted } from '../storage/resilience.ts'
import { type ObjectHeaders, type ObjectStore, StoreError, type UploadedPart } from '../storage/store.ts'
import type { Throttle } from '../throttle.ts'
import { differingHeaders, headersAsText, partsHeld } from './resume.ts'
import type { UploadLedger } from './upload-ledger.ts'
import {
  base64OfHex,
  DamagedOnArrival,
  type ProvedObject,
  type UploadVerifier,
  whenTaken,
} from './verifier.ts'

export interface MultipartOptions {
  store: ObjectStore
  ledger: UploadLedger
  report: Pick<Reporter, 'warn' | 'note' | 'detail'>
  /** parts at a time at most */
  maxConcurrency: number
  /** bytes */
  partSize: number
  throttle: Throttle
  /** threads that read and hash; whoever opened them closes them */
  readers: Readers
  /** no new files and no new parts */
  stopping: AbortSignal
  /** abandon what is in flight */
  signal: AbortSignal
  onBytes?: (bytes: number) => void
}

/** A large file's hash, and where it was computed in this run, the CRC-32 of each part. */
type PartedContent = ContentHash & {
  readonly parts?: { readonly size: number; readonly crc32s: readonly number[] }
}

/** Told to stop in the middle of a file; what is confirmed of it is kept. */
export class Interrupted extends Error {}

export class MultipartUploader {
  readonly #options: MultipartOptions
  readonly #pool: BufferPool
  readonly #requests: Requests
  readonly #verifier: UploadVerifier

  constructor(options: MultipartOptions, pool: BufferPool, requests: Requests, verifier: UploadVerifier) {
    this.#options = options
    this.#pool = pool
    this.#requests = requests
    this.#verifier = verifier
  }

  /** Hashes a file, and the parts in which it would be sent. @throws LocalFileError */
  async hash(source: Source): Promise<PartedContent> {
    const partSize = partSizeFor(source.size, this.#options.partSize)
    const hashed = await this.#options.readers.hashSource(source, partSize)
    await source.assertUnchanged()
    if (hashed.size !== source.size) {
      throw new LocalFileError('changed', `${source.relative} changed while it was hashed`, 'Run it again.')
    }
    return { ...hashed, parts: { size: partSize, crc32s: hashed.parts } }
  }

  /**
   * Sends what is missing and has the whole confirmed. When it fails, what another run could continue from is kept, and
   * anything else aborted.
   * @throws Interrupted · LocalFileError · KeyConflict · RunHalted · StoreError · the signal's reason
   */
  async send(
    key: string,
    source: Source,
    content: PartedContent,
    headers: ObjectHeaders,
  ): Promise<{ object: ProvedObject; bytesSent: number }> {
    const { store, ledger, signal, onBytes } = this.#options
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
        ledger.confirmed(uploadId, { ...sent, crc32: sent.crc32 as string })
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
      const completed = await this.#requests
        .ask(() =>
          store.completeUpload(key, uploadId, ordered, {
            checksums,
            size: source.size,
            ifNoneMatch: true,
            signal,
          }),
        )
        .catch(whenTaken)
      if (completed === 'exists') {
        // Another writer was first, or our own Complete succeeded and its answer was lost.
        const object = await this.#verifier.adopt(key, content, headers.contentType, source.size)
        await this.#discard(key, uploadId)
        return { bytesSent, object }
      }
      const object = await this.#verifier.confirm(key, content, headers.contentType, source.size, completed)
      await ledger.ended(uploadId)
      return { bytesSent, object }
    } catch (error) {
      // What arrived damaged was complete: there is no upload any longer.
      const resumable =
        error instanceof Interrupted ||
        error instanceof RunHalted ||
        isAbortError(error) ||
        (error instanceof StoreError && error.retryable && !(error instanceof DamagedOnArrival))
      if (!resumable) await this.#discard(key, uploadId)
      throw error
    }
  }

  /** @param known its CRC-32 if it was hashed before: what is sent is then what was hashed, or the server refuses it */
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
        throw new LocalFileError('changed', `${source.relative} became shorter`, 'Run it again.')
      const checksum = encodeCrc32(known ?? (read.crc32 as number))
      const sha256 = read.sha256 && base64OfHex(read.sha256)
      await throttle.pass(part.size, signal)
      const sent = await this.#requests.send(part.size, () =>
        store
          .uploadPart(key, uploadId, part.partNumber, lease.bytes, { crc32: checksum, sha256, signal })
          .catch(error => {
            // Refused, and not because it was damaged on the way: it is no longer what was hashed, and would be refused again.
            const isRefused = error instanceof StoreError && error.kind === 'bad-digest'
            if (isRefused && encodeCrc32(crc32(lease.bytes)) !== checksum) throw changedSince(source)
            throw error
          }),
      )
      return { ...sent, crc32: checksum, size: part.size }
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
    const { store, ledger, signal } = this.#options
    let parts = new Map<number, UploadedPart>()
    let chosen: { uploadId: string; partSize: number } | undefined
    const wanted = headersAsText(headers)
    for (const upload of await ledger.resumable(key)) {
      const sameContent = upload.sha256 === content.sha256
      // S3 fixes headers when an upload begins: parts kept would mean a storage class that nobody asks for any longer.
      const others = sameContent ? differingHeaders(upload.headers, wanted) : []
      const fits = sameContent && others.length === 0
      if (others.length > 0) {
        this.#options.report.warn(
          `${printable(source.relative)}: an earlier run started it with another ${others.join(', ')}; it is sent again from the start`,
        )
      }
      const held =
        fits && chosen === undefined
          ? await this.#requests.ask(() => store.listParts(key, upload.uploadId, signal))
          : undefined
      if (held === undefined) {
        await this.#discard(key, upload.uploadId)
        continue
      }
      chosen = upload
      await ledger.resumed(upload.uploadId)
      parts = partsHeld(source.size, upload.partSize, held, upload.parts)
    }
    if (chosen !== undefined) return { uploadId: chosen.uploadId, partSize: chosen.partSize, parts }
    const partSize = partSizeFor(source.size, this.#options.partSize)
    const uploadId = await this.#requests.ask(() => store.createUpload(key, { headers, signal }))
    await ledger.begun({
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
            failure = new Interrupted('told to stop; the next run resumes with the missing parts')
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
      await this.#options.ledger.ended(uploadId)
    } catch (error) {
      this.#options.report.detail(`an upload of ${key} could not be aborted: ${error}`)
    }
  }
}

function changedSince(source: Source): LocalFileError {
  return new LocalFileError(
    'changed',
    `${source.relative} is no longer what it was when it was hashed`,
    'Run it again.',
  )
}
