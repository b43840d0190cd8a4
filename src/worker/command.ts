import { defineCommand } from '../cli/command.ts'
import { flags } from './flags.ts'

export const worker = defineCommand({
  name: 'worker',
  summary: 'do the jobs queued with --enqueue: fetch, upload, analyze',
  description:
    'Takes jobs from the queue in the database until it is stopped. Any number of workers on any number of machines ' +
    'share the work; if one is killed nothing is lost, and its jobs are back within 90 seconds. What fails is retried ' +
    'for about twenty minutes, then given up and recorded in the dead letter queue and the ledger. SIGTERM lets work in ' +
    'progress finish, and the exit code is 0; a second signal stops at once. On the embedded database one process works ' +
    'at a time: --until-empty ends it when the queue is done.',
  examples: [
    ['autodj analyze --enqueue && autodj worker', 'one machine'],
    [
      'autodj worker --fetch 0 --upload 0 --analyze 8',
      'a machine without the audio folder, for analysis only',
    ],
    ['autodj worker --until-empty --max-duration 6h', 'from cron'],
  ],
  flags,

  async run(context, values) {
    const { runWorker } = await import('./run.ts')
    return runWorker(context, values)
  },
})
