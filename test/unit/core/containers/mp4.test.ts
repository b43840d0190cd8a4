/** MP4's boxes and what its index says (ISO/IEC 14496-12; QuickTime File Format). */
import { describe, expect, test } from 'vitest'
import { boxes } from '../../../../src/core/containers/mp4.ts'
import { readSound } from '../../../../src/core/containers/read.ts'
import { be, box, ftyp, moov } from '../../../support/audio-bytes.ts'
import { fileOf } from '../../../support/byte-source.ts'

const mp4 = { container: 'mp4', contentType: 'audio/mp4', extension: 'm4a', start: 0 } as const
const read = (...parts: Buffer[]) => readSound(fileOf(Buffer.concat(parts)), mp4)
const mdat = box('mdat', Buffer.alloc(64))

describe('boxes', () => {
  const found = async (bytes: Buffer, start = 0, end = bytes.length) => {
    const all = []
    for await (const one of boxes(fileOf(bytes), start, end)) all.push(Object.values(one))
    return all
  }
  const wide = (type: string, size: number, content: Buffer) =>
    Buffer.concat([be(1, 4), Buffer.from(type), be(size, 8), content])
  const free = box('free', Buffer.alloc(4))
  test.each<[string, Buffer, unknown[]]>([
    ['none', Buffer.alloc(0), []],
    [
      'one behind another',
      Buffer.concat([free, box('skip')]),
      [
        ['free', 0, 8, 12, 12],
        ['skip', 12, 20, 20, 20],
      ],
    ],
    [
      'with a size of eight bytes',
      Buffer.concat([wide('mdat', 20, Buffer.alloc(4)), free]),
      [
        ['mdat', 0, 16, 20, 20],
        ['free', 20, 28, 32, 32],
      ],
    ],
    [
      'with a size of eight bytes and nothing in it',
      wide('mdat', 16, Buffer.alloc(0)),
      [['mdat', 0, 16, 16, 16]],
    ],
    ['whose size of eight bytes is cut', wide('mdat', 16, Buffer.alloc(0)).subarray(0, 15), []],
    [
      'to the end',
      Buffer.concat([free, be(0, 4), Buffer.from('mdat'), Buffer.alloc(9)]),
      [
        ['free', 0, 8, 12, 12],
        ['mdat', 12, 20, 29, 29],
      ],
    ],
    [
      'longer than the file',
      Buffer.concat([be(100, 4), Buffer.from('mdat'), Buffer.alloc(9)]),
      [['mdat', 0, 8, 17, 100]],
    ],
    [
      'shorter than its head',
      Buffer.concat([free, be(7, 4), Buffer.from('mdat'), free]),
      [['free', 0, 8, 12, 12]],
    ],
    ['shorter than its long head', Buffer.concat([free, wide('mdat', 15, free)]), [['free', 0, 8, 12, 12]]],
    ['a head that is cut', Buffer.concat([free, box('skip').subarray(0, 7)]), [['free', 0, 8, 12, 12]]],
  ])('%s', async (_what, bytes, expected) => {
    expect(await found(bytes)).toEqual(expected)
  })
  test('of a part of the file', async () => {
    const bytes = Buffer.concat([free, box('skip', Buffer.alloc(50)), free])
    expect(await found(bytes, 12, 40)).toEqual([['skip', 12, 20, 40, 70]])
    expect(await found(bytes, 12, 20)).toEqual([['skip', 12, 20, 20, 70]])
    expect(await found(bytes, 12, 19)).toEqual([])
    expect(await found(Buffer.concat([free, be(0, 4), Buffer.from('mdat'), free]), 12, 25)).toEqual([
      ['mdat', 12, 20, 25, 25],
    ])
    // A file that has become shorter than it was
    expect(await found(free, 0, 30)).toEqual([['free', 0, 8, 12, 12]])
  })
  test('no more than are looked at', async () => {
    const many = Buffer.concat(new Array(65_540).fill(box('free')))
    expect(await found(many)).toHaveLength(65_536)
  })
})

/** Puts other boxes in the place of the first ones of their names, wherever they are. */
function changed(whole: Buffer, ...others: Buffer[]): Buffer {
  const inner = (bytes: Buffer): Buffer[] => {
    const parts: Buffer[] = []
    for (let at = 0; at + 8 <= bytes.length; at += bytes.readUInt32BE(at))
      parts.push(bytes.subarray(at, at + bytes.readUInt32BE(at)))
    return parts
  }
  const nested = new Set(['moov', 'trak', 'mdia', 'minf', 'stbl'])
  const again = (one: Buffer): Buffer => {
    const type = one.toString('latin1', 4, 8)
    const other = others.find(candidate => candidate.toString('latin1', 4, 8) === type)
    if (other !== undefined) return other
    return nested.has(type) ? box(type, ...inner(one.subarray(8)).map(again)) : one
  }
  return again(whole)
}
const handler = (type: string) => box('hdlr', be(0, 8), Buffer.from(type), be(0, 13))
const mdhd = (wide: boolean, rate: number, ticks: number | Buffer) =>
  box(
    'mdhd',
    be(wide ? 2 ** 24 : 0, 4),
    be(0, wide ? 16 : 8),
    be(rate, 4),
    Buffer.isBuffer(ticks) ? ticks : be(ticks, wide ? 8 : 4),
    be(0, 4),
  )
