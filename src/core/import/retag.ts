/** What of a row's name is read anew: only what autodj itself once wrote there. */
import type { TrackName } from '../names.ts'

export interface Retag {
  readonly title: string
  readonly artist: string
}

/**
 * @param row what it says
 * @param now what the file says today
 * @param formerly what earlier versions made of the same file; a name that is none of theirs is a person's, or the
 *   application's
 * @returns undefined if nothing changes
 */
export function retagged(row: TrackName, now: TrackName, formerly: readonly TrackName[]): Retag | undefined {
  const pick = (part: keyof TrackName): string =>
    formerly.some(former => former[part] === row[part]) ? now[part] : row[part]
  const changed = { title: pick('title'), artist: pick('artist') }
  return changed.title === row.title && changed.artist === row.artist ? undefined : changed
}
