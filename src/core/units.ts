/** Sizes, durations, rates and counts as operators write and read them. */

const byteUnits: Readonly<Record<string, number>> = {
  b: 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
  p: 1024 ** 5,
}

/**
 * `512`, `64K`, `256MiB`, `1.5 GB` → bytes. All units are powers of 1,024, as in rclone and restic.
 * @returns undefined when it is not a size
 */
export function parseBytes(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?\s*$/i.exec(text)
  if (!match) return undefined
  const bytes = Number(match[1]) * (byteUnits[(match[2] || 'b').toLowerCase()] ?? 1)
  return Number.isFinite(bytes) ? Math.round(bytes) : undefined
}

const durationUnits: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}

/**
 * `90s`, `10m`, `1h30m`, `48h`, `30d` → milliseconds. A bare number is seconds.
 * @returns undefined when it is not a duration
 */
export function parseDuration(text: string): number | undefined {
  const trimmed = text.trim()
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Math.round(Number(trimmed) * 1_000)
  if (!/^(\d+(\.\d+)?(ms|[smhdw]))+$/.test(trimmed)) return undefined
  let total = 0
  for (const [, amount, unit] of trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/g)) {
    total += Number(amount) * (durationUnits[unit ?? ''] ?? 0)
  }
  return Math.round(total)
}

/** 1536 → `1.5 KiB` */
export function formatBytes(bytes: number): string {
  if (Math.abs(bytes) < 1024) return `${Math.round(bytes)} B`
  let value = bytes
  for (const unit of ['KiB', 'MiB', 'GiB', 'TiB']) {
    value /= 1024
    if (Math.abs(value) < 1023.95) return `${value.toFixed(Math.abs(value) < 99.95 ? 1 : 0)} ${unit}`
  }
  return `${(value / 1024).toFixed(1)} PiB`
}

/** Milliseconds → `0.4s`, `5s`, `12s`, `3m 5s`, `2h`, `3d 4h` */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 9_950) return `${Math.round(Math.max(0, milliseconds) / 100) / 10}s`
  const seconds = Math.round(milliseconds / 1_000)
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3_600) return two(seconds, 60, 'm', 1, 's')
  if (seconds < 86_400) return two(seconds, 3_600, 'h', 60, 'm')
  return two(seconds, 86_400, 'd', 3_600, 'h')
}

/** A guess in seconds → `under a second`, `about 12s`: it has no tenths. */
export function formatEstimate(seconds: number): string {
  return seconds < 1 ? 'under a second' : `about ${wholeSeconds(seconds)}`
}

/** Seconds, rounded up → `5s`, `3m 5s` */
export function wholeSeconds(seconds: number): string {
  return formatDuration(Math.ceil(seconds) * 1_000)
}

/** Milliseconds since something → `just now`, `5s ago`, `3d 4h ago` */
export function formatAge(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1_000)
  return seconds < 1 ? 'just now' : `${wholeSeconds(seconds)} ago`
}

/** The two largest units of a time; a second one of zero is left out. */
function two(seconds: number, large: number, largeName: string, small: number, smallName: string): string {
  const rest = Math.floor((seconds % large) / small)
  return `${Math.floor(seconds / large)}${largeName}${rest === 0 ? '' : ` ${rest}${smallName}`}`
}

/** 1234567 → `1,234,567` */
export function formatCount(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** `1 file`, `3 files`, `1,204 entries` */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`
}

/** A part of a whole, as one number from 0 to 100 with no false "100" before the end. */
export function percent(part: number, whole: number): number {
  if (whole <= 0) return 100
  return part >= whole ? 100 : Math.min(99, Math.floor((part / whole) * 100))
}

/**
 * Characters that move a terminal's cursor, begin its commands, break a log's line, or make text read in another order
 * than it is: C0, DEL and C1 controls, line and paragraph separators, every bidirectional control of Unicode.
 */
const disturbing = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu

/**
 * Text that cannot disturb a terminal or a log line: control characters, line separators and bidirectional
 * controls become `\n`, `\x1b`, `\u202e`.
 */
export function printable(text: string): string {
  return text.replace(disturbing, character => {
    if (character === '\n') return '\\n'
    if (character === '\r') return '\\r'
    if (character === '\t') return '\\t'
    const code = character.charCodeAt(0)
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : escaped(character)
  })
}

/** What the reporters' own styles are made of: bold, dim, red, green, yellow, cyan, and back. */
const styles = /(\u001b\[(?:1|2|22|31|32|33|36|39)m)/

/**
 * The same for text of several lines, such as a table: line breaks and tabs stay.
 * @param options.styled the reporter's own colours stay too
 */
export function printableLines(text: string, { styled = false } = {}): string {
  const escapeAll = (part: string) =>
    part.replace(disturbing, character => (/[\n\t]/.test(character) ? character : printable(character)))
  if (!styled) return escapeAll(text)
  return text
    .split(styles)
    .map((part, index) => (index % 2 === 1 ? part : escapeAll(part)))
    .join('')
}

/** JSON that holds none of them as they are: they only stand inside of strings, where `\u202e` means the same. */
export function printableJson(json: string): string {
  return json.replace(disturbing, character => (character === '\n' ? character : escaped(character)))
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
