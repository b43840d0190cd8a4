/**
 * Compares two strings as the bytes of their UTF-8 encoding would compare: the order S3 lists keys in. Negative,
 * zero or positive, as for `Array.sort`.
 *
 * UTF-8 keeps code point order, UTF-16 does not: surrogates (0xD800 to 0xDFFF) stand for code points above 0xFFFF
 * but sort below 0xE000 to 0xFFFF. Rotating those two blocks restores it ("UTF-16 in UTF-8 or UTF-32 order",
 * Markus Scherer, Unicode Technical Note 23).
 */
export function compareUtf8(a: string, b: string): number {
  if (a === b) return 0
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i)
    const right = b.charCodeAt(i)
    if (left !== right) return codePointRank(left) - codePointRank(right)
  }
  return a.length - b.length
}

function codePointRank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}
