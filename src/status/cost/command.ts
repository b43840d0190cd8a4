import { defineCommand } from '../../cli/command.ts'
import { flag } from '../../cli/flags.ts'

export const cost = defineCommand({
  name: 'cost',
  summary: 'what the library costs a month, and what the CDN delivered: from CloudWatch or access logs',
  settings: ['database', 'store', 'cdn'],
  description:
    'Storage as it is now, under Intelligent-Tiering and under a lifecycle; requests, bytes, hit ratio and errors of ' +
    'CloudFront, and what they cost through the CDN and straight from S3. Prices are list prices of a day that is told; ' +
    'every assumption is said. Storage is as `autodj status --storage` last counted it, else as the ledger knows it.',
  examples: [
    ['autodj cost', 'traffic from CloudWatch, if CLOUDFRONT_DISTRIBUTION_ID is set'],
    ['autodj cost --logs s3://my-logs/cdn/ --days 7', 'traffic from the access logs of the last week'],
    ['autodj cost --prices eu.json', 'with prices of your own'],
  ],
  flags: {
    logs: flag.text('--logs <url>', 's3://bucket/prefix of standard access logs, instead of CloudWatch'),
    days: flag.integer('--days <n>', 'of traffic, back from now', { min: 1, max: 90 }, 30),
    prices: flag.text('--prices <file>', 'JSON with prices that replace the list prices of us-east-1'),
  },
  async run(context, flags) {
    const { runCost } = await import('./run.ts')
    return runCost(context, flags)
  },
})
