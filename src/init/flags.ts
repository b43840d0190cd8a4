/** Flags of `autodj init`. */

import type { ValuesOf } from '../cli/flags.ts'
import { shared } from '../cli/flags.ts'

export const flags = {
  yes: shared.yes,
  timeout: shared.timeout,
  force: { ...shared.force, description: 'write .env even if a check failed (exit code 3)' },
}

export type InitFlags = ValuesOf<typeof flags>
