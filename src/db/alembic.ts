import type { Knex } from 'knex'
import { head, type Schema, schemaAt, type Table } from '../core/migrate/application-schema.ts'
import type { AdoptionRecord, DownFacts, LiveDatabase } from '../core/migrate/schema-diff.ts'
import { quoteName } from './application.ts'

interface Observed {
  tables: string[] | null
  enums: Record<string, string[]> | null
  columns: { table: string; name: string; type: string; nullable: boolean; default: string | null }[] | null
  constraints: { table: string; name: string; definition: string }[] | null
  indexes: { table: string; name: string; unique: boolean; valid: boolean; definition: string }[] | null
}

/**
 * One statement, so one snapshot. Names are qualified whatever the session's search_path is: `set_config` in the
 * first CTE would come too late for that, so the caller sets it.
 */
const observe = `
with wanted as (
  select c.oid, c.relname::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = ? and c.relkind in ('r', 'p') and c.relname = any(?::text[])
)
select
  (select json_agg(name) from wanted) as tables,
  (select json_object_agg(name, labels) from (
     select t.typname::text as name, json_agg(e.enumlabel::text order by e.enumsortorder) as labels
     from pg_type t join pg_namespace n on n.oid = t.typnamespace join pg_enum e on e.enumtypid = t.oid
     where n.nspname = ? and t.typname = any(?::text[]) group by t.typname) as enums) as enums,
  (select json_agg(json_build_object(
       'table', w.name, 'name', a.attname,
       'type', format_type(a.atttypid, a.atttypmod)
         || case when a.attcollation <> t.typcollation then ' collate ' || a.attcollation::regcollation::text else '' end,
       'nullable', not a.attnotnull,
       'default', case
         when a.attidentity <> '' then 'identity'
         when a.attgenerated <> '' then 'generated ' || pg_get_expr(d.adbin, d.adrelid)
         else pg_get_expr(d.adbin, d.adrelid) end) order by a.attrelid, a.attnum)
     from wanted w join pg_attribute a on a.attrelid = w.oid and a.attnum > 0 and not a.attisdropped
     join pg_type t on t.oid = a.atttypid
     left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum) as columns,
  (select json_agg(json_build_object('table', w.name, 'name', c.conname, 'definition', pg_get_constraintdef(c.oid))
       order by c.conname)
     from wanted w join pg_constraint c on c.conrelid = w.oid where c.contype in ('p', 'u', 'f', 'c', 'x')) as constraints,
  (select json_agg(json_build_object('table', w.name, 'name', i.relname, 'unique', x.indisunique, 'valid', x.indisvalid,
       'definition', pg_get_indexdef(x.indexrelid)) order by i.relname)
     from wanted w join pg_index x on x.indrelid = w.oid join pg_class i on i.oid = x.indexrelid
     -- Ours, which are offered: offered-indexes.ts.
     where not starts_with(i.relname::text, 'autodj_') and not exists (select 1 from pg_constraint c where c.conindid = x.indexrelid and c.conrelid = w.oid)) as indexes`

/**
 * What the database holds of the application: its tables and enums, and the Alembic revision.
 *
 * @param place the schema that holds them; in what is observed it is called `public`, as in the dumps
 */
export async function observeApplication(knex: Knex, place: string): Promise<LiveDatabase> {
  const { tables: known, enums } = schemaAt(head)
  return knex.transaction(async trx => {
    const before = await trx.raw(`select current_setting('search_path') as path`)
    await trx.raw(`select set_config('search_path', 'pg_catalog', true)`)
    const { rows } = await trx.raw<{ rows: Observed[] }>(observe, [
      place,
      Object.keys(known),
      place,
      Object.keys(enums),
    ])
    await trx.raw(`select set_config('search_path', ?, true)`, [before.rows[0].path])
    const schema = toSchema(calledPublic(rows[0]!, place))
    const revisions =
      schema.tables['alembic_version'] === undefined
        ? undefined
        : ((await trx(`${place}.alembic_version`).pluck('version_num')) as string[])
    return { schema, revisions }
  })
}

/** SQL written for the schema `public`, for where the application's tables are. */
export function inPlace(statements: readonly string[], place: string): string[] {
  return statements.map(sql =>
    place === 'public' ? sql : sql.replaceAll(/\bpublic\./g, `${quoteName(place)}.`),
  )
}

function calledPublic(observed: Observed, place: string): Observed {
  if (place === 'public') return observed
  const text = JSON.stringify(observed)
  return JSON.parse(
    text.replaceAll(JSON.stringify(`${quoteName(place)}.`).slice(1, -1), 'public.'),
  ) as Observed
}

function toSchema(observed: Observed): Schema {
  const of = <T extends { table: string }>(rows: T[] | null, table: string): Omit<T, 'table'>[] =>
    (rows ?? []).filter(row => row.table === table).map(({ table: _, ...rest }) => rest)
  const tables: Record<string, Table> = {}
  for (const name of observed.tables ?? []) {
    tables[name] = {
      columns: of(observed.columns, name),
      constraints: of(observed.constraints, name),
      indexes: of(observed.indexes, name).map(index => ({
        name: index.name,
        unique: index.unique,
        definition: `${index.definition.replace(/ INDEX \S+ ON /, ' INDEX ON ')}${index.valid ? '' : ' INVALID'}`,
      })),
    }
  }
  return { enums: observed.enums ?? {}, tables }
}

/** Whether a table is there: works whether or not the schema exists. */
export async function tableExists(knex: Knex, name: string): Promise<boolean> {
  const { rows } = await knex.raw<{ rows: { found: string | null }[] }>(
    'select to_regclass(?)::text as found',
    [name],
  )
  return rows[0]?.found != null
}

/** Tracks that live in S3, of a database whose schema may be older than S3. */
async function countTracksInS3(knex: Knex, place: string, hasKeyColumn: boolean): Promise<number> {
  const query = knex(`${place}.tracks`).whereRaw(`file_source::text = 'S3'`)
  if (hasKeyColumn) query.orWhereNotNull('s3_object_key')
  return Number((await query.count({ count: '*' }))[0]?.count ?? 0)
}

/** What must be known before the application's schema may be taken back. */
export async function observeDown(knex: Knex, place: string, record: AdoptionRecord): Promise<DownFacts> {
  const { schema, revisions = [] } = await observeApplication(knex, place)
  const columns = schema.tables['tracks']?.columns.map(({ name }) => name) ?? []
  let rows = 0
  for (const table of Object.keys(schema.tables)) {
    if (table === 'alembic_version') continue
    rows += Number((await knex(`${place}.${table}`).count({ count: '*' }))[0]?.count ?? 0)
  }
  const columnsInUse: string[] = []
  for (const column of record.columnsAdded.filter(name => columns.includes(name))) {
    if (await knex(`${place}.tracks`).whereNotNull(column).first(knex.raw('1'))) columnsInUse.push(column)
  }
  return {
    record: { ...record, columnsAdded: record.columnsAdded.filter(name => columns.includes(name)) },
    revisions,
    tracksInS3:
      columns.length === 0 ? 0 : await countTracksInS3(knex, place, columns.includes('s3_object_key')),
    rows,
    columnsInUse,
  }
}
