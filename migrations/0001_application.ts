import type { ApplicationPlan, DownPlan } from '../src/core/migrate/schema-diff.ts'

/**
 * The application's own schema. Made in an empty database as Alembic revision a312ec46df43 has it, adopted where Alembic
 * made it; either way the application's `alembic upgrade head` goes on from there. What was done is remembered in
 * `autodj_ledger.adoption`, so that it can be taken back, and no more than that.
 */
export function up(plan: Exclude<ApplicationPlan, { kind: 'refuse' }>): readonly string[] {
  const [revision, columns, enumValue] =
    plan.kind === 'adopt'
      ? [`'${plan.revision}'`, plan.columnsAdded.map(name => `'${name}'`).join(', '), plan.enumValueAdded]
      : ['null', '', false]
  return [
    ...plan.statements,
    `create table autodj_ledger.adoption (
  only_one boolean primary key default true check (only_one),
  kind text not null check (kind in ('create', 'adopt')),
  revision text,
  columns_added text[] not null,
  enum_value_added boolean not null,
  at timestamptz not null default now()
)`,
    `comment on table autodj_ledger.adoption is 'What the migration 0001 did to the application''s own schema'`,
    `comment on column autodj_ledger.adoption.kind is 'create: made in an empty database. adopt: Alembic had made it'`,
    `comment on column autodj_ledger.adoption.revision is 'Alembic revision that the database was at before'`,
    `comment on column autodj_ledger.adoption.columns_added is 'Columns added to tracks'`,
    `comment on column autodj_ledger.adoption.enum_value_added is 'Whether S3 was added to filesource'`,
    `comment on column autodj_ledger.adoption.at is 'When'`,
    `insert into autodj_ledger.adoption (kind, revision, columns_added, enum_value_added)
values ('${plan.kind}', ${revision}, array[${columns}]::text[], ${enumValue})`,
  ]
}

/** Brings a database on again that Alembic took back to an older revision after it was adopted. */
export function again(plan: Exclude<ApplicationPlan, { kind: 'refuse' }>): readonly string[] {
  if (plan.kind === 'create')
    return [...plan.statements, `update autodj_ledger.adoption set kind = 'create', at = now()`]
  const columns = plan.columnsAdded.map(name => `'${name}'`).join(', ')
  return [
    ...plan.statements,
    `update autodj_ledger.adoption set kind = 'adopt', revision = '${plan.revision}', at = now(), code_updated_at = null,
  columns_added = array(select distinct unnest(columns_added || array[${columns}]::text[])),
  enum_value_added = enum_value_added or ${plan.enumValueAdded}`,
  ]
}

export function down(plan: Exclude<DownPlan, { kind: 'refuse' }>): readonly string[] {
  return [...plan.statements, 'drop table autodj_ledger.adoption']
}
