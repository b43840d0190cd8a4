/** Versions of an object: which one is meant, and what a new one is called. */
import { randomBytes } from 'node:crypto'
import { noSuchKey } from './call.ts'
import type { Bucket, Entry, Version } from './disk.ts'
import { S3Error } from './xml.ts'

/** True when the bucket ever had versioning: only then are version ids spoken of. */
export const versioned = (bucket: Bucket): boolean => bucket.versioning !== undefined

/** The current version, or undefined if there is none or a delete marker. */
export function current(entry: Entry | undefined): Version | undefined {
  const newest = entry?.versions[0]
  return newest?.deleteMarker ? undefined : newest
}

/** The version asked for. @throws S3Error NoSuchKey, NoSuchVersion, MethodNotAllowed */
export function findVersion(bucket: Bucket, key: string, versionId: string | undefined): Version {
  const entry = bucket.entries.get(key)
  if (versionId === undefined) {
    const version = entry?.versions[0]
    if (!version) throw noSuchKey(key)
    if (version.deleteMarker) {
      throw noSuchKey(key, { 'x-amz-delete-marker': 'true', 'x-amz-version-id': version.id })
    }
    return version
  }
  const version = entry?.versions.find(v => v.id === versionId)
  if (!version) {
    throw new S3Error(404, 'NoSuchVersion', 'The specified version does not exist.', {
      Key: key,
      VersionId: versionId,
    })
  }
  if (version.deleteMarker) {
    throw new S3Error(
      405,
      'MethodNotAllowed',
      'The specified method is not allowed against this resource.',
      { Method: 'GET', ResourceType: 'DeleteMarker' },
      {
        allow: 'DELETE',
        'x-amz-delete-marker': 'true',
        'last-modified': new Date(version.time).toUTCString(),
      },
    )
  }
  return version
}

/** The id of a version about to be stored. */
export const versionIdFor = (bucket: Bucket): string =>
  bucket.versioning === 'Enabled' ? randomBytes(24).toString('base64url') : 'null'
