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
    ['autodj status', 'for people'],
    ['autodj status --queues', 'also the background jobs'],
    ['autodj status --watch', 'while something runs elsewhere'],
    ['autodj status --check --max-age 26h', 'for Nagios and its kin: one line, exit code 0 or 4'],
    ['autodj status --storage listing', 'also what is in the bucket, and in which storage class'],
    [
      'autodj status --storage s3://inventories/music/daily/',
      'the same from the newest S3 Inventory, without listing',
    ],
    ['autodj status --json', 'for programs'],
  ],
  flags: {
    storage: flag.custom(
      '--storage <source>',
      'count what is in the bucket, by storage class and prefix, and keep the counts for later: by a listing, from cloudwatch, or from an S3 Inventory (s3://…/manifest.json, or the folder of the dated ones)',
      'listing, cloudwatch, or the URL of an S3 Inventory (s3://inventories/music/daily/)',
      parseStorageSource,
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

function parseStorageSource(raw: string): 'listing' | 'cloudwatch' | InventoryPlace | undefined {
  return raw === 'listing' || raw === 'cloudwatch' ? raw : parseInventoryUrl(raw)
}
