import { defineCommand } from '../../cli/command.ts'
import { flags } from './flags.ts'

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
  flags,
  async run(context, flags) {
    const { runCost } = await import('./run.ts')
    return runCost(context, flags)
  },
})
