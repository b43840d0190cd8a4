import { defineCommand } from '../cli/command.ts'
import { flags } from './flags.ts'

export const nightlyRun = defineCommand({
  name: 'run',
  summary: 'the whole night under one lock: import, upload, verify, reconcile, clean up',
  description:
    'Migrates the database if needed (asks on a terminal; --yes allows it elsewhere), then runs in turn: import, ' +
    'upload-local, fetch if FETCH_COMMAND is set, analyze if --steps names it, verify if there is a CDN (what is new, ' +
    "and the day's share of the rest), reconcile, and cleanup, which removes only with --apply. One lock, one summary, " +
    'and the most serious exit code. A step in which single items fail does not keep the next from running; an ' +
    'error that ends a step does. Kill it at any moment: the next run resumes.',
  examples: [
    ['autodj run --dry-run', 'show everything it would do as one plan, with time and price'],
    ['autodj run', 'do it once'],
    [
      'autodj run --apply --yes -q --max-duration 6h --healthcheck https://hc-ping.com/UUID',
      'from cron, every night: silent if all is well',
    ],
    ['autodj run --steps import,upload-local,analyze,verify', 'other steps, always in their natural order'],
  ],
  flags,

  async run(context, flags) {
    const { runNightly } = await import('./run.ts')
    return runNightly(context, flags)
  },
})
