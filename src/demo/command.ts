import { defineCommand } from '../cli/command.ts'
import { flag } from '../cli/flags.ts'

export const demo = defineCommand({
  name: 'demo',
  summary: 'the whole journey on embedded parts: no account, no server, nothing left behind',
  settings: [],
  description:
    'Starts a database, an S3 server and a CDN stand-in inside this process, moves real audio through them with the ' +
    'same commands you would use, and compares every byte at the end. Without a folder it uses bundled audio; with ' +
    'one it uses yours, which is only read.',
  args: [{ spec: '[dir]', description: 'a folder with your own audio' }],
  flags: {
    keep: flag.boolean('--keep', 'keep the folder with database, bucket and .env'),
  },
  examples: [
    ['autodj demo', 'the bundled library'],
    ['autodj demo ~/Music/Sets --keep', 'your own files, keeping the result for a look'],
  ],
  async run(context, { keep }, [dir]) {
    const { runDemo } = await import('./run.ts')
    return runDemo(context, { dir, keep })
  },
})
