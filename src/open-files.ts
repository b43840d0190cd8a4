/** How many files and sockets this process may have open. */
import { readFileSync } from 'node:fs'

/** Of the limits of a process, as proc(5) lists them: the soft one of open files; undefined if there is none. */
export function openFilesIn(limits: string): number | undefined {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(limits) ?? []
  return soft === undefined ? undefined : Number(soft)
}

let allowed: number | undefined

/**
 * As many as are wanted, at most a quarter of what may be open: files and the connections that they wait for must both
 * find room, or each waits for the other.
 */
export function withinOpenFiles(wanted: number): number {
  if (allowed === undefined) {
    try {
      allowed = openFilesIn(readFileSync('/proc/self/limits', 'latin1')) ?? Number.POSITIVE_INFINITY
    } catch {
      // Not Linux.
      allowed = Number.POSITIVE_INFINITY
    }
  }
  return Math.max(4, Math.min(wanted, Math.floor(allowed / 4)))
}
