/** Flags of `autodj bucket …`. */

import type { ValuesOf } from '../cli/flags.ts'
import { flag } from '../cli/flags.ts'

export const wishes = {
  origin: {
    ...flag.origins(
      '--origin <origin>',
      'allow pages of this origin to read the audio (CORS); may be repeated',
    ),
  },
  versioning: flag.boolean('--versioning', 'keep old versions of objects'),
  tiering: flag.choice('--tiering <class>', 'move audio to this storage class', [
    'INTELLIGENT_TIERING',
    'STANDARD_IA',
  ]),
  tieringDays: flag.integer(
    '--tiering-days <n>',
    'days before it is moved (default: 0, and 30 for STANDARD_IA)',
    {
      min: 0,
      max: 3_650,
    },
  ),
  quarantineDays: flag.integer(
    '--quarantine-days <n>',
    'let the bucket itself delete what reconcile moved aside after this many days, whether a row needs it or not; without it only `cleanup` does, after a look at the rows',
    { min: 1, max: 3_650 },
  ),
  logBucket: flag.text('--log-bucket <name>', 'write access logs to this bucket'),
}

export type BucketFlags = ValuesOf<typeof wishes>
