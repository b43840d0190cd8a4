/** Object keys made of what breaks URLs, proxies and file systems; always the same ones. */

const pieces = [
  'AC+DC', '50% off', '%25', '%2F', '%', '#1', 'what?', 'a&b=c', 'semi;colon', "it's", '"quoted"', '(live)', '[ed]',
  'back\\slash', 'tab\there', 'new\nline', 'Beyonc\u00e9', 'Beyonce\u0301', '\u00c5', 'A\u030a', '夜に駆ける', 'ДДТ',
  'فيروز', 'א\u05b8', '🎧', '👩‍🎤', '\u200b', '\u202e', 'ﬁn', 'ß', 'İ', 'ı', 'K', '~tilde', '*star*', '!', '$', ',', '@',
  '|', '^', '`', '{}', '<tag>', '..hidden', 'dot.', ' leading', 'trailing ', 'a  b', '+', '++', '%+', '+%20', 'C:',
  'con', '-dash', '_', '=', ':', '\u00a0', '\ufeff', '\u2028', '𝄞', 'null\u0001',
] // biome-ignore format: a table

/** `count` different keys below `audio/`, 1,024 bytes at most, none with a segment that is `.` or `..`. */
export function hostileKeys(count: number): string[] {
  const keys = new Set<string>()
  for (let n = 0; keys.size < count; n++) {
    const piece = (offset: number) =>
      pieces[(n * 7 + offset * 13 + Math.floor(n / pieces.length) * 3) % pieces.length]!
    const artist = n % 3 === 0 ? piece(0) : `${piece(0)}${piece(1)}`
    const title = `${piece(2)}${n % 5 === 0 ? `/${piece(3)}` : ''}${n % 11 === 0 ? '//' : ''}${piece(4)}`
    const long = n % 97 === 0 ? 'é'.repeat(400) : ''
    keys.add(`audio/${artist}/${title}${long}_${n}.mp3`)
  }
  return [...keys]
}
