import { defineCommand } from '../cli/command.ts'
import { shared } from '../cli/flags.ts'

export const init = defineCommand({
  name: 'init',
  summary: 'write the settings files, each answer checked against the real thing',
  description:
    'Asks for each setting, tries the answer at once (signs in, opens the bucket, asks the CDN, reads the key) and ' +
    'writes .env, readable by its owner only, at the end. Without a terminal, or with --yes, the flags, the ' +
    'environment and the .env there is are the answers. Other lines of the file stay; in a Git repository it is ' +
    'added to .gitignore.',
  examples: [
    ['autodj init', 'asks'],
    [
      'autodj init --yes --bucket my-music --region eu-central-1',
      'takes what is given; secrets by environment',
    ],
  ],
  flags: {
    yes: shared.yes,
    timeout: shared.timeout,
    force: { ...shared.force, description: 'write .env although a check failed (exit code 3)' },
  },
  async run(context, flags) {
    const { runInit } = await import('./run.ts')
    return runInit(context, flags)
  },
})
