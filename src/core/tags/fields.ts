/** What autodj wants to know of a file's tags, whatever kind of tag it is. */
import type { TagText } from './text.ts'

export interface TagFields {
  title?: TagText
  /** one or more */
  artists?: readonly TagText[]
  /** stands in if there is no artist of the track itself */
  albumArtists?: readonly TagText[]
  album?: TagText
  /** beats a minute, 1 to 999 */
  bpm?: number
}

export interface TagReading {
  readonly fields: TagFields
  /** What could not be read, a clause each. */
  readonly problems: readonly string[]
}

/** The first reading that tells a field wins: tags are given from the most to the least able kind. */
export function mergeTags(readings: readonly TagReading[]): TagReading {
  const fields: TagFields = {}
  for (const { fields: more } of readings) {
    fields.title ??= more.title
    fields.artists ??= more.artists
    fields.albumArtists ??= more.albumArtists
    fields.album ??= more.album
    fields.bpm ??= more.bpm
  }
  return { fields, problems: [...new Set(readings.flatMap(({ problems }) => problems))] }
}

export type FieldName = 'title' | 'artists' | 'albumArtists' | 'album' | 'bpm'

/** Adds values to a field; blank ones count as unsaid. What came first stays; further artists are added. */
export function addField(fields: TagFields, name: FieldName, values: readonly TagText[]): void {
  const told = values
    .map(({ text, encoding }) => ({ text: text.replace(/\0+/g, ' ').trim(), encoding }))
    .filter(({ text }) => text !== '')
  if (told.length === 0) return
  if (name === 'artists' || name === 'albumArtists') {
    const all = [...(fields[name] ?? []), ...told]
    fields[name] = all.filter(({ text }, i) => all.findIndex(one => one.text === text) === i)
  } else if (name === 'bpm') {
    const bpm = Number.parseFloat(told[0]!.text.replace(',', '.'))
    if (bpm >= 1 && bpm < 1000) fields.bpm ??= bpm
  } else fields[name] ??= told[0]!
}

/** Names of fields as Vorbis comments, APEv2, CAF and others spell them, lower case. */
const names: ReadonlyMap<string, FieldName> = new Map(
  Object.entries({
    title: 'title',
    artist: 'artists',
    author: 'artists',
    performer: 'albumArtists',
    albumartist: 'albumArtists',
    'album artist': 'albumArtists',
    album_artist: 'albumArtists',
    album: 'album',
    bpm: 'bpm',
    tbpm: 'bpm',
    tempo: 'bpm',
  }),
)

export const fieldNamed = (name: string): FieldName | undefined => names.get(name.toLowerCase())
