/** Whether the application's code can read rows that say S3, as far as the database tells. */
import type { Knex } from 'knex'
import { head } from '../core/migrate/application-schema.ts'
import { mayBeOlderCode } from '../core/migrate/schema-diff.ts'
import { FatalError } from '../errors.ts'
import { applicationSchema, ledgerSchema } from './application.ts'
import type { Database } from './database.ts'

/** The revision of code that may be too old for rows in S3, or undefined; `adoption.code_updated_at` is there. */
async function olderCode(knex: Knex): Promise<string | undefined> {
  const adoption = await knex(`${ledgerSchema}.adoption`).first('kind', 'revision', 'code_updated_at')
  if (adoption?.kind !== 'adopt' || adoption.code_updated_at !== null) return undefined
  const place = await applicationSchema(knex)
  const revisions = (await knex(`${place}.alembic_version`).pluck('version_num')) as string[]
  return mayBeOlderCode(adoption.revision, revisions) ? (adoption.revision as string) : undefined
}

/** What `migrate` says of it: nothing if the code is new enough. */
export async function codeNotice(knex: Knex): Promise<string[]> {
  const { rows: there } = await knex.raw(
    `select 1 from information_schema.columns
     where table_schema = ? and table_name = 'adoption' and column_name = 'code_updated_at'`,
    [ledgerSchema],
  )
  const revision = there.length === 0 ? undefined : await olderCode(knex)
  if (revision === undefined) return []
  return [
    `the application was at revision ${revision}: code of that revision answers with error 500 as soon as one track is in S3. ` +
      `Update it to ${head} or later and start it before the first upload; upload-local and fetch wait for that, or for ` +
      '`autodj migrate --application-updated`',
  ]
}

/**
 * Asked before rows are made to say S3, of a database that has `adoption.code_updated_at`.
 *
 * @throws FatalError while the application's code may be too old to read such rows
 */
export async function requireCodeForS3({ knex, where }: Database): Promise<void> {
  const revision = await olderCode(knex)
  if (revision === undefined) return
  throw new FatalError(
    `the application that uses the database ${where} was at revision ${revision}, whose code fails on every list as soon as one track is in S3`,
    {
      code: 'application.older',
      cure: `Update it to revision ${head} or later and start it (its Alembic then moves the database on), or, if that is done, run \`autodj migrate --application-updated\`.`,
    },
  )
}

/** Somebody says that the code is new. */
export async function confirmCode({ knex }: Database): Promise<void> {
  await knex(`${ledgerSchema}.adoption`).update({ code_updated_at: knex.fn.now() })
}
