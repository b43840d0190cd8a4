/**
 * The application's `analysis_jobs`: one row counts the tracks that were queued together. Its numbers are made anew from
 * the rows of its tracks whenever one of them ends, never counted up, so that no kill can falsify them.
 */

import type { Knex } from 'knex'
import { redactUrl } from '../core/redact.ts'
import { printable } from '../core/units.ts'
import type { ErrorCode } from '../error-codes.ts'
import { commandOf, deadLetters, type JobKind, jobSchema } from './names.ts'

/** Failures that `error_details` lists at most. */
const detailsLimit = 100
/** For how long the tracks of an ended row are kept, days. */
const keptDays = 7

interface NewBatch {
  id: string
  kind: JobKind
  options: Readonly<Record<string, unknown>>
}

/** Makes the row, unless the application did. */
export async function createBatch(knex: Knex, { id, kind, options }: NewBatch): Promise<void> {
  await knex('analysis_jobs')
    .insert({
      id,
      // The application fills in a playlist; ours come from the command line.
      playlist_url: `autodj:${kind}`,
      playlist_name: `autodj ${commandOf[kind]} --enqueue`,
      status: 'PENDING',
      total_tracks: 0,
      analyzed_tracks: 0,
      downloaded_tracks: 0,
      failed_tracks: 0,
      // Kept for as long as the application keeps its jobs, which nobody expects of a secret in a URL.
      options: JSON.stringify({
        kind,
        ...options,
        ...(typeof options['url'] === 'string' ? { url: redactUrl(options['url']) } : {}),
      }),
    })
    .onConflict('id')
    .ignore()
}

/** What the application writes when its user cancels a job, or anything else that is not of {@link refreshBatch}. */
const endedByOthers = `a.status = 'FAILED' and coalesce(a.error_message, '') !~ '^[0-9]+ of [0-9]+ failed; the first: '
  and not exists (select 1 from autodj_ledger.continued_jobs b where b.job_id = a.id and b.finished)`

/**
 * Before a row that is there gets its first tracks: what it says then is kept, so that counts only grow and a job that
 * has ended, its mix with it, is not one that the application takes for unfinished.
 */
export async function continueBatch(knex: Knex, id: string): Promise<void> {
  await knex.raw(
    `insert into autodj_ledger.continued_jobs
       (job_id, finished, total_tracks, analyzed_tracks, downloaded_tracks, failed_tracks)
     select id, coalesce(status in ('COMPLETED', 'FAILED'), false), coalesce(total_tracks, 0),
            coalesce(analyzed_tracks, 0), coalesce(downloaded_tracks, 0), coalesce(failed_tracks, 0)
     from analysis_jobs where id = :id
       and not exists (select 1 from autodj_ledger.job_tracks where job_id = :id)
     on conflict (job_id) do nothing`,
    { id },
  )
}

/** Those of these rows that their user has cancelled. */
export async function cancelledBatches(knex: Knex, ids: readonly string[]): Promise<Set<string>> {
  const { rows } = await knex.raw<{ rows: { id: string }[] }>(
    `select a.id from analysis_jobs a where a.id = any(?::uuid[]) and ${endedByOthers}`,
    [[...ids]],
  )
  return new Set(rows.map(({ id }) => id))
}

/** Rows that were cancelled with tracks still queued for them. */
export async function cancelledWithWork(knex: Knex): Promise<string[]> {
  const { rows } = await knex.raw<{ rows: { id: string }[] }>(
    `select a.id from analysis_jobs a where ${endedByOthers}
     and exists (select 1 from autodj_ledger.job_tracks j where j.job_id = a.id and j.state = 'pending')`,
  )
  return rows.map(({ id }) => id)
}

