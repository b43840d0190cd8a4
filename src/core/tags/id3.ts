/**
 * ID3v1, and ID3v2.2 to 2.4 (id3.org), read frame by frame: a tag with a cover of 40 MB takes no more memory than one
 * without, and a broken frame costs that frame alone.
 */
import { inflateSync } from 'node:zlib'
import { id3Length } from '../containers/around.ts'
import { ascii, type ByteSource, uint } from '../containers/bytes.ts'
import { addField, type FieldName, type TagFields, type TagReading } from './fields.ts'
import { decodeUnstated, decodeUtf16, type TagText, undeclaredUtf16, upToZero } from './text.ts'

const frames: Readonly<Record<string, FieldName>> = {
  TIT2: 'title',
  TPE1: 'artists',
  TPE2: 'albumArtists',
  TALB: 'album',
  TBPM: 'bpm',
  TT2: 'title',
  TP1: 'artists',
  TP2: 'albumArtists',
  TAL: 'album',
  TBP: 'bpm',
}

/** A longer text is no name. */
const longestText = 65_536
/** Frames of one tag that are looked at. */
const mostFrames = 10_000
const window = 65_536

/** A tag's content from its head on, in the frames' own measure: without what unsynchronisation put in. */
interface Content {
  /** bytes at the place; fewer at the end of the tag */
  peek(length: number): Promise<Uint8Array>
  skip(length: number): Promise<void>
  /** whether this many bytes on a frame begins, or padding, or the tag ends; undefined if that cannot be told */
  framesAfter(length: number): Promise<boolean | undefined>
}

function plainContent(file: ByteSource, start: number, end: number, idLength: number): Content {
  let at = start
  return {
    peek: async length => (await file.read(at, Math.min(length, Math.max(0, end - at)))).slice(),
    skip: async length => {
      at += length
    },
    framesAfter: async length => {
      if (at + length === end) return true
      if (at + length > end) return false
      return isFrameOrPadding(
        (await file.read(at + length, Math.min(10, end - at - length))).slice(),
        idLength,
      )
    },
  }
}

/** Every 00 behind an FF is taken out, window by window. */
function synchronised(file: ByteSource, start: number, end: number): Content {
  let at = start
  let ready: Uint8Array = new Uint8Array()
  let wasFf = false
  const fill = async (length: number): Promise<void> => {
    while (ready.length < length && at < end) {
      const raw = await file.read(at, Math.min(window, end - at))
      if (raw.length === 0) return
      at += raw.length
      const more = new Uint8Array(ready.length + raw.length)
      more.set(ready)
      let to = ready.length
      for (const byte of raw) {
        if (!(wasFf && byte === 0)) more[to++] = byte
        wasFf = byte === 0xff
      }
      ready = more.subarray(0, to)
    }
  }
  return {
    peek: async length => {
      await fill(length)
      return ready.slice(0, length)
    },
    skip: async length => {
      for (let left = length; left > 0; ) {
        await fill(Math.min(left, window))
        if (ready.length === 0) return
        const step = Math.min(left, ready.length)
        ready = ready.subarray(step)
        left -= step
      }
    },
    framesAfter: async () => undefined,
  }
}

/** iTunes has put frames of ID3v2.2 into tags of 2.3, with a zero behind their names. */
const isId = (bytes: Uint8Array, length: number): boolean =>
  /^[A-Z][A-Z0-9]{2}[A-Z0-9\0 ]?$/.test(ascii(bytes, 0, length))

function isFrameOrPadding(bytes: Uint8Array, idLength: number): boolean {
  return isId(bytes, idLength) || bytes.every(byte => byte === 0)
}

const syncsafe = (bytes: Uint8Array, at: number): number | undefined => {
  let value = 0
  for (let i = 0; i < 4; i++) {
    if (bytes[at + i]! > 0x7f) return undefined
    value = value * 128 + bytes[at + i]!
  }
  return value
}

