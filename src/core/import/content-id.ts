/** Names for content: what a track is called that no streaming service knows. */

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
/** Digits of a SHA-256 in base 62: 62^43 is the first power over 2^256. */
const sha256Digits = 43
/** As long as a Spotify id. About 131 bits: two files of one id are not to be expected. */
const idDigits = 22

/** A SHA-256 in base 62, 43 digits of `0-9A-Za-z`. @param sha256 64 hex digits */
export function base62(sha256: string): string {
  let rest = BigInt(`0x${sha256}`)
  let text = ''
  for (let digit = 0; digit < sha256Digits; digit++) {
    text = digits[Number(rest % 62n)]! + text
    rest /= 62n
  }
  return text
}

/** The `spotify_id` of a track made from a local file: `local:` and the first 22 digits of its SHA-256 in base 62. */
export function localTrackId(sha256: string): string {
  return `local:${base62(sha256).slice(0, idDigits)}`
}

/** Whether a row was made from a local file, by `import`. */
export const isLocalTrackId = (spotifyId: string): boolean => /^local:[0-9A-Za-z]{22}$/.test(spotifyId)
