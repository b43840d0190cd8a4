/** How many files and sockets this process may have open. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemErrorCode, TemporaryError } from './errors.ts'

/** Of the limits of a process, as proc(5) lists them: the soft one of open files; undefined if there is none. */
export function openFilesIn(limits: string): number | undefined {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(limits) ?? []
  return soft === undefined ? undefined : Number(soft)
}

let allowed: number | undefined

/** How many files this process may have open; no limit where that cannot be told. */
function openFilesAllowed(): number {
  if (allowed === undefined) {
    try {
      allowed = openFilesIn(readFileSync('/proc/self/limits', 'latin1')) ?? Number.POSITIVE_INFINITY
    } catch {
      // Not Linux.
      allowed = Number.POSITIVE_INFINITY
    }
  }
  return allowed
}

/**
 * As many as are wanted, at most a quarter of what may be open: files and the connections that they wait for must both
 * find room, or each waits for the other.
 */
export function withinOpenFiles(wanted: number): number {
  return Math.max(4, Math.min(wanted, Math.floor(openFilesAllowed() / 4)))
}

/** Refuses before anything begins what would fail in the middle, for want of files. @throws TemporaryError */
export function requireOpenFiles(needed: number, who: string): void {
  if (openFilesAllowed() >= needed) return
  throw new TemporaryError(`only ${openFilesAllowed()} files may be open, and ${who} needs ${needed}`, {
    code: 'system.files',
  })
}

/** How often something is opened again where too many files are open, and after how long, milliseconds: others close theirs. */
const tries = { most: 100, pause: 50 }

/** Whether the system refused because too many files are open: no fault of the file. */
export const isTooManyFiles = (error: unknown): boolean =>
  ['EMFILE', 'ENFILE'].includes(systemErrorCode(error) ?? '')

/** Opens something; where too many files are open, once another is closed. @throws what `open` throws */
export async function openInTurn<T>(open: () => T | Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await open()
    } catch (error) {
      if (!isTooManyFiles(error) || attempt === tries.most) throw error
      await sleep(tries.pause)
    }
  }
}
