/** How long a file is and where its sound lies, of files made up byte by byte. */
import { describe, expect, test } from 'vitest'
import { readSound } from '../../../../src/core/containers/read.ts'
import { locateAudio } from '../../../../src/core/content-type.ts'
import {
  aiff,
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
  mp3Seconds,
  opusStream,
  riffChunk,
  riffInfo,
  tone,
  w64,
  w64Chunk,
  wave,
} from '../../../support/audio-bytes.ts'
import { fileOf } from '../../../support/byte-source.ts'

const flacFile = { container: 'flac', contentType: 'audio/flac', extension: 'flac', start: 0 } as const
const tag = id3v2(3, [{ id: 'TIT2', content: latin1('Title') }])

async function readAt(bytes: Buffer) {
  const file = fileOf(bytes)
  const location = await locateAudio(file)
  return location && { ...(await readSound(file, location)), container: location.container }
}

/** Reads it twice: behind a tag, the same is said of it, and lies that much further on. */
async function soundOf(bytes: Buffer) {
  const sound = await readAt(bytes)
  const moved = <T extends { start: number; end: number }>(one: T) => ({
    ...one,
    start: one.start + tag.length,
    end: one.end + tag.length,
  })
  const { pcm, texts } = sound ?? {}
  expect(await readAt(Buffer.concat([tag, bytes]))).toEqual(
    sound && { ...moved(sound), pcm: pcm && moved(pcm), texts: texts?.map(moved) },
  )
  return sound
}
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

