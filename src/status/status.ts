/** Where the migration stands, as the database knows it. Reads only, and asks neither S3 nor the disk. */
import type { Knex } from 'knex'
import type { FileSource } from '../core/audio-source.ts'
import { countJobs, type QueueCount } from '../queue/counts.ts'

export interface Status {
  readonly tracks: readonly SourceCount[]
  readonly objects: ObjectCounts
  readonly runs: readonly LastRun[]
  readonly failures: readonly FailureCount[]
  readonly working: readonly WorkingRun[]
  readonly locks: readonly Lock[]
  /** most first */
  readonly analyses?: readonly AnalysisCount[]
}

/** Tracks that one version of an analysis has analysed: autodj's, or the application's own. */
export interface AnalysisCount {
  readonly version: string | null
  readonly tracks: number
}

/** Rows with one `file_source`. Bytes as far as the rows say. */
export interface SourceCount {
  readonly source: FileSource | null
  readonly tracks: number
  readonly bytes: number
  /** Those that name a local file; in S3: a local copy that has not been deleted. */
  readonly withFile: number
  readonly analysed: number
  /** Bytes of those that name a local file. */
  readonly fileBytes?: number
}

/** Objects that the ledger knows in the bucket, or in all buckets if none is configured. */
interface ObjectCounts {
  readonly objects: number
  readonly bytes: number
  readonly uploaded: number
  /** Their content was compared with its checksum. */
  readonly verified: number
  /** A byte range of theirs came through the CDN. */
  readonly served: number
  /** The last check of them failed. */
  readonly failing: number
  /** Uploaded in the last 24 hours. */
  readonly lastDay?: number
  readonly lastDayBytes?: number
}

/** The newest run of a command. `state` is `lost` if it was killed and nobody has noticed yet. */
interface LastRun {
  readonly command: string
  readonly state: 'running' | 'done' | 'failed' | 'interrupted' | 'abandoned' | 'lost'
  readonly startedAt: Date
  readonly finishedAt: Date | null
  readonly host: string
  readonly pid: number
  readonly exitCode: number | null
  /** What it came to. */
  readonly summary?: Readonly<Record<string, unknown>> | null
  /** When a run of that command last ended with exit code 0. */
  readonly lastSuccess?: Date | null
}

/** What failed or was skipped for one cause. */
interface FailureCount {
  readonly command: string
  readonly state: 'failed' | 'skipped'
  readonly code: string
  readonly items: number
  readonly error: string
  readonly cure: string | null
  readonly lastAt: Date
}

/** A run that is alive, and the tracks that are its own. */
export interface WorkingRun {
  readonly id: string
  readonly command: string
  readonly host: string
  readonly pid: number
  readonly startedAt: Date
  readonly heartbeatAt: Date
  readonly leaseUntil: Date
  readonly claims: number
}

interface Lock {
  readonly name: string
  readonly command: string
  readonly host: string
  readonly pid: number
  readonly since: Date
  readonly until: Date
}

/** Tracks by source, and the objects of the ledger. @param bucket whose objects; undefined: of all */
export async function readTotals(
  knex: Knex,
  bucket: string | undefined,
): Promise<Pick<Status, 'tracks' | 'objects' | 'analyses'>> {
  const rows = rowsOf(knex)
  // The table is read once: of a million tracks that takes longer than all else.
  const counts = await rows<SourceCount & { version: string | null; isAnalyzed: boolean; fileBytes: number }>(
    `select file_source as source, analyzed_at is not null as "isAnalyzed",
            case when analyzed_at is not null then analysis_version end as version,
            count(*)::int as tracks, coalesce(sum(file_size), 0)::float8 as bytes,
            count(file_path)::int as "withFile", count(analyzed_at)::int as analysed,
            coalesce(sum(file_size) filter (where file_path is not null), 0)::float8 as "fileBytes"
     from tracks group by 1, 2, 3 order by 1, 2, 3`,
  )
  const [objects] = await rows<ObjectCounts>(
    `select count(*)::int as objects, coalesce(sum(size), 0)::float8 as bytes, count(uploaded_at)::int as uploaded,
            count(verified_at)::int as verified, count(served_at)::int as served, count(last_error)::int as failing,
            count(*) filter (where uploaded_at > now() - interval '24 hours')::int as "lastDay",
            coalesce(sum(size) filter (where uploaded_at > now() - interval '24 hours'), 0)::float8 as "lastDayBytes"
     from autodj_ledger.objects ${bucket === undefined ? '' : 'where bucket = ?'}`,
    bucket === undefined ? [] : [bucket],
  )
  const tracks = [...Map.groupBy(counts, one => one.source)].map(([source, parts]) => {
    const sum = (of: 'tracks' | 'bytes' | 'withFile' | 'analysed' | 'fileBytes') =>
      parts.reduce((total, part) => total + part[of], 0)
    return {
      source,
      tracks: sum('tracks'),
      bytes: sum('bytes'),
      withFile: sum('withFile'),
      analysed: sum('analysed'),
      fileBytes: sum('fileBytes'),
    }
  })
  const analysed = counts.filter(one => one.isAnalyzed)
  const analyses = [...Map.groupBy(analysed, one => one.version)]
    .map(([version, parts]) => ({ version, tracks: parts.reduce((total, part) => total + part.tracks, 0) }))
    .toSorted((a, b) => b.tracks - a.tracks)
  return { tracks, objects: objects!, analyses }
}

