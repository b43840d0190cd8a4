import { defineCommand } from '../cli/command.ts'
import { flags } from './flags.ts'

export const init = defineCommand({
  name: 'init',
  summary: 'write the settings files, checking each answer against the real thing',
  description:
    'Asks for each setting, tries each answer at once (signs in, opens the bucket, asks the CDN, reads the key) and ' +
    'writes .env, readable by its owner only, at the end. Without a terminal, or with --yes, the flags, the ' +
    'environment and the existing .env provide the answers. Other lines of the file are kept; in a Git repository it is ' +
    'added to .gitignore.',
  examples: [
    ['autodj init', 'asks'],
    [
      'autodj init --yes --bucket my-music --region eu-central-1',
      'use what is given; secrets come from the environment',
    ],
  ],
  flags,
  async run(context, flags) {
    const { runInit } = await import('./run.ts')
    return runInit(context, flags)
  },
})
