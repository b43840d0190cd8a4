/**
 * Makes rows for audio files that have none, and gives rows whose file moved their file back.
 *
 * Two passes over the folder. The first hashes what the cache does not know: only when every file's content is known
 * can one tell a copy from a new track, whichever comes first. The second decides, batch by batch, and writes each
 * batch before it looks at the next. Files that bear the name of a row without a file wait until all have been seen:
 * another may fit better, or as well. Memory depends on the size of a batch, and on how many wait.
 */

import path from 'node:path'
import { crc32 } from 'node:zlib'
import type { Knex } from 'knex'
import { type FoundFile, foundFiles, openAudioFolder, walkAudioFolder } from '../audio-files/walk.ts'
import {
  type AudioFolder,
  applicationStyle,
  libraryStyle,
  type PathStyle,
  writeStoredPath,
} from '../core/audio-path.ts'
import { ignoreFileName } from '../core/audio-selection.ts'
import { localTrackId } from '../core/import/content-id.ts'
import { type Candidate, decideFile, KeyGroups, relinkedColumns } from '../core/import/plan.ts'
import { cleanName, trackName } from '../core/names.ts'
import { printable } from '../core/units.ts'
import { type RowRefusal, writeInParts } from '../db/errors.ts'
import { type FailedItem, type HashedFile, recordItems } from '../db/ledger.ts'
import { LockedRows, rowLocked } from '../db/locked-rows.ts'
import {
  type ChangeOutcome,
  changeUnlockedTracks,
  filePathSample,
  insertTracks,
  type NewTrack,
  type Track,
  type TrackChange,
  tracksBySpotifyId,
} from '../db/tracks.ts'
import type { ErrorCode } from '../error-codes.ts'
import { keepHeapLevel } from '../heap.ts'
import type { Progress, Reporter } from '../report/reporter.ts'
import { ContentCache } from './content-cache.ts'
import { Inspector } from './inspect.ts'
import { type AudioFile, type Holder, type NewFile, RowFinder } from './row-finder.ts'
import { type FileTags, readTags } from './tags.ts'

export interface ImportOptions {
  knex: Knex
  folder: AudioFolder
  /** the folder to import, absolute: the root or a folder in it */
  start: string
  /** whether a file, by its path below the root, is one that was asked for; undefined: all are */
  isSelected?: (path: string) => boolean
  /** decide and report, write nothing */
  dryRun: boolean
  /** files read at a time */
  concurrency: number
  /** id of the run in the ledger */
  runId: string | undefined
  /** milliseconds; files that changed within them are left alone */
  minAge?: number
  /** how long locked rows are waited for, milliseconds */
  lockWait?: number | undefined
  /** milliseconds since 1970 */
  now?: () => number
  /** no new work */
  stopping: AbortSignal
  /** abandon what is in flight */
  signal: AbortSignal
  report: Reporter
  newId: () => string
  /** files that are decided together, and whose rows are written together; 2,000 */
  batch?: number
}

export interface ImportSummary {
  /** audio files met */
  found: number
  /** their bytes */
  bytes: number
  /** files read, because the cache did not know them */
  hashed: number
  /** rows made */
  new: number
  /** rows that got their file back */
  relinked: number
  /** files whose row points at them, or whose content is in S3 */
  known: number
  /** copies of the file of another row */
  duplicates: number
  /** what the file of a row held before it was edited */
  earlier: number
  notAudio: number
  hidden: number
  /** what the default patterns and the ignore file leave out */
  ignored: number
  /** files that are still growing, or younger than `--min-age` */
  young: number
  /** links to what is met where it lies */
  links: number
  /** links out of the folder, broken links, FIFOs and devices */
  skipped: number
  failed: number
  /** rows that another transaction kept locked: their files are met again by the next import */
  locked: number
  /** files without readable tags, named after their path */
  untagged: number
  /** told to stop before all was seen */
  stopped: boolean
}

