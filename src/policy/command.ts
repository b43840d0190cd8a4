import { defineCommand } from '../cli/command.ts'
import { flag } from '../cli/flags.ts'
import { ExitCode } from '../errors.ts'

export const policy = defineCommand({
  name: 'policy',
  summary: 'print the least-privilege IAM policy for one or more commands',
  settings: ['store', 'cdn'],
  description:
    'Prints the JSON for IAM: every action that the command calls, on the bucket, keys and distribution configured, ' +
    'and nothing more.',
  examples: [
    ['autodj policy upload-local', 'for the machine that uploads'],
    ['autodj policy run', 'for the machine that runs it every night'],
    ['autodj policy upload-local verify cleanup', 'for a machine that does these three'],
    ['autodj policy bucket apply --kms-key arn:aws:kms:…', 'a two-word command; objects encrypted with KMS'],
  ],
  args: [{ spec: '<command...>', description: 'the commands that the policy is for, without autodj' }],
  flags: {
    kmsKey: flag.text('--kms-key <arn>', 'KMS key that the objects are encrypted with'),
    tags: flag.boolean('--tags', 'upload-local will be run with --tag'),
    acl: flag.boolean('--acl', 'upload-local will be run with --acl'),
    inventory: flag.text('--inventory <url>', 'reconcile will be run with --inventory: s3://…/manifest.json'),
    partition: flag.choice('--partition <name>', 'AWS partition', ['aws', 'aws-cn', 'aws-us-gov'], 'aws'),
  },
  async run(context, { kmsKey, tags, acl, inventory, partition }, words) {
    const { requireBucket } = await import('../config.ts')
    const { commandsNamed, iamPolicy } = await import('../core/policy/iam-policy.ts')
    const { config, report } = context
    const names = commandsNamed(words)
    const command = names.join(', ')
    const made = iamPolicy(names, {
      bucket: requireBucket(config),
      keyPrefix: config.s3.keyPrefix,
      distributionId: config.distributionId,
      kmsKey,
      tags,
      acl,
      inventory,
      partition,
    })
    // IAM takes no policy without a statement: what needs none prints none.
    const text = made.policy.Statement.length === 0 ? '' : JSON.stringify(made.policy, undefined, 2)
    if (text !== '' || report.json)
      report.data(text, {
        message_type: 'item',
        subject: command,
        state: 'policy',
        policy: made.policy,
        note: made.note,
      })
    if (made.note !== undefined) report.note(`${command}: ${made.note}`)
    if (report.json) {
      const { Statement } = made.policy
      report.summary({ lines: [], fields: { commands: names, statements: Statement.length } })
    }
    return ExitCode.ok
  },
})
