/** What an object is stored with beside its bytes: headers, metadata, storage class, encryption. */
import { type Call, invalidArgument, invalidRequest } from './call.ts'
import type { Version } from './disk.ts'
import { S3Error } from './xml.ts'

const storedHeaderNames = [
  'content-type',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
  'x-amz-website-redirect-location',
] as const

const storageClasses = new Set([
  'STANDARD',
  'REDUCED_REDUNDANCY',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER',
  'DEEP_ARCHIVE',
  'GLACIER_IR',
])

const maxMetadata = 2 * 1024

/** Headers and metadata an object is stored with, as the request gives them. */
export function storedHeaders(call: Call): Pick<Version, 'headers' | 'meta'> {
  const headers: Record<string, string> = {}
  for (const name of storedHeaderNames) {
    const value = call.header(name)
    if (value !== undefined) headers[name] = value
  }
  headers['content-type'] ??= 'binary/octet-stream'
  Object.assign(headers, storageHeaders(call))

  const meta: Record<string, string> = {}
  let size = 0
  for (const name in call.request.headers) {
    if (!name.startsWith('x-amz-meta-')) continue
    const value = call.header(name) ?? ''
    meta[name.slice(11)] = value
    size += name.length - 11 + value.length
  }
  if (size > maxMetadata) {
    throw new S3Error(
      400,
      'MetadataTooLarge',
      'Your metadata headers exceed the maximum allowed metadata size',
      { Size: String(size), MaxSizeAllowed: String(maxMetadata) },
    )
  }
  return { headers, meta }
}

/** Storage class and encryption: never copied from a source, always the request's own. */
export function storageHeaders(call: Call): Record<string, string> {
  const headers: Record<string, string> = {}
  const storageClass = call.header('x-amz-storage-class')
  if (storageClass !== undefined) {
    if (!storageClasses.has(storageClass)) {
      throw new S3Error(400, 'InvalidStorageClass', 'The storage class you specified is not valid')
    }
    if (storageClass !== 'STANDARD') headers['x-amz-storage-class'] = storageClass
  }
  if (call.header('x-amz-server-side-encryption-customer-algorithm') !== undefined) {
    throw new S3Error(501, 'NotImplemented', 'SSE-C is not implemented here.')
  }
  const encryption = call.header('x-amz-server-side-encryption') ?? 'AES256'
  if (!['AES256', 'aws:kms', 'aws:kms:dsse'].includes(encryption)) {
    throw invalidArgument(
      'The encryption method specified is not supported',
      'x-amz-server-side-encryption',
      encryption,
    )
  }
  headers['x-amz-server-side-encryption'] = encryption
  const kmsKey = call.header('x-amz-server-side-encryption-aws-kms-key-id')
  if (kmsKey !== undefined) {
    if (encryption === 'AES256') {
      throw invalidArgument(
        'Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms',
        'x-amz-server-side-encryption',
        encryption,
      )
    }
    headers['x-amz-server-side-encryption-aws-kms-key-id'] = kmsKey
  }
  const acl = call.header('x-amz-acl')
  if (acl !== undefined && acl !== 'private' && acl !== 'bucket-owner-full-control') {
    throw new S3Error(400, 'AccessControlListNotSupported', 'The bucket does not allow ACLs')
  }
  for (const name in call.request.headers) {
    if (name.startsWith('x-amz-object-lock-')) {
      throw invalidRequest('Bucket is missing Object Lock Configuration')
    }
    if (name.startsWith('x-amz-grant-')) {
      throw new S3Error(400, 'AccessControlListNotSupported', 'The bucket does not allow ACLs')
    }
  }
  return headers
}
