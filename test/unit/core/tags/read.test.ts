/** Which tag wins where a file has several, without the library that reads MP4's, too. */
import { expect, test } from 'vitest'
import { readSound } from '../../../../src/core/containers/read.ts'
import { locateAudio } from '../../../../src/core/content-type.ts'
import { readTagFields } from '../../../../src/core/tags/read.ts'
import {
  aiff,
  apeItem,
  apeTag,
  au,
  be,
  box,
  caf,
  flac,
  ftyp,
  id3v1,
  id3v2,
  iffChunk,
  latin,
  latin1,
  moov,
  mp3Frames,
  oggPage,
  opusHead,
  opusStream,
  riffChunk,
  riffInfo,
  tone,
  vorbisComments,
  wave,
} from '../../../support/audio-bytes.ts'
import { fileOf } from '../../../support/byte-source.ts'

const id3 = id3v2(3, [{ id: 'TIT2', content: latin1('of ID3v2') }])
const last = id3v1(latin('of ID3v1'), latin('Artist'))
const pcm = Buffer.alloc(800)
const frames = mp3Frames(8)
const mp4 = Buffer.concat([ftyp, moov(3, { '©nam': 'of MP4' }), box('mdat', Buffer.alloc(64))])
const own = flac([tone(64, 16)], { blocks: [[4, vorbisComments(['TITLE=of FLAC'])]] })
const title = apeItem('Title', latin('of APE'))
/** Its footer says that it has no header. */
const headless = (...items: Buffer[]) => {
  const tag = apeTag(...items).subarray(32)
  return tag.fill(0, tag.length - 12, tag.length - 8)
}
const lyrics = Buffer.concat([latin(`LYRICSBEGININD00002${'la '.repeat(60)}`), latin('000199LYRICS200')])
const noComments = [4, vorbisComments([])] as const
const comments = (texts: string[]) => flac([tone(64, 16)], { blocks: [[4, vorbisComments(texts)]] })
const longest = vorbisComments(['TITLE=A', `COVER=${'x'.repeat(4 * 2 ** 20)}`])
const opusWith = (list: Buffer) =>
  Buffer.concat([
    oggPage(1, 0, 0, [opusHead(1)], 2),
    oggPage(1, 1, 0, [Buffer.concat([latin('OpusTags'), list])]),
    oggPage(1, 2, 960, [latin('\xf8\xff\xfe')], 4),
  ])
const emptyOpus = opusWith(Buffer.alloc(8))
const bareMoov = ((): Buffer => {
  const whole = moov(3)
  const at = whole.indexOf('udta') - 4
  return box('moov', whole.subarray(8, at))
})()
const annotated = (annotation: string) => au(pcm, { annotation: latin(annotation) })
const informed = (texts: string) => caf(pcm, { texts: Buffer.concat([be(1, 4), latin(texts)]) })

