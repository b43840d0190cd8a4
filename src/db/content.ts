import path from 'node:path'
import type { Knex } from 'knex'
import { type AudioFolder, portable, readStoredPath } from '../core/audio-path.ts'
import { slices } from './bulk.ts'
import { type Track, trackColumns } from './tracks.ts'

/**
 * Tracks whose `file_path` may mean one of these files, in whatever form, by the file. The application has no index on
 * `file_path`: this reads the whole table once, however many files there are.
 *
 * @param relatives the files below the audio folder
 */
export async function tracksOfFiles(
  knex: Knex,
  relatives: readonly string[],
  folder: AudioFolder,
): Promise<Map<string, Track[]>> {
  const found = new Map<string, Track[]>()
  if (relatives.length === 0) return found
  const wanted = new Map(relatives.map(relative => [portable(relative).normalize('NFC'), relative]))
  const forms = relatives.flatMap(relative => {
    const name = path.basename(relative)
    return [name, name.normalize('NFC'), name.normalize('NFD')]
  })
  const named: Track[] = await knex('tracks')
    .select(trackColumns)
    .whereRaw(
      // A URL spells the name in its own way.
      `(reverse(split_part(reverse(translate(tracks.file_path, '\\', '/')), '/', 1)) = any(?::text[])
        or tracks.file_path ilike 'file:%')`,
      [[...new Set(forms)]],
    )
    .orderBy('tracks.id')
  for (const track of named) {
    const stored = readStoredPath(track.filePath ?? '', folder)
    const readings = stored.ok ? stored.readings : []
    const files = readings.flatMap(reading => wanted.get(portable(reading.relative).normalize('NFC')) ?? [])
    for (const file of new Set(files)) found.set(file, [...(found.get(file) ?? []), track])
  }
  return found
}

/** As {@link tracksOfFiles}, of one. */
export async function tracksOfFile(knex: Knex, relative: string, folder: AudioFolder): Promise<Track[]> {
  return (await tracksOfFiles(knex, [relative], folder)).get(relative) ?? []
}

/** A row that is not in S3 and names a file. */
export interface RowOnFile {
  readonly id: string
  readonly filePath: string
}

const onFile = `file_path is not null and file_source is distinct from 'S3'`

/** Those of these ids whose rows name a file and are not in S3, in the order of their ids. */
export async function rowsOnFiles(knex: Knex, ids: readonly string[]): Promise<RowOnFile[]> {
  const found: RowOnFile[] = []
  for (const slice of slices(ids)) {
    const { rows } = await knex.raw<{ rows: RowOnFile[] }>(
      `select id, file_path as "filePath" from tracks where id = any(?::uuid[]) and ${onFile} order by id`,
      [[...slice]],
    )
    found.push(...rows)
  }
  return found
}

/** The oldest transaction under way, or the next: what {@link rowsOnFilesSince} continues from. */
export async function changeMark(knex: Knex): Promise<string> {
  const { rows } = await knex.raw<{ rows: { mark: string }[] }>(
    'select pg_snapshot_xmin(pg_current_snapshot())::text as mark',
  )
  return rows[0]!.mark
}

/** A row as one transaction left it. */
export type RowOnFileVersion = RowOnFile & {
  /** tells this state of the row from others */
  readonly version: string
}

/**
 * Rows that name a file and are not in S3, of those that anybody has made or changed since the mark, and perhaps a few
 * others. No index tells: this reads the whole table once, without a look at its texts.
 *
 * @param mark as {@link changeMark} gave it, at most 2^31 transactions ago
 */
export async function rowsOnFilesSince(knex: Knex, mark: string): Promise<RowOnFileVersion[]> {
  const { rows } = await knex.raw<{ rows: RowOnFileVersion[] }>(
    `select id, file_path as "filePath", xmin || ' ' || ctid as version from tracks
     where ${onFile} and age(xmin) <= (select age((?::xid8)::xid)) order by id`,
    [mark],
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
