/** Copies inside the server: they share the source's bytes on disk. */
import { createHash } from 'node:crypto'
import { type Call, checkKey, invalidArgument, invalidRequest, noSuchBucket, type Reply } from './call.ts'
import { type Algorithm, algorithms, startChecksum } from './checksums.ts'
import { checkReadConditions, conditionally, preconditionFailed } from './conditions.ts'
import type { Disk, Segment, Version } from './disk.ts'
import { putReplyHeaders } from './objects.ts'
import { storageHeaders, storedHeaders } from './stored-headers.ts'
import { tagsFromHeader } from './tagging.ts'
import { current, findVersion, versionIdFor } from './versions.ts'
import { element, iso, xmlHead, xmlns } from './xml.ts'

/** The object a copy reads from, with the source's conditions checked. The caller must release its segments. */
export function copySource(call: Call): Version {
  const header = call.header('x-amz-copy-source') ?? ''
  const [pathText = '', query = ''] = header.split('?', 2)
  let path: string
  try {
    path = decodeURIComponent(pathText.replace(/\+/g, ' ')).replace(/^\//, '')
  } catch {
    throw invalidArgument('Copy Source must be URL encoded.', 'x-amz-copy-source', header)
  }
  const slash = path.indexOf('/')
  if (slash <= 0 || slash === path.length - 1) {
    throw invalidArgument(
      'Copy Source must mention the source bucket and key: sourcebucket/sourcekey',
      'x-amz-copy-source',
      header,
    )
  }
  const bucket = call.disk.buckets.get(path.slice(0, slash))
  if (!bucket) throw noSuchBucket(path.slice(0, slash))
  const versionId = /^versionId=(.+)$/.exec(query)?.[1]
  const version = findVersion(bucket, path.slice(slash + 1), versionId)
  const conditions = checkReadConditions(version, name => call.header(`x-amz-copy-source-${name}`))
  if (conditions === 'not-modified') throw preconditionFailed('x-amz-copy-source-If-None-Match')
  call.disk.hold(version.segments)
  return version
}

/** MD5 and a checksum of bytes on disk. */
export async function digestSegments(
  disk: Disk,
  segments: readonly Segment[],
  algorithm: Algorithm | undefined,
): Promise<{ md5: string; checksum: string | undefined }> {
  const md5 = createHash('md5')
  const running = algorithm && startChecksum(algorithm)
  for await (const piece of disk.read(segments)) {
    md5.update(piece)
    running?.update(piece)
  }
  return { md5: md5.digest('hex'), checksum: running?.digest() }
}

export async function copyObject(call: Call): Promise<Reply> {
  checkKey(call.key)
  const source = copySource(call)
  try {
    const directive = call.header('x-amz-metadata-directive') ?? 'COPY'
    if (directive !== 'COPY' && directive !== 'REPLACE') {
      throw invalidArgument('Unknown metadata directive.', 'x-amz-metadata-directive', directive)
    }
    const own = storageHeaders(call)
    const sourceIsTarget =
      current(call.bucket.entries.get(call.key)) === source && call.bucket.versioning !== 'Enabled'
    const changes =
      directive === 'REPLACE' ||
      own['x-amz-storage-class'] !== source.headers['x-amz-storage-class'] ||
      call.header('x-amz-server-side-encryption') !== undefined
    if (sourceIsTarget && !changes) {
      throw invalidRequest(
        "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
      )
    }
    if (source.size > 5 * 1024 ** 3) {
      throw invalidRequest(
        'The specified copy source is larger than the maximum allowable size for a copy source: 5368709120',
      )
    }
    const kept = () => {
      const headers: Record<string, string> = {}
      for (const name in source.headers) {
        if (!name.startsWith('x-amz-')) headers[name] = source.headers[name]!
      }
      return { headers: { ...headers, ...own }, meta: source.meta }
    }
    const stored = directive === 'REPLACE' ? storedHeaders(call) : kept()
    const tags = call.header('x-amz-tagging-directive') === 'REPLACE' ? tagsFromHeader(call) : source.tags
    const asked = call.header('x-amz-checksum-algorithm')?.toUpperCase()
    const algorithm =
      algorithms.find(a => a === asked) ?? source.checksum?.algorithm ?? call.settings.defaultChecksum
    const same = source.checksum?.algorithm === algorithm
    return await conditionally(
      call,
      async () =>
        same && !source.etag.includes('-')
          ? { md5: source.etag, checksum: source.checksum?.value }
          : await digestSegments(call.disk, source.segments, algorithm),
      ({ md5, checksum }) => {
        const { bucket } = call
        const version: Version = {
          id: versionIdFor(bucket),
          time: call.seconds,
          size: source.size,
          etag: md5,
          ...stored,
          ...(tags && { tags }),
          ...(algorithm && checksum && { checksum: { algorithm, value: checksum } }),
          segments: source.segments,
        }
        call.disk.put(bucket, call.key, version)
        const sum = version.checksum
        return {
          status: 200,
          headers: {
            ...putReplyHeaders(bucket, version),
            ...(source.id !== 'null' && { 'x-amz-copy-source-version-id': source.id }),
          },
          body: `${xmlHead}<CopyObjectResult${xmlns}>${element('LastModified', iso(version.time))}${element('ETag', `"${md5}"`)}${sum ? element(`Checksum${sum.algorithm}`, sum.value) + element('ChecksumType', 'FULL_OBJECT') : ''}</CopyObjectResult>`,
        }
      },
      () => {},
    )
  } finally {
    call.disk.release(source.segments)
  }
}
