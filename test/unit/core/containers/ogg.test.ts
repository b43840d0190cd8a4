/** Ogg page by page (RFC 3533), and what each coding says of itself in its first packet. */
import { describe, expect, test } from 'vitest'
import { oggComments, oggPages, oggWithoutComments } from '../../../../src/core/containers/ogg.ts'
import { readSound } from '../../../../src/core/containers/read.ts'
import {
  latin,
  le,
  oggPacket,
  oggPage,
  opusHead,
  opusStream,
  vorbisComments,
} from '../../../support/audio-bytes.ts'
import { fileOf } from '../../../support/byte-source.ts'

const pages = async (bytes: Buffer, end = bytes.length) => {
  const found = []
  for await (const page of oggPages(fileOf(bytes), 0, end)) found.push(page)
  return found
}
const ogg = { container: 'ogg', contentType: 'audio/ogg', extension: 'ogg', start: 0 } as const
const read = (bytes: Buffer, end = bytes.length) => readSound(fileOf(bytes.subarray(0, end)), ogg)

const vorbis = (rate: number, blocks = 0xb8) =>
  Buffer.concat([
    latin('\x01vorbis'),
    le(0, 4),
    Buffer.from([2]),
    le(rate, 4),
    le(0, 12),
    Buffer.from([blocks, 1]),
  ])
const speex = (frames: number) =>
  Buffer.concat([
    ...[latin('Speex   '), Buffer.alloc(28), le(8000, 4), le(0, 8), le(1, 4), le(0, 4), le(160, 4)],
    ...[le(0, 4), le(frames, 4), le(0, 12)],
  ])
const flacHead = Buffer.concat([
  latin('\x7fFLAC\x01\0\0\x01fLaC\0\0\0\x22'),
  // blocks of 16 to 1,000 samples; 8 kHz, two channels, 16 bits
  Buffer.from([0, 16, 0x03, 0xe8, 0, 0, 0, 0, 0, 0, 0x01, 0xf4, 0x02, 0xf0]),
  Buffer.alloc(20),
])
const opus = opusHead(2)
const other = latin('fishead\0 is no sound')
const one = Buffer.from([7])
/** The head of a stream, its comments, and a page of as many packets for each granule. */
const stream = (serial: number, head: Buffer, ...granules: (number | [granule: number, packets: number])[]) =>
  Buffer.concat([
    oggPage(serial, 0, 0, [head], 2),
    oggPage(serial, 1, 0, [vorbisComments([])]),
    ...granules.map((said, i) => {
      const [granule, packets] = typeof said === 'number' ? [said, 1] : said
      return oggPage(serial, 2 + i, granule, new Array(packets).fill(one))
    }),
  ])

describe('pages', () => {
  const first = oggPage(7, 0, 0, [Buffer.alloc(300)], 2)
  const second = oggPage(7, 1, 960, [one, one])
  test('one behind another', async () => {
    const found = await pages(Buffer.concat([first, second]))
    expect(found.map(({ segments, ...page }) => ({ ...page, segments: [...segments] }))).toEqual([
      {
        at: 0,
        body: 29,
        end: 329,
        serial: 7,
        isFirst: true,
        continued: false,
        granule: 0,
        segments: [255, 45],
      },
      {
        at: 329,
        body: 358,
        end: 360,
        serial: 7,
        isFirst: false,
        continued: false,
        granule: 960,
        segments: [1, 1],
      },
    ])
  })
  test('one in which no packet ends, and what goes on with it', async () => {
    const found = await pages(oggPacket(3, 5, Buffer.alloc(65_030)))
    expect(found.map(({ granule, continued, segments }) => [granule, continued, segments.length])).toEqual([
      [undefined, false, 255],
      [0, true, 1],
    ])
  })
  // What is read at once are 65,536 bytes.
  test.each([1, 2, 3, 4, 5, 26, 27, 28, 65_530, 65_533, 65_534, 65_535, 65_536, 65_537, 65_540, 131_071])(
    'behind %i bytes of rubble',
    async length => {
      const rubble = Buffer.alloc(length, 'OggO')
      const found = await pages(Buffer.concat([first, rubble, second]))
      expect(found.map(({ at }) => at)).toEqual([0, first.length + length])
    },
  )
  test.each([
    ['of another version', Buffer.concat([first.subarray(0, 4), Buffer.from([1]), first.subarray(5)])],
    ['with half of its head', first.subarray(0, 26)],
  ])('none: %s', async (_what, bytes) => {
    expect(await pages(bytes)).toEqual([])
    expect((await pages(Buffer.concat([second, bytes, second]))).map(({ at }) => at)).toEqual([
      0,
      second.length + bytes.length,
    ])
  })
  test('none: with half of its segments, at the end of the file', async () => {
    const half = Buffer.concat([first.subarray(0, 26), Buffer.from([9]), Buffer.alloc(8)])
    expect(await pages(half)).toEqual([])
    expect(await pages(Buffer.concat([half, Buffer.from([0])]))).toHaveLength(1)
  })
  test('not beyond the end', async () => {
    const both = Buffer.concat([first, second])
    expect(await pages(both, first.length + 26)).toHaveLength(1)
    expect(await pages(both, first.length + 27)).toHaveLength(2)
  })
})

