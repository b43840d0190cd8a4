import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { link, mkdir, open, readFile, rename, rm, stat, unlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { FatalError, LockedError, systemErrorCode, TemporaryError } from '../errors.ts'

/** Who holds a lock file. */
export interface LockHolder {
  pid: number
  host: string
  /** What the operator would recognise: `upload-local`. */
  command: string
  /** ISO 8601. */
  since: string
  /** When the process began, opaque; tells a process from a later one with the same pid. Null where unknown. */
  startedAt: string | null
  /** Unique for each holding. */
  token: string
}

export interface LockFile {
  readonly holder: LockHolder
  release(): Promise<void>
}

/**
 * When the process with that pid began, as an opaque string that no later process with the same pid shares, or null
 * where there is no such process or the system does not tell.
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

function isAlive(holder: LockHolder): boolean {
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

async function readHolder(path: string): Promise<LockHolder | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
  try {
    const holder = JSON.parse(text) as LockHolder
    if (typeof holder.pid === 'number' && typeof holder.token === 'string') return holder
  } catch {
    // falls through: not one of ours
  }
  throw new LockedError(`the lock file ${path} cannot be read as one`, {
    code: 'locked.unreadable',
    cure: 'delete it if no autodj is running on this folder',
    details: { path },
  })
}

/** The file at `path` appears whole or not at all, and only if there was none: true if it is ours now. */
async function createExclusively(path: string, draft: string, text: string): Promise<boolean> {
  try {
    await link(draft, path)
    return true
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'EEXIST') return false
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS') throw error
  }
  // A file system without hard links (exFAT).
  try {
    const file = await open(path, 'wx')
    await file.writeFile(text)
    await file.sync()
    await file.close()
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return false
    throw error
  }
}

async function hold(path: string, holder: LockHolder, depth: number): Promise<void> {
  const draft = `${path}.${holder.token}.draft`
  const text = `${JSON.stringify(holder)}\n`
  try {
    const file = await open(draft, 'wx')
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    for (let attempt = 0; ; attempt++) {
      if (await createExclusively(path, draft, text)) return
      const other = await readHolder(path)
      if (other === undefined) continue
      if (other.host !== holder.host || isAlive(other)) {
        // A guard is held for a few milliseconds only: its holder is taking the lock over right now.
        if (depth > 0 && attempt < 100) {
          await sleep(50)
          continue
        }
        throw locked(path, other, holder.host)
      }
      if (depth > 4) throw locked(path, other, holder.host)

      // The holder is dead. Whoever gets the guard named after that very holding may replace it, if it is still
      // there: once replaced, the token is another one, and so is the guard. No unlink ever hits a live lock.
      const guard = `${path}.${other.token}`
      await hold(guard, holder, depth + 1)
      try {
        if ((await readHolder(path))?.token !== other.token) continue
        await rename(draft, path)
        return
      } finally {
        await unlink(guard)
      }
    }
  } finally {
    await rm(draft, { force: true })
  }
}

function locked(path: string, other: LockHolder, host: string): LockedError {
  const elsewhere = other.host !== host
  return new LockedError(
    `locked by ${other.command} (pid ${other.pid}${elsewhere ? ` on ${other.host}` : ''}) since ${other.since}`,
    {
      cure: elsewhere
        ? `wait for it; if that machine is gone for good, delete ${path}`
        : 'wait for it to end, or stop it',
      details: { path, pid: other.pid, host: other.host, command: other.command, since: other.since },
    },
  )
}

/**
 * Takes the lock file `path`. A holder that died is replaced; a live one never is, nor one on another host, of which
 * nothing can be known.
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
    token: randomUUID(),
  }
  try {
    await mkdir(dirname(path), { recursive: true })
    await hold(path, holder, 0)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined || error instanceof LockedError) throw error
    const isFull = code === 'ENOSPC' || code === 'EDQUOT'
    throw new (isFull ? TemporaryError : FatalError)(`the lock file ${path} cannot be made: ${code}`, {
      code: 'db.lock-file',
      cure: isFull
        ? 'free some space there, or choose another folder, then run it again'
        : 'choose a folder that this user can write to',
      details: { path },
      cause: error,
    })
  }
  return {
    holder,
    async release() {
      if ((await readHolder(path))?.token === holder.token) await unlink(path)
    },
  }
}

/** A file of a lock that cannot be read is being written, unless it has been like that for so long, ms. */
const writingTakes = 60_000

/**
 * Removes what processes that died while they took the lock `path` left beside it: drafts and guards. Those of live
 * processes, of other hosts and of other users stay.
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
    } catch (error) {
      const code = systemErrorCode(error)
      if (code !== 'ENOENT' && code !== 'EACCES' && code !== 'EPERM') throw error
    }
  }
}

async function isDead(file: string): Promise<boolean> {
  try {
    const holder = await readHolder(file)
    return holder !== undefined && holder.host === hostname() && !isAlive(holder)
  } catch (error) {
    if (!(error instanceof LockedError)) throw error
    return Date.now() - (await stat(file)).mtimeMs > writingTakes
  }
}
