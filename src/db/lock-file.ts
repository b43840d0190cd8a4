import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  close as closeFile,
  constants,
  open as openFile,
  readFileSync,
  readlinkSync,
  writeFile,
} from 'node:fs'
import { type FileHandle, lstat, mkdir, open, rm, statfs } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { printable } from '../core/units.ts'
import { FatalError, LockedError, systemErrorCode, systemErrorReason, TemporaryError } from '../errors.ts'
import { linkNew, removeFile, renameOver, syncDescriptor } from '../file-effects.ts'

/** Who holds a lock file. */
export interface LockHolder {
  pid: number
  host: string
  /** What the operator would recognise: `upload-local`. */
  command: string
  /** ISO 8601. */
  since: string
  /** When the process began, opaque; tells a process from a later one with the same pid. Null if unknown. */
  startedAt: string | null
  /** Which processes the pid is one of, opaque. Null if there is one such set; missing in older locks. */
  pidNamespace?: string | null
  /** Whether the kernel holds a lock on the file for as long as the process lives. */
  kernelLock?: boolean
  /** Unique for each holding. */
  token: string
}

export interface LockFile {
  readonly holder: LockHolder
  release(): Promise<void>
}

/**
 * When the process with that pid began, as an opaque string that no later process with the same pid shares, or null
 * if there is no such process or the system does not tell.
 */
