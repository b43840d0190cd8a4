/** Heads of frames, by the tables of their standards: MPEG audio, ADTS, AC-3, E-AC-3, DTS. */
import { describe, expect, test } from 'vitest'
import { frameAt, frameChain, frameTotals } from '../../../../src/core/containers/frames.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const frame = (text: string) => frameAt(hex(text), 0)

describe('MPEG audio (ISO/IEC 11172-3, 2.4.2.3; 13818-3)', () => {
  test.each([
    ['ff fb 90 64', 'mp3', 44_100, 2, 1152, 417],
    ['ff fb 92 64', 'mp3', 44_100, 2, 1152, 418],
    ['ff fa 90 64', 'mp3', 44_100, 2, 1152, 417],
    ['ff fb e4 c0', 'mp3', 48_000, 1, 1152, 960],
    ['ff fb 18 80', 'mp3', 32_000, 2, 1152, 144],
    ['ff fd 98 00', 'mp2', 32_000, 2, 1152, 720],
    ['ff ff 90 00', 'mp1', 44_100, 2, 384, 312],
    ['ff ff 92 00', 'mp1', 44_100, 2, 384, 316],
    ['ff f3 80 c0', 'mp3', 22_050, 1, 576, 208],
    ['ff f5 84 00', 'mp2', 24_000, 2, 1152, 384],
    ['ff f7 88 00', 'mp1', 16_000, 2, 384, 384],
    ['ff e3 44 00', 'mp3', 12_000, 2, 576, 192],
    ['ff e5 44 00', 'mp2', 12_000, 2, 1152, 384],
  ])('%s: %s, %i Hz', (head, coding, sampleRate, channels, samples, length) => {
    expect(frame(head)).toMatchObject({ coding, sampleRate, channels, samples, length })
  })

  test.each([
    ['ff', 'mp1', [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448]],
    ['fd', 'mp2', [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384]],
    ['fb', 'mp3', [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]],
    ['f7', 'mp1', [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256]],
    ['f5', 'mp2', [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]],
    ['f3', 'mp3', [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]],
  ])('bit rates of %s (%s)', (kind, coding, kbps) => {
    // 32 kHz, or 16: a frame of so many samples holds so many bytes at one bit a second.
    const lengths = kbps.map((_, i) => frame(`ff ${kind} ${(i + 1).toString(16)}8 00`))
    const half = kind.startsWith('f') && ['f7', 'f5', 'f3'].includes(kind)
    const samples = coding === 'mp1' ? 384 : coding === 'mp3' && half ? 576 : 1152
    const rate = half ? 16 : 32
    expect(lengths.map(one => one?.length)).toEqual(kbps.map(rated => (samples / 8 / rate) * rated))
    expect(new Set(lengths.map(one => one?.coding))).toEqual(new Set([coding]))
  })

  test.each([
    ['a version that is reserved', 'ff eb 90 00'],
    ['a layer that is reserved', 'ff e1 90 00'],
    ['a sampling rate that is reserved', 'ff fb 9c 00'],
    ['a bit rate that is forbidden', 'ff fb f0 00'],
    ['free format', 'ff fb 00 00'],
    ['an emphasis that is reserved', 'ff fb 90 02'],
    ['ten bits of a sync word', 'ff db 90 00'],
    ['another first byte', 'fe fb 90 00'],
    ['three bytes', 'ff fb 90'],
  ])('none: %s', (_what, head) => {
    expect(frame(head)).toBeUndefined()
  })

  test('frames of one stream differ in bit rate, not in version, layer or sampling rate', () => {
    const kinds = ['ff fb 90 64', 'ff fb 10 c4', 'ff fb 94 64', 'ff fd 90 64', 'ff f3 90 64']
    const [first, ...others] = kinds.map(head => frame(head)?.kind)
    expect(others.map(kind => kind === first)).toEqual([true, false, false, false])
  })
})

describe('ADTS (ISO/IEC 14496-3, 1.A.3.2)', () => {
  test.each([
    ['ff f1 50 80 2e 7f fc', 44_100, 2, 1024, 371],
    ['ff f9 50 40 2e 7f fc', 44_100, 1, 1024, 371],
    ['ff f1 51 80 00 e0 fc', 44_100, 6, 1024, 7],
    ['ff f1 51 c0 00 e0 ff', 44_100, 8, 4096, 7],
    ['ff f1 4c 83 ff ff fd', 48_000, 2, 2048, 8191],
  ])('%s', (head, sampleRate, channels, samples, length) => {
    expect(frame(head)).toMatchObject({ coding: 'adts', sampleRate, channels, samples, length })
  })
  test('sampling rates (table 1.18)', () => {
    const rates = Array.from({ length: 16 }, (_, i) =>
      frame(`ff f1 ${(0x40 | (i << 2)).toString(16)} 80 2e 7f fc`),
    )
    expect(rates.map(one => one?.sampleRate)).toEqual([
      ...[96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350],
      ...[undefined, undefined, undefined],
    ])
  })
  test.each([
    ['shorter than its head', 'ff f1 50 80 00 df fc'],
    ['six bytes', 'ff f1 50 80 2e 7f'],
  ])('none: %s', (_what, head) => {
    expect(frame(head)).toBeUndefined()
  })
})