describe('samples that are not compressed: their layout, and where they lie', () => {
  const data = Buffer.alloc(4800)
  const layout = (encoding: string, bytes: number, little: boolean, channels = 2) => ({
    encoding,
    bytes,
    little,
    channels,
    sampleRate: 8000,
  })
  const whole = (file: Buffer, from: number, length = data.length) => [file, from, length] as const

  const two = { channels: 2 }
  const stereoAu = (code: number, options = {}) => au(data, { ...two, code, ...options })
  const stereoCaf = (type: string, flags: number, width: number, claimed?: number) =>
    caf(data, { ...two, type, flags, bits: 8 * width, claimed })
  const waveform64 = (size?: number) =>
    w64(
      w64Chunk('junk', Buffer.alloc(5)),
      w64Chunk('fmt ', wave(data, two).subarray(20, 36)),
      w64Chunk('data', data, size),
    )
  const wide = (tag: number, bits: number) =>
    Buffer.concat([
      latin('RIFF\0\0\0\0WAVE'),
      riffChunk(
        'fmt ',
        Buffer.concat([
          ...[le(0xfffe, 2), le(2, 2), le(8000, 4), le(2000 * bits, 4), le(bits / 4, 2), le(bits, 2)],
          ...[le(22, 2), le(bits, 2), le(3, 4), le(tag, 2), Buffer.alloc(14)],
        ]),
      ),
      riffChunk('data', data),
    ])

  test.each<[string, readonly [Buffer, number, number], object]>([
    ['WAVE, 8 bits', whole(wave(data, { ...two, bits: 8 }), 44), layout('unsigned', 1, true)],
    ['WAVE, 16 bits', whole(wave(data, two), 44), layout('signed', 2, true)],
    ['WAVE, mono', whole(wave(data), 44), layout('signed', 2, true, 1)],
    ['WAVE, 24 bits', whole(wave(data, { ...two, bits: 24 }), 44), layout('signed', 3, true)],
    ['WAVE, 32 bits', whole(wave(data, { ...two, bits: 32 }), 44), layout('signed', 4, true)],
    ['WAVE, floats', whole(wave(data, { ...two, bits: 32, format: 3 }), 44), layout('float', 4, true)],
    ['WAVE, long floats', whole(wave(data, { ...two, bits: 64, format: 3 }), 44), layout('float', 8, true)],
    ['WAVE, A-law', whole(wave(data, { ...two, bits: 8, format: 6 }), 44), layout('alaw', 1, true)],
    ['WAVE, µ-law', whole(wave(data, { ...two, bits: 8, format: 7 }), 44), layout('ulaw', 1, true)],
    ['WAVE, extensible integers', whole(wide(1, 24), 68), layout('signed', 3, true)],
    ['WAVE, extensible floats', whole(wide(3, 32), 68), layout('float', 4, true)],
    ['WAVE, big-endian', whole(wave(data, { ...two, form: 'RIFX' }), 44), layout('signed', 2, false)],
    ['RF64', whole(wave(data, { ...two, form: 'RF64' }), 80), layout('signed', 2, true)],
    [
      'WAVE, an odd chunk before',
      whole(wave(data, { ...two, before: riffChunk('bext', Buffer.alloc(5)) }), 58),
      layout('signed', 2, true),
    ],
    ['Wave64', whole(waveform64(), 40 + 32 + 40 + 24), layout('signed', 2, true)],
    [
      'Wave64, a stream of unknown length',
      whole(waveform64(0), 40 + 32 + 40 + 24),
      layout('signed', 2, true),
    ],
    ['AIFF, 8 bits', whole(aiff(data, { ...two, bits: 8 }), 54), layout('signed', 1, false)],
    ['AIFF', whole(aiff(data, two), 54), layout('signed', 2, false)],
    ['AIFF, 20 bits in 24', whole(aiff(data, { ...two, bits: 20 }), 54), layout('signed', 3, false)],
    ...(
      [
        ['NONE', 16, layout('signed', 2, false)],
        ['twos', 16, layout('signed', 2, false)],
        ['in24', 24, layout('signed', 3, false)],
        ['in32', 32, layout('signed', 4, false)],
        ['sowt', 16, layout('signed', 2, true)],
        ['42ni', 24, layout('signed', 3, true)],
        ['23ni', 32, layout('signed', 4, true)],
        ['raw ', 8, layout('unsigned', 1, false)],
        ['fl32', 32, layout('float', 4, false)],
        ['FL32', 32, layout('float', 4, false)],
        ['fl64', 64, layout('float', 8, false)],
        ['FL64', 64, layout('float', 8, false)],
        ['alaw', 8, layout('alaw', 1, false)],
        ['ALAW', 8, layout('alaw', 1, false)],
        ['ulaw', 8, layout('ulaw', 1, false)],
        ['ULAW', 8, layout('ulaw', 1, false)],
      ] as const
    ).map(
      ([compression, bits, expected]) =>
        [`AIFF-C, ${compression}`, whole(aiff(data, { ...two, bits, compression }), 60), expected] as [
          string,
          readonly [Buffer, number, number],
          object,
        ],
    ),
    ['AU, µ-law', whole(stereoAu(1), 24), layout('ulaw', 1, false)],
    ['AU, 8 bits', whole(stereoAu(2), 24), layout('signed', 1, false)],
    ['AU, 16 bits', whole(stereoAu(3), 24), layout('signed', 2, false)],
    ['AU, 24 bits', whole(stereoAu(4), 24), layout('signed', 3, false)],
    ['AU, 32 bits', whole(stereoAu(5), 24), layout('signed', 4, false)],
    ['AU, floats', whole(stereoAu(6), 24), layout('float', 4, false)],
    ['AU, long floats', whole(stereoAu(7), 24), layout('float', 8, false)],
    ['AU, A-law', whole(stereoAu(27), 24), layout('alaw', 1, false)],
    [
      'AU, a stream of unknown length',
      whole(stereoAu(3, { claimed: 0xffff_ffff }), 24),
      layout('signed', 2, false),
    ],
    [
      'AU, an annotation',
      whole(stereoAu(3, { annotation: Buffer.alloc(16) }), 40),
      layout('signed', 2, false),
    ],
    ['CAF, big-endian', whole(stereoCaf('lpcm', 0, 2), 68), layout('signed', 2, false)],
    ['CAF, little-endian', whole(stereoCaf('lpcm', 2, 3), 68), layout('signed', 3, true)],
    ['CAF, floats', whole(stereoCaf('lpcm', 1, 4), 68), layout('float', 4, false)],
    ['CAF, little-endian floats', whole(stereoCaf('lpcm', 3, 8), 68), layout('float', 8, true)],
    ['CAF, A-law', whole(stereoCaf('alaw', 0, 1), 68), layout('alaw', 1, false)],
    ['CAF, µ-law', whole(stereoCaf('ulaw', 0, 1), 68), layout('ulaw', 1, false)],
    [
      'CAF, a stream of unknown length',
      whole(
        Buffer.concat([
          stereoCaf('lpcm', 0, 2).subarray(0, 56),
          Buffer.alloc(8, 0xff),
          stereoCaf('lpcm', 0, 2).subarray(64),
        ]),
        68,
      ),
      layout('signed', 2, false),
    ],
  ])('%s', async (_what, [file, start, length], expected) => {
    const sound = await soundOf(file)
    expect(sound).toMatchObject({ coding: 'pcm', pcm: { layout: expected, start, end: start + length } })
    const { bytes, channels } = expected as { bytes: number; channels: number }
    expect(sound).toMatchObject({ sampleRate: 8000, channels, duration: length / bytes / channels / 8000 })
    expect(sound?.cut).toBeUndefined()
  })

  test.each<[string, Buffer, object]>([
    ['WAVE, MP3 in it', wave(data, { format: 0x55 }), { coding: 'wave 0x55', duration: undefined }],
    ['WAVE, floats of 16 bits', wave(data, { format: 3 }), { coding: 'wave 0x3' }],
    ['WAVE, integers of 64 bits', wave(data, { bits: 64 }), { coding: 'wave 0x1' }],
    ['AIFF-C, IMA', aiff(data, { compression: 'ima4' }), { coding: 'ima4', duration: (2400 * 64) / 8000 }],
    ['AIFF-C, another', aiff(data, { compression: 'Qclp' }), { coding: 'Qclp', duration: 0.3 }],
    ['AU, an encoding that is packed', stereoAu(23), { coding: 'au 23', duration: undefined }],
    ['CAF, another coding', stereoCaf('aac ', 0, 0), { coding: 'aac' }],
    [
      'WAVE, no format',
      Buffer.concat([latin('RIFF\0\0\0\0WAVE'), riffChunk('data', data)]),
      { unusable: 'it does not say what format its samples have' },
    ],
    [
      'WAVE, no samples',
      wave(data).subarray(0, 36),
      { unusable: 'it has no samples', coding: 'pcm', sampleRate: 8000, channels: 1 },
    ],
    ['AU, cut', stereoAu(3).subarray(0, -9), { cut: 'the file ends 9 bytes before its samples do' }],
    [
      'CAF, cut',
      stereoCaf('lpcm', 0, 2).subarray(0, -9),
      { cut: 'the file ends 9 bytes before its samples do' },
    ],
    ['Wave64, cut', waveform64().subarray(0, -9), { cut: 'the file ends 9 bytes before its samples do' }],
  ])('%s: not samples, or not all of them', async (_what, file, expected) => {
    expect(await soundOf(file)).toMatchObject(expected)
  })

  test.each([
    ['WAVE', wave(data, { behind: riffInfo({ INAM: latin('x') }) }), ['LIST']],
    [
      'AIFF',
      aiff(data, { before: iffChunk('NAME', latin('x')), behind: iffChunk('ANNO', latin('y')) }),
      ['NAME', 'ANNO'],
    ],
    ['AU', stereoAu(3, { annotation: Buffer.alloc(16) }), ['annotation']],
    ['AU without one', stereoAu(3), []],
  ])('texts beside the samples: %s', async (_what, file, ids) => {
    expect((await soundOf(file))?.texts?.map(({ id }) => id)).toEqual(ids)
  })
})

