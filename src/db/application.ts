/** Where the application's tables are: where the application finds them, which is by the search path of its session. */
import type { Knex } from 'knex'
import { FatalError } from '../errors.ts'

/** What autodj made before its schemas had names that are no role's. */
export const legacySchema = 'autodj'
export const ledgerSchema = 'autodj_ledger'

interface Holder {
  schema: string
  /** 1: first on the search path; null: not on it */
  position: number | null
  /** whether this role may look into the schema */
  usable: boolean
}

/**
 * The schema of the application's tables; of a database that has none yet, the one in which they would be made.
 *
 * @throws FatalError if it is not clear which tables are the application's, and where they are where this session
 *   does not see them: a second set would be made, and the library look empty
 */
export async function applicationSchema(knex: Knex): Promise<string> {
  const { rows } = await knex.raw<{ rows: Holder[] }>(
    `select n.nspname::text as schema, array_position(current_schemas(false), n.nspname) as position,
            has_schema_privilege(n.oid, 'usage') as usable
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relname = 'tracks' and c.relkind in ('r', 'p')
       and exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'spotify_id')
     order by position nulls last, schema`,
  )
  const seen = rows.filter(({ position }) => position !== null)
  const [first] = seen
  if (first === undefined) {
    if (rows.length > 0) throw notOnPath(rows)
    return emptySchema(knex)
  }
  if (rows.length > 1) await refuseAmbiguous(knex, rows)
  return first.schema
}

function notOnPath(holders: readonly Holder[]): FatalError {
  const [{ schema, usable }] = holders as [Holder]
  const names = holders.map(holder => quoteName(holder.schema)).join(', ')
  return new FatalError(
    `the application's tables are in the schema ${names}, which this session cannot see (it is not on its search_path)`,
    {
      code: 'db.search-path',
      cure: usable
        ? `Name the schema as the application does: add ?options=-csearch_path%3D${encodeURIComponent(schema)} to DATABASE_URL, or alter role … set search_path. Nothing was created.`
        : `Connect with the application's role, or grant usage on schema ${quoteName(schema)}. Nothing was created.`,
      details: { schemas: holders.map(holder => holder.schema) },
    },
  )
}

/** More than one set of tables, and not clear which has the library. */
async function refuseAmbiguous(knex: Knex, holders: readonly Holder[]): Promise<void> {
  const counts: { holder: Holder; tracks: number | undefined }[] = []
  for (const holder of holders) counts.push({ holder, tracks: await countTracks(knex, holder) })
  const filled = counts.filter(({ tracks }) => tracks !== 0)
  const onPath = filled.filter(({ holder }) => holder.position !== null)
  const first = counts[0]!
  // Copies that this session does not see do no harm while the first has the library.
  if (filled.length === 0 || (first.tracks !== 0 && onPath.length === 1)) return
  const told = counts.map(
    ({ holder, tracks }) =>
      `${quoteName(holder.schema)} (${tracks === undefined ? 'not readable' : tracks === 1 ? '1 track' : `${tracks} tracks`}` +
      `${holder.position === null ? ', not on the search_path' : ''})`,
  )
  throw new FatalError(
    `the application's tables are in more than one schema: ${told.join(' and ')}; this session would use ${quoteName(first.holder.schema)}`,
    {
      code: 'db.ambiguous',
      cure: `Name the right one in DATABASE_URL, as ?options=-csearch_path%3D${encodeURIComponent((filled[0] ?? first).holder.schema)}, and rename or drop the other.`,
      details: { schemas: counts.map(({ holder, tracks }) => ({ schema: holder.schema, tracks })) },
    },
  )
}

/** Undefined if they cannot be read. */
async function countTracks(knex: Knex, { schema, usable }: Holder): Promise<number | undefined> {
  if (!usable) return undefined
  const { rows: may } = await knex.raw(`select has_table_privilege(?, 'select') as may`, [
    `${quoteName(schema)}.tracks`,
  ])
  if (!may[0].may) return undefined
  const { rows } = await knex.raw(`select count(*)::int as tracks from ${quoteName(schema)}.tracks`)
  return rows[0].tracks
}

/** Where tables would be made now. What an earlier autodj left goes, and is not the place. */
async function emptySchema(knex: Knex): Promise<string> {
  const { rows } = await knex.raw<{ rows: { schema: string }[] }>(
    `select s::text as schema from unnest(current_schemas(false)) with ordinality as t(s, position)
     where not (s = ? and to_regclass(?) is not null) order by position limit 1`,
    [legacySchema, `${legacySchema}.knex_migrations`],
  )
  const [found] = rows
  if (found !== undefined) return found.schema
  throw new FatalError('no schema on the search_path of this session exists', {
    code: 'db.search-path',
    cure: 'Create the schema, or correct search_path of the role or in DATABASE_URL.',
  })
}

/** An identifier as SQL wants it. */
export function quoteName(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`
}
