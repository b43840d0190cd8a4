/**
 * The objects of a page of a listing (ListObjectsV2), read out of its bytes. A million of them are some 350 MB of XML, of
 * which a parser makes a tree of a dozen strings and objects for each: two thirds of what `reconcile` took. What has another
 * form than stores give it is left to that parser.
 */

/** An object as a listing has it. */
export interface ListedObject {
  /** as it is spelt there, URL-encoded or not; undefined if a parser found none */
  key: string | undefined
  /** bytes */
  size: number
  /** without quotes */
  etag: string
  /** ms since 1970 */
  lastModified: number
  storageClass: string | undefined
}

const opening = Buffer.from('<Contents>')
const closing = Buffer.from('</Contents>')

const [tab, lineFeed, carriageReturn, space] = [0x09, 0x0a, 0x0d, 0x20]
const [ampersand, slash, less, greater] = [0x26, 0x2f, 0x3c, 0x3e]

/**
 * @param body of the answer, XML in UTF-8
 * @returns the objects in their order, and the body without them; undefined if it has none, or where only a parser of all
 *   of XML can tell
 */
export function readContents(body: Buffer): { contents: ListedObject[]; rest: Buffer } | undefined {
  // Comments, CDATA, a document type: nothing of which stores write into a listing.
  if (body.includes('<!')) return undefined
  const reader = new ContentsReader(body)
  const contents: ListedObject[] = []
  const rest: Buffer[] = []
  let end = 0
  for (let start = body.indexOf(opening); start !== -1; start = body.indexOf(opening, end)) {
    rest.push(body.subarray(end, start))
    reader.at = start + opening.length
    const object = reader.object()
    if (object === undefined) return undefined
    contents.push(object)
    end = reader.at
  }
  rest.push(body.subarray(end))
  const without = Buffer.concat(rest)
  return contents.length === 0 || without.includes('<Contents') ? undefined : { contents, rest: without }
}

class ContentsReader {
  /** where it reads */
  at = 0
  readonly #bytes: Buffer
  /** of the object before: most have the same */
  #class = ''

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** The object whose element is open; undefined if it is not plain. */
  object(): ListedObject | undefined {
    const bytes = this.#bytes
    let key: string | undefined
    let size: number | undefined
    let etag: string | undefined
    let lastModified: number | undefined
    let storageClass: string | undefined
    for (;;) {
      this.#skipSpace()
      const name = this.at + 1
      if (bytes[this.at] !== less) return undefined
      if (bytes[name] === slash) {
        const end = this.at + closing.length
        if (bytes.compare(closing, 0, closing.length, this.at, end) !== 0) return undefined
        this.at = end
        // A listing that leaves any of these out is for the parser, and for whoever reads what that makes of it.
        if (key === undefined || size === undefined || etag === undefined || lastModified === undefined)
          return undefined
        return { key, size, etag, lastModified, storageClass }
      }
      const length = this.#tag()
      if (length === undefined) return undefined
      if (length === 3 && this.#is(name, 'Key')) key = this.#text()
      else if (length === 4 && this.#is(name, 'Size')) size = this.#number()
      else if (length === 4 && this.#is(name, 'ETag')) etag = this.#text()?.replace(/^"|"$/g, '')
      else if (length === 12 && this.#is(name, 'LastModified')) lastModified = this.#time()
      else if (length === 12 && this.#is(name, 'StorageClass')) storageClass = this.#storageClass()
      else if (!this.#skipElement()) return undefined
      else continue
      // What could not be read has moved nothing.
      if (bytes[this.at] !== less || bytes[this.at + 1] !== slash || !this.#isAgain(name, length))
        return undefined
      this.at += length + 3
    }
  }

  #skipSpace(): void {
    const bytes = this.#bytes
    for (;;) {
      const byte = bytes[this.at]
      if (byte !== space && byte !== lineFeed && byte !== tab && byte !== carriageReturn) return
      this.at++
    }
  }

  /** Passes an opening tag. @returns how long its name is; undefined if it has attributes, or is no opening tag */
  #tag(): number | undefined {
    const bytes = this.#bytes
    const start = this.at + 1
    for (let at = start; at < bytes.length; at++) {
      const byte = bytes[at] as number
      if (byte === greater) {
        this.at = at + 1
        return at - start
      }
      if (byte <= space || byte === slash) return undefined
    }
    return undefined
  }

  #is(at: number, name: string): boolean {
    const bytes = this.#bytes
    for (let index = 0; index < name.length; index++)
      if (bytes[at + index] !== name.charCodeAt(index)) return false
    return true
  }

  /** Whether the closing tag here is that of the opening one whose name is at `name`. */
  #isAgain(name: number, length: number): boolean {
    const bytes = this.#bytes
    const again = this.at + 2
    // With the sign that ends both.
    for (let index = 0; index <= length; index++)
      if (bytes[name + index] !== bytes[again + index]) return false
    return true
  }

  /** Passes what is in an element that nobody asked for, and its closing tag. */
  #skipElement(): boolean {
    const bytes = this.#bytes
    for (let depth = 1; ; ) {
      const start = bytes.indexOf(less, this.at)
      if (start === -1) return false
      const end = bytes.indexOf(greater, start)
      if (end === -1) return false
      if (bytes[start + 1] === slash) depth--
      else if (bytes[end - 1] !== slash) depth++
      this.at = end + 1
      if (depth === 0) return true
    }
  }

  /** The text up to the next tag. */
  #text(): string | undefined {
    const bytes = this.#bytes
    const start = this.at
    let [isPlain, hasEntity] = [true, false]
    let at = start
    for (; at < bytes.length; at++) {
      const byte = bytes[at] as number
      if (byte === less) break
      if (byte >= 0x80) isPlain = false
      else if (byte === ampersand) hasEntity = true
      // XML has a line end there, which the parser makes of it.
      else if (byte === carriageReturn) return undefined
    }
    const text = bytes.toString(isPlain ? 'latin1' : 'utf8', start, at)
    const decoded = hasEntity ? decodeEntities(text) : text
    if (decoded !== undefined) this.at = at
    return decoded
  }

  #number(): number | undefined {
    const bytes = this.#bytes
    let value = 0
    let at = this.at
    for (; at < bytes.length; at++) {
      const digit = (bytes[at] as number) - 0x30
      if (digit < 0 || digit > 9) break
      value = value * 10 + digit
    }
    if (at === this.at || !Number.isSafeInteger(value)) return undefined
    this.at = at
    return value
  }

  /** `2026-11-29T01:02:03.000Z`, as stores write times; of another form what JavaScript makes of it. */
  #time(): number | undefined {
    const time = Date.parse(this.#text() ?? '')
    return Number.isNaN(time) ? undefined : time
  }

  #storageClass(): string | undefined {
    const before = this.#class
    if (this.#is(this.at, before) && this.#bytes[this.at + before.length] === less) {
      this.at += before.length
      return before
    }
    const text = this.#text()
    this.#class = text ?? ''
    return text
  }
}

const entities = new Map(Object.entries({ lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }))

/** Undefined if there is one that XML does not know. */
function decodeEntities(text: string): string | undefined {
  let isKnown = true
  const decoded = text.replace(
    /&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|([a-z]+));|&/gi,
    (_, hex, decimal, name) => {
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
      if (code <= 0x10ffff) return String.fromCodePoint(code)
      const known = entities.get(name)
      if (known === undefined) isKnown = false
      return known ?? ''
    },
  )
  return isKnown ? decoded : undefined
}