describe('DSD', () => {
  const dsf = (samples: number, tag = 0) =>
    Buffer.concat([
      ...[latin('DSD '), le(28, 8), le(0, 8), le(tag, 8)],
      ...[latin('fmt '), le(52, 8), le(1, 4), le(0, 4), le(2, 4), le(2, 4), le(2_822_400, 4), le(1, 4)],
      ...[le(samples, 8), le(4096, 4), le(0, 4), latin('data'), le(12 + 8192, 8), Buffer.alloc(8192)],
    ])
  const dff = (...sound: Buffer[]) =>
    dsdiff(evenChunk('FVER', be(0x0105_0000, 4)), dsdiffFormat(evenChunk('CHNL', be(2, 2))), ...sound)
  test.each<[string, Buffer, object]>([
    ['DSF', dsf(1_411_200), { duration: 0.5, texts: [], cut: undefined }],
    [
      'DSF with a tag',
      dsf(1_411_200, 8200),
      { duration: 0.5, texts: [{ id: 'ID3 ', start: 8200, end: 8284 }] },
    ],
    ['DSF, cut', dsf(1_411_200).subarray(0, -7), { cut: 'the file ends 7 bytes before its samples do' }],
    ['DSDIFF', dff(evenChunk('DSD ', Buffer.alloc(7056))), { duration: 0.01, cut: undefined }],
    [
      'DSDIFF, cut',
      dff(evenChunk('DSD ', Buffer.alloc(7056))).subarray(0, -7),
      { cut: 'the file ends 7 bytes before its samples do' },
    ],
    [
      'DSDIFF, packed',
      dff(evenChunk('DST ', evenChunk('FRTE', Buffer.concat([be(150, 4), be(75, 2)])))),
      { duration: 2 },
    ],
  ])('%s', async (_what, file, expected) => {
    expect(await soundOf(file)).toMatchObject({
      coding: 'dsd',
      channels: 2,
      sampleRate: 2_822_400,
      ...expected,
    })
  })
})

