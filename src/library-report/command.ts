import { defineCommand } from '../cli/command.ts'
import { flag } from '../cli/flags.ts'

export const report = defineCommand({
  name: 'report',
  summary: 'one self-contained HTML page: progress, failures, latency, library, storage and cost',
  settings: ['database', 'store'],
  description:
    'Reads only the database, and writes a page that needs no network: light and dark, on a phone, on paper ' +
    'and with a screen reader. Every chart has its figures as a table below it. What lies in the bucket is there once ' +
    '`autodj status --storage` or `autodj reconcile` has counted it.',
  examples: [
    ['autodj report', 'write autodj-report.html'],
    ['autodj report --output /srv/www/autodj.html', 'from cron: replaced in one step'],
    ['autodj report --output - | mail -a "Content-Type: text/html" me', 'to stdout'],
  ],
  flags: {
    output: flag.text('--output <file>', 'where to write it; - is stdout', 'autodj-report.html'),
    days: flag.integer('--days <n>', 'how far back the charts go', { min: 1, max: 3_660 }, 90),
    prices: flag.text('--prices <file>', 'JSON file with prices that replace the list prices of us-east-1'),
  },
  async run(context, flags) {
    const { runReport } = await import('./run.ts')
    return runReport(context, flags)
  },
})
