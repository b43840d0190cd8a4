/** Writing objects: whole, in parts, and from streams of unknown length. */
import { crc32 } from 'node:zlib'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
} from '@aws-sdk/client-s3'
import pLimit from 'p-limit'
import { encodeCrc32 } from '../core/crc32.ts'
import { maxParts } from '../core/upload/multipart.ts'
import type { S3Connection } from './s3-connection.ts'
import { storeErrorOf, toStoreError } from './s3-errors.ts'
import {
  checksumHeader,
  checksumsOf,
  etagOf,
  headerFields,
  insistOn,
  notS3,
  wireHeaders,
} from './s3-fields.ts'
import type { Checksums, ObjectHeaders, ObjectStore, PutResult, UploadedPart } from './store.ts'

type Written = Pick<
  ObjectStore,
  'put' | 'putStream' | 'createUpload' | 'uploadPart' | 'completeUpload' | 'abortUpload'
>

/** Work on a multipart upload that is aborted when the work fails. */
export type WithUpload = <T>(
  key: string,
  headers: ObjectHeaders,
  signal: AbortSignal | undefined,
  work: (uploadId: string, track: <P>(part: Promise<P>) => Promise<P>) => Promise<T>,
) => Promise<T>

/** @param streamPartSize bytes a part of `putStream` */
export function writeObjects(
  { bucket, client, onceClient, bodies, context, run }: S3Connection,
  { streamPartSize }: { streamPartSize: number },
): Written & { withUpload: WithUpload } {
  async function put(
    key: string,
    body: Uint8Array,
    { headers, checksums, ifNoneMatch, signal }: Parameters<ObjectStore['put']>[2],
  ): Promise<PutResult> {
    const where = await context('put', { key, signal, condition: 'if-none-match' })
    const response = await bodies.put(
      {
        key,
        headers: {
          ...wireHeaders(headers, where),
          ...checksumHeader(checksums),
          ...(ifNoneMatch && { 'if-none-match': '*' }),
        },
        body,
        sha256: checksums.sha256,
      },
      where,
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

  async function uploadPart(
    key: string,
    uploadId: string,
    partNumber: number,
    body: Uint8Array,
    { crc32, sha256, signal }: { crc32: string; sha256?: string; signal?: AbortSignal },
  ): Promise<UploadedPart> {
    const where = await context(`upload part ${partNumber} of`, { key, signal })
    const { headers } = await bodies.put(
      {
        key,
        query: { partNumber: String(partNumber), uploadId },
        headers: { 'x-amz-checksum-crc32': crc32 },
        body,
        sha256,
      },
      where,
    )
    const stored = headers['x-amz-checksum-crc32']
    insistOn({ crc32 }, { crc32: stored }, where)
    return { partNumber, size: body.byteLength, etag: etagOf(headers['etag'], where), crc32: stored }
  }

  async function createUpload(
    key: string,
    { headers, signal }: { headers: ObjectHeaders; signal?: AbortSignal },
  ): Promise<string> {
    const where = await context('start an upload of', { key, signal })
    const output = await run(where, () =>
      onceClient.send(
        new CreateMultipartUploadCommand({
          Bucket: bucket,
          Key: key,
          ChecksumAlgorithm: 'CRC32',
          ChecksumType: 'FULL_OBJECT',
          ...headerFields(headers, where),
        }),
        { abortSignal: signal },
      ),
    )
    if (!output.UploadId) throw notS3('no upload id', where)
    return output.UploadId
  }

  async function completeUpload(
    key: string,
    uploadId: string,
    parts: readonly UploadedPart[],
    options: { checksums: Checksums; size: number; ifNoneMatch?: boolean; signal?: AbortSignal },
  ): Promise<PutResult> {
    const where = await context('complete the upload of', {
      key,
      signal: options.signal,
      condition: 'if-none-match',
    })
    const output = await run(where, () =>
      onceClient.send(
        new CompleteMultipartUploadCommand({
          Bucket: bucket,
          Key: key,
          UploadId: uploadId,
          ChecksumCRC32: options.checksums.crc32,
          ChecksumType: 'FULL_OBJECT',
          MpuObjectSize: options.size,
          IfNoneMatch: options.ifNoneMatch ? '*' : undefined,
          MultipartUpload: {
            Parts: parts.map(part => ({
              PartNumber: part.partNumber,
              ETag: `"${part.etag}"`,
              ChecksumCRC32: part.crc32,
            })),
          },
        }),
        { abortSignal: options.signal },
      ),
    )
    const result = {
      etag: etagOf(output.ETag, where),
      versionId: output.VersionId,
      checksums: checksumsOf(output),
    }
    insistOn(options.checksums, result.checksums, where)
    return result
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
  ): Promise<T> {
    const uploadId = await createUpload(key, { headers, signal })
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
      await abortUpload(key, uploadId).catch(() => undefined)
      throw thrown
    }
  }

  async function putStream(
    key: string,
    body: AsyncIterable<Uint8Array>,
    { headers, ifNoneMatch, signal }: Omit<Parameters<ObjectStore['put']>[2], 'checksums'>,
  ): Promise<PutResult & { size: number }> {
    const chunks = partsOf(body, streamPartSize)
    try {
      return await sendChunks()
    } finally {
      // Lets go of the source, whatever happened.
      await chunks.return(undefined)
    }

    async function sendChunks(): Promise<PutResult & { size: number }> {
      const first = await chunks.next()
      const start = first.done ? Buffer.alloc(0) : first.value
      const second = first.done ? first : await chunks.next()
      if (second.done) {
        const checksums = { crc32: encodeCrc32(crc32(start)) }
        const result = await put(key, start, { headers, checksums, ifNoneMatch, signal })
        return { ...result, size: start.byteLength }
      }
      return withUpload(key, headers, signal, async (uploadId, track) => {
        const limit = pLimit(2)
        const parts: Promise<UploadedPart>[] = []
        let size = 0
        let whole = 0
        let failed: unknown
        const send = async (chunk: Buffer) => {
          size += chunk.byteLength
          whole = crc32(chunk, whole)
          const partNumber = parts.length + 1
          if (partNumber > maxParts) {
            throw storeErrorOf(
              {
                status: 400,
                code: 'EntityTooLarge',
                message: `longer than ${maxParts} parts of ${streamPartSize} bytes`,
              },
              await context('put', { key }),
            )
          }
          const part = track(
            limit(() =>
              uploadPart(key, uploadId, partNumber, chunk, { crc32: encodeCrc32(crc32(chunk)), signal }),
            ),
          )
          part.catch(error => {
            failed ??= error
          })
          parts.push(part)
          // At most two parts under way and one waiting: the source is not read further ahead.
          if (parts.length > 2) await parts[parts.length - 3]
          if (failed) throw failed
        }
        await send(start)
        await send(second.value)
        for await (const chunk of chunks) await send(chunk)
        const checksums = { crc32: encodeCrc32(whole) }
        const result = await completeUpload(key, uploadId, await Promise.all(parts), {
          checksums,
          size,
          ifNoneMatch,
          signal,
        })
        return { ...result, size }
      })
    }
  }

  return { put, putStream, createUpload, uploadPart, completeUpload, abortUpload, withUpload }
}

/** Regroups a stream into Buffers of `size` bytes; the last one may be shorter. Empty streams give none. */
async function* partsOf(body: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Buffer> {
  let pending = Buffer.allocUnsafe(size)
  let filled = 0
  for await (const chunk of body) {
    for (let at = 0; at < chunk.byteLength; ) {
      const piece = chunk.subarray(at, at + size - filled)
      pending.set(piece, filled)
      filled += piece.byteLength
      at += piece.byteLength
      if (filled === size) {
        yield pending
        pending = Buffer.allocUnsafe(size)
        filled = 0
      }
    }
  }
  if (filled > 0) yield pending.subarray(0, filled)
}