describe('MP4: edit lists and fragments (ISO/IEC 14496-12, 8.6.6 and 8.8)', () => {
  const mdat = box('mdat', Buffer.alloc(64))
  /** An index whose track has an edit list: durations and places in the media. */
  const edited = (version: 0 | 1, ...edits: [number, number | undefined][]) => {
    const whole = moov(3)
    const at = whole.indexOf('trak') - 4
    const end = at + whole.readUInt32BE(at)
    const width = version === 1 ? 8 : 4
    const list = edits.flatMap(([duration, from]) => [
      be(duration, width),
      from === undefined ? Buffer.alloc(width, 0xff) : be(from, width),
      be(0x1_0000, 4),
    ])
    const edts = box('edts', box('elst', be(version * 2 ** 24, 4), be(edits.length, 4), ...list))
    const trak = box('trak', edts, whole.subarray(at + 8, end))
    return box('moov', whole.subarray(8, at), trak, whole.subarray(end))
  }
  const fragmented = (...extends_: Buffer[]) => box('moov', moov(0).subarray(8), box('mvex', ...extends_))
  const trex = (track: number, duration: number) =>
    box('trex', be(0, 4), be(track, 4), be(1, 4), be(duration, 4), be(0, 8))
  const moof = (...content: Buffer[]) => box('moof', box('mfhd', be(0, 8)), box('traf', ...content))
  const tfhd = (track: number, flags = 0, ...more: Buffer[]) =>
    box('tfhd', be(flags, 4), be(track, 4), ...more)
  const trun = (flags: number, count: number, ...more: Buffer[]) =>
    box('trun', be(flags, 4), be(count, 4), ...more)
  test.each<[string, Buffer[], number | undefined]>([
    ['a part is played', [edited(0, [2000, 0])], 2],
    ['two parts', [edited(0, [500, 0], [1000, 80])], 1.5],
    ['a pause before it', [edited(0, [500, undefined], [2000, 0])], 2],
    ['in eight bytes', [edited(1, [500, undefined], [2000, 0], [250, 9])], 2.25],
    ['more than there is', [edited(0, [9000, 0])], 3],
    ['nothing', [edited(0)], 3],
    ['fragments, each as long as the index says', [fragmented(trex(1, 1000)), moof(tfhd(1), trun(0, 8))], 1],
    [
      'two fragments',
      [fragmented(trex(1, 1000)), moof(tfhd(1), trun(0, 8)), mdat, moof(tfhd(1), trun(0, 4), trun(0, 4))],
      2,
    ],
    [
      'of another track',
      [fragmented(trex(2, 1000), trex(1, 500)), moof(tfhd(2), trun(0, 8)), moof(tfhd(1), trun(0, 8))],
      0.5,
    ],
    ['as long as the fragment says', [fragmented(trex(1, 1)), moof(tfhd(1, 8, be(2000, 4)), trun(0, 8))], 2],
    [
      'as long as the fragment says, behind a place and a description',
      [fragmented(trex(1, 1)), moof(tfhd(1, 11, be(7, 8), be(1, 4), be(2000, 4)), trun(0, 8))],
      2,
    ],
    ['each its own', [fragmented(trex(1, 1)), moof(tfhd(1), trun(0x100, 2, be(3000, 4), be(5000, 4)))], 1],
    [
      'each its own, sizes between, a place and flags before',
      [
        fragmented(trex(1, 1)),
        moof(tfhd(1), trun(0x305, 2, be(9, 4), be(9, 4), be(3000, 4), be(77, 4), be(5000, 4), be(77, 4))),
      ],
      1,
    ],
    [
      'as the index says',
      [fragmented(box('mehd', be(0, 4), be(5000, 4)), trex(1, 1000)), moof(tfhd(1), trun(0, 8))],
      5,
    ],
    ['as the index says in eight bytes', [fragmented(box('mehd', be(2 ** 24, 4), be(5000, 8)))], 5],
    ['no fragment', [fragmented(trex(1, 1000))], undefined],
  ])('%s', async (_what, boxes, seconds) => {
    const sound = await soundOf(Buffer.concat([ftyp, ...boxes, mdat]))
    expect(sound).toMatchObject({ container: 'mp4', coding: 'aac', sampleRate: 8000, channels: 1 })
    expect(sound?.duration).toBe(seconds)
  })
})

