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
 * form that the application does not open · `present`: to another one of that content, or that cannot be judged ·
 * `edited`: to a file of another content than the row's was, that bears the row's name · `replaced`: to one of another
 * content and name, so that the row's own file has another place, or is gone · `gone`: nowhere · `none`: the row has no
 * path.
 */
export type PathState = 'same' | 'misnamed' | 'present' | 'edited' | 'replaced' | 'gone' | 'none'

export interface Candidate<Row extends TrackRow = TrackRow> {
  readonly track: Row
  readonly path: PathState
}

type Decision<Row extends TrackRow = TrackRow> =
  | { readonly kind: 'known'; readonly track: Row }
  /** the rows that get this file; more than one where several shared the file that is gone */
  | {
      readonly kind: 'relink'
      readonly tracks: readonly Row[]
      readonly by: 'form' | 'path' | 'content' | 'name'
    }
  /** the same, once every file has been seen: another file lies where these rows point, and may be another row's */
  | { readonly kind: 'moved'; readonly tracks: readonly Row[] }
  | { readonly kind: 'duplicate'; readonly of: string }
  /** it holds what a row's file held before that was changed */
  | { readonly kind: 'earlier'; readonly of: string }

/**
 * What becomes of a file, from the rows that name its path and those of the same content. Its own row first, then a
 * row whose file is elsewhere (this one is a copy), then rows that lost theirs, then an object in S3.
 *
 * | rows | decision |
 * | --- | --- |
 * | one names this file in a form that the application does not open | relink by form |
 * | one points at this file | known |
 * | one names its path in another Unicode form, and nothing is there under that name | relink by path |
 * | same content: one points at another file that has it | duplicate of that file |
 * | same content: some point at a file that is gone | relink them all by content |
 * | same content: some point where another file lies by now | relink them, once all files have been seen |
 * | one points at this file, which is neither of its content nor bears its name | known, if it is no other row's |
 * | same content: one points at a file that was edited since | an earlier version; known if that is in S3 |
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
  const nevertheless = byPath.find(({ path }) => path === 'replaced')
  const here = new Set(byPath.map(({ track }) => track.id))
  const elsewhere = byContent.find(({ path, track }) => path === 'present' && !here.has(track.id))
  if (elsewhere && !nevertheless) return { kind: 'duplicate', of: elsewhere.track.filePath ?? '' }
  if (!elsewhere) {
    const moved = lost(byContent)
    const displaced = byContent.filter(({ path }) => path === 'replaced').map(({ track }) => track)
    if (displaced.length > 0) return { kind: 'moved', tracks: [...moved, ...displaced] }
    if (moved.length > 0) return { kind: 'relink', tracks: moved, by: 'content' }
  }
  if (nevertheless) return { kind: 'known', track: nevertheless.track }
  const edited = byContent.find(({ path }) => path === 'edited')
  if (edited?.track.s3ObjectKey) return { kind: 'known', track: edited.track }
  if (edited) return { kind: 'earlier', of: edited.track.filePath ?? '' }
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

/** What is known of a file beside its name, when a row may be given it. */
export interface NamedFile {
  readonly path: string
  /** bytes */
  readonly size: number
  /** seconds, of the sound that is there; undefined if nothing tells */
  readonly duration: number | undefined
  /** the file ends before its sound does */
  readonly isCut: boolean
}

/** What the row says of the file that it lost. */
interface LostFile {
  readonly filePath: string | null
  /** bytes */
  readonly fileSize: number | null
  /** seconds */
  readonly duration: number | null
}

/** Another release of a track differs by some seconds; half a file by half of its length. */
const mostSeconds = 15
const mostShare = 0.15

/**
 * Which of the files that bear a row's name it gets. A file of another length is none of them, nor is half a
 * file beside a whole one. Of several, the one of the
 * very size decides, then the one that is called as the lost file was; where neither does, nobody can tell but a person.
 */
