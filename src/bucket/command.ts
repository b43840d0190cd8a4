import { defineCommand } from '../cli/command.ts'
import { flag, shared } from '../cli/flags.ts'
import { wishes } from './flags.ts'

export const bucketCheck = defineCommand({
  name: 'bucket check',
  summary: 'check the settings of bucket and distribution against good practice',
  settings: ['database', 'store', 'cdn'],
  description:
    'Public access, ownership, encryption, versioning, CORS, lifecycle and logging of the bucket; origin access ' +
    'control, bucket policy, HTTPS, TLS version, cache policy, compression and logging of the distribution; age of ' +
    'the access key. Reads only. Exit code 4 when something fails.',
  examples: [['autodj bucket check --origin https://autodj.example', 'check CORS for that page as well']],
  flags: wishes,
  async run(context, flags) {
    const { runBucketCheck } = await import('./run.ts')
    return runBucketCheck(context, flags)
  },
})

export const bucketPlan = defineCommand({
  name: 'bucket plan',
  summary: 'show the changes that would bring those settings in line with good practice',
  settings: ['database', 'store', 'cdn'],
  description:
    'Prints each setting before and after, the reason for the change and what it costs. Rules that are not ours are kept.',
  examples: [
    ['autodj bucket plan --output plan.json', 'review it, then `autodj bucket apply plan.json`'],
    ['autodj bucket plan --tiering INTELLIGENT_TIERING', 'with what it costs for this library'],
  ],
  flags: { ...wishes, output: flag.text('--output <file>', 'save the plan') },
  async run(context, flags) {
    const { runBucketPlan } = await import('./run.ts')
    return runBucketPlan(context, flags, flags.output)
  },
})

export const bucketApply = defineCommand({
  name: 'bucket apply',
  summary: 'make the changes of a plan; an undo file can take them back',
  settings: ['database', 'store', 'cdn'],
  description:
    'Changes what the plan names and nothing else, and only if every setting is still as it was when the plan was made. ' +
    'Before the first change it writes a plan that undoes everything.',
  examples: [
    ['autodj bucket apply plan.json --undo-file undo.json', 'a plan that was reviewed'],
    ['autodj bucket apply undo.json', 'undo it'],
    ['autodj bucket apply --yes --origin https://autodj.example', 'without a review'],
  ],
  args: [{ spec: '[plan]', description: 'a file written by `autodj bucket plan --output`, or an undo file' }],
  flags: {
    ...wishes,
    yes: shared.yes,
    undoFile: flag.text('--undo-file <file>', 'where to write the plan that undoes it'),
    skip: flag.list(
      '--skip <setting>',
      'leave this setting as it is; may be repeated',
      'the name of a setting, as `autodj bucket plan` prints it',
      raw => /^[a-z-]+$/.test(raw),
    ),
  },
  async run(context, flags, [plan]) {
    const { runBucketApply } = await import('./run.ts')
    return runBucketApply(context, flags, {
      plan,
      yes: flags.yes,
      undoFile: flags.undoFile,
      skip: flags.skip,
    })
  },
})
