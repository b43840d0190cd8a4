/** How long a file is and where its sound lies, of files made up byte by byte. */
import { describe, expect, test } from 'vitest'
import { sourceOf } from '../../../../src/core/containers/bytes.ts'
import { readSound } from '../../../../src/core/containers/read.ts'
import { locateAudio } from '../../../../src/core/content-type.ts'
import {
  aiff,
  be,
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
  mp3Seconds,
  opusStream,
  riffInfo,
  tone,
  wave,
} from '../../../support/audio-bytes.ts'

async function soundOf(bytes: Buffer) {
  const file = sourceOf(bytes)
  const location = await locateAudio(file)
  return location && { ...(await readSound(file, location)), container: location.container }
}

const tag = id3v2(3, [{ id: 'TIT2', content: latin1('Title') }])
const behind = id3v1(latin('Title'), latin('Artist'))

describe('duration', () => {
  const quietStart = Buffer.concat([mp3Frames(40, { kbps: 32 }), mp3Frames(60, { kbps: 320 })])
  test.each<[string, Buffer, number]>([
    ['variable bit rate without a count, a quiet start', quietStart, mp3Seconds(100)],
    ['the same behind a tag and before one', Buffer.concat([tag, quietStart, behind]), mp3Seconds(100)],
    [
      'two streams, one behind another',
      Buffer.concat([mp3Frames(50), Buffer.from('rubble'), mp3Frames(50)]),
      mp3Seconds(100),
    ],
    ['a count in the first frame', Buffer.concat([xing(99), mp3Frames(99)]), mp3Seconds(99)],
    [
      'a count, and a second stream that it does not count',
      Buffer.concat([xing(99), mp3Frames(99), mp3Frames(400)]),
      mp3Seconds(500),
    ],
    [
      'a count that no file of this size can hold',
      Buffer.concat([xing(9_999_999), mp3Frames(99)]),
      mp3Seconds(100),
    ],
    ['Opus', opusStream(1, 150), 150 * 0.02 - 312 / 48_000],
    [
      'chained Opus',
      Buffer.concat([opusStream(1, 150), opusStream(2, 100), opusStream(3, 50)]),
      300 * 0.02 - (3 * 312) / 48_000,
    ],
    ['Opus without its last flag', opusStream(1, 150, [], false), 150 * 0.02 - 312 / 48_000],
    [
      'WavPack of unknown length',
      Buffer.concat([wavPackBlock(22_050), wavPackBlock(22_050), wavPackBlock(11_025)]),
      1.25,
    ],
    [
      'WavPack of known length',
      Buffer.concat([wavPackBlock(22_050, 44_100), wavPackBlock(22_050, 44_100)]),
      1,
    ],
    ['FLAC', flac([tone(4000, 16)]), 0.5],
    ['WAVE', wave(Buffer.alloc(8000)), 0.5],
    ['WAVE, a stream of unknown length', wave(Buffer.alloc(8000), { claimed: 0xffff_ffff }), 0.5],
    [
      'WAVE, a stream that wrote the largest length less its head',
      wave(Buffer.alloc(8000), { claimed: 0xffff_ff9b }),
      0.5,
    ],
    ['RF64', wave(Buffer.alloc(8000), { form: 'RF64', behind: riffInfo({ INAM: latin('x') }) }), 0.5],
    ['big-endian WAVE', wave(Buffer.alloc(8000), { form: 'RIFX' }), 0.5],
    ['AIFF', aiff(Buffer.alloc(8000), { behind: iffChunk('ANNO', latin('x'.repeat(5000))) }), 0.5],
    ['MP4', Buffer.concat([ftyp, moov(3), box('mdat', Buffer.alloc(64))]), 3],
    [
      'MP4 cut within its samples',
      Buffer.concat([ftyp, moov(3), box('mdat', Buffer.alloc(64)).subarray(0, 40)]),
      3,
    ],
    [
      'TTA',
      Buffer.concat([
        latin('TTA1'),
        le(1, 2),
        le(2, 2),
        le(16, 2),
        le(44_100, 4),
        le(22_050, 4),
        Buffer.alloc(40),
      ]),
      0.5,
    ],
    [
      'AMR',
      Buffer.concat([
        latin('#!AMR\n'),
        ...Array.from({ length: 50 }, () => Buffer.concat([Buffer.from([0x3c]), Buffer.alloc(31)])),
      ]),
      1,
    ],
    ["Monkey's Audio 3.99", monkeys(3990), 2.5],
    ['Musepack 7', musepack7(100), (100 * 1152 - 576) / 44_100],
  ])('%s', async (_, bytes, seconds) => {
    expect((await soundOf(bytes))?.duration).toBeCloseTo(seconds, 3)
  })
})

