/**
 * The one place that decides what characters the bytes of a tag are. Most tags state an encoding, or have one; RIFF
 * INFO, AIFF's texts and ID3v1 do not, and what claims to be Latin-1 (ID3v2) is as often what the writer's machine used.
 */

export interface TagText {
  readonly text: string
  /**
   * `known`: stated, or UTF-8 by its bytes · `likely`: nobody said, and it looks like a text in Windows-1252 ·
   * `doubtful`: nobody said, and it does not
   */
  readonly encoding: 'known' | 'likely' | 'doubtful'
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true })
const utf16 = { little: new TextDecoder('utf-16le'), big: new TextDecoder('utf-16be') }

/**
 * The order of UTF-16 that nobody declared, where bytes are that: in alphabets, every second byte is of a block, below
 * 32, which in no other encoding is part of a text. undefined if they are not.
 */
export function undeclaredUtf16(bytes: Uint8Array): 'little' | 'big' | undefined {
  let end = bytes.length & ~1
  while (bytes[end - 1] === 0 && bytes[end - 2] === 0) end -= 2
  if (end < 4) return undefined
  const isText = (high: 0 | 1): boolean => {
    /** Dashes and quotation marks are of block 32, which is a blank as well. */
    let punctuation = 0
    for (let at = 0; at < end; at += 2) {
      const block = bytes[at + high]!
      if (block > 0x20 || (block === 0 && bytes[at + 1 - high]! < 0x20)) return false
      if (block === 0x20) punctuation++
    }
    return punctuation < end / 4
  }
  return isText(1) ? 'little' : isText(0) ? 'big' : undefined
}

/** What Windows-1252 has where Latin-1 has control characters, 0x80 to 0x9f (WHATWG, "Encoding"). */
const upperControls = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ'

/** Not by TextDecoder, whose `windows-1252` is Latin-1 in many versions, Node.js 22.18 and 24.6 among them (nodejs/node#56542). */
function windows1252(bytes: Uint8Array): string {
  return Array.from(bytes, byte => upperControls[byte - 0x80] ?? String.fromCharCode(byte)).join('')
}

/** A text that a zero ends, if there is one. */
export function upToZero(bytes: Uint8Array): Uint8Array {
  const zero = bytes.indexOf(0)
  return zero === -1 || undeclaredUtf16(bytes) ? bytes : bytes.subarray(0, zero)
}

/**
 * Bytes that nobody said the encoding of. Valid UTF-8 is UTF-8: text of another encoding with a byte over 127 almost
 * never is (W3C, "Character Model: Specials"). What is not is read as Windows-1252, doubtfully unless it looks like it.
 */
export function decodeUnstated(bytes: Uint8Array): TagText {
  // FF FE or FE FF
  if (bytes[0]! + bytes[1]! === 0x1fd) return { text: decodeUtf16(bytes), encoding: 'known' }
  const order = undeclaredUtf16(bytes)
  if (order) return { text: decodeUtf16(bytes, order === 'big').replace(/\0+$/, ''), encoding: 'likely' }
  const content = withoutTail(bytes)
  const text = utf8(content) ?? utf8(withoutSplitEnd(content))
  if (text !== undefined) return { text, encoding: 'known' }
  const latin = windows1252(content)
  return { text: latin, encoding: looksWestern(latin) ? 'likely' : 'doubtful' }
}

/** Bytes of UTF-16; without a mark of their order, big-endian if `big`. */
export function decodeUtf16(bytes: Uint8Array, big = false): string {
  const even = bytes.subarray(0, bytes.length & ~1)
  if (even[0] === 0xff && even[1] === 0xfe) return utf16.little.decode(even.subarray(2))
  if (even[0] === 0xfe && even[1] === 0xff) return utf16.big.decode(even.subarray(2))
  return (big ? utf16.big : utf16.little).decode(even)
}

function utf8(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes)
  } catch {
    return undefined
  }
}

/** A field of fixed size is cut anywhere: without what is left of its last character. */
function withoutSplitEnd(bytes: Uint8Array): Uint8Array {
  let end = bytes.length
  // Its lead, and two more at most: with a third it would be whole.
  while (bytes.length - end < 2 && (bytes[end - 1]! & 0xc0) === 0x80) end--
  // The text must be told to be UTF-8 by what is left of it, too.
  const isLead = bytes[end - 1]! >= 0xc0
  const rest = bytes.subarray(0, Math.max(0, end - 1))
  return isLead && rest.some(byte => byte > 127) ? rest : bytes
}

function withoutTail(bytes: Uint8Array): Uint8Array {
  let end = bytes.length
  while (bytes[end - 1] === 0 || bytes[end - 1] === 0x20) end--
  return bytes.subarray(0, end)
}

/**
 * Whether a text read as Windows-1252 was one. In the languages that are written in it, letters with marks stand between
 * plain ones; of another encoding, nearly every letter is such a one (Cyrillic), or signs stand among them (Greek, DOS,
 * Shift-JIS).
 */
function looksWestern(text: string): boolean {
  if (/[\x7f-\x9f¤¦¬¯¸ƒ†‡‰¨¶]|[²³¹´·£¥¢§©ª«®°±µº»¼-¿×÷ÞþÐð¡]{2}/u.test(text)) return false
  if (/\p{L}[¼-¾±×÷¥¢§µ¿¡]|\p{L}[¹²³]\p{L}|[¼-¾±×÷¥¢§]\p{L}/u.test(text)) return false
  if (/[À-ÖØ-öø-ÿŠšŽžŒœŸ]{3}/u.test(text)) return false
  // A capital within a word: "cafÉ" is of another code page, in which that byte is a small letter.
  if (/[a-z][À-ÖØ-Þ]/u.test(text)) return false
  const marked = text.match(/[À-ÖØ-öø-ÿŠšŽžŒœŸ]/gu)?.length ?? 0
  const plain = text.match(/[A-Za-z0-9]/g)?.length ?? 0
  return plain > 0 && marked <= plain
}

/**
 * The name that a path gives, if it is the very text of a tag whose encoding nobody said: as many characters, and the
 * same wherever the tag's are plain.
 */
export function confirmedBy(text: string, other: string): boolean {
  const ours = [...text.normalize('NFC')]
  const theirs = [...other.normalize('NFC')]
  if (ours.length !== theirs.length) return false
  return ours.every((character, i) => {
    const there = theirs[i]!
    if (character > '\x7f') return there > '\x7f' || there === '_'
    return character.toLowerCase() === there.toLowerCase() || there === '_'
  })
}
