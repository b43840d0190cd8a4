/**
 * Every change that autodj makes to files which must not be lost: whole writes, syncs, renames, links, unlinks. One
 * place, so that each of them can be observed, and made to fail, by a test; and so that what is easily forgotten (a
 * write that came short on a full disk, a rename that overwrites) is right once.
 */
import { randomBytes } from 'node:crypto'
import { fsync, openSync } from 'node:fs'
import {
  constants,
  type FileHandle,
  link,
  lstat,
  mkdir,
  open,
  realpath,
  rename,
  rmdir,
  stat,
  unlink,
} from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { systemErrorCode, toError } from './errors.ts'
import { openInTurn } from './open-files.ts'

interface FileEffect {
  readonly kind: 'write' | 'sync' | 'rename' | 'link' | 'unlink' | 'mkdir' | 'rmdir'
  /** absolute; of a rename or link: what it was before */
  readonly path: string
  /** of a rename or link: what it becomes */
  readonly to?: string
}

type Observer = (effect: FileEffect) => void | Promise<void>

const observers = new Set<Observer>()

/**
 * For tests: asked before each effect. It may change the world first, as another process would, or throw what the file
 * system would.
 *
 * @returns how to end it
 */
export function observeFileEffects(observer: Observer): () => void {
  observers.add(observer)
  return () => observers.delete(observer)
}

async function announce(effect: FileEffect): Promise<void> {
  for (const observer of observers) await observer(effect)
}

/** An open file together with the path that it was opened by. */
interface OpenFile {
  readonly handle: FileHandle
  readonly path: string
}

/**
 * Writes all of it at the end of what was written, or throws: a single write may come short, without an error, on a
 * full disk.
 *
 * @throws the file system's error, with its code
 */
export async function writeWhole(
  { handle, path: file }: OpenFile,
  content: string | Uint8Array,
): Promise<void> {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  await announce({ kind: 'write', path: file })
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await naming(file, handle.write(bytes, written, bytes.length - written))
    // Never seen, and it would be a loop without end.
    if (bytesWritten === 0) throw Object.assign(new Error(`nothing was written to ${file}`), { code: 'EIO' })
    written += bytesWritten
  }
}

/**
 * For what a thread is about to do, out of sight of what observes.
 *
 * @throws what an observer throws: then it is not to be done
 */
export async function announceEffects(...effects: readonly FileEffect[]): Promise<void> {
  if (observers.size === 0) return
  for (const effect of effects) await announce(effect)
}

/**
 * An open file, opened once more for writing past the system's cache; undefined if there is no such thing. The file that
 * is open, whatever its name leads to by now.
 */
export function openDirect(descriptor: number): number | undefined {
  // Not on every system; its type says otherwise.
  const direct = constants.O_DIRECT as number | undefined
  if (direct === undefined) return undefined
  try {
    return openSync(`/proc/self/fd/${descriptor}`, constants.O_WRONLY | direct)
  } catch {
    return undefined
  }
}

/** Makes what was written to a file last through a power cut. */
export async function syncFile({ handle, path: file }: OpenFile): Promise<void> {
  await announce({ kind: 'sync', path: file })
  await naming(file, handle.sync())
}

/** What goes by a descriptor does not know in its error what it is about. */
async function naming<T>(file: string, effect: Promise<T>): Promise<T> {
  try {
    return await effect
  } catch (error) {
    throw Object.assign(toError(error), { path: file })
  }
}

/** What says that names did not reach the disk, and not just that this file system has no such thing as a folder's sync. */
const lost: ReadonlySet<string | undefined> = new Set([
  'EIO',
  'ENOSPC',
  'EDQUOT',
  'ESTALE',
  'EMFILE',
  'ENFILE',
  'ENOMEM',
])

/**
 * Makes the names in a folder last through a power cut, if the file system can.
 *
 * @throws the file system's error if it says that they do not
 */
export async function syncFolder(folder: string): Promise<void> {
  try {
    await announce({ kind: 'sync', path: folder })
    const handle = await openInTurn(() => open(folder, 'r'))
    try {
      await naming(folder, handle.sync())
    } finally {
      await handle.close()
    }
  } catch (error) {
    // Some file systems, and Windows, cannot; one may write in a folder and not be allowed to read it.
    if (systemErrorCode(error) === undefined || lost.has(systemErrorCode(error))) throw error
  }
}

/** {@link syncFile} for a file that is open as a number. */
export async function syncDescriptor(descriptor: number, file: string): Promise<void> {
  await announce({ kind: 'sync', path: file })
  await naming(file, promisify(fsync)(descriptor))
}

/**
 * What is to get a name may take the place of a file, and of nothing else: whoever may write in `/dev` would otherwise
 * make a file of `/dev/null`, and whoever opens a pipe to read it waits for as long as nobody writes.
 *
 * @throws `EINVAL` for a device, a pipe, a socket, a folder
 */
export async function requireReplaceable(name: string): Promise<void> {
  if ((await stat(name).catch(() => undefined))?.isFile() === false)
    throw Object.assign(new Error(`${name} is not a file`), { code: 'EINVAL' })
}

