import { defineCommand } from '../../cli/command.ts'
import { flag } from '../../cli/flags.ts'

export const cost = defineCommand({
  name: 'cost',
  summary: 'what the library costs a month, and what the CDN delivered (from CloudWatch or access logs)',
  settings: ['database', 'store', 'cdn'],
  description:
    'Storage as it is now, under Intelligent-Tiering and under a lifecycle; requests, bytes, hit ratio and errors of ' +
    'CloudFront, and what they cost through the CDN and straight from S3. Prices are list prices of the day shown; ' +
    'every assumption is stated. Storage is as last counted by `autodj status --storage`, or else as recorded in the ledger.',
  examples: [
    ['autodj cost', 'traffic from CloudWatch, if CLOUDFRONT_DISTRIBUTION_ID is set'],
    ['autodj cost --logs s3://my-logs/cdn/ --days 7', 'traffic from the access logs of the last week'],
    ['autodj cost --prices eu.json', 'with prices of your own'],
  ],
  flags: {
    logs: flag.text('--logs <url>', 'read standard access logs at s3://bucket/prefix instead of CloudWatch'),
    days: flag.integer('--days <n>', 'how many days of traffic to count', { min: 1, max: 90 }, 30),
    prices: flag.text('--prices <file>', 'JSON file with prices that replace the list prices of us-east-1'),
  },
  async run(context, flags) {
    const { runCost } = await import('./run.ts')
    return runCost(context, flags)
  },
})
