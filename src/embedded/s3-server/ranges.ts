/** Which bytes of an object are asked for: a range, or a part of a multipart upload. */
import type { Version } from './disk.ts'
import { S3Error } from './xml.ts'

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