/**
 * Makes a file, or replaces it: whoever reads it meets the whole new one or what was there before, after a power cut
 * too. A link stays, and what it leads to is replaced.
 *
 * @param options `prepare`: what the file needs before it has its name, such as another owner
 * @throws the file system's error, with its code, `EINVAL` for what is no file (`/dev/stdout`); what was there is there
 *   still
 */
export async function replaceFile(
  name: string,
  content: string | Uint8Array,
  { mode, prepare }: { mode: number; prepare?: (draft: string) => Promise<void> },
): Promise<void> {
  await requireReplaceable(name)
  const file = await realpath(name).catch(() => name)
  const draft = `${file}.${randomBytes(8).toString('hex')}`
  try {
    const handle = await open(draft, 'wx', mode)
    try {
      await writeWhole({ handle, path: draft }, content)
      await syncFile({ handle, path: draft })
    } finally {
      await handle.close()
    }
    await prepare?.(draft)
    await renameOver(draft, file)
    await syncFolder(path.dirname(file))
  } catch (error) {
    await removeIfThere(draft)
    throw error
  }
}

/** Gives a file one more name. @throws the file system's error: `EEXIST` if there is something of that name */
export async function linkNew(from: string, to: string): Promise<void> {
  await announce({ kind: 'link', path: from, to })
  await link(from, to)
}

/** Renames, and overwrites what has the new name: only where that is meant. */
export async function renameOver(from: string, to: string): Promise<void> {
  await announce({ kind: 'rename', path: from, to })
  await rename(from, to)
}

export async function removeFile(file: string): Promise<void> {
  await announce({ kind: 'unlink', path: file })
  await unlink(file)
}

/** The same for a file that may be gone. */
export async function removeIfThere(file: string): Promise<void> {
  try {
    await removeFile(file)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
}

/** Removes a folder, if it is empty. */
export async function removeEmptyFolder(folder: string): Promise<void> {
  await announce({ kind: 'rmdir', path: folder })
  await rmdir(folder)
}

/** What says that a file system has no hard links. */
export const noLinks: ReadonlySet<string> = new Set([
  'EPERM',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'EMLINK',
  'EXDEV',
])

/**
 * Gives a file the name that it is to have, unless there is something of that name: nothing is ever overwritten. Both
 * in one folder, or at least in one file system.
 *
 * @returns false if the name is taken; the file is then where it was
 */
export async function moveIfFree(from: string, to: string): Promise<boolean> {
  try {
    await linkNew(from, to)
  } catch (error) {
    const code = systemErrorCode(error) ?? ''
    if (code === 'EEXIST') return false
    if (!noLinks.has(code)) throw error
    return renameToPlaceholder(from, to)
  }
  await removeFile(from)
  return true
}

/** Without hard links: an empty file takes the name, for itself alone, and is then replaced. */
async function renameToPlaceholder(from: string, to: string): Promise<boolean> {
  try {
    const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY
    await (await openInTurn(() => open(to, flags, 0o644))).close()
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return false
    throw error
  }
  try {
    await renameOver(from, to)
  } catch (error) {
    await removeFile(to)
    throw error
  }
  return true
}

/** Begin of the names of folders, beside the file, in which one waits whose removal is being decided. */
export const asidePrefix = '.autodj-removing-'

/** A file that was taken out of the way: whoever asks for its name finds none. */
interface Aside {
  /** where it is now */
  readonly path: string
  /** Removes it for good. */
  remove(): Promise<void>
  /**
   * Gives it its name back.
   *
   * @returns where it is now: where it was, or, when another file has come there, aside
   */
  putBack(): Promise<string>
}

/**
 * Takes a file out of the way, into a folder of ours beside it that keeps its name: from then on nobody meets it by its
 * name, so what is looked at and what is removed is one and the same file. {@link asidesIn} finds what a killed run
 * leaves.
 *
 * @throws the file system's error, with its code
 */
export async function takeAside(file: string): Promise<Aside> {
  const folder = path.join(path.dirname(file), asidePrefix + randomBytes(8).toString('hex'))
  const aside = path.join(folder, path.basename(file))
  await announce({ kind: 'mkdir', path: folder })
  await mkdir(folder, 0o700)
  try {
    await renameOver(file, aside)
  } catch (error) {
    await removeEmptyFolder(folder)
    throw error
  }
  return {
    path: aside,
    async remove() {
      await removeFile(aside)
      await removeEmptyFolder(folder).catch(() => {})
      // It is gone. After a power cut it may be there again, which loses nothing.
      await syncFolder(path.dirname(file)).catch(() => {})
    },
    async putBack() {
      if (!(await moveIfFree(aside, file))) return aside
      await removeEmptyFolder(folder).catch(() => {})
      await syncFolder(path.dirname(file))
      return file
    },
  }
}

/** Whether two names lead to one file. */
export async function isOneFile(a: string, b: string): Promise<boolean> {
  const [left, right] = await Promise.all(
    [a, b].map(file => lstat(file, { bigint: true }).catch(() => undefined)),
  )
  return left !== undefined && right !== undefined && left.ino === right.ino && left.dev === right.dev
}
