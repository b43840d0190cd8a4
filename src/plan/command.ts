import { defineCommand } from '../cli/command.ts'
import { shared } from '../cli/flags.ts'

const args = [{ spec: '<plan>', description: 'file that --plan wrote' }]
const flags = {
  dryRun: shared.dryRun,
  concurrency: { ...shared.concurrency, description: 'items at a time (default: 16)' },
  maxDuration: shared.maxDuration,
}

export const apply = defineCommand({
  name: 'apply',
  summary: 'do what a saved plan says, after another look at every row and object',
  settings: ['database', 'store', 'audio'],
  description:
    'Whatever is not as the plan saw it is skipped, and said. Objects are removed only as they were judged (ETag), ' +
    'and go to quarantine first. Killed in the middle, the same command goes on where it was: the journal beside ' +
    'the plan knows.',
  examples: [
    ['autodj apply repair.plan --dry-run', 'what it would do, line by line'],
    ['autodj apply repair.plan', 'do it'],
  ],
  args,
  flags: { ...flags, maxDelete: shared.maxDelete, force: shared.force },
  async run(context, values, [plan = '']) {
    const { runApply } = await import('./run.ts')
    return runApply(context, plan, values)
  },
})

export const undo = defineCommand({
  name: 'undo',
  summary: 'take back what `autodj apply` did of a plan',
  settings: ['database', 'store', 'audio'],
  description:
    'Objects come back from quarantine, headers and rows become what they were. What has changed since is left alone, ' +
    'and said. It can be killed and started again, and it works after the plan has expired, for as long as the ' +
    'quarantine is kept.',
  examples: [['autodj undo repair.plan', 'as if it had never been applied']],
  args,
  flags,
  async run(context, values, [plan = '']) {
    const { runUndo } = await import('./run.ts')
    return runUndo(context, plan, values)
  },
})
