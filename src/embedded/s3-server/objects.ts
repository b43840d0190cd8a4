/** Operations on whole objects: put, get, head, copy, delete, tags. */
import { createHash, randomBytes } from 'node:crypto'
import {
  type Call,
  checkKey,
  current,
  etagMatches,
  invalidArgument,
  invalidRequest,
  noSuchBucket,
  noSuchKey,
  preconditionFailed,
  type Reply,
  versioned,
} from './call.ts'
import { ALGORITHMS, type Algorithm, checksumHeader, startChecksum } from './checksums.ts'
import { type Bucket, type Checksum, type Disk, type Segment, sliceSegments, type Version } from './disk.ts'
import { children, childText, element, parseDocument, S3Error, XML_HEAD, XMLNS } from './xml.ts'

const STORED_HEADERS = [
  'content-type',
  'cache-control',
  'content-disposition',
  'content-language',
  'expires',
  'x-amz-website-redirect-location',
] as const

const STORAGE_CLASSES = new Set([
  'STANDARD',
  'REDUCED_REDUNDANCY',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER',
  'DEEP_ARCHIVE',
  'GLACIER_IR',
])

const MAX_METADATA = 2 * 1024

export const iso = (time: number): string => new Date(time).toISOString()
const http = (time: number): string => new Date(time).toUTCString()
export const newVersionId = (): string => randomBytes(24).toString('base64url')

/** Headers and metadata an object is stored with, as the request gives them. */
export function storedHeaders(call: Call): Pick<Version, 'headers' | 'meta'> {
  const headers: Record<string, string> = {}
  for (const name of STORED_HEADERS) {
    const value = call.header(name)
    if (value !== undefined) headers[name] = value
  }
  headers['content-type'] ??= 'binary/octet-stream'
  const encoding = (call.header('content-encoding') ?? '')
    .split(',')
    .map(e => e.trim())
    .filter(e => e !== '' && e !== 'aws-chunked')
    .join(',')
  if (encoding !== '') headers['content-encoding'] = encoding
  Object.assign(headers, storageHeaders(call))

  const meta: Record<string, string> = {}
  let size = 0
  for (const name in call.request.headers) {
    if (!name.startsWith('x-amz-meta-')) continue
    const value = call.header(name) ?? ''
    meta[name.slice(11)] = value
    size += name.length - 11 + value.length
  }
  if (size > MAX_METADATA) {
    throw new S3Error(
      400,
      'MetadataTooLarge',
      'Your metadata headers exceed the maximum allowed metadata size',
      { Size: String(size), MaxSizeAllowed: String(MAX_METADATA) },
    )
  }
  return { headers, meta }
}

