import { defineCommand } from '../cli/command.ts'
import { flag, shared } from '../cli/flags.ts'

export const importCommand = defineCommand({
  name: 'import',
  summary: 'make rows for audio files that have none, relink rows whose file moved',
  selects: 'paths',
  settings: ['database', 'audio'],
  description:
    'Walks the audio folder, or one folder in it. What is audio is told by the bytes, titles and artists come from ' +
    'the tags, else from artist/title.ext. A file whose content has a row gets no second one; a row whose file is ' +
    'gone is given it back, found by content or by artist and title. Files that did not change are not read again. ' +
    'Partial downloads, waste bins and folders of NAS systems are left out, and what .autodjignore in the audio folder ' +
    'says (gitignore syntax; !PATTERN takes back), and files that are still growing.',
  examples: [
    ['autodj import --dry-run', 'what would be made and relinked; writes nothing'],
    ['autodj import ./audio/new', 'only this folder of the audio folder'],
    ['autodj import --retag --dry-run', 'names that an earlier version read wrongly, old and new'],
  ],
  args: [{ spec: '[dir]', description: 'the audio folder, or a folder in it (default: AUDIO_STORAGE_PATH)' }],
  flags: {
    dryRun: shared.dryRun,
    concurrency: { ...shared.concurrency, description: 'files read at a time (default: 4)' },
    minAge: flag.duration('--min-age <time>', 'leave alone files that changed within this time'),
    retag: flag.boolean(
      '--retag',
      'instead: read the tags of rows that import made anew, and correct title and artist where an earlier version wrote them; no key changes',
    ),
    maxDuration: shared.maxDuration,
  },

  async run(context, flags, [dir]) {
    const { runImport, runRetag } = await import('./run.ts')
    context.limitDuration(flags.maxDuration)
    if (flags.retag) return runRetag(context, { dryRun: flags.dryRun })
    const { dryRun, concurrency, minAge } = flags
    return runImport(context, { dir, dryRun, concurrency, minAge })
  },
})
