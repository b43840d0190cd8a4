/** Listings, page by page. */
import { compareUtf8 } from '../../core/utf8-order.ts'
import { type Call, invalidArgument, type Reply } from './call.ts'
import type { Entry } from './disk.ts'
import { current } from './versions.ts'
import { element, iso, S3Error, xmlHead, xmlns } from './xml.ts'

const ownerId = '75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a'

export const owner = (name: 'Owner' | 'Initiator'): string =>
  `<${name}><ID>${ownerId}</ID><DisplayName>autodj</DisplayName></${name}>`

/** How keys are written in the answer: as they are, or percent-encoded when the client asked for it. */
export function pageEncoding(call: Call): {
  text: (key: string) => string
  encodingType: string | undefined
} {
  const encodingType = call.query.get('encoding-type')
  if (encodingType === undefined) return { text: key => key, encodingType }
  if (encodingType !== 'url') {
    throw invalidArgument('Invalid Encoding Method specified in Request', 'encoding-type', encodingType)
  }
  return {
    text: key =>
      encodeURIComponent(key)
        .replace(/%2F/g, '/')
        .replace(/%20/g, '+')
        .replace(/[!'()~]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`),
    encodingType,
  }
}

/** The group (common prefix) a key falls into, or undefined. */
function delimited(key: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === '' || !key.startsWith(prefix)) return undefined
  const at = key.indexOf(delimiter, prefix.length)
  return at === -1 ? undefined : key.slice(0, at + delimiter.length)
}

/** What is not asked for anywhere but of the objects themselves. @throws S3Error 501 */
export function refuseDelimiter(call: Call): void {
  if (call.query.get('delimiter'))
    throw new S3Error(501, 'NotImplemented', 'Only objects are listed by a delimiter here.')
}

/** The first of a walk, `max` at the most, and whether there are more. */
export function firstOf<T>(walk: Iterable<T>, max: number): { items: T[]; truncated: boolean } {
  const items: T[] = []
  for (const item of walk) {
    if (items.length >= max) return { items, truncated: max > 0 }
    items.push(item)
  }
  return { items, truncated: false }
}

/** What a listing shows of keys in order: a key, or the group (common prefix) that the following ones fall into. */
function* grouped(
  walk: Iterable<Entry>,
  prefix: string,
  delimiter: string,
  skipGroup: string | undefined,
): Generator<Entry | string> {
  let done = skipGroup
  for (const entry of walk) {
    if (!entry.key.startsWith(prefix)) return
    const group = delimited(entry.key, prefix, delimiter)
    if (group === undefined) yield entry
    else if (group !== done) yield group
    done = group ?? done
  }
}

/** Of the keys of a bucket behind `key`, those with an object to see. */
function* visible(walk: Iterable<Entry>, key: string): Generator<Entry> {
  for (const entry of walk) if (entry.key !== key && current(entry)) yield entry
}

const tokenPrefix = 'autodj1:'

function readToken(token: string): string {
  const text = Buffer.from(token, 'base64').toString('utf8')
  if (!text.startsWith(tokenPrefix)) {
    throw invalidArgument('The continuation token provided is incorrect', 'continuation-token', token)
  }
  return text.slice(tokenPrefix.length)
}

export const laterOf = (a: string, b: string): string => (compareUtf8(a, b) >= 0 ? a : b)

/** ListObjectsV2, and ListObjects for clients that still ask for it. */
export async function listObjects(call: Call): Promise<Reply> {
  const { query, bucket } = call
  const v2 = query.get('list-type') === '2'
  if (query.has('list-type') && !v2) {
    throw invalidArgument('Invalid List Type specified in Request', 'list-type', query.get('list-type') ?? '')
  }
  const { text, encodingType } = pageEncoding(call)
  const prefix = query.get('prefix') ?? ''
  const delimiter = query.get('delimiter') ?? ''
  const max = call.count('max-keys', 1000, 1000)
  const token = v2 ? query.get('continuation-token') : undefined
  if (token === '') {
    throw invalidArgument('The continuation token provided is incorrect', 'continuation-token', token)
  }
  const startAfter = (v2 ? query.get('start-after') : query.get('marker')) ?? ''
  const after = token === undefined ? startAfter : readToken(token)
  // A page that ended with a group goes on behind the whole group.
  const resumed = token !== undefined || !v2
  const skipGroup = resumed && delimited(after, prefix, delimiter) === after ? after : undefined
  const walk = visible(bucket.entries.walk(laterOf(after, prefix)), after)
  const { items, truncated } = firstOf(grouped(walk, prefix, delimiter, skipGroup), max)

  const fetchOwner = !v2 || query.get('fetch-owner') === 'true' ? owner('Owner') : ''
  const groups = items
    .filter(item => typeof item === 'string')
    .map(group => `<CommonPrefixes>${element('Prefix', text(group))}</CommonPrefixes>`)
  const rows = items
    .filter(item => typeof item !== 'string')
    .map(entry => {
      const version = current(entry)!
      const sum = version.checksum
      return `<Contents>${element('Key', text(entry.key))}<LastModified>${iso(version.time)}</LastModified><ETag>&quot;${version.etag}&quot;</ETag>${sum ? `<ChecksumAlgorithm>${sum.algorithm}</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>` : ''}<Size>${version.size}</Size>${fetchOwner}<StorageClass>${version.headers['x-amz-storage-class'] ?? 'STANDARD'}</StorageClass></Contents>`
    })
  const last = items.at(-1) ?? ''
  const lastKey = typeof last === 'string' ? last : last.key
  const paging = v2
    ? element('KeyCount', items.length) +
      element('ContinuationToken', token) +
      element('StartAfter', query.has('start-after') ? text(startAfter) : undefined) +
      (truncated
        ? element('NextContinuationToken', Buffer.from(tokenPrefix + lastKey).toString('base64'))
        : '')
    : element('Marker', text(startAfter)) +
      (truncated && delimiter !== '' ? element('NextMarker', text(lastKey)) : '')
  return {
    status: 200,
    headers: { 'x-amz-bucket-region': bucket.region },
    body: `${xmlHead}<ListBucketResult${xmlns}>${element('Name', bucket.name)}${element('Prefix', text(prefix))}${delimiter ? element('Delimiter', text(delimiter)) : ''}${element('MaxKeys', max)}${element('EncodingType', encodingType)}${element('IsTruncated', truncated)}${paging}${rows.join('')}${groups.join('')}</ListBucketResult>`,
  }
}