describe('streams', () => {
  test.each<[string, Buffer, object]>([
    [
      'Vorbis',
      stream(1, vorbis(8000), 4000, 8000),
      { coding: 'vorbis', sampleRate: 8000, channels: 2, duration: 1 },
    ],
    ['Opus', stream(1, opus, 960, 48_312), { coding: 'opus', sampleRate: 48_000, channels: 2, duration: 1 }],
    ['FLAC', stream(1, flacHead, 4000, 8000), { coding: 'flac', sampleRate: 8000, channels: 2, duration: 1 }],
    [
      'Speex',
      stream(1, speex(1), 160, 8000),
      { coding: 'speex', sampleRate: 8000, channels: 1, duration: 1 },
    ],
    ['Opus, nothing but what is left out', stream(1, opus, 312), { duration: undefined }],
    ['of no rate', stream(1, vorbis(0), 8000), { sampleRate: undefined, duration: undefined }],
    ['no sound', stream(1, other, 8000), { unusable: 'it has no audio stream' }],
    [
      'another stream beside it, which begins first and ends last',
      Buffer.concat([
        oggPage(2, 0, 0, [other], 2),
        stream(1, vorbis(8000), 4000, 8000),
        oggPage(2, 1, 999_999, [one]),
      ]),
      { coding: 'vorbis', duration: 1 },
    ],
    [
      'a long end of another stream',
      Buffer.concat([
        oggPage(2, 0, 0, [other], 2),
        stream(1, vorbis(8000), 4000, 8000),
        ...Array.from({ length: 4 }, (_, i) => oggPage(2, i, 5, [Buffer.alloc(65_000)])),
      ]),
      { duration: 1 },
    ],
    [
      'rubble at the end',
      Buffer.concat([stream(1, vorbis(8000), 4000, 8000), Buffer.alloc(100, 'OggO')]),
      { duration: 1, cut: undefined },
    ],
    ['the last page in which no packet ends', stream(1, vorbis(8000), 8000, -1), { duration: 1 }],
  ])('%s', async (_what, bytes, expected) => {
    expect(await read(bytes)).toMatchObject({ start: 0, end: bytes.length, ...expected })
  })

  test('a last page that is cut is not counted', async () => {
    const bytes = stream(1, vorbis(8000), 4000, [8000, 9])
    expect(await read(bytes, bytes.length - 4)).toMatchObject({
      duration: 0.5,
      cut: 'the file ends within its last page',
    })
    expect((await read(bytes)).cut).toBeUndefined()
  })
})

describe('what was cut out of a longer stream', () => {
  // A block of 2,048 samples is the longest of 0xb8.
  const from = (...granules: Parameters<typeof stream>[2][]) => of(vorbis(8000), ...granules)
  /** Without comments, which are a packet, too. */
  const of = (head: Buffer, ...granules: Parameters<typeof stream>[2][]) => {
    const bytes = stream(1, head, ...granules)
    const at = bytes.indexOf('OggS', 1)
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(bytes.indexOf('OggS', at + 1))])
  }
  test.each<[string, Buffer, number]>([
    ['begins where its first packets do', from(100_000, 108_000), (8000 + 2048) / 8000],
    ['two packets in its first page', from([100_000, 2], 108_000), (8000 + 4096) / 8000],
    ['two pages before it says where it is', from(-1, 0, 100_000, 108_000), (8000 + 3 * 2048) / 8000],
    ['with its comments', stream(1, vorbis(8000), 100_000, 108_000), (8000 + 2 * 2048) / 8000],
    ['as late as a whole stream may begin', from(2048 + 8000, 80_000), 10],
    ['a sample later', from(2049 + 8000, 80_000), (80_000 - 8001) / 8000],
    [
      'pages of another stream are not its own',
      Buffer.concat([
        oggPage(1, 0, 0, [vorbis(8000)], 2),
        oggPage(2, 0, 0, [other], 2),
        oggPage(2, 1, 3, [one, one, one]),
        oggPage(1, 1, 100_000, [one]),
        oggPage(1, 2, 108_000, [one]),
      ]),
      (8000 + 2048) / 8000,
    ],
    ['FLAC', of(flacHead, 100_000, 108_000), (8000 + 1000) / 8000],
    ['Speex, three frames a packet', of(speex(3), 100_000, 108_000), (8000 + 480) / 8000],
    ['Speex, as many as it does not say', of(speex(0), 100_000, 108_000), (8000 + 160) / 8000],
    ['Opus: nothing is left out', of(opus, 1_000_000, 1_048_000), (48_000 + 5760) / 48_000],
  ])('%s', async (_what, bytes, seconds) => {
    expect((await read(bytes)).duration).toBeCloseTo(seconds, 9)
  })
})

