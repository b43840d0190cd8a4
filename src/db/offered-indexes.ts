/**
 * Indexes on the application's table that some commands and `serve` are faster with: offered, never needed. None is in a
 * transaction or keeps anybody from writing; each is named `autodj_…`, by which they are told from the application's.
 */
import type { Knex } from 'knex'
import { applicationSchema, quoteName } from './application.ts'

interface OfferedIndex {
  readonly name: string
  /** what of `create index name on tracks` comes last */
  readonly definition: string
  readonly serves: string
  /** an extension of the server that it takes */
  readonly extension?: string
}

export const offeredIndexes: readonly OfferedIndex[] = [
  {
    name: 'autodj_tracks_newest',
    definition: '(created_at desc nulls last, id)',
    serves: 'lists of `autodj serve`, newest first, however far down',
  },
  {
    name: 'autodj_tracks_words',
    definition: 'using gin (title gin_trgm_ops, artist gin_trgm_ops)',
    serves: 'the search of `autodj serve`',
    extension: 'pg_trgm',
  },
  {
    name: 'autodj_tracks_on_files',
    definition: `(id) where file_path is not null and file_source is distinct from 'S3'`,
    serves: '`cleanup` and `upload-local --delete-local`: which rows may need a file',
  },
  {
    name: 'autodj_tracks_object',
    definition: '(s3_object_key) where s3_object_key is not null',
    serves: '`reconcile`, `apply` and `cleanup`: which row names an object',
  },
]

interface IndexPlan {
  /** in this order, each by itself: none of them may be in a transaction */
  readonly statements: readonly string[]
  /** those that the server cannot have, and why */
  readonly notices: readonly string[]
}

/** What makes the offered indexes that are not there, or not whole since their making was cut off. Reads only. */
export async function indexesToMake(knex: Knex): Promise<IndexPlan> {
  const place = quoteName(await applicationSchema(knex))
  const there = await indexesThere(knex, place)
  const { rows } = await knex.raw<{ rows: { name: string; there: boolean }[] }>(
    'select name::text, installed_version is not null as there from pg_available_extensions',
  )
  const extensions = new Map(rows.map(({ name, there: made }) => [name, made]))
  const statements: string[] = []
  const notices: string[] = []
  for (const { name, definition, extension } of offeredIndexes) {
    if (there.get(name) === true) continue
    if (extension !== undefined && !extensions.has(extension)) {
      notices.push(`no index ${name}: the server does not have the extension ${extension}`)
      continue
    }
    if (extension !== undefined && extensions.get(extension) === false)
      statements.push(`create extension if not exists ${extension} schema ${place}`)
    if (there.has(name)) statements.push(`drop index concurrently ${place}.${name}`)
    statements.push(`create index concurrently ${name} on ${place}.tracks ${definition}`)
  }
  return { statements, notices }
}

/** What takes the offered indexes back. An extension stays: others may use it by now. Reads only. */
export async function indexesToDrop(knex: Knex): Promise<IndexPlan> {
  const place = quoteName(await applicationSchema(knex))
  const there = await indexesThere(knex, place)
  return {
    statements: offeredIndexes
      .filter(({ name }) => there.has(name))
      .map(({ name }) => `drop index concurrently ${place}.${name}`),
    notices: [],
  }
}

/** Which of them are there, and whether they are whole. */
async function indexesThere(knex: Knex, place: string): Promise<Map<string, boolean>> {
  const { rows } = await knex.raw<{ rows: { name: string; valid: boolean }[] }>(
    `select c.relname::text as name, x.indisvalid as valid from pg_index x join pg_class c on c.oid = x.indexrelid
     where x.indrelid = to_regclass(?) and c.relname = any(?::text[])`,
    [`${place}.tracks`, offeredIndexes.map(({ name }) => name)],
  )
  return new Map(rows.map(({ name, valid }) => [name, valid]))
}

/** Runs the statements of a plan, one after the other. */
export async function changeIndexes(
  knex: Knex,
  { statements }: IndexPlan,
  told: (statement: string) => void,
): Promise<void> {
  for (const statement of statements) {
    await knex.raw(statement)
    told(statement)
  }
}
