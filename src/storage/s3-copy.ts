/** Copying objects within the bucket, also those that are too large for one request. */
import {
  CopyObjectCommand,
  type CopyObjectCommandInput,
  GetObjectAclCommand,
  type Grant,
  type ServerSideEncryption,
  type StorageClass,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import pLimit from 'p-limit'
import { maxParts } from '../core/upload/multipart.ts'
import type { S3Connection } from './s3-connection.ts'
import { storeErrorOf, toStoreError } from './s3-errors.ts'
import { checksumsOf, etagOf, headerFields, insistOn } from './s3-fields.ts'
import type { WithUpload } from './s3-write.ts'
import { encodeKey } from './sigv4.ts'
import type { ObjectHead, ObjectHeaders, ObjectStore, PutResult, UploadedPart } from './store.ts'

interface CopyOptions extends Pick<ObjectStore, 'head' | 'completeUpload'> {
  withUpload: WithUpload
  /** bytes above which a copy goes in parts */
  singleMax: number
  /** bytes */
  partSize: number
}

export function copyObjects(
  { bucket, client, onceClient, context, run }: S3Connection,
  { head, completeUpload, withUpload, singleMax, partSize: wantedPartSize }: CopyOptions,
): Pick<ObjectStore, 'copy' | 'rewriteHeaders'> {
  /**
   * Who else may read an object: a copy has the bucket owner alone otherwise. Nothing where there are no access lists,
   * as in buckets since 2023, or where they say nothing beyond that.
   */
  async function grantsOf(key: string, signal: AbortSignal | undefined): Promise<GrantFields> {
    const where = await context('read the access list of', { key, signal })
    try {
      const { Grants, Owner } = await run(where, () =>
        client.send(new GetObjectAclCommand({ Bucket: bucket, Key: key }), { abortSignal: signal }),
      )
      return grantFields(Grants ?? [], Owner?.ID)
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      if (error.kind === 'unsupported' || error.kind === 'invalid') return {}
      throw error
    }
  }

  async function rewriteHeaders(
    key: string,
    { ifMatch, contentType, cacheControl, signal }: Parameters<ObjectStore['rewriteHeaders']>[1],
  ): Promise<PutResult> {
    const source = await head(key, { signal })
    const where = await context('set the headers of', { key, signal, condition: 'if-match' })
    if (source === undefined) throw storeErrorOf({ status: 404 }, where)
    if (source.etag !== ifMatch) throw storeErrorOf({ status: 412 }, where)
    if (source.size > singleMax) {
      const message =
        'an object of more than 5 GiB is copied in parts, which would lose its tags and access list'
      throw storeErrorOf({ code: 'NotImplemented', message }, where)
    }
    const grants = await grantsOf(key, signal)
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
    const result = {
      etag: etagOf(output.CopyObjectResult?.ETag, where),
      versionId: output.VersionId,
      checksums: checksumsOf(output.CopyObjectResult ?? {}),
    }
    insistOn(source.checksums, result.checksums, where)
    return result
  }

  async function copy(
    fromKey: string,
    toKey: string,
    options: NonNullable<Parameters<ObjectStore['copy']>[2]> = {},
  ): Promise<PutResult> {
    const { fromVersionId, ifMatch, ifNoneMatch, headers, signal } = options
    const source = await head(fromKey, { versionId: fromVersionId, signal })
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
    // Some stores ignore If-None-Match here; the header closes the gap that a look leaves, where it is known.
    if (ifNoneMatch && (await head(toKey, { signal })) !== undefined) {
      throw storeErrorOf({ status: 412 }, where)
    }
    const from =
      `${bucket}/${encodeKey(fromKey)}` +
      (fromVersionId === undefined ? '' : `?versionId=${encodeURIComponent(fromVersionId)}`)
    const pinned = { CopySource: from, CopySourceIfMatch: `"${source.etag}"` }
    if (source.size > singleMax) return copyInParts(source, toKey, pinned, options)
    const grants = headers === undefined ? await grantsOf(fromKey, signal) : {}
    const output = await run(where, () =>
      onceClient.send(
        new CopyObjectCommand({
          Bucket: bucket,
          Key: toKey,
          ...pinned,
          IfNoneMatch: ifNoneMatch ? '*' : undefined,
          ...(headers === undefined
            ? { ...keptFields(source), ...grants }
            : {
                MetadataDirective: 'REPLACE',
                ...headerFields(headers, where),
                ...(headers.tags !== undefined && { TaggingDirective: 'REPLACE' }),
              }),
        }),
        { abortSignal: signal },
      ),
    )
    const result = {
      etag: etagOf(output.CopyObjectResult?.ETag, where),
      versionId: output.VersionId,
      checksums: checksumsOf(output.CopyObjectResult ?? {}),
    }
    insistOn(source.checksums, result.checksums, where)
    return result
  }

  /** CopyObject ends at 5 GiB. Tags do not come along here, as they need a request and a permission of their own. */
  function copyInParts(
    source: ObjectHead,
    toKey: string,
    pinned: { CopySource: string; CopySourceIfMatch: string },
    { ifNoneMatch, headers, signal }: NonNullable<Parameters<ObjectStore['copy']>[2]>,
  ): Promise<PutResult> {
    const kept: ObjectHeaders = {
      contentType: source.contentType ?? 'application/octet-stream',
      cacheControl: source.cacheControl,
      contentDisposition: source.contentDisposition,
      metadata: source.metadata,
      storageClass: source.storageClass,
      serverSideEncryption: source.encryption,
      kmsKeyId: source.kmsKeyId,
    }
    return withUpload(toKey, headers ?? kept, signal, async (uploadId, track) => {
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
          crc32: CopyPartResult?.ChecksumCRC32,
        }
      }
      const numbers = Array.from({ length: Math.ceil(source.size / partSize) }, (_, index) => index + 1)
      const parts = await Promise.all(numbers.map(number => track(limit(() => copyPart(number)))))
      return completeUpload(toKey, uploadId, parts, {
        checksums: { crc32: source.checksums.crc32 },
        size: source.size,
        ifNoneMatch,
        signal,
      })
    })
  }

  return { copy, rewriteHeaders }
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

/** An access list as the fields of a request; none where it only says that the owner may do everything. */
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
