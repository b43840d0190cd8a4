import { defineCommand } from '../cli/command.ts'
import { flags } from './flags.ts'

export const verify = defineCommand({
  name: 'verify',
  summary: 'request every track through the CDN, and explain why if one is not served',
  selects: 'tracks',
  settings: ['database', 'store', 'cdn'],
  description:
    'Sends a one-byte range request for each S3 track through CloudFront and checks status, size, ETag, type, ' +
    'ranges, caching and CORS. Every failure is reported with its cause, the evidence and what to change. Results go ' +
    'to the ledger; exit code 4 if something is not served.',
  examples: [
    ['autodj verify', 'every track'],
    ['autodj verify --rolling 30d --max-duration 1h', 'from cron, daily: the whole library every 30 days'],
    ['autodj verify --since 24h --bytes 64K', 'tracks that changed today, with their bytes compared with S3'],
    ['autodj verify --sample 200 --full --direct', 'thoroughly, on a sample'],
    ['autodj verify --retry-failed', 'only tracks that were not served last time'],
  ],
  flags,

  async run(context, flags) {
    const { runVerify } = await import('./run.ts')
    context.limitDuration(flags.maxDuration)
    return runVerify(context, flags)
  },
})