const stsd = (codec: string) =>
  box(
    'stsd',
    be(0, 4),
    be(1, 4),
    box(codec, be(0, 6), be(1, 2), be(0, 8), be(6, 2), be(16, 2), be(0, 4), be(44_100, 2), be(0, 2)),
  )

describe('an index', () => {
  test.each<[string, Buffer, object]>([
    ['of version 0', moov(3), { duration: 3, channels: 1, sampleRate: 8000, coding: 'aac' }],
    ['times of eight bytes', changed(moov(3), mdhd(true, 8000, 2 ** 33)), { duration: 2 ** 33 / 8000 }],
    [
      'a time of eight bytes that is not known',
      changed(moov(3), mdhd(true, 8000, Buffer.alloc(8, 0xff))),
      { duration: undefined },
    ],
    [
      'a time of four bytes that is not known',
      changed(moov(3), mdhd(false, 8000, Buffer.alloc(4, 0xff))),
      { duration: undefined },
    ],
    [
      'the longest time of four bytes',
      changed(moov(3), mdhd(false, 1, 0xffff_fffe)),
      { duration: 0xffff_fffe },
    ],
    ['no scale of time', changed(moov(3), mdhd(false, 0, 5)), { duration: undefined }],
    [
      'a coding of a name of its own',
      changed(moov(3), stsd('ac-3')),
      { coding: 'ac3', channels: 6, sampleRate: 44_100 },
    ],
    ['a coding without one', changed(moov(3), stsd('QDM ')), { coding: 'qdm' }],
    [
      'a second handler, of the data',
      changed(moov(3), box('minf', handler('alis'), box('stbl', stsd('mp4a')))),
      { duration: 3, channels: 6 },
    ],
    [
      'no handler of its media',
      changed(moov(3), box('hdlr', be(0, 8)), box('minf', handler('soun'))),
      { unusable: expect.stringContaining('no audio track') },
    ],
    ['pictures', changed(moov(3), handler('vide')), { unusable: expect.stringContaining('no audio track') }],
    [
      'pictures first',
      box('moov', changed(moov(3), handler('vide')).subarray(8), changed(moov(2), stsd('ac-3')).subarray(8)),
      { duration: 2, coding: 'ac3' },
    ],
    [
      'two tracks of sound: the first',
      box('moov', moov(3).subarray(8), changed(moov(2), stsd('ac-3')).subarray(8)),
      { duration: 3, coding: 'aac' },
    ],
    [
      'a track in what is free',
      box('moov', box('free', moov(3).subarray(8))),
      { unusable: expect.stringContaining('no audio track') },
    ],
  ])('%s', async (_what, index, expected) => {
    expect(await read(ftyp, index, mdat)).toMatchObject(expected)
  })
  test('twice: the first', async () => {
    expect(await read(ftyp, moov(3), moov(2), mdat)).toMatchObject({ duration: 3 })
  })
  test('none', async () => {
    expect(await read(ftyp, mdat)).toMatchObject({ unusable: 'its index (moov) is missing' })
    expect(await read(ftyp, mdat.subarray(0, -5))).toMatchObject({
      unusable: 'the file is truncated before its index (moov), which comes last',
    })
  })
  test('what a movie plays is told in its own time, of four bytes or eight', async () => {
    const mvhd = (wide: boolean, rate: number) =>
      box('mvhd', be(wide ? 2 ** 24 : 0, 4), be(7, wide ? 16 : 8), be(rate, 4), be(0, 80))
    const edts = box('edts', box('elst', be(0, 4), be(1, 4), be(500, 4), be(0, 4), be(0x1_0000, 4)))
    const edited = (...others: Buffer[]) => {
      const whole = changed(moov(3), ...others)
      const at = whole.indexOf('trak') - 4
      const end = at + whole.readUInt32BE(at)
      return box(
        'moov',
        whole.subarray(8, at),
        box('trak', edts, whole.subarray(at + 8, end)),
        whole.subarray(end),
      )
    }
    for (const [index, seconds] of [
      [edited(), 0.5],
      [edited(mvhd(true, 250)), 2],
      [edited(mvhd(false, 250)), 2],
      [edited(mvhd(false, 0)), 3],
      [edited(mdhd(false, 8000, 0)), 0.5],
    ] as const)
      expect((await read(ftyp, index, mdat)).duration).toBe(seconds)
  })
  test('as many edits as are looked at, and as there are bytes of', async () => {
    const list = (count: number, entries: number) =>
      box(
        'edts',
        box('elst', be(0, 4), be(count, 4), ...new Array(entries).fill(Buffer.concat([be(10, 4), be(0, 8)]))),
      )
    const whole = moov(3)
    const at = whole.indexOf('trak') - 4
    const end = at + whole.readUInt32BE(at)
    const duration = async (edts: Buffer) =>
      (
        await read(
          ftyp,
          box('moov', whole.subarray(8, at), box('trak', edts, whole.subarray(at + 8, end))),
          mdat,
        )
      ).duration
    expect(await duration(list(64, 70))).toBe(0.64)
    expect(await duration(list(70, 70))).toBe(0.64)
    expect(await duration(list(5, 70))).toBe(0.05)
    expect(await duration(list(9, 5))).toBe(0.05)
  })
})

