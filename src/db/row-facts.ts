import type { Knex } from 'knex'
import type { FileSource } from '../core/audio-source.ts'
import type { Proof, RowFacts } from '../core/reconcile/facts.ts'
import { type KeyPlace, keyReadings } from '../core/reconcile/names.ts'
import { type BulkColumn, slices, unnest } from './bulk.ts'
import { cursorPages } from './cursor.ts'
import { type ChangeOutcome, lockUnlocked } from './tracks.ts'
import { holdable } from './values.ts'

// Rows are read as arrays of their columns: of millions, objects with names would be half of what reading them takes.

type TrackColumns = [
  id: string,
  key: string | null,
  source: FileSource | null,
  size: number | null,
  path: string | null,
  label: string | null,
]

const trackColumns = `t.id, t.s3_object_key, t.file_source, t.file_size, t.file_path,
    case when t.s3_object_key is null then concat_ws(' – ', t.artist, t.title) end`

type ProofColumns = [
  size: string | null,
  etag: string | null,
  sha256: string | null,
  crc32: string | null,
  crc64nvme: string | null,
  contentType: string | null,
  at: number | null,
]

const proofColumns = `o.size, o.etag, o.sha256, o.crc32, o.crc64nvme, o.content_type,
    extract(epoch from greatest(o.verified_at, o.uploaded_at))::float8 * 1000`

async function selectRows<Row extends readonly unknown[]>(
  knex: Knex,
  sql: string,
  bindings: readonly Knex.Value[],
): Promise<Row[]> {
  return (await knex.raw<{ rows: Row[] }>(sql, bindings).options({ rowMode: 'array' })).rows
}

function factsOf([trackId, key, source, size, path, label]: TrackColumns): RowFacts {
  const facts: RowFacts = { trackId, key, source, size, path }
  if (label !== null) facts.label = label
  return facts
}

/** Undefined if the ledger has no proof: nobody has compared the object yet. */
function proofOf([size, etag, sha256, crc32, crc64nvme, contentType, at]: readonly [
  ...ProofColumns,
  ...unknown[],
]): Proof | undefined {
  if (size === null || etag === null || at === null) return undefined
  const proof: Proof = { size: Number(size), etag, at }
  if (sha256 !== null) proof.sha256 = sha256
  if (crc32 !== null) proof.crc32 = crc32
  if (crc64nvme !== null) proof.crc64nvme = crc64nvme
  if (contentType !== null) proof.contentType = contentType
  return proof
}

/** Rows to a page. */
const pageRows = 2_000

/**
 * All tracks, as the table has them: in no order that a reader may count on. Who needs them by key sorts them. They come
 * without proofs (see `proofPages`).
 */