/** @param start where the tag begins @param limit what it must not exceed, the end of the file or of its chunk */
export async function readId3v2(file: ByteSource, start: number, limit: number): Promise<TagReading> {
  const fields: TagFields = {}
  const problems: string[] = []
  const head = await file.read(start, 10)
  const length = id3Length(head)
  if (length === 0 || head[3]! < 2) return { fields, problems: ['its ID3 tag is broken'] }
  const version = head[3]!
  const flags = head[5]!
  const end = Math.min(start + length - (flags & 0x10 ? 10 : 0), limit)
  if (start + length > limit) problems.push('its ID3 tag is cut short')
  const idLength = version === 2 ? 3 : 4
  const content =
    flags & 0x80 && version < 4
      ? synchronised(file, start + 10, end)
      : plainContent(file, start + 10, end, idLength)
  if (flags & 0x40 && version > 2) await skipExtendedHeader(content, version)

  for (let count = 0; count < mostFrames; count++) {
    const frame = await content.peek(version === 2 ? 6 : 10)
    if (frame.length < (version === 2 ? 6 : 10) || frame[0] === 0) break
    if (!isId(frame, idLength)) {
      problems.push('its ID3 tag has a broken frame')
      break
    }
    const id = ascii(frame, 0, idLength).replace(/[\0 ]$/, '')
    let size = version === 2 ? uint(frame, 3, 3) : uint(frame, 4, 4)
    if (version === 4) size = await sizeOfFrame(content, frame)
    await content.skip(frame.length)
    const name = frames[id]
    if (name !== undefined && size > 0 && size <= longestText) {
      const bytes = await content.peek(size)
      if (bytes.length < size) problems.push(`its ID3 frame ${id} is cut short`)
      const text = contentOfFrame(bytes, version, frame[9] ?? 0, flags)
      if (text) addField(fields, name, values(text))
      else problems.push(`its ID3 frame ${id} cannot be read`)
    } else if (name !== undefined && size > longestText)
      problems.push(`its ID3 frame ${id} is too long for a name`)
    await content.skip(size)
  }
  return { fields, problems }
}

/**
 * ID3v2.4 has sizes of seven bits a byte; iTunes and others wrote plain ones. Where both could be meant, the one behind
 * which a frame begins is.
 */
async function sizeOfFrame(content: Content, frame: Uint8Array): Promise<number> {
  const plain = uint(frame, 4, 4)
  const safe = syncsafe(frame, 4)
  if (safe === undefined || safe === plain) return plain
  if ((await content.framesAfter(10 + safe)) !== false) return safe
  return (await content.framesAfter(10 + plain)) ? plain : safe
}

async function skipExtendedHeader(content: Content, version: number): Promise<void> {
  const bytes = await content.peek(4)
  // Of 2.4 it counts itself, of 2.3 it does not.
  const size = version === 4 ? (syncsafe(bytes, 0) ?? uint(bytes, 0, 4)) : uint(bytes, 0, 4) + 4
  // Flagged, but not there: a frame follows.
  if (!isId(bytes, 4)) await content.skip(size)
}

/** Without what its flags say stands before the text, or was done to it; undefined if it is encrypted or broken. */
function contentOfFrame(
  bytes: Uint8Array,
  version: number,
  flags: number,
  tagFlags: number,
): Uint8Array | undefined {
  let content = bytes
  let compressed = false
  if (version === 3) {
    if (flags & 0x40) return undefined
    compressed = (flags & 0x80) !== 0
    content = content.subarray((compressed ? 4 : 0) + (flags & 0x20 ? 1 : 0))
  } else if (version === 4) {
    if (flags & 0x04) return undefined
    if (flags & 0x02 || tagFlags & 0x80) content = resynchronised(content)
    compressed = (flags & 0x08) !== 0
    content = content.subarray((flags & 0x40 ? 1 : 0) + (flags & 0x01 ? 4 : 0))
  }
  if (!compressed) return content
  try {
    return inflateSync(content, { maxOutputLength: longestText })
  } catch {
    return undefined
  }
}

function resynchronised(bytes: Uint8Array): Uint8Array {
  return bytes.filter((byte, i) => !(byte === 0 && bytes[i - 1] === 0xff))
}

/** The values of a text frame: one behind another, with a zero between them. */
function values(bytes: Uint8Array): TagText[] {
  const encoding = bytes[0]!
  // Some leave the encoding out.
  const content = encoding <= 3 ? bytes.subarray(1) : bytes
  if (encoding === 1 || encoding === 2) {
    const parts = split(content, 2)
    const isBig = encoding === 2 || (content[0] === 0xfe && content[1] === 0xff)
    return parts.map(part => ({ text: decodeUtf16(part, isBig), encoding: 'known' }))
  }
  if (undeclaredUtf16(content)) return [decodeUnstated(content)]
  return split(content, 1).map(decodeUnstated)
}

function split(bytes: Uint8Array, width: 1 | 2): Uint8Array[] {
  const parts: Uint8Array[] = []
  let from = 0
  for (let at = 0; at < bytes.length; at += width)
    if (bytes[at] === 0 && (width === 1 || bytes[at + 1] === 0)) {
      parts.push(bytes.subarray(from, at))
      from = at + width
    }
  parts.push(bytes.subarray(from))
  return parts
}

/** @param bytes the last 128 of the file */
export function readId3v1(bytes: Uint8Array): TagReading {
  const fields: TagFields = {}
  const text = (at: number, length: number): TagText[] => {
    const field = bytes.subarray(at, at + length)
    return [decodeUnstated(upToZero(field))]
  }
  addField(fields, 'title', text(3, 30))
  addField(fields, 'artists', text(33, 30))
  addField(fields, 'album', text(63, 30))
  return { fields, problems: [] }
}
