import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Knex } from 'knex'
import type { Revision } from '../../src/core/migrate/application-schema.ts'

const fixtures = join(import.meta.dirname, '../fixtures/alembic')

/** The statements of a plain `pg_dump`, without what concerns psql and the session only. */
function dumpStatements(revision: Revision): string {
  return readFileSync(join(fixtures, `${revision}.sql`), 'utf8')
    .replaceAll(/^SET .*;$|^SELECT pg_catalog\.set_config.*;$/gm, '')
    .replaceAll(
      /^COPY public\.(\w+) \((.*)\) FROM stdin;\n((?:.*\n)*?)\\\.$/gm,
      (_, table, columns, rows: string) =>
        rows
          .split('\n')
          .filter(row => row !== '')
          .map(row => `INSERT INTO public.${table} (${columns}) VALUES ('${row.split('\t').join("', '")}');`)
          .join('\n'),
    )
}

/** Loads the dump of a revision into an empty database. */
export async function loadDump(knex: Knex, revision: Revision): Promise<void> {
  await knex.raw(dumpStatements(revision).replaceAll('?', '\\?'))
}

/**
 * Fills every column of `tracks` that the database has, with what real deployments hold: sources and sizes that are
 * null, paths relative, absolute and gone, names in many scripts, JSON whose spelling must survive.
 */
export async function fillTracks(knex: Knex, count: number): Promise<void> {
  const { rows } = await knex.raw(
    `select attname::text as name, format_type(atttypid, null) as type from pg_attribute
     where attrelid = 'public.tracks'::regclass and attnum > 0 and not attisdropped order by attnum`,
  )
  const value = ({ name, type }: { name: string; type: string }): string => {
    switch (name) {
      case 'id':
        return `md5('track' || n)::uuid`
      case 'spotify_id':
        return `'spotify:' || n`
      case 'title':
        return `(array['Ночь', 'é́ nfd', 'a\\b''c"', '音', ' tab' || chr(9)])[n % 5 + 1] || n`
      case 'file_path':
        return `(array[null, 'A/' || n || '.mp3', '/srv/audio/' || n || '.flac', '../gone ' || n])[n % 4 + 1]`
      case 'file_source':
        return `(array[null, 'LOCAL', 'YOUTUBE', 'UNAVAILABLE'])[n % 4 + 1]::public.filesource`
      default:
    }
    if (type === 'double precision') return `case when n % 7 = 0 then null else n / 3.0::float8 end`
    if (type === 'json')
      return `case when n % 5 = 0 then null else ('{ "b":  [' || n || ', 1e3],"a":null, "a": 1}')::json end`
    if (type === 'timestamp with time zone')
      return `timestamptz '2024-01-01 00:00:00.123456+02' + n * interval '1 second'`
    return name === 'artist' ? `'Artist ' || n` : `case when n % 3 = 0 then null else '${name} ' || n end`
  }
  const names = rows.map((row: { name: string }) => `"${row.name}"`).join(', ')
  await knex.raw(
    `insert into public.tracks (${names}) select ${rows.map(value).join(', ')} from generate_series(1, ${count}) as n`,
  )
}

/** Every row as text in the columns given, with the physical place and the transaction that wrote it: any write shows. */
export async function rowsAsText(knex: Knex, table: string, columns: readonly string[]): Promise<string[]> {
  const list = columns.map(name => `t."${name}"`).join(', ')
  const { rows } = await knex.raw(
    `select t.ctid::text || ' ' || t.xmin::text || ' ' || row(${list})::text as line from public.${table} t order by t.id`,
  )
  return rows.map((row: { line: string }) => row.line)
}

export async function columnsOf(knex: Knex, table: string): Promise<string[]> {
  const { rows } = await knex.raw(
    `select attname::text as name from pg_attribute
     where attrelid = 'public.${table}'::regclass and attnum > 0 and not attisdropped order by attnum`,
  )
  return rows.map((row: { name: string }) => row.name)
}
