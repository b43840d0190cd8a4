/** Hashes of local files, so that none is read twice. */
import type { Knex } from 'knex'
import { type AudioFolder, portable, readStoredPath } from '../../core/audio-path.ts'
import { type BulkColumn, slices, unnest } from '../bulk.ts'
import { indexableBytes, int8, int8Time } from '../values.ts'

/** A local file as it was when it was hashed. It holds while size, times, inode and device are the same. */
export interface HashedFile {
  /** Relative to the audio folder, `/` between its parts. */
  path: string
  /** Bytes. */
  size: number
  /** Nanoseconds since 1970. */
  mtimeNs: bigint
  /** Of the last change, attributes included; null if an older autodj hashed it, which is then not trusted. */
  ctimeNs: bigint | null
  /** Null if the number does not fit 63 bits. */
  inode: bigint | null
  device: bigint | null
  /** Lower-case hex. */
  sha256: string
  /** Base64 of 4 bytes. */
  crc32: string
  /** When its reading began; by default now. */
  hashedAt?: Date
}

const fileColumns: readonly BulkColumn<HashedFile>[] = [
  ['path', 'text', file => file.path],
  ['size', 'bigint', file => file.size],
  ['mtime_ns', 'bigint', file => int8Time(file.mtimeNs)],
  ['ctime_ns', 'bigint', file => int8(file.ctimeNs)],
  ['inode', 'bigint', file => int8(file.inode)],
  ['device', 'bigint', file => int8(file.device)],
  ['sha256', 'text', file => file.sha256],
  ['crc32', 'text', file => file.crc32],
  ['hashed_at', 'timestamptz', file => file.hashedAt ?? new Date()],
]

/** Remembers hashes. A path too long for the index is left out: it is a cache, that file is just read again. */
export async function rememberFiles(knex: Knex, files: readonly HashedFile[]): Promise<void> {
  const latest = new Map(
    files.filter(file => Buffer.byteLength(file.path) <= indexableBytes).map(file => [file.path, file]),
  )
  const names = fileColumns.map(([name]) => name).join(', ')
  for (const slice of slices([...latest.values()])) {
    const { sql, bindings } = unnest('u', fileColumns, slice)
    await knex.raw(
      `insert into autodj_ledger.files (${names}) select ${names} from ${sql} order by path collate "C"
       on conflict (path) do update set
         size = excluded.size, mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns, inode = excluded.inode, device = excluded.device,
         sha256 = excluded.sha256, crc32 = excluded.crc32, hashed_at = excluded.hashed_at`,
      bindings,
    )
  }
}

/**
 * Hashes remembered of the files that rows name, by `file_path`: of the first reading of each that is known. Compare
 * size, times, inode and device before trusting one.
 */
export async function rememberedByPath(
  knex: Knex,
  filePaths: readonly string[],
  folder: AudioFolder,
): Promise<Map<string, HashedFile>> {
  const readings = new Map(
    filePaths.map(filePath => {
      const stored = readStoredPath(filePath, folder)
      return [filePath, stored.ok ? stored.readings.map(({ relative }) => portable(relative)) : []]
    }),
  )
  const known = await rememberedFiles(knex, [...new Set([...readings.values()].flat())])
  const found = new Map<string, HashedFile>()
  for (const [filePath, paths] of readings) {
    const file = paths.map(one => known.get(one)).find(one => one !== undefined)
    if (file !== undefined) found.set(filePath, file)
  }
  return found
}

/** Hashes remembered for these paths below the audio folder. Compare size, times, inode and device before trusting one. */
export async function rememberedFiles(
  knex: Knex,
  paths: readonly string[],
): Promise<Map<string, HashedFile>> {
  const found = new Map<string, HashedFile>()
  for (const slice of slices(paths)) {
    const rows = await knex('autodj_ledger.files').whereRaw('path = any(?::text[])', [[...slice]])
    for (const row of rows) {
      found.set(row.path, {
        path: row.path,
        size: Number(row.size),
        mtimeNs: BigInt(row.mtime_ns),
        ctimeNs: row.ctime_ns == null ? null : BigInt(row.ctime_ns),
        inode: row.inode === null ? null : BigInt(row.inode),
        device: row.device === null ? null : BigInt(row.device),
        sha256: row.sha256,
        crc32: row.crc32,
        hashedAt: row.hashed_at,
      })
    }
  }
  return found
}
