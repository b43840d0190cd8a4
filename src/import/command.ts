import { defineCommand } from '../cli/command.ts'
import { flag, shared } from '../cli/flags.ts'

export const importCommand = defineCommand({
  name: 'import',
  summary: 'create rows for audio files that have none, and relink rows whose file moved',
  selects: 'paths',
  settings: ['database', 'audio'],
  description:
    'Walks the audio folder, or one folder in it. Audio is recognised by its bytes; titles and artists come from ' +
    'the tags, or else from artist/title.ext. A file whose content already has a row gets no second one; a row whose file is ' +
    'gone is relinked to it, found by content or by artist and title. Files that have not changed are not read again. ' +
    'Left out: partial downloads, recycle bins, folders of NAS systems, files that are still growing, and whatever ' +
    '.autodjignore in the audio folder says (gitignore syntax; !PATTERN includes again).',
  examples: [
    ['autodj import --dry-run', 'show what would be created and relinked'],
    ['autodj import ./audio/new', 'only this folder inside the audio folder'],
    ['autodj import --retag --dry-run', 'show names that an earlier version read wrongly, old and new'],
  ],
  args: [{ spec: '[dir]', description: 'the audio folder, or a folder in it (default: AUDIO_STORAGE_PATH)' }],
  flags: {
    dryRun: shared.dryRun,
    concurrency: { ...shared.concurrency, description: 'number of files read at a time (default: 4)' },
    minAge: flag.duration('--min-age <time>', 'leave alone files that changed within this time'),
    retag: flag.boolean(
      '--retag',
      'instead: read tags again and correct titles and artists that an earlier version of import wrote; keys do not change',
    ),
    maxDuration: shared.maxDuration,
    lockWait: shared.lockWait,
    force: shared.force,
  },

  async run(context, flags, [dir]) {
    const { runImport, runRetag } = await import('./run.ts')
    context.limitDuration(flags.maxDuration)
    const { retag, dryRun, concurrency, minAge, lockWait, force } = flags
    if (retag) return runRetag(context, { dryRun, lockWait, force })
    return runImport(context, { dir, dryRun, concurrency, minAge, lockWait, force })
  },
})
