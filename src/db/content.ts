import path from 'node:path'
import type { Knex } from 'knex'
import { type AudioFolder, readStoredPath } from '../core/audio-path.ts'
import { slices } from './bulk.ts'
import { TRACK_COLUMNS, type Track } from './tracks.ts'

/**
 * Tracks whose `file_path` may mean this file, in whatever form. The application has no index on `file_path`: this reads
 * the whole table.
 *
 * @param relative the file below the audio root
 */
export async function tracksOfFile(knex: Knex, relative: string, folder: AudioFolder): Promise<Track[]> {
  const wanted = relative.normalize('NFC')
  const name = path.basename(relative)
  const ends = [...new Set([name, name.normalize('NFC'), name.normalize('NFD')])]
  const named = await knex('tracks')
    .select(TRACK_COLUMNS)
    .whereRaw(
      // A URL spells the name in its own way.
      `(exists (select 1 from unnest(?::text[]) as ends(name) where right(tracks.file_path, length(name)) = name)
        or tracks.file_path ilike 'file:%')`,
      [ends],
    )
    .orderBy('tracks.id')
  return named.filter(({ filePath }: Track) => {
    const stored = readStoredPath(filePath ?? '', folder)
    return stored.ok && stored.readings.some(reading => reading.relative.normalize('NFC') === wanted)
  })
}

/**
 * Rows that are not in S3 and whose `file_path` ends in one of these names, in whatever letter case and Unicode form, or
 * may do so; and those of these ids. The application has no index on `file_path`: this reads the whole table once,
 * however many names there are.
 *
 * @param names of files, as the disk spells them
 */
export async function tracksNeedingFiles(
  knex: Knex,
  names: readonly string[],
  ids: readonly string[],
): Promise<{ id: string; filePath: string }[]> {
  const forms = names.flatMap(name => [name, name.normalize('NFC'), name.normalize('NFD')])
  const { rows } = await knex.raw<{ rows: { id: string; filePath: string }[] }>(
    `with named as (
       select id, file_path, reverse(split_part(reverse(translate(file_path, '\\', '/')), '/', 1)) as name
       from tracks where file_path is not null and file_source is distinct from 'S3'
     )
     select id, file_path as "filePath" from named
     where id = any(:ids::uuid[]) or name = any(:forms::text[]) or lower(name) = any(:forms::text[])
       or name in ('', '.', '..') or file_path ilike 'file:%'
       or (octet_length(name) > length(name) and lower(normalize(name)) = any(:forms::text[]))
     order by id`,
    { ids: [...ids], forms: [...new Set([...forms, ...forms.map(name => name.toLowerCase())])] },
  )
  return rows
}

/** Keys of the objects that have, by the ledger, one of these contents, in whatever bucket. */
export async function objectKeysByContent(
  knex: Knex,
  hashes: readonly string[],
): Promise<{ key: string; sha256: string }[]> {
  const found: { key: string; sha256: string }[] = []
  for (const slice of slices(hashes)) {
    found.push(
      ...(await knex('autodj_ledger.objects')
        .distinct('key', 'sha256')
        .whereRaw('sha256 = any(?::text[])', [[...slice]])
        .orderBy('key')),
    )
  }
  return found
}

/** Where files of these contents were when they were last hashed; they may be gone or changed since. */
export async function rememberedPaths(
  knex: Knex,
  hashes: readonly string[],
): Promise<{ path: string; sha256: string; size: number; mtimeNs: bigint }[]> {
  const found: { path: string; sha256: string; size: number; mtimeNs: bigint }[] = []
  for (const slice of slices(hashes)) {
    const rows = await knex('autodj_ledger.files')
      .select('path', 'sha256', 'size', 'mtime_ns')
      .whereRaw('sha256 = any(?::text[])', [[...slice]])
      .orderBy('path')
    for (const { path, sha256, size, mtime_ns } of rows) {
      found.push({ path, sha256, size: Number(size), mtimeNs: BigInt(mtime_ns) })
    }
  }
  return found
}
