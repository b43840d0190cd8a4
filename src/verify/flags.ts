/** Flags of `autodj verify`. */

import type { ValuesOf } from '../cli/flags.ts'
import { flag, shared } from '../cli/flags.ts'
import { parseDuration } from '../core/units.ts'

export const flags = {
  sample: flag.integer('--sample <n>', 'verify this many tracks, chosen at random', { min: 1 }),
  since: flag.custom(
    '--since <when>',
    'only tracks uploaded or changed since then',
    'a duration (24h, 7d) or a date (2026-01-31)',
    parseSince,
  ),
  unproved: flag.boolean('--unproved', 'only tracks not yet seen through the CDN since they were uploaded'),
  rolling: shared.rolling,
  retryFailed: shared.retryFailed,
  origin: flag.custom(
    '--origin <origin>',
    'check CORS for a page of this origin',
    'an origin (https://autodj.example)',
    raw => (URL.parse(raw)?.origin === raw ? raw : undefined),
  ),
  bytes: flag.bytes('--bytes <size>', 'also compare this many bytes, at a random offset, with S3', {
    min: 1,
    max: 64 * 1024 ** 2,
  }),
  full: flag.boolean('--full', 'also compare the checksum of the whole object'),
  direct: flag.boolean(
    '--direct',
    'also check that the bucket does not serve the object directly, bypassing the CDN',
  ),
  concurrency: {
    ...shared.concurrency,
    description: 'number of requests at a time (default: 32)',
  },
  limit: shared.limit,
  maxDuration: shared.maxDuration,
  bwlimit: shared.bwlimit,
}

export type VerifyFlags = ValuesOf<typeof flags>

/** A duration back from now, or a date. */
function parseSince(raw: string): Date | { ago: number } | undefined {
  const ago = parseDuration(raw)
  if (ago !== undefined) return { ago }
  const date = new Date(raw)
  return /^\d{4}-\d{2}-\d{2}/.test(raw) && !Number.isNaN(date.getTime()) ? date : undefined
}
