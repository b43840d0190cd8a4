import { defineCommand } from '../cli/command.ts'
import { shared } from '../cli/flags.ts'
import { flags } from './flags.ts'

const args = [{ spec: '<plan>', description: 'a file written by --plan' }]

export const apply = defineCommand({
  name: 'apply',
  summary: 'carry out a saved plan, after checking every row and object again',
  settings: ['database', 'store', 'audio'],
  description:
    'Items that have changed since the plan was made are skipped and reported. Objects are removed only as they were judged (ETag), ' +
    'and go to quarantine first. If it is killed, the same command resumes where it was: a journal ' +
    'next to the plan records what has been done.',
  examples: [
    ['autodj apply repair.plan --dry-run', 'show what it would do, line by line'],
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
  summary: 'undo what `autodj apply` did with a plan',
  settings: ['database', 'store', 'audio'],
  description:
    'Objects come back from quarantine, headers and rows become what they were. Whatever has changed since is left alone ' +
    'and reported. It can be killed and started again, and it works after the plan has expired, for as long as the ' +
    'quarantine is kept.',
  examples: [['autodj undo repair.plan', 'as if it had never been applied']],
  args,
  flags,
  async run(context, values, [plan = '']) {
    const { runUndo } = await import('./run.ts')
    return runUndo(context, plan, values)
  },
})
