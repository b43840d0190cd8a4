import { toNfc } from '../names.ts'

/** The `Content-Disposition` header of a download that plays in place: RFC 6266, with RFC 8187 for names beyond ASCII. */

/**
 * `inline; filename="…"`, plus `filename*` if the name does not fit ASCII. Control characters, path separators and
 * what Windows refuses in names become `_`; the name is cut to 180 characters, its extension kept.
 *
 * @param extension without the dot
 */
export function inlineDisposition(name: string, extension: string): string {
  const safe = [...toNfc(name.toWellFormed()).replace(/[\p{Cc}\p{Cf}/\\:*?"<>|]+/gu, '_')]
    .slice(0, 180)
    .join('')
    .trim()
  const full = `${safe === '' ? 'audio' : safe}.${extension}`
  const ascii = full.replace(/[^\x20-\x7e]/g, '_')
  if (ascii === full && !full.includes('%')) return `inline; filename="${full}"`
  const encoded = encodeURIComponent(full).replace(
    /['()]/g,
    character => `%${character.charCodeAt(0).toString(16)}`,
  )
  return `inline; filename="${ascii.replaceAll('%', '_')}"; filename*=UTF-8''${encoded}`
}
