/** Containers of chunks where they are odd: sizes that are not known, codings in disguise, texts. */
import { describe, expect, test } from 'vitest'
import { readSound } from '../../../../src/core/containers/read.ts'
import { locateAudio } from '../../../../src/core/content-type.ts'
import {
  aiff,
  be,
  cafFormat,
  cafOf,
  dsdiff,
  evenChunk,
  iffChunk,
  latin,
  le,
  riffChunk,
  riffInfo,
  w64,
  w64Chunk,
  wave,
  wideChunk,
} from '../../../support/audio-bytes.ts'
import { fileOf } from '../../../support/byte-source.ts'

async function soundOf(bytes: Buffer, most?: number) {
  const file = fileOf(bytes, most)
  return readSound(file, (await locateAudio(file))!)
}
const data = Buffer.alloc(1600)
const fmt = ({ tag = 1, channels = 1, rate = 8000, block = 2, bits = 16, more = Buffer.alloc(0) } = {}) =>
  riffChunk(
    'fmt ',
    Buffer.concat([
      le(tag, 2),
      le(channels, 2),
      le(rate, 4),
      le(rate * block, 4),
      le(block, 2),
      le(bits, 2),
      more,
    ]),
  )
const riff = (...chunks: Buffer[]) => Buffer.concat([latin('RIFF\0\0\0\0WAVE'), ...chunks])
const info = riffInfo({ INAM: latin('x') })
/** A chunk that claims a size of its own. */
const claiming = (id: string, size: number, content: Buffer) =>
  Buffer.concat([latin(id), le(size, 4), content])

