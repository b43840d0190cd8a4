/** Objects from streams of unknown length. */
import { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { encodeCrc32 } from '../core/crc32.ts'
import { persistently } from './persistently.ts'
import type { S3Connection } from './s3-connection.ts'
import { storeErrorOf, toStoreError } from './s3-errors.ts'
import type { MultipartRequests } from './s3-multipart.ts'
import type { ObjectStore, PutResult, UploadedPart } from './store.ts'

/** Times a part of a stream is sent. */
const partAttempts = 4

interface StreamRequests extends Pick<ObjectStore, 'put'>, MultipartRequests {
  /** aborts an upload until it is gone */
  abandon(key: string, uploadId: string): Promise<void>
  /** bytes */
  streamPartSize: number
}

export function streamObjects(
  { bucket, client, context }: S3Connection,
  { put, createUpload, uploadPart, completeUpload, abandon, streamPartSize }: StreamRequests,
): Pick<ObjectStore, 'putStream'> {
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
        // It is in memory, so it can be sent again.
        const part = await persistently(signal, partAttempts, () =>
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
      // Nothing is in flight any longer: `done` has waited for it. The first failure is the one to tell.
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

  return { putStream }
}
