import { defineCommand } from '../cli/command.ts'
import { flags } from './flags.ts'

export const status = defineCommand({
  name: 'status',
  summary: 'where the migration stands, what failed, and what to do next',
  settings: ['database', 'store', 'cdn'],
  description:
    'Reads the database and, unless --storage is given, nothing else: tracks by where their audio is, the rate of the last day, the last run of each command, failures with ' +
    'cause and next step, and which runs are at work now. `reconcile` and `verify` compare that with bucket and CDN.',
  examples: [
    ['autodj status', 'for reading'],
    ['autodj status --queues', 'also the background jobs'],
    ['autodj status --watch', 'while something runs elsewhere'],
    ['autodj status --check --max-age 26h', 'for Nagios and the like: one line, exit code 0 or 4'],
    ['autodj status --storage listing', 'also count the bucket, by storage class'],
    [
      'autodj status --storage s3://inventories/music/daily/',
      'the same from the newest S3 Inventory, without a listing',
    ],
    ['autodj status --json', 'for programs'],
  ],
  flags,

  async run(context, flags) {
    const { runStatus } = await import('./run.ts')
    return runStatus(context, flags)
  },
})
