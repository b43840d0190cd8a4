/** What failed or was passed over, one row for each command and subject. */

import type { Knex } from 'knex'
import { type ErrorCode, usualCure } from '../../error-codes.ts'
import { type BulkColumn, slices, unnest } from '../bulk.ts'
import { indexable, storable } from '../values.ts'

export interface FailedItem {
  command: string
  /** Track id, key or path. */
  subject: string
  trackId: string | null
  state: 'failed' | 'skipped'
  errorCode: ErrorCode
  error: string
  /** default: the usual one of its code */
  cure?: string | null | undefined
  runId: string
}

const itemColumns: readonly BulkColumn<FailedItem>[] = [
  ['command', 'text', item => item.command],
  ['subject', 'text', item => indexable(storable(item.subject))],
  ['track_id', 'uuid', item => item.trackId],
  ['state', 'text', item => item.state],
  ['error_code', 'text', item => item.errorCode],
  ['error', 'text', item => storable(item.error)],
  ['cure', 'text', item => item.cure ?? usualCure(item.errorCode)],
  ['run_id', 'uuid', item => item.runId],
]

/** Records what failed or was skipped; a repeated failure counts one more attempt. */
export async function recordItems(knex: Knex, items: readonly FailedItem[]): Promise<void> {
  // One row for a subject: a statement may touch a row only once. The last word counts.
  const latest = new Map(items.map(item => [`${item.command}\0${item.subject}`, item]))
  const names = itemColumns.map(([name]) => name).join(', ')
  for (const slice of slices([...latest.values()])) {
    const { sql, bindings } = unnest('u', itemColumns, slice)
    await knex.raw(
      `insert into autodj_ledger.items as i (${names}) select ${names} from ${sql} order by command, subject
       on conflict (command, subject) do update set
         track_id = excluded.track_id, state = excluded.state, attempts = i.attempts + 1,
         error_code = excluded.error_code, error = excluded.error, cure = excluded.cure,
         updated_at = now(), run_id = excluded.run_id`,
      bindings,
    )
  }
}

/** Commands that bring a track's audio to S3: once it is there, by whichever, none of them has failed at it. */
export const audioCommands = ['upload-local', 'fetch']

/** Forgets failures of these subjects: they succeeded, or are gone. */
export async function clearItems(
  knex: Knex,
  commands: string | readonly string[],
  subjects: readonly string[],
): Promise<void> {
  for (const slice of slices(subjects)) {
    await knex('autodj_ledger.items')
      .whereIn('command', [commands].flat())
      .whereRaw('subject = any(?::text[])', [slice.map(subject => indexable(storable(subject)))])
      .del()
  }
}

/** Those of these subjects for which what failed last, and has not succeeded since, has one of these codes. */
export async function subjectsFailedWith(
  knex: Knex,
  {
    command,
    subjects,
    errorCodes,
  }: { command: string; subjects: readonly string[]; errorCodes: readonly ErrorCode[] },
): Promise<Set<string>> {
  const byStored = new Map(subjects.map(subject => [indexable(storable(subject)), subject]))
  const found = new Set<string>()
  for (const slice of slices([...byStored.keys()])) {
    const stored: string[] = await knex('autodj_ledger.items')
      .where({ command })
      .whereRaw('subject = any(?::text[]) and error_code = any(?::text[])', [[...slice], [...errorCodes]])
      .pluck('subject')
    for (const one of stored) found.add(byStored.get(one) as string)
  }
  return found
}
