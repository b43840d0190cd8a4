import { defineCommand } from '../cli/command.ts'
import { shared } from '../cli/flags.ts'

export const importCommand = defineCommand({
  name: 'import',
  summary: 'make rows for audio files that have none, relink rows whose file moved',
  selects: 'paths',
  settings: ['database', 'audio'],
  description:
    'Walks the audio folder, or one folder in it. What is audio is told by the bytes, titles and artists come from ' +
    'the tags, else from artist/title.ext. A file whose content has a row gets no second one; a row whose file is ' +
    'gone is given it back, found by content or by artist and title. Files that did not change are not read again.',
  examples: [
    ['autodj import --dry-run', 'what would be made and relinked; writes nothing'],
    ['autodj import ./audio/new', 'only this folder of the audio folder'],
  ],
  args: [{ spec: '[dir]', description: 'the audio folder, or a folder in it (default: AUDIO_STORAGE_PATH)' }],
  flags: {
    dryRun: shared.dryRun,
    concurrency: { ...shared.concurrency, description: 'files read at a time (default: 4)' },
    maxDuration: shared.maxDuration,
  },

  async run(context, flags, [dir]) {
    const { runImport } = await import('./run.ts')
    context.limitDuration(flags.maxDuration)
    return runImport(context, { dir, dryRun: flags.dryRun, concurrency: flags.concurrency })
  },
})
