/** Which row an audio file belongs to, decided from what was seen of rows and files. */
import { matchKey } from '../names.ts'

/** What the decision needs to know of a row. */
export interface TrackRow {
  readonly id: string
  readonly artist: string
  readonly title: string
  readonly filePath: string | null
  readonly fileSource: 'LOCAL' | 'YOUTUBE' | 'S3' | 'UNAVAILABLE' | null
  readonly s3ObjectKey: string | null
}

/**
 * Where a row's `file_path` leads, seen from one file. `same`: to that very file · `misnamed`: to that very file, in a
 * form that the application does not open · `present`: to another one that is there, or that cannot be judged · `gone`:
 * nowhere · `none`: the row has no path.
 */
export type PathState = 'same' | 'misnamed' | 'present' | 'gone' | 'none'

export interface Candidate<Row extends TrackRow = TrackRow> {
  readonly track: Row
  readonly path: PathState
}

export type Decision<Row extends TrackRow = TrackRow> =
  | { readonly kind: 'known'; readonly track: Row }
  /** the rows that get this file; more than one where several shared the file that is gone */
  | {
      readonly kind: 'relink'
      readonly tracks: readonly Row[]
      readonly by: 'form' | 'path' | 'content' | 'name'
    }
  | { readonly kind: 'duplicate'; readonly of: string }

/**
 * What becomes of a file, from the rows that name its path and those of the same content. Its own row first, then a
 * row whose file is elsewhere (this one is a copy), then rows that lost theirs, then an object in S3.
 *
 * | rows | decision |
 * | --- | --- |
 * | one names this file in a form that the application does not open | relink by form |
 * | one points at this file | known |
 * | one names its path in another Unicode form, and nothing is there under that name | relink by path |
 * | same content: one points at another file that is there | duplicate of that file |
 * | same content: some point at a file that is gone | relink them all by content |
 * | same content: one has no path but an object | known: it is in S3 already |
 * | same content: one has neither | relink by content |
 * | none of these | undefined: a row may still match by name |
 */
export function decideFile<Row extends TrackRow>(
  byPath: readonly Candidate<Row>[],
  byContent: readonly Candidate<Row>[],
): Decision<Row> | undefined {
  const misnamed = byPath.filter(({ path }) => path === 'misnamed')
  if (misnamed.length > 0) return { kind: 'relink', tracks: misnamed.map(({ track }) => track), by: 'form' }
  const own = byPath.find(({ path }) => path === 'same')
  if (own) return { kind: 'known', track: own.track }
  const misspelt = lost(byPath)
  if (misspelt.length > 0) return { kind: 'relink', tracks: misspelt, by: 'path' }

  const itself = byContent.find(({ path }) => path === 'same')
  if (itself) return { kind: 'known', track: itself.track }
  const elsewhere = byContent.find(({ path }) => path === 'present')
  if (elsewhere) return { kind: 'duplicate', of: elsewhere.track.filePath ?? '' }
  const moved = lost(byContent)
  if (moved.length > 0) return { kind: 'relink', tracks: moved, by: 'content' }
  const withoutPath = byContent.filter(({ path }) => path === 'none')
  const stored = withoutPath.find(({ track }) => track.s3ObjectKey !== null)
  if (stored) return { kind: 'known', track: stored.track }
  return withoutPath.length > 0
    ? { kind: 'relink', tracks: withoutPath.map(({ track }) => track), by: 'content' }
    : undefined
}

function lost<Row extends TrackRow>(candidates: readonly Candidate<Row>[]): Row[] {
  return candidates.filter(({ path }) => path === 'gone').map(({ track }) => track)
}

/** Whether a row may be given a file by name alone: it has no object, and is not said to be in S3. */
export function mayMatchByName(track: TrackRow): boolean {
  return track.s3ObjectKey === null && track.fileSource !== 'S3'
}

/** Files of one batch that no row has claimed, by the names under which a row may look for them. */
export class NameIndex<File> {
  readonly #byKey = new Map<string, File[]>()
  readonly #taken = new Set<File>()

  add(file: File, keys: readonly string[]): void {
    for (const key of keys) {
      const files = this.#byKey.get(key)
      if (files) files.push(file)
      else this.#byKey.set(key, [file])
    }
  }

  /** The first file of the row's name that is still free. */
  find(row: { artist: string; title: string }): File | undefined {
    return this.#byKey.get(matchKey(row))?.find(file => !this.#taken.has(file))
  }

  take(file: File): void {
    this.#taken.add(file)
  }

  has(file: File): boolean {
    return this.#taken.has(file)
  }
}

/** What a relinked row gets. A row in S3 keeps its source; one that had no file becomes a local one. */
export function relinkedColumns(
  track: TrackRow,
  file: { readonly path: string; readonly size: number },
): { filePath: string; fileSource?: 'LOCAL'; fileSize?: number } {
  if (track.s3ObjectKey !== null || track.fileSource === 'S3') return { filePath: file.path }
  const keepsSource = track.fileSource === 'LOCAL' || track.fileSource === 'YOUTUBE'
  return { filePath: file.path, fileSize: file.size, ...(keepsSource ? {} : { fileSource: 'LOCAL' }) }
}
