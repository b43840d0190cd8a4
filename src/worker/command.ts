import { defineCommand } from '../cli/command.ts'
import { flags } from './flags.ts'

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
  flags,

  async run(context, values) {
    const { runWorker } = await import('./run.ts')
    return runWorker(context, values)
  },
})