/** Takes the tracks of a cancelled row out of the queue; those in work end by themselves. */
export async function dropCancelled(knex: Knex, id: string): Promise<void> {
  await knex.raw(
    `with dropped as (
       delete from ${jobSchema}.job q using autodj_ledger.job_tracks j
       where j.job_id = :id and j.state = 'pending' and q.name = j.kind and q.singleton_key = j.track_id::text
         and q.data->>'batch' = :batch and q.state in ('created', 'retry')
     )
     delete from autodj_ledger.job_tracks where job_id = :id and state = 'pending'`,
    { id, batch: id },
  )
}

/** Notes that these tracks are queued for it. */
export async function addToBatch(
  knex: Knex,
  { id, kind }: Pick<NewBatch, 'id' | 'kind'>,
  trackIds: readonly string[],
): Promise<void> {
  await knex.raw(
    `insert into autodj_ledger.job_tracks (job_id, track_id, kind)
     select ?::uuid, track_id, ?::text from unnest(?::uuid[]) as t (track_id)
     on conflict (job_id, track_id, kind) do update set
       state = 'pending', error_code = null, error = null, updated_at = now()`,
    [id, kind, [...trackIds]],
  )
}

/** Notes what became of one track: `error` where it was given up. */
export async function settleTrack(
  knex: Knex,
  settled: {
    batch: string
    trackId: string
    kind: JobKind
    error: { code: ErrorCode; reason: string } | undefined
  },
): Promise<void> {
  const { batch, trackId, kind, error } = settled
  await knex('autodj_ledger.job_tracks')
    .where({ job_id: batch, track_id: trackId, kind })
    .update({
      state: error === undefined ? 'done' : 'failed',
      error_code: error?.code ?? null,
      error: error === undefined ? null : printable(error.reason),
      updated_at: knex.raw('now()'),
    })
}

/**
 * Brings the row up to date with its tracks: `total`; `analyzed` (with an analysis, and none still queued);
 * `downloaded` (in S3, or got from YouTube); `failed` (given up); status, times and errors. What a row had before it was
 * continued stays, and of one that had ended also status, times and errors. Nothing happens if the row is gone, or
 * was cancelled.
 *
 * @returns whether nothing of it is left to do
 */
export async function refreshBatch(knex: Knex, id: string): Promise<boolean> {
  return knex.transaction(async trx => {
    // The row first, and what it counts in a statement of its own: two workers never write an older count over a newer.
    const row = await trx('analysis_jobs').where({ id }).forNoKeyUpdate().first('id')
    if (row === undefined || (await cancelledBatches(trx, [id])).has(id)) return true
    const { rows } = await trx.raw<{ rows: { pending: boolean }[] }>(
      `with queued as (
         select track_id, bool_or(state = 'pending') as pending, bool_or(state = 'failed') as failed,
                bool_or(kind = 'analyze' and state <> 'done') as unanalyzed
         from autodj_ledger.job_tracks where job_id = :id group by track_id
       ), counts as (
         select count(*)::int as total,
                count(*) filter (where t.analyzed_at is not null and not q.unanalyzed)::int as analyzed,
                count(*) filter (where t.file_source in ('S3', 'YOUTUBE'))::int as downloaded,
                count(*) filter (where q.failed)::int as failed,
                count(*) filter (where q.pending)::int as pending
         from queued q left join tracks t on t.id = q.track_id
       ), base as (
         select coalesce(max(total_tracks), 0) as total, coalesce(max(analyzed_tracks), 0) as analyzed,
                coalesce(max(downloaded_tracks), 0) as downloaded, coalesce(max(failed_tracks), 0) as failed,
                coalesce(bool_or(finished), false) as finished
         from autodj_ledger.continued_jobs where job_id = :id
       ), failures as (
         -- An object: the application's job list answers 500 for anything else.
         select case when count(*) > 0 then json_build_object('failures', json_agg(
                  json_build_object('track_id', track_id, 'kind', kind, 'code', error_code, 'error', error)
                  order by number)) end as details,
                min(error) filter (where number = 1) as first
         from (select *, row_number() over (order by updated_at, track_id) as number
               from autodj_ledger.job_tracks where job_id = :id and state = 'failed' order by number limit :limit) f
       )
       update analysis_jobs as a set
         total_tracks = greatest(b.total, c.total),
         analyzed_tracks = least(greatest(b.total, c.total), b.analyzed + c.analyzed),
         downloaded_tracks = least(greatest(b.total, c.total), b.downloaded + c.downloaded),
         failed_tracks = least(greatest(b.total, c.total), b.failed + c.failed),
         status = (case when b.finished then a.status::text
                        when c.pending > 0
                        then case when a.started_at is null and c.pending = c.total then 'PENDING' else 'PROCESSING' end
                        when c.failed = c.total then 'FAILED' else 'COMPLETED' end)::jobstatus,
         error_message = case when b.finished then a.error_message
                              when c.failed > 0 then c.failed || ' of ' || c.total || ' failed; the first: ' || f.first end,
         error_details = case when b.finished then coalesce(a.error_details, f.details) else f.details end,
         started_at = case when c.pending < c.total and not b.finished then coalesce(a.started_at, now())
                           else a.started_at end,
         completed_at = case when b.finished then a.completed_at
                             when c.pending = 0 then coalesce(a.completed_at, now()) end,
         updated_at = now()
       from counts c, base b, failures f where a.id = :id
       returning c.pending > 0 as pending`,
      { id, limit: detailsLimit },
    )
    return rows[0]?.pending !== true
  })
}

