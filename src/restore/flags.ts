/** Flags of `autodj restore`. */

import type { ValuesOf } from '../cli/flags.ts'
import { flag, shared } from '../cli/flags.ts'

export const flags = {
  to: flag.text('--to <dir>', 'restore into this folder (default: AUDIO_STORAGE_PATH)'),
  limit: shared.limit,
  keepObjects: flag.boolean('--keep-objects', 'keep the objects in the bucket (the default)'),
  plan: flag.text('--plan <file>', 'save the removal of the objects as a plan in this file'),
  concurrency: {
    ...shared.concurrency,
    description: 'number of downloads at a time (default: adapts, up to 256)',
  },
  retryFailed: shared.retryFailed,
  force: shared.force,
  dryRun: shared.dryRun,
  maxDuration: shared.maxDuration,
  lockWait: shared.lockWait,
  bwlimit: shared.bwlimit,
}

export type RestoreFlags = ValuesOf<typeof flags>