describe('fragments', () => {
  const trex = (track: number, duration: number) =>
    box('trex', be(0, 4), be(track, 4), be(1, 4), be(duration, 4), be(0, 8))
  const index = (...content: Buffer[]) => box('moov', moov(0).subarray(8), box('mvex', ...content))
  const tfhd = (track: number) => box('tfhd', be(0, 4), be(track, 4))
  const trun = (flags: number, count: number, ...more: Buffer[]) =>
    box('trun', be(flags, 4), be(count, 4), ...more)
  const traf = (...content: Buffer[]) => box('traf', ...content)
  test.each<[string, Buffer[], number | undefined]>([
    ['one', [index(trex(1, 1000)), box('moof', traf(tfhd(1), trun(0, 8)))], 1],
    ['not in a track', [index(trex(1, 1000)), box('moof', box('free', tfhd(1), trun(0, 8)))], undefined],
    ['of no track', [index(trex(1, 1000)), box('moof', traf(trun(0, 8)))], undefined],
    [
      'of another track',
      [index(trex(1, 1000)), box('moof', traf(tfhd(2), trun(0, 8)), traf(tfhd(1), trun(0, 4)))],
      0.5,
    ],
    [
      'before the index',
      [box('moof', traf(tfhd(1), trun(0, 8))), index(trex(1, 1000)), box('moof', traf(tfhd(1), trun(0, 8)))],
      1,
    ],
    ['in what is free', [index(trex(1, 1000)), box('free', traf(tfhd(1), trun(0, 8)))], undefined],
    [
      'fewer samples than counted',
      [index(trex(1, 1)), box('moof', traf(tfhd(1), trun(0x100, 9, be(3000, 4), be(5000, 4))))],
      1,
    ],
    [
      'more samples than counted',
      [index(trex(1, 1)), box('moof', traf(tfhd(1), trun(0x100, 1, be(3000, 4), be(5000, 4))))],
      0.375,
    ],
    ['no default', [index(), box('moof', traf(tfhd(1), trun(0, 8)))], undefined],
    [
      'as long as the index says',
      [index(box('mehd', be(0, 4), be(5000, 4)), trex(1, 1000)), box('moof', traf(tfhd(1), trun(0, 8)))],
      5,
    ],
    [
      'no sound in the index',
      [changed(index(trex(1, 1000)), handler('vide')), box('moof', traf(tfhd(1), trun(0, 8)))],
      undefined,
    ],
  ])('%s', async (_what, parts, seconds) => {
    expect((await read(ftyp, ...parts, mdat)).duration).toBe(seconds)
  })
  test('of a track whose head has times of eight bytes', async () => {
    const tkhd = box('tkhd', be(2 ** 24, 4), be(3, 16), be(7, 4), be(0, 72))
    const parts = [changed(index(trex(7, 1000)), tkhd), box('moof', traf(tfhd(7), trun(0, 8)))]
    expect((await read(ftyp, ...parts, mdat)).duration).toBe(1)
  })
  test('what of a movie without a scale of time is said in it is not known', async () => {
    const mvhd = box('mvhd', be(0, 12), be(0, 4), be(0, 84))
    const whole = changed(index(box('mehd', be(0, 4), be(5000, 4)), trex(1, 1000)), mvhd)
    expect((await read(ftyp, whole, box('moof', traf(tfhd(1), trun(0, 8))), mdat)).duration).toBeUndefined()
  })
  test('one that is cut', async () => {
    const cut = Buffer.concat([ftyp, index(trex(1, 1000)), box('moof', traf(tfhd(1), trun(0, 8)))])
    expect((await read(cut.subarray(0, -3))).cut).toBe('the file ends 3 bytes before its last part does')
    expect((await read(cut)).cut).toBeUndefined()
  })
})
