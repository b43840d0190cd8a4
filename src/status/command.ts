import { defineCommand } from '../cli/command.ts'
import { flag } from '../cli/flags.ts'

export const status = defineCommand({
  name: 'status',
  summary: 'where the migration stands, what failed, and what to do next',
  settings: ['database', 'store', 'cdn'],
  description:
    'Reads the database and nothing else: tracks by where their audio is, the last run of each command, failures with ' +
    'cause and next step, and which runs are at work now. `reconcile` and `verify` compare that with bucket and CDN.',
  examples: [
    ['autodj status', 'for people'],
    ['autodj status --queues', 'also the background jobs'],
    ['autodj status --json', 'for programs'],
  ],
  flags: {
    queues: flag.boolean('--queues', 'also the queues of `autodj worker`, and the jobs they count for'),
  },

  async run(context, flags) {
    const { runStatus } = await import('./run.ts')
    return runStatus(context, flags)
  },
})
