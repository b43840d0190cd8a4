import { defineCommand } from '../cli/command.ts'
import { flags } from './flags.ts'

export const reconcile = defineCommand({
  name: 'reconcile',
  summary: 'compare database, bucket and disk, and offer a repair for every difference',
  selects: 'tracks',
  settings: ['database', 'store', 'audio'],
  description:
    'Changes nothing. One line for each difference: `+` the object is missing, `-` no row names it, `*` row and ' +
    'object differ, `!` it could not be read, `=` they agree (with --verbose). Exit code 4 if there is drift. ' +
    'With --plan the repairs are saved; `autodj apply` carries them out, and `autodj undo` undoes them.',
  examples: [
    ['autodj reconcile', 'rows against the bucket'],
    ['autodj reconcile --disk --plan repair.plan', 'local files as well; save the repairs'],
    ['autodj reconcile --deep --sample 1%', 'also download and hash 1% of the objects'],
    [
      'autodj reconcile --inventory s3://inventories/music/daily/2026-01-31T01-00Z/manifest.json',
      'without listing',
    ],
  ],
  flags,

  async run(context, flags) {
    const { runReconcile } = await import('./run.ts')
    return runReconcile(context, flags)
  },
})
