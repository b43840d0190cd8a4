import { defineCommand } from '../cli/command.ts'
import { flag, shared } from '../cli/flags.ts'
import { parseDuration } from '../core/units.ts'
import { stepNames } from './steps.ts'

const dayMs = 86_400_000

export const nightlyRun = defineCommand({
  name: 'run',
  summary: 'the whole night under one lock: import, upload, verify, reconcile, clean up',
  description:
    'Migrates the database if needed (asks on a terminal; --yes allows it elsewhere), then runs in turn: import, ' +
    'upload-local, fetch if FETCH_COMMAND is set, analyze if --steps names it, verify if there is a CDN (what is new, ' +
    "and the day's share of the rest), reconcile, and cleanup, which removes only with --apply. One lock, one summary, " +
    'and the exit code that matters most. A step in which single items fail does not keep the next from running; an ' +
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
  flags: {
    dryRun: shared.dryRun,
    yes: { ...shared.yes, description: 'migrate the database without asking' },
    apply: { ...shared.apply, description: 'let cleanup remove what is proved (without it: a dry run)' },
    steps: {
      ...flag.custom(
        '--steps <list>',
        'run only these steps, separated by commas',
        `some of ${stepNames.join(', ')}`,
        parseSteps,
      ),
      defaultText: 'all that are configured, without analyze',
    },
    disk: flag.boolean('--disk', 'reconcile the audio folder as well'),
    rolling: flag.custom(
      '--rolling <period>',
      'spread verify so that everything is proved within this period',
      'a period of at least a day (30d)',
      raw => {
        const period = parseDuration(raw)
        return period !== undefined && period >= dayMs ? period : undefined
      },
    ),
    maxDuration: shared.maxDuration,
    bwlimit: shared.bwlimit,
  },

  async run(context, flags) {
    const { runNightly } = await import('./run.ts')
    return runNightly(context, flags)
  },
})

function parseSteps(raw: string): ReadonlySet<string> | undefined {
  const names = raw.split(',').map(name => name.trim())
  return names.every(name => (stepNames as readonly string[]).includes(name)) ? new Set(names) : undefined
}
