/**
 * The port to an object store. One bucket; keys are whole (prefix included). The S3 implementation is in `s3.ts`;
 * every implementation passes `test/contract/object-store.ts`.
 *
 * Conventions: an item's absence is a value (`undefined`), every other refusal is a {@link StoreError} with a
 * `kind`. Checksums are base64 as on the wire. An `AbortSignal` reaches every request.
 */
import { AppError, ExitCode } from '../errors.ts'

/** Checksums of a whole object (`FULL_OBJECT`), base64 of the big-endian bytes, as S3 spells them. */
export interface Checksums {
  crc32?: string
  crc64nvme?: string
  sha256?: string
}

/** Headers an object is stored with. `metadata` keys are lower case without `x-amz-meta-`; values are ASCII. */
export interface ObjectHeaders {
  contentType: string
  cacheControl?: string
  contentDisposition?: string
  metadata?: Readonly<Record<string, string>>
  storageClass?: string
  serverSideEncryption?: 'AES256' | 'aws:kms'
  kmsKeyId?: string
  tags?: Readonly<Record<string, string>>
  acl?: string
}

export interface ObjectHead {
  key: string
  /** bytes */
  size: number
  /** without quotes */
  etag: string
  versionId?: string
  contentType?: string
  cacheControl?: string
  contentDisposition?: string
  contentEncoding?: string
  encryption?: 'AES256' | 'aws:kms'
  /** the algorithm as the store spells it: `aws:kms:dsse`, for one */
  serverSideEncryption?: string
  kmsKeyId?: string
  bucketKeyEnabled?: boolean
  contentLanguage?: string
  /** as it was stored: S3 checks nothing of it */
  expires?: string
  websiteRedirect?: string
  /**
   * Its bytes cannot be read now: it lies in an archive class or tier, and no restored copy of it is there (yet).
   * Whoever counts it as a copy of anything has none.
   */
  archive?: 'archived' | 'restoring'
  /** until when a copy of it can be read that was restored from an archive class; then it is in the archive again */
  restoredUntil?: Date
  metadata: Readonly<Record<string, string>>
  /** only full-object checksums; a composite (`-N`) one is left out */
  checksums: Checksums
  lastModified: Date
  storageClass?: string
}

/** One line of a listing. */
export interface ObjectEntry {
  key: string
  size: number
  etag: string
  lastModified: Date
  storageClass?: string
}

export interface ObjectVersionEntry extends ObjectEntry {
  versionId: string
  isLatest: boolean
  isDeleteMarker: boolean
}

/** Inclusive byte range, as in HTTP. Without `end`: to the end of the object. */
export interface ByteRange {
  start: number
  end?: number
}

export interface ObjectContent {
  /** `size` is that of the whole object, also for a range. */
  head: ObjectHead
  /**
   * Must be consumed or destroyed: an unread body holds its socket. Ends only when every byte arrived: a short body
   * throws kind `network`, and a whole object that does not match its CRC32 throws `bad-digest`.
   */
  body: AsyncIterable<Uint8Array> & { destroy(error?: Error): void }
}

export interface PutResult {
  etag: string
  versionId?: string
  /** what the server computed, never what was sent */
  checksums: Checksums
}

interface PutOptions {
  headers: ObjectHeaders
  /** S3 takes one: the first of crc32, crc64nvme, sha256 is sent. */
  checksums: Checksums
  /** Fails with kind `exists` when there is an object at the key already. */
  ifNoneMatch?: boolean
  signal?: AbortSignal
}

export interface UploadedPart {
  /** 1 to 10,000 */
  partNumber: number
  size: number
  etag: string
  /** base64 CRC32 of the part */
  crc32?: string
}

export interface UploadInProgress {
  key: string
  uploadId: string
  initiated: Date
}

export interface DeleteRequest {
  key: string
  versionId?: string
  /** Delete only the object that was judged: kind `precondition` when the ETag is another by now. */
  ifMatch?: string
}

/** Outcome of one delete. Deleting what is not there succeeds, as in S3. */
export interface DeleteOutcome {
  key: string
  versionId?: string
  /** set if the bucket is versioned and a delete marker was made */
  deleteMarkerVersionId?: string
  error?: StoreError
}

export interface ListOptions {
  prefix?: string
  /** exclusive: the first key returned sorts after it, bytewise in UTF-8 */
  startAfter?: string
  signal?: AbortSignal
}

export interface ObjectStore {
  readonly bucket: string
  /** Bodies are signed with their SHA-256 (plain HTTP to another machine): a caller that has one saves the store computing it. */
  readonly signsPayload: boolean

  /** One cheap request that shows that bucket, region and credentials work. Throws a StoreError that names what does not. */
  checkBucket(signal?: AbortSignal): Promise<void>

  head(key: string, options?: { versionId?: string; signal?: AbortSignal }): Promise<ObjectHead | undefined>

  /** A range is cut at the end of the object; one that starts beyond it throws kind `invalid` (HTTP 416). */
  get(
    key: string,
    options?: { range?: ByteRange; ifMatch?: string; versionId?: string; signal?: AbortSignal },
  ): Promise<ObjectContent | undefined>

  /**
   * As much of the object from `start` on as fits `into`, in one lean request, in memory before anything is done with
   * it. Without `start`: the object as a whole, with its checksums, which S3 does not tell of a part; one that does not
   * fit throws kind `invalid`, as does a `start` beyond the end. Nothing is compared: that is the caller's.
   */
  getInto(
    key: string,
    into: Uint8Array,
    options?: { start?: number; ifMatch?: string; signal?: AbortSignal },
  ): Promise<{ head: ObjectHead; bytes: number } | undefined>

