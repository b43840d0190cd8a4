import { defineCommand } from '../cli/command.ts'
import { flags } from './flags.ts'

export const report = defineCommand({
  name: 'report',
  summary: 'one self-contained HTML page: progress, failures, latency, library, storage and cost',
  settings: ['database', 'store'],
  description:
    'Reads only the database, and writes a page that needs no network: light and dark, on a phone, on paper ' +
    'and with a screen reader. Every chart has its figures as a table below it. It shows what the bucket holds once ' +
    '`autodj status --storage` or `autodj reconcile` has counted it.',
  examples: [
    ['autodj report', 'write autodj-report.html'],
    ['autodj report --output /srv/www/autodj.html', 'from cron: replaced in one step'],
    ['autodj report --output - | gzip > report.html.gz', 'to stdout'],
  ],
  flags,
  async run(context, flags) {
    const { runReport } = await import('./run.ts')
    return runReport(context, flags)
  },
})
