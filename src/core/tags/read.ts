/** All tags of a file, wherever they are, that autodj reads itself. */

import { surroundings } from '../containers/around.ts'
import { type ByteSource, inWindows } from '../containers/bytes.ts'
import { oggComments } from '../containers/ogg.ts'
import type { Chunk, Sound } from '../containers/sound.ts'
import type { AudioLocation } from '../content-type.ts'
import { mergeTags, type TagReading } from './fields.ts'
import { readId3v1, readId3v2 } from './id3.ts'
import { readMp4Tags } from './mp4.ts'
import { longestComments, readApe, readFlacTags, readOggComments, readTextChunks } from './texts.ts'

/**
 * Reads tags around the sound (ID3, APEv2) and those of FLAC, Ogg, and containers of chunks; of ASF and Matroska
 * nothing. Never throws but for `file.read`: what is broken is told as a problem, beside what was read.
 */
export async function readTagFields(
  file: ByteSource,
  location: AudioLocation,
  sound: Sound,
): Promise<TagReading> {
  const windowed = inWindows(file)
  const inside: TagReading[] = []
  const id3v2: TagReading[] = []
  const rest: TagReading[] = []
  const { texts = [] } = sound
  const isId3 = ({ id }: Chunk) => id.toLowerCase() === 'id3 '
  for (const { start, end } of texts.filter(isId3)) id3v2.push(await readId3v2(windowed, start, end))
  inside.push(
    await readTextChunks(
      windowed,
      texts.filter(chunk => !isId3(chunk)),
    ),
  )
  if (location.container === 'flac') inside.push(await readFlacTags(windowed, sound.start, sound.end))
  if (location.container === 'ogg') {
    const comments = await oggComments(windowed, sound.start, sound.end, longestComments)
    inside.push(comments ? readOggComments(comments) : { fields: {}, problems: ['its comments are missing'] })
  }
  if (location.container === 'mp4') {
    const list = await readMp4Tags(windowed, sound.start, sound.end)
    if (list) inside.push(list)
  }
  const { tags } = await surroundings(file)
  for (const { kind, start, end } of tags) {
    if (kind === 'id3v2') id3v2.push(await readId3v2(windowed, start, end))
    else if (kind === 'ape') rest.unshift(await readApe(windowed, start, end))
    else if (kind === 'id3v1') rest.push(readId3v1(await file.read(end - 128, 128)))
  }
  // Tags of FLAC, Ogg and MP4 are the format's own; what stands around them is a guest.
  const isOwn = ['flac', 'ogg', 'mp4'].includes(location.container)
  return mergeTags(isOwn ? [...inside, ...id3v2, ...rest] : [...id3v2, ...inside, ...rest])
}
