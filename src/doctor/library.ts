/** Checks of what commands need of the database and the bucket together: that rows can be written, and are the right ones. */
import type { Knex } from 'knex'
import { formatCount, plural } from '../core/units.ts'
import { applicationSchema, ledgerSchema, quoteName } from '../db/application.ts'
import type { Database } from '../db/database.ts'
import { classifyDbError } from '../db/errors.ts'
import { AppError, toError } from '../errors.ts'
import { archiveCure } from '../storage/s3-errors.ts'
import { isArchived } from '../storage/s3-fields.ts'
import type { ObjectStore } from '../storage/store.ts'
import { failure, ok, type Verdict, warning } from './check.ts'

interface WriteFacts {
  role: string
  database: string
  standby: boolean
  readOnly: boolean
  readOnlyBy: string
  /** row level security hides rows of `tracks`, or refuses them, to this role */
  policed: boolean
  select: boolean
  insert: boolean
  update: boolean
  delete: boolean
  /** tables of the ledger that may not be written */
  ledger: string[]
}

/** A row is written as it is, and the write taken back: what stands in the way is named. */
export async function checkDatabaseWrite({ knex, where, dialect }: Database): Promise<Verdict> {
  const isEmbedded = dialect === 'pglite'
  const tracks = `${quoteName(await applicationSchema(knex))}.tracks`
  const facts = await writeFacts(knex, tracks)
  const role = quoteName(facts.role)
  if (facts.standby) {
    return failure(`${where} is a standby: it takes no writes`, 'Set DATABASE_URL to the primary server.')
  }
  if (facts.readOnly && !isEmbedded) {
    const cures: Record<string, string> = {
      user: `alter role ${role} reset default_transaction_read_only`,
      database: `alter database ${quoteName(facts.database)} reset default_transaction_read_only`,
      'database user': `alter role ${role} in database ${quoteName(facts.database)} reset default_transaction_read_only`,
      client: 'take default_transaction_read_only out of the options of DATABASE_URL (or PGOPTIONS)',
    }
    return failure(
      `sessions of ${facts.role} are read-only (default_transaction_read_only, set by: ${facts.readOnlyBy})`,
      cures[facts.readOnlyBy] ?? 'Set default_transaction_read_only to off where the server is configured.',
    )
  }
  const lacking = (['select', 'insert', 'update', 'delete'] as const).filter(right => !facts[right])
  if (lacking.length > 0) {
    return failure(
      `the role ${facts.role} may not ${lacking.join(', ')} on ${tracks}`,
      `As its owner: grant ${lacking.join(', ')} on ${tracks} to ${role}.`,
    )
  }
  if (facts.ledger.length > 0) {
    return failure(
      `the role ${facts.role} may not write ${plural(facts.ledger.length, 'table')} of the ledger (${facts.ledger[0]})`,
      `As its owner: grant select, insert, update, delete on all tables in schema ${ledgerSchema} to ${role}.`,
    )
  }
  if (facts.policed) {
    return warning(
      `row level security is in force on ${tracks} for ${facts.role}: rows may be hidden from autodj, and look missing`,
      `Give it all rows: alter role ${role} bypassrls, or create policy autodj on ${tracks} to ${role} using (true) with check (true).`,
    )
  }
  const refused = await tryWrite(knex, tracks, isEmbedded)
  if (refused === undefined) return ok('a row of tracks can be written (and was left as it is)')
  const known = classifyDbError(refused, where)
  return failure(
    `no row of tracks can be written: ${known?.message ?? toError(refused).message}`,
    (known instanceof AppError ? known.cure : undefined) ??
      'See the message: a trigger or a rule refuses it.',
  )
}

async function writeFacts(knex: Knex, tracks: string): Promise<WriteFacts> {
  const may = (right: string) => `has_table_privilege(:tracks, '${right}') as "${right}"`
  const { rows } = await knex.raw<{ rows: WriteFacts[] }>(
    `select current_user::text as role, current_database()::text as database, pg_is_in_recovery() as standby,
            current_setting('transaction_read_only') = 'on' as "readOnly",
            (select source from pg_settings where name = 'default_transaction_read_only') as "readOnlyBy",
            row_security_active(:tracks) as policed,
            ${['select', 'insert', 'update', 'delete'].map(may).join(', ')},
            array(select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
                  where n.nspname = :ledger and c.relkind in ('r', 'p')
                    and not (has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
                             and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete'))
                  order by 1) as ledger`,
    { tracks, ledger: ledgerSchema },
  )
  return rows[0]!
}

/** @returns what the database said against it. A row that somebody else holds is passed over. */
async function tryWrite(knex: Knex, tracks: string, isEmbedded: boolean): Promise<unknown> {
  const trx = await knex.transaction()
  try {
    // It is open for reading only, by our own setting.
    if (isEmbedded) await trx.raw('set transaction read write')
    await trx.raw(`set local lock_timeout = '2s'`)
    await trx.raw(
      `update ${tracks} set title = title where id = (select id from ${tracks} limit 1 for update skip locked)`,
    )
    return undefined
  } catch (error) {
    return error
  } finally {
    await trx.rollback().catch(() => undefined)
  }
}

/** Whether rows and objects belong together, and can be read: an empty table beside a full bucket is the wrong one. */
export async function checkLibrary(
  { knex, where }: Database,
  store: ObjectStore,
  { prefix, bucket, signal }: { prefix: string; bucket: string; signal: AbortSignal },
): Promise<Verdict> {
  const tracks = `${quoteName(await applicationSchema(knex))}.tracks`
  const { rows } = await knex.raw<{ rows: { tracks: number; s3: number }[] }>(
    `select count(*)::float8 as tracks, count(*) filter (where file_source = 'S3')::float8 as s3 from ${tracks}`,
  )
  const found = rows[0] ?? { tracks: 0, s3: 0 }
  let first: { key: string; storageClass?: string }[] = []
  for await (const page of store.list({ prefix, signal })) {
    // What begins with a dot is autodj's own.
    first = page.filter(({ key }) => !key.startsWith(`${prefix}.`))
    break
  }
  const objects = `${first.length >= 900 ? 'at least ' : ''}${plural(first.length, 'object')} under ${prefix}`
  if (found.tracks === 0 && first.length > 0) {
    return failure(
      `tracks is empty in ${where}, and ${bucket} holds ${objects}: one of them is probably another library's`,
      'Check DATABASE_URL, S3_BUCKET_NAME and S3_KEY_PREFIX; if the rows were lost, restore the database before anything else.',
    )
  }
  if (found.s3 > 0 && first.length === 0) {
    return failure(
      `${plural(found.s3, 'row')} of tracks ${found.s3 === 1 ? 'says' : 'say'} S3, and ${bucket} holds nothing under ${prefix}`,
      'Check S3_BUCKET_NAME, S3_KEY_PREFIX and the endpoint in force.',
    )
  }
  const archived = first.filter(({ storageClass }) => isArchived(storageClass))
  if (archived.length > 0) {
    return warning(
      `${formatCount(archived.length)} of ${plural(first.length, 'object')} looked at cannot be read (${archived[0]!.storageClass}), such as ${archived[0]!.key}`,
      archiveCure,
    )
  }
  return ok(`${plural(found.tracks, 'row')} of tracks, ${formatCount(found.s3)} in S3; ${objects}`)
}