/** Notes that work on it has begun. */
export async function startBatch(knex: Knex, id: string): Promise<void> {
  await knex('analysis_jobs')
    .where({ id, status: 'PENDING' })
    .update({ status: 'PROCESSING', started_at: knex.raw('now()'), updated_at: knex.raw('now()') })
}

/** A track whose jobs killed the worker each time, so that nobody lived to write it down. */
interface LostTrack {
  batch: string
  trackId: string
  kind: JobKind
}

/** Tracks in the dead letter queue that no worker settled. */
export async function lostTracks(knex: Knex, limit: number): Promise<LostTrack[]> {
  const { rows } = await knex.raw<{ rows: LostTrack[] }>(
    `select j.job_id as batch, j.track_id as "trackId", j.kind
     from ${jobSchema}.job d
     join autodj_ledger.job_tracks j on j.job_id = (d.data->>'batch')::uuid and j.track_id = (d.data->>'track')::uuid
      and j.kind = d.source_name
     where d.name = ? and d.state = 'created' and j.state = 'pending'
       and not exists (select 1 from ${jobSchema}.job q where q.name = j.kind and q.singleton_key = j.track_id::text
                         and q.state in ('created', 'retry', 'active'))
     limit ?`,
    [deadLetters, limit],
  )
  return rows
}

/** Rows of `analysis_jobs` that have not ended and whose tracks are known: ours to keep true. */
export async function openBatches(knex: Knex): Promise<string[]> {
  const { rows } = await knex.raw<{ rows: { id: string }[] }>(
    `select a.id from analysis_jobs a
     where exists (select 1 from autodj_ledger.job_tracks j where j.job_id = a.id
                   and (a.status in ('PENDING', 'PROCESSING') or j.state = 'pending')) order by a.created_at, a.id`,
  )
  return rows.map(row => row.id)
}

/** Forgets the tracks of rows that ended long ago. */
export async function forgetOldBatches(knex: Knex): Promise<void> {
  await knex.raw(
    `delete from autodj_ledger.job_tracks where job_id in (
       select job_id from autodj_ledger.job_tracks group by job_id
       having bool_and(state <> 'pending') and max(updated_at) < now() - make_interval(days => ?))`,
    [keptDays],
  )
  await knex.raw(
    `delete from autodj_ledger.continued_jobs b
     where not exists (select 1 from autodj_ledger.job_tracks j where j.job_id = b.job_id)
       and at < now() - make_interval(days => ?)`,
    [keptDays],
  )
}