function processStart(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second field is the command in brackets and may hold blanks and brackets itself; start time is field 22.
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()}/${ticks}`
  } catch {
    if (process.platform === 'linux' || process.platform === 'win32') return null
  }
  try {
    const text = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { LC_ALL: 'C', TZ: 'UTC' },
    })
    return text.trim() || null
  } catch {
    return null
  }
}

/** The pid namespace of this process: a pid of another one says nothing here. Null if there are none. */
function pidNamespace(): string | null {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return null
  }
}

/**
 * `flock(2)` on an open file, by the program of that name: Node.js has no call for it. The lock belongs to the open
 * file, which this process shares with the program; it is gone when the process is, however that ended, and holds
 * across containers.
 *
 * @returns whether it was had; undefined if there is no such program or no such lock
 */
function flock(fd: number, kind: 'exclusive' | 'shared'): Promise<boolean | undefined> {
  return new Promise(resolve => {
    const child = spawn('flock', [kind === 'exclusive' ? '-x' : '-s', '-n', '3'], {
      stdio: ['ignore', 'ignore', 'ignore', fd],
    })
    child.once('error', () => resolve(undefined))
    child.once('exit', code => resolve(code === 0 ? true : code === 1 ? false : undefined))
  })
}

/** Types of file systems, as statfs(2) tells them, that belong to one kernel: ext2 to 4, XFS, Btrfs, … */
const localFileSystems: ReadonlySet<number> = new Set([
  0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630, 0x2fc12fc1, 0xf2f52010, 0xca451a4e, 0x3153464a,
  0x52654973, 0x4d44, 0x2011bab0, 0x858458f6,
])

/** Whether whoever made this lock runs, or ran, on the kernel that this process runs on. */
async function isOfThisKernel(holder: LockHolder, path: string): Promise<boolean> {
  const boot = (startedAt: string | null) => startedAt?.split('/')[0]
  if (boot(holder.startedAt) !== undefined && boot(holder.startedAt) === boot(processStart(process.pid)))
    return true
  return localFileSystems.has((await statfs(dirname(path))).type)
}

/** Whether the holder of the lock at `path` lives. Where that cannot be known it does: a live one is never robbed. */
async function isAlive(holder: LockHolder, path: string): Promise<boolean> {
  if (holder.kernelLock) {
    const file = await openRegular(path)
    if (file === undefined) return true // given up this moment
    try {
      const had = await flock(file.fd, 'shared')
      if (had === false) return true
      if (had === true && (await isOfThisKernel(holder, path))) return false
    } finally {
      await file.close()
    }
  }
  if (holder.host !== hostname()) return true
  if (holder.pidNamespace !== undefined) {
    if (holder.pidNamespace !== pidNamespace() || !(await isOfThisKernel(holder, path))) return true
  }
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    if (systemErrorCode(error) === 'ESRCH') return false
    // EPERM: it is there and belongs to another user.
  }
  if (holder.startedAt === null) return true
  const start = processStart(holder.pid)
  return start === null ? true : start === holder.startedAt
}

function unreadable(path: string): LockedError {
  return new LockedError(`the lock file ${path} is not readable as one`, {
    code: 'locked.unreadable',
    details: { path },
  })
}

/** Longer than any lock file. */
const maxLockBytes = 16_384

/**
 * The file, if it is a plain one: no link is followed, and no FIFO waited for. Undefined if there is none.
 * @throws LockedError if it is something else
 */
async function openRegular(path: string): Promise<FileHandle | undefined> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT') return undefined
    if (code === 'ELOOP' || code === 'EMLINK' || code === 'ENXIO') throw unreadable(path)
    throw error
  }
  const found = await file.stat()
  if (found.isFile() && found.size <= maxLockBytes) return file
  await file.close()
  throw unreadable(path)
}

async function readHolder(path: string): Promise<LockHolder | undefined> {
  const file = await openRegular(path)
  if (file === undefined) return undefined
  const text = await file.readFile('utf8').finally(() => file.close())
  try {
    const holder = JSON.parse(text) as LockHolder
    // The token becomes part of a file's name.
    if (Number.isInteger(holder.pid) && /^[\w-]{1,64}$/.test(holder.token)) return holder
  } catch {
    // falls through: not one of ours
  }
  throw unreadable(path)
}

const close = promisify(closeFile)

/** Opens a new file, as a number: a FileHandle that nobody refers to any longer would close it, and end the lock. */
const openNew = (path: string): Promise<number> => promisify(openFile)(path, 'wx')

/** Writes the holder into its new file and takes the kernel's lock on that, as far as there is one. */
async function fill(fd: number, path: string, holder: LockHolder): Promise<void> {
  holder.kernelLock = (await flock(fd, 'exclusive')) === true
  await promisify(writeFile)(fd, `${JSON.stringify(holder)}\n`)
  await syncDescriptor(fd, path)
}

/** The file at `path` appears whole or not at all, and only if there was none: its open file if it is ours now. */
async function createExclusively(
  path: string,
  draft: string,
  draftFd: number,
  holder: LockHolder,
): Promise<number | undefined> {
  try {
    await linkNew(draft, path)
    return draftFd
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'EEXIST') return undefined
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS') throw error
  }
  // A file system without hard links (exFAT).
  try {
    const fd = await openNew(path)
    await fill(fd, path, holder)
    return fd
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return undefined
    throw error
  }
}

/** @returns the open file that has the kernel's lock; closing it gives up the lock */
async function hold(path: string, holder: LockHolder, depth: number): Promise<number> {
  const draft = `${path}.${holder.token}.draft`
  const draftFd = await openNew(draft)
  let held: number | undefined
  try {
    await fill(draftFd, draft, holder)
    for (let attempt = 0; ; attempt++) {
      held = await createExclusively(path, draft, draftFd, holder)
      if (held !== undefined) return held
      const other = await readHolder(path)
      if (other === undefined) continue
      if (await isAlive(other, path)) {
        // A guard is held for a few milliseconds only: its holder is taking the lock over right now.
        if (depth > 0 && attempt < 100) {
          await sleep(50)
          continue
        }
        throw locked(path, other)
      }
      if (depth > 4) throw locked(path, other)

      // The holder is dead. Whoever gets the guard named after that very holding may replace it, if it is still
      // there: once replaced, the token is another one, and so is the guard. No unlink ever hits a live lock.
      const guard = `${path}.${other.token}`
      const guardFd = await hold(guard, holder, depth + 1)
      try {
        if ((await readHolder(path))?.token !== other.token) continue
        await renameOver(draft, path)
        held = draftFd
        return held
      } finally {
        await removeFile(guard)
        await close(guardFd)
      }
    }
  } finally {
    await rm(draft, { force: true })
    if (held !== draftFd) await close(draftFd)
  }
}

function locked(path: string, other: LockHolder): LockedError {
  const elsewhere = other.host !== hostname()
  const contained = !elsewhere && other.pidNamespace !== undefined && other.pidNamespace !== pidNamespace()
  const where = elsewhere ? ` on ${other.host}` : contained ? ' in another container' : ''
  return new LockedError(
    `locked by ${printable(String(other.command))} (pid ${other.pid}${printable(where)}) since ${printable(String(other.since))}`,
    {
      cure: elsewhere
        ? `Wait for it; if that machine is gone for good, delete ${path}.`
        : contained
          ? `Wait for it to end, or stop it; if that container is gone for good, delete ${path}.`
          : 'Wait for it to end, or stop it.',
      details: { path, pid: other.pid, host: other.host, command: other.command, since: other.since },
    },
  )
}

/**
 * Takes the lock file `path`. A holder that died is replaced; a live one never is, nor one of which that cannot be
 * known. What is known comes from the kernel's lock on the file (`flock`), which holds across containers and host
 * names; without it, from the pid, within one pid namespace of one machine.
 *
 * @throws LockedError that names holder, pid and since when
 */
export async function acquireLockFile(path: string, command: string): Promise<LockFile> {
  const holder: LockHolder = {
    pid: process.pid,
    host: hostname(),
    command,
    since: new Date().toISOString(),
    startedAt: processStart(process.pid),
    pidNamespace: pidNamespace(),
    kernelLock: false,
    token: randomUUID(),
  }
  let fd: number
  try {
    await mkdir(dirname(path), { recursive: true })
    fd = await hold(path, holder, 0)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined || error instanceof LockedError) throw error
    const isFull = code === 'ENOSPC' || code === 'EDQUOT'
    throw new (isFull ? TemporaryError : FatalError)(
      `the lock file ${path} cannot be created: ${systemErrorReason(error)}`,
      {
        code: 'db.lock-file',
        cure: isFull
          ? 'Free some space there, or choose another folder, then run it again.'
          : 'Choose a folder that this user can write to.',
        details: { path },
        cause: error,
      },
    )
  }
  let released = false
  return {
    holder,
    async release() {
      if (released) return
      released = true
      try {
        if ((await readHolder(path))?.token === holder.token) await removeFile(path)
      } finally {
        await close(fd)
      }
    },
  }
}

/** A file of a lock that cannot be read is being written, unless it has been like that for so long, ms. */
const writingTakes = 60_000

/**
 * Removes what processes that died while they took the lock `path` left beside it: drafts and guards. Those of live
 * processes, of other hosts and of other users stay, and so does what is no file or cannot be removed.
 *
 * @param names the folder's entries
 */
export async function removeDeadDrafts(path: string, names: readonly string[]): Promise<void> {
  const prefix = `${basename(path)}.`
  for (const name of names) {
    if (!name.startsWith(prefix)) continue
    const file = join(dirname(path), name)
    try {
      if (await isDead(file)) await rm(file, { force: true })
    } catch {
      // No command is to fail for what it tidies up: a folder of that name, what may not be read.
    }
  }
}

async function isDead(file: string): Promise<boolean> {
  try {
    const holder = await readHolder(file)
    return holder !== undefined && !(await isAlive(holder, file))
  } catch (error) {
    if (!(error instanceof LockedError)) throw error
    return Date.now() - (await lstat(file)).mtimeMs > writingTakes
  }
}