export function chooseByName<File extends NamedFile>(
  row: LostFile,
  files: readonly File[],
):
  | { readonly kind: 'one'; readonly file: File }
  | { readonly kind: 'several'; readonly files: readonly File[] }
  | undefined {
  const ofLength = files.filter(file => hasLengthOf(row, file))
  const intact = ofLength.filter(({ isCut }) => !isCut)
  const fitting = intact.length > 0 ? intact : ofLength
  const [first] = fitting
  if (first === undefined) return undefined
  if (fitting.length === 1) return { kind: 'one', file: first }
  const sameSize = fitting.filter(({ size }) => size === row.fileSize)
  if (sameSize.length === 1) return { kind: 'one', file: sameSize[0]! }
  const name = baseName(row.filePath ?? '')
  const sameName = fitting.filter(({ path }) => name !== '' && baseName(path) === name)
  if (sameName.length === 1) return { kind: 'one', file: sameName[0]! }
  return { kind: 'several', files: fitting }
}

function hasLengthOf({ duration: wanted }: LostFile, { duration }: NamedFile): boolean {
  if (wanted === null || wanted <= 0 || duration === undefined) return true
  return Math.abs(duration - wanted) <= Math.max(mostSeconds * Math.min(1, wanted / 60), mostShare * wanted)
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1).normalize('NFC')

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

  /** The files of the row's name that are still free, in the order in which they came. */
  all(row: { artist: string; title: string }): File[] {
    return (this.#byKey.get(matchKey(row)) ?? []).filter(file => !this.#taken.has(file))
  }

  take(file: File): void {
    this.#taken.add(file)
  }

  has(file: File): boolean {
    return this.#taken.has(file)
  }
}

/**
 * Things in groups, by what they have in common: two that share a key, be it by way of others, are in one group. Of a
 * thing takes 8 bytes a key, and 12 more while they are grouped: there may be as many as files.
 */
export class KeyGroups {
  /** key and place of a thing, 32 bits each */
  #pairs = new BigUint64Array(1_024)
  #used = 0
  #count = 0

  /** Adds a thing with its keys, of 32 bits. @returns its place: things are counted from 0 */
  add(keys: readonly number[]): number {
    const place = this.#count++
    for (const key of keys) {
      if (this.#used === this.#pairs.length) {
        const larger = new BigUint64Array(2 * this.#used)
        larger.set(this.#pairs)
        this.#pairs = larger
      }
      this.#pairs[this.#used++] = (BigInt(key) << 32n) | BigInt(place)
    }
    return place
  }

  /**
   * Places, those of one group together, groups in the order of their first.
   *
   * @param size groups with nothing in common are put together to about this many things
   */
  *groups(size: number): Generator<number[]> {
    // Union and find: of two trees the one with the earlier root takes the other in.
    const parents = Int32Array.from({ length: this.#count }, (_, place) => place)
    const root = (place: number): number => {
      let top = place
      while (parents[top] !== top) top = parents[top]!
      for (let next = place; parents[next] !== top; [next, parents[next]] = [parents[next]!, top]);
      return top
    }
    const pairs = this.#pairs.subarray(0, this.#used).sort()
    for (let at = 1; at < pairs.length; at += 1) {
      if (pairs[at]! >> 32n !== pairs[at - 1]! >> 32n) continue
      const [one, other] = [root(lower(pairs[at]!)), root(lower(pairs[at - 1]!))]
      parents[Math.max(one, other)] = Math.min(one, other)
    }
    const members = BigUint64Array.from(
      { length: this.#count },
      (_, place) => (BigInt(root(place)) << 32n) | BigInt(place),
    ).sort()
    let current: number[] = []
    for (let start = 0; start < members.length; ) {
      let end = start + 1
      while (end < members.length && members[end]! >> 32n === members[start]! >> 32n) end += 1
      if (current.length > 0 && current.length + end - start > size) {
        yield current
        current = []
      }
      for (; start < end; start += 1) current.push(lower(members[start]!))
    }
    if (current.length > 0) yield current
  }
}

/** The lower 32 bits. */
const lower = (pair: bigint): number => Number(pair & 0xffff_ffffn)

/** What a relinked row gets. A row in S3 keeps its source; one that had no file becomes a local one. */
export function relinkedColumns(
  track: TrackRow,
  file: { readonly path: string; readonly size: number },
): { filePath: string; fileSource?: 'LOCAL'; fileSize?: number } {
  if (track.s3ObjectKey !== null || track.fileSource === 'S3') return { filePath: file.path }
  const keepsSource = track.fileSource === 'LOCAL' || track.fileSource === 'YOUTUBE'
  return { filePath: file.path, fileSize: file.size, ...(keepsSource ? {} : { fileSource: 'LOCAL' }) }
}
