/** The requests of a multipart upload, and uploads that are aborted where the work on them fails. */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
} from '@aws-sdk/client-s3'
import { combineCrc32, decodeCrc32, encodeCrc32 } from '../core/crc32.ts'
import { fullJitter } from '../core/retry.ts'
import { refusesHeader, withoutRefusedChecksum } from './lacks.ts'
import type { Conditions } from './s3-conditions.ts'
import type { S3Connection } from './s3-connection.ts'
import { type RequestContext, storeErrorOf, toStoreError } from './s3-errors.ts'
import { checksumsOf, etagOf, headerFields, insistOn, notS3 } from './s3-fields.ts'
import {
  type Checksums,
  type ObjectHead,
  type ObjectHeaders,
  type ObjectStore,
  type PutResult,
  StoreError,
  type UploadedPart,
} from './store.ts'

/** Times an upload is aborted before it is given up on. */
const abandonAttempts = 5

/** Work on a multipart upload that is aborted when the work fails. */
export type WithUpload = <T>(
  key: string,
  headers: ObjectHeaders,
  signal: AbortSignal | undefined,
  work: (uploadId: string, track: <P>(part: Promise<P>) => Promise<P>) => Promise<T>,
  /** without a checksum of the whole */
  unchecked: boolean,
) => Promise<T>

export type MultipartRequests = ReturnType<typeof multipartRequests>

export function multipartRequests(
  { bucket, client, onceClient, bodies, lacks, context, run }: S3Connection,
  { head, createOnly }: Pick<ObjectStore, 'head'> & Pick<Conditions, 'createOnly'>,
) {
  async function uploadPart(
    key: string,
    uploadId: string,
    partNumber: number,
    body: Uint8Array,
    { crc32, sha256, signal }: { crc32: string; sha256?: string; signal?: AbortSignal },
  ): Promise<UploadedPart> {
    const where = await context(`upload part ${partNumber} of`, { key, signal })
    const { headers } = await withoutRefusedChecksum(lacks, { 'x-amz-checksum-crc32': crc32 }, checksum =>
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

  return { createUpload, uploadPart, completeUpload, abortUpload }
}

/** @returns also `abandon`, which waits until an upload is gone */
export function abortedOnFailure(
  { context }: S3Connection,
  {
    createUpload,
    abortUpload,
    listParts,
  }: Pick<MultipartRequests, 'createUpload' | 'abortUpload'> & Pick<ObjectStore, 'listParts'>,
): { withUpload: WithUpload; abandon(key: string, uploadId: string): Promise<void> } {
  /**
   * Runs `work` on a fresh multipart upload. When it fails, waits for what it still has in flight and aborts the
   * upload: a part that lands after the abort would stay, and be paid for.
   */
  async function withUpload<T>(
    key: string,
    headers: ObjectHeaders,
    signal: AbortSignal | undefined,
    work: (uploadId: string, track: <P>(part: Promise<P>) => Promise<P>) => Promise<T>,
    unchecked: boolean,
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

  /** Aborts until the store no longer has such an upload: a part that came after an abort would stay, and be paid for. */
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

  return { withUpload, abandon }
}

/**
 * Whether the checksum of the whole is that of its parts, as far as those of the parts are known.
 * @throws StoreError `bad-digest` if they contradict each other: no store need be asked
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