/** Names of sound, so that what is called so and is none is told of. */
const claimsSound =
  /\.(mp[123+]|mpga|m2a|flac?|m4[abpr]|aac|adts|alac|og[gax]|opus|spx|wave?|bwf|rf64|w64|rmi|aif[fc]?|aiffc|snd|au|caf|wma|asf|wv|ape|mac|mpc|mpp|tta|tak|ofr|ofs|shn|dsf|dff|dst|ac3|eac3|ec3|dts|dtshd|thd|mlp|amr|awb|mka|weba|ra|ram|rm|gsm|vox|oma|aa3|at3|voc|sf2|xm|it|s3m|mod|midi?|kar)$/i

/** Files whose hashes are looked up, and remembered, together. */
const hashBatch = 512
/** Files that are decided together, and whose rows are written together. */
const decisionBatch = 2_000

/**
 * Imports a folder. What goes wrong with one file is reported, recorded and counted; the rest continues.
 *
 * @throws UsageError or FatalError when the folder cannot be walked at all; what the database throws
 */
export async function importFolder(options: ImportOptions): Promise<ImportSummary> {
  keepHeapLevel()
  const run = new Import(options)
  await run.hash()
  if (!options.stopping.aborted) await run.decide()
  await run.lockedRows.tell()
  run.summary.stopped = options.stopping.aborted
  return run.summary
}

/** What a trigger, or a rule, does without a word. */
const leftOut: RowRefusal = {
  reason: 'the database left its row out, without an error',
  cure: 'Find the trigger or the rule of the table tracks that leaves rows out, then run it again.',
}

class Import {
  readonly summary: ImportSummary = {
    found: 0,
    bytes: 0,
    hashed: 0,
    new: 0,
    relinked: 0,
    known: 0,
    duplicates: 0,
    earlier: 0,
    notAudio: 0,
    hidden: 0,
    ignored: 0,
    young: 0,
    links: 0,
    skipped: 0,
    failed: 0,
    locked: 0,
    untagged: 0,
    stopped: false,
  }
  readonly lockedRows: LockedRows
  readonly #options: ImportOptions
  readonly #cache: ContentCache
  readonly #finder: RowFinder
  readonly #now: () => number
  /** how new paths are written */
  #style: PathStyle
  /** What a dry run would have written: the path that took each content, and the rows that got a file. */
  readonly #taken = { contents: new Map<string, string>(), tracks: new Set<string>() }

  constructor(options: ImportOptions) {
    const { knex, folder, dryRun, signal } = options
    this.#options = options
    this.lockedRows = new LockedRows({ ...options, wait: options.lockWait })
    this.#now = options.now ?? Date.now
    this.#cache = new ContentCache(knex, dryRun)
    this.#finder = new RowFinder(knex, folder, this.#cache, signal)
    this.#style = applicationStyle(folder)
  }

