/** Prefixes of keys that are autodj's own and hold no library. */

/** Where removed objects wait; a lifecycle rule, or `autodj cleanup`, ends the wait. No library lies in it. */
export const quarantinePrefix = 'quarantine/'

/** Below the prefix of all keys: where `fetch` puts what is on its way. What dead runs leave there is swept. */
export function stagingPrefix(keyPrefix: string): string {
  return `${keyPrefix}.incoming/`
}

/** Begin of the names of files that are not whole yet, in the folder where they will be. */
export const draftPrefix = '.autodj-restore-'