/** Storage class and encryption: never copied from a source, always the request's own. */
function storageHeaders(call: Call): Record<string, string> {
  const headers: Record<string, string> = {}
  const storageClass = call.header('x-amz-storage-class')
  if (storageClass !== undefined) {
    if (!STORAGE_CLASSES.has(storageClass)) {
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

const invalidTag = (message: string) => new S3Error(400, 'InvalidTag', message)

function checkTags(tags: Record<string, string>): Record<string, string> {
  if (Object.keys(tags).length > 10) {
    throw new S3Error(400, 'BadRequest', 'Object tags cannot be greater than 10')
  }
  for (const [name, value] of Object.entries(tags)) {
    if (name.length === 0 || name.length > 128) throw invalidTag('The TagKey you have provided is invalid')
    if (value.length > 256) throw invalidTag('The TagValue you have provided is invalid')
  }
  return tags
}

/** From the header `x-amz-tagging`, a query string. */
export function tagsFromHeader(call: Call): Record<string, string> | undefined {
  const text = call.header('x-amz-tagging')
  if (text === undefined || text === '') return undefined
  const pairs = [...new URLSearchParams(text)]
  const tags = Object.fromEntries(pairs)
  if (Object.keys(tags).length !== pairs.length) {
    throw new S3Error(
      400,
      'InvalidArgument',
      "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
    )
  }
  return checkTags(tags)
}

/** If-Match and If-None-Match of a write. @throws S3Error 412, 404, 501 */
export function checkWriteConditions(call: Call, bucket: Bucket): void {
  const ifNoneMatch = call.header('if-none-match')
  const ifMatch = call.header('if-match')
  if (ifNoneMatch === undefined && ifMatch === undefined) return
  if (ifNoneMatch !== undefined && (ifNoneMatch.trim() !== '*' || ifMatch !== undefined)) {
    throw new S3Error(
      501,
      'NotImplemented',
      'A header you provided implies functionality that is not implemented',
      { Header: 'If-None-Match' },
    )
  }
  const version = current(bucket.entries.get(call.key))
  if (ifNoneMatch !== undefined && version) throw preconditionFailed('If-None-Match')
  if (ifMatch !== undefined) {
    if (!version) throw noSuchKey(call.key)
    if (!etagMatches(ifMatch, version.etag)) throw preconditionFailed('If-Match')
  }
}

/**
 * Runs a conditional write: conditions before, so that a body is not sent in vain, and again when it is about to
 * count. A delete of the key in between is a conflict (409): try again.
 */
export async function conditionally<T>(
  call: Call,
  prepare: () => Promise<T>,
  commit: (prepared: T) => Reply,
  discard: (prepared: T) => void,
): Promise<Reply> {
  const { bucket, key } = call
  checkWriteConditions(call, bucket)
  const conditional = call.header('if-none-match') !== undefined || call.header('if-match') !== undefined
  const token = { disturbed: false }
  if (conditional) {
    const tokens = bucket.writers.get(key) ?? new Set()
    bucket.writers.set(key, tokens.add(token))
  }
  try {
    const prepared = await prepare()
    try {
      if (token.disturbed) {
        throw new S3Error(
          409,
          'ConditionalRequestConflict',
          'The conditional request cannot succeed due to a conflicting operation against this resource.',
          { Condition: call.header('if-match') === undefined ? 'If-None-Match' : 'If-Match', Key: key },
        )
      }
      checkWriteConditions(call, call.bucket)
      return commit(prepared)
    } catch (error) {
      discard(prepared)
      throw error
    }
  } finally {
    if (conditional) {
      const tokens = bucket.writers.get(key)
      tokens?.delete(token)
      if (tokens?.size === 0) bucket.writers.delete(key)
    }
  }
}

export const checksumHeaders = (checksum: Checksum | undefined): Record<string, string> =>
  checksum
    ? { [checksumHeader(checksum.algorithm)]: checksum.value, 'x-amz-checksum-type': checksum.type }
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

export const versionIdFor = (bucket: Bucket): string =>
  bucket.versioning === 'Enabled' ? newVersionId() : 'null'

export async function putObject(call: Call): Promise<Reply> {
  checkKey(call.key)
  const stored = storedHeaders(call)
  const tags = tagsFromHeader(call)
  const wanted = ALGORITHMS.some(a => call.header(checksumHeader(a)) !== undefined)
  const trailing = call.header('x-amz-trailer') !== undefined
  return conditionally(
    call,
    () => call.storeBody(wanted || trailing ? undefined : call.settings.defaultChecksum),
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
        ...(algorithm && value && { checksum: { algorithm, value, type: 'FULL_OBJECT' as const } }),
        segments: body.segments,
      }
      call.disk.commit({ do: 'put', bucket: bucket.name, key: call.key, version })
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

/** The version asked for. @throws S3Error NoSuchKey, NoSuchVersion, MethodNotAllowed */
function findVersion(bucket: Bucket, key: string, versionId: string | undefined): Version {
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
      { allow: 'DELETE', 'x-amz-delete-marker': 'true', 'last-modified': http(version.time) },
    )
  }
  return version
}

/** RFC 9110, section 13.2.2, with S3's: If-Match beats If-Unmodified-Since, If-None-Match beats If-Modified-Since. */
function checkReadConditions(
  version: Version,
  condition: (name: string) => string | undefined,
): 'ok' | 'not-modified' {
  const ifMatch = condition('if-match')
  const unmodifiedSince = condition('if-unmodified-since')
  if (ifMatch !== undefined) {
    if (!etagMatches(ifMatch, version.etag)) throw preconditionFailed('If-Match')
  } else if (unmodifiedSince !== undefined && version.time > Date.parse(unmodifiedSince)) {
    throw preconditionFailed('If-Unmodified-Since')
  }
  const ifNoneMatch = condition('if-none-match')
  const modifiedSince = condition('if-modified-since')
  if (ifNoneMatch !== undefined) {
    if (etagMatches(ifNoneMatch, version.etag)) return 'not-modified'
  } else if (modifiedSince !== undefined && version.time <= Date.parse(modifiedSince)) {
    return 'not-modified'
  }
  return 'ok'
}

/** A single range of `size` bytes, end exclusive; undefined when there is none S3 would heed. @throws S3Error 416 */
export function parseRange(
  range: string | undefined,
  size: number,
): { start: number; end: number } | undefined {
  const m = /^bytes=(\d*)-(\d*)$/.exec(range?.trim() ?? '')
  if (!m || (m[1] === '' && m[2] === '')) return undefined
  const unsatisfiable = () =>
    new S3Error(
      416,
      'InvalidRange',
      'The requested range is not satisfiable',
      { RangeRequested: range ?? '', ActualObjectSize: String(size) },
      { 'content-range': `bytes */${size}` },
    )
  if (m[1] === '') {
    const suffix = Number(m[2])
    if (suffix === 0 || size === 0) throw unsatisfiable()
    return { start: Math.max(0, size - suffix), end: size }
  }
  const start = Number(m[1])
  const last = m[2] === '' ? size - 1 : Number(m[2])
  if (m[2] !== '' && last < start) return undefined
  if (start >= size) throw unsatisfiable()
  return { start, end: Math.min(last + 1, size) }
}

const OVERRIDES: Record<string, string> = {
  'response-content-type': 'content-type',
  'response-content-language': 'content-language',
  'response-expires': 'expires',
  'response-cache-control': 'cache-control',
  'response-content-disposition': 'content-disposition',
  'response-content-encoding': 'content-encoding',
}

/** GetObject and HeadObject: the server leaves the body out of a HEAD. */
export async function getObject(call: Call): Promise<Reply> {
  const { bucket, key } = call
  const version = findVersion(bucket, key, call.query.get('versionId'))
  const headers: Record<string, string> = {
    'accept-ranges': 'bytes',
    'last-modified': http(version.time),
    etag: `"${version.etag}"`,
    ...version.headers,
  }
  if (versioned(bucket)) headers['x-amz-version-id'] = version.id
  for (const name in version.meta) headers[`x-amz-meta-${name}`] = version.meta[name]!
  const tagCount = version.tags ? Object.keys(version.tags).length : 0
  if (tagCount > 0) headers['x-amz-tagging-count'] = String(tagCount)
  for (const name in OVERRIDES) {
    const value = call.query.get(name)
    if (value !== undefined) headers[OVERRIDES[name]!] = value
  }
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
  let range = parseRange(call.header('range'), version.size)
  const partText = call.query.get('partNumber')
  if (partText !== undefined) {
    if (range) throw invalidRequest('Cannot specify both Range header and partNumber query parameter')
    range = partRange(version, Number(partText))
    if (version.parts) headers['x-amz-mp-parts-count'] = String(version.parts.length)
  }
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

function partRange(version: Version, part: number): { start: number; end: number } | undefined {
  const parts = version.parts ?? [version.size]
  const size = parts[part - 1]
  if (!Number.isInteger(part) || size === undefined) {
    throw new S3Error(416, 'InvalidPartNumber', 'The requested partnumber is not satisfiable', {
      PartNumberRequested: String(part),
      ActualPartCount: String(parts.length),
    })
  }
  if (version.size === 0) return undefined
  const start = parts.slice(0, part - 1).reduce((sum, n) => sum + n, 0)
  return { start, end: start + size }
}

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
      ALGORITHMS.find(a => a === asked) ?? source.checksum?.algorithm ?? call.settings.defaultChecksum
    const same = source.checksum?.type === 'FULL_OBJECT' && source.checksum.algorithm === algorithm
    return await conditionally(
      call,
      async () =>
        same && !source.parts
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
          ...(algorithm &&
            checksum && { checksum: { algorithm, value: checksum, type: 'FULL_OBJECT' as const } }),
          segments: source.segments,
        }
        call.disk.commit({ do: 'put', bucket: bucket.name, key: call.key, version })
        const sum = version.checksum
        return {
          status: 200,
          headers: {
            ...putReplyHeaders(bucket, version),
            ...(source.id !== 'null' && { 'x-amz-copy-source-version-id': source.id }),
          },
          body: `${XML_HEAD}<CopyObjectResult${XMLNS}>${element('LastModified', iso(version.time))}${element('ETag', `"${md5}"`)}${sum ? element(`Checksum${sum.algorithm}`, sum.value) + element('ChecksumType', sum.type) : ''}</CopyObjectResult>`,
        }
      },
      () => {},
    )
  } finally {
    call.disk.release(source.segments)
  }
}

