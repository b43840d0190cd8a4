/** The flags that choose tracks, the same for every command that takes them, and what they mean together. */
import { listedNames } from '../core/listed-names.ts'
import { parseFilterFile, type SelectionRules } from '../core/selection.ts'
import { printable } from '../core/units.ts'
import { UsageError } from '../errors.ts'
import type { Command } from './command.ts'
import { type Flags, flag } from './flags.ts'
import { readText } from './read-text.ts'

/** By paths alone: for what has no row yet. */
const pathFlags = {
  include: flag.list(
    '--include <pattern>',
    'only paths that match, as in .gitignore: Artist/, *.flac, /Artist/**; may be repeated',
  ),
  exclude: flag.list('--exclude <pattern>', 'no paths that match; may be repeated'),
  filterFrom: flag.list(
    '--filter-from <file>',
    'read rules from a file, written as for rclone or .gitignore',
  ),
} satisfies Flags

const trackFlags = {
  ...pathFlags,
  artist: flag.list('--artist <name>', 'only tracks of this artist; may be repeated'),
  album: flag.list('--album <name>', 'only tracks of this album; may be repeated'),
  track: flag.list('--track <id>', 'only this track; may be repeated'),
  filesFrom: flag.text(
    '--files-from <file>',
    'only what this file lists, one per line: paths, keys or track ids; - is stdin',
  ),
} satisfies Flags

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** What the flags say. @throws UsageError for a file that cannot be read, or what is no rule or id */
export async function readSelection(
  values: Readonly<Record<string, unknown>>,
  cwd: string,
): Promise<SelectionRules> {
  const list = (name: string): readonly string[] => (values[name] as readonly string[] | undefined) ?? []
  const refuse = (problem: string): UsageError => new UsageError(problem, { code: 'usage.flag' })
  for (const id of list('track')) if (!uuid.test(id)) throw refuse(`--track: "${id}" is not a track id`)
  const filters = []
  for (const file of list('filterFrom')) {
    const rules = parseFilterFile(await readText('--filter-from', file, cwd))
    if (!Array.isArray(rules))
      throw refuse(
        `--filter-from: ${printable(file)}, line ${rules.line}: "${printable(rules.text)}" is not a rule (example: - *.tmp)`,
      )
    filters.push(...rules)
  }
  const listed = values['filesFrom']
  return {
    include: list('include'),
    exclude: list('exclude'),
    filters,
    artists: list('artist'),
    albums: list('album'),
    trackIds: list('track'),
    listed: typeof listed === 'string' ? listedNames(await readText('--files-from', listed, cwd)) : undefined,
  }
}

/** The flags that choose tracks, without those that the command has in its own way. */
export function selectionFlagsOf(command: Command): Flags {
  if (command.selects === undefined) return {}
  const flags: Flags = command.selects === 'tracks' ? trackFlags : pathFlags
  return Object.fromEntries(Object.entries(flags).filter(([key]) => !(key in command.flags)))
}
