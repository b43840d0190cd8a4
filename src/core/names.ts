/**
 * Titles and artists: out of tags, else out of the path, and folded so that two spellings of one name can meet.
 * The application names its files `Artist-Name/Title.mp3` and drops or replaces punctuation as it goes.
 */

export interface TrackName {
  artist: string
  title: string
}

/** What the tags of a file said; empty strings and blanks count as unsaid. */
interface NameTags {
  title?: string | undefined
  artist?: string | undefined
}

export const unknownArtist = 'Unknown Artist'
export const unknownTitle = 'Untitled'

/** Characters of a title, artist or album that are kept of a tag: more is no name. */
export const maxNameLength = 1_000

/**
 * NFC in linear time. Marks in a row have to be sorted for it, which takes the square of their number: of more than 30,
 * which no language has, the first 30 stay (UAX #15, Stream-Safe Text Format).
 */
export function toNfc(text: string): string {
  // Below the first combining mark everything is in NFC (UAX #15, NFC_Quick_Check): nearly every name.
  if (/^[\u0000-\u02ff]*$/.test(text)) return text
  return text.replace(/(\p{M}{30})\p{M}+/gu, '$1').normalize('NFC')
}

/**
 * A name fit for a database row, a log and a report: in NFC, without control characters (C0, C1, line and paragraph
 * separators, every bidirectional control), runs of blanks as one, trimmed, no longer than {@link maxNameLength}. Lone
 * surrogates become U+FFFD.
 */
export function cleanName(name: string): string {
  // Blanks and controls fold away: ten times as much as is kept is enough to find it in.
  const cleaned = toNfc(
    name
      .slice(0, 10 * maxNameLength)
      .toWellFormed()
      .replace(/[\p{Cc}\u2028\u2029\s]+/gu, ' ')
      .replace(/[\p{Bidi_Control}\ufeff]/gu, ''),
  ).trim()
  if (cleaned.length <= maxNameLength) return cleaned
  const cut = [...new Intl.Segmenter().segment(cleaned.slice(0, maxNameLength + 100))]
  return cleaned.slice(0, cut.findLast(({ index }) => index <= maxNameLength)?.index ?? maxNameLength).trim()
}

/**
 * Artist and title of a file: each from its tag, else from the path. `Artist - Title.ext` tells both;
 * otherwise the folder is the artist and the file name the title. A leading track number (`03 `, `12. `, `12 - `,
 * `1-03 `) is dropped from what comes from a path.
 *
 * @param path relative to the audio folder, with `/` between folders
 */
export function trackName(path: string, tags: NameTags = {}): TrackName {
  const fromPath = nameFromPath(path)
  return {
    artist: cleanName(tags.artist ?? '') || fromPath.artist || unknownArtist,
    title: cleanName(tags.title ?? '') || fromPath.title || unknownTitle,
  }
}

/** What a path tells of a track; an empty string for what it does not. */
export function nameFromPath(path: string): TrackName {
  const folders = path.split('/')
  const file = cleanName(folders.pop() ?? '')
  const stem = cleanName(file.replace(/(?<=.)\.[\p{L}\p{N}]{1,5}$/u, ''))
  const name = withoutTrackNumber(stem)
  const [artist = '', ...title] = name.split(/ [-–—] /u)
  if (title.length > 0 && cleanName(artist) && cleanName(title.join(' - '))) {
    return { artist: cleanName(artist), title: cleanName(title.join(' - ')) }
  }
  return { artist: cleanName(folders.at(-1) ?? ''), title: name }
}

/** Only what is clearly the number of a track, so that "99 Problems" and "7 Rings" stay what they are. */
function withoutTrackNumber(stem: string): string {
  return stem.replace(/^(?:\d-)?(?:\d{2}(?:\. | - )|0\d |\d\. )(?=\S)/u, '')
}

/**
 * A name without what differs between spellings: case, width, composed and decomposed letters, accents of Latin, Greek
 * and Cyrillic letters, punctuation, symbols and blanks. Marks of other scripts stay, as they are not accents there
 * (Japanese dakuten, vowels of Devanagari and Thai). A name of nothing but symbols is kept as it is.
 */
export function foldName(name: string): string {
  const plain = cleanName(name)
  const folded = plain
    .normalize('NFKD')
    .toLowerCase() // twice: the capital of ß is ẞ, but that of ss is SS
    .toUpperCase()
    .toLowerCase()
    .replaceAll('ς', 'σ')
    .normalize('NFKD')
    .replace(/[^\p{L}\p{N}\p{M}]+/gu, '')
    .replace(/([\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}])\p{M}+/gu, '$1')
    .normalize('NFC')
  return folded || plain.normalize('NFKC')
}

/** Equal for two names that the application may have made of one: of a row, and of the file it belongs to. */
export function matchKey({ artist, title }: TrackName): string {
  return `${foldName(artist)}\0${foldName(title)}`
}

/**
 * Keys of the rows that a file may belong to, likelier first: by its tags, and by its path, as the application named
 * it. A name that nobody gave ("Unknown Artist") matches nothing.
 */
export function matchKeysOfFile(path: string, tags: NameTags = {}): string[] {
  const names = [trackName(path, tags), trackName(path)]
  const told = names.filter(({ artist, title }) => artist !== unknownArtist && title !== unknownTitle)
  return [...new Set(told.map(matchKey))]
}
