/** Writing objects: whole, in parts, and from streams of unknown length. */
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { combineCrc32, decodeCrc32, encodeCrc32 } from '../core/crc32.ts'
import { fullJitter } from '../core/retry.ts'
import { refusesHeader } from './lacks.ts'
import type { Conditions } from './s3-conditions.ts'
import type { S3Connection } from './s3-connection.ts'
import { type RequestContext, storeErrorOf, toStoreError } from './s3-errors.ts'
import {
  checksumHeader,
  checksumsOf,
  etagOf,
  headerFields,
  insistOn,
  notS3,
  wireHeaders,
} from './s3-fields.ts'
import {
  type Checksums,
  type ObjectHead,
  type ObjectHeaders,
  type ObjectStore,
  type PutResult,
  StoreError,
  type UploadedPart,
} from './store.ts'

type Written = Pick<
  ObjectStore,
  'put' | 'putStream' | 'createUpload' | 'uploadPart' | 'completeUpload' | 'abortUpload'
>

/** Times an upload is aborted before it is given up on. */
const abandonAttempts = 5
/** Times a part of a stream is sent. */
const partAttempts = 4

/** Work on a multipart upload that is aborted when the work fails. */
export type WithUpload = <T>(
  key: string,
  headers: ObjectHeaders,
  signal: AbortSignal | undefined,
  work: (uploadId: string, track: <P>(part: Promise<P>) => Promise<P>) => Promise<T>,
  /** without a checksum of the whole */
  unchecked?: boolean,
) => Promise<T>

