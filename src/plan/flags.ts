/** Flags of `autodj apply` and `autodj undo`. */

import type { ValuesOf } from '../cli/flags.ts'
import { shared } from '../cli/flags.ts'

export const flags = {
  dryRun: shared.dryRun,
  concurrency: {
    ...shared.concurrency,
    description: 'number of items at a time (default: adapts, up to 64)',
  },
  maxDuration: shared.maxDuration,
  lockWait: shared.lockWait,
}

export type ExecuteFlags = ValuesOf<typeof flags>
