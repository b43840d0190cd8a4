/** Flags of `autodj run`. */

import type { ValuesOf } from '../cli/flags.ts'
import { flag, shared } from '../cli/flags.ts'
import { stepNames } from './steps.ts'

export const flags = {
  dryRun: shared.dryRun,
  yes: { ...shared.yes, description: 'migrate the database without asking' },
  apply: { ...shared.apply, description: 'let cleanup remove what is proved (without it: a dry run)' },
  steps: {
    ...flag.custom(
      '--steps <list>',
      'run only these steps, separated by commas',
      `some of ${stepNames.join(', ')}`,
      parseSteps,
    ),
    defaultText: 'all that are configured, without analyze',
  },
  disk: flag.boolean('--disk', 'reconcile the audio folder as well'),
  rolling: {
    ...shared.rolling,
    description: 'spread verify so that everything is proved within this period',
  },
  maxDuration: shared.maxDuration,
  bwlimit: shared.bwlimit,
}

export type NightlyFlags = ValuesOf<typeof flags>

function parseSteps(raw: string): ReadonlySet<string> | undefined {
  const names = raw.split(',').map(name => name.trim())
  return names.every(name => (stepNames as readonly string[]).includes(name)) ? new Set(names) : undefined
}
