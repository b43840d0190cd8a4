/** Prefixes of keys that are autodj's own and hold no library. */

/** Where removed objects wait; a lifecycle rule, or `autodj cleanup`, ends the wait. No library lies in it. */
export const quarantinePrefix = 'quarantine/'

/** What a plan moves: `quarantine/PLAN-ID/OLD-KEY`. */
const removed = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\/(.+)$/s

/** The key that an object in quarantine had; undefined if no plan put it there: then it is somebody else's. */
export function keyBeforeRemoval(key: string): string | undefined {
  return key.startsWith(quarantinePrefix) ? removed.exec(key.slice(quarantinePrefix.length))?.[1] : undefined
}

/** Where an upload waits that was damaged on its way. */
const damagedPrefix = `${quarantinePrefix}damaged/`

/** Where an object is moved to that says it is a file, and is not. */
export function damagedKey(key: string): string {
  return damagedPrefix + key
}

/** The key that an object in quarantine had, whichever command moved it there; undefined if none did. */
export function keyBeforeQuarantine(key: string): string | undefined {
  return key.startsWith(damagedPrefix) ? key.slice(damagedPrefix.length) : keyBeforeRemoval(key)
}

/** Below the prefix of all keys: where `fetch` puts what is on its way. What dead runs leave there is swept. */
export function stagingPrefix(keyPrefix: string): string {
  return `${keyPrefix}.incoming/`
}

/** Begin of the names of files that are not whole yet, in the folder where they will be. */
export const draftPrefix = '.autodj-restore-'
