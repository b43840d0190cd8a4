/** What `autodj cost` tells: storage, traffic, and both in dollars. */

import type { Context } from '../../context.ts'
import type { Traffic } from '../../core/cost/access-log.ts'
import { estimateCost } from '../../core/cost/library-cost.ts'
import { formatDollars, type Prices } from '../../core/cost/prices.ts'
import { estimateTransfer } from '../../core/cost/transfer-cost.ts'
import { formatBytes, formatCount, plural } from '../../core/units.ts'
import { readPrices } from '../../cost/read-prices.ts'
import { requireSchema } from '../../db/require-schema.ts'
import { ExitCode } from '../../errors.ts'
import { s3Options } from '../../storage/aws-options.ts'
import { createS3Store } from '../../storage/s3.ts'
import { readTotals } from '../status.ts'
import { countedBy, lastStorage } from '../storage.ts'
import { countLogs, parseLogsUrl } from './access-logs.ts'
import { cloudWatchTraffic } from './cloudwatch.ts'
import type { CostFlags } from './flags.ts'

type Seen = Omit<Traffic, 'hits'> & { readonly hits: number | undefined }

export async function runCost(context: Context, flags: CostFlags): Promise<ExitCode> {
  const { report, config, cwd, now } = context
  const prices = await readPrices(flags.prices, cwd)
  const logs = flags.logs === undefined ? undefined : parseLogsUrl(flags.logs)
  const database = await context.database()
  await requireSchema(database)
  const { objects } = await readTotals(database.knex, config.s3.bucket)
  const storage = await lastStorage(database.knex)
  const classes = storage?.classes ?? [{ name: 'STANDARD', objects: objects.objects, bytes: objects.bytes }]
  const cost = estimateCost(classes, prices)
  const since = new Date(now().getTime() - flags.days * 86_400_000)
  const traffic = await observeTraffic(context, logs, since)
  const transfer = traffic && estimateTransfer(traffic, flags.days, prices)
  const width = Math.max(...cost.options.map(one => one.name.length))
  const counted =
    storage === undefined
      ? 'as recorded in the ledger, all counted as S3 Standard (`autodj status --storage listing` counts what is there)'
      : `counted ${countedBy[storage.source]} on ${storage.takenAt.toISOString().slice(0, 10)}`
  report.summary({
    isAnswer: true,
    lines: [
      report.style.bold(`Storage: ${formatBytes(cost.bytes)}, ${counted}`),
      ...cost.options.map(
        one =>
          `  ${one.name.padEnd(width)}  ${formatDollars(one.dollarsAMonth).padStart(10)} a month  (${one.assumption})`,
      ),
      ...(traffic === undefined ? [] : trafficLines(traffic, flags.days, report.style)),
      ...(transfer === undefined
        ? []
        : [
            `  through the CDN ${formatDollars(transfer.cdn)} a month, straight from S3 ${formatDollars(transfer.direct)}  (${transfer.assumption})`,
          ]),
      pricesLine(prices),
    ],
    fields: {
      storage: {
        bytes: cost.bytes,
        objects: cost.objects,
        counted: storage?.takenAt ?? null,
        options: cost.options,
      },
      traffic: traffic === undefined ? null : { days: flags.days, ...traffic, hits: traffic.hits ?? null },
      transfer: transfer ?? null,
      prices,
    },
  })
  return ExitCode.ok
}

const pricesLine = ({ region, asOf, source }: Prices): string =>
  `List prices of ${region}, ${asOf}, without free allowances and taxes: ${source}`

function trafficLines(seen: Seen, days: number, style: Context['report']['style']): string[] {
  const { requests, bytes, hits, clientErrors, serverErrors } = seen
  const share = (count: number): string => `${requests === 0 ? 0 : ((100 * count) / requests).toFixed(1)} %`
  return [
    style.bold(`Delivered in ${plural(days, 'day')}: ${plural(requests, 'request')}, ${formatBytes(bytes)}`),
    `  ${hits === undefined ? 'hit ratio unknown' : `${share(hits)} answered from the edge cache`}, ` +
      `${formatCount(clientErrors)} 4xx (${share(clientErrors)}), ${formatCount(serverErrors)} 5xx (${share(serverErrors)})`,
  ]
}

async function observeTraffic(
  context: Context,
  logs: { bucket: string; prefix: string } | undefined,
  since: Date,
): Promise<Seen | undefined> {
  const { report, config, signal, now } = context
  if (logs !== undefined) {
    const store = createS3Store(s3Options(config, logs.bucket))
    context.onRelease(() => store.close())
    const progress = report.progress({ label: 'reading logs', unit: 'files', showBytes: true })
    const { counter, files } = await countLogs(store, {
      prefix: logs.prefix,
      since,
      progress,
      signal: AbortSignal.any([signal, context.stopping]),
      warn: text => report.warn(text),
    }).finally(() => progress.done())
    if (files === 0) report.warn(`there is no log of these days below s3://${logs.bucket}/${logs.prefix}`)
    if (counter.unread > 0) report.warn(`${plural(counter.unread, 'line')} of the logs could not be read`)
    return counter.traffic
  }
  const id = config.distributionId
  if (id === undefined) {
    report.note(
      'CLOUDFRONT_DISTRIBUTION_ID is not set: traffic is not shown (--logs reads access logs instead)',
    )
    return undefined
  }
  const seen = await cloudWatchTraffic(config, id, { since, now: now(), signal })
  if (seen === undefined) report.warn(`CloudWatch (us-east-1) has no requests for the distribution ${id}`)
  else if (seen.hits === undefined) {
    report.note(
      "the hit ratio is one of CloudFront's additional metrics, which cost extra and are off; access logs have it too (--logs)",
    )
  }
  return seen
}