describe('AC-3 (ETSI TS 102 366, table 4.13) and E-AC-3 (E.1.2)', () => {
  test.each([
    // frmsizecod 0, 28, 37: words at 48, 44.1 and 32 kHz
    ['00', 48_000, 64],
    ['40', 44_100, 69],
    ['41', 44_100, 70],
    ['80', 32_000, 96],
    ['1c', 48_000, 768],
    ['5c', 44_100, 835],
    ['5d', 44_100, 836],
    ['9c', 32_000, 1152],
    ['25', 48_000, 1280],
    ['65', 44_100, 1394],
    ['a5', 32_000, 1920],
  ])('AC-3, %s', (code, sampleRate, words) => {
    expect(frame(`0b 77 00 00 ${code} 40 40`)).toMatchObject({
      coding: 'ac3',
      sampleRate,
      samples: 1536,
      length: 2 * words,
    })
  })
  test('channels by audio coding mode (table 4.3), the dual one of two included', () => {
    const modes = Array.from({ length: 8 }, (_, i) =>
      frame(`0b 77 00 00 14 40 ${(i << 5).toString(16).padStart(2, '0')}`),
    )
    expect(modes.map(one => one?.channels)).toEqual([2, 1, 2, 3, 3, 4, 4, 5])
  })
  test.each([
    ['0b 77 01 7f 34 80 00', 48_000, 2, 1536, 768],
    ['0b 77 01 7f 3f 80 00', 48_000, 6, 1536, 768],
    ['0b 77 07 ff 04 80 00', 48_000, 2, 256, 4096],
    ['0b 77 01 7f 54 80 00', 44_100, 2, 512, 768],
    ['0b 77 01 7f a4 80 00', 32_000, 2, 768, 768],
    ['0b 77 01 7f c4 80 00', 24_000, 2, 1536, 768],
    ['0b 77 01 7f d4 80 00', 22_050, 2, 1536, 768],
    ['0b 77 01 7f e4 80 00', 16_000, 2, 1536, 768],
    // dependent, and of another substream: they add to a frame
    ['0b 77 41 7f 34 80 00', 48_000, 2, 0, 768],
    ['0b 77 09 7f 34 80 00', 48_000, 2, 0, 768],
    ['0b 77 81 7f 34 80 00', 48_000, 2, 1536, 768],
    ['0b 77 00 03 34 80 00', 48_000, 2, 1536, 8],
    ['0b 77 01 7f 34 58 00', 48_000, 2, 1536, 768],
  ])('E-AC-3, %s', (head, sampleRate, channels, samples, length) => {
    expect(frame(head)).toMatchObject({ coding: 'eac3', sampleRate, channels, samples, length })
  })
  test.each([
    ['AC-3: a sampling rate that is reserved', '0b 77 00 00 c0 40 40'],
    ['AC-3: a size that is none', '0b 77 00 00 26 40 40'],
    ['AC-3: six bytes', '0b 77 00 00 14 40'],
    ['half of the sync word', '0b 78 00 00 14 40 40'],
    ['E-AC-3: a sampling rate that is reserved', '0b 77 01 7f f4 80 00'],
    ['E-AC-3: shorter than its head', '0b 77 00 02 34 80 00'],
    ['a later version', '0b 77 01 7f 34 88 00'],
  ])('none: %s', (_what, head) => {
    expect(frame(head)).toBeUndefined()
  })
})

describe('DTS (ETSI TS 102 114, 5.3 and 7.4)', () => {
  test.each([
    ['7f fe 80 01 fc 3c 3f f0 b6 00 00 00', 48_000, 2, 512, 1024],
    ['fe 7f 01 80 3c fc f0 3f 00 b6 00 00', 48_000, 2, 512, 1024],
    ['7f fe 80 01 fd fd ff ff 22 00 00 00', 44_100, 8, 4096, 8192],
    ['7f fe 80 01 fc 14 05 f0 80 00 00 00', undefined, 0, 0, 0],
    ['7f fe 80 01 fc 14 05 f0 84 00 00 00', 8000, 2, 192, 96],
    ['7f fe 80 01 fc 10 05 f0 84 00 00 00', undefined, 0, 0, 0],
    ['7f fe 80 01 fc 14 05 e0 84 00 00 00', undefined, 0, 0, 0],
    // extensions: 16 bits of length, and 20
    ['64 58 20 25 00 00 00 10 00 00 00 00', 48_000, 2, 0, 129],
    ['64 58 20 25 00 20 01 00 00 20 00 00', 48_000, 2, 0, 0x8_0002],
    ['64 58 20 26 00 20 01 00 00 20 00 00', undefined, 0, 0, 0],
    ['7f fe 80 01 fc 3c 3f f0 b6 00 00', undefined, 0, 0, 0],
  ])('%s', (head, sampleRate, channels, samples, length) => {
    const found = frame(head)
    if (sampleRate === undefined) expect(found).toBeUndefined()
    else expect(found).toMatchObject({ coding: 'dts', sampleRate, channels, samples, length })
  })
  test('sampling rates (table 5-5) and channels (table 5-4)', () => {
    const rate = (code: number) =>
      frame(`7f fe 80 01 fc 3c 3f f0 ${(0x80 | (code << 2)).toString(16)} 00 00 00`)
    const rates = Array.from({ length: 16 }, (_, i) => rate(i)?.sampleRate)
    expect(rates).toEqual([
      ...[undefined, 8000, 16_000, 32_000, undefined, undefined, 11_025, 22_050],
      ...[44_100, undefined, undefined, 12_000, 24_000, 48_000, undefined, undefined],
    ])
    const mode = (code: number) =>
      frame(
        `7f fe 80 01 fc 3c 3f f${(code >> 2).toString(16)} ${(((code & 3) << 6) | (13 << 2)).toString(16)} 00 00 00`,
      )
    const modes = Array.from({ length: 17 }, (_, i) => mode(i)?.channels)
    expect(modes).toEqual([1, 2, 2, 2, 2, 3, 3, 4, 4, 5, 6, 6, 6, 7, 8, 8, 8])
  })
})

