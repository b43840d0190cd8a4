/** Whether a database is ready for autodj, asked before a run begins. */
import { FatalError } from '../errors.ts'
import type { Database } from './database.ts'

/**
 * @param newest a table of the ledger that the command needs, or a `table.column`; migrations come in order, so that those before are there
 * @throws FatalError that says what is missing, and that `autodj migrate` makes it
 */
export async function requireSchema({ knex, where }: Database, newest = 'files'): Promise<void> {
  const { rows } = await knex.raw<{
    rows: { tracks: boolean; ledger: boolean; newest: boolean; key: boolean }[]
  }>(
    `select to_regclass('public.tracks') is not null as tracks,
            to_regclass('autodj.files') is not null as ledger,
            exists (select 1 from information_schema.columns, (select string_to_array(?::text, '.') as name) wanted
                    where table_schema = 'autodj' and table_name = name[1]
                      and (name[2] is null or column_name = name[2])) as newest,
            exists (select 1 from information_schema.columns
                    where table_schema = 'public' and table_name = 'tracks' and column_name = 's3_object_key') as key`,
    [newest],
  )
  const found = rows[0]
  if (found?.tracks && found.ledger && found.newest && found.key) return
  const missing = !found?.tracks
    ? 'has no tracks table'
    : !found.key
      ? 'has no column for S3 yet'
      : found.ledger
        ? 'is at the schema of an older autodj'
        : 'has no ledger yet'
  throw new FatalError(`the database ${where} ${missing}`, {
    code: 'db.schema',
    cure: 'Run `autodj migrate` first (`autodj migrate --dry-run` shows what it does).',
  })
}
