import { defineCommand } from '../cli/command.ts'
import { flags } from './flags.ts'

export const restore = defineCommand({
  name: 'restore',
  summary: 'the way back: objects to local files, rows switched to LOCAL',
  selects: 'tracks',
  settings: ['database', 'store', 'audio'],
  description:
    'Downloads each object next to its final place, compares the checksum, renames it, and then switches the row. Nothing is ' +
    'overwritten. Interrupt it, kill it, run it again: it resumes. The objects stay in the bucket, unless --plan saves ' +
    'their removal for `autodj apply`.',
  examples: [
    ['autodj restore --dry-run', 'show how many tracks and bytes'],
    ['autodj restore', 'everything back to AUDIO_STORAGE_PATH'],
    [
      'autodj restore --to /mnt/disk --plan remove.plan',
      'to another disk, and plan the removal of the objects',
    ],
  ],
  flags,
  async run(context, flags) {
    const { runRestore } = await import('./run.ts')
    return runRestore(context, flags)
  },
})
