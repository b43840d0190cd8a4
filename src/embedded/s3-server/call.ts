/** One request on its way through the server, and what the operations share. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Authenticated } from './auth.ts'
import {
  type BodyOptions,
  hasIntegrityHeader,
  receiveDocument,
  receiveToDisk,
  type StoredBody,
} from './body.ts'
import type { Algorithm } from './checksums.ts'
import type { Bucket, Disk, Segment } from './disk.ts'
import { S3Error } from './xml.ts'

/** What an operation answers. `content` are bytes on disk, held by the operation and released by the server. */
export interface Reply {
  status: number
  headers?: Record<string, string>
  body?: string
  content?: { segments: Segment[]; size: number }
}

export interface Settings {
  region: string
  /** bytes; parts below are refused, but for the last */
  minPartSize: number
  defaultChecksum: Algorithm | undefined
  /** ms */
  idleTimeout: number
}

/** What was asked and answered. `status` is 0 while, or when, nothing was answered. */
export interface RequestRecord {
  id: string
  /** ms since the epoch, by the server's clock */
  time: number
  method: string
  operation: string
  bucket: string | undefined
  key: string | undefined
  query: Readonly<Record<string, string>>
  headers: IncomingHttpHeaders
  status: number
  /** S3 error code */
  code?: string
  /** counts connections from 1: tells whether one was reused */
  connection: number
}

export class Call {
  readonly request: IncomingMessage
  readonly disk: Disk
  readonly settings: Settings
  readonly auth: Authenticated
  readonly bucketName: string
  readonly key: string
  readonly query: ReadonlyMap<string, string>
  /** ms since the epoch, by the server's clock */
  readonly now: number
  readonly #bodyFaults: Pick<BodyOptions, 'corrupt' | 'resetAfter'>
  readonly #beforeBody: () => void

  constructor(init: {
    request: IncomingMessage
    disk: Disk
    settings: Settings
    auth: Authenticated
    bucketName: string
    key: string
    query: ReadonlyMap<string, string>
    now: number
    bodyFaults: Pick<BodyOptions, 'corrupt' | 'resetAfter'>
    /** Called once before the body is read: the moment of `100 Continue`. */
    beforeBody: () => void
  }) {
    this.request = init.request
    this.disk = init.disk
    this.settings = init.settings
    this.auth = init.auth
    this.bucketName = init.bucketName
    this.key = init.key
    this.query = init.query
    this.now = init.now
    this.#bodyFaults = init.bodyFaults
    this.#beforeBody = init.beforeBody
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name]
    return Array.isArray(value) ? value.join(',') : value
  }

  /** @throws S3Error NoSuchBucket */
  get bucket(): Bucket {
    const bucket = this.disk.buckets.get(this.bucketName)
    if (!bucket) throw noSuchBucket(this.bucketName)
    return bucket
  }

  /** Whole seconds, as S3 keeps them. */
  get seconds(): number {
    return Math.floor(this.now / 1000) * 1000
  }

  async storeBody(algorithm: Algorithm | undefined): Promise<StoredBody> {
    this.#beforeBody()
    return receiveToDisk(this.request, this.disk, this.#bodyOptions(algorithm))
  }

  /**
   * @param insist refuse a body that carries neither Content-MD5 nor a checksum
   * @param ofAnother the checksum headers speak of an object, not of this body
   */
  async document(insist: boolean, ofAnother = false): Promise<Buffer> {
    if (insist && !hasIntegrityHeader(this.request)) {
      throw new S3Error(
        400,
        'InvalidRequest',
        'Missing required header for this request: Content-MD5 OR x-amz-checksum-*',
      )
    }
    this.#beforeBody()
    return receiveDocument(this.request, { ...this.#bodyOptions(undefined), ofAnother })
  }

  #bodyOptions(algorithm: Algorithm | undefined): BodyOptions {
    return {
      sha256: this.auth.sha256,
      algorithm,
      idleTimeout: this.settings.idleTimeout,
      ...this.#bodyFaults,
    }
  }

  /** A number from the query within bounds; `fallback` when it is not there. */
  count(name: string, fallback: number, max: number): number {
    const text = this.query.get(name)
    if (text === undefined || text === '') return fallback
    const value = Number(text)
    if (!/^\d+$/.test(text) || value > 2_147_483_647) {
      throw invalidArgument(`Provided ${name} not an integer or within integer range`, name, text)
    }
    return Math.min(value, max)
  }
}

export const noSuchBucket = (name: string) =>
  new S3Error(404, 'NoSuchBucket', 'The specified bucket does not exist', { BucketName: name })

export const noSuchKey = (key: string, headers: Record<string, string> = {}) =>
  new S3Error(404, 'NoSuchKey', 'The specified key does not exist.', { Key: key }, headers)

export const invalidArgument = (message: string, name: string, value: string) =>
  new S3Error(400, 'InvalidArgument', message, { ArgumentName: name, ArgumentValue: value })

export const invalidRequest = (message: string) => new S3Error(400, 'InvalidRequest', message)

/** @throws S3Error KeyTooLongError beyond 1,024 bytes of UTF-8 */
export function checkKey(key: string): void {
  const size = Buffer.byteLength(key)
  if (size > 1024) {
    throw new S3Error(400, 'KeyTooLongError', 'Your key is too long', {
      Size: String(size),
      MaxSizeAllowed: '1024',
    })
  }
}
