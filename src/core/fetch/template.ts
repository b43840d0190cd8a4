/** Templates of a downloader's command line and of download URLs, filled in with a track. Pure. */

interface TemplateTrack {
  readonly id: string
  readonly spotifyId: string
  readonly title: string
  readonly artist: string
  readonly album: string | null
}

/**
 * `FETCH_COMMAND` for one track: each word on its own, so that nothing in a title can become another word. A value at
 * the start of a word loses its leading hyphens, as the command would read them as a flag; control characters become
 * blanks. Placeholders: `{query}` (artist and title), `{artist}`, `{title}`, `{album}`, `{id}`, `{spotify_id}`,
 * `{output}`; anything else in braces stays as it is.
 *
 * @param output path of the file to write
 */
export function fillCommand(
  words: readonly string[],
  track: TemplateTrack,
  output: string,
): [command: string, ...args: string[]] {
  const values = valuesOf(track).set('output', output)
  const filled = words.map(word =>
    word.replace(/\{(\w+)\}/g, (placeholder, name: string, at: number) => {
      const value = values.get(name)
      if (value === undefined) return placeholder
      return at === 0 && name !== 'output' ? value.replace(/^-+/, '').trimStart() : value
    }),
  )
  return filled as [string, ...string[]]
}

/** `--url` for one track: every value percent-encoded, so that none can change what the URL addresses. */
export function fillUrl(template: string, track: TemplateTrack): string {
  const values = valuesOf(track)
  return template.replace(/\{(\w+)\}/g, (placeholder, name: string) => {
    const value = values.get(name)
    return value === undefined ? placeholder : encodeURIComponent(value)
  })
}

function valuesOf({ id, spotifyId, title, artist, album }: TemplateTrack): Map<string, string> {
  const values = { id, spotify_id: spotifyId, title, artist, album: album ?? '', query: `${artist} ${title}` }
  return new Map(
    Object.entries(values).map(([name, value]) => [
      name,
      value
        .toWellFormed()
        .replace(/\p{Cc}+/gu, ' ')
        .trim(),
    ]),
  )
}
