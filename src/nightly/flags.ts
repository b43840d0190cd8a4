/** Flags of `autodj run`. */

import type { ValuesOf } from '../cli/flags.ts'
import { flag, shared } from '../cli/flags.ts'
import { parseDuration } from '../core/units.ts'
import { stepNames } from './steps.ts'

const dayMs = 86_400_000

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
  rolling: flag.custom(
    '--rolling <period>',
    'spread verify so that everything is proved within this period',
    'a period of at least a day (30d)',
    raw => {
      const period = parseDuration(raw)
      return period !== undefined && period >= dayMs ? period : undefined
    },
  ),
  maxDuration: shared.maxDuration,
  bwlimit: shared.bwlimit,
}

export type NightlyFlags = ValuesOf<typeof flags>

function parseSteps(raw: string): ReadonlySet<string> | undefined {
  const names = raw.split(',').map(name => name.trim())
  return names.every(name => (stepNames as readonly string[]).includes(name)) ? new Set(names) : undefined
}