describe('formats of their own', () => {
  /** Fields of bits, lowest first. */
  const tak = (samples: bigint, rate: bigint, channels: bigint) => {
    const bits = (samples << 14n) | ((rate - 6000n) << 52n) | ((channels - 1n) << 75n)
    const bytes = Array.from({ length: 10 }, (_, i) => Number((bits >> BigInt(8 * i)) & 255n))
    return Buffer.concat([latin('tBaK\x01\x0a\0\0'), Buffer.from(bytes), Buffer.alloc(40)])
  }
  const tta = (channels: number, rate: number, samples: number) =>
    Buffer.concat([
      latin('TTA1'),
      ...[le(1, 2), le(channels, 2), le(16, 2), le(rate, 4), le(samples, 4)],
      Buffer.alloc(40),
    ])
  const amrWide = Buffer.concat([
    latin('#!AMR-WB\n'),
    ...Array.from({ length: 50 }, () => Buffer.concat([Buffer.from([0x14]), Buffer.alloc(32)])),
  ])
  const wavPack = (flags: number, ...more: number[]) =>
    Buffer.concat([
      ...[latin('wvpk'), le(24 + more.length, 4), le(0x0410, 2), le(0, 2), le(18_900, 4)],
      ...[le(0, 4), le(18_900, 4), le(flags, 4), le(0, 4), Buffer.from(more)],
    ])
  const musepack8 = (rate: number, channels: number) =>
    Buffer.concat([
      latin('MPCKSH\x0f'),
      Buffer.alloc(4),
      // version, samples and silence, seven bits a byte
      Buffer.from([8, 0x80 | (44_200 >> 14), 0x80 | ((44_200 >> 7) & 127), 44_200 & 127, 100]),
      Buffer.from([(rate << 5) | 31, ((channels - 1) << 4) | 8]),
      Buffer.alloc(60),
    ])
  const oldMonkeys = (version: number, compression: number) =>
    Buffer.concat([
      ...[latin('MAC '), le(version, 2), le(compression, 2), le(0, 2), le(2, 2), le(44_100, 4)],
      ...[le(0, 8), le(3, 4), le(4100, 4), Buffer.alloc(64)],
    ])
  test.each<[string, Buffer, object]>([
    ['TAK', tak(22_050n, 44_100n, 2n), { coding: 'tak', sampleRate: 44_100, channels: 2, duration: 0.5 }],
    [
      'TAK, long',
      tak(2n ** 34n, 96_000n, 6n),
      { sampleRate: 96_000, channels: 6, duration: 2 ** 34 / 96_000 },
    ],
    ['TAK, of unknown length', tak(0n, 44_100n, 1n), { channels: 1, duration: undefined }],
    ['AMR-WB', amrWide, { coding: 'amr_wb', sampleRate: 16_000, channels: 1, duration: 1, cut: undefined }],
    [
      'WavPack, a usual rate',
      wavPack((9 << 23) | 4),
      { sampleRate: 44_100, channels: 1, duration: 18_900 / 44_100 },
    ],
    [
      'WavPack, a rate of its own',
      wavPack(15 << 23, 0x67, 2, 0xa8, 0x93, 0, 0),
      { sampleRate: 37_800, channels: undefined, duration: 0.5 },
    ],
    [
      'WavPack, a rate of its own behind a wide entry',
      wavPack(15 << 23, 0x8a, 2, 0, 0, 9, 9, 9, 9, 0x67, 2, 0xa8, 0x93, 0, 0),
      { sampleRate: 37_800, duration: 0.5 },
    ],
    [
      'WavPack, DSD',
      wavPack(2 ** 31 + (9 << 23), 0x4e, 1, 3, 0),
      { sampleRate: 352_800, duration: 18_900 / 352_800 },
    ],
    [
      'TAK, another block first',
      Buffer.concat([latin('tBaK\x02\x0a\0\0'), Buffer.alloc(50, 7)]),
      { coding: 'tak', sampleRate: undefined },
    ],
    [
      'TAK, marked as the last block',
      tak(22_050n, 44_100n, 2n).fill(0x81, 4, 5),
      { sampleRate: 44_100, duration: 0.5 },
    ],
    [
      'TTA that says nothing',
      tta(0, 0, 0),
      { coding: 'tta', sampleRate: undefined, channels: undefined, duration: undefined },
    ],
    ['TTA of no samples', tta(2, 44_100, 0), { sampleRate: 44_100, channels: 2, duration: undefined }],
    [
      'AMR of no frame',
      latin('#!AMR\n'),
      { coding: 'amr_nb', sampleRate: 8000, channels: 1, duration: undefined, cut: undefined },
    ],
    ...[12.2, 10.2, 7.95, 7.4, 6.7, 5.9, 5.15, 4.75].map((kbps, i): [string, Buffer, object] => [
      `AMR of ${kbps} kbit/s (RFC 4867, 5.3: bits a frame, and a head)`,
      Buffer.concat([
        latin('#!AMR\n'),
        ...new Array(5).fill(
          Buffer.concat([Buffer.from([(7 - i) << 3]), Buffer.alloc(Math.ceil((kbps * 20) / 8))]),
        ),
      ]),
      { duration: 0.1, cut: undefined },
    ]),
    ...[23.85, 23.05, 19.85, 18.25, 15.85, 14.25, 12.65, 8.85, 6.6].map(
      (kbps, i): [string, Buffer, object] => [
        `AMR-WB of ${kbps} kbit/s`,
        Buffer.concat([
          latin('#!AMR-WB\n'),
          ...new Array(5).fill(
            Buffer.concat([Buffer.from([(8 - i) << 3]), Buffer.alloc(Math.ceil((kbps * 20) / 8))]),
          ),
        ]),
        { duration: 0.1, cut: undefined },
      ],
    ),
    [
      'AMR, silence told and not',
      Buffer.concat([latin('#!AMR\n'), Buffer.from([8 << 3, 1, 2, 3, 4, 5, 15 << 3])]),
      { duration: 0.04, cut: undefined },
    ],
    [
      'AMR-WB, silence told and not',
      Buffer.concat([latin('#!AMR-WB\n'), Buffer.from([9 << 3, 1, 2, 3, 4, 5, 15 << 3])]),
      { duration: 0.04, cut: undefined },
    ],
    ['WavPack, two channels', wavPack(9 << 23), { channels: undefined }],
    ...[
      6000, 8000, 9600, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200,
      96_000, 192_000,
    ].map((sampleRate, code): [string, Buffer, object] => [
      `WavPack of ${sampleRate} Hz`,
      wavPack(code << 23),
      { sampleRate },
    ]),
    ['WavPack, of no rate it says', wavPack(15 << 23), { sampleRate: undefined, duration: undefined }],
    ['WavPack, a rate of its own that is cut', wavPack(15 << 23, 0x67, 2, 0xa8), { sampleRate: 0xa8 }],
    [
      'WavPack, an entry of no content last',
      wavPack(15 << 23, 0x67, 2, 0xa8, 0x93, 0, 0, 0x0a, 0),
      { sampleRate: 37_800 },
    ],
    [
      'WavPack, a usual rate, whatever its entries say',
      wavPack(9 << 23, 0x67, 2, 0xa8, 0x93, 0, 0),
      { sampleRate: 44_100 },
    ],
    ['WavPack, PCM is not shifted', wavPack(9 << 23, 0x4e, 1, 3, 0), { sampleRate: 44_100 }],
    [
      'WavPack, more than 2 ** 32 samples',
      wavPack(9 << 23).fill(1, 11, 12),
      { duration: (18_900 + 2 ** 32 - 1) / 44_100 },
    ],
    [
      'WavPack of unknown length, rubble behind',
      Buffer.concat([wavPackBlock(22_050), Buffer.alloc(50, 7)]),
      { duration: 0.5, cut: undefined },
    ],
    [
      'WavPack of unknown length, cut',
      Buffer.concat([wavPackBlock(22_050), wavPackBlock(22_050).subarray(0, -5)]),
      { duration: 1, cut: 'the file ends 5 bytes before its last block does' },
    ],
    [
      'WavPack of unknown length, a second pair of channels',
      Buffer.concat([wavPackBlock(22_050), wavPackBlock(22_050).fill(0x10, 25, 26)]),
      { duration: 0.5 },
    ],
    ['WavPack of unknown length, without a block', wavPackBlock(0), { duration: undefined }],
    [
      'Musepack 7, 48 kHz, a last frame of 152 samples',
      musepack7(100, 1 << 16, 152 << 20),
      { sampleRate: 48_000, duration: (99 * 1152 + 152) / 48_000 },
    ],
    [
      'Musepack 7, 32 kHz, a last frame of all',
      musepack7(100, 3 << 16, 1152 << 20),
      { sampleRate: 32_000, duration: (100 * 1152) / 32_000 },
    ],
    [
      'Musepack 7, 37.8 kHz, a last frame of too many',
      musepack7(100, 2 << 16, 1999 << 20),
      { sampleRate: 37_800, duration: (100 * 1152) / 37_800 },
    ],
    ['Musepack 7, no frame', musepack7(0), { channels: 2, duration: undefined }],
    [
      'Musepack 8, another packet first',
      Buffer.concat([latin('MPCKRG\x0f'), Buffer.alloc(60)]),
      { coding: 'musepack8', channels: 2, sampleRate: undefined },
    ],
    ['Musepack 8, 37.8 kHz', musepack8(2, 2), { sampleRate: 37_800 }],
    ['Musepack 8, 32 kHz', musepack8(3, 2), { sampleRate: 32_000 }],
    [
      'Musepack 8, a number that has no end',
      Buffer.concat([latin('MPCKSH'), Buffer.alloc(70, 0xff)]),
      { coding: 'musepack8' },
    ],
    ["Monkey's Audio 3.98", monkeys(3980), { duration: 2.5, channels: 2, sampleRate: 44_100 }],
    [
      "Monkey's Audio, no frame",
      monkeys(3990).fill(0, 52, 80),
      { duration: undefined, channels: undefined, sampleRate: undefined },
    ],
    ['Musepack 8', musepack8(0, 2), { coding: 'musepack8', sampleRate: 44_100, channels: 2, duration: 1 }],
    ['Musepack 8, 48 kHz', musepack8(1, 1), { sampleRate: 48_000, channels: 1, duration: 44_100 / 48_000 }],
    ["Monkey's Audio 3.95", oldMonkeys(3950, 2000), { duration: (2 * 294_912 + 4100) / 44_100, channels: 2 }],
    ["Monkey's Audio 3.94", oldMonkeys(3949, 2000), { duration: (2 * 73_728 + 4100) / 44_100 }],
    ["Monkey's Audio 3.90", oldMonkeys(3900, 2000), { duration: (2 * 73_728 + 4100) / 44_100 }],
    ["Monkey's Audio 3.89", oldMonkeys(3899, 2000), { duration: (2 * 9216 + 4100) / 44_100 }],
    ["Monkey's Audio 3.80, extra high", oldMonkeys(3800, 4000), { duration: (2 * 73_728 + 4100) / 44_100 }],
    ["Monkey's Audio 3.79, extra high", oldMonkeys(3799, 4000), { duration: (2 * 9216 + 4100) / 44_100 }],
  ])('%s', async (_what, bytes, expected) => {
    expect(await soundOf(bytes)).toMatchObject(expected)
  })
})

