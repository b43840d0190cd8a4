/** What lies in the bucket, by storage class and prefix: counted by a listing or from an S3 Inventory, or as CloudWatch has it once a day. */

import type { Knex } from 'knex'
import { type Config, requireBucket } from '../config.ts'
import type { InventoryPlace } from '../core/inventory-url.ts'
import { lastTold } from '../db/ledger.ts'
import { UsageError } from '../errors.ts'
import type { Progress } from '../report/reporter.ts'
import { asksAws, awsClientOptions, s3Options } from '../storage/aws-options.ts'
import type { ObjectStore } from '../storage/store.ts'

/** Where the counts of a bucket come from. */
export type StorageSource = 'listing' | 'cloudwatch' | InventoryPlace

export interface StorageTotals {
  readonly source: 'listing' | 'inventory' | 'cloudwatch'
  /** when it was so */
  readonly takenAt: Date
  readonly classes: readonly {
    readonly name: string
    readonly objects: number | null
    readonly bytes: number
  }[]
  /** largest first; empty if the source does not tell */
  readonly prefixes: readonly { readonly name: string; readonly objects: number; readonly bytes: number }[]
}

/** Prefixes that are told one by one; the rest is added up. */
const mostPrefixes = 30

interface CountOptions {
  /** told as one prefix, however many folders it has */
  readonly keyPrefix: string
  readonly progress: Progress
}

/** Lists the whole bucket: a request for every 1,000 objects. */
export async function listStorage(
  store: ObjectStore,
  { now, signal, ...options }: CountOptions & { now: Date; signal: AbortSignal },
): Promise<StorageTotals> {
  return { source: 'listing', takenAt: now, ...(await count(store.list({ signal }), options)) }
}

/** Counts what an S3 Inventory lists: current versions. @throws what `openInventory` throws */
export async function inventoryStorage(
  config: Config,
  { bucket, key }: InventoryPlace,
  { tempFolder, signal, ...options }: CountOptions & { tempFolder: string; signal: AbortSignal },
): Promise<StorageTotals> {
  const [{ createS3Store }, { openInventory }] = await Promise.all([
    import('../storage/s3.ts'),
    import('../storage/inventory.ts'),
  ])
  const store = createS3Store(s3Options(config, bucket))
  try {
    const place = { sourceBucket: requireBucket(config), tempFolder }
    const { takenAt, pages } = await openInventory(store, key, place, signal)
    return { source: 'inventory', takenAt, ...(await count(pages, options)) }
  } finally {
    store.close()
  }
}