describe('a chain of frames', () => {
  const one = Buffer.concat([hex('ff fb 90 64'), Buffer.alloc(413)])
  const other = Buffer.concat([hex('ff fb 94 64'), Buffer.alloc(380)])
  const chain = (...frames: Buffer[]) => Buffer.concat(frames)
  test.each<[string, Buffer, boolean, number, boolean]>([
    ['two of two', chain(one, one), false, 2, true],
    ['one of two', one, false, 2, false],
    ['one, the whole file', one, true, 2, true],
    ['two of three, the whole file', chain(one, one), true, 3, true],
    ['one and a half, the whole file', chain(one, one.subarray(0, 200)), true, 2, true],
    ['one and rubble, the whole file', chain(one, Buffer.alloc(50, 7)), true, 2, false],
    ['half of one, the whole file', one.subarray(0, 200), true, 2, false],
    ['two kinds', chain(one, other, other), false, 2, false],
    ['none', Buffer.alloc(900), false, 2, false],
  ])('%s', (_what, bytes, whole, count, isStream) => {
    expect(frameChain(bytes, whole, count)?.coding).toBe(isStream ? 'mp3' : undefined)
  })
})

describe('what a first frame says of the whole (Xing, LAME, Fraunhofer)', () => {
  /** A frame with a name at a place, and numbers of four bytes behind it. */
  const said = (head: string, at: number, name: string, ...numbers: number[]) => {
    const bytes = Buffer.concat([hex(head), Buffer.alloc(252)])
    bytes.write(name, at, 'latin1')
    for (const [i, value] of numbers.entries()) bytes.writeUInt32BE(value, at + 4 + 4 * i)
    return bytes
  }
  const vbri = (frames: number, length: number) => {
    const bytes = said('ff fb 90 64', 36, 'VBRI')
    bytes.writeUInt32BE(length, 46)
    bytes.writeUInt32BE(frames, 50)
    return bytes
  }
  test.each<[string, Buffer, object | undefined]>([
    ['stereo', said('ff fb 90 64', 36, 'Xing', 3, 100, 5000), { samples: 115_200, bytes: 5000 }],
    ['mono', said('ff fb 90 c4', 21, 'Info', 3, 100, 5000), { samples: 115_200, bytes: 5000 }],
    ['22,050 Hz, stereo', said('ff f3 80 40', 21, 'Xing', 3, 100, 5000), { samples: 57_600, bytes: 5000 }],
    ['22,050 Hz, mono', said('ff f3 80 c0', 13, 'Xing', 3, 100, 5000), { samples: 57_600, bytes: 5000 }],
    ['behind a checksum', said('ff fa 90 64', 38, 'Info', 3, 100, 5000), { samples: 115_200, bytes: 5000 }],
    ['frames alone', said('ff fb 90 64', 36, 'Xing', 1, 100, 5000), { samples: 115_200, bytes: undefined }],
    ['bytes alone', said('ff fb 90 64', 36, 'Xing', 2, 5000), undefined],
    ['no frame', said('ff fb 90 64', 36, 'Xing', 3, 0, 5000), undefined],
    ['no byte', said('ff fb 90 64', 36, 'Xing', 3, 100, 0), { samples: 115_200, bytes: undefined }],
    ['VBRI', vbri(100, 5000), { samples: 115_200, bytes: 5000 }],
    ['VBRI, no byte', vbri(100, 0), { samples: 115_200, bytes: undefined }],
    ['VBRI, no frame', vbri(0, 5000), undefined],
    ['nothing', said('ff fb 90 64', 36, 'none', 3, 100, 5000), undefined],
    ['layer II', said('ff fd 90 64', 36, 'Xing', 3, 100, 5000), undefined],
    ['no frame at all', Buffer.alloc(256), undefined],
  ])('%s', (_what, bytes, expected) => {
    expect(frameTotals(bytes)).toEqual(expected)
  })
})