describe('WAVE', () => {
  test.each<[string, Buffer, object]>([
    [
      '20 bits in four bytes',
      riff(fmt({ block: 4, bits: 20 }), riffChunk('data', data)),
      { pcm: { layout: { bytes: 4 } } },
    ],
    [
      'samples of which nobody knows how many, that look like chunks',
      riff(fmt(), claiming('data', 0, Buffer.concat([info, data]))),
      { texts: [] },
    ],
    [
      'samples of which nobody knows how many',
      riff(fmt(), claiming('data', 0, data)),
      { duration: 0.1, cut: undefined },
    ],
    ['the largest size', riff(fmt(), claiming('data', 0xffff_ffff, data)), { duration: 0.1, cut: undefined }],
    [
      'the largest size, less a head',
      riff(fmt(), claiming('data', 0xffff_ff00, data)),
      { duration: 0.1, cut: undefined },
    ],
    [
      'the largest size that is one',
      riff(fmt(), claiming('data', 0xffff_feff, data)),
      { cut: expect.stringMatching(/^the file ends \d+ bytes before its samples do$/) },
    ],
    [
      'the largest size with a sign',
      riff(fmt(), claiming('data', 0x7fff_ffff, data)),
      { duration: 0.1, cut: undefined },
    ],
    [
      'the largest size with a sign, less a head',
      riff(fmt(), claiming('data', 0x7fff_ff00, data)),
      { duration: 0.1, cut: undefined },
    ],
    ['less than that', riff(fmt(), claiming('data', 0x7fff_feff, data)), { cut: expect.any(String) }],
    ['more than that', riff(fmt(), claiming('data', 0x8000_0000, data)), { cut: expect.any(String) }],
    [
      'cut by a byte',
      riff(fmt(), claiming('data', 1601, data)),
      { duration: 0.1, cut: 'the file ends 1 bytes before its samples do' },
    ],
    ['no samples at all', riff(fmt(), riffChunk('data', Buffer.alloc(0))), { duration: undefined }],
    [
      'twice samples: the first',
      riff(fmt(), riffChunk('data', data), riffChunk('data', Buffer.alloc(10))),
      { duration: 0.1 },
    ],
    [
      'texts before and behind',
      riff(info, fmt(), info, riffChunk('data', data), info),
      { duration: 0.1, texts: [{ id: 'LIST' }, { id: 'LIST' }, { id: 'LIST' }] },
    ],
    [
      'no rate',
      riff(fmt({ rate: 0 }), riffChunk('data', data)),
      { sampleRate: undefined, duration: undefined, pcm: undefined },
    ],
    [
      'no channels',
      riff(fmt({ channels: 0, block: 2 }), riffChunk('data', data)),
      { channels: undefined, pcm: undefined },
    ],
    [
      'a block that its channels do not share: by its bits',
      riff(fmt({ channels: 2, block: 5, bits: 16 }), riffChunk('data', data)),
      { pcm: { layout: { bytes: 2 } } },
    ],
    [
      '12 bits in two bytes',
      riff(fmt({ bits: 12 }), riffChunk('data', data)),
      { pcm: { layout: { bytes: 2 } } },
    ],
    [
      'five bytes a sample',
      riff(fmt({ block: 5, bits: 40 }), riffChunk('data', data)),
      { pcm: undefined, coding: 'wave 0x1' },
    ],
    [
      'extensible, its coding cut off',
      riff(fmt({ tag: 0xfffe }), riffChunk('data', data)),
      { coding: 'wave 0xfffe', pcm: undefined },
    ],
    [
      'extensible, no more than its coding',
      riff(
        fmt({ tag: 0xfffe, more: Buffer.concat([le(8, 2), le(0, 6), le(1, 2)]) }),
        riffChunk('data', data),
      ),
      { coding: 'pcm' },
    ],
    [
      'not extensible, though it could be',
      riff(fmt({ more: Buffer.concat([le(8, 2), le(0, 6), le(3, 2)]) }), riffChunk('data', data)),
      { pcm: { layout: { encoding: 'signed' } } },
    ],
    ...[2, 0x11, 0x31, 0x42].map((tag): [string, Buffer, object] => [
      `packed blocks of 0x${tag.toString(16)}`,
      riff(
        fmt({ tag, block: 256, bits: 4, more: Buffer.concat([le(2, 2), le(505, 2)]) }),
        riffChunk('data', data),
      ),
      { coding: `wave 0x${tag.toString(16)}`, duration: (6 * 505) / 8000 },
    ]),
    [
      'packed blocks of which it does not say how many samples they hold',
      riff(fmt({ tag: 2, block: 256, bits: 4 }), riffChunk('data', data)),
      { duration: undefined },
    ],
    [
      'packed blocks of a kind that is not known',
      riff(
        fmt({ tag: 0x55, block: 1, more: Buffer.concat([le(2, 2), le(505, 2)]) }),
        riffChunk('data', data),
      ),
      { duration: undefined },
    ],
    [
      'packed, and counted',
      riff(fmt({ tag: 0x55, block: 1 }), riffChunk('fact', le(4000, 4)), riffChunk('data', data)),
      { duration: 0.5 },
    ],
    [
      'packed, and counted as none',
      riff(
        fmt({ tag: 2, block: 256, more: Buffer.concat([le(2, 2), le(505, 2)]) }),
        riffChunk('fact', le(0, 4)),
        riffChunk('data', data),
      ),
      { duration: (6 * 505) / 8000 },
    ],
    [
      'counted, though not packed',
      riff(fmt(), riffChunk('fact', le(4000, 4)), riffChunk('data', data)),
      { duration: 0.1 },
    ],
    [
      'counted before its format',
      riff(riffChunk('fact', le(4000, 4)), fmt({ tag: 0x55 }), riffChunk('data', data)),
      { duration: undefined },
    ],
    ['no format, no samples', riff(info), { unusable: 'it has no samples' }],
    ['a format behind the samples', riff(riffChunk('data', data), fmt()), { duration: 0.1 }],
    [
      'a head that is cut',
      Buffer.concat([riff(fmt(), riffChunk('data', data)), latin('LIST\0\0\0')]),
      { duration: 0.1, texts: [] },
    ],
    [
      'a chunk of nothing at the end',
      riff(fmt(), riffChunk('data', data), riffChunk('LIST', Buffer.alloc(0))),
      { texts: [{ id: 'LIST', start: 1652, end: 1652 }] },
    ],
    [
      'a chunk of text that is cut',
      riff(fmt(), riffChunk('data', data), info.subarray(0, -4)),
      { texts: [{ id: 'LIST', start: 1652, end: 1662 }] },
    ],
  ])('%s', async (_what, bytes, expected) => {
    expect(await soundOf(bytes, 65_536)).toMatchObject(expected)
  })

  const ds64 = (size: number) => riffChunk('ds64', Buffer.concat([le(0, 8), le(size, 8), le(0, 8), le(0, 4)]))
  test.each<[string, Buffer, object]>([
    [
      'BW64',
      Buffer.concat([
        latin('BW64\xff\xff\xff\xffWAVE'),
        ds64(801),
        fmt(),
        claiming('data', 0xffff_ffff, data),
      ]),
      { duration: 0.05 },
    ],
    [
      'a text behind an odd number of bytes',
      Buffer.concat([
        latin('RF64\xff\xff\xff\xffWAVE'),
        ds64(801),
        fmt(),
        claiming('data', 0xffff_ffff, data.subarray(0, 802)),
        info,
      ]),
      { texts: [{ id: 'LIST' }] },
    ],
    [
      'a text behind an even one',
      Buffer.concat([
        latin('RF64\xff\xff\xff\xffWAVE'),
        ds64(802),
        fmt(),
        claiming('data', 0xffff_ffff, data.subarray(0, 802)),
        info,
      ]),
      { texts: [{ id: 'LIST' }] },
    ],
    [
      'a size of four bytes that is one',
      Buffer.concat([latin('RF64\xff\xff\xff\xffWAVE'), ds64(801), fmt(), claiming('data', 1600, data)]),
      { duration: 0.1 },
    ],
    [
      'no size of eight bytes',
      Buffer.concat([latin('RF64\xff\xff\xff\xffWAVE'), fmt(), claiming('data', 0xffff_ffff, data)]),
      { duration: 0.1, cut: undefined },
    ],
    [
      'sizes of eight bytes in what is no RF64',
      riff(ds64(801), fmt(), claiming('data', 0xffff_ffff, data)),
      { duration: 0.1 },
    ],
    [
      'cut',
      Buffer.concat([
        latin('RF64\xff\xff\xff\xffWAVE'),
        ds64(1603),
        fmt(),
        claiming('data', 0xffff_ffff, data),
      ]),
      { cut: 'the file ends 3 bytes before its samples do' },
    ],
  ])('of eight bytes: %s', async (_what, bytes, expected) => {
    expect(await soundOf(bytes)).toMatchObject(expected)
  })
})

