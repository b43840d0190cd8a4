/** What the page shows, read from the database: counts and sums, never a list that grows with the library. */
import type { Knex } from 'knex'
import { readStatus, type Status } from '../status/status.ts'
import { lastStorage, type StorageTotals } from '../status/storage.ts'

export interface ReportData {
  readonly status: Status
  readonly storage: StorageTotals | undefined
  /** by day, UTC */
  readonly uploads: readonly { readonly day: Date; readonly tracks: number; readonly bytes: number }[]
  /** bytes a second of each run of upload-local that sent something */
  readonly throughput: readonly { readonly at: Date; readonly bytesPerSecond: number }[]
  /** of each run of verify */
  readonly delivery: readonly {
    readonly at: Date
    /** 0 to 1 */
    readonly hitRatio: number | null
    readonly p50: number | null
    readonly p95: number | null
  }[]
  /** differences that each run of reconcile found */
  readonly drift: readonly { readonly at: Date; readonly differences: number }[]
  /** tracks by tempo, in steps of 5 beats a minute */
  readonly tempi: readonly { readonly from: number; readonly tracks: number }[]
  readonly keys: readonly { readonly name: string; readonly tracks: number }[]
  readonly versions: readonly { readonly name: string; readonly tracks: number }[]
  readonly edges: readonly { readonly name: string; readonly objects: number; readonly latency: number }[]
}

export async function readReportData(
  knex: Knex,
  { bucket, since }: { bucket: string | undefined; since: Date },
): Promise<ReportData> {
  // One after another: PGlite has one connection.
  const rows = async <T>(sql: string, bindings: Knex.RawBinding[] = []): Promise<T[]> =>
    (await knex.raw<{ rows: T[] }>(sql, bindings)).rows
  const status = await readStatus(knex, bucket)
  const inBucket = bucket === undefined ? '' : 'and bucket = ?'
  const place = bucket === undefined ? [] : [bucket]
  const uploads = await rows<ReportData['uploads'][number]>(
    `select date_trunc('day', uploaded_at, 'UTC') as day, count(*)::int as tracks, sum(size)::float8 as bytes
     from autodj_ledger.objects where uploaded_at >= ? ${inBucket} group by 1 order by 1`,
    [since, ...place],
  )
  const runs = await rows<{ command: string; at: Date; summary: Record<string, unknown> }>(
    `select command, started_at as at, summary from autodj_ledger.runs
     where command in ('upload-local', 'verify', 'reconcile') and summary is not null and started_at >= ?
     order by started_at desc limit 2000`,
    [since],
  )
  runs.reverse()
  const of = (command: string) => runs.filter(run => run.command === command)
  const number = (value: unknown): number | null => (typeof value === 'number' ? value : null)
  const tempi = await rows<ReportData['tempi'][number]>(
    `select (floor(bpm / 5) * 5)::int as "from", count(*)::int as tracks from tracks
     where bpm between 40 and 240 group by 1 order by 1`,
  )
  const keys = await rows<ReportData['keys'][number]>(
    `select key as name, count(*)::int as tracks
     from tracks where key is not null group by 1 order by 2 desc, 1 limit 30`,
  )
  const versions = await rows<ReportData['versions'][number]>(
    `select coalesce(analysis_version, case when analyzed_at is null then 'not analysed' else 'unknown' end) as name,
            count(*)::int as tracks
     from tracks group by 1 order by 2 desc limit 12`,
  )
  const edges = await rows<ReportData['edges'][number]>(
    `select edge as name, count(*)::int as objects,
            percentile_cont(0.5) within group (order by latency_ms)::float8 as latency
     from autodj_ledger.objects where edge is not null and latency_ms is not null and served_at >= ? ${inBucket}
     group by edge order by 2 desc limit 12`,
    [since, ...place],
  )
  return {
    status,
    storage: await lastStorage(knex),
    uploads,
    throughput: of('upload-local').flatMap(({ at, summary }) => {
      const bytesPerSecond = number(summary['bytes_per_second']) ?? 0
      return bytesPerSecond > 0 ? [{ at, bytesPerSecond }] : []
    }),
    delivery: of('verify').flatMap(({ at, summary }) => {
      const one = {
        at,
        hitRatio: number(summary['hit_ratio']),
        p50: number(summary['latency_p50_ms']),
        p95: number(summary['latency_p95_ms']),
      }
      return one.hitRatio === null && one.p50 === null ? [] : [one]
    }),
    drift: of('reconcile').flatMap(({ at, summary }) => {
      const differences = number(summary['drift'])
      return differences === null ? [] : [{ at, differences }]
    }),
    tempi,
    keys,
    versions,
    edges,
  }
}
