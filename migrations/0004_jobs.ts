/**
 * Which tracks a row of the application's `analysis_jobs` is about, for the jobs that autodj queues. The jobs themselves
 * are in the queue's own schema; this is what the counts of that row are made from.
 */
export const up: readonly string[] = [
  `create table autodj_ledger.job_tracks (
  job_id uuid not null,
  track_id uuid not null,
  kind text not null check (kind in ('fetch', 'upload', 'analyze')),
  state text not null default 'pending' check (state in ('pending', 'done', 'failed')),
  error_code text,
  error text,
  updated_at timestamptz not null default now(),
  primary key (job_id, track_id, kind)
)`,
  `create index job_tracks_pending on autodj_ledger.job_tracks (job_id) where state = 'pending'`,
  `comment on table autodj_ledger.job_tracks is 'Tracks queued for background work, by the row of analysis_jobs that counts them; kept for a week after the last of them'`,
  `comment on column autodj_ledger.job_tracks.job_id is 'Row of analysis_jobs; no foreign key, the application may delete it'`,
  `comment on column autodj_ledger.job_tracks.track_id is 'Track; no foreign key, the row may be deleted'`,
  `comment on column autodj_ledger.job_tracks.kind is 'What is to be done with it'`,
  `comment on column autodj_ledger.job_tracks.state is 'pending: queued, in work or to be tried again. failed: given up, the job is in the dead letter queue'`,
  `comment on column autodj_ledger.job_tracks.error_code is 'Why it was given up: stable, as in items'`,
  `comment on column autodj_ledger.job_tracks.error is 'Cause, one line'`,
  `comment on column autodj_ledger.job_tracks.updated_at is 'Queued, or ended'`,
]

export const tables = ['job_tracks']

export const down: readonly string[] = [
  ...tables.map(table => `drop table autodj_ledger.${table}`),
  // Made by pg-boss when something is first queued; jobs mean nothing without the table above.
  'drop schema if exists autodj_jobs cascade',
]