describe('another coding that is called plain samples', () => {
  const burst = (word: string, ...places: number[]) => {
    const bytes = Buffer.alloc(70_000, 0x11)
    for (const at of places) bytes.set(Buffer.from(word, 'hex'), at)
    return bytes
  }
  test.each<[string, Buffer, string]>([
    ['IEC 61937', burst('72f81f4e', 0, 6144, 12_288), 'iec61937'],
    ['DTS of 16 bits', burst('fe7f0180', 100, 1124, 2148), 'dts'],
    ['DTS of 16 bits, the other way round', burst('7ffe8001', 0, 2048, 4096, 9000), 'dts'],
    ['DTS of 14 bits', burst('ff1f00e8', 0, 4096, 8192), 'dts'],
    ['two bursts', burst('72f81f4e', 0, 6144), 'pcm'],
    ['three that are not as far from each other', burst('72f81f4e', 0, 6144, 12_290), 'pcm'],
    ['a fourth that is, behind three that are not', burst('72f81f4e', 0, 10, 6144, 12_278), 'pcm'],
    ['the third behind what is looked at', burst('72f81f4e', 0, 32_768, 65_536), 'pcm'],
    ['none', burst('72f81f4e'), 'pcm'],
  ])('%s', async (_what, samples, coding) => {
    const sound = await soundOf(wave(samples, { channels: 2 }))
    expect(sound.coding).toBe(coding)
    expect(sound.unusable).toBeUndefined()
    expect(sound.pcm === undefined).toBe(coding !== 'pcm')
  })
  test('WavPack before version 4', async () => {
    expect(await soundOf(wave(Buffer.concat([latin('wvpk'), data])))).toMatchObject({
      coding: 'wavpack3',
      pcm: undefined,
      unusable: 'it is packed by a WavPack before version 4',
    })
  })
})

