import { defineCommand } from '../cli/command.ts'
import { flag, shared } from '../cli/flags.ts'

export const doctor = defineCommand({
  name: 'doctor',
  summary: 'check a setup against the real thing, from credentials to the CDN',
  description:
    'Goes through everything that a setup needs, in the order in which it tends to break: settings, credentials, clock, ' +
    'region, bucket, a round trip of a probe object, the same object through the CDN, database and schema, disk, ' +
    'decoder. Each check is ok, a warning or a failure, with its cause and what to do. Leaves nothing behind. ' +
    'Exit code 1 when a check failed.',
  examples: [
    ['autodj doctor', 'check the settings in .env'],
    ['autodj doctor --json', 'for a monitoring system'],
    [
      'autodj doctor --rotate-check',
      'how to change the access key; with the new one in the environment, whether it works',
    ],
  ],
  flags: {
    timeout: shared.timeout,
    rotateCheck: flag.boolean(
      '--rotate-check',
      'check only the access key, and the one in AUTODJ_NEW_ACCESS_KEY_ID, before the old one is deleted',
    ),
  },
  async run(context, flags) {
    if (flags.rotateCheck) {
      const { runRotateCheck } = await import('./rotate.ts')
      return runRotateCheck(context)
    }
    const { limitsOf } = await import('./check.ts')
    const { runDoctor } = await import('./run.ts')
    return runDoctor(context, limitsOf(flags.timeout))
  },
})
