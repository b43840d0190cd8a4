/** Which tracks --include, --artist and the like select, as their ids. */
import type { Context } from '../context.ts'
import { type AudioFolder, readStoredPath } from '../core/audio-path.ts'
import { pathSelector } from '../core/path-selector.ts'
import { describeSelection, hasPatterns, isSelecting, type SelectionRules } from '../core/selection.ts'
import { formatCount, plural, printable } from '../core/units.ts'
import { cursorPages } from '../db/cursor.ts'
import type { Database } from '../db/database.ts'
import type { TrackFilter } from '../db/tracks.ts'

interface Row {
  id: string
  path: string | null
  key: string | null
}

const pageSize = 5_000

/**
 * What to add to a filter of tracks, so that it passes the selected ones alone; nothing if all are. Lines of
 * --files-from that name no track are told.
 */
export function selectedTracks(
  context: SelectingContext,
  database: Database,
): Promise<Pick<TrackFilter, 'selected'>> {
  const { selection } = context
  const found = isSelecting(selection) ? (known.get(selection) ?? findSelected(context, database)) : nothing
  known.set(selection, found)
  return found
}

type SelectingContext = Pick<Context, 'selection' | 'config' | 'report' | 'signal'>

const nothing = Promise.resolve({})
/** Of this run: its commands ask several times, and the table is read once. */
const known = new WeakMap<SelectionRules, Promise<Pick<TrackFilter, 'selected'>>>()

async function findSelected(
  { selection, config, report, signal }: SelectingContext,
  { knex }: Database,
): Promise<Pick<TrackFilter, 'selected'>> {
  const { artists, albums, trackIds, listed } = selection
  const isSelected = hasPatterns(selection) ? pathSelector(selection) : undefined
  const wanted = listed === undefined ? undefined : new Set(listed.map(line => line.normalize('NFC')))
  const found = new Set<string>()
  const selected: string[] = []
  const query = knex('tracks').select('id', 'file_path as path', 's3_object_key as key')
  if (artists.length > 0) query.whereRaw(isOneOf('artist'), [[...artists], artists.map(lower)])
  if (albums.length > 0) query.whereRaw(isOneOf('album'), [[...albums], albums.map(lower)])
  if (trackIds.length > 0) query.whereRaw('id = any(?::uuid[])', [[...trackIds]])
  const { sql, bindings } = query.toSQL()
  for await (const rows of cursorPages<Row>(knex, sql, bindings, pageSize)) {
    signal.throwIfAborted()
    for (const row of rows) {
      const names = namesOf(row, config)
      if (isSelected !== undefined && !names.paths.slice(0, 1).some(isSelected)) continue
      if (wanted !== undefined) {
        const said = [row.id, row.path ?? '', row.key ?? '', ...names.paths]
          .map(name => name.normalize('NFC'))
          .filter(name => wanted.has(name))
        if (said.length === 0) continue
        for (const name of said) found.add(name)
      }
      selected.push(row.id)
    }
  }
  tellUnknown(report, wanted, found)
  if (selected.length === 0) report.warn(`no track matches ${describeSelection(selection)}`)
  return { selected }
}

function tellUnknown(
  report: Pick<Context['report'], 'warn'>,
  wanted: ReadonlySet<string> | undefined,
  found: ReadonlySet<string>,
): void {
  if (wanted === undefined) return
  const unknown = [...wanted].filter(line => !found.has(line))
  const [first] = unknown
  if (first === undefined) return
  report.warn(
    `--files-from: ${plural(unknown.length, 'line')} of ${formatCount(wanted.size)} ` +
      `${unknown.length === 1 ? 'is' : 'are'} not the file path, key or id of a track, such as "${printable(first)}"`,
  )
}

/** Paths of a track as patterns mean them: below the audio folder; without a file, its key below the prefix. */
function namesOf({ path, key }: Row, { audioFolder, s3 }: Context['config']): { paths: string[] } {
  return { paths: [...pathsOf(path, audioFolder), ...(key === null ? [] : [keyPath(key, s3.keyPrefix)])] }
}

function pathsOf(path: string | null, folder: AudioFolder): string[] {
  if (path === null) return []
  const read = readStoredPath(path, folder)
  return read.ok ? read.readings.map(({ relative }) => relative.replaceAll('\\', '/')) : [path]
}

/** A key as patterns mean it. */
export function keyPath(key: string, keyPrefix: string): string {
  return key.startsWith(keyPrefix) ? key.slice(keyPrefix.length) : key
}

/** As it is written, for databases whose collation knows the case of no other letters than a to z. */
const isOneOf = (column: string): string =>
  `(${column} = any(?::text[]) or lower(${column}) = any(?::text[]))`

const lower = (name: string): string => name.toLowerCase()

/** Whether patterns select a path or key that no row names; names of artists and lists cannot say. */
export function strangerSelector(selection: SelectionRules): (path: string) => boolean {
  if (!isSelecting(selection)) return () => true
  if (!hasPatterns(selection)) return () => false
  return pathSelector(selection)
}
