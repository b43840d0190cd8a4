import { printable } from './units.ts'

/**
 * Which tracks a command is asked to look at: by patterns of their paths, by artist, album or id. Pure.
 *
 * Patterns are gitignore's (library `ignore`): `Artist/` is everything below a folder of that name, `/Artist/*.mp3` is
 * anchored, `**` crosses folders. They are held against the path below the audio folder, and if a track has no file
 * any longer, against its key below the key prefix. Names are compared in NFC.
 */
export interface SelectionRules {
  /** only what one of these matches; empty: everything */
  readonly include: readonly string[]
  /** nothing that one of these matches */
  readonly exclude: readonly string[]
  /** lines of filter files as rclone writes them: the first that matches decides */
  readonly filters: readonly FilterRule[]
  /** whole names, in any case */
  readonly artists: readonly string[]
  readonly albums: readonly string[]
  readonly trackIds: readonly string[]
  /** `--files-from`: paths, keys or track ids; undefined: no list was given */
  readonly listed: readonly string[] | undefined
}

interface FilterRule {
  readonly keep: boolean
  readonly pattern: string
}

export const everything: SelectionRules = {
  include: [],
  exclude: [],
  filters: [],
  artists: [],
  albums: [],
  trackIds: [],
  listed: undefined,
}

/**
 * Reads a filter file: `+ PATTERN`, `- PATTERN`, `!` forgets what stands above, `#` and `;` begin a comment. A line
 * without a sign is gitignore's: a pattern to leave out, or with `!` before it to keep.
 *
 * @returns the rules, or the first line that is none
 */
export function parseFilterFile(text: string): FilterRule[] | { line: number; text: string } {
  let rules: FilterRule[] = []
  const ignored: FilterRule[] = []
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim()
    if (line === '' || /^[#;]/.test(line)) continue
    if (line === '!') {
      rules = []
      ignored.length = 0
      continue
    }
    const [, sign, pattern] = /^([+-])\s+(\S.*)$/.exec(line) ?? []
    if (pattern !== undefined) rules.push({ keep: sign === '+', pattern })
    else if (/^[+-]/.test(line)) return { line: index + 1, text: line }
    // Of gitignore's lines the last that matches decides: so the later ones come first here.
    else if (line.startsWith('!')) ignored.unshift({ keep: true, pattern: line.slice(1) })
    else ignored.unshift({ keep: false, pattern: line })
  }
  return [...rules, ...ignored]
}

/** Whether anything is selected at all: without it every track is. */
export function isSelecting(rules: SelectionRules): boolean {
  return hasPatterns(rules) || hasNames(rules) || rules.listed !== undefined
}

export function hasPatterns({ include, exclude, filters }: SelectionRules): boolean {
  return include.length + exclude.length + filters.length > 0
}

function hasNames({ artists, albums, trackIds }: SelectionRules): boolean {
  return artists.length + albums.length + trackIds.length > 0
}

/** The flags that select, as they are told to people: `--artist "Björk", --exclude "*.wav"`. */
export function describeSelection(rules: SelectionRules): string {
  const { include, exclude, filters, artists, albums, trackIds, listed } = rules
  const each = (flag: string, values: readonly string[]) =>
    values.map(value => `${flag} "${printable(value)}"`)
  return [
    ...each('--include', include),
    ...each('--exclude', exclude),
    ...(filters.length > 0 ? ['--filter-from'] : []),
    ...each('--artist', artists),
    ...each('--album', albums),
    ...each('--track', trackIds),
    ...(listed === undefined ? [] : ['--files-from']),
  ].join(', ')
}
