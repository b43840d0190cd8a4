/**
 * Object keys. The same file always gets the same key, and two files never share one:
 * `{prefix}{artist}/{title}_{first 8 hex of the content's SHA-256}.{ext}`.
 */
import { createHash } from 'node:crypto'
import { toNfc } from './names.ts'

/** S3's limit, bytes of UTF-8. */
export const maxKeyBytes = 1_024

/** No path segment gets longer than this, so that a restored file fits a file system's 255 bytes. */
const maxSegmentBytes = 200

interface KeyParts {
  /** ends in `/` or is empty */
  prefix: string
  artist: string
  title: string
  /** hex SHA-256 of the file's content, 64 digits */
  sha256: string
  /** from the content, without a dot: `mp3` */
  extension: string
}

/**
 * The key of a track. Names are NFC; anything but letters, marks and digits of any script, `-`, `_` and `.` is
 * folded to `_`. Long names are cut and get a hash of the whole name, so that keys which differ only beyond the
 * cut stay distinct.
 */
export function objectKey({ prefix, artist, title, sha256, extension }: KeyParts): string {
  const tail = `_${sha256.slice(0, 8)}.${extension}`
  const budget = maxKeyBytes - byteLength(prefix) - 1 - byteLength(tail)
  const segmentBudget = Math.min(maxSegmentBytes - byteLength(tail), Math.floor(budget / 2))
  return `${prefix}${keySegment(artist, segmentBudget)}/${keySegment(title, segmentBudget)}${tail}`
}

/** A segment up to this length is whole whatever comes after it, bytes of UTF-8. */
const shortSegment = 150

/**
 * What {@link objectKey} makes of artist and title, between prefix and checksum, for each of these extensions: long names
 * are cut so that all fits.
 */
export function namesOfKeys(
  artist: string,
  title: string,
  { prefix, extensions }: { prefix: string; extensions: readonly string[] },
): string[] {
  const segments = [keySegment(artist), keySegment(title)]
  const isShort = [...segments, prefix].every(text => byteLength(text) <= shortSegment)
  if (isShort && extensions.every(extension => extension.length <= 10)) return [segments.join('/')]
  return extensions.map(extension => {
    const key = objectKey({ prefix, artist, title, extension, sha256: '0'.repeat(64) })
    return nameInKey(key, prefix)?.name ?? ''
  })
}

/** The same, read from a key; undefined if {@link objectKey} makes none like it below this prefix. */
export function nameInKey(key: string, prefix: string): { name: string; extension: string } | undefined {
  if (!key.startsWith(prefix)) return undefined
  const [, name, extension] = /^([^/]+\/[^/]+)_[0-9a-f]{8}\.([^./]+)$/s.exec(key.slice(prefix.length)) ?? []
  return name === undefined || extension === undefined ? undefined : { name, extension }
}

/** Whether a key lies deeper below the prefix than any that {@link objectKey} makes there. */
export function isDeeper(key: string, prefix: string): boolean {
  return key.startsWith(prefix) && key.slice(prefix.length).split('/').length > 2
}

/** One name as a key segment of at most `maxBytes` of UTF-8. Never empty, never `.` or `..`. */
export function keySegment(name: string, maxBytes = maxSegmentBytes): string {
  const folded = trimmed(toNfc(name.toWellFormed()).replace(/[^\p{L}\p{M}\p{N}._-]+/gu, '_')).replace(
    /_{2,}/g,
    '_',
  )
  const segment = folded === '' ? 'unknown' : folded
  if (byteLength(segment) <= maxBytes) return segment
  const mark = `-${createHash('sha256').update(toNfc(name)).digest('hex').slice(0, 8)}`
  return cutUtf8(segment, maxBytes - mark.length) + mark
}

/** Without the dots and underscores at both ends. A pattern that ends in `$` looks at a long run from each of its places. */
function trimmed(text: string): string {
  let from = 0
  let to = text.length
  const isEdge = (index: number) => text[index] === '.' || text[index] === '_'
  while (from < to && isEdge(from)) from++
  while (to > from && isEdge(to - 1)) to--
  return text.slice(from, to)
}

/** Cuts at a character boundary. */
function cutUtf8(text: string, maxBytes: number): string {
  let bytes = 0
  let cut = ''
  for (const character of text) {
    bytes += byteLength(character)
    if (bytes > maxBytes) break
    cut += character
  }
  return cut
}

function byteLength(text: string): number {
  return Buffer.byteLength(text, 'utf8')
}

export const cacheControl = 'public, max-age=31536000, immutable'

/**
 * Whether two values of Cache-Control let caches keep an object alike: the application writes ours without `immutable`,
 * and both are right.
 */
export function sameCaching(a: string | undefined, b: string): boolean {
  const directives = (text: string): string =>
    text
      .toLowerCase()
      .split(',')
      .map(one => one.trim())
      .filter(one => one !== '' && one !== 'immutable')
      .sort()
      .join()
  return a !== undefined && directives(a) === directives(b)
}
