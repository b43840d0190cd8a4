/** Flags of `autodj reconcile`. */

import type { ValuesOf } from '../cli/flags.ts'
import { flag, shared } from '../cli/flags.ts'
import { parseInventoryUrl } from '../core/inventory-url.ts'
import { parseDeleteLimit } from '../core/limits.ts'
import { differenceClasses } from '../core/reconcile/facts.ts'

export const flags = {
  disk: flag.boolean('--disk', 'also compare the audio folder'),
  inventory: flag.custom(
    '--inventory <url>',
    'use an S3 Inventory (CSV or Parquet) instead of a listing: its manifest.json, or the folder of the dated ones',
    'the URL of a manifest (s3://inventories/music/daily/2026-01-31T01-00Z/manifest.json) or of their folder',
    parseInventoryUrl,
  ),
  deep: flag.boolean('--deep', 'download objects and compare their hashes'),
  sample: flag.custom(
    '--sample <n|n%>',
    'with --deep: only about this many of them',
    'a count or a per cent',
    raw => (raw.includes(',') ? undefined : parseDeleteLimit(raw)),
  ),
  head: flag.choice(
    '--head <which>',
    'check the headers of objects the ledger cannot vouch for, of none, or of all',
    ['changed', 'none', 'all'],
    'changed',
  ),
  combined: flag.text(
    '--combined <file>',
    'write every result to this file, including agreements, as rclone check does',
  ),
  plan: flag.text('--plan <file>', 'save the repairs as a plan in this file'),
  planExpires: flag.duration('--plan-expires <time>', 'how long the plan stays valid', '7d'),
  maxDelete: shared.maxDelete,
  minAge: shared.minAge,
  bwlimit: shared.bwlimit,
  concurrency: { ...shared.concurrency, description: 'number of requests at a time (default: 32)' },
  accept: flag.list(
    '--accept <class>',
    'accept this class of difference: list it as a note, not as drift; may be repeated',
    `one of ${Object.keys(differenceClasses).join(', ')}`,
    raw => raw in differenceClasses,
  ),
  localChanges: flag.choice(
    '--local-changes <which>',
    'with --plan, for local files that changed after their upload: upload them as new objects, or keep the object',
    ['upload', 'object'],
  ),
  force: shared.force,
}

export type ReconcileFlags = ValuesOf<typeof flags>
