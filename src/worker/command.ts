import { defineCommand } from '../cli/command.ts'
import { flag, shared } from '../cli/flags.ts'
import { parseBandwidth } from '../core/bandwidth.ts'

const MiB = 1024 ** 2
const jobs = { max: 1_024 }

export const worker = defineCommand({
  name: 'worker',
  summary: 'do what --enqueue has queued: fetch, upload, analyze',
  description:
    'Takes jobs from the queue in the database until it is stopped. Any number of workers on any number of machines ' +
    'share the work; one that is killed loses nothing, its jobs are back within 90 seconds. What fails is tried again ' +
    'for some twenty minutes, then given up: it is in the dead letter queue and in the ledger. SIGTERM lets what is in ' +
    'hand finish, the exit code is then 0; a second signal stops at once. On the embedded database one process works ' +
    'at a time: --until-empty ends it when the queue is done.',
  examples: [
    ['autodj analyze --enqueue && autodj worker', 'one machine'],
    [
      'autodj worker --fetch 0 --upload 0 --analyze 8',
      'a machine without the audio folder, for analysis alone',
    ],
    ['autodj worker --until-empty --max-duration 6h', 'from cron'],
  ],
  flags: {
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
    bwlimit: {
      ...flag.custom(
        '--bwlimit <rate>',
        'of uploads; bytes a second, or a timetable: 10M, "08:00,512K 19:00,off"',
        'a rate (10M) or a timetable (08:00,512K 19:00,off)',
        parseBandwidth,
      ),
    },
    memory: flag.bytes('--memory <size>', 'what uploads may take', { min: 64 * MiB }, 256 * MiB, '256M'),
    rate: flag.integer('--rate <n>', 'downloads that it begins a minute at most', { min: 1, max: 6_000 }),
    tempLimit: flag.bytes('--temp-limit <size>', 'for downloads on disk', { min: MiB }, 2048 * MiB, '2G'),
    maxOutage: flag.duration('--max-outage <time>', 'wait this long for S3 to come back', '1h'),
    drainTimeout: flag.duration(
      '--drain-timeout <time>',
      'to finish what is in hand when it is stopped',
      '10m',
    ),
  },

  async run(context, flags) {
    const { runWorker } = await import('./run.ts')
    return runWorker(context, flags)
  },
})
