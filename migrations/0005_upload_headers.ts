/** What an unfinished upload was begun with, so that it is gone on with only where the same is asked for. */
export const up: readonly string[] = [
  'alter table autodj_ledger.uploads add column headers text',
  `comment on column autodj_ledger.uploads.headers is 'Headers that the object will have, JSON with sorted names; null where begun by an older autodj'`,
]

export const tables: readonly string[] = []

export const down: readonly string[] = ['alter table autodj_ledger.uploads drop column headers']
