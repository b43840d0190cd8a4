/** Tags that are lists of texts: Vorbis comments, APEv2, RIFF INFO, AIFF, CAF, AU, DSDIFF. */
import { ascii, type ByteSource, uint } from '../containers/bytes.ts'
import { flacBlocks } from '../containers/flac.ts'
import type { Chunk } from '../containers/sound.ts'
import { addField, type FieldName, fieldNamed, mergeTags, type TagFields, type TagReading } from './fields.ts'
import { decodeUnstated, upToZero } from './text.ts'

/** A longer text is no name. */
const longestText = 65_536
/** Bytes of comments that are read: names stand before covers, or near them. */
export const longestComments = 4 * 2 ** 20
/** Entries of one tag that are looked at. */
const mostEntries = 10_000

function indexOfZero(bytes: Uint8Array, from: number): number {
  const at = bytes.indexOf(0, from)
  return at === -1 ? bytes.length : at
}

/**
 * `NAME=text` in UTF-8 (Vorbis I specification, 5), from the length of the vendor's name on.
 *
 * @param isWhole false if the bytes are only the beginning: a cover in them may be long
 */
function readVorbisComments(bytes: Uint8Array, isWhole: boolean): TagReading {
  const fields: TagFields = {}
  let at = 4 + uint(bytes, 0, 4, true)
  const count = uint(bytes, at, 4, true)
  at += 4
  for (let i = 0; i < Math.min(count, mostEntries); i++) {
    const length = uint(bytes, at, 4, true)
    if (at + 4 + length > bytes.length)
      return { fields, problems: isWhole ? ['its comments are cut short'] : [] }
    addPair(fields, bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return { fields, problems: [] }
}

/** `name=text` */
function addPair(fields: TagFields, bytes: Uint8Array): void {
  const equals = bytes.subarray(0, 64).indexOf(0x3d)
  if (bytes.length > longestText) return
  const name = fieldNamed(ascii(bytes, 0, equals))
  if (name) addField(fields, name, [decodeUnstated(bytes.subarray(equals + 1))])
}

/** The comments of a FLAC file; covers are stepped over. */
export async function readFlacTags(file: ByteSource, start: number, end: number): Promise<TagReading> {
  const { blocks, isBroken } = await flacBlocks(file, start, end)
  const readings: TagReading[] = []
  for (const block of blocks)
    if (block.type === 4 && readings.length < 16)
      readings.push(
        readVorbisComments(
          await file.read(block.start, Math.min(block.end - block.start, longestComments)),
          block.end - block.start <= longestComments,
        ),
      )
  const { fields, problems } = mergeTags(readings)
  return { fields, problems: isBroken ? [...problems, 'a metadata block of it is broken'] : problems }
}

/** Comments as each coding in Ogg packs them. */
export function readOggComments({
  coding,
  packet,
  isWhole,
}: {
  coding: string
  packet: Uint8Array
  isWhole: boolean
}): TagReading {
  const at = { vorbis: 7, opus: 8, flac: 4, speex: 0 }[coding] ?? 0
  return packet.length >= at + 8
    ? readVorbisComments(packet.subarray(at), isWhole)
    : { fields: {}, problems: ['its comments are missing'] }
}

/** Items of an APE tag, one by one: covers are stepped over. Its header may be missing, its footer is counted. */
export async function readApe(file: ByteSource, start: number, limit: number): Promise<TagReading> {
  const fields: TagFields = {}
  const end = limit - 32
  let at = start + (ascii(await file.read(start, 8), 0, 8) === 'APETAGEX' ? 32 : 0)
  for (let i = 0; i < mostEntries && at + 9 <= end; i++) {
    // A key has 255 characters at most.
    const head = await file.read(at, Math.min(8 + 256, end - at))
    const size = uint(head, 0, 4, true)
    const flags = uint(head, 4, 4, true)
    const zero = indexOfZero(head, 8)
    const value = at + zero + 1
    if (zero === head.length || value + size > end) return { fields, problems: ['its APE tag is broken'] }
    const name = fieldNamed(ascii(head, 8, zero - 8))
    if (name && (flags & 6) === 0 && size <= longestText)
      addValues(fields, name, await file.read(value, size))
    at = value + size
  }
  return { fields, problems: [] }
}

/** Texts with a zero between them. */
function addValues(fields: TagFields, name: FieldName, bytes: Uint8Array): void {
  for (let from = 0; from <= bytes.length; ) {
    const zero = indexOfZero(bytes, from)
    addField(fields, name, [decodeUnstated(bytes.subarray(from, zero))])
    from = zero + 1
  }
}

const info: Readonly<Record<string, FieldName>> = {
  INAM: 'title',
  IART: 'artists',
  IPRD: 'album',
  ISTR: 'artists',
}
const aiff: Readonly<Record<string, FieldName>> = { NAME: 'title', AUTH: 'artists' }
/** of DSDIFF; its texts begin with their length */
const diin: Readonly<Record<string, FieldName>> = { DITI: 'title', DIAR: 'artists' }

/** Chunks of texts; ID3 among them is another's (`readId3v2`). */
export async function readTextChunks(file: ByteSource, chunks: readonly Chunk[]): Promise<TagReading> {
  const fields: TagFields = {}
  for (const { id, start, end } of chunks) {
    const bytes = await file.read(start, Math.min(end - start, 2 ** 20))
    if (id === 'LIST' && ascii(bytes, 0, 4) === 'INFO') {
      for (let at = 4; at < bytes.length; ) {
        const name = info[ascii(bytes, at, 4)]
        const size = uint(bytes, at + 4, 4, true)
        if (name) addField(fields, name, [decodeUnstated(upToZero(bytes.subarray(at + 8, at + 8 + size)))])
        at += 8 + size + (size & 1)
      }
    } else if (aiff[id]) {
      addField(fields, aiff[id], [decodeUnstated(upToZero(bytes))])
    } else if (diin[id]) {
      addField(fields, diin[id], [decodeUnstated(bytes.subarray(4, 4 + uint(bytes, 0, 4)))])
    } else if (id === 'info') {
      // CAF: a count, then names and values, each with a zero behind it
      for (let at = 4; at < bytes.length; ) {
        const zero = indexOfZero(bytes, at)
        const end = indexOfZero(bytes, zero + 1)
        const name = fieldNamed(ascii(bytes, at, zero - at))
        if (name) addField(fields, name, [decodeUnstated(bytes.subarray(zero + 1, end))])
        at = end + 1
      }
    } else if (id === 'annotation') {
      // AU: free text, in which FFmpeg writes a line for each
      let from = 0
      for (let at = 0; at <= bytes.length; at++)
        if (at === bytes.length || bytes[at] === 0x0a || bytes[at] === 0) {
          addPair(fields, bytes.subarray(from, at))
          from = at + 1
        }
    }
  }
  return { fields, problems: [] }
}
