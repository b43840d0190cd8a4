/** Which local copies may go, and their end: only after a proof made now, by the one way in which files are deleted. */

import { join } from 'node:path'
import { tellsEdits } from '../audio-files/change-times.ts'
import { holdsContent } from '../audio-files/content-proof.ts'
import { deleteProvedFile } from '../audio-files/delete-proved.ts'
import { unseenBecause } from '../audio-files/mounted.ts'
import type { Readers } from '../audio-files/readers.ts'
import type { DeleteCandidate, DeletePlace } from '../audio-files/remove-together.ts'
import {
  isSameFile,
  LocalFileError,
  openRoot,
  openSource,
  requireAudioRoot,
  type Source,
  statSource,
} from '../audio-files/source.ts'
import { filePages } from '../audio-files/walk.ts'
import type { Context } from '../context.ts'
import type { AudioFolder } from '../core/audio-path.ts'
import { encodeCrc32 } from '../core/crc32.ts'
import type { Database } from '../db/database.ts'
import { rowRefusal } from '../db/errors.ts'
import { type HashedFile, noteObject, rememberedFiles } from '../db/ledger.ts'
import { rowLocked } from '../db/locked-rows.ts'
import { together } from '../db/together.ts'
import { changeUnlockedTracks, type Track, trackPages, tracksById } from '../db/tracks.ts'
import type { ErrorCode } from '../error-codes.ts'
import type { ExternalSorter } from '../external-sort/sorter.ts'
import type { ObjectStore } from '../storage/store.ts'

interface LocalCopy {
  trackId: string
  /** as the row says it */
  path: string
  /** where it is, absolute; undefined if it is gone */
  file?: string
  /** bytes */
  size: number
  /** when it was last read or written, milliseconds since 1970 */
  lastUsed: number
  /** no file any longer, the row still names it */
  missing?: true
  /** a copy that comes before has the same file, which goes once */
  isShared?: true
}

/** A copy that may go; whoever has tried to remove it says how that ended, as one that has to be kept makes no room. */
export type DispensableCopy = LocalCopy & { settle(isRemoved: boolean): void }

interface CacheOptions {
  /** copies unused for this long go, milliseconds */
  olderThan: number
  /** the audio folder is kept below this many bytes, by least recent use; undefined: however large it is */
  maxBytes: number | undefined
  signal: AbortSignal
  /** what --include and the like select; undefined: all */
  selected?: readonly string[]
  /** told how many copies stay because they were used recently */
  recent(copies: number): void
}

/**
 * Copies of tracks in S3 that may go, oldest first: all unused for `olderThan`, then as many more as it takes to come
 * below `maxBytes`. More may be asked for before the first are settled: that one more has to go is said only when it is
 * so, however they end. Memory is flat: what may have to be evicted is sorted outside.
 *
 * @param sorter for the order of last use
 */
export async function* dispensableCopies(
  { knex }: Database,
  audioFolder: AudioFolder,
  { olderThan, maxBytes, signal, selected, recent }: CacheOptions,
  now: number,
  sorter: ExternalSorter,
): AsyncGenerator<DispensableCopy> {
  let total = 0
  let left = 0
  if (maxBytes !== undefined)
    for await (const page of filePages(audioFolder.root, { signal }))
      for (const { size } of page) total += size
  const root = await openRoot(audioFolder.root)
  for await (const page of trackPages(knex, {
    filter: {
      sources: ['S3'],
      hasKey: true,
      hasFile: true,
      selected,
    },
    signal,
  })) {
    for (const track of page) {
      const copy = await copyOf(track, audioFolder, root, now)
      if (copy === undefined) continue
      left += 1
      const time = String(copy.lastUsed).padStart(16, '0')
      // Rows that share a file follow each other: its times are one.
      await sorter.add(`${time} ${copy.file ?? ''}`, JSON.stringify(copy))
    }
  }
  let [underWay, bytesUnderWay] = [0, 0]
  let wake = (): void => {}
  let before: string | undefined
  for await (const batch of sorter.sorted()) {
    for (const [, value] of batch) {
      let copy = JSON.parse(value) as LocalCopy
      if (copy.file !== undefined && copy.file === before) copy = { ...copy, size: 0, isShared: true }
      before = copy.file
      const isUnused = copy.missing === true || copy.lastUsed <= now - olderThan
      if (!isUnused) {
        if (maxBytes === undefined) return recent(left)
        while (total - bytesUnderWay <= maxBytes && underWay > 0) {
          await new Promise<void>(resolve => {
            wake = resolve
          })
        }
        if (total <= maxBytes) return recent(left)
      }
      left -= 1
      underWay += 1
      bytesUnderWay += copy.size
      yield {
        ...copy,
        settle(isRemoved) {
          underWay -= 1
          bytesUnderWay -= copy.size
          if (isRemoved) total -= copy.size
          wake()
        },
      }
    }
  }
}

const milliseconds = (nanoseconds: bigint): number => Number(nanoseconds / 1_000_000n)

