/** Traffic of a distribution from CloudWatch, which has CloudFront's metrics in us-east-1 alone. */
import type { Config } from '../../config.ts'
import type { Traffic } from '../../core/cost/access-log.ts'
import { awsClientOptions } from '../../storage/aws-options.ts'

/** `hits` is undefined if the additional metrics, which are paid for, are off. */
type CloudWatchTraffic = Omit<Traffic, 'hits'> & { readonly hits: number | undefined }

const metrics = [
  ['requests', 'Requests', 'Sum'],
  ['bytes', 'BytesDownloaded', 'Sum'],
  ['clientErrors', '4xxErrorRate', 'Average'],
  ['serverErrors', '5xxErrorRate', 'Average'],
  ['hits', 'CacheHitRate', 'Average'],
] as const

/** @returns undefined if there was no request, or the distribution is another account's */
export async function cloudWatchTraffic(
  config: Config,
  distributionId: string,
  { since, now, signal, endpoint }: { since: Date; now: Date; signal: AbortSignal; endpoint?: string },
): Promise<CloudWatchTraffic | undefined> {
  const { CloudWatchClient, GetMetricDataCommand } = await import('@aws-sdk/client-cloudwatch')
  const client = new CloudWatchClient({
    region: 'us-east-1',
    ...(await awsClientOptions(config)),
    ...(endpoint === undefined ? {} : { endpoint }),
  })
  try {
    const { MetricDataResults = [] } = await client.send(
      new GetMetricDataCommand({
        StartTime: since,
        EndTime: now,
        MetricDataQueries: metrics.map(([id, MetricName, Stat]) => ({
          Id: id,
          MetricStat: {
            Metric: {
              Namespace: 'AWS/CloudFront',
              MetricName,
              Dimensions: [
                { Name: 'DistributionId', Value: distributionId },
                { Name: 'Region', Value: 'Global' },
              ],
            },
            Period: 86_400,
            Stat,
          },
        })),
      }),
      { abortSignal: signal },
    )
    const values = (id: string): Map<number, number> => {
      const found = MetricDataResults.find(one => one.Id === id)
      return new Map(
        (found?.Timestamps ?? []).map((at, index) => [at.getTime(), found?.Values?.[index] ?? 0]),
      )
    }
    const requests = values('requests')
    const sum = (counts: Map<number, number>): number =>
      [...counts.values()].reduce((all, one) => all + one, 0)
    const total = sum(requests)
    if (total === 0) return undefined
    // Rates are of a day: each weighs as much as its day had requests.
    const counted = (id: string): number =>
      Math.round([...values(id)].reduce((all, [at, rate]) => all + (rate / 100) * (requests.get(at) ?? 0), 0))
    return {
      requests: total,
      bytes: sum(values('bytes')),
      clientErrors: counted('clientErrors'),
      serverErrors: counted('serverErrors'),
      hits: values('hits').size === 0 ? undefined : counted('hits'),
    }
  } finally {
    client.destroy()
  }
}