describe('streams one behind another', () => {
  test.each<[string, Buffer, number | undefined]>([
    ['two', Buffer.concat([stream(1, vorbis(8000), 8000), stream(2, vorbis(16_000), 8000)]), 1.5],
    [
      'the second cut out of a longer one',
      Buffer.concat([stream(1, vorbis(8000), 8000), stream(2, vorbis(8000), 100_000, 108_000)]),
      1 + (8000 + 2048) / 8000,
    ],
    [
      'with another stream beside each',
      Buffer.concat([
        oggPage(1, 0, 0, [vorbis(8000)], 2),
        oggPage(2, 0, 0, [vorbis(9000)], 2),
        oggPage(1, 1, 8000, [one]),
        oggPage(2, 1, 90_000, [one]),
        oggPage(3, 0, 0, [vorbis(8000)], 2),
        oggPage(4, 0, 0, [vorbis(9000)], 2),
        oggPage(3, 1, 8000, [one]),
        oggPage(4, 1, 90_000, [one]),
      ]),
      2,
    ],
    ['no sound in the second', Buffer.concat([stream(1, vorbis(8000), 8000), stream(2, other, 9000)]), 1],
    ['nothing in either', Buffer.concat([stream(1, vorbis(8000)), stream(2, vorbis(8000))]), undefined],
  ])('%s', async (_what, bytes, seconds) => {
    const { duration } = await read(bytes)
    if (seconds === undefined) expect(duration).toBeUndefined()
    else expect(duration).toBeCloseTo(seconds, 9)
  })
  test('the last page of the second is cut', async () => {
    const bytes = Buffer.concat([stream(1, vorbis(8000), 8000), stream(2, vorbis(8000), 4000, [8000, 9])])
    expect(await read(bytes, bytes.length - 4)).toMatchObject({
      duration: 1.5,
      cut: 'the file ends within its last page',
    })
  })
})

describe('comments', () => {
  const said = vorbisComments(['TITLE=A'])
  const long = Buffer.concat([latin('OpusTags'), vorbisComments(['TITLE=A', `COVER=${'x'.repeat(150_000)}`])])
  const comments = (bytes: Buffer, most = 1_000_000, end = bytes.length) =>
    oggComments(fileOf(bytes), 0, end, most)
  const told = async (...given: Parameters<typeof comments>) => {
    const { packet, ...rest } = (await comments(...given)) ?? { packet: Buffer.alloc(0) }
    return { ...rest, packet: Buffer.from(packet) }
  }
  const covered = Buffer.concat([
    oggPage(9, 0, 0, [other], 2),
    oggPage(1, 0, 0, [opus], 2),
    oggPage(9, 1, 0, [Buffer.alloc(50)]),
    oggPacket(1, 1, long),
    oggPage(1, 4, 960, [one]),
  ])
  test('of a packet', async () => {
    expect(await told(stream(1, opus, 960))).toEqual({
      coding: 'opus',
      packet: vorbisComments([]),
      isWhole: true,
    })
    expect(await comments(stream(1, other, 960))).toBeUndefined()
  })
  test('of as many pages as it takes, and no byte of the packet behind', async () => {
    expect(await told(covered)).toEqual({ coding: 'opus', packet: long, isWhole: true })
    const together = Buffer.concat([
      oggPage(1, 0, 0, [vorbis(8000)], 2),
      oggPage(1, 1, 0, [said, Buffer.alloc(600, 5)]),
    ])
    expect(await told(together)).toEqual({ coding: 'vorbis', packet: said, isWhole: true })
  })
  test('of a page more than is asked for', async () => {
    const page = 255 * 255
    for (const [most, length] of [
      [page - 1, page],
      [page, 2 * page],
      [page + 1, 2 * page],
    ] as const)
      expect(await told(covered, most)).toEqual({
        coding: 'opus',
        packet: long.subarray(0, length),
        isWhole: false,
      })
  })
  test('of a file that ends in it', async () => {
    const end = covered.indexOf(long.subarray(0, 20)) + 70_000
    const { isWhole, packet } = await told(covered.subarray(0, end), 1_000_000, end)
    expect(isWhole).toBe(false)
    expect(packet.equals(long.subarray(0, packet.length))).toBe(true)
    expect(packet.length).toBeGreaterThan(69_000)
  })
})