async function copyOf(
  track: Track,
  folder: AudioFolder,
  root: string,
  now: number,
): Promise<LocalCopy | undefined> {
  const path = track.filePath as string
  try {
    const source = await statSource(path, folder, root)
    const { atimeNs, mtimeNs, ctimeNs } = source
    // Whoever sets clocks and times wrong has used nothing in the future.
    const uses = [atimeNs, mtimeNs].map(milliseconds).filter(time => time <= now)
    return {
      trackId: track.id,
      path,
      file: join(folder.root, source.relative),
      size: source.size,
      lastUsed: uses.length === 0 ? milliseconds(ctimeNs) : Math.max(...uses),
    }
  } catch (error) {
    if (!(error instanceof LocalFileError)) throw error
    // Other rows may have shared the file; whoever deleted it has left this path.
    return error.problem === 'missing'
      ? { trackId: track.id, path, size: 0, lastUsed: 0, missing: true }
      : undefined
  }
}

export type CopyOutcome =
  | { state: 'deleted'; bytes: number }
  | { state: 'kept'; code: ErrorCode; reason: string }

/**
 * Proves that the object is what the file is, by a checksum of the file's bytes against the server's of the object
 * (or of the object's bytes, if the server has none), and then deletes the file. A dry run proves as much: what it
 * says would go, goes.
 */
export async function removeCopy(
  context: Pick<Context, 'config' | 'now' | 'signal'>,
  database: Database,
  store: ObjectStore,
  readers: Readers,
  copy: LocalCopy,
  { runId, served, lockWait, folder, dryRun }: Omit<DeletePlace, 'store'> & { dryRun: boolean },
): Promise<CopyOutcome> {
  const keep = (code: ErrorCode, reason: string): CopyOutcome => ({ state: 'kept', code, reason })
  const { audioFolder } = context.config
  const track = await trackNow(database.knex, copy.trackId)
  if (track?.s3ObjectKey == null || track.fileSource !== 'S3' || track.filePath !== copy.path) {
    return keep('row.changed', 'the row has changed in the meantime')
  }
  const head = await store.head(track.s3ObjectKey, { signal: context.signal })
  if (head === undefined) return keep('object.missing', 'the object is not in the bucket')

  const root = await requireAudioRoot(audioFolder.root)
  let source: Source
  try {
    source = await openSource(copy.path, audioFolder, root)
  } catch (error) {
    if (!(error instanceof LocalFileError)) throw error
    if (error.problem !== 'missing') return keep(error.code, error.message)
    const unseen = await unseenBecause(database, copy.path, audioFolder, folder)
    if (unseen !== undefined) return keep('audio-root.gone', unseen)
    try {
      if (!dryRun) {
        const ends = await changeUnlockedTracks(database.knex, [{ planned: track, filePath: null }])
        const end = ends.get(track.id)
        if (end === 'locked') return keep('row.locked', rowLocked)
        if (end === 'set-back') return keep('row.set-back', 'the row was set back as it was written')
        if (end === 'changed') return keep('row.changed', 'the row has changed in the meantime')
      }
    } catch (thrown) {
      const refusal = rowRefusal(thrown)
      if (refusal === undefined) throw thrown
      return keep('row.refused', refusal.reason)
    }
    return { state: 'deleted', bytes: 0 }
  }
  let object: DeleteCandidate['object']
  try {
    const file = await hashOf(database, source, readers)
    const content = { ...file, size: source.size }
    object = { key: head.key, ...content }
    const sameness = await holdsContent(store, head, content, context.signal)
    if (sameness === 'different')
      return keep('object.differs', "the object's content differs from the file's")
    if (sameness === 'archived') {
      return keep(
        'object.archived',
        'the object is in an archive storage class and cannot be played from there',
      )
    }
    if (head.restoredUntil !== undefined) {
      return keep(
        'object.archived',
        'the object is in an archive storage class, and its restored copy is there for a time only',
      )
    }
    await source.assertUnchanged()
    if (!dryRun) {
      await noteObject(database.knex, {
        bucket: store.bucket,
        key: head.key,
        size: head.size,
        etag: head.etag,
        sha256: file.sha256,
        crc32: file.crc32,
        verifiedAt: context.now(),
      })
    }
  } catch (error) {
    if (!(error instanceof LocalFileError)) throw error
    return keep(error.code, error.message)
  } finally {
    // It is opened anew, and closed, by what removes it: what is open here would stay, on NFS and FUSE.
    await source.close()
  }
  const place = { store, runId, served, lockWait, folder }
  return deleteProvedFile(context, database, { track, object, source }, place, { dryRun })
}

// Of hundreds of copies at a time.

const trackNow = together(async (knex, ids: readonly string[]) => {
  const tracks = new Map((await tracksById(knex, ids)).map(track => [track.id, track]))
  return ids.map(id => tracks.get(id))
})

const rememberedFile = together(async (knex, paths: readonly string[]) => {
  const files = await rememberedFiles(knex, paths)
  return paths.map(path => files.get(path))
})

/** Hashes of a file: remembered while it is the same file, if that can be told, else read. */
async function hashOf(
  { knex }: Database,
  source: Source,
  readers: Readers,
): Promise<Pick<HashedFile, 'sha256' | 'crc32'>> {
  const known = await rememberedFile(knex, source.relative)
  if (known !== undefined && isSameFile(known, source) && (await tellsEdits(source, known.hashedAt)))
    return known
  const { sha256, crc32 } = await readers.hashSource(source)
  return { sha256, crc32: encodeCrc32(crc32) }
}
