import { defineCommand } from '../cli/command.ts'
import { flag } from '../cli/flags.ts'

export const status = defineCommand({
  name: 'status',
  summary: 'where the migration stands, what failed, and what to do next',
  settings: ['database', 'store', 'cdn'],
  description:
    'Reads the database and, unless --storage is given, nothing else: tracks by where their audio is, the rate of the last day, the last run of each command, failures with ' +
    'cause and next step, and which runs are at work now. `reconcile` and `verify` compare that with bucket and CDN.',
  examples: [
    ['autodj status', 'for people'],
    ['autodj status --queues', 'also the background jobs'],
    ['autodj status --watch', 'while something runs elsewhere'],
    ['autodj status --check --max-age 26h', 'for Nagios and its kin: one line, exit code 0 or 4'],
    ['autodj status --storage listing', 'also what lies in the bucket, and what it is kept as'],
    ['autodj status --json', 'for programs'],
  ],
  flags: {
    storage: flag.choice(
      '--storage <source>',
      'count what lies in the bucket, by storage class and prefix: by a listing, or as CloudWatch has it; kept for later',
      ['listing', 'cloudwatch'],
    ),
    watch: flag.boolean('--watch', 'again and again, until it is stopped'),
    interval: flag.duration('--interval <time>', 'of --watch', '5s'),
    check: flag.boolean('--check', 'one line for a monitoring system; exit code 4 if a threshold is passed'),
    maxFailed: flag.integer('--max-failed <n>', 'with --check: items that may be failed or skipped', {}, 0),
    maxAge: flag.duration('--max-age <time>', 'with --check: since a run last ended well', '36h'),
    maxDrift: flag.integer(
      '--max-drift <n>',
      'with --check: differences that reconcile may have found',
      {},
      0,
    ),
    queues: flag.boolean('--queues', 'also the queues of `autodj worker`, and the jobs they count for'),
  },

  async run(context, flags) {
    const { runStatus } = await import('./run.ts')
    return runStatus(context, flags)
  },
})
