/**
 * Walks an audio folder. Symbolic links are never followed into folders, so no loop can catch it; memory depends on
 * the depth of the tree, not on the number of files.
 */

import type { BigIntStats, Dirent } from 'node:fs'
import { constants, lstat, opendir, realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import pLimit from 'p-limit'
import { isOutside } from '../core/audio-path.ts'
import { type AudioSelection, audioSelection, ignoreFileName } from '../core/audio-selection.ts'
import type { ErrorCode } from '../error-codes.ts'
import {
  type AppError,
  FatalError,
  systemErrorCode,
  systemErrorReason,
  systemRefusal,
  toError,
  UsageError,
} from '../errors.ts'
import { NamedFileError, openItself, readOpen, smallFile } from '../named-files.ts'
import { type FileIdentity, identityOf } from './source.ts'

/** A regular file as the walk saw it. */
export interface FoundFile extends FileIdentity {
  readonly kind: 'file'
  /** Relative to the audio folder, `/` between folders, in the bytes that the disk gives. */
  readonly path: string
}

/**
 * What the walk did not go into. `skipped` is as it should be (a FIFO, a link that leads elsewhere); `failed` means
 * that there may be tracks which nobody saw.
 */
interface Obstacle {
  readonly kind: 'obstacle'
  readonly outcome: 'skipped' | 'failed'
  readonly path: string
  /** stable: `file.unreadable`, `link.outside` */
  readonly code: ErrorCode
  /** one line */
  readonly reason: string
  readonly cure?: string
}

/**
 * `hidden`: its name begins with a full stop. `ignored`: the selection leaves it out (see `core/audio-selection`).
 * `link`: what it leads to is met where it lies.
 */
interface PassedOver {
  readonly kind: 'hidden' | 'ignored' | 'link'
  readonly path: string
  /** what a link leads to, relative to the audio folder */
  readonly target?: string
}

type WalkEntry = FoundFile | Obstacle | PassedOver

/** Entries of one folder that are sorted and looked at together: order for people, without bounding folders. */
const chunkEntries = 4096
/** `lstat`s under way at once. */
const parallel = 32

/**
 * Everything below `start`, folders in the order of their names.
 *
 * @param root the audio folder, absolute; paths are relative to it
 * @param start where to begin, absolute, the root or a folder in it
 * @throws what {@link openAudioFolder} throws; FatalError when `start` cannot be read
 */
export async function* walkAudioFolder(
  root: string,
  start: string,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<WalkEntry, void> {
  const { realRoot, realStart } = await openAudioFolder(root, start)
  const selection = await selectionOf(realRoot)
  yield* walkFolder({ realRoot, realStart, signal, selection }, path.relative(realRoot, realStart), true)
}

/**
 * What is taken of an audio folder, by its ignore file.
 *
 * @throws FatalError if there is an ignore file that cannot be read: what it leaves out must not be taken
 */
export async function selectionOf(root: string): Promise<AudioSelection> {
  return audioSelection({ ignoreFile: await ignoreFileOf(root) })
}

async function ignoreFileOf(realRoot: string): Promise<string | undefined> {
  const file = path.join(realRoot, ignoreFileName)
  try {
    await using handle = await openItself(file, constants.O_RDONLY)
    return (await readOpen(handle, smallFile)).toString()
  } catch (error) {
    if (systemErrorCode(error) === undefined && !(error instanceof NamedFileError)) throw error
    if (systemErrorCode(error) === 'ENOENT') return undefined
    const isFile = await stat(file).then(
      found => found.isFile(),
      () => true,
    )
    const why = isFile ? `${file} cannot be read: ${systemErrorReason(error)}` : `${file} is not a file`
    throw new FatalError(why, {
      code: 'ignore-file.unreadable',
      cause: error,
    })
  }
}

/**
 * Root and start with their own links resolved.
 *
 * @throws UsageError when one is not a folder, or the start lies outside the root: an audio folder that is not mounted
 *   must not look like one that is empty
 */
export async function openAudioFolder(
  root: string,
  start: string,
): Promise<{ realRoot: string; realStart: string }> {
  const realRoot = await realFolder(root)
  const realStart = await realFolder(start)
  if (leaves(realRoot, realStart)) {
    throw new UsageError(`${start} is not inside the audio folder ${root}`, {
      code: 'usage.outside-root',
      cure: `Paths in the database are relative to the audio folder: name it with --audio-root, or set AUDIO_STORAGE_PATH (example: ${start}).`,
    })
  }
  return { realRoot, realStart }
}

/** Files to a page. */
const pageFiles = 1_000

/**
 * All files below the root that can be opened from there, in pages: the same that a walk sees for `import`, and, where
 * that is asked for, hidden ones. Complete, or it throws: a folder that cannot be read would make all its files look
 * gone. A root that is not there looks empty, which the canary knows how to judge.
 *
 * @param root the audio folder, absolute
 * @throws FatalError naming what could not be looked at
 */
export async function* filePages(
  root: string,
  { signal, hidden = false }: { signal?: AbortSignal | undefined; hidden?: boolean } = {},
): AsyncGenerator<FoundFile[], void> {
  const realRoot = await realpath(root).catch(error => {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw systemRefusal(toError(error), root) ?? error
  })
  if (realRoot === undefined) return
  let page: FoundFile[] = []
  const walk = { realRoot, realStart: realRoot, signal, hidden, selection: everything }
  for await (const entry of walkFolder(walk, '', true)) {
    // A name that is not UTF-8 no row can hold.
    if (entry.kind === 'obstacle' && entry.code.endsWith('.unreadable')) {
      throw new FatalError(`cannot read ${path.join(root, entry.path)}: ${entry.reason}`, {
        code: 'disk.unreadable',
      })
    }
    if (entry.kind !== 'file') continue
    page.push(entry)
    if (page.length < pageFiles) continue
    yield page
    page = []
  }
  if (page.length > 0) yield page
}

/** What `import` leaves alone is still a row's file if a row names it. */
const everything: AudioSelection = { takesFile: () => true, takesFolder: () => true }

interface Walk {
  readonly realRoot: string
  readonly realStart: string
  readonly signal: AbortSignal | undefined
  readonly selection: AudioSelection
  /** go into what is hidden, too */
  readonly hidden?: boolean
}

async function* walkFolder(walk: Walk, folder: string, isStart: boolean): AsyncGenerator<WalkEntry, void> {
  const { realRoot, signal } = walk
  try {
    const handle = await opendir(path.join(realRoot, folder), { bufferSize: 512 })
    try {
      for (let done = false; !done; ) {
        const chunk: string[] = []
        while (chunk.length < chunkEntries) {
          const entry: Dirent | null = await handle.read()
          if (entry === null) {
            done = true
            break
          }
          chunk.push(entry.name)
        }
        chunk.sort()
        const siblings = new Set(chunk)
        for (let at = 0; at < chunk.length; at += parallel) {
          signal?.throwIfAborted()
          const names = chunk.slice(at, at + parallel)
          const looks = await Promise.all(
            names.map(name => look(walk, path.join(folder, name), name, siblings)),
          )
          for (const entry of looks) {
            if (typeof entry !== 'string') yield entry
            else yield* walkFolder(walk, entry, false)
          }
        }
      }
    } finally {
      await handle.close()
    }
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined || signal?.aborted) throw error
    if (isStart) {
      throw unreadable(realRoot, error)
    }
    yield {
      kind: 'obstacle',
      outcome: 'failed',
      path: portable(folder),
      code: 'folder.unreadable',
      reason: `the folder cannot be read: ${systemErrorReason(error)}`,
    }
  }
}

/** One entry; the path of a folder to go into as a string. */
async function look(
  walk: Walk,
  relative: string,
  name: string,
  siblings: ReadonlySet<string>,
): Promise<WalkEntry | string> {
  const shown = portable(relative)
  if (name.startsWith('.') && !walk.hidden) return { kind: 'hidden', path: shown }
  try {
    const stats = await lstat(path.join(walk.realRoot, relative), { bigint: true })
    const { selection } = walk
    if (stats.isDirectory()) return selection.takesFolder(shown) ? relative : { kind: 'ignored', path: shown }
    if (!selection.takesFile(shown, siblings)) return { kind: 'ignored', path: shown }
    if (stats.isFile()) return found(shown, stats)
    if (stats.isSymbolicLink()) return await lookThroughLink(walk, relative)
    return {
      kind: 'obstacle',
      outcome: 'skipped',
      path: shown,
      code: 'file.special',
      reason: `a ${stats.isFIFO() ? 'FIFO' : stats.isSocket() ? 'socket' : 'device'}, not a file; it was not opened`,
    }
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined) throw error
    if (code === 'ENOENT' && name.includes('\ufffd')) {
      return {
        kind: 'obstacle',
        outcome: 'failed',
        path: shown,
        code: 'file.name',
        reason: 'its name is not valid UTF-8, so no text column can hold it',
      }
    }
    return {
      kind: 'obstacle',
      outcome: 'failed',
      path: shown,
      code: 'file.unreadable',
      reason: `cannot be examined: ${systemErrorReason(error)}`,
    }
  }
}

