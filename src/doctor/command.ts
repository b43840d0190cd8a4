import { defineCommand } from '../cli/command.ts'
import { shared } from '../cli/flags.ts'

export const doctor = defineCommand({
  name: 'doctor',
  summary: 'check a set-up against the real thing, from credentials to the CDN',
  description:
    'Goes through everything that a set-up needs, in the order in which it breaks: settings, credentials, clock, ' +
    'region, bucket, a round trip of a probe object, the same object through the CDN, database and schema, disk, ' +
    'decoder. Each check is ok, a warning or a failure, with its cause and what to do. Leaves nothing behind. ' +
    'Exit code 1 when a check failed.',
  examples: [
    ['autodj doctor', 'check the settings in .env'],
    ['autodj doctor --json', 'for a monitoring system'],
  ],
  flags: { timeout: shared.timeout },
  async run(context, flags) {
    const { limitsOf } = await import('./check.ts')
    const { runDoctor } = await import('./run.ts')
    return runDoctor(context, limitsOf(flags.timeout))
  },
})
