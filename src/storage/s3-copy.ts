/** Copying objects within the bucket, also those that are too large for one request. */
import {
  CopyObjectCommand,
  type CopyObjectCommandInput,
  type CopyObjectCommandOutput,
  GetObjectAclCommand,
  type Grant,
  type ServerSideEncryption,
  type StorageClass,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import pLimit from 'p-limit'
import { maxParts } from '../core/upload/multipart.ts'
import type { S3Connection } from './s3-connection.ts'
import { type RequestContext, storeErrorOf, toStoreError } from './s3-errors.ts'
import { checksumsOf, etagOf, headerFields, insistOn, notS3 } from './s3-fields.ts'
import type { WithUpload } from './s3-multipart.ts'
import { encodeKey } from './sigv4.ts'
import {
  type ObjectHead,
  type ObjectHeaders,
  type ObjectStore,
  type PutResult,
  StoreError,
  type UploadedPart,
} from './store.ts'

interface CopyRequests extends Pick<ObjectStore, 'head' | 'get' | 'completeUpload' | 'putStream'> {
  withUpload: WithUpload
  /** bytes above which a copy goes in parts */
  singleMax: number
  /** bytes */
  partSize: number
}

export function copyObjects(
  connection: S3Connection,
  requests: CopyRequests,
): Pick<ObjectStore, 'copy' | 'rewriteHeaders'> {
  const { bucket, onceClient, lacks, context, run } = connection
  const { head, singleMax } = requests

  async function rewriteHeaders(
    key: string,
    { ifMatch, contentType, cacheControl, signal }: Parameters<ObjectStore['rewriteHeaders']>[1],
  ): Promise<PutResult> {
    const source = await head(key, { signal })
    const where = await context('set the headers of', { key, signal, condition: 'if-match' })
    if (source === undefined) throw storeErrorOf({ status: 404 }, where)
    if (source.etag !== ifMatch) throw storeErrorOf({ status: 412 }, where)
    if (source.size > singleMax) {
      throw new StoreError(
        'invalid',
        `the headers of ${key} cannot be set: S3 copies no object of more than 5 GiB at once, and in parts its tags and access list would be lost`,
        { cure: 'Set them by hand, for example with `aws s3 cp` onto itself, or upload the file again.' },
      )
    }
    const grants = await grantsOf(connection, key, signal)
    const command = new CopyObjectCommand({
      Bucket: bucket,
      Key: key,
      CopySource: `${bucket}/${encodeKey(key)}`,
      CopySourceIfMatch: `"${source.etag}"`,
      MetadataDirective: 'REPLACE',
      ContentType: contentType ?? 'binary/octet-stream',
      CacheControl: cacheControl,
      ContentDisposition: source.contentDisposition,
      ContentEncoding: source.contentEncoding,
      ContentLanguage: source.contentLanguage,
      Metadata: source.metadata,
      ...keptFields(source),
      ...grants,
    })
    const { expires } = source
    if (expires !== undefined) {
      // As a header, not as a Date: S3 keeps whatever text it was given.
      command.middlewareStack.add(
        next => args => {
          ;(args.request as { headers: Record<string, string> }).headers['expires'] = expires
          return next(args)
        },
        { step: 'build' },
      )
    }
    const output = await run(where, () => onceClient.send(command, { abortSignal: signal }))
    return resultOf(output, source, key, where)
  }

  async function copy(
    fromKey: string,
    toKey: string,
    options: NonNullable<Parameters<ObjectStore['copy']>[2]> = {},
  ): Promise<PutResult> {
    const { ifMatch, ifNoneMatch, headers, signal } = options
    const source = await head(fromKey, { signal })
    const where = await context(`copy ${JSON.stringify(fromKey)} to`, {
      key: toKey,
      signal,
      condition: ifNoneMatch ? 'if-none-match' : 'if-match',
    })
    if (source === undefined) {
      throw storeErrorOf({ status: 404 }, await context('copy', { key: fromKey, signal }))
    }
    if (ifMatch !== undefined && ifMatch !== source.etag) {
      throw storeErrorOf({ status: 412 }, await context('copy', { key: fromKey, condition: 'if-match' }))
    }
    // Some stores ignore If-None-Match here; the header closes the gap that a look leaves, if it is known.
    if (ifNoneMatch && (await head(toKey, { signal })) !== undefined) {
      throw storeErrorOf({ status: 412 }, where)
    }
    const pinned = {
      CopySource: `${bucket}/${encodeKey(fromKey)}`,
      CopySourceIfMatch: `"${source.etag}"`,
    }
    if (lacks.has('copy')) return copyThrough(connection, requests, source, toKey, options)
    try {
      if (source.size > singleMax) return await copyInPartsOnceMore(source, toKey, pinned, options)
      return await copyWhole()
    } catch (thrown) {
      if (!(thrown instanceof StoreError) || thrown.kind !== 'unsupported') throw thrown
      const result = await copyThrough(connection, requests, source, toKey, options)
      lacks.found('copy')
      return result
    }

    async function copyWhole(): Promise<PutResult> {
      const grants = headers === undefined ? await grantsOf(connection, fromKey, signal) : {}
      const output = await run(where, () =>
        onceClient.send(
          new CopyObjectCommand({
            Bucket: bucket,
            Key: toKey,
            ...pinned,
            IfNoneMatch: ifNoneMatch && lacks.putCondition !== 'refused' ? '*' : undefined,
            ...(headers === undefined
              ? { ...keptFields(source!), ...grants }
              : {
                  MetadataDirective: 'REPLACE',
                  ...headerFields(headers, where),
                  ...(headers.tags !== undefined && { TaggingDirective: 'REPLACE' }),
                }),
          }),
          { abortSignal: signal },
        ),
      )
      return resultOf(output, source!, toKey, where)
    }
  }

  /** rclone's server tells no ETag of a copy: what is there by now does. */
  async function resultOf(
    { CopyObjectResult, VersionId }: CopyObjectCommandOutput,
    source: ObjectHead,
    toKey: string,
    where: RequestContext,
  ): Promise<PutResult> {
    const { ETag, ...checksums } = CopyObjectResult ?? {}
    const found = ETag ? undefined : await head(toKey, { signal: where.signal })
    if (found !== undefined && found.size !== source.size) throw notS3('no ETag', where)
    const result = {
      etag: found?.etag ?? etagOf(ETag, where),
      versionId: VersionId ?? found?.versionId,
      checksums: found?.checksums ?? checksumsOf(checksums),
    }
    insistOn(source.checksums, result.checksums, where)
    return result
  }

  /**
   * Copied parts have no checksums that all stores agree on: MinIO refuses to copy a range into an upload that has
   * them, versitygw gives each range the checksum of the whole source. So it is tried once more without.
   */
  async function copyInPartsOnceMore(...[source, ...rest]: OneCopy): Promise<PutResult> {
    try {
      return await copyInParts(connection, requests, source, ...rest)
    } catch (thrown) {
      if (!(thrown instanceof StoreError) || !['invalid', 'bad-digest'].includes(thrown.kind)) throw thrown
      return copyInParts(connection, requests, { ...source, checksums: {} }, ...rest)
    }
  }

  return { copy, rewriteHeaders }
}

type OneCopy = [
  source: ObjectHead,
  toKey: string,
  pinned: { CopySource: string; CopySourceIfMatch: string },
  options: NonNullable<Parameters<ObjectStore['copy']>[2]>,
]

/** Down and up again, for stores that cannot copy. The way down compares the store's checksum, if it has one. */
async function copyThrough(
  { context }: S3Connection,
  { get, putStream }: CopyRequests,
  source: ObjectHead,
  toKey: string,
  { ifNoneMatch, headers, signal }: NonNullable<Parameters<ObjectStore['copy']>[2]>,
): Promise<PutResult> {
  const where = await context('copy', { key: source.key, signal, condition: 'if-match' })
  const content = await get(source.key, { signal })
  if (content === undefined) throw storeErrorOf({ status: 404 }, where)
  if (content.head.etag !== source.etag) {
    content.body.destroy()
    throw storeErrorOf({ status: 412 }, where)
  }
  const copied = await putStream(toKey, content.body, {
    headers: headers ?? headersKept(source),
    ifNoneMatch,
    signal,
  })
  insistOn(source.checksums, copied.checksums, where)
  return copied
}

/** CopyObject ends at 5 GiB. Tags do not come along here, as they need a request and a permission of their own. */
function copyInParts(
  { bucket, client, context, run }: S3Connection,
  { withUpload, completeUpload, partSize: wantedPartSize }: CopyRequests,
  ...[source, toKey, pinned, { ifNoneMatch, headers, signal }]: OneCopy
): Promise<PutResult> {
  const { crc32 } = source.checksums
  const copyParts = async (uploadId: string, track: <P>(part: Promise<P>) => Promise<P>) => {
    const partSize = Math.max(wantedPartSize, Math.ceil(source.size / maxParts))
    const limit = pLimit(8)
    const copyPart = async (partNumber: number): Promise<UploadedPart> => {
      const where = await context(`copy part ${partNumber} to`, {
        key: toKey,
        signal,
        condition: 'if-match',
      })
      const start = (partNumber - 1) * partSize
      const end = Math.min(start + partSize, source.size) - 1
      const { CopyPartResult } = await run(where, () =>
        client.send(
          new UploadPartCopyCommand({
            Bucket: bucket,
            Key: toKey,
            UploadId: uploadId,
            PartNumber: partNumber,
            CopySourceRange: `bytes=${start}-${end}`,
            ...pinned,
          }),
          { abortSignal: signal },
        ),
      )
      return {
        partNumber,
        size: end - start + 1,
        etag: etagOf(CopyPartResult?.ETag, where),
        crc32: crc32 === undefined ? undefined : CopyPartResult?.ChecksumCRC32,
      }
    }
    const numbers = Array.from({ length: Math.ceil(source.size / partSize) }, (_, index) => index + 1)
    const parts = await Promise.all(numbers.map(number => track(limit(() => copyPart(number)))))
    return completeUpload(toKey, uploadId, parts, {
      checksums: { crc32 },
      size: source.size,
      ifNoneMatch,
      signal,
    })
  }
  return withUpload(toKey, headers ?? headersKept(source), signal, copyParts, crc32 === undefined)
}

/**
 * Who else may read an object: a copy has the bucket owner alone otherwise. Nothing if there are no access lists,
 * as in buckets since 2023, or where they say nothing beyond that.
 */
async function grantsOf(
  { bucket, client, context, run }: S3Connection,
  key: string,
  signal: AbortSignal | undefined,
): Promise<GrantFields> {
  const where = await context('read the access list of', { key, signal })
  try {
    const { Grants, Owner } = await run(where, () =>
      client.send(new GetObjectAclCommand({ Bucket: bucket, Key: key }), { abortSignal: signal }),
    )
    return grantFields(Grants ?? [], Owner?.ID)
  } catch (thrown) {
    const error = toStoreError(thrown, where)
    if (['unsupported', 'invalid', 'missing'].includes(error.kind)) return {}
    throw error
  }
}

function headersKept(source: ObjectHead): ObjectHeaders {
  return {
    contentType: source.contentType ?? 'application/octet-stream',
    cacheControl: source.cacheControl,
    contentDisposition: source.contentDisposition,
    metadata: source.metadata,
    storageClass: source.storageClass,
    serverSideEncryption: source.encryption,
    kmsKeyId: source.kmsKeyId,
  }
}

type GrantFields = Pick<
  CopyObjectCommandInput,
  'GrantFullControl' | 'GrantRead' | 'GrantReadACP' | 'GrantWriteACP'
>

/** What a copy has of its own unless it is told otherwise, whatever happens to its headers. */
function keptFields(source: ObjectHead): Partial<CopyObjectCommandInput> {
  return {
    StorageClass: source.storageClass as StorageClass | undefined,
    ServerSideEncryption: source.serverSideEncryption as ServerSideEncryption | undefined,
    SSEKMSKeyId: source.kmsKeyId,
    BucketKeyEnabled: source.bucketKeyEnabled,
    WebsiteRedirectLocation: source.websiteRedirect,
  }
}

const grantHeaders = {
  FULL_CONTROL: 'GrantFullControl',
  READ: 'GrantRead',
  READ_ACP: 'GrantReadACP',
  WRITE_ACP: 'GrantWriteACP',
} as const

/** An access list as the fields of a request; none if it only says that the owner may do everything. */
function grantFields(grants: readonly Grant[], ownerId: string | undefined): GrantFields {
  const fields: Record<string, string[]> = {}
  let others = false
  for (const { Grantee, Permission } of grants) {
    const header = grantHeaders[Permission as keyof typeof grantHeaders]
    if (header === undefined) continue
    const { ID, URI, EmailAddress } = Grantee ?? {}
    if (Permission !== 'FULL_CONTROL' || ID === undefined || ID !== ownerId) others = true
    const who = ID ? `id="${ID}"` : URI ? `uri="${URI}"` : EmailAddress && `emailAddress="${EmailAddress}"`
    if (who) fields[header] = [...(fields[header] ?? []), who]
  }
  if (!others) return {}
  return Object.fromEntries(Object.entries(fields).map(([name, who]) => [name, who.join(', ')]))
}
