/** Which bytes of an object are asked for. */
import { parseRange } from '../../core/http-range.ts'
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
