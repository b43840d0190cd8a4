/**
 * What rows of the application's `analysis_jobs` said before autodj added tracks to them (`--job`), so that their counts
 * only grow and one that had ended stays so. And `error_details` that an earlier version wrote as an array become the
 * object that the application's job list wants: it answered 500.
 */
export const up: readonly string[] = [
  `create table autodj_ledger.continued_jobs (
  job_id uuid primary key,
  finished boolean not null,
  total_tracks integer not null,
  analyzed_tracks integer not null,
  downloaded_tracks integer not null,
  failed_tracks integer not null,
  at timestamptz not null default now()
)`,
  `comment on table autodj_ledger.continued_jobs is 'Rows of analysis_jobs as they were when autodj first added tracks to them'`,
  `comment on column autodj_ledger.continued_jobs.job_id is 'Row of analysis_jobs; no foreign key, the application may delete it'`,
  `comment on column autodj_ledger.continued_jobs.finished is 'Whether it had ended: then its status, times and errors stay as they are'`,
  `comment on column autodj_ledger.continued_jobs.total_tracks is 'Then'`,
  `comment on column autodj_ledger.continued_jobs.analyzed_tracks is 'Then'`,
  `comment on column autodj_ledger.continued_jobs.downloaded_tracks is 'Then'`,
  `comment on column autodj_ledger.continued_jobs.failed_tracks is 'Then'`,
  `comment on column autodj_ledger.continued_jobs.at is 'When'`,
  `update analysis_jobs set error_details = json_build_object('failures', error_details)
where json_typeof(error_details) = 'array'`,
]

export const tables = ['continued_jobs']

export const down: readonly string[] = tables.map(table => `drop table autodj_ledger.${table}`)
