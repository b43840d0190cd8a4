import { defineCommand } from '../cli/command.ts'
import { flag } from '../cli/flags.ts'
import { type InventoryPlace, parseInventoryUrl } from '../core/inventory-url.ts'

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
  flags: {
    storage: flag.custom(
      '--storage <source>',
      'also count the bucket by storage class and prefix, and keep the counts for later: from a listing, from cloudwatch, or from an S3 Inventory (s3://…/manifest.json, or the folder of the dated ones)',
      'listing, cloudwatch, or the URL of an S3 Inventory (s3://inventories/music/daily/)',
      parseStorageSource,
    ),
    watch: flag.boolean('--watch', 'repeat until stopped'),
    interval: flag.duration('--interval <time>', 'how often --watch repeats', '5s'),
    check: flag.boolean(
      '--check',
      'print one line for a monitoring system; exit code 4 if a threshold is exceeded',
    ),
    maxFailed: flag.integer(
      '--max-failed <n>',
      'with --check: how many items may have failed or been skipped',
      {},
      0,
    ),
    maxAge: flag.duration(
      '--max-age <time>',
      'with --check: longest time since the last successful run',
      '36h',
    ),
    maxDrift: flag.integer(
      '--max-drift <n>',
      'with --check: how many differences reconcile may have found',
      {},
      0,
    ),
    queues: flag.boolean('--queues', 'also show the queues of `autodj worker`, and the jobs they belong to'),
  },

  async run(context, flags) {
    const { runStatus } = await import('./run.ts')
    return runStatus(context, flags)
  },
})

function parseStorageSource(raw: string): 'listing' | 'cloudwatch' | InventoryPlace | undefined {
  return raw === 'listing' || raw === 'cloudwatch' ? raw : parseInventoryUrl(raw)
}
