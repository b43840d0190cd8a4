/** Which parts of a file are fetched through the CDN to prove that it serves that file. */

/** Inclusive, bytes. */
interface ByteRange {
  readonly start: number
  readonly end: number
}

const rangeBytes = 64 * 1024
const drawnBetween = 2

/**
 * The first and the last bytes, where a copy that was cut short or begun wrongly differs, and some drawn between: one
 * from each half of the rest, so that no large part of it is never looked at. A small file is one range, whole.
 *
 * @param size bytes, at least 1
 * @param draw a whole number from 0 up to and not including its argument, all equally likely
 * @returns ranges in order that do not overlap
 */
export function proofRanges(size: number, draw: (below: number) => number): readonly ByteRange[] {
  if (size <= rangeBytes * (drawnBetween + 2)) return [{ start: 0, end: size - 1 }]
  const ranges = [{ start: 0, end: rangeBytes - 1 }]
  const rest = size - 2 * rangeBytes
  for (let part = 0; part < drawnBetween; part++) {
    const from = rangeBytes + Math.floor((rest * part) / drawnBetween)
    const to = rangeBytes + Math.floor((rest * (part + 1)) / drawnBetween)
    const start = from + draw(to - from - rangeBytes + 1)
    ranges.push({ start, end: start + rangeBytes - 1 })
  }
  ranges.push({ start: size - rangeBytes, end: size - 1 })
  return ranges
}