/**
 * Where a link leads. Inside the walked folder there is nothing to do: the target is met where it lies. Only a file
 * that the walk would not meet, in a hidden folder (git-annex) or beside the start, is taken under the link's name.
 */
async function lookThroughLink({ realRoot, realStart, hidden }: Walk, relative: string): Promise<WalkEntry> {
  const shown = portable(relative)
  let target: string
  try {
    target = await realpath(path.join(realRoot, relative))
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined) throw error
    const reason =
      code === 'ELOOP'
        ? 'a link that points to itself'
        : code === 'ENOENT'
          ? 'a broken link: nothing is where it points'
          : `a link that cannot be followed: ${systemErrorReason(error)}`
    return { kind: 'obstacle', outcome: 'skipped', path: shown, code: 'link.broken', reason }
  }
  if (leaves(realRoot, target)) {
    return {
      kind: 'obstacle',
      outcome: 'skipped',
      path: shown,
      code: 'link.outside',
      reason: `a link that points out of the audio folder, to ${target}; not followed`,
    }
  }
  const isMet =
    !leaves(realStart, target) &&
    (hidden === true ||
      !path
        .relative(realRoot, target)
        .split(path.sep)
        .some(part => part.startsWith('.')))
  const stats = isMet ? undefined : await stat(target, { bigint: true })
  return stats?.isFile()
    ? found(shown, stats)
    : { kind: 'link', path: shown, target: portable(path.relative(realRoot, target)) }
}