describe('what a first frame says', () => {
  // Frames of 417 bytes; what it says counts itself.
  const said = (frames: number, bytes: number) => {
    const frame = xing(frames)
    frame.set(be(bytes, 4), 48)
    return frame
  }
  const silent = (frames: number) => {
    const frame = xing(frames)
    frame.set(be(1, 4), 40)
    return frame
  }
  test.each<[string, Buffer, number, string | undefined]>([
    ['as many bytes as there are', Buffer.concat([said(99, 41_700), mp3Frames(99)]), 99, undefined],
    ['no bytes', Buffer.concat([silent(50), mp3Frames(99)]), 50, undefined],
    [
      'as many bytes less as a second stream would hold',
      Buffer.concat([said(50, 41_700 - 65_535 + 41_700), mp3Frames(199)]),
      50,
      undefined,
    ],
    [
      'one byte less: gone through',
      Buffer.concat([said(50, 83_400 - 65_536), mp3Frames(199)]),
      200,
      undefined,
    ],
    ['4,096 bytes more than there are', Buffer.concat([said(99, 45_796), mp3Frames(99)]), 99, undefined],
    [
      '4,097',
      Buffer.concat([said(99, 45_797), mp3Frames(99)]),
      99,
      'the file ends 4097 bytes before its frames do',
    ],
    // 41,700 bytes at 500 a second are 83.4 s.
    [
      'as many frames as a second of 4 kbit holds',
      Buffer.concat([said(3192, 41_700), mp3Frames(99)]),
      3192,
      undefined,
    ],
    ['one more: gone through', Buffer.concat([said(3193, 41_700), mp3Frames(99)]), 100, undefined],
  ])('%s', async (_what, bytes, frames, cut) => {
    const sound = await soundOf(bytes)
    expect(sound?.duration).toBeCloseTo(mp3Seconds(frames), 6)
    expect(sound?.cut).toBe(cut)
  })
  test('is believed of MPEG alone', async () => {
    const bytes = Buffer.concat([xing(50), mp3Frames(99)])
    const adts = { container: 'adts', contentType: 'audio/aac', extension: 'aac', start: 0 } as const
    expect((await readSound(fileOf(bytes), adts)).duration).toBeCloseTo(mp3Seconds(100), 6)
    expect(await readSound(fileOf(Buffer.alloc(900, 7)), adts)).toEqual({ start: 0, end: 900 })
  })
})

