/** Listings, page by page. */
import { compareUtf8 } from '../../core/utf8-order.ts'
import { type Call, invalidArgument, type Reply } from './call.ts'
import type { Entry } from './disk.ts'
import { current } from './versions.ts'
import { element, iso, xmlHead, xmlns } from './xml.ts'

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
export function delimited(key: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === '' || !key.startsWith(prefix)) return undefined
  const at = key.indexOf(delimiter, prefix.length)
  return at === -1 ? undefined : key.slice(0, at + delimiter.length)
}

interface Page<T> {
  items: T[]
  groups: string[]
  truncated: boolean
  /** what a next page comes after: an item, or a group */
  last: T | string | undefined
}

/** One page of a walk in key order, which begins at the prefix. Items and groups count alike towards `max`. */
export function page<T extends { readonly key: string }>(
  walk: Iterable<T>,
  options: { prefix: string; delimiter: string; max: number; skipGroup?: string | undefined },
): Page<T> {
  const { prefix, delimiter, max } = options
  const items: T[] = []
  const groups: string[] = []
  let last: T | string | undefined
  let done = options.skipGroup
  for (const item of walk) {
    if (!item.key.startsWith(prefix)) break
    const group = delimited(item.key, prefix, delimiter)
    if (group !== undefined && group === done) continue
    if (items.length + groups.length >= max) return { items, groups, truncated: max > 0, last }
    if (group === undefined) items.push(item)
    else groups.push(group)
    last = group ?? item
    done = group ?? done
  }
  return { items, groups, truncated: false, last }
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
  const listed = page(walk, { prefix, delimiter, max, skipGroup })

  const fetchOwner = !v2 || query.get('fetch-owner') === 'true' ? owner('Owner') : ''
  const rows = listed.items.map(entry => {
    const version = current(entry)!
    const sum = version.checksum
    return `<Contents>${element('Key', text(entry.key))}<LastModified>${iso(version.time)}</LastModified><ETag>&quot;${version.etag}&quot;</ETag>${sum ? `<ChecksumAlgorithm>${sum.algorithm}</ChecksumAlgorithm><ChecksumType>${sum.type}</ChecksumType>` : ''}<Size>${version.size}</Size>${fetchOwner}<StorageClass>${version.headers['x-amz-storage-class'] ?? 'STANDARD'}</StorageClass></Contents>`
  })
  const groups = listed.groups.map(g => `<CommonPrefixes>${element('Prefix', text(g))}</CommonPrefixes>`)
  const last = typeof listed.last === 'string' ? listed.last : (listed.last?.key ?? '')
  const paging = v2
    ? element('KeyCount', listed.items.length + listed.groups.length) +
      element('ContinuationToken', token) +
      element('StartAfter', query.has('start-after') ? text(startAfter) : undefined) +
      (listed.truncated
        ? element('NextContinuationToken', Buffer.from(tokenPrefix + last).toString('base64'))
        : '')
    : element('Marker', text(startAfter)) +
      (listed.truncated && delimiter !== '' ? element('NextMarker', text(last)) : '')
  return {
    status: 200,
    headers: { 'x-amz-bucket-region': bucket.region },
    body: `${xmlHead}<ListBucketResult${xmlns}>${element('Name', bucket.name)}${element('Prefix', text(prefix))}${delimiter ? element('Delimiter', text(delimiter)) : ''}${element('MaxKeys', max)}${element('EncodingType', encodingType)}${element('IsTruncated', listed.truncated)}${paging}${rows.join('')}${groups.join('')}</ListBucketResult>`,
  }
}