describe('AIFF', () => {
  const form = (...chunks: Buffer[]) => Buffer.concat([latin('FORM'), be(0, 4), latin('AIFF'), ...chunks])
  const common = (rate: Buffer, channels = 1) =>
    iffChunk('COMM', Buffer.concat([be(channels, 2), be(800, 4), be(16, 2), rate]))
  const rate = Buffer.from('400bfa00000000000000', 'hex')
  const samples = (offset: number, content = data) =>
    iffChunk('SSND', Buffer.concat([be(offset, 4), be(0, 4), Buffer.alloc(offset), content]))
  test.each<[string, Buffer, object]>([
    [
      'cut',
      form(common(rate), samples(0)).subarray(0, -100),
      { duration: 0.1, cut: 'the file ends 100 bytes before its samples do' },
    ],
    ['samples', form(common(rate), samples(0)), { duration: 0.1, pcm: { start: 54, end: 1654 } }],
    ['samples further on', form(common(rate), samples(6)), { duration: 0.1, pcm: { start: 60, end: 1660 } }],
    [
      'samples beyond the end',
      form(common(rate), iffChunk('SSND', Buffer.concat([be(999, 4), be(0, 4)]))),
      { duration: undefined },
    ],
    [
      'of which nobody knows how many',
      form(common(rate), Buffer.concat([latin('SSND'), be(0, 12), data])),
      { duration: 0.1, cut: undefined },
    ],
    [
      'of which nobody knows how many but their head',
      form(common(rate), Buffer.concat([latin('SSND'), be(8, 4), be(0, 8), data])),
      { duration: 0.1, cut: undefined },
    ],
    [
      'a few',
      form(common(rate), Buffer.concat([latin('SSND'), be(10, 4), be(0, 8), data.subarray(0, 2)])),
      { duration: 1 / 8000 },
    ],
    [
      'twice samples: the first',
      form(common(rate), samples(0), samples(0, Buffer.alloc(10))),
      { duration: 0.1 },
    ],
    [
      'a rate that is none',
      form(common(Buffer.from('7ffffa00000000000000', 'hex')), samples(0)),
      { sampleRate: undefined, duration: undefined },
    ],
    [
      'a rate of 2 GHz',
      form(common(Buffer.from('401e8000000000000000', 'hex')), samples(0)),
      { sampleRate: undefined },
    ],
    [
      'a rate that is no whole number',
      form(common(Buffer.from('400bfa00c00000000000', 'hex')), samples(0)),
      { sampleRate: 8000 },
    ],
    [
      'a format that is cut',
      form(iffChunk('COMM', Buffer.alloc(17)), samples(0)),
      { unusable: 'it does not say what format its samples have' },
    ],
    ['packed, counted as none', aiff(Buffer.alloc(0), { compression: 'ima4' }), { duration: undefined }],
    ['a coding that a blank ends', aiff(data, { compression: 'MAC ' }), { coding: 'MAC' }],
    [
      'texts',
      form(
        common(rate),
        samples(0),
        ...['AUTH', '(c) ', 'ID3 ', 'APPL'].map(id => iffChunk(id, latin('xx'))),
      ),
      { texts: [{ id: 'AUTH' }, { id: '(c) ' }, { id: 'ID3 ' }] },
    ],
  ])('%s', async (_what, bytes, expected) => {
    expect(await soundOf(bytes)).toMatchObject(expected)
  })
  test('no more texts than are looked at', async () => {
    const many = new Array(70).fill(iffChunk('ANNO', latin('xx')))
    expect((await soundOf(form(common(rate), samples(0), ...many))).texts).toHaveLength(64)
  })
  test('no more chunks than are looked at', async () => {
    const many = (count: number) => new Array(count).fill(iffChunk('APPL', Buffer.alloc(0)))
    expect(await soundOf(form(common(rate), ...many(4094), samples(0)))).toMatchObject({ duration: 0.1 })
    expect(await soundOf(form(common(rate), ...many(4095), samples(0)))).toMatchObject({
      unusable: 'it has no samples',
    })
  })
})