describe('where nothing but tags is', () => {
  const nothing = (size: number) => ({
    start: size,
    end: size,
    unusable: 'the file ends within its tag, before any sound',
  })
  test('the sound is said to be missing', async () => {
    expect(await readAt(tag)).toMatchObject(nothing(tag.length))
    expect(await readAt(tag.subarray(0, -3))).toMatchObject(nothing(tag.length - 3))
    const late = { ...flacFile, start: 9 }
    expect(await readSound(fileOf(Buffer.alloc(9)), late)).toMatchObject(nothing(9))
    expect(await readSound(fileOf(Buffer.alloc(10)), late)).toEqual({ start: 9, end: 10, coding: 'flac' })
  })
  test('what begins within the tags behind it goes on to the end', async () => {
    const late = { container: 'asf', contentType: 'audio/x-ms-wma', extension: 'wma', start: 300 } as const
    expect(await readSound(fileOf(Buffer.concat([Buffer.alloc(290), behind])), late)).toEqual({
      start: 300,
      end: 418,
    })
    expect(await readSound(fileOf(Buffer.concat([Buffer.alloc(300), behind])), late)).toEqual({
      start: 300,
      end: 300,
    })
    expect(await readSound(fileOf(Buffer.concat([Buffer.alloc(310), behind])), late)).toEqual({
      start: 300,
      end: 310,
    })
  })
})