/** Files that the walk has met, as they are now; those that are gone are left out. @param paths as it told them */
export async function foundFiles(root: string, paths: readonly string[]): Promise<FoundFile[]> {
  const limit = pLimit(parallel)
  const files = await Promise.all(
    paths.map(shown =>
      limit(async () => {
        const stats = await stat(path.join(root, shown), { bigint: true }).catch(() => undefined)
        return stats?.isFile() ? [found(shown, stats)] : []
      }),
    ),
  )
  return files.flat()
}

function found(shown: string, stats: BigIntStats): FoundFile {
  return {
    kind: 'file',
    path: shown,
    ...identityOf(stats),
  }
}

/** Why an audio folder cannot be read: its disk fails, too many files are open, or it is refused. */
function unreadable(folder: string, error: unknown): AppError {
  const refusal = systemRefusal(toError(error))
  if (refusal?.code === 'system.disk' || refusal?.code === 'system.files') return refusal
  return new FatalError(`the audio folder ${folder} cannot be read: ${systemErrorReason(error)}`, {
    code: 'audio-root.unreadable',
    cause: error,
  })
}

async function realFolder(folder: string): Promise<string> {
  try {
    const real = await realpath(folder)
    if ((await stat(real)).isDirectory()) return real
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined) throw error
    if (code !== 'ENOENT' && code !== 'ENOTDIR') {
      throw unreadable(folder, error)
    }
    throw new UsageError(`the folder ${folder} does not exist`, { code: 'usage.no-folder' })
  }
  throw new UsageError(`${folder} is not a folder`, { code: 'usage.no-folder' })
}

function leaves(base: string, target: string): boolean {
  return isOutside(path.relative(base, target))
}

function portable(relative: string): string {
  return path.sep === '/' ? relative : relative.replaceAll(path.sep, '/')
}
