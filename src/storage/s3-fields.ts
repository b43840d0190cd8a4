/** What goes over the wire and comes back, as the {@link ObjectStore} has it: ETags, checksums, headers. */
import type { HeadObjectCommandOutput, ObjectCannedACL, StorageClass } from '@aws-sdk/client-s3'
import { type RequestContext, storeErrorOf } from './s3-errors.ts'
import { unquote } from './s3-listing.ts'
import type { Checksums, ObjectHead, ObjectHeaders, StoreError } from './store.ts'

/** The ETag without quotes. Every S3 answer about an object has one; a proxy's "200 OK" has not. */
export function etagOf(etag: string | undefined, where: RequestContext): string {
  const bare = unquote(etag)
  if (bare === '') throw notS3('no ETag', where)
  return bare
}

export function notS3(what: string, where: RequestContext): StoreError {
  const message = `${what} in the answer: something other than S3 is between here and the store`
  return storeErrorOf({ code: 'ServiceUnavailable', message, status: 200 }, where)
}

interface ChecksumFields {
  ChecksumCRC32?: string
  ChecksumCRC64NVME?: string
  ChecksumSHA256?: string
  ChecksumType?: string
}

/** Full-object checksums only: a composite one (`…-3`) says nothing about the bytes as a whole. */
export function checksumsOf(output: ChecksumFields): Checksums {
  const whole = (value: string | undefined) =>
    value === undefined || output.ChecksumType === 'COMPOSITE' || /-\d+$/.test(value) ? undefined : value
  const crc32 = whole(output.ChecksumCRC32)
  const crc64nvme = whole(output.ChecksumCRC64NVME)
  const sha256 = whole(output.ChecksumSHA256)
  return {
    ...(crc32 !== undefined && { crc32 }),
    ...(crc64nvme !== undefined && { crc64nvme }),
    ...(sha256 !== undefined && { sha256 }),
  }
}

/** Throws `bad-digest` if both sides computed a checksum and they differ. */
export function insistOn(ours: Checksums, theirs: Checksums, where: RequestContext): void {
  for (const name of ['crc32', 'crc64nvme', 'sha256'] as const) {
    if (ours[name] !== undefined && theirs[name] !== undefined && ours[name] !== theirs[name]) {
      throw storeErrorOf(
        {
          code: 'BadDigest',
          message: `stored with ${name} ${theirs[name]}, ours is ${ours[name]}`,
          status: 200,
        },
        where,
      )
    }
  }
}

export function checksumHeader(checksums: Checksums): Record<string, string> {
  for (const name of ['crc32', 'crc64nvme', 'sha256'] as const) {
    const value = checksums[name]
    if (value !== undefined) return { [`x-amz-checksum-${name}`]: value }
  }
  return {}
}

export function headOf(
  key: string,
  output: Omit<HeadObjectCommandOutput, 'ContentLength'> & { ContentLength?: number },
  where: RequestContext,
): ObjectHead {
  const etag = etagOf(output.ETag, where)
  return {
    key,
    size: output.ContentLength ?? 0,
    etag,
    versionId: output.VersionId,
    contentType: output.ContentType,
    cacheControl: output.CacheControl,
    contentDisposition: output.ContentDisposition,
    contentEncoding: output.ContentEncoding,
    encryption: encryptionOf(output.ServerSideEncryption),
    serverSideEncryption: output.ServerSideEncryption,
    kmsKeyId: output.SSEKMSKeyId,
    bucketKeyEnabled: output.BucketKeyEnabled,
    contentLanguage: output.ContentLanguage,
    expires: output.ExpiresString,
    websiteRedirect: output.WebsiteRedirectLocation,
    ...archiveOf(output),
    metadata: output.Metadata ?? {},
    checksums: checksumsOf(output),
    lastModified: output.LastModified ?? new Date(0),
    storageClass: output.StorageClass,
  }
}

/** Storage classes whose objects cannot be read as they are. */
const archiveClasses: ReadonlySet<string> = new Set(['GLACIER', 'DEEP_ARCHIVE'])

/**
 * Whether bytes can be read now: those of an archive class, or in an archive tier of Intelligent-Tiering (which only
 * `x-amz-archive-status` tells), cannot, unless a restored copy is there. Of an archive class that is one for a time.
 */
function archiveOf({
  StorageClass,
  ArchiveStatus,
  Restore,
}: Pick<HeadObjectCommandOutput, 'StorageClass' | 'ArchiveStatus' | 'Restore'>): Pick<
  ObjectHead,
  'archive' | 'restoredUntil'
> {
  const isOfArchive = archiveClasses.has(StorageClass ?? '')
  if (!isOfArchive && ArchiveStatus === undefined) return { archive: undefined, restoredUntil: undefined }
  if (Restore === undefined) return { archive: 'archived', restoredUntil: undefined }
  if (Restore.includes('ongoing-request="true"')) return { archive: 'restoring', restoredUntil: undefined }
  const until = Date.parse(/expiry-date="([^"]*)"/.exec(Restore)?.[1] ?? '')
  // The header may outlive the copy; without a time it tells of one in Intelligent-Tiering only.
  if (until < Date.now() || (isOfArchive && Number.isNaN(until)))
    return { archive: 'archived', restoredUntil: undefined }
  return { archive: undefined, restoredUntil: isOfArchive ? new Date(until) : undefined }
}