describe('without comments', () => {
  const without = async (bytes: Buffer, end = bytes.length) => {
    const parts: Uint8Array[] = []
    for await (const part of oggWithoutComments(fileOf(bytes), 0, end)) parts.push(part)
    return Buffer.concat(parts)
  }
  /** The page as it is made anew: without a checksum. */
  const anew = (page: Buffer) => Buffer.concat([page.subarray(0, 22), Buffer.alloc(4), page.subarray(26)])
  const emptyOpus = Buffer.concat([latin('OpusTags'), Buffer.alloc(8)])
  const emptyVorbis = Buffer.concat([latin('\x03vorbis'), Buffer.alloc(8), Buffer.from([1])])
  const first = (head: Buffer) => oggPage(1, 0, 0, [head], 2)
  const sound = Buffer.concat([oggPage(1, 7, 960, [one]), oggPage(1, 8, 1920, [one], 4)])
  const cover = 'x'.repeat(150_000)

  test('Opus: in a page', async () => {
    const bytes = opusStream(1, 60, ['TITLE=A'])
    const at = bytes.indexOf('OggS', 1)
    const rest = bytes.indexOf('OggS', at + 1)
    expect(await without(bytes)).toEqual(
      Buffer.concat([bytes.subarray(0, at), anew(oggPage(1, 1, 0, [emptyOpus])), bytes.subarray(rest)]),
    )
  })
  test('Opus: in several, between those of another stream', async () => {
    const parts = [latin('OpusTags'), vorbisComments([`COVER=${cover}`])]
    const strange = oggPage(2, 0, 5, [latin('OpusTags as a third packet'), one])
    const bytes = Buffer.concat([
      ...[first(opus), oggPage(2, 0, 0, [other], 2), strange],
      ...[oggPacket(1, 1, Buffer.concat(parts)), strange, sound],
    ])
    expect(await without(bytes)).toEqual(
      Buffer.concat([
        ...[first(opus), oggPage(2, 0, 0, [other], 2)],
        // The second packet of a stream of which nothing is known: its comments, by their name.
        anew(oggPage(2, 0, 5, [emptyOpus, one])),
        ...[anew(oggPage(1, 3, 0, [emptyOpus])), strange, sound],
      ]),
    )
  })
  test('Vorbis: what begins in the same page stays', async () => {
    const tags = Buffer.concat([latin('\x03vorbis'), vorbisComments(['TITLE=A']), Buffer.from([1])])
    const setup = Buffer.concat([latin('\x05vorbis'), Buffer.alloc(600, 3)])
    const bytes = Buffer.concat([first(vorbis(8000)), oggPage(1, 1, 0, [tags, setup]), sound])
    expect(await without(bytes)).toEqual(
      Buffer.concat([first(vorbis(8000)), anew(oggPage(1, 1, 0, [emptyVorbis, setup])), sound]),
    )
  })
  test('what is not known as comments stays', async () => {
    const bytes = stream(1, flacHead, 960, 1920)
    expect(await without(bytes)).toEqual(bytes)
    const long = Buffer.concat([first(flacHead), oggPacket(1, 1, Buffer.alloc(150_000)), sound])
    expect(await without(long)).toEqual(long)
  })
  test('nothing beyond the end', async () => {
    const bytes = Buffer.concat([opusStream(1, 60, ['TITLE=A']), Buffer.alloc(50)])
    const whole = await without(bytes.subarray(0, -50))
    expect(await without(bytes, bytes.length - 60)).toEqual(whole.subarray(0, -10))
    const tags = Buffer.concat([latin('OpusTags'), vorbisComments(['TITLE=A'])])
    const cut = Buffer.concat([first(opus), oggPage(1, 1, 0, [tags, Buffer.alloc(100, 3)])])
    expect((await without(cut, cut.length - 40)).length).toBe(
      first(opus).length + 27 + 2 + emptyOpus.length + 60,
    )
  })
})