describe('what is sound and what stands around it', () => {
  const frames = mp3Frames(20)
  const ape = Buffer.concat([latin('APETAGEX'), le(2000, 4), le(32, 4), le(0, 4), le(0, 4), Buffer.alloc(8)])
  const lyrics = Buffer.concat([latin('LYRICSBEGININD0000200'), latin('000021LYRICS200')])
  test.each<[string, Buffer, number, number]>([
    ['nothing', frames, 0, 0],
    ['a tag before', Buffer.concat([tag, frames]), tag.length, 0],
    ['two tags before', Buffer.concat([tag, tag, frames]), 2 * tag.length, 0],
    ['ID3v1 behind', Buffer.concat([frames, behind]), 0, 128],
    ['APE and ID3v1 behind', Buffer.concat([frames, ape, behind]), 0, 160],
    ['Lyrics3 and ID3v1 behind', Buffer.concat([frames, lyrics, behind]), 0, lyrics.length + 128],
    ['one stray byte behind', Buffer.concat([frames, Buffer.from([7])]), 0, 1],
    [
      'a tag with a length too small',
      Buffer.concat([
        id3v2(3, [{ id: 'APIC', content: Buffer.alloc(200_000, 0x41) }], { size: 100 }),
        frames,
      ]),
      200_020,
      0,
    ],
    [
      'a tag, then 300 KB of zeros',
      Buffer.concat([tag, Buffer.alloc(300_000), frames]),
      tag.length + 300_000,
      0,
    ],
    ['nothing but zeros before', Buffer.concat([Buffer.alloc(2_000_000), frames]), 2_000_000, 0],
  ])('%s', async (_, bytes, before, after) => {
    const sound = await soundOf(bytes)
    expect(sound).toMatchObject({ start: before, end: bytes.length - after, container: 'mpeg' })
    expect(sound?.cut).toBeUndefined()
    expect(sound?.duration).toBeCloseTo(mp3Seconds(20), 3)
  })
  test('FLAC before ID3v1, behind a tag that is too short', async () => {
    const bytes = flac([tone(400, 16)])
    const front = id3v2(3, [{ id: 'APIC', content: Buffer.alloc(90_000, 0x42) }], { size: 50 })
    expect(await soundOf(Buffer.concat([front, bytes, behind]))).toMatchObject({
      container: 'flac',
      start: front.length,
      end: front.length + bytes.length,
    })
  })
})

describe('cut files', () => {
  test.each<[string, Buffer, string]>([
    ['WAVE', wave(Buffer.alloc(800)).subarray(0, -100), 'the file ends 100 bytes before its samples do'],
    ['AIFF', aiff(Buffer.alloc(800)).subarray(0, -100), 'the file ends 100 bytes before its samples do'],
    [
      'MP4',
      Buffer.concat([ftyp, moov(3), box('mdat', Buffer.alloc(500))]).subarray(0, -100),
      'the file ends 100 bytes before its last part does',
    ],
    ['Ogg', opusStream(1, 150).subarray(0, -40), 'the file ends within its last page'],
    ['MP3', mp3Frames(20).subarray(0, -17), 'the file ends 17 bytes before its last frame does'],
    [
      'AMR',
      Buffer.concat([
        latin('#!AMR\n'),
        Buffer.from([0x3c]),
        Buffer.alloc(31),
        Buffer.from([0x3c]),
        Buffer.alloc(11),
      ]),
      'the file ends 20 bytes before its last frame does',
    ],
  ])('%s', async (_, bytes, cut) => {
    expect((await soundOf(bytes))?.cut).toBe(cut)
  })
  test('what follows the sound of an MP4 file may be anything', async () => {
    const whole = Buffer.concat([ftyp, moov(3), box('mdat', Buffer.alloc(500))])
    for (const more of ['TAG and a hundred more', 'free', '\x7f\xff\xff\xfffree'])
      expect((await soundOf(Buffer.concat([whole, latin(more)])))?.cut).toBeUndefined()
  })
})

/** A frame that says how many follow: LAME's, of 417 bytes. */
function xing(frames: number): Buffer {
  const frame = mp3Frames(1)
  const bytes = 417 * (frames + 1)
  frame.write('Xing', 36, 'latin1')
  frame.set(be(3, 4), 40)
  frame.set(be(frames, 4), 44)
  frame.set(be(bytes, 4), 48)
  return frame
}

function wavPackBlock(samples: number, total = 0xffff_ffff): Buffer {
  return Buffer.concat([
    latin('wvpk'),
    le(24 + 8, 4),
    le(0x0410, 2),
    le(0, 2),
    le(total, 4),
    le(0, 4),
    le(samples, 4),
    // 16 bits, mono, first and last block of its samples, 44.1 kHz
    le(0x1 | 0x4 | 0x800 | 0x1000 | (9 << 23), 4),
    Buffer.alloc(12),
  ])
}

function monkeys(version: number): Buffer {
  return Buffer.concat([
    latin('MAC '),
    le(version, 2),
    le(0, 2),
    le(52, 4),
    le(24, 4),
    Buffer.alloc(36),
    le(2000, 2),
    le(0, 2),
    le(44_100, 4),
    le(22_050, 4),
    le(3, 4),
    le(16, 2),
    le(2, 2),
    le(44_100, 4),
    Buffer.alloc(64),
  ])
}

function musepack7(frames: number): Buffer {
  return Buffer.concat([latin('MP+'), Buffer.from([7]), le(frames, 4), Buffer.alloc(64)])
}