interface Deleted {
  versionId?: string
  deleteMarker?: boolean
  /** of a delete marker that was made */
  markerId?: string
}

/** One delete, of a version or of whatever is current. @throws S3Error on a failed If-Match */
function remove(
  call: Call,
  key: string,
  versionId: string | undefined,
  ifMatch: string | undefined,
): Deleted {
  const { bucket } = call
  const entry = bucket.entries.get(key)
  if (ifMatch !== undefined) {
    const newest = entry?.versions[0]
    if (!newest) throw noSuchKey(key)
    if (newest.deleteMarker || !etagMatches(ifMatch, newest.etag)) throw preconditionFailed('If-Match')
  }
  for (const token of bucket.writers.get(key) ?? []) token.disturbed = true
  const name = bucket.name
  if (versionId !== undefined) {
    const version = entry?.versions.find(v => v.id === versionId)
    if (version) call.disk.commit({ do: 'remove', bucket: name, key, version: versionId })
    return { versionId, ...(version?.deleteMarker && { deleteMarker: true, markerId: versionId }) }
  }
  if (!versioned(bucket)) {
    if (entry) call.disk.commit({ do: 'remove', bucket: name, key, version: 'null' })
    return {}
  }
  const id = versionIdFor(bucket)
  call.disk.commit({
    do: 'put',
    bucket: name,
    key,
    version: {
      id,
      time: call.seconds,
      deleteMarker: true,
      size: 0,
      etag: '',
      headers: {},
      meta: {},
      segments: [],
    },
  })
  return { deleteMarker: true, markerId: id }
}

