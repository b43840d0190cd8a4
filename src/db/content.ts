import type { Knex } from 'knex'
import { slices } from './bulk.ts'
import { TRACK_COLUMNS, type Track } from './tracks.ts'

/**
 * Tracks whose `file_path` is one of these, spelt exactly so. The application has no index on `file_path`: this reads
 * the table once for each call, so ask for many paths at a time.
 */
export async function tracksByFilePath(knex: Knex, paths: readonly string[]): Promise<Track[]> {
  if (paths.length === 0) return []
  return knex('public.tracks as tracks')
    .select(TRACK_COLUMNS)
    .joinRaw('join unnest(?::text[]) as wanted(path) on tracks.file_path = wanted.path', [
      [...new Set(paths)],
    ])
    .orderBy('tracks.id')
}

/** Keys of the objects that have, by the ledger, one of these contents, in whatever bucket. */
export async function objectKeysByContent(
  knex: Knex,
  hashes: readonly string[],
): Promise<{ key: string; sha256: string }[]> {
  const found: { key: string; sha256: string }[] = []
  for (const slice of slices(hashes)) {
    found.push(
      ...(await knex('autodj.objects')
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
    const rows = await knex('autodj.files')
      .select('path', 'sha256', 'size', 'mtime_ns')
      .whereRaw('sha256 = any(?::text[])', [[...slice]])
      .orderBy('path')
    for (const { path, sha256, size, mtime_ns } of rows) {
      found.push({ path, sha256, size: Number(size), mtimeNs: BigInt(mtime_ns) })
    }
  }
  return found
}