test.each<[string, Buffer, string | undefined, string | undefined]>([
  ['MP4', mp4, 'of MP4', undefined],
  ['MP4 behind ID3v2', Buffer.concat([id3, mp4]), 'of MP4', undefined],
  ['FLAC', own, 'of FLAC', undefined],
  ['FLAC between ID3v2 and ID3v1', Buffer.concat([id3, own, last]), 'of FLAC', 'Artist'],
  ['Opus behind ID3v2', Buffer.concat([id3, opusStream(1, 50, ['TITLE=of Opus'])]), 'of Opus', undefined],
  ['MP3 between ID3v2 and ID3v1', Buffer.concat([id3, frames, last]), 'of ID3v2', 'Artist'],
  ['MP3 before APE and ID3v1', Buffer.concat([frames, apeTag(title), last]), 'of APE', 'Artist'],
  ['MP3 between ID3v2 and APE', Buffer.concat([id3, frames, apeTag(title)]), 'of ID3v2', undefined],
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
    Buffer.concat([frames, apeTag(apeItem('Title', latin('x'), 2), apeItem('Artist', latin('A')))]),
    undefined,
    'A',
  ],
  [
    'APE, a value too long for a name',
    Buffer.concat([
      frames,
      apeTag(apeItem('Title', Buffer.alloc(65_537, 0x41)), apeItem('Artist', latin('A'))),
    ]),
    undefined,
    'A',
  ],
  [
    'APE, several artists',
    Buffer.concat([frames, apeTag(apeItem('Artist', latin('A\0B')))]),
    undefined,
    'A|B',
  ],
  [
    'FLAC, a comment without a name',
    flac([tone(64, 16)], { blocks: [[4, vorbisComments(['=x', 'TITLE', 'ARTIST=A'])]] }),
    undefined,
    'A',
  ],
  ['MP4 without tags', Buffer.concat([ftyp, bareMoov, box('mdat', Buffer.alloc(64))]), undefined, undefined],
  ['MP3 before words to sing', Buffer.concat([frames, lyrics]), undefined, undefined],
  [
    'APE, the longest name',
    Buffer.concat([frames, apeTag(apeItem('Title', Buffer.alloc(65_536, 0x41)))]),
    'A'.repeat(65_536),
    undefined,
  ],
  [
    'APE, the last of its entries that is looked at',
    Buffer.concat([frames, apeTag(...new Array(9_999).fill(apeItem('X', latin(''))), title)]),
    'of APE',
    undefined,
  ],
  [
    'APE, an entry too many',
    Buffer.concat([frames, apeTag(...new Array(10_000).fill(apeItem('X', latin(''))), title)]),
    undefined,
    undefined,
  ],
  [
    'APE, an entry without a value at the end',
    Buffer.concat([frames, apeTag(title, apeItem('', latin('')))]),
    'of APE',
    undefined,
  ],
  ['APE without its header', Buffer.concat([frames, headless(title)]), 'of APE', undefined],
  [
    'FLAC, comments in another block',
    flac([tone(64, 16)], {
      blocks: [
        [2, vorbisComments(['TITLE=A'])],
        [4, vorbisComments(['ARTIST=B'])],
      ],
    }),
    undefined,
    'B',
  ],
  [
    'FLAC, as many blocks of comments as are looked at',
    flac([tone(64, 16)], { blocks: [...new Array(15).fill(noComments), [4, vorbisComments(['TITLE=A'])]] }),
    'A',
    undefined,
  ],
  [
    'FLAC, one more',
    flac([tone(64, 16)], { blocks: [...new Array(16).fill(noComments), [4, vorbisComments(['TITLE=A'])]] }),
    undefined,
    undefined,
  ],
  ['FLAC, the longest name', comments([`TITLE=${'x'.repeat(65_530)}`]), 'x'.repeat(65_530), undefined],
  ['FLAC, a text too long for a name', comments([`TITLE=${'x'.repeat(65_531)}`, 'ARTIST=A']), undefined, 'A'],
  [
    'FLAC, a cover that ends beyond what is read',
    comments(['TITLE=A', `COVER=${'x'.repeat(4 * 2 ** 20)}`, 'ARTIST=B']),
    'A',
    undefined,
  ],
  ['Opus, no comments and no vendor', emptyOpus, undefined, undefined],
  [
    'WAVE, a name with a zero and rubble behind it',
    wave(pcm, {
      behind: riffInfo({ ICMT: latin('x'), INAM: latin('A\0rubble'), IART: latin('B'), ISTR: latin('C') }),
    }),
    'A',
    'B|C',
  ],
  [
    'WAVE, a list that is cut within a name',
    wave(pcm, { behind: riffInfo({ INAM: latin('A name') }) }).subarray(0, -3),
    'A nam',
    undefined,
  ],
  [
    'AIFF, a name that begins as a list does, and a line that is no name',
    aiff(pcm, {
      behind: Buffer.concat([
        iffChunk('NAME', latin('INFOINAM\x02\0\0\0x\0')),
        iffChunk('ANNO', latin('ARTIST=x')),
      ]),
    }),
    'INFOINAM\x02',
    undefined,
  ],
  ['AU, a line for each', annotated('TITLE=A\nARTIST=B\0ARTIST=C'), 'A', 'B|C'],
  ['AU, a line that is long', annotated(`${'x'.repeat(100)}TITLE=x\nARTIST=B`), undefined, 'B'],
  ['CAF', informed('title\0A\0comments\0x\0artist\0B\0artist\0C'), 'A', 'B|C'],
  ['CAF, a name without a value', informed('comments\0x\0title'), undefined, undefined],
])('%s', async (_what, bytes, expected, artists) => {
  const { problems, ...told } = await tagsOf(bytes)
  expect(told).toEqual({ title: expected, artists })
  expect(problems).toEqual([])
})

test.each<[string, Buffer, string | undefined, string]>([
  [
    'APE, a value that ends behind its tag',
    Buffer.concat([frames, apeTag(title, apeItem('Artist', latin('x')).fill(9, 0, 1))]),
    'of APE',
    'its APE tag is broken',
  ],
  [
    'APE, a name without an end',
    Buffer.concat([frames, apeTag(title, latin('\x01\0\0\0\0\0\0\0Artist'))]),
    'of APE',
    'its APE tag is broken',
  ],
  [
    'FLAC, comments that are cut',
    flac([tone(64, 16)], { blocks: [[4, vorbisComments(['TITLE=A', 'ARTIST=B']).subarray(0, -1)]] }),
    'A',
    'its comments are cut short',
  ],
  [
    'FLAC, as many comments as are read, cut',
    flac([tone(64, 16)], { blocks: [[4, longest.subarray(0, 4 * 2 ** 20)]] }),
    'A',
    'its comments are cut short',
  ],
  [
    'Opus, comments that are cut',
    opusWith(vorbisComments(['TITLE=A', 'ARTIST=B']).subarray(0, -1)),
    'A',
    'its comments are cut short',
  ],
  ['Opus, half of its comments', opusWith(Buffer.alloc(7)), undefined, 'its comments are missing'],
])('%s', async (_what, bytes, expected, problem) => {
  expect(await tagsOf(bytes)).toEqual({ title: expected, artists: undefined, problems: [problem] })
})

test('a stream without sound has no comments', async () => {
  const bytes = oggPage(1, 0, 0, [latin('fishead\0')], 2)
  const ogg = { container: 'ogg', contentType: 'audio/ogg', extension: 'ogg', start: 0 } as const
  expect(await readTagFields(fileOf(bytes), ogg, { start: 0, end: bytes.length })).toEqual({
    fields: {},
    problems: ['its comments are missing'],
  })
})

/** Title and artists; nothing else is told. */
async function tagsOf(bytes: Buffer) {
  const file = fileOf(bytes)
  const location = (await locateAudio(file))!
  const { fields, problems } = await readTagFields(file, location, await readSound(file, location))
  const { title, artists, ...others } = fields
  expect(others).toEqual({})
  return { title: title?.text, artists: artists?.map(({ text }) => text).join('|'), problems }
}
