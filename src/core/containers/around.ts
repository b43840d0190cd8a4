/** Tags that stand before and behind the sound, whatever the container: ID3v2, ID3v1, APEv2, Lyrics3. */
import { ascii, type ByteSource, uint } from './bytes.ts'

interface TagSpan {
  readonly kind: 'id3v2' | 'id3v1' | 'ape' | 'lyrics3'
  readonly start: number
  /** exclusive; within the file */
  readonly end: number
}

interface OuterTags {
  readonly tags: readonly TagSpan[]
  /** Where the sound begins, as far as the tags before it tell. */
  readonly start: number
  /** Where the tags behind it begin, or the file ends. */
  readonly end: number
}

/** Tags of a file that are looked at, before and behind. */
const mostTags = 16

/** Length of the ID3v2 tag these bytes begin with, in bytes, its header and footer included; 0 for none. */
export function id3Length(bytes: Uint8Array): number {
  if (bytes.length < 10 || ascii(bytes, 0, 3) !== 'ID3' || bytes[3]! > 4 || bytes[4]! === 0xff) return 0
  let size = 0
  for (let i = 6; i < 10; i++) {
    if (bytes[i]! > 0x7f) return 0
    size = size * 128 + bytes[i]!
  }
  return size + (bytes[5]! & 0x10 ? 20 : 10)
}

export async function tagsBefore(file: ByteSource): Promise<{ tags: TagSpan[]; start: number }> {
  const tags: TagSpan[] = []
  let start = 0
  while (tags.length < mostTags) {
    const length = id3Length(await file.read(start, 10))
    if (length === 0) break
    tags.push({ kind: 'id3v2', start, end: Math.min(start + length, file.size) })
    start += length
  }
  return { tags, start: Math.min(start, file.size) }
}

/**
 * Where the tags are, from either end.
 *
 * Lyrics3: id3.org/Lyrics3v2; APEv2: its specification of 2004; ID3v2 at the end: id3v2.4.0-structure, 3.4.
 */
export async function surroundings(file: ByteSource): Promise<OuterTags> {
  const { tags, start } = await tagsBefore(file)
  let end = file.size
  for (let found = 0; found < mostTags; found++) {
    const from = Math.max(start, end - 160)
    const tail = (await file.read(from, end - from)).slice()
    const span = (length: number): number | undefined => (length <= end - start ? end - length : undefined)
    const at = tail.length
    let kind: TagSpan['kind'] | undefined
    let begin: number | undefined
    if (ascii(tail, at - 128, 3) === 'TAG' && at >= 128) {
      kind = 'id3v1'
      begin = span(128)
      // Enhanced TAG, 227 bytes more
      if (begin !== undefined && begin - 227 >= start) {
        if (ascii(await file.read(begin - 227, 4), 0, 4) === 'TAG+') begin -= 227
      }
    } else if (ascii(tail, at - 32, 8) === 'APETAGEX') {
      kind = 'ape'
      const header = uint(tail, at - 9, 1) & 0x80 ? 32 : 0
      begin = span(uint(tail, at - 20, 4, true) + header)
    } else if (ascii(tail, at - 10, 3) === '3DI') {
      const footer = tail.slice(at - 10)
      footer.set([0x49, 0x44, 0x33])
      const length = id3Length(footer)
      if (length > 0) {
        kind = 'id3v2'
        begin = span(footer[5]! & 0x10 ? length : length + 10)
      }
    } else if (ascii(tail, at - 9, 9) === 'LYRICS200') {
      kind = 'lyrics3'
      const length = Number(ascii(tail, at - 15, 6))
      begin = Number.isInteger(length) ? span(length + 15) : undefined
    } else if (ascii(tail, at - 9, 9) === 'LYRICSEND') {
      // Version 1 has no length, and at most 5,100 bytes.
      const most = Math.max(start, end - 5_100 - 20)
      const text = ascii(await file.read(most, end - most), 0, end - most)
      const index = text.lastIndexOf('LYRICSBEGIN')
      if (index !== -1) {
        kind = 'lyrics3'
        begin = most + index
      }
    }
    if (kind === undefined || begin === undefined) break
    tags.push({ kind, start: begin, end })
    end = begin
  }
  return { tags, start, end }
}