/** By its storage class alone, which is all that a listing tells. */
export function isArchived(storageClass: string | undefined): boolean {
  return archiveClasses.has(storageClass ?? '')
}

/** The same of an answer's headers as they came; `size` is that of the whole object, also for a range. */
export function wireHead(
  key: string,
  headers: Readonly<Record<string, string>>,
  where: RequestContext,
): ObjectHead {
  const total = /\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1] ?? headers['content-length']
  const modified = Date.parse(headers['last-modified'] ?? '')
  const prefix = 'x-amz-meta-'
  const metadata = Object.entries(headers).flatMap(([name, value]) =>
    name.startsWith(prefix) ? [[name.slice(prefix.length), value] as const] : [],
  )
  const fields = {
    ETag: headers['etag'],
    VersionId: headers['x-amz-version-id'],
    ContentLength: total === undefined ? undefined : Number(total),
    ContentType: headers['content-type'],
    CacheControl: headers['cache-control'],
    ContentDisposition: headers['content-disposition'],
    ContentEncoding: headers['content-encoding'],
    ServerSideEncryption: headers['x-amz-server-side-encryption'],
    SSEKMSKeyId: headers['x-amz-server-side-encryption-aws-kms-key-id'],
    BucketKeyEnabled: headers['x-amz-server-side-encryption-bucket-key-enabled'] === 'true' || undefined,
    ContentLanguage: headers['content-language'],
    ExpiresString: headers['expires'],
    WebsiteRedirectLocation: headers['x-amz-website-redirect-location'],
    StorageClass: headers['x-amz-storage-class'],
    Restore: headers['x-amz-restore'],
    ArchiveStatus: headers['x-amz-archive-status'],
    ChecksumCRC32: headers['x-amz-checksum-crc32'],
    ChecksumCRC64NVME: headers['x-amz-checksum-crc64nvme'],
    ChecksumSHA256: headers['x-amz-checksum-sha256'],
    ChecksumType: headers['x-amz-checksum-type'],
    LastModified: Number.isNaN(modified) ? undefined : new Date(modified),
    Metadata: Object.fromEntries(metadata),
  }
  return headOf(key, fields as Parameters<typeof headOf>[1], where)
}

/** Dual-layer encryption is KMS to whoever reads. */
function encryptionOf(algorithm: string | undefined): ObjectHead['encryption'] {
  if (algorithm?.startsWith('aws:kms')) return 'aws:kms'
  return algorithm === 'AES256' ? 'AES256' : undefined
}

/** The SDK's fields for these headers. */
export function headerFields(headers: ObjectHeaders, where: RequestContext) {
  insistOnAscii(headers, where)
  return {
    ContentType: headers.contentType,
    CacheControl: headers.cacheControl,
    ContentDisposition: headers.contentDisposition,
    Metadata: headers.metadata,
    StorageClass: headers.storageClass as StorageClass | undefined,
    ServerSideEncryption: headers.serverSideEncryption,
    SSEKMSKeyId: headers.kmsKeyId,
    Tagging: headers.tags === undefined ? undefined : taggingOf(headers.tags),
    ACL: headers.acl as ObjectCannedACL | undefined,
  }
}

/** The same headers as they go over the wire. */
export function wireHeaders(headers: ObjectHeaders, where: RequestContext): Record<string, string> {
  insistOnAscii(headers, where)
  const wire: Record<string, string> = { 'content-type': headers.contentType }
  const set = (name: string, value: string | undefined) => {
    if (value !== undefined) wire[name] = value
  }
  set('cache-control', headers.cacheControl)
  set('content-disposition', headers.contentDisposition)
  set('x-amz-storage-class', headers.storageClass)
  set('x-amz-server-side-encryption', headers.serverSideEncryption)
  set('x-amz-server-side-encryption-aws-kms-key-id', headers.kmsKeyId)
  set('x-amz-tagging', headers.tags && taggingOf(headers.tags))
  set('x-amz-acl', headers.acl)
  for (const [name, value] of Object.entries(headers.metadata ?? {})) set(`x-amz-meta-${name}`, value)
  return wire
}

function taggingOf(tags: Readonly<Record<string, string>>): string {
  return new URLSearchParams(tags).toString()
}

/** S3 hands non-ASCII metadata back in another spelling, and a line break would end the header. */
function insistOnAscii(headers: ObjectHeaders, where: RequestContext): void {
  const values = { ...headers.metadata, contentDisposition: headers.contentDisposition ?? '' }
  for (const [name, value] of Object.entries(values)) {
    if (!/^[\x20-\x7e]*$/.test(value)) {
      throw storeErrorOf(
        { code: 'ERR_INVALID_CHAR', message: `header value of ${name} is not printable ASCII` },
        where,
      )
    }
  }
}
