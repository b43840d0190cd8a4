/** The change time of hashed files: an edit may keep size and modification time (tag editors can), never this one. */
export const up: readonly string[] = [
  'alter table autodj_ledger.files add column ctime_ns bigint',
  `comment on column autodj_ledger.files.ctime_ns is 'Time of its last change then, attributes included, ns since 1970; null where hashed by an older autodj, and then not trusted'`,
]

export const tables: readonly string[] = []

export const down: readonly string[] = ['alter table autodj_ledger.files drop column ctime_ns']
