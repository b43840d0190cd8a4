/** Flags of `autodj worker`. */
import { flag, shared, type ValuesOf } from '../cli/flags.ts'

const MiB = 1024 ** 2
const jobs = { max: 1_024 }

export const flags = {
  fetch: {
    ...flag.integer('--fetch <n>', 'number of tracks to fetch at a time; 0 for none', jobs),
    defaultText: '4',
  },
  upload: {
    ...flag.integer('--upload <n>', 'number of files to upload at a time; 0 for none', jobs),
    defaultText: '8',
  },
  analyze: {
    ...flag.integer(
      '--analyze <n>',
      'number of tracks in analysis at a time, half of them still downloading; 0 for none',
      jobs,
    ),
    defaultText: '2 per core',
  },
  untilEmpty: flag.boolean('--until-empty', 'end when nothing is queued or in progress'),
  maxDuration: shared.maxDuration,
  bwlimit: shared.bwlimit,
  memory: flag.bytes('--memory <size>', 'memory that uploads may use', { min: 64 * MiB }, '256M'),
  rate: flag.integer('--rate <n>', 'start at most this many downloads a minute', { min: 1, max: 6_000 }),
  tempLimit: flag.bytes('--temp-limit <size>', 'disk space for downloads', { min: MiB }, '2G'),
  lockWait: shared.lockWait,
  force: shared.force,
  maxOutage: flag.duration('--max-outage <time>', 'wait up to this long for S3 to come back', '1h'),
  drainTimeout: flag.duration(
    '--drain-timeout <time>',
    'how long to finish work in progress when it is stopped',
    '10m',
  ),
}

export type WorkerFlags = ValuesOf<typeof flags>
