/** Which rows may belong to a file: by its path, by its content, by its name. Reads only. */
import type { BigIntStats } from 'node:fs'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import type { Knex } from 'knex'
import { hashOfFile } from '../audio-files/content-proof.ts'
import { identityOf } from '../audio-files/source.ts'
import type { FoundFile } from '../audio-files/walk.ts'
import {
  type AudioFolder,
  isOpenedByApplication,
  type PathReading,
  portable,
  readStoredPath,
} from '../core/audio-path.ts'
import { isLocalTrackId, localTrackId } from '../core/import/content-id.ts'
import {
  type Candidate,
  chooseByName,
  mayMatchByName,
  type NamedFile,
  NameIndex,
  type PathState,
} from '../core/import/plan.ts'
import { matchKey, matchKeysOfFile, trackName } from '../core/names.ts'
import { objectKeysByContent } from '../db/content.ts'
import { type Track, tracksBySpotifyId } from '../db/tracks.ts'
import { systemErrorCode } from '../errors.ts'
import type { ContentCache } from './content-cache.ts'
import { canonical, RowIndex } from './row-index.ts'
import { type FileTags, readTags } from './tags.ts'

/** A file of known content. */
export interface AudioFile extends FoundFile {
  readonly sha256: string
}

/** A file that no row has claimed by path or content. */
export interface NewFile {
  readonly file: AudioFile
  readonly tags: FileTags
}

/** A file at the place where a row points. */
export interface Holder extends FoundFile {
  readonly absolute: string
}

/** Where a row's path leads, and the file that is there instead of its own. */
interface Seen {
  readonly path: PathState
  readonly holder?: Holder
}

interface NameMatches {
  /** a file and the rows that get it */
  matches: { file: AudioFile; tracks: Track[] }[]
  /** files that a row points at by another way */
  known: number
  /** rows that several files would fit: a person has to decide; none of the files gets a row */
  undecided: { track: Track; files: readonly AudioFile[] }[]
  /** files without a row */
  rest: NewFile[]
}

export class RowFinder {
  readonly #knex: Knex
  readonly #folder: AudioFolder
  readonly #cache: ContentCache
  readonly #signal: AbortSignal
  readonly #links = new Map<string, string>()
  readonly #hashes = new Map<string, Promise<string | undefined>>()
  #index: Promise<RowIndex> | undefined

  constructor(knex: Knex, folder: AudioFolder, cache: ContentCache, signal: AbortSignal) {
    this.#knex = knex
    this.#folder = folder
    this.#cache = cache
    this.#signal = signal
  }

  /** A link that was met, before the first question. Both below the audio folder. */
  link(from: string, to: string): void {
    this.#links.set(canonical(from), canonical(to))
  }

  /** A row has got this file since. @param file below the audio folder */
  async moved(id: string, file: string): Promise<void> {
    ;(await this.#rows()).moved(id, file)
  }

  /** Read when the first question comes. */
  #rows(): Promise<RowIndex> {
    this.#index ??= RowIndex.read(this.#knex, this.#folder, this.#signal, this.#links)
    return this.#index
  }