describe('FLAC', () => {
  const stream = (total: number | undefined, ...blocks: [number, Buffer][]) =>
    flac([tone(9000, 16)], { blockSize: 4096, blocks, ...(total === undefined ? {} : { total }) })
  /** A head of a frame whose blocks vary: its number is that of its first sample. */
  const varying = (number: number[]) => {
    const head = [0xff, 0xf9, 0x70, 0x00, ...number, 0x00, 0x63]
    let crc = 0
    for (const byte of head) {
      crc ^= byte
      for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 0x80 ? 0x107 : 0)) & 0x1ff
    }
    return Buffer.from([...head, crc, 0, 0])
  }
  test.each<[string, Buffer, object]>([
    ['as many samples as it says', stream(9000), { duration: 1.125, sampleRate: 8000, channels: 1 }],
    ['more than four bytes of them', stream(2 ** 33), { duration: 2 ** 33 / 8000 }],
    ['none said: those of its last frame', stream(0), { duration: 1.125 }],
    [
      'none said, the last frame behind rubble',
      Buffer.concat([stream(0), Buffer.alloc(50, 0xff)]),
      { duration: 1.125 },
    ],
    [
      'none said, blocks that vary',
      Buffer.concat([stream(0), varying([0xc4, 0x80])]),
      { duration: (256 + 100) / 8000 },
    ],
    [
      'none said, a head of another rate',
      Buffer.concat([stream(0), Buffer.from('fff8c918001b', 'hex')]),
      { duration: 1.125 },
    ],
    ['no frame', stream(0).subarray(0, 42), { duration: undefined }],
    ['eight channels', flac(new Array(8).fill(tone(64, 16))), { channels: 8 }],
    [
      '20 bits',
      flac([tone(64, 20)], { bits: 20, sampleRate: 96_000, total: 0 }),
      { sampleRate: 96_000, duration: 64 / 96_000 },
    ],
    ['no rate', flac([tone(64, 16)], { sampleRate: 0 }), { sampleRate: undefined, duration: undefined }],
    [
      'a first block of another kind',
      Buffer.concat([latin('fLaC\x01\0\0\x02xx'), stream(9000).subarray(4)]),
      { duration: 1.125 },
    ],
  ])('%s', async (_what, bytes, expected) => {
    expect(await readSound(fileOf(bytes), flacFile)).toMatchObject({
      coding: 'flac',
      start: 0,
      end: bytes.length,
      ...expected,
    })
  })
  test('the last frame is looked for in no more than 1 MiB', async () => {
    const one = stream(0)
    const far = async (length: number) =>
      (await readSound(fileOf(Buffer.concat([one, Buffer.alloc(length)]), 2 ** 20), flacFile)).duration
    const last = one.length - one.lastIndexOf(Buffer.from('fff87000', 'hex'))
    expect(await far(2 ** 20 - last - 1)).toBe(1.125)
    expect(await far(2 ** 20 - last)).toBeUndefined()
  })
  test('its metadata blocks', async () => {
    const { flacBlocks } = await import('../../../../src/core/containers/flac.ts')
    const bytes = Buffer.concat([
      Buffer.alloc(7),
      latin('fLaC\x01\0\0\x02xx\x84\0\x01\x00'),
      Buffer.alloc(256),
      latin('frame'),
    ])
    const blocks = [
      { type: 1, start: 15, end: 17 },
      { type: 4, start: 21, end: 277 },
    ]
    expect(await flacBlocks(fileOf(bytes), 7, bytes.length)).toEqual({ blocks, frames: 277, isBroken: false })
    expect(await flacBlocks(fileOf(bytes), 7, 277)).toEqual({ blocks, frames: 277, isBroken: false })
    for (const end of [276, 20])
      expect(await flacBlocks(fileOf(bytes.subarray(0, end)), 7, end)).toEqual({
        blocks: blocks.slice(0, 1),
        frames: 17,
        isBroken: true,
      })
    const forbidden = Buffer.concat([latin('fLaC\xff\0\0\0'), Buffer.alloc(9)])
    expect(await flacBlocks(fileOf(forbidden), 0, 17)).toEqual({ blocks: [], frames: 4, isBroken: true })
    const many = Buffer.concat([latin('fLaC'), Buffer.alloc(4 * 1030)])
    const found = await flacBlocks(fileOf(many), 0, many.length)
    expect([found.blocks.length, found.frames, found.isBroken]).toEqual([1024, 4 + 4 * 1024, true])
  })
})

describe('tags behind the sound', () => {
  const frames = mp3Frames(20)
  const lyrics = latin(`LYRICSBEGIN${'la '.repeat(1000)}LYRICSEND`)
  const footed = Buffer.concat([
    id3v2(4, [{ id: 'TIT2', content: latin1('Title') }], { flags: 0x10 }),
    latin('3DI\x04\0\x10\0\0\0\x10'),
  ])
  test.each<[string, Buffer]>([
    ['an enhanced ID3v1', Buffer.concat([latin('TAG+'), Buffer.alloc(223), behind])],
    ['Lyrics3 of version 1', Buffer.concat([lyrics, behind])],
    ['ID3v2 with a footer', footed],
    ['ID3v2 with a footer, and ID3v1', Buffer.concat([footed, behind])],
  ])('%s', async (_what, tags) => {
    const sound = await soundOf(Buffer.concat([frames, tags]))
    expect(sound).toMatchObject({ start: 0, end: frames.length })
    expect(sound?.cut).toBeUndefined()
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

function musepack7(frames: number, rate = 0, last = 0): Buffer {
  return Buffer.concat([
    latin('MP+'),
    Buffer.from([7]),
    le(frames, 4),
    le(rate, 4),
    le(0, 8),
    le(last, 4),
    Buffer.alloc(44),
  ])
}
