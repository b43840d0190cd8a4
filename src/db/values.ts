/** What a value must be like to fit its column. */
import { createHash } from 'node:crypto'

/** B-tree entries end at 2,704 bytes; a longer text is cut and made unique by its hash. */
export const indexableBytes = 2_600

/** A text as it fits an index. */
export function indexable(text: string): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= indexableBytes) return text
  const hash = createHash('sha256').update(bytes).digest('hex')
  return `${bytes.subarray(0, indexableBytes - 70).toString('utf8')}…${hash}`
}

/** PostgreSQL's text knows no NUL, and an error message may quote anything. */
export const storable = (text: string): string => text.replaceAll('\0', '\\0')

/** Those texts that a column may hold at all: of any other, which only a bucket can bring, no row says anything. */
export const holdable = (texts: readonly string[]): readonly string[] =>
  texts.filter(text => !text.includes('\0'))

/** A 63-bit integer for a bigint column; null if it does not fit, as inode numbers of some file systems. */
export const int8 = (value: bigint | null): string | null =>
  value === null || value >= 2n ** 63n || value < -(2n ** 63n) ? null : value.toString()

/**
 * A time in nanoseconds since 1970 for a bigint column that is not null. File systems know times that do not fit (after
 * 2262, before 1677): such a file is remembered with the nearest, which is not its own, and so is never trusted.
 */
export const int8Time = (ns: bigint): string => int8(ns) ?? String(ns < 0n ? -(2n ** 63n) : 2n ** 63n - 1n)
