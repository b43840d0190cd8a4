/** Flags of `autodj worker`. */
import { flag, shared, type ValuesOf } from '../cli/flags.ts'

const MiB = 1024 ** 2
const jobs = { max: 1_024 }

export const flags = {
  fetch: { ...flag.integer('--fetch <n>', 'tracks fetched at a time; 0: none', jobs), defaultText: '4' },
  upload: { ...flag.integer('--upload <n>', 'files uploaded at a time; 0: none', jobs), defaultText: '8' },
  analyze: {
    ...flag.integer(
      '--analyze <n>',
      'tracks in analysis at a time, half of them on their way; 0: none',
      jobs,
    ),
    defaultText: '2 a core',
  },
  untilEmpty: flag.boolean('--until-empty', 'end when nothing is queued or in work'),
  maxDuration: shared.maxDuration,
  bwlimit: shared.bwlimit,
  memory: flag.bytes('--memory <size>', 'what uploads may take', { min: 64 * MiB }, 256 * MiB, '256M'),
  rate: flag.integer('--rate <n>', 'downloads that it begins a minute at most', { min: 1, max: 6_000 }),
  tempLimit: flag.bytes('--temp-limit <size>', 'for downloads on disk', { min: MiB }, 2048 * MiB, '2G'),
  lockWait: shared.lockWait,
  force: shared.force,
  maxOutage: flag.duration('--max-outage <time>', 'wait this long for S3 to come back', '1h'),
  drainTimeout: flag.duration(
    '--drain-timeout <time>',
    'to finish what is in hand when it is stopped',
    '10m',
  ),
}

export type WorkerFlags = ValuesOf<typeof flags>
