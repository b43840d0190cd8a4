/** Flags of `autodj cleanup`. */

import type { ValuesOf } from '../cli/flags.ts'
import { flag, shared } from '../cli/flags.ts'

export const flags = {
  apply: shared.apply,
  olderThan: flag.duration('--older-than <time>', 'delete local copies unused for this long', '30d'),
  uploadsOlderThan: flag.duration(
    '--uploads-older-than <time>',
    'abort unfinished multipart uploads older than this',
    '24h',
  ),
  quarantineFor: flag.duration(
    '--quarantine-for <time>',
    'keep removed objects in quarantine this long',
    '30d',
  ),
  recordsFor: flag.duration('--records-for <time>', 'keep run records this long', '90d'),
  limit: shared.limit,
  maxDuration: shared.maxDuration,
  lockWait: shared.lockWait,
  force: shared.force,
}

export type CleanupFlags = ValuesOf<typeof flags>
