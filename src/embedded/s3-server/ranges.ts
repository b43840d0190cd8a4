/** Which bytes of an object are asked for: a range, or a part of a multipart upload. */
import { parseRange } from '../../core/http-range.ts'
import type { Version } from './disk.ts'
import { S3Error } from './xml.ts'

/** A single range of `size` bytes, end exclusive; undefined when there is none S3 would heed. @throws S3Error 416 */
export function readRange(
  range: string | undefined,
  size: number,
): { start: number; end: number } | undefined {
  const text = range?.trim() ?? ''
  // S3 heeds no other spelling.
  if (!/^bytes=\d*-\d*$/.test(text)) return undefined
  const asked = parseRange(text, size)
  if (asked.kind === 'whole') return undefined
  if (asked.kind === 'part') return { start: asked.start, end: asked.end + 1 }
  throw new S3Error(
    416,
    'InvalidRange',
    'The requested range is not satisfiable',
    { RangeRequested: range ?? '', ActualObjectSize: String(size) },
    { 'content-range': `bytes */${size}` },
  )
}

/** The bytes of a part, by its number; undefined for an object without any. @throws S3Error 416 */
export function partRange(version: Version, part: number): { start: number; end: number } | undefined {
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
