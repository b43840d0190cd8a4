/** Objects, in and out: put, get and head. */
import { type Call, checkKey, type Reply } from './call.ts'
import { algorithms, checksumHeader } from './checksums.ts'
import { checkReadConditions, conditionally } from './conditions.ts'
import { type Bucket, type Checksum, sliceSegments, type Version } from './disk.ts'
import { readRange } from './ranges.ts'
import { storedHeaders } from './stored-headers.ts'
import { tagsFromHeader } from './tagging.ts'
import { findVersion, versioned, versionIdFor } from './versions.ts'
import { S3Error } from './xml.ts'

const checksumHeaders = (checksum: Checksum | undefined): Record<string, string> =>
  checksum
    ? { [checksumHeader(checksum.algorithm)]: checksum.value, 'x-amz-checksum-type': 'FULL_OBJECT' }
    : {}

function sseHeaders(version: Pick<Version, 'headers'>): Record<string, string> {
  const out: Record<string, string> = {}
  for (const name in version.headers) {
    if (name.startsWith('x-amz-server-side-encryption')) out[name] = version.headers[name]!
  }
  return out
}

export function putReplyHeaders(bucket: Bucket, version: Version): Record<string, string> {
  return {
    ...sseHeaders(version),
    ...(versioned(bucket) && { 'x-amz-version-id': version.id }),
  }
}

export async function putObject(call: Call): Promise<Reply> {
  checkKey(call.key)
  const stored = storedHeaders(call)
  const tags = tagsFromHeader(call)
  const wanted = algorithms.some(a => call.header(checksumHeader(a)) !== undefined)
  return conditionally(
    call,
    () => call.storeBody(wanted ? undefined : call.settings.defaultChecksum),
    body => {
      const { bucket } = call
      const algorithm = body.sent ?? call.settings.defaultChecksum
      const value = algorithm && body.checksums[algorithm]
      const version: Version = {
        id: versionIdFor(bucket),
        time: call.seconds,
        size: body.size,
        etag: body.md5,
        ...stored,
        ...(tags && { tags }),
        ...(algorithm && value && { checksum: { algorithm, value } }),
        segments: body.segments,
      }
      call.disk.put(bucket, call.key, version)
      return {
        status: 200,
        headers: {
          etag: `"${version.etag}"`,
          ...putReplyHeaders(bucket, version),
          ...checksumHeaders(version.checksum),
        },
      }
    },
    body => call.disk.drop(body.segments),
  )
}

const archiveClasses = ['GLACIER', 'DEEP_ARCHIVE']

/** GetObject and HeadObject: the server leaves the body out of a HEAD. */
export async function getObject(call: Call): Promise<Reply> {
  const { bucket, key } = call
  const version = findVersion(bucket, key, call.query.get('versionId'))
  const headers: Record<string, string> = {
    'accept-ranges': 'bytes',
    'last-modified': new Date(version.time).toUTCString(),
    etag: `"${version.etag}"`,
    ...version.headers,
  }
  if (versioned(bucket)) headers['x-amz-version-id'] = version.id
  for (const name in version.meta) headers[`x-amz-meta-${name}`] = version.meta[name]!
  const tagCount = version.tags ? Object.keys(version.tags).length : 0
  if (tagCount > 0) headers['x-amz-tagging-count'] = String(tagCount)
  if (checkReadConditions(version, name => call.header(name)) === 'not-modified') {
    const { etag, 'last-modified': modified, 'cache-control': cache, expires } = headers
    return {
      status: 304,
      headers: {
        etag: etag!,
        'last-modified': modified!,
        ...(cache && { 'cache-control': cache }),
        ...(expires && { expires }),
      },
    }
  }
  if (
    call.request.method === 'GET' &&
    archiveClasses.includes(version.headers['x-amz-storage-class'] ?? '')
  ) {
    throw new S3Error(403, 'InvalidObjectState', "The operation is not valid for the object's storage class")
  }
  const range = readRange(call.header('range'), version.size)
  const { start, end } = range ?? { start: 0, end: version.size }
  if (range) headers['content-range'] = `bytes ${start}-${end - 1}/${version.size}`
  if (call.header('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED' && !range) {
    Object.assign(headers, checksumHeaders(version.checksum))
  }
  headers['content-length'] = String(end - start)
  const segments = range ? sliceSegments(version.segments, start, end) : version.segments
  call.disk.hold(segments)
  return { status: range ? 206 : 200, headers, content: { segments, size: end - start } }
}
