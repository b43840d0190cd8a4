/**
 * Which run last wrote a row is said without a foreign key: to delete the record of a run rewrote every object, item and
 * analysis that it had written. Without an index on it, and with room on its page, what `verify` writes of an object
 * changes no index at all (a heap-only tuple).
 */
const referring = ['objects', 'items', 'analyses'] as const

export const up: readonly string[] = [
  ...referring.flatMap(table => [
    `alter table autodj_ledger.${table} drop constraint if exists ${table}_run_id_fkey`,
    `drop index if exists autodj_ledger.${table}_run`,
  ]),
  'alter table autodj_ledger.objects set (fillfactor = 80)',
  `comment on column autodj_ledger.objects.run_id is 'Run that last wrote this row; its record may be gone'`,
  `comment on column autodj_ledger.items.run_id is 'Run of the last try; its record may be gone'`,
  `comment on column autodj_ledger.analyses.run_id is 'Run that wrote this row; its record may be gone'`,
]

export const tables: readonly string[] = []

export const down: readonly string[] = [
  'alter table autodj_ledger.objects reset (fillfactor)',
  ...referring.flatMap(table => [
    `update autodj_ledger.${table} as t set run_id = null
where run_id is not null and not exists (select 1 from autodj_ledger.runs r where r.id = t.run_id)`,
    `alter table autodj_ledger.${table} add constraint ${table}_run_id_fkey
  foreign key (run_id) references autodj_ledger.runs (id) on delete set null`,
    `create index ${table}_run on autodj_ledger.${table} (run_id)`,
  ]),
]