describe('CAF', () => {
  const desc = (type: string, { flags = 0, block = 2, frames = 1, channels = 1 } = {}) =>
    cafFormat(type, flags, block, frames, channels, 16)
  const samples = wideChunk('data', Buffer.concat([be(0, 4), data]))
  const pakt = (packets: number, valid: number | Buffer) =>
    wideChunk(
      'pakt',
      Buffer.concat([be(packets, 8), Buffer.isBuffer(valid) ? valid : be(valid, 8), be(0, 8)]),
    )
  test.each<[string, Buffer, object]>([
    [
      'samples',
      cafOf(desc('lpcm'), samples),
      { duration: 0.1, coding: 'pcm', pcm: { start: 68, end: 1668 } },
    ],
    [
      'samples and a text behind',
      cafOf(desc('lpcm'), samples, wideChunk('info', be(0, 4))),
      { duration: 0.1, texts: [{ id: 'info' }] },
    ],
    ['no channels', cafOf(desc('lpcm', { channels: 0 }), samples), { channels: undefined, pcm: undefined }],
    [
      'packets of one size',
      cafOf(desc('alac', { block: 160, frames: 400 }), samples),
      { coding: 'alac', duration: 0.5 },
    ],
    [
      'packets of any size, counted',
      cafOf(desc('aac ', { block: 0, frames: 1024 }), pakt(4, 0), samples),
      { coding: 'aac', duration: 0.512 },
    ],
    [
      'packets, and how many samples of them count',
      cafOf(desc('aac ', { block: 0, frames: 1024 }), pakt(4, 4000), samples),
      { duration: 0.5 },
    ],
    [
      'packets, and a number of samples that is none',
      cafOf(desc('aac ', { block: 0, frames: 1024 }), pakt(4, Buffer.alloc(8, 0xff)), samples),
      { duration: 0.512 },
    ],
    [
      'packets that nobody counted',
      cafOf(desc('aac ', { block: 0, frames: 1024 }), pakt(0, 0), samples),
      { duration: undefined },
    ],
    [
      'half of a count',
      cafOf(desc('aac ', { block: 0, frames: 1024 }), wideChunk('pakt', be(4, 16)), samples),
      { duration: undefined },
    ],
    [
      'a format that is cut',
      cafOf(wideChunk('desc', Buffer.alloc(31)), samples),
      { unusable: 'it does not say what format its samples have' },
    ],
    [
      'no samples but the count of edits',
      cafOf(desc('lpcm'), wideChunk('data', be(0, 4))),
      { duration: undefined, cut: undefined },
    ],
    ['not even that', cafOf(desc('lpcm'), wideChunk('data', be(0, 4), 3)), { cut: undefined }],
    [
      'cut',
      cafOf(desc('lpcm'), samples.subarray(0, -7)),
      { duration: 0.1, cut: 'the file ends 7 bytes before its samples do' },
    ],
  ])('%s', async (_what, bytes, expected) => {
    expect(await soundOf(bytes)).toMatchObject(expected)
  })
})