async function count(
  pages: AsyncIterable<readonly { key: string; size: number; storageClass?: string | undefined }[]>,
  { keyPrefix, progress }: CountOptions,
): Promise<Pick<StorageTotals, 'classes' | 'prefixes'>> {
  const classes = new Map<string, { objects: number; bytes: number }>()
  const prefixes = new Map<string, { objects: number; bytes: number }>()
  const add = (sums: typeof classes, name: string, bytes: number): void => {
    const sum = sums.get(name) ?? { objects: 0, bytes: 0 }
    sum.objects += 1
    sum.bytes += bytes
    sums.set(name, sum)
  }
  for await (const page of pages) {
    progress.advance({ items: page.length, bytes: page.reduce((sum, { size }) => sum + size, 0) })
    for (const { key, size, storageClass } of page) {
      add(classes, storageClass || 'STANDARD', size)
      const prefix =
        keyPrefix !== '' && key.startsWith(keyPrefix) ? keyPrefix : (/^[^/]*\//.exec(key)?.[0] ?? '')
      add(prefixes, prefixes.size < mostPrefixes || prefixes.has(prefix) ? prefix : 'others', size)
    }
  }
  const sorted = (sums: typeof classes) =>
    [...sums].map(([name, sum]) => ({ name, ...sum })).toSorted((a, b) => b.bytes - a.bytes)
  return { classes: sorted(classes), prefixes: sorted(prefixes) }
}

const dayMs = 86_400_000

/** As S3 calls its classes in CloudWatch: https://docs.aws.amazon.com/AmazonS3/latest/userguide/metrics-dimensions.html */
const storageTypes: Readonly<Record<string, string>> = {
  StandardStorage: 'STANDARD',
  StandardIAStorage: 'STANDARD_IA',
  OneZoneIAStorage: 'ONEZONE_IA',
  IntelligentTieringFAStorage: 'INTELLIGENT_TIERING',
  IntelligentTieringIAStorage: 'INTELLIGENT_TIERING (infrequent)',
  IntelligentTieringAIAStorage: 'INTELLIGENT_TIERING (archive instant)',
  GlacierInstantRetrievalStorage: 'GLACIER_IR',
  GlacierStorage: 'GLACIER',
  DeepArchiveStorage: 'DEEP_ARCHIVE',
  ReducedRedundancyStorage: 'REDUCED_REDUNDANCY',
}

/**
 * Yesterday's bytes by class from CloudWatch.
 * @returns undefined if it has none yet, as of a new bucket
 * @throws UsageError for a bucket that is not Amazon's
 */
export async function cloudWatchStorage(
  config: Config,
  { now, signal }: { now: Date; signal: AbortSignal },
): Promise<StorageTotals | undefined> {
  const { CloudWatchClient, GetMetricDataCommand } = await import('@aws-sdk/client-cloudwatch')
  const bucket = requireBucket(config)
  if (!asksAws(config)) {
    throw new UsageError(`CloudWatch has no figures for buckets at ${config.s3.endpoint}`, {
      code: 'usage.flag',
      cure: 'Use --storage listing.',
    })
  }
  const client = new CloudWatchClient({
    ...(config.s3.region === undefined ? {} : { region: config.s3.region }),
    ...(await awsClientOptions(config)),
  })
  const names = Object.keys(storageTypes)
  const metric = (MetricName: string, StorageType: string) => ({
    MetricStat: {
      Metric: {
        Namespace: 'AWS/S3',
        MetricName,
        Dimensions: [
          { Name: 'BucketName', Value: bucket },
          { Name: 'StorageType', Value: StorageType },
        ],
      },
      Period: dayMs / 1_000,
      Stat: 'Average',
    },
  })
  try {
    const { MetricDataResults = [] } = await client.send(
      new GetMetricDataCommand({
        // S3 reports once a day, for days that begin at midnight UTC.
        StartTime: new Date(Math.floor(now.getTime() / dayMs - 3) * dayMs),
        EndTime: now,
        ScanBy: 'TimestampDescending',
        MetricDataQueries: names.map((name, index) => ({
          Id: `c${index}`,
          ...metric('BucketSizeBytes', name),
        })),
      }),
      { abortSignal: signal },
    )
    const found = MetricDataResults.flatMap(({ Id, Values, Timestamps }) => {
      const name = storageTypes[names[Number(Id?.slice(1))] ?? '']
      const [bytes] = Values ?? []
      const [takenAt] = Timestamps ?? []
      return name === undefined || bytes === undefined || takenAt === undefined
        ? []
        : [{ name, bytes: Math.round(bytes), takenAt }]
    })
    const [newest] = found.map(one => one.takenAt).toSorted((a, b) => b.getTime() - a.getTime())
    if (newest === undefined) return undefined
    const classes = found.map(({ name, bytes }) => ({ name, objects: null, bytes }))
    return { source: 'cloudwatch', takenAt: newest, classes, prefixes: [] }
  } finally {
    client.destroy()
  }
}

/** The run that counts a bucket, as the ledger calls it. */
export const storageCommand = 'status --storage'

/** What was counted last; a count that came to nothing, or was interrupted, takes nothing away. */
export function lastStorage(knex: Knex): Promise<StorageTotals | undefined> {
  return lastTold(knex, storageCommand, ({ summary }) => {
    const storage = summary?.['storage'] as StorageFields | undefined
    return Array.isArray(storage?.classes) ? { ...storage, takenAt: new Date(storage.taken_at) } : undefined
  })
}

type StorageFields = ReturnType<typeof storageFields>

/** Where the counts come from, in words: `counted by a listing`. */
export const countedBy: Readonly<Record<StorageTotals['source'], string>> = {
  listing: 'by a listing',
  inventory: 'by an S3 Inventory',
  cloudwatch: 'by CloudWatch',
}

/** As `--json` and the ledger have it. */
export function storageFields({ source, takenAt, classes, prefixes }: StorageTotals) {
  return { source, taken_at: takenAt.toISOString(), classes, prefixes }
}
