/** Whether a database is ready for autodj, asked before a run begins. */
import { FatalError } from '../errors.ts'
import { applicationSchema, ledgerSchema, legacySchema, quoteName } from './application.ts'
import type { Database } from './database.ts'

/**
 * @param newest a table of the ledger that the command needs, or a `table.column`; migrations come in order, so that those before are there
 * @throws FatalError that says what is missing, and that `autodj migrate` makes it
 */
export async function requireSchema({ knex, where }: Database, newest = 'files'): Promise<void> {
  const place = await applicationSchema(knex)
  const { rows } = await knex.raw<{
    rows: {
      tracks: boolean
      ledger: boolean
      legacy: boolean
      usable: boolean | null
      newest: boolean
      key: boolean
      role: string
    }[]
  }>(
    `with columns as (
       select n.nspname, c.relname, a.attname from pg_class c join pg_namespace n on n.oid = c.relnamespace
       join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
       where c.relkind in ('r', 'p') and n.nspname in (:place, :ledger, :legacy)
     )
     select exists (select 1 from columns where nspname = :place and relname = 'tracks') as tracks,
            exists (select 1 from columns where nspname = :place and relname = 'tracks' and attname = 's3_object_key') as key,
            exists (select 1 from columns where nspname = :ledger and relname = 'files') as ledger,
            exists (select 1 from columns where nspname = :legacy and relname = 'adoption') as legacy,
            exists (select 1 from columns where nspname = :ledger and relname = split_part(:newest, '.', 1)
                    and split_part(:newest, '.', 2) in ('', attname)) as newest,
            (select has_schema_privilege(oid, 'usage') from pg_namespace where nspname = :ledger) as usable,
            current_user::text as role`,
    { place, ledger: ledgerSchema, legacy: legacySchema, newest },
  )
  const found = rows[0]
  if (found?.tracks && found.ledger && found.newest && found.key) {
    if (found.usable) return
    throw new FatalError(
      `the role ${found.role} may not use the schema ${ledgerSchema} of the database ${where}`,
      {
        code: 'db.privilege',
        cure: `As its owner: grant usage on schema ${ledgerSchema} to ${quoteName(found.role)}; grant select, insert, update, delete on all tables in schema ${ledgerSchema} to ${quoteName(found.role)}. \`autodj migrate\` does so for every role that may change tracks.`,
      },
    )
  }
  const missing = !found?.tracks
    ? 'has no tracks table'
    : !found.key
      ? 'has no column for S3 yet'
      : found.ledger || found.legacy
        ? 'has the schema of an older autodj'
        : 'has no ledger yet'
  throw new FatalError(`the database ${where} ${missing}`, { code: 'db.schema' })
}
