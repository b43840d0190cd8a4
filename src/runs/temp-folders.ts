/**
 * Temporary folders, one a run and named after it. Beside each stands a lock file of the process that works in it, so
 * that the folders of runs that died can be told from those of live ones, and removed.
 */
import { lstat, mkdir, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { acquireLockFile, type LockFile, removeDeadDrafts } from '../db/lock-file.ts'
import { FatalError, LockedError, systemErrorCode, systemRefusal, toError } from '../errors.ts'

const name = /^autodj-run-([0-9a-f-]{36})(\.lock(?:\..+)?)?$/

export interface TempFolder {
  readonly path: string
  /** Removes it with all that is in it; calling it twice is harmless. */
  remove(): Promise<void>
}

/** Makes the run's own temporary folder; whoever makes it removes it. @throws AppError if there can be none */
export async function makeTempFolder(runId: string): Promise<TempFolder> {
  await temporaryEntries()
  const folder = path.join(tmpdir(), `autodj-run-${runId}`)
  // The lock comes first and goes last: a folder without one belongs to nobody.
  const lock = await lockOwn(`${folder}.lock`, `run ${runId}`)
  try {
    // Not one that is there: whoever made it could read and change what is put into it.
    await mkdir(folder, { mode: 0o700 })
  } catch (error) {
    await lock.release()
    if (systemErrorCode(error) !== 'EEXIST') throw error
    throw new FatalError(`${folder} already exists, and this run did not create it`, {
      code: 'config.temp-folder',
      cure: 'Check who created it and delete it, or set TMPDIR to a folder that only this user can write to.',
      cause: error,
    })
  }
  return {
    path: folder,
    async remove() {
      await rm(folder, { recursive: true, force: true })
      await lock.release()
    },
  }
}

/**
 * What is in the folder for temporary files. If there is none it is not made: a scratch disk that is not mounted
 * would have its downloads on the disk below it.
 *
 * @throws FatalError if it is not there
 */
async function temporaryEntries(): Promise<string[]> {
  try {
    return await readdir(tmpdir())
  } catch (error) {
    const code = systemErrorCode(error)
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error
    const what = code === 'ENOENT' ? 'does not exist' : 'is not a folder'
    throw new FatalError(`the folder for temporary files, ${tmpdir()}, ${what}`, {
      code: 'config.temp-folder',
      cure: 'Mount or create it, or set TMPDIR to a folder that exists.',
      cause: error,
    })
  }
}

/** Milliseconds between attempts, and how many there are. */
const sweepTakes = 50
const attempts = 100

/** Nobody but a sweep that met the lock half made can hold it, for a moment. */
async function lockOwn(file: string, command: string): Promise<LockFile> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await acquireLockFile(file, command)
    } catch (thrown) {
      const error = toError(thrown)
      if (!(error instanceof LockedError) || attempt === attempts)
        throw systemRefusal(error.cause instanceof Error ? error.cause : error, tmpdir()) ?? error
      await sleep(sweepTakes)
    }
  }
}

/** Whether it is this user's, or not there: root, too, leaves alone what others have in the folder for all. */
async function isOwn(entry: string): Promise<boolean> {
  try {
    return (await lstat(entry)).uid === (process.getuid?.() ?? 0)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return true
    throw error
  }
}

/** The temporary folder of a run whose process is gone; nobody else is at it until the next one is asked for. */
interface DeadTempFolder {
  /** absolute; perhaps only its lock is left */
  readonly path: string
  readonly runId: string
  remove(): Promise<void>
}

/**
 * Those of live processes, of other machines (a shared temp folder) and of other users are left alone, whatever database
 * they work on.
 *
 * @throws FatalError if there is no folder for temporary files
 */
export async function* deadTempFolders(): AsyncGenerator<DeadTempFolder> {
  const runs = new Set<string>()
  const entries: string[] = []
  for (const entry of await temporaryEntries()) {
    const run = name.exec(entry)?.[1]
    if (run === undefined || !(await isOwn(path.join(tmpdir(), entry)))) continue
    entries.push(entry)
    runs.add(run)
  }
  for (const runId of runs) {
    const folder = path.join(tmpdir(), `autodj-run-${runId}`)
    if (!((await isOwn(folder)) && (await isOwn(`${folder}.lock`)))) continue
    const lock = await acquireLockFile(`${folder}.lock`, 'sweeping').catch(unlessInUse)
    if (lock === undefined) continue
    try {
      yield {
        path: folder,
        runId,
        async remove() {
          await rm(folder, { recursive: true, force: true })
          await removeDeadDrafts(`${folder}.lock`, entries)
        },
      }
    } finally {
      await lock.release()
    }
  }
}

/** @throws what says anything else than that somebody is at it, or that it is not ours to touch */
function unlessInUse(error: unknown): undefined {
  const code = systemErrorCode(error instanceof Error ? (error.cause ?? error) : error)
  if (!(error instanceof LockedError) && code !== 'EACCES' && code !== 'EPERM') throw error
}

/**
 * Removes the temporary folders of runs whose process is gone.
 *
 * @returns how many there were
 * @throws FatalError if there is no folder for temporary files
 */
export async function sweepTempFolders(): Promise<number> {
  let swept = 0
  for await (const folder of deadTempFolders()) {
    const isRemoved = await folder.remove().then(() => true, unlessInUse)
    if (isRemoved) swept++
  }
  return swept
}