describe('Wave64', () => {
  const format = w64Chunk('fmt ', wave(data).subarray(20, 36))
  test.each<[string, Buffer, object]>([
    ['samples', w64(format, w64Chunk('data', data)), { duration: 0.1, pcm: { start: 104, end: 1704 } }],
    [
      'a chunk that claims less than its head before',
      w64(w64Chunk('junk', Buffer.alloc(0), 5), format, w64Chunk('data', data)),
      { duration: 0.1 },
    ],
    [
      'an odd chunk before',
      w64(w64Chunk('junk', Buffer.alloc(3)), format, w64Chunk('data', data)),
      { duration: 0.1 },
    ],
    [
      'of which nobody knows how many',
      w64(
        format,
        Buffer.concat([w64Chunk('data', Buffer.alloc(0)).subarray(0, 16), Buffer.alloc(8, 0xff), data]),
      ),
      { duration: 0.1, cut: undefined },
    ],
    ['no samples', w64(format), { unusable: 'it has no samples' }],
    [
      'twice samples: the first',
      w64(format, w64Chunk('data', data), w64Chunk('data', Buffer.alloc(16))),
      { duration: 0.1 },
    ],
  ])('%s', async (_what, bytes, expected) => {
    expect(await soundOf(bytes)).toMatchObject(expected)
  })
})

describe('DSDIFF', () => {
  const property = (...parts: Buffer[]) => evenChunk('PROP', Buffer.concat([latin('SND '), ...parts]))
  const rate = evenChunk('FS  ', be(2_822_400, 4))
  const channels = evenChunk('CHNL', Buffer.concat([be(2, 2), latin('SLFTSRGT')]))
  const samples = evenChunk('DSD ', Buffer.alloc(7056))
  const packed = (frames: number, perSecond: number, id = 'FRTE') =>
    evenChunk(
      'DST ',
      Buffer.concat([
        evenChunk(id, Buffer.concat([be(frames, 4), be(perSecond, 2)])),
        evenChunk('DSTF', Buffer.alloc(4)),
      ]),
    )
  test.each<[string, Buffer, object]>([
    [
      'samples',
      dsdiff(property(rate, channels), samples),
      { duration: 0.01, channels: 2, sampleRate: 2_822_400, texts: [] },
    ],
    ['no rate', dsdiff(property(channels), samples), { duration: undefined, sampleRate: undefined }],
    ['no channels', dsdiff(property(rate), samples), { duration: undefined, channels: undefined }],
    ['packed', dsdiff(property(rate, channels), packed(150, 75)), { duration: 2 }],
    ['packed, of no rate', dsdiff(property(rate, channels), packed(150, 0)), { duration: 2 }],
    ['packed, of another', dsdiff(property(rate, channels), packed(150, 50)), { duration: 3 }],
    ['packed, uncounted', dsdiff(property(rate, channels), packed(150, 50, 'DSTF')), { duration: undefined }],
    [
      'cut',
      dsdiff(property(rate, channels), samples).subarray(0, -1),
      { cut: 'the file ends 1 bytes before its samples do' },
    ],
    [
      'texts: of its own list each, and others',
      dsdiff(
        property(rate, channels, evenChunk('ID3 ', latin('xx'))),
        samples,
        evenChunk('DIIN', Buffer.concat([evenChunk('DITI', latin('xx')), evenChunk('DIAR', latin('yy'))])),
        evenChunk('COMT', latin('zz')),
      ),
      {
        duration: 0.01,
        cut: undefined,
        texts: [{ id: 'ID3 ' }, { id: 'DITI' }, { id: 'DIAR' }, { id: 'COMT' }],
      },
    ],
  ])('%s', async (_what, bytes, expected) => {
    expect(await soundOf(bytes)).toMatchObject(expected)
  })
})
