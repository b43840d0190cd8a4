/** Which tag wins where a file has several, without the library that reads MP4's, too. */
import { expect, test } from 'vitest'
import { sourceOf } from '../../../../src/core/containers/bytes.ts'
import { readSound } from '../../../../src/core/containers/read.ts'
import { locateAudio } from '../../../../src/core/content-type.ts'
import { readTagFields } from '../../../../src/core/tags/read.ts'
import {
  aiff,
  box,
  flac,
  ftyp,
  id3v1,
  id3v2,
  iffChunk,
  latin,
  latin1,
  le,
  moov,
  mp3Frames,
  opusStream,
  riffChunk,
  riffInfo,
  tone,
  vorbisComments,
  wave,
} from '../../../support/audio-bytes.ts'

const id3 = id3v2(3, [{ id: 'TIT2', content: latin1('of ID3v2') }])
const last = id3v1(latin('of ID3v1'), latin('Artist'))
const item = (name: string, value: Buffer, flags = 0) =>
  Buffer.concat([le(value.length, 4), le(flags, 4), latin(`${name}\0`), value])
const ape = (...items: Buffer[]) => {
  const body = Buffer.concat(items)
  const mark = (flags: number) =>
    Buffer.concat([
      latin('APETAGEX'),
      le(2000, 4),
      le(body.length + 32, 4),
      le(items.length, 4),
      le(flags, 4),
      Buffer.alloc(8),
    ])
  return Buffer.concat([mark(0xa000_0000), body, mark(0x8000_0000)])
}
const pcm = Buffer.alloc(800)
const frames = mp3Frames(8)
const mp4 = Buffer.concat([ftyp, moov(3, { '©nam': 'of MP4' }), box('mdat', Buffer.alloc(64))])
const own = flac([tone(64, 16)], { blocks: [[4, vorbisComments(['TITLE=of FLAC'])]] })
const title = item('Title', latin('of APE'))

test.each<[string, Buffer, string | undefined, string | undefined]>([
  ['MP4', mp4, 'of MP4', undefined],
  ['MP4 behind ID3v2', Buffer.concat([id3, mp4]), 'of MP4', undefined],
  ['FLAC', own, 'of FLAC', undefined],
  ['FLAC between ID3v2 and ID3v1', Buffer.concat([id3, own, last]), 'of FLAC', 'Artist'],
  ['Opus behind ID3v2', Buffer.concat([id3, opusStream(1, 50, ['TITLE=of Opus'])]), 'of Opus', undefined],
  ['MP3 between ID3v2 and ID3v1', Buffer.concat([id3, frames, last]), 'of ID3v2', 'Artist'],
  ['MP3 before APE and ID3v1', Buffer.concat([frames, ape(title), last]), 'of APE', 'Artist'],
  ['MP3 between ID3v2 and APE', Buffer.concat([id3, frames, ape(title)]), 'of ID3v2', undefined],
  ['WAVE, INFO', wave(pcm, { behind: riffInfo({ INAM: latin('of INFO') }) }), 'of INFO', undefined],
  [
    'WAVE, INFO and ID3',
    wave(pcm, { behind: Buffer.concat([riffInfo({ INAM: latin('of INFO') }), riffChunk('id3 ', id3)]) }),
    'of ID3v2',
    undefined,
  ],
  ['WAVE, ID3 by its other name', wave(pcm, { behind: riffChunk('ID3 ', id3) }), 'of ID3v2', undefined],
  [
    'WAVE, another list',
    wave(pcm, {
      behind: riffChunk('LIST', Buffer.concat([latin('adtl'), riffChunk('INAM', latin('of adtl'))])),
    }),
    undefined,
    undefined,
  ],
  ['AIFF, its name', aiff(pcm, { behind: iffChunk('NAME', latin('of AIFF')) }), 'of AIFF', undefined],
  [
    'AIFF, its name and ID3',
    aiff(pcm, { behind: Buffer.concat([iffChunk('NAME', latin('of AIFF')), iffChunk('ID3 ', id3)]) }),
    'of ID3v2',
    undefined,
  ],
  [
    'APE, a value that is no text',
    Buffer.concat([frames, ape(item('Title', latin('x'), 2), item('Artist', latin('A')))]),
    undefined,
    'A',
  ],
  [
    'APE, a value too long for a name',
    Buffer.concat([frames, ape(item('Title', Buffer.alloc(65_537, 0x41)), item('Artist', latin('A')))]),
    undefined,
    'A',
  ],
  ['APE, several artists', Buffer.concat([frames, ape(item('Artist', latin('A\0B')))]), undefined, 'A|B'],
  [
    'FLAC, a comment without a name',
    flac([tone(64, 16)], { blocks: [[4, vorbisComments(['=x', 'TITLE', 'ARTIST=A'])]] }),
    undefined,
    'A',
  ],
])('%s', async (_what, bytes, expected, artists) => {
  const file = sourceOf(bytes)
  const location = (await locateAudio(file))!
  const { fields, problems } = await readTagFields(file, location, await readSound(file, location))
  expect(fields.title?.text).toBe(expected)
  expect(fields.artists?.map(({ text }) => text).join('|')).toBe(artists)
  expect(problems).toEqual([])
})