export async function* rowFactPages(
  knex: Knex,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<RowFacts[]> {
  const pages = cursorPages<TrackColumns>(knex, `select ${trackColumns} from tracks t`, [], pageRows, {
    rowMode: 'array',
  })
  for await (const rows of pages) {
    signal?.throwIfAborted()
    yield rows.map(factsOf)
  }
}

/** What the ledger has proved of a bucket's objects, in keyset pages by key: in byte order, as S3 lists. */
export async function* proofPages(
  knex: Knex,
  bucket: string,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<{ key: string; proof: Proof | undefined }[]> {
  const pages = keysetPages<[...ProofColumns, key: string]>(
    (last, limit) => [
      `select ${proofColumns}, o.key from autodj_ledger.objects o where o.bucket = ? ${last === undefined ? '' : 'and o.key > ?'}
       order by o.key limit ${limit}`,
      last === undefined ? [bucket] : [bucket, last[7]],
    ],
    { knex, signal },
  )
  for await (const rows of pages) yield rows.map(row => ({ key: row[7], proof: proofOf(row) }))
}

/** Pages of a query that continues after the last row of the page before; the next one is read while one is worked on. */
async function* keysetPages<Row extends readonly unknown[]>(
  page: (last: Row | undefined, limit: number) => [sql: string, bindings: string[]],
  { knex, signal }: { knex: Knex; signal?: AbortSignal | undefined },
): AsyncGenerator<Row[]> {
  const read = (last?: Row): Promise<Row[]> => selectRows<Row>(knex, ...page(last, pageRows))
  let next = read()
  try {
    for (;;) {
      const rows = await next
      signal?.throwIfAborted()
      const last = rows.length === pageRows ? rows.at(-1) : undefined
      if (last !== undefined) next = read(last)
      if (rows.length > 0) yield rows
      if (last === undefined) return
    }
  } finally {
    // Whoever stops early closes the database next: nothing may be under way by then.
    await next.catch(() => {})
  }
}

/** These tracks as they are now, with the proofs of their objects, by id. */
export async function rowFactsById(
  knex: Knex,
  bucket: string,
  ids: readonly string[],
): Promise<Map<string, RowFacts>> {
  const found = new Map<string, RowFacts>()
  for (const slice of slices(ids)) {
    const rows = await selectRows<[...TrackColumns, ...ProofColumns]>(
      knex,
      `select ${trackColumns}, ${proofColumns} from tracks t
       left join autodj_ledger.objects o on o.bucket = ? and o.key = t.s3_object_key collate "C"
       where t.id = any(?::uuid[])`,
      [bucket, [...slice]],
    )
    for (const [id, key, source, size, path, , ...proved] of rows) {
      const facts = factsOf([id, key, source, size, path, null])
      const proof = proofOf(proved)
      found.set(id, proof === undefined ? facts : { ...facts, proof })
    }
  }
  return found
}

/** Which of these keys some row names now. Reads the whole table for every 5,000 keys. */
export async function keysNamed(knex: Knex, keys: readonly string[]): Promise<Set<string>> {
  const named = new Set<string>()
  for (const slice of slices(holdable(keys))) {
    const { rows } = await knex.raw<{ rows: { key: string }[] }>(
      'select distinct s3_object_key as key from tracks where s3_object_key = any(?::text[])',
      [[...slice]],
    )
    for (const { key } of rows) named.add(key)
  }
  return named
}

/**
 * Which of these keys some row speaks for: by the key itself, or as the application may write it: as a URL, with a slash
 * before it, or without the prefix. What rows mean so is an object that nothing may take from them, though they have to
 * be corrected. Reads the whole table for every 5,000 keys.
 */
export async function keysSpokenFor(
  knex: Knex,
  keys: readonly string[],
  place: KeyPlace,
): Promise<Set<string>> {
  const found = await keysNamed(knex, keys)
  const wanted = new Set(keys)
  for (const slice of slices(holdable(keys))) {
    // A URL may have its last part in other letters (`%20`, a query): such are few, and all looked at.
    const { rows } = await knex.raw<{ rows: { key: string }[] }>(
      `select distinct s3_object_key as key from tracks
       where (not starts_with(s3_object_key, ?) or s3_object_key ~ '^/|/[.]{0,2}/|[%[:space:]\\\\]')
         and (regexp_replace(s3_object_key, '^.*/', '') = any(?::text[]) or s3_object_key ~ '[%#\\?[:space:]\\\\]')`,
      [place.prefix, slice.map(key => key.slice(key.lastIndexOf('/') + 1))],
    )
    for (const { key } of rows)
      for (const prefix of [place.prefix, ''])
        for (const plain of keyReadings(key, { ...place, prefix })) if (wanted.has(plain)) found.add(plain)
  }
  return found
}

/** The keys that rows name of which these are the SHA-256, in hex. Reads the whole table. */
export async function keysByHash(knex: Knex, hashes: readonly string[]): Promise<Map<string, string>> {
  if (hashes.length === 0) return new Map()
  const { rows } = await knex.raw<{ rows: { hash: string; key: string }[] }>(
    `select hash, key from (
       select s3_object_key as key, encode(sha256(convert_to(s3_object_key, 'UTF8')), 'hex') as hash
       from tracks where s3_object_key is not null
     ) as keys where hash = any(?::text[])`,
    [[...hashes]],
  )
  return new Map(rows.map(({ hash, key }) => [hash, key]))
}

/** Keys with a multipart upload that the ledger knows as open. */
export async function keysUploading(knex: Knex, bucket: string): Promise<Set<string>> {
  const rows: { key: string }[] = await knex('autodj_ledger.uploads').distinct('key').where({ bucket })
  return new Set(rows.map(({ key }) => key))
}

/** Rows in all, and those that name an object, or live on a local file. */
export async function countRows(knex: Knex): Promise<{ rows: number; withKey: number; onFile: number }> {
  const { rows } = await knex.raw<{ rows: { rows: string; with_key: string; on_file: string }[] }>(
    `select count(*) as rows, count(s3_object_key) as with_key,
       count(*) filter (where file_path is not null and s3_object_key is null
                          and file_source in ('LOCAL', 'YOUTUBE')) as on_file
     from tracks`,
  )
  const [counts] = rows
  return { rows: Number(counts?.rows), withKey: Number(counts?.with_key), onFile: Number(counts?.on_file) }
}

/** The columns that plans change, with the time of the row's last change in full precision. */
export interface RowVersion {
  key: string | null
  source: FileSource | null
  size: number | null
  path: string | null
  /** as PostgreSQL writes it */
  updatedAt: string | null
}

/** Rows as they are now, by id. */
export async function rowVersions(knex: Knex, ids: readonly string[]): Promise<Map<string, RowVersion>> {
  const found = new Map<string, RowVersion>()
  for (const slice of slices(ids)) {
    const { rows } = await knex.raw<{ rows: (RowVersion & { id: string })[] }>(
      `select id, s3_object_key as key, file_source as source, file_size as size, file_path as path,
         updated_at::text as "updatedAt"
       from tracks where id = any(?::uuid[])`,
      [[...slice]],
    )
    for (const { id, ...version } of rows) found.set(id, version)
  }
  return found
}

/** A change of one row that is made only if the row is as it was seen. */
export interface RowSwap {
  trackId: string
  from: Omit<RowVersion, 'updatedAt'>
  to: Omit<RowVersion, 'updatedAt'>
  /** time of the last change to write; undefined: now. Null is what a row has that was never changed */
  updatedAt?: string | null
}

const swapColumns: readonly BulkColumn<RowSwap>[] = [
  ['id', 'uuid', swap => swap.trackId],
  ['from_key', 'text', swap => swap.from.key],
  ['from_source', 'text', swap => swap.from.source],
  ['from_size', 'float8', swap => swap.from.size],
  ['from_path', 'text', swap => swap.from.path],
  ['to_key', 'text', swap => swap.to.key],
  ['to_source', 'text', swap => swap.to.source],
  ['to_size', 'float8', swap => swap.to.size],
  ['to_path', 'text', swap => swap.to.path],
  ['keeps_time', 'bool', swap => swap.updatedAt !== undefined],
  ['updated_at', 'text', swap => swap.updatedAt],
]

/** What a row must still be like to be swapped. */
const asSeen = `t.s3_object_key is not distinct from u.from_key
         and t.file_source::text is not distinct from u.from_source
         and t.file_size is not distinct from u.from_size
         and t.file_path is not distinct from u.from_path`

/**
 * Changes rows, each only if all four columns still say what was seen, and if no other transaction has it locked. Call it
 * in a transaction.
 *
 * @returns what became of each, by its id
 */
export async function swapRows(
  knex: Knex,
  swaps: readonly RowSwap[],
): Promise<Map<string, ChangeOutcome | 'locked'>> {
  const outcomes = new Map<string, ChangeOutcome | 'locked'>()
  for (const slice of slices(swaps.toSorted((a, b) => (a.trackId < b.trackId ? -1 : 1)))) {
    const ids = slice.map(({ trackId }) => trackId)
    const { free, locked } = await lockUnlocked(knex, ids)
    for (const id of ids) outcomes.set(id, locked.has(id) ? 'locked' : free.has(id) ? 'changed' : 'deleted')
    const due = slice.filter(({ trackId }) => free.has(trackId))
    if (due.length === 0) continue
    const { sql, bindings } = unnest('u', swapColumns, due)
    const { rows } = await knex.raw<{ rows: { id: string; source: FileSource | null; made: boolean }[] }>(
      `with seen as materialized (select t.id from tracks t join ${sql} on t.id = u.id where ${asSeen}),
       made as (
         update tracks t set
           s3_object_key = u.to_key, file_source = u.to_source::filesource, file_size = u.to_size,
           file_path = u.to_path,
           updated_at = case when u.keeps_time then u.updated_at::timestamptz else now() end
         from ${sql} where t.id = u.id and t.id in (select id from seen)
         returning t.id, t.file_source as source
       )
       select seen.id, made.source, made.id is not null as made from seen left join made on made.id = seen.id`,
      [...bindings, ...bindings],
    )
    const wanted = new Map(due.map(({ trackId, to }) => [trackId, to.source]))
    for (const { id, source, made } of rows)
      outcomes.set(id, made && source === wanted.get(id) ? 'done' : 'set-back')
  }
  return outcomes
}