const rowsOf =
  (knex: Knex) =>
  async <T>(sql: string, bindings: Knex.RawBinding[] = []): Promise<T[]> =>
    (await knex.raw<{ rows: T[] }>(sql, bindings)).rows

/** @param bucket whose objects; undefined: of all */
export async function readStatus(knex: Knex, bucket: string | undefined): Promise<Status> {
  // One after another: PGlite has one connection.
  const rows = rowsOf(knex)
  const totals = await readTotals(knex, bucket)
  const runs = await rows<LastRun>(
    `select r.command, r.started_at as "startedAt", r.finished_at as "finishedAt", r.host, r.pid,
            r.exit_code as "exitCode", r.summary, c."lastSuccess",
            case when r.state = 'running' and r.lease_until < now() then 'lost' else r.state end as state
     from (select command, max(started_at) as newest, max(finished_at) filter (where exit_code = 0) as "lastSuccess"
           from autodj_ledger.runs group by command) c
     cross join lateral (select * from autodj_ledger.runs where command = c.command and started_at = c.newest limit 1) r
     order by r.command`,
  )
  // Of each cause the newest words, without holding all of them: as many may have failed as there are tracks.
  const failures = await rows<FailureCount>(
    `with causes as (select command, state, error_code, count(*)::int as items, max(updated_at) as last_at
                     from autodj_ledger.items group by command, state, error_code)
     select distinct on (c.command, c.items, c.error_code, c.state)
            c.command, c.state, c.error_code as code, c.items, i.error, i.cure, c.last_at as "lastAt"
     from causes c join autodj_ledger.items i
       on i.command = c.command and i.state = c.state and i.error_code = c.error_code and i.updated_at = c.last_at
     order by c.command, c.items desc, c.error_code, c.state`,
  )
  const working = await rows<WorkingRun>(
    `select r.id, r.command, r.host, r.pid, r.started_at as "startedAt", r.heartbeat_at as "heartbeatAt",
            r.lease_until as "leaseUntil", count(c.track_id)::int as claims
     from autodj_ledger.runs r left join autodj_ledger.claims c on c.run_id = r.id
     where r.state = 'running' and r.lease_until > now() group by r.id order by r.started_at`,
  )
  const locks = await rows<Lock>(
    `select l.name, r.command, l.host, l.pid, l.acquired_at as since, l.expires_at as until
     from autodj_ledger.leases l join autodj_ledger.runs r on r.id = l.run_id where l.expires_at > now() order by l.name`,
  )
  return { ...totals, runs, failures, working, locks }
}

export interface QueueStatus {
  readonly queues: readonly QueueCount[]
  readonly batches: readonly BatchStatus[]
}

/** A row of `analysis_jobs` that autodj keeps. */
interface BatchStatus {
  readonly id: string
  readonly name: string | null
  readonly status: string
  readonly total: number
  readonly analyzed: number
  readonly downloaded: number
  readonly failed: number
  readonly error: string | null
  readonly createdAt: Date
}

/** The queues, and the newest rows of `analysis_jobs` whose tracks were queued. */
export async function readQueues(knex: Knex): Promise<QueueStatus> {
  const queues = await countJobs(knex)
  const { rows } = await knex.raw<{ rows: BatchStatus[] }>(
    `select a.id, a.playlist_name as name, a.status, a.total_tracks as total, a.analyzed_tracks as analyzed,
            a.downloaded_tracks as downloaded, a.failed_tracks as failed, a.error_message as error,
            a.created_at as "createdAt"
     from analysis_jobs a where exists (select 1 from autodj_ledger.job_tracks j where j.job_id = a.id)
     order by a.created_at desc limit 10`,
  )
  return { queues, batches: rows }
}

/** What an operator does next, most important first; undefined if all is done. Pure. */
export function nextStep(
  { tracks, objects, failures, analyses = [] }: Status,
  hasCdn: boolean,
): string | undefined {
  const of = (source: FileSource | null) => tracks.find(one => one.source === source)
  const local = [of('LOCAL'), of('YOUTUBE'), of(null)].reduce((sum, one) => sum + (one?.withFile ?? 0), 0)
  const skipped = failures
    .filter(({ command }) => command === 'upload-local')
    .reduce((sum, { items }) => sum + items, 0)
  const inS3 = of('S3')
  if (tracks.length === 0) return '`autodj import` creates rows for the files in the audio folder'
  if (local > skipped) return '`autodj upload-local` uploads the local files'
  if (skipped > 0) return '`autodj upload-local --retry-failed`, once the causes above are fixed'
  if ((of('UNAVAILABLE')?.tracks ?? 0) > 0 && !failures.some(({ command }) => command === 'fetch'))
    return '`autodj fetch` looks for the audio of tracks that have none'
  if (hasCdn && objects.served < (inS3?.tracks ?? 0))
    return '`autodj verify` asks for every track through the CDN'
  if (tracks.some(one => one.analysed < one.tracks && one.source !== 'UNAVAILABLE'))
    return '`autodj analyze` analyses the tracks that have no analysis'
  if (analyses.length > 1)
    return '`autodj analyze --outdated` brings all tracks to one version of the analysis'
  if ((inS3?.withFile ?? 0) > 0)
    return '`autodj cleanup` shows which local copies are proved and can be deleted'
  return undefined
}
