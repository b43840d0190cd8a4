/** Flags of `autodj status`. */

import type { ValuesOf } from '../cli/flags.ts'
import { flag } from '../cli/flags.ts'
import { type InventoryPlace, parseInventoryUrl } from '../core/inventory-url.ts'

export const flags = {
  storage: flag.custom(
    '--storage <source>',
    'also count the bucket by storage class and prefix, and keep the counts for later: from a listing, from cloudwatch, or from an S3 Inventory (s3://…/manifest.json, or the folder of the dated ones)',
    'listing, cloudwatch, or the URL of an S3 Inventory (s3://inventories/music/daily/)',
    parseStorageSource,
  ),
  watch: flag.boolean('--watch', 'repeat until stopped'),
  interval: flag.duration('--interval <time>', 'how often --watch repeats', '5s'),
  check: flag.boolean(
    '--check',
    'print one line for a monitoring system; exit code 4 if a threshold is exceeded',
  ),
  maxFailed: flag.integer(
    '--max-failed <n>',
    'with --check: how many items may have failed or been skipped',
    {},
    0,
  ),
  maxAge: flag.duration(
    '--max-age <time>',
    'with --check: longest time since the last successful run',
    '36h',
  ),
  maxDrift: flag.integer(
    '--max-drift <n>',
    'with --check: how many differences reconcile may have found',
    {},
    0,
  ),
  queues: flag.boolean('--queues', 'also show the queues of `autodj worker`, and the jobs they belong to'),
}

export type StatusFlags = ValuesOf<typeof flags>

function parseStorageSource(raw: string): 'listing' | 'cloudwatch' | InventoryPlace | undefined {
  return raw === 'listing' || raw === 'cloudwatch' ? raw : parseInventoryUrl(raw)
}
