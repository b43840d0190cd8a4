/** What an analysis says of parts of a track: tempi, every bar line, keys, and how sure it is where the beats lie. */
export const up: readonly string[] = [
  `alter table autodj_ledger.analyses
  add column tempo_parts jsonb not null default '[]',
  add column phase_confidence real,
  add column downbeats jsonb not null default '[]',
  add column key_profile jsonb not null default '[]'`,
  `comment on column autodj_ledger.analyses.tempo_parts is 'From one change of tempo to the next: [{"start" s, "end" s, "bpm", "constant" on an even grid}]; empty where an older version analysed'`,
  `comment on column autodj_ledger.analyses.phase_confidence is 'Probability that beats lie there and not between, given the tempo; null where an older version analysed'`,
  `comment on column autodj_ledger.analyses.downbeats is 'Every beat that begins a bar, s; empty where an older version analysed'`,
  `comment on column autodj_ledger.analyses.key_profile is 'Some 16 s each: [{"start" s, "end" s, "key" where there is one, "confidence" 0 to 1}]; empty where an older version analysed'`,
]

export const tables: readonly string[] = []

export const down: readonly string[] = [
  `alter table autodj_ledger.analyses
  drop column tempo_parts,
  drop column phase_confidence,
  drop column downbeats,
  drop column key_profile`,
]