  /** First pass: the hash of every audio file is in the cache afterwards. */
  async hash(): Promise<void> {
    const { start, stopping, report, concurrency, isSelected = () => true } = this.#options
    const { root } = this.#options.folder
    const { realRoot } = await openAudioFolder(root, start)
    const inspectors = Array.from({ length: concurrency }, () => new Inspector(root, realRoot, this.#now))
    const progress = report.progress({ label: 'reading', unit: 'files', showBytes: true })
    try {
      let files: FoundFile[] = []
      for await (const entry of this.#walk()) {
        if (stopping.aborted) return
        if (entry.kind === 'file') {
          if (!isSelected(entry.path)) continue
          if (this.#isYoung(entry)) this.#leave(entry.path, 'it changed within --min-age')
          else files.push(entry)
        } else if (entry.kind !== 'obstacle') {
          this.summary[entry.kind === 'link' ? 'links' : entry.kind]++
          if (entry.target !== undefined) this.#finder.link(entry.path, entry.target)
        } else if (entry.outcome === 'failed') await this.#fail([entry])
        else {
          this.summary.skipped++
          report.item({ subject: entry.path, state: 'skipped', reason: entry.reason, cure: entry.cure })
        }
        if (files.length >= hashBatch) {
          await this.#hashBatch(files, inspectors, progress)
          files = []
        }
      }
      await this.#hashBatch(files, inspectors, progress)
    } finally {
      progress.done()
    }
  }

  #walk(): ReturnType<typeof walkAudioFolder> {
    const { folder, start, signal } = this.#options
    return walkAudioFolder(folder.root, start, { signal })
  }

  #isYoung({ mtimeNs }: FoundFile): boolean {
    const { minAge = 0 } = this.#options
    return minAge > 0 && this.#now() - Number(mtimeNs / 1_000_000n) < minAge
  }

  /** A file that is not taken yet. */
  #leave(subject: string, reason: string): void {
    this.summary.young++
    this.#options.report.item({
      subject,
      state: 'skipped',
      reason,
      cure: 'Run it again when nothing is writing to it.',
    })
  }

  async #hashBatch(files: FoundFile[], inspectors: Inspector[], progress: Progress): Promise<void> {
    const { signal, stopping, report } = this.#options
    const remembered = await this.#cache.of(files)
    const fresh: HashedFile[] = []
    const failures: Failure[] = []
    let next = 0
    await Promise.all(
      inspectors.map(async inspector => {
        while (next < files.length && !stopping.aborted) {
          const file = files[next++]!
          const before = remembered.get(file.path)
          if (before) {
            this.#countFound(before.size)
            progress.advance({ items: 1, bytes: before.size })
            continue
          }
          const seen = await inspector.inspect(file.path, signal)
          if (seen.kind === 'audio') {
            fresh.push({ path: file.path, ...seen.file })
            this.summary.hashed++
            this.#countFound(seen.file.size)
          } else if (seen.kind === 'not-audio') {
            this.summary.notAudio++
            // A cover or a text is nothing to tell; what is called a song and is none may be a track that is lost.
            report.item({
              subject: file.path,
              state: 'not-audio',
              reason: seen.reason,
              ...(claimsSound.test(file.path)
                ? { text: `not audio ${printable(file.path)}: ${seen.reason}` }
                : {}),
            })
          } else if (seen.kind === 'growing') {
            this.#leave(file.path, seen.reason)
          } else {
            failures.push({ path: file.path, ...seen })
          }
          progress.advance({ items: 1, bytes: seen.kind === 'audio' ? seen.file.size : 0 })
        }
      }),
    )
    await this.#fail(failures)
    await this.#cache.add(fresh)
  }

  /** Second pass: every audio file finds its row, or gets one. */
  async decide(): Promise<void> {
    const waiting = new Waiting()
    const { knex, folder, stopping, report, batch = decisionBatch, isSelected = () => true } = this.#options
    this.#style = libraryStyle(await filePathSample(knex), folder)
    const progress = report.progress({ label: 'importing', unit: 'files' })
    progress.total({ items: this.summary.found })
    try {
      let files: FoundFile[] = []
      for await (const entry of this.#walk()) {
        if (stopping.aborted) break
        if (entry.kind === 'file' && isSelected(entry.path) && !this.#isYoung(entry)) files.push(entry)
        if (files.length >= batch) {
          await this.#decideBatch(files, progress, waiting)
          files = []
        }
      }
      if (!stopping.aborted) await this.#decideBatch(files, progress, waiting)
      if (!stopping.aborted) await this.#relinkMoved(waiting)
      for (const group of waiting.groups(batch)) {
        if (stopping.aborted) break
        await this.#decideBatch(await foundFiles(folder.root, group))
      }
      if (!stopping.aborted) await this.#cache.flush()
    } finally {
      progress.done()
    }
  }

  /** @param progress, waiting of the pass over all files; without them, of the files that have waited */
  async #decideBatch(found: readonly FoundFile[], progress?: Progress, waiting?: Waiting): Promise<void> {
    const { dryRun } = this.#options
    const hashes = await this.#cache.of(found)
    const files = found.flatMap((file): AudioFile[] => {
      const hash = hashes.get(file.path)
      return hash ? [{ ...file, sha256: hash.sha256 }] : []
    })
    const taken = dryRun ? this.#taken : { contents: new Map<string, string>(), tracks: new Set<string>() }
    const rows = await this.#finder.candidates(files, taken.tracks)
    const relinks: Relink[] = []
    const relink = (track: Track, file: AudioFile, by: string): void => {
      taken.contents.set(file.sha256, file.path)
      taken.tracks.add(track.id)
      relinks.push({ track, file, by })
    }

    const unclaimed: AudioFile[] = []
    for (const file of files) {
      const free = ({ track }: Candidate<Track>): boolean => !taken.tracks.has(track.id)
      const copyOf = taken.contents.get(file.sha256) ?? waiting?.pathOf(file.sha256)
      const decision = decideFile(
        (rows.byPath.get(file.path) ?? []).filter(free),
        copyOf === undefined ? (rows.byContent.get(file.sha256) ?? []).filter(free) : [],
      )
      if (decision?.kind === 'known') this.summary.known++
      else if (decision?.kind === 'relink') {
        for (const track of decision.tracks) relink(track, file, decision.by)
      } else if (decision?.kind === 'moved') {
        const own = new Set(decision.tracks.map(({ id }) => id))
        const seen = (rows.byContent.get(file.sha256) ?? []).filter(({ track }) => own.has(track.id))
        const holders = seen.flatMap(one => one.holder ?? [])
        if (waiting) waiting.addMoved({ file, tracks: decision.tracks, holders })
        else for (const track of decision.tracks) relink(track, file, 'content')
      } else if (decision?.kind === 'duplicate') this.#duplicate(file, decision.of)
      else if (decision?.kind === 'earlier') this.#earlier(file, decision.of)
      else if (copyOf !== undefined) this.#duplicate(file, copyOf)
      else {
        taken.contents.set(file.sha256, file.path)
        unclaimed.push(file)
      }
    }

    let newFiles = await this.#readTags(unclaimed, progress)
    if (waiting) {
      const named = await this.#finder.ofLostRows(newFiles, taken.tracks)
      for (const [{ file }, keys] of named) {
        waiting.add(file, keys)
        taken.contents.delete(file.sha256)
      }
      newFiles = newFiles.filter(one => !named.has(one))
    }
    const byName = await this.#finder.matchByName(newFiles, taken.tracks)
    this.summary.known += byName.known
    for (const { file, tracks } of byName.matches) for (const track of tracks) relink(track, file, 'name')

    await this.#relink(relinks)
    await this.#fail(byName.undecided.map(({ track, files }) => undecided(track, files)))
    await this.#makeRows(byName.rest)
    progress?.advance({ items: files.length - unclaimed.length })
  }

  /**
   * Rows follow their files, in whose places other ones lie by now. Those have been counted as known by these rows, and
   * are decided again, unless they have moved themselves.
   */
  async #relinkMoved(waiting: Waiting): Promise<void> {
    const all = waiting.takeMoved()
    if (all.length === 0) return
    const { batch = decisionBatch, isSelected = () => true } = this.#options
    const rows = new Set<string>()
    const relinks = all.flatMap(({ file, tracks }) =>
      tracks.flatMap((track): Relink[] => {
        if (rows.has(track.id)) return []
        rows.add(track.id)
        if (this.#options.dryRun) {
          this.#taken.contents.set(file.sha256, file.path)
          this.#taken.tracks.add(track.id)
        }
        return [{ track, file, by: 'content' }]
      }),
    )
    for (let at = 0; at < relinks.length; at += batch) await this.#relink(relinks.slice(at, at + batch))
    const moved = new Set(all.map(({ file }) => file.path))
    const holders = new Map(
      all
        .flatMap(({ holders }) => holders)
        .filter(file => !moved.has(file.path) && isSelected(file.path) && !this.#isYoung(file))
        .map(file => [file.path, file]),
    )
    const again = [...holders.values()]
    const hashes = await this.#cache.of(again)
    this.summary.known -= hashes.size
    for (let at = 0; at < again.length; at += batch)
      await this.#decideBatch(again.slice(at, at + batch), undefined, waiting)
    await this.#relinkMoved(waiting)
  }

  /** The files that were read before the run was told to stop, in their order. */
  async #readTags(files: readonly AudioFile[], progress: Progress | undefined): Promise<NewFile[]> {
    const { folder, concurrency, stopping } = this.#options
    const tags: FileTags[] = []
    let next = 0
    await Promise.all(
      Array.from({ length: concurrency }, async () => {
        while (next < files.length && !stopping.aborted) {
          const at = next++
          tags[at] = await readTags(path.join(folder.root, files[at]!.path), files[at]!.path)
          progress?.advance({ items: 1 })
        }
      }),
    )
    return tags.map((read, at) => ({ file: files[at]!, tags: read }))
  }

  async #relink(relinks: readonly Relink[]): Promise<void> {
    if (relinks.length === 0) return
    const { knex, dryRun, report } = this.#options
    const changes = relinks.map(
      ({ track, file }): TrackChange => ({
        planned: track,
        ...relinkedColumns(track, { path: this.#stored(file), size: file.size }),
      }),
    )
    const ends = dryRun
      ? undefined
      : await this.lockedRows.write<TrackChange, ChangeOutcome | RowRefusal>(changes, {
          idOf: ({ planned }) => planned.id,
          async write(part) {
            const outcomes = await changeUnlockedTracks(knex, part)
            return part.map(({ planned }) => outcomes.get(planned.id) ?? 'deleted')
          },
          refuse: (_, refusal) => refusal,
        })
    const failures: Failure[] = []
    for (const [at, { track, file, by }] of relinks.entries()) {
      const outcome = ends?.[at] ?? 'done'
      if (typeof outcome !== 'string') {
        failures.push({ path: file.path, code: 'row.refused', ...outcome })
        continue
      }
      if (outcome === 'locked') {
        this.summary.locked++
        report.item({
          subject: file.path,
          state: 'skipped',
          fields: { code: 'row.locked', track_id: track.id },
          reason: rowLocked,
        })
        continue
      }
      if (outcome === 'set-back') {
        const reason = `its row ${track.id} was set back as it was written`
        failures.push({ path: file.path, code: 'row.set-back', reason })
        continue
      }
      if (outcome !== 'done') {
        failures.push({
          path: file.path,
          code: 'row.changed',
          reason: `its row ${track.id} was ${outcome} by someone else in the meantime`,
        })
        continue
      }
      this.summary.relinked++
      await this.#finder.moved(track.id, file.path)
      report.item({
        subject: file.path,
        state: 'relinked',
        fields: { track_id: track.id, from: track.filePath, to: this.#stored(file), by, dry_run: dryRun },
        text: `relinked  ${printable(track.filePath ?? `${track.artist} – ${track.title}`)} → ${printable(this.#stored(file))} (by ${by})`,
      })
    }
    await this.#fail(failures)
  }

  async #makeRows(newFiles: readonly NewFile[]): Promise<void> {
    const { knex, dryRun, newId, report } = this.#options
    const rows = newFiles.map(({ file, tags }): { file: AudioFile; row: NewTrack; tags: FileTags } => ({
      file,
      tags,
      row: {
        id: newId(),
        spotifyId: localTrackId(file.sha256),
        ...trackName(file.path, tags),
        album: cleanName(tags.album ?? '') || null,
        duration: tags.duration ?? null,
        filePath: this.#stored(file),
        fileSource: 'LOCAL',
        fileSize: file.size,
      },
    }))
    const ends = dryRun
      ? undefined
      : await writeInParts<NewTrack, 'made' | 'known' | RowRefusal>(
          rows.map(({ row }) => row),
          async part => {
            const made = await knex.transaction(trx => insertTracks(trx, part))
            const rest = part.filter(({ id }) => !made.has(id)).map(row => row.spotifyId)
            const there = new Set((await tracksBySpotifyId(knex, rest)).map(row => row.spotifyId))
            return part.map(({ id, spotifyId }) =>
              made.has(id) ? 'made' : there.has(spotifyId) ? 'known' : leftOut,
            )
          },
          async (_, refusal) => refusal,
        )
    const failures: Failure[] = []
    for (const [at, { file, row, tags }] of rows.entries()) {
      const end = ends?.[at] ?? 'made'
      if (typeof end !== 'string') {
        failures.push({ path: file.path, code: end === leftOut ? 'row.set-back' : 'row.refused', ...end })
        continue
      }
      if (end === 'known') {
        // Another run made a row for this content between our question and our insert.
        this.summary.known++
        continue
      }
      this.summary.new++
      if (tags.warning) report.detail(`${printable(row.filePath)}: ${printable(tags.warning)}`)
      if (!tags.title && !tags.artist) this.summary.untagged++
      report.item({
        subject: file.path,
        state: 'new',
        fields: {
          track_id: row.id,
          file_path: row.filePath,
          artist: row.artist,
          title: row.title,
          file_size: row.fileSize,
          dry_run: dryRun,
          ...(tags.warning ? { warning: tags.warning } : {}),
        },
      })
    }
    await this.#fail(failures)
  }

  /** A file's path as rows of this library say it. */
  #stored(file: AudioFile): string {
    return writeStoredPath(file.path, this.#style)
  }

  #duplicate(file: AudioFile, of: string): void {
    this.summary.duplicates++
    this.#options.report.item({
      subject: file.path,
      state: 'duplicate',
      fields: { duplicate_of: of },
      reason: `same content as ${of}`,
    })
  }

  #earlier(file: AudioFile, of: string): void {
    this.summary.earlier++
    this.#options.report.item({
      subject: file.path,
      state: 'earlier',
      fields: { earlier_version_of: of },
      text: `earlier   ${printable(file.path)}: what ${printable(of)} held before it was changed; it gets no row of its own`,
    })
  }

  #countFound(bytes: number): void {
    this.summary.found++
    this.summary.bytes += bytes
  }

  async #fail(failures: readonly Failure[]): Promise<void> {
    if (failures.length === 0) return
    const { knex, dryRun, runId, report } = this.#options
    this.summary.failed += failures.length
    for (const { path: subject, code, reason, cure } of failures) {
      report.item({ subject, state: 'failed', fields: { code }, reason, cure })
    }
    if (dryRun || runId === undefined) return
    await recordItems(
      knex,
      failures.map(
        (failure): FailedItem => ({
          command: 'import',
          subject: failure.path,
          trackId: null,
          state: 'failed',
          errorCode: failure.code,
          error: failure.reason,
          cure: failure.cure,
          runId,
        }),
      ),
    )
  }
}