export async function deleteObject(call: Call): Promise<Reply> {
  const done = remove(call, call.key, call.query.get('versionId'), call.header('if-match'))
  const id = done.versionId ?? done.markerId
  return {
    status: 204,
    headers: {
      ...(id !== undefined && { 'x-amz-version-id': id }),
      ...(done.deleteMarker && { 'x-amz-delete-marker': 'true' }),
    },
  }
}

export async function deleteObjects(call: Call): Promise<Reply> {
  const root = parseDocument(await call.document(true), 'Delete')
  const objects = children(root, 'Object')
  if (objects.length === 0 || objects.length > 1000) {
    throw new S3Error(
      400,
      'MalformedXML',
      'The XML you provided was not well-formed or did not validate against our published schema',
    )
  }
  const quiet = childText(root, 'Quiet') === 'true'
  let out = ''
  for (const object of objects) {
    const key = childText(object, 'Key', false) ?? ''
    const versionId = childText(object, 'VersionId')
    try {
      if (key === '') throw new S3Error(400, 'UserKeyMustBeSpecified', 'A key must be specified.')
      checkKey(key)
      const done = remove(call, key, versionId, childText(object, 'ETag'))
      if (quiet) continue
      out += `<Deleted>${element('Key', key)}${element('VersionId', versionId)}${element('DeleteMarker', done.deleteMarker)}${element('DeleteMarkerVersionId', done.markerId)}</Deleted>`
    } catch (error) {
      if (!(error instanceof S3Error)) throw error
      out += `<Error>${element('Key', key)}${element('VersionId', versionId)}${element('Code', error.code)}${element('Message', error.message)}</Error>`
    }
  }
  return { status: 200, body: `${XML_HEAD}<DeleteResult${XMLNS}>${out}</DeleteResult>` }
}

export async function getObjectTagging(call: Call): Promise<Reply> {
  const version = findVersion(call.bucket, call.key, call.query.get('versionId'))
  return {
    status: 200,
    headers: versioned(call.bucket) ? { 'x-amz-version-id': version.id } : {},
    body: taggingDocument(version.tags ?? {}),
  }
}

export function taggingDocument(tags: Record<string, string>): string {
  const set = Object.entries(tags).map(
    ([name, value]) => `<Tag>${element('Key', name)}${element('Value', value)}</Tag>`,
  )
  return `${XML_HEAD}<Tagging${XMLNS}><TagSet>${set.join('')}</TagSet></Tagging>`
}

export async function putObjectTagging(call: Call): Promise<Reply> {
  const root = parseDocument(await call.document(true), 'Tagging')
  const tags: Record<string, string> = {}
  for (const tag of children(root, 'TagSet').flatMap(set => children(set, 'Tag'))) {
    const name = childText(tag, 'Key', false) ?? ''
    if (name in tags) throw invalidTag('Cannot provide multiple Tags with the same key')
    tags[name] = childText(tag, 'Value', false) ?? ''
  }
  return setTags(call, checkTags(tags), 200)
}

export const deleteObjectTagging = async (call: Call): Promise<Reply> => setTags(call, {}, 204)

function setTags(call: Call, tags: Record<string, string>, status: number): Reply {
  const version = findVersion(call.bucket, call.key, call.query.get('versionId'))
  call.disk.commit({ do: 'tags', bucket: call.bucketName, key: call.key, version: version.id, tags })
  return { status, headers: versioned(call.bucket) ? { 'x-amz-version-id': version.id } : {} }
}
