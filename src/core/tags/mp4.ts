/** iTunes' tags of MP4 (`ilst`), item by item: covers are stepped over. */
import { ascii, type ByteSource, uint } from '../containers/bytes.ts'
import { type Box, boxes } from '../containers/mp4.ts'
import { addField, type FieldName, type TagFields, type TagReading } from './fields.ts'
import { decodeUnstated, decodeUtf16, type TagText } from './text.ts'

const items: Readonly<Record<string, FieldName>> = {
  '\xa9nam': 'title',
  '\xa9ART': 'artists',
  aART: 'albumArtists',
  '\xa9alb': 'album',
  tmpo: 'bpm',
}

/** A longer text is no name. */
const longestText = 65_536

/** @returns undefined if there is no such list */
export async function readMp4Tags(
  file: ByteSource,
  start: number,
  end: number,
): Promise<TagReading | undefined> {
  let list: Box | undefined
  for await (const moov of boxes(file, start, end)) {
    if (moov.type !== 'moov') continue
    // In `udta`, as iTunes does it, or right in the index.
    for await (const box of boxes(file, moov.start, moov.end)) {
      if (box.type === 'meta') list ??= await listIn(file, box)
      if (box.type !== 'udta') continue
      for await (const inner of boxes(file, box.start, box.end))
        if (inner.type === 'meta') list ??= await listIn(file, inner)
    }
    break
  }
  if (!list) return undefined
  const fields: TagFields = {}
  for await (const item of boxes(file, list.start, list.end)) {
    const name = items[item.type]
    if (!name) continue
    for await (const data of boxes(file, item.start, item.end)) {
      if (data.type !== 'data' || data.end - data.start > longestText) continue
      const bytes = await file.read(data.start, data.end - data.start)
      addField(fields, name, [textOf(bytes, name)])
    }
  }
  return { fields, problems: list.claimedEnd > end ? ['its tags are truncated'] : [] }
}

/** `meta` is a full box, with four bytes before its content; in QuickTime it is a plain one. */
async function listIn(file: ByteSource, meta: Box): Promise<Box | undefined> {
  const isPlain = ascii(await file.read(meta.start + 4, 4), 0, 4) === 'hdlr'
  for await (const box of boxes(file, meta.start + (isPlain ? 0 : 4), meta.end))
    if (box.type === 'ilst') return box
  return undefined
}

/** Types of values: QuickTime File Format, "Well-known types". */
function textOf(bytes: Uint8Array, name: FieldName): TagText {
  const type = uint(bytes, 0, 4) & 0xff_ffff
  const content = bytes.subarray(8)
  if (name === 'bpm') return { text: String(uint(content, 0, content.length)), encoding: 'known' }
  return type === 2 ? { text: decodeUtf16(content, true), encoding: 'known' } : decodeUnstated(content)
}