/** A row whose file is gone, and several that bear its name: nothing here tells which is the one. */
function undecided(track: Track, files: readonly AudioFile[]): Failure {
  const paths = files.map(file => printable(file.path))
  return {
    path: files[0]!.path,
    code: 'row.ambiguous',
    reason: `${paths.length} files match the row of ${printable(`${track.artist} – ${track.title}`)} (${track.id}), whose own file is gone: ${paths.join(', ')}`,
    cure: `Keep one: --exclude the others, list them in ${ignoreFileName}, or remove them, then run it again.`,
  }
}

/** A file whose rows point where another file lies by now. */
interface Moved {
  readonly file: AudioFile
  readonly tracks: readonly Track[]
  readonly holders: readonly Holder[]
}

/**
 * Files that may belong to a row by their name, of which little is held, as they may be all there are; and files whose place
 * another one has taken.
 */
class Waiting {
  #moved: Moved[] = []
  readonly #paths: string[] = []
  /** of the names of each */
  readonly #groups = new KeyGroups()
  readonly #contents = new Map<string, string>()

  add(file: AudioFile, keys: readonly string[]): void {
    this.#paths[this.#groups.add(keys.map(key => crc32(key)))] = file.path
    this.#contents.set(file.sha256, file.path)
  }

  addMoved(one: Moved): void {
    this.#moved.push(one)
    this.#contents.set(one.file.sha256, one.file.path)
  }

  takeMoved(): Moved[] {
    const moved = this.#moved
    this.#moved = []
    return moved
  }

  /** The file of this content that waits. */
  pathOf(sha256: string): string | undefined {
    return this.#contents.get(sha256)
  }

  /** Paths of all of them, those of one name together; about this many at a time. */
  *groups(size: number): Generator<string[]> {
    for (const group of this.#groups.groups(size)) yield group.map(at => this.#paths[at]!)
  }
}

interface Relink {
  readonly track: Track
  readonly file: AudioFile
  readonly by: string
}

interface Failure {
  readonly path: string
  readonly code: ErrorCode
  readonly reason: string
  readonly cure?: string
}