/** @param streamPartSize bytes a part of `putStream` */
export function writeObjects(
  { bucket, client, onceClient, bodies, lacks, context, run }: S3Connection,
  {
    streamPartSize,
    head,
    listParts,
    createOnly,
  }: { streamPartSize: number } & Pick<ObjectStore, 'head' | 'listParts'> & Pick<Conditions, 'createOnly'>,
): Written & { withUpload: WithUpload } {
  async function put(
    key: string,
    body: Uint8Array,
    { headers, checksums, ifNoneMatch, signal }: Parameters<ObjectStore['put']>[2],
  ): Promise<PutResult> {
    const where = await context('put', { key, signal, condition: 'if-none-match' })
    const send = async (condition: boolean): Promise<PutResult> => {
      const response = await withoutRefusedChecksum(checksumHeader(checksums), checksum =>
        bodies.put(
          {
            key,
            headers: {
              ...wireHeaders(headers, where),
              ...checksum,
              ...(condition && { 'if-none-match': '*' }),
            },
            body,
            sha256: checksums.sha256,
          },
          where,
        ),
      )
      const result = {
        etag: etagOf(response.headers['etag'], where),
        versionId: response.headers['x-amz-version-id'],
        checksums: checksumsOf({
          ChecksumCRC32: response.headers['x-amz-checksum-crc32'],
          ChecksumCRC64NVME: response.headers['x-amz-checksum-crc64nvme'],
          ChecksumSHA256: response.headers['x-amz-checksum-sha256'],
        }),
      }
      insistOn(checksums, result.checksums, where)
      return result
    }
    return ifNoneMatch ? createOnly(where, send, true) : send(false)
  }

  /** Sends with a checksum header, or without where the store has refused it: it is proved by reading it back then. */
  async function withoutRefusedChecksum<T>(
    header: Record<string, string>,
    send: (header: Record<string, string>) => Promise<T>,
  ): Promise<T> {
    if (lacks.has('checksum-headers')) return send({})
    try {
      return await send(header)
    } catch (thrown) {
      if (!refusesHeader(thrown, ['checksum'])) throw thrown
      const result = await send({})
      lacks.found('checksum-headers')
      return result
    }
  }

  async function uploadPart(
    key: string,
    uploadId: string,
    partNumber: number,
    body: Uint8Array,
    { crc32, sha256, signal }: { crc32: string; sha256?: string; signal?: AbortSignal },
  ): Promise<UploadedPart> {
    const where = await context(`upload part ${partNumber} of`, { key, signal })
    const { headers } = await withoutRefusedChecksum({ 'x-amz-checksum-crc32': crc32 }, checksum =>
      bodies.put(
        { key, query: { partNumber: String(partNumber), uploadId }, headers: checksum, body, sha256 },
        where,
      ),
    )
    const stored = headers['x-amz-checksum-crc32']
    insistOn({ crc32 }, { crc32: stored }, where)
    return { partNumber, size: body.byteLength, etag: etagOf(headers['etag'], where), crc32: stored }
  }

  async function createUpload(
    key: string,
    {
      headers,
      signal,
      unchecked: asked = false,
    }: { headers: ObjectHeaders; signal?: AbortSignal; unchecked?: boolean },
  ): Promise<string> {
    const where = await context('start an upload of', { key, signal })
    const start = (checksum: object) =>
      run(where, () =>
        onceClient.send(
          new CreateMultipartUploadCommand({
            Bucket: bucket,
            Key: key,
            ...checksum,
            ...headerFields(headers, where),
          }),
          { abortSignal: signal },
        ),
      )
    const unchecked = asked || lacks.has('whole-checksum') || lacks.has('checksum-headers')
    let output: Awaited<ReturnType<typeof start>>
    try {
      output = await start(unchecked ? {} : { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' })
    } catch (thrown) {
      if (unchecked || !refusesHeader(thrown, ['checksum'])) throw thrown
      output = await start({})
      lacks.found('whole-checksum')
    }
    if (!output.UploadId) throw notS3('no upload id', where)
    return output.UploadId
  }

  async function completeUpload(
    key: string,
    uploadId: string,
    parts: readonly UploadedPart[],
    options: { checksums: Checksums; size: number; ifNoneMatch?: boolean; signal?: AbortSignal },
  ): Promise<PutResult> {
    const { checksums, size, ifNoneMatch, signal } = options
    const where = await context('complete the upload of', { key, signal, condition: 'if-none-match' })
    const consistent = wholeOfParts(parts, checksums, where)
    const send = (whole: object, condition: boolean) =>
      run(where, () =>
        onceClient.send(
          new CompleteMultipartUploadCommand({
            Bucket: bucket,
            Key: key,
            UploadId: uploadId,
            ...whole,
            IfNoneMatch: condition ? '*' : undefined,
            MultipartUpload: {
              Parts: parts.map(part => ({
                PartNumber: part.partNumber,
                ETag: `"${part.etag}"`,
                ChecksumCRC32: lacks.has('checksum-headers') ? undefined : part.crc32,
              })),
            },
          }),
          { abortSignal: signal },
        ),
      )
    const whole = {
      ChecksumCRC32: checksums.crc32,
      ChecksumType: 'FULL_OBJECT',
      MpuObjectSize: size,
    } as const
    const complete = async (condition: boolean): Promise<PutResult> => {
      const unchecked =
        checksums.crc32 === undefined || lacks.has('whole-checksum') || lacks.has('checksum-headers')
      let output: Awaited<ReturnType<typeof send>>
      try {
        output = await send(unchecked ? {} : whole, condition)
      } catch (thrown) {
        // Each part was compared as it came, and they make up this whole: what refuses it compares something else.
        const another = isKind(thrown, 'bad-digest') || refusesHeader(thrown, ['checksum', 'mp-object-size'])
        if (unchecked || !consistent || !another) throw thrown
        output = await send({}, condition)
        lacks.found('whole-checksum')
      }
      // Seen of Ceph RGW and rclone: done, and no ETag told.
      const found = output.ETag ? undefined : await lookAt(key, size, where)
      const result = {
        etag: found?.etag ?? etagOf(output.ETag, where),
        versionId: output.VersionId ?? found?.versionId,
        checksums: found?.checksums ?? checksumsOf(output),
      }
      insistOn(checksums, result.checksums, where)
      return result
    }
    return ifNoneMatch ? createOnly(where, complete, false) : complete(false)
  }

  /** The object that must be there by now, where the answer does not tell about it. */
  async function lookAt(key: string, size: number, where: RequestContext): Promise<ObjectHead> {
    const found = await head(key, { signal: where.signal })
    if (found?.size !== size) throw notS3('no ETag', where)
    return found
  }

  async function abortUpload(key: string, uploadId: string, signal?: AbortSignal): Promise<void> {
    const where = await context('abort the upload of', { key, signal })
    try {
      await run(where, () =>
        client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: uploadId }), {
          abortSignal: signal,
        }),
      )
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      if (error.kind !== 'no-upload' && error.kind !== 'missing') throw error
    }
  }

  /**
   * Runs `work` on a fresh multipart upload. When it fails, waits for what it still has in flight and aborts the
   * upload: a part that lands after the abort would stay, and be paid for.
   */
  async function withUpload<T>(
    key: string,
    headers: ObjectHeaders,
    signal: AbortSignal | undefined,
    work: (uploadId: string, track: <P>(part: Promise<P>) => Promise<P>) => Promise<T>,
    unchecked = false,
  ): Promise<T> {
    const uploadId = await createUpload(key, { headers, signal, unchecked })
    const inFlight = new Set<Promise<unknown>>()
    const track = <P>(part: Promise<P>): Promise<P> => {
      inFlight.add(part)
      const forget = () => inFlight.delete(part)
      part.then(forget, forget)
      return part
    }
    try {
      return await work(uploadId, track)
    } catch (thrown) {
      await Promise.allSettled(inFlight)
      // Without the caller's signal: it may be what stopped the work. The first failure is the one to tell.
      await abandon(key, uploadId).catch(() => undefined)
      throw thrown
    }
  }

  /** Aborts until the store has no such upload any more: a part that came after an abort would stay, and be paid for. */
  async function abandon(key: string, uploadId: string): Promise<void> {
    for (let attempt = 1; attempt <= abandonAttempts; attempt++) {
      await abortUpload(key, uploadId)
      if ((await listParts(key, uploadId)) === undefined) return
      await sleep(fullJitter(attempt, Math.random(), { base: 200, cap: 5_000 }))
    }
    throw storeErrorOf(
      { code: 'ServiceUnavailable', status: 200, message: 'aborted, and still there' },
      await context('abort the upload of', { key }),
    )
  }

  /** A part of a stream is in memory, so it can be sent again. */
  async function persistently<T>(signal: AbortSignal | undefined, send: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await send()
      } catch (thrown) {
        if (!(thrown instanceof StoreError) || !thrown.retryable || attempt === partAttempts) throw thrown
        await sleep(fullJitter(attempt, Math.random(), { base: 200, cap: 5_000 }), undefined, { signal })
      }
    }
  }

  /**
   * `@aws-sdk/lib-storage` cuts the stream into parts and keeps two of them under way; what it sends goes out through
   * the requests above, with their checksums and their ways around what a store lacks.
   */
  async function putStream(
    key: string,
    body: AsyncIterable<Uint8Array>,
    { headers, ifNoneMatch, signal }: Omit<Parameters<ObjectStore['put']>[2], 'checksums'>,
  ): Promise<PutResult & { size: number }> {
    const { Upload } = await import('@aws-sdk/lib-storage')
    let size = 0
    let whole = 0
    let uploadId: string | undefined
    let result: PutResult | undefined
    const parts = new Map<number, UploadedPart>()
    const tell = ({ etag, checksums }: Pick<PutResult, 'etag' | 'checksums'>) => ({
      ETag: etag,
      ChecksumCRC32: checksums.crc32,
    })

    async function send(command: unknown): Promise<object> {
      if (command instanceof PutObjectCommand) {
        const bytes = command.input.Body as Buffer
        const checksums = { crc32: encodeCrc32(crc32(bytes)) }
        result = await put(key, bytes, { headers, checksums, ifNoneMatch, signal })
        return tell(result)
      }
      if (command instanceof CreateMultipartUploadCommand) {
        uploadId = await createUpload(key, { headers, signal })
        return { UploadId: uploadId }
      }
      if (command instanceof UploadPartCommand) {
        const { PartNumber = 0, UploadId = '', Body } = command.input
        const bytes = Body as Buffer
        const sum = encodeCrc32(crc32(bytes))
        const part = await persistently(signal, () =>
          uploadPart(key, UploadId, PartNumber, bytes, { crc32: sum, signal }),
        )
        parts.set(PartNumber, part)
        return tell({ etag: part.etag, checksums: { crc32: part.crc32 } })
      }
      if (command instanceof CompleteMultipartUploadCommand) {
        const ordered = [...parts.values()].sort((a, b) => a.partNumber - b.partNumber)
        const checksums = { crc32: encodeCrc32(whole) }
        result = await completeUpload(key, uploadId ?? '', ordered, { checksums, size, ifNoneMatch, signal })
        return tell(result)
      }
      throw new TypeError('@aws-sdk/lib-storage sent a request that is not known here')
    }

    async function* observed(): AsyncGenerator<Uint8Array> {
      for await (const chunk of body) {
        // What is in flight is cut off by the requests' own signal; this ends the reading.
        signal?.throwIfAborted()
        size += chunk.byteLength
        whole = crc32(chunk, whole)
        yield chunk
      }
    }
    const source = Readable.from(observed(), { objectMode: true, highWaterMark: 1 })
    const upload = new Upload({
      client: Object.assign(Object.create(client), { send }) as S3Client,
      params: { Bucket: bucket, Key: key, Body: source },
      partSize: streamPartSize,
      queueSize: 2,
      leavePartsOnError: true,
    })
    try {
      await upload.done()
      return { ...(result as PutResult), size }
    } catch (thrown) {
      // Nothing is in flight any more: `done` has waited for it. The first failure is the one to tell.
      if (uploadId !== undefined) await abandon(key, uploadId).catch(() => undefined)
      if (signal?.aborted) throw toStoreError(thrown, await context('put', { key, signal }))
      if (thrown instanceof Error && /^Exceeded \d+ parts/.test(thrown.message)) {
        const message = `longer than 10,000 parts of ${streamPartSize} bytes`
        throw storeErrorOf({ status: 400, code: 'EntityTooLarge', message }, await context('put', { key }))
      }
      throw thrown
    } finally {
      // Lets go of the source, whatever happened.
      source.destroy()
    }
  }

  return { put, putStream, createUpload, uploadPart, completeUpload, abortUpload, withUpload }
}

/**
 * Whether the checksum of the whole is that of its parts, as far as those of the parts are known.
 * @throws StoreError `bad-digest` where they contradict each other: no store need be asked
 */
function wholeOfParts(
  parts: readonly UploadedPart[],
  { crc32: expected }: Checksums,
  where: RequestContext,
): boolean {
  if (expected === undefined) return false
  let sum = 0
  for (const { crc32: part, size } of parts) {
    if (part === undefined) return false
    sum = combineCrc32(sum, decodeCrc32(part), size)
  }
  insistOn({ crc32: expected }, { crc32: encodeCrc32(sum) }, where)
  return true
}

function isKind(thrown: unknown, kind: StoreError['kind']): boolean {
  return thrown instanceof StoreError && thrown.kind === kind
}
