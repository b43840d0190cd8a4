/** What of a file's tags becomes the name of its row. */
import { nameFromPath } from '../names.ts'
import type { TagFields } from './fields.ts'
import { confirmedBy, type TagText } from './text.ts'

interface TagNames {
  readonly title?: string
  readonly artist?: string
  readonly album?: string
  /** What was not believed, a clause each. */
  readonly doubts: readonly string[]
}

/** What compilations put in the place of an artist. */
const nobody = /^(various( artists?)?|va|v\. ?a\.|unknown( artist)?|diverse|verschiedene( interpreten)?)$/i

/**
 * Title, artist and album. Several artists are joined as the application joins them, by a comma. The artist of the
 * album stands in for that of the track, unless it says that there are many. A text of an encoding that nobody stated
 * gives way to the path if that tells the very same text, or if it does not look like a text.
 *
 * @param path relative to the audio folder, with `/` between folders
 */
export function tagNames(path: string, fields: TagFields): TagNames {
  const fromPath = nameFromPath(path)
  const doubts: string[] = []
  const believe = (what: string, told: TagText | undefined, otherwise: string): string | undefined => {
    if (told === undefined || told.encoding === 'known') return told?.text
    if (confirmedBy(told.text, otherwise)) return undefined
    if (told.encoding === 'likely') return told.text
    if (what === 'album') doubts.push('the encoding of its album is unknown; left out')
    else if (otherwise === '') doubts.push(`the encoding of its ${what} is unknown`)
    else doubts.push(`the encoding of its ${what} is unknown; taken from the path`)
    return otherwise === '' && what !== 'album' ? told.text : undefined
  }
  const own = fields.artists ?? []
  const album = (fields.albumArtists ?? []).filter(({ text }) => !nobody.test(text))
  const title = believe('title', fields.title, fromPath.title)
  const artist = believe('artist', joined(own.length > 0 ? own : album), fromPath.artist)
  const albumTitle = believe('album', fields.album, '')
  return {
    ...(title !== undefined && { title }),
    ...(artist !== undefined && { artist }),
    ...(albumTitle !== undefined && { album: albumTitle }),
    doubts,
  }
}

function joined(texts: readonly TagText[]): TagText | undefined {
  if (texts.length === 0) return undefined
  const encodings = texts.map(({ encoding }) => encoding)
  return {
    text: texts.map(({ text }) => text).join(', '),
    encoding: (['doubtful', 'likely'] as const).find(one => encodings.includes(one)) ?? 'known',
  }
}