  /** One PUT of a whole body in memory. The server verifies `checksums` before it stores anything. */
  put(key: string, body: Uint8Array, options: PutOptions): Promise<PutResult>

  /** A body of unknown length, in parts if it is long. Never resumed, never retried; a failed one leaves no parts. */
  putStream(
    key: string,
    body: AsyncIterable<Uint8Array>,
    options: Omit<PutOptions, 'checksums'>,
  ): Promise<PutResult & { size: number }>

  /**
   * Server-side copy, any size; headers, encryption and access list are kept unless headers are given. `ifMatch` is about the source (`precondition`),
   * `ifNoneMatch` about the target (`exists`); a source that is not there throws kind `missing`.
   */
  copy(
    fromKey: string,
    toKey: string,
    options?: {
      ifMatch?: string
      ifNoneMatch?: boolean
      headers?: ObjectHeaders
      signal?: AbortSignal
    },
  ): Promise<PutResult>

  /**
   * Gives an object another Content-Type and Cache-Control in place; everything else of it stays as it is, encryption
   * with a key of one's own and the access list included. `precondition` if it is another object by now,
   * `invalid` if it is too large for that (5 GiB).
   */
  rewriteHeaders(
    key: string,
    options: { ifMatch: string; contentType?: string; cacheControl?: string; signal?: AbortSignal },
  ): Promise<PutResult>

  /** Pages in key order (bytewise in UTF-8). Complete, or it throws: never a shorter listing. */
  list(options?: ListOptions): AsyncIterable<ObjectEntry[]>

  /** Prefixes up to the next `/` below `prefix`, for fanning a listing out; keys not in any are not told. Complete, or it throws. */
  listPrefixes(prefix: string, signal?: AbortSignal): Promise<string[]>

  listVersions(options?: Omit<ListOptions, 'startAfter'>): AsyncIterable<ObjectVersionEntry[]>

  /** Any number of keys; batched (1,000 a request), or one by one where `ifMatch` asks for it. Outcomes in order. */
  delete(requests: readonly DeleteRequest[], signal?: AbortSignal): Promise<DeleteOutcome[]>

  createUpload(key: string, options: { headers: ObjectHeaders; signal?: AbortSignal }): Promise<string>
  uploadPart(
    key: string,
    uploadId: string,
    partNumber: number,
    body: Uint8Array,
    options: { crc32: string; sha256?: string; signal?: AbortSignal },
  ): Promise<UploadedPart>
  /** Parts the server holds, in order, complete; `undefined` when there is no such upload (any longer). */
  listParts(key: string, uploadId: string, signal?: AbortSignal): Promise<UploadedPart[] | undefined>
  completeUpload(
    key: string,
    uploadId: string,
    parts: readonly UploadedPart[],
    options: { checksums: Checksums; size: number; ifNoneMatch?: boolean; signal?: AbortSignal },
  ): Promise<PutResult>
  /** Aborting what is gone already succeeds. */
  abortUpload(key: string, uploadId: string, signal?: AbortSignal): Promise<void>
  listUploads(options?: { prefix?: string; signal?: AbortSignal }): AsyncIterable<UploadInProgress[]>

  /** The time by the store's own clock, which is what `lastModified` and `initiated` go by. */
  time(signal?: AbortSignal): Promise<Date>

  /** Whether the bucket keeps versions (`Enabled`). */
  versioning(signal?: AbortSignal): Promise<'Enabled' | 'Suspended' | 'Off'>

  /** Closes sockets. Requests in flight are aborted. */
  close(): void
}

/**
 * What went wrong, independent of how a store spells it.
 *
 * `exists`: 412 to If-None-Match · `precondition`: 412 to If-Match · `conflict`: 409, start again ·
 * `missing`: the source of a copy is not there · `archived`: its bytes must be restored before they can be read ·
 * `no-upload`: the multipart upload is gone · `bad-digest`: the bytes did not arrive as sent ·
 * `throttled`: 503 SlowDown, 429 · `unavailable`: other 5xx · `network`: reset, refused, DNS, TLS · `timeout`: stall.
 */
export type StoreErrorKind =
  | 'exists'
  | 'precondition'
  | 'conflict'
  | 'missing'
  | 'archived'
  | 'no-bucket'
  | 'no-upload'
  | 'denied'
  | 'credentials'
  | 'no-credentials'
  | 'expired-token'
  | 'clock-skew'
  | 'wrong-region'
  | 'bad-digest'
  | 'throttled'
  | 'unavailable'
  | 'network'
  | 'timeout'
  | 'aborted'
  | 'unsupported'
  | 'invalid'

const retryable: ReadonlySet<StoreErrorKind> = new Set<StoreErrorKind>([
  'conflict',
  'bad-digest',
  'throttled',
  'unavailable',
  'network',
  'timeout',
])

const temporary: ReadonlySet<StoreErrorKind> = new Set<StoreErrorKind>([...retryable, 'expired-token'])

export class StoreError extends AppError {
  readonly kind: StoreErrorKind
  /** HTTP status, if there was an answer */
  readonly status: number | undefined
  /** S3's `x-amz-request-id`, for support */
  readonly requestId: string | undefined

  constructor(
    kind: StoreErrorKind,
    message: string,
    options: {
      cure?: string
      status?: number
      requestId?: string
      details?: Readonly<Record<string, unknown>>
      cause?: unknown
    } = {},
  ) {
    super(temporary.has(kind) ? ExitCode.temporary : ExitCode.fatal, message, {
      code: `store.${kind}`,
      cure: options.cure,
      details: options.details,
      cause: options.cause,
    })
    this.kind = kind
    this.status = options.status
    this.requestId = options.requestId
  }

  /** Whether the same request may succeed when it is sent again. */
  get retryable(): boolean {
    return retryable.has(this.kind)
  }
}