  /**
   * Rows that name these paths, and rows of the same content, each with what its path leads to. The latter are not asked
   * for where a file is its row's beyond doubt, as nearly all are that were imported before.
   *
   * @param takenTracks ids of rows that get another file
   */
  async candidates(
    files: readonly AudioFile[],
    takenTracks: ReadonlySet<string>,
  ): Promise<{
    byPath: Map<string, Candidate<Track>[]>
    byContent: Map<string, (Candidate<Track> & Seen)[]>
  }> {
    const byPath = new Map<string, Candidate<Track>[]>()
    const byContent = new Map<string, (Candidate<Track> & Seen)[]>()

    const index = await this.#rows()
    const pathsOf = new Map(files.map(file => [file.path, canonical(file.path)]))
    const pointing = await index.byPath([...pathsOf.values()])
    for (const file of files) {
      for (const track of pointing.get(pathsOf.get(file.path)!) ?? []) {
        append(byPath, file.path, { track, path: await this.#pathState(track, file) })
      }
    }

    const isItsRow = (file: AudioFile, { track, path: state }: Candidate<Track>): boolean =>
      state === 'same' && !takenTracks.has(track.id) && !this.#hasAnotherContent(file, track)
    const open = files.filter(file => {
      const own = byPath.get(file.path) ?? []
      return own.length === 0 || !own.every(one => isItsRow(file, one))
    })
    if (open.length === 0) return { byPath, byContent }
    const hashes = [...new Set(open.map(file => file.sha256))]
    const ofContent = new Map<string, Map<string, Track>>(hashes.map(sha256 => [sha256, new Map()]))
    const add = (sha256: string, track: Track): void => {
      ofContent.get(sha256)?.set(track.id, track)
    }
    const ids = new Map(hashes.map(sha256 => [localTrackId(sha256), sha256]))
    for (const track of await tracksBySpotifyId(this.#knex, [...ids.keys()])) {
      add(ids.get(track.spotifyId)!, track)
    }
    const objects = await objectKeysByContent(this.#knex, hashes)
    const stored = await index.byKey(objects.map(({ key }) => key))
    for (const { key, sha256 } of objects) {
      for (const track of stored.get(key) ?? []) add(sha256, track)
    }
    // Rows of files that had the same content when they were last hashed, and may have moved, or have copies.
    const others = await this.#cache.paths(hashes)
    const otherPaths = new Map(others.map(other => [other.path, canonical(other.path)]))
    const ofPaths = await index.byPath([...otherPaths.values()])
    for (const { sha256, path: otherPath } of others)
      for (const track of ofPaths.get(otherPaths.get(otherPath)!) ?? []) add(sha256, track)

    const states = await this.#statesByContent(ofContent)
    for (const [sha256, tracks] of ofContent)
      for (const track of tracks.values()) {
        const seen = states.get(`${sha256} ${track.id}`)
        if (seen !== undefined) append(byContent, sha256, { track, ...seen })
      }
    for (const file of open) await this.#judgeOwn(file, byPath.get(file.path), byContent.get(file.sha256))
    return { byPath, byContent }
  }

  /** What the paths of rows lead to that are known to have had these contents, by content and id. */
  async #statesByContent(
    ofContent: ReadonlyMap<string, ReadonlyMap<string, Track>>,
  ): Promise<Map<string, Seen>> {
    const states = new Map<string, Seen>()
    const there: { id: string; sha256: string; track: Track; holder: Holder }[] = []
    for (const [sha256, tracks] of ofContent) {
      for (const track of tracks.values()) {
        const id = `${sha256} ${track.id}`
        if (!track.filePath) {
          states.set(id, { path: 'none' })
          continue
        }
        const { there: found, reading, absolute } = await this.#lookFor(track.filePath)
        states.set(id, { path: found === 'gone' ? 'gone' : 'present' })
        if (typeof found === 'string' || absolute === undefined) continue
        const relative = portable(reading?.relative ?? absolute)
        const holder = { kind: 'file' as const, ...identityOf(found), path: relative, absolute }
        there.push({ id, sha256, track, holder })
      }
    }
    const known = await this.#cache.of(there.map(({ holder }) => holder))
    for (const { id, sha256, track, holder } of there) {
      const now = known.get(holder.path)?.sha256 ?? (await this.#hashOf(holder))
      if (now === undefined || now === sha256) continue
      if (!(await this.#bearsName(holder, track))) states.set(id, { path: 'replaced', holder })
      else if (track.s3ObjectKey !== null || track.spotifyId === localTrackId(sha256))
        states.set(id, { path: 'edited' })
      // The row is called as its file is: what that held before is another recording, with a row of its own.
      else states.delete(id)
    }
    return states
  }

  /**
   * A row that points at a file is its row, whatever it holds: unless it had another content, and this is the content
   * of a row that has no file. Then files have changed names, if this one does not bear the row's.
   */
  async #judgeOwn(
    file: AudioFile,
    byPath: Candidate<Track>[] = [],
    byContent: readonly Candidate<Track>[] = [],
  ): Promise<void> {
    if (!byContent.some(({ path }) => path === 'gone' || path === 'replaced')) return
    for (const [at, { track, path: state }] of byPath.entries()) {
      if (state !== 'same' || !this.#hasAnotherContent(file, track)) continue
      const absolute = path.join(this.#folder.root, file.path)
      if (!(await this.#bearsName({ ...file, absolute }, track))) byPath[at] = { track, path: 'replaced' }
    }
  }

  /** Whether a file has another content than a row that points at it had when it was last known, or was made of. */
  #hasAnotherContent(file: AudioFile, track: Track): boolean {
    return isLocalTrackId(track.spotifyId)
      ? track.spotifyId !== localTrackId(file.sha256)
      : (this.#cache.before(file.path) ?? file.sha256) !== file.sha256
  }

  /**
   * Whether a file is called as a row's track is: by its tags; without any by its path, which is how the application
   * names what it gets. A row that `import` made is of one content, and its file's name is as it happened to be.
   */
  async #bearsName({ absolute, path: file }: Holder, track: Track): Promise<boolean> {
    const tags = await readTags(absolute, file)
    if (tags.title !== undefined) return matchKey(trackName(file, tags)) === matchKey(track)
    return !isLocalTrackId(track.spotifyId) && matchKey(trackName(file)) === matchKey(track)
  }

  /** SHA-256 of a file that no hash is remembered of, hex; undefined if it cannot be read. */
  async #hashOf({ absolute, ctimeNs }: Holder): Promise<string | undefined> {
    const id = `${ctimeNs} ${absolute}`
    let hash = this.#hashes.get(id)
    if (hash === undefined) {
      hash = hashOfFile('sha256', absolute, this.#signal).catch((error: unknown) => {
        this.#signal.throwIfAborted()
        if (systemErrorCode(error) === undefined) throw error
        return undefined
      })
      this.#hashes.set(id, hash)
    }
    return hash
  }

  /** Files without a row that bear the name of one that lost its file or never had one, by all their names. */
  async ofLostRows(
    newFiles: readonly NewFile[],
    takenTracks: ReadonlySet<string>,
  ): Promise<Map<NewFile, readonly string[]>> {
    const names = new Map(newFiles.map(one => [one, matchKeysOfFile(one.file.path, one.tags)] as const))
    const inodes = new Set(newFiles.map(({ file }) => `${file.device} ${file.inode}`))
    const lost = new Set<string>()
    if (newFiles.length > 0)
      for (const [name, tracks] of await (await this.#rows()).byName([...names.values()].flat()))
        for (const { id, filePath } of tracks) {
          if (takenTracks.has(id)) continue
          // What a row points at by another way is told from the others later.
          const { there } = filePath ? await this.#lookFor(filePath) : { there: 'gone' as const }
          const isFree =
            typeof there === 'string' ? there === 'gone' : inodes.has(`${there.dev} ${there.ino}`)
          if (isFree) lost.add(name)
        }
    return new Map([...names].filter(([, keys]) => keys.some(key => lost.has(key))))
  }

  /** Rows without a file that bear the name of a file without a row. */
  async matchByName(newFiles: readonly NewFile[], takenTracks: ReadonlySet<string>): Promise<NameMatches> {
    if (newFiles.length === 0) return { matches: [], known: 0, undecided: [], rest: [] }
    const rows = await this.#rows()
    const index = new NameIndex<NewFile & NamedFile>()
    const names = newFiles.map(({ file, tags }) => matchKeysOfFile(file.path, tags))
    const named = newFiles.map(one => ({
      ...one,
      path: one.file.path,
      size: one.file.size,
      duration: one.tags.duration,
      isCut: one.tags.isCut === true,
    }))
    for (const [at, file] of named.entries()) index.add(file, names[at]!)
    const open: { track: Track; files: readonly (NewFile & NamedFile)[] }[] = []
    const matches: NameMatches['matches'] = []
    const matched = new Set<string>(takenTracks)
    let known = 0
    const candidates = [...(await rows.byName(names.flat())).values()].flat()
    const sharing = await rows.byPath(candidates.flatMap(track => rows.pathsOf(track)))
    for (const track of candidates.sort((a, b) => (a.id < b.id ? -1 : 1))) {
      if (matched.has(track.id)) continue
      const files = index.all(track)
      if (files.length === 0) continue
      const tracks = [track]
      if (track.filePath) {
        const { there } = await this.#lookFor(track.filePath)
        // The same file by another way: a folder that is a link, a path with dots.
        const itself =
          typeof there === 'string'
            ? undefined
            : files.find(({ file }) => there.ino === file.inode && there.dev === file.device)
        if (itself) {
          index.take(itself)
          known++
        }
        if (there !== 'gone') continue
      }
      const choice = chooseByName(track, files)
      if (!choice) continue
      if (choice.kind === 'several') {
        open.push({ track, files: choice.files })
        continue
      }
      const { file } = choice
      if (track.filePath) {
        // More rows may have shared the file that is gone.
        const others = new Map(
          rows.pathsOf(track).flatMap(old => (sharing.get(old) ?? []).map(one => [one.id, one] as const)),
        )
        for (const one of others.values()) {
          if (one.id === track.id || matched.has(one.id) || !mayMatchByName(one)) continue
          if (one.filePath !== null && (await this.#lookFor(one.filePath)).there === 'gone') tracks.push(one)
        }
      }
      index.take(file)
      for (const { id } of tracks) matched.add(id)
      matches.push({ file: file.file, tracks })
    }
    // What another row got since is no longer in question.
    const undecided: NameMatches['undecided'] = []
    for (const { track, files } of open) {
      const choice = chooseByName(
        track,
        files.filter(file => !index.has(file)),
      )
      if (choice?.kind === 'one') {
        index.take(choice.file)
        matches.push({ file: choice.file.file, tracks: [track] })
      } else if (choice) undecided.push({ track, files: choice.files.map(({ file }) => file) })
    }
    const gone = new Set([
      ...named.filter(one => index.has(one)).map(({ file }) => file),
      ...undecided.flatMap(({ files }) => files),
    ])
    return { matches, known, undecided, rest: newFiles.filter(({ file }) => !gone.has(file)) }
  }

  /** @param file the one that asks */
  async #pathState({ filePath }: Track, file: AudioFile): Promise<PathState> {
    if (filePath === null || filePath === '') return 'none'
    const { there, reading } = await this.#lookFor(filePath)
    if (there === 'gone') return 'gone'
    if (reading === undefined || typeof there === 'string') return 'present'
    // By whatever way: dots, a link, another Unicode form.
    if (there.ino !== file.inode || there.dev !== file.device) return 'present'
    return isOpenedByApplication(reading.form) ? 'same' : 'misnamed'
  }

  /** What a row's path leads to, read in the order in which everyone reads it. */
  async #lookFor(
    filePath: string,
  ): Promise<{ there: Awaited<ReturnType<typeof lookAt>>; reading?: PathReading; absolute?: string }> {
    const stored = readStoredPath(filePath, this.#folder)
    for (const absolute of stored.outside) {
      const there = await lookAt(absolute)
      if (there !== 'gone') return { there, absolute }
    }
    for (const reading of stored.ok ? stored.readings : []) {
      const absolute = path.join(this.#folder.root, reading.relative)
      const there = await lookAt(absolute)
      if (there !== 'gone') return { there, reading, absolute }
    }
    return { there: 'gone' }
  }
}

/** What is at a path; `unknown` if that cannot be told, which must never count as gone. */
async function lookAt(absolute: string): Promise<BigIntStats | 'gone' | 'unknown'> {
  try {
    return await stat(absolute, { bigint: true })
  } catch (error) {
    const code = systemErrorCode(error)
    return code === 'ENOENT' || code === 'ENOTDIR' ? 'gone' : 'unknown'
  }
}

function append<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const values = map.get(key)
  if (values) values.push(value)
  else map.set(key, [value])
}
