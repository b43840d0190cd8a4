/** Each row is what `import` writes for a file made up byte by byte. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { deflateSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { readTags } from '../../../src/import/tags.ts'
import {
  aiff,
  apeItem,
  apeTag,
  au,
  be,
  box,
  caf,
  dsdiff,
  dsdiffFormat,
  evenChunk,
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
  oggPage,
  opusStream,
  riffChunk,
  riffInfo,
  tone,
  utf8,
  utf16,
  vorbisComments,
  wave,
} from '../../support/audio-bytes.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const folder = temporaryFolder('tags')

async function row(bytes: Buffer, at = 'Folder/File.mp3') {
  const file = path.join(folder, 'file')
  writeFileSync(file, bytes)
  const { duration: _, isCut: __, ...names } = await readTags(file, at)
  return names
}

const sound = mp3Frames(8)
const pcm = Buffer.alloc(1600)
const text = (value: string) => Buffer.from(value)
const bjork = { title: 'Jóga', artist: 'Björk' }
describe('text without a stated encoding', () => {
  test.each<[string, Buffer]>([
    ['RIFF INFO', wave(pcm, { behind: riffInfo({ INAM: text('Jóga'), IART: text('Björk') }) })],
    [
      'RIFF INFO before the sound',
      wave(pcm, { before: riffInfo({ INAM: text('Jóga'), IART: text('Björk') }) }),
    ],
    [
      'RIFF INFO of odd length',
      wave(Buffer.alloc(1601), { bits: 8, behind: riffInfo({ IART: text('Björk'), INAM: text('Jóga') }) }),
    ],
    ['RF64', wave(pcm, { form: 'RF64', behind: riffInfo({ INAM: text('Jóga'), IART: text('Björk') }) })],
    [
      'AIFF',
      aiff(pcm, { behind: Buffer.concat([iffChunk('NAME', text('Jóga')), iffChunk('AUTH', text('Björk'))]) }),
    ],
    [
      'AIFF-C before the sound',
      aiff(pcm, {
        compression: 'sowt',
        before: Buffer.concat([iffChunk('NAME', text('Jóga')), iffChunk('AUTH', text('Björk'))]),
      }),
    ],
    ['ID3v1', Buffer.concat([sound, id3v1(text('Jóga'), text('Björk'))])],
    [
      'ID3v2 that says Latin-1',
      Buffer.concat([
        id3v2(3, [
          { id: 'TIT2', content: Buffer.concat([Buffer.from([0]), text('Jóga')]) },
          { id: 'TPE1', content: Buffer.concat([Buffer.from([0]), text('Björk')]) },
        ]),
        sound,
      ]),
    ],
    ['Latin-1 in ID3v1', Buffer.concat([sound, id3v1(latin('Jóga'), latin('Björk'))])],
    [
      'Latin-1 in ID3v2',
      Buffer.concat([
        id3v2(3, [
          { id: 'TIT2', content: latin1('Jóga') },
          { id: 'TPE1', content: latin1('Björk') },
        ]),
        sound,
      ]),
    ],
    ['Latin-1 in RIFF INFO', wave(pcm, { behind: riffInfo({ INAM: latin('Jóga'), IART: latin('Björk') }) })],
    [
      'Latin-1 in Vorbis comments',
      flac([tone(64, 16)], {
        blocks: [[4, vorbisComments([Buffer.concat([text('TITLE='), latin('Jóga')]), 'ARTIST=Björk'])]],
      }),
    ],
  ])('%s', async (_, bytes) => {
    expect(await row(bytes)).toEqual(bjork)
  })

  const cyrillic = (...bytes: number[]) => Buffer.from(bytes)
  const song = cyrillic(0xcf, 0xe5, 0xf1, 0xed, 0xff)
  test.each<[string, Buffer]>([
    ['RIFF INFO', wave(pcm, { behind: riffInfo({ INAM: song, IART: song }) })],
    ['ID3v1', Buffer.concat([sound, id3v1(song, song)])],
    [
      'ID3v2',
      Buffer.concat([
        id3v2(3, [
          { id: 'TIT2', content: Buffer.concat([Buffer.from([0]), song]) },
          { id: 'TPE1', content: Buffer.concat([Buffer.from([0]), song]) },
        ]),
        sound,
      ]),
    ],
  ])('%s in doubt: the path is believed, and it is said', async (_, bytes) => {
    expect(await row(bytes, 'Кино/Другая.mp3')).toEqual({
      warning:
        'the encoding of its title is unknown; taken from the path; the encoding of its artist is unknown; taken from the path',
    })
  })
  test('a path that tells the very text is no reason for a warning', async () => {
    expect(await row(wave(pcm, { behind: riffInfo({ INAM: song, IART: song }) }), 'Песня/Песня.wav')).toEqual(
      {},
    )
  })
})

describe('artists', () => {
  test.each<[string, Buffer, object]>([
    [
      'ID3v2.3 AC/DC',
      Buffer.concat([id3v2(3, [{ id: 'TPE1', content: latin1('AC/DC') }]), sound]),
      { artist: 'AC/DC' },
    ],
    [
      'ID3v2.2 AC/DC',
      Buffer.concat([id3v2(2, [{ id: 'TP1', content: latin1('AC/DC') }]), sound]),
      { artist: 'AC/DC' },
    ],
    [
      'ID3v2.4, several',
      Buffer.concat([id3v2(4, [{ id: 'TPE1', content: utf8('One\0Two\0Three') }]), sound]),
      { artist: 'One, Two, Three' },
    ],
    [
      'ID3v2.3, several, UTF-16',
      Buffer.concat([id3v2(3, [{ id: 'TPE1', content: utf16('Ένα\0Δύο') }]), sound]),
      { artist: 'Ένα, Δύο' },
    ],
    [
      'ID3v2.4 with plain sizes',
      Buffer.concat([
        id3v2(4, [
          { id: 'APIC', content: Buffer.alloc(300, 1), plain: true },
          { id: 'TIT2', content: utf8('T'.repeat(200)), plain: true },
          { id: 'TPE1', content: utf8('Last'), plain: true },
        ]),
        sound,
      ]),
      { title: 'T'.repeat(200), artist: 'Last' },
    ],
    [
      'ID3v2.4 with sizes as it says',
      Buffer.concat([
        id3v2(4, [
          { id: 'APIC', content: Buffer.alloc(300, 1) },
          { id: 'TIT2', content: utf8('T'.repeat(200)) },
          { id: 'TPE1', content: utf8('Last') },
        ]),
        sound,
      ]),
      { title: 'T'.repeat(200), artist: 'Last' },
    ],
    [
      'two ID3 tags',
      Buffer.concat([
        id3v2(4, [{ id: 'TIT2', content: utf8('First') }]),
        id3v2(3, [
          { id: 'TIT2', content: latin1('Second') },
          { id: 'TPE1', content: latin1('Artist') },
        ]),
        sound,
      ]),
      { title: 'First', artist: 'Artist' },
    ],
    [
      'TPE2 without TPE1',
      Buffer.concat([id3v2(4, [{ id: 'TPE2', content: utf8('Band') }]), sound]),
      { artist: 'Band' },
    ],
    [
      'TPE2 of a compilation',
      Buffer.concat([id3v2(4, [{ id: 'TPE2', content: utf8('Various Artists') }]), sound]),
      {},
    ],
    [
      'frames of ID3v2.2 in a tag of 2.3',
      Buffer.concat([
        id3v2(3, [
          { id: 'TP1\0', content: latin1('Artist') },
          { id: 'TT2\0', content: latin1('Title') },
        ]),
        sound,
      ]),
      { title: 'Title', artist: 'Artist' },
    ],
    [
      'a compressed frame',
      Buffer.concat([
        id3v2(3, [
          { id: 'TPE1', content: Buffer.concat([be(7, 4), deflateSync(latin1('Artist'))]), flags: 0x0080 },
        ]),
        sound,
      ]),
      { artist: 'Artist' },
    ],
    [
      'APEv2 before ID3v1',
      Buffer.concat([
        sound,
        apeTag(apeItem('Artist', text('One\0Two')), apeItem('Title', text('Long title'))),
        id3v1(latin('Short'), latin('One')),
      ]),
      { title: 'Long title', artist: 'One, Two' },
    ],
    [
      'comments, several',
      flac([tone(64, 16)], { blocks: [[4, vorbisComments(['artist=One', 'Artist=Two', 'ALBUM=A'])]] }),
      { artist: 'One, Two', album: 'A' },
    ],
    ['Opus', opusStream(7, 10, ['TITLE=Title', 'ARTIST=Artist']), { title: 'Title', artist: 'Artist' }],
    ['Ogg FLAC', oggFlac(['TITLE=Jóga', 'ARTIST=Björk']), bjork],
    ['CAF', informed({ title: 'Jóga', artist: 'Björk' }), bjork],
    ['AU', au(pcm, { annotation: text('TITLE=Jóga\nARTIST=Björk\n') }), bjork],
    [
      'DSDIFF, its own',
      dsd(
        evenChunk(
          'DIIN',
          Buffer.concat([
            evenChunk('DITI', Buffer.concat([be(5, 4), text('Jóga')])),
            evenChunk('DIAR', Buffer.concat([be(6, 4), text('Björk')])),
          ]),
        ),
      ),
      bjork,
    ],
    [
      'DSDIFF, ID3',
      dsd(
        evenChunk(
          'ID3 ',
          id3v2(4, [
            { id: 'TIT2', content: utf8('Jóga') },
            { id: 'TPE1', content: utf8('Björk') },
          ]),
        ),
      ),
      bjork,
    ],
    [
      'AMR with ID3v1',
      Buffer.concat([
        latin('#!AMR\n'),
        ...Array.from({ length: 20 }, () => Buffer.concat([Buffer.from([0x3c]), Buffer.alloc(31)])),
        id3v1(text('Jóga'), text('Björk')),
      ]),
      bjork,
    ],
    [
      'MP4',
      Buffer.concat([ftyp, moov(3, { '©nam': 'Jóga', '©ART': 'Björk' }), box('mdat', Buffer.alloc(64))]),
      bjork,
    ],
  ])('%s', async (_, bytes, expected) => {
    expect(await row(bytes)).toEqual(expected)
  })
})

describe('what is broken costs itself alone', () => {
  test.each<[string, Buffer, object]>([
    [
      'MP4, cut within its samples',
      Buffer.concat([
        ftyp,
        moov(3, { '©nam': 'Jóga', '©ART': 'Björk' }),
        box('mdat', Buffer.alloc(4096)).subarray(0, 100),
      ]),
      bjork,
    ],
    [
      'MP4, something behind it that is no box',
      Buffer.concat([
        ftyp,
        moov(3, { '©nam': 'Jóga', '©ART': 'Björk' }),
        box('mdat', Buffer.alloc(64)),
        Buffer.from('rubbish!rubbish!'),
      ]),
      bjork,
    ],
    [
      'WAVE with a bad ID3 chunk',
      wave(pcm, {
        behind: Buffer.concat([
          riffChunk('id3 ', Buffer.from('ID3 but not really')),
          riffInfo({ INAM: text('Jóga'), IART: text('Björk') }),
        ]),
      }),
      { ...bjork, warning: 'its ID3 tag is broken' },
    ],
    [
      'AIFF with a bad ID3 chunk',
      aiff(pcm, {
        behind: Buffer.concat([
          iffChunk('ID3 ', Buffer.from('ID3\x03\0\0\xff\xff\xff\xff', 'latin1')),
          iffChunk('NAME', text('Jóga')),
          iffChunk('AUTH', text('Björk')),
        ]),
      }),
      { ...bjork, warning: 'its ID3 tag is broken' },
    ],
    [
      'WAVE whose ID3 chunk is cut',
      wave(pcm, {
        behind: riffChunk(
          'id3 ',
          id3v2(
            4,
            [
              { id: 'TIT2', content: utf8('Jóga') },
              { id: 'TPE1', content: utf8('Björk') },
            ],
            { size: 5000 },
          ),
        ),
      }),
      { ...bjork, warning: 'its ID3 tag is cut short' },
    ],
    [
      'FLAC with a bad block behind its comments',
      flac([tone(64, 16)], {
        blocks: [
          [4, vorbisComments(['TITLE=Jóga', 'ARTIST=Björk'])],
          [127, Buffer.alloc(20)],
        ],
      }),
      { ...bjork, warning: 'a metadata block of it is broken' },
    ],
    [
      'FLAC with comments that claim more than there are',
      flac([tone(64, 16)], {
        blocks: [
          [4, Buffer.concat([vorbisComments(['TITLE=Jóga', 'ARTIST=Björk']).fill(9, 8, 9), le(9999, 4)])],
        ],
      }),
      { ...bjork, warning: 'its comments are cut short' },
    ],
    [
      'ID3 with a frame that is none',
      Buffer.concat([
        id3v2(3, [
          { id: 'TIT2', content: latin1('Title') },
          { id: '\x01\x02\x03\x04', content: Buffer.alloc(8) },
        ]),
        sound,
      ]),
      { title: 'Title', warning: 'its ID3 tag has a broken frame' },
    ],
    [
      'ID3 with an encrypted frame',
      Buffer.concat([
        id3v2(3, [
          { id: 'TIT2', content: latin1('Title') },
          { id: 'TPE1', content: latin1('x'), flags: 0x40 },
        ]),
        sound,
      ]),
      { title: 'Title', warning: 'its ID3 frame TPE1 cannot be read' },
    ],
  ])('%s', async (_, bytes, expected) => {
    expect(await row(bytes)).toEqual(expected)
  })
  test('what is no audio', async () => {
    expect(await row(Buffer.from('a text'))).toEqual({
      warning: 'no tags could be read: it is no longer an audio file',
    })
  })
})

function oggFlac(comments: readonly string[]): Buffer {
  const native = flac([tone(64, 16)])
  const head = Buffer.concat([latin('\x7fFLAC'), Buffer.from([1, 0]), be(1, 2), native.subarray(0, 42)])
  const content = vorbisComments(comments)
  const block = Buffer.concat([Buffer.from([0x84]), be(content.length, 3), content])
  return Buffer.concat([
    oggPage(3, 0, 0, [head], 2),
    oggPage(3, 1, 0, [block]),
    oggPage(3, 2, 64, [native.subarray(42)], 4),
  ])
}

function informed(info: Readonly<Record<string, string>>): Buffer {
  const entries = Object.entries(info)
  const texts = entries.flat().map(one => Buffer.from(`${one}\0`))
  return caf(pcm, { texts: Buffer.concat([be(entries.length, 4), ...texts]) })
}

function dsd(behind: Buffer): Buffer {
  const channels = evenChunk('CHNL', Buffer.concat([be(1, 2), latin('C   ')]))
  const packing = evenChunk('CMPR', Buffer.concat([latin('DSD '), Buffer.from([0, 0])]))
  const version = evenChunk('FVER', be(0x0105_0000, 4))
  return dsdiff(version, dsdiffFormat(channels, packing), evenChunk('DSD ', Buffer.alloc(352)), behind)
}
