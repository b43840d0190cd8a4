/** Whether somebody has said that the application's code can read rows in S3, of a database adopted at an older revision. */
export const up: readonly string[] = [
  'alter table autodj_ledger.adoption add column code_updated_at timestamptz',
  `comment on column autodj_ledger.adoption.code_updated_at is 'When the operator said that the application is updated; null: nobody has'`,
]

export const tables: readonly string[] = []

export const down: readonly string[] = ['alter table autodj_ledger.adoption drop column code_updated_at']
