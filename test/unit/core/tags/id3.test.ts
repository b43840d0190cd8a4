/** ID3v2 byte by byte (id3.org: id3v2-00, id3v2.3.0, id3v2.4.0-structure). */
import { deflateSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { readId3v2 } from '../../../../src/core/tags/id3.ts'
import { be, id3v2, latin, latin1, utf8, utf16 } from '../../../support/audio-bytes.ts'
import { fileOf } from '../../../support/byte-source.ts'

/** Title, artists, and what could not be read; nothing else is told. */
async function told(bytes: Buffer, limit = bytes.length) {
  const { fields, problems } = await readId3v2(fileOf(bytes), 0, limit)
  const { title, artists, ...others } = fields
  expect(others).toEqual({})
  return [title?.text, artists?.map(({ text }) => text), problems]
}
const behind = Buffer.alloc(100, 0x55)
const title = { id: 'TIT2', content: latin1('Title') }
const artist = { id: 'TPE1', content: latin1('Artist') }

/** A zero behind every FF, as 2.3 does it to the whole tag (5). */
function unsynchronised(tag: Buffer): Buffer {
  const body = Buffer.from([...tag.subarray(10)].flatMap(byte => (byte === 0xff ? [byte, 0] : [byte])))
  const size = [21, 14, 7, 0].map(shift => (body.length >> shift) & 127)
  return Buffer.concat([tag.subarray(0, 5), Buffer.from([0x80, ...size]), body])
}

describe('a tag', () => {
  const both = ['Title', ['Artist'], []]
  /** Its size is 0150 plainly, and 0250 in seven bits a byte: each could be meant by the other. */
  const x335 = 'x'.repeat(335)
  /** The frame that begins where a size of seven bits would lead is part of a text. */
  const misleading = `${'x'.repeat(207)}TALB${'x'.repeat(124)}`
  const encode = (text: string) =>
    Buffer.concat([Buffer.from([1, 0xff, 0, 0xfe]), Buffer.from(text, 'utf16le')])
  test.each<[string, Buffer, unknown[]]>([
    [
      '2.2',
      id3v2(2, [
        { ...title, id: 'TT2' },
        { ...artist, id: 'TP1' },
      ]),
      both,
    ],
    ['2.3', id3v2(3, [title, artist]), both],
    ['2.4', id3v2(4, [title, artist]), both],
    ['2.3 with padding', id3v2(3, [title, artist], { padding: 500 }), both],
    [
      '2.4 with a footer',
      Buffer.concat([id3v2(4, [title, artist], { flags: 0x10 }), latin('3DI\x04\0\x10\0\0\0\x26')]),
      both,
    ],
    [
      'names of 2.2 in 2.3, a blank behind them',
      id3v2(3, [
        { ...title, id: 'TT2 ' },
        { ...artist, id: 'TP1\0' },
      ]),
      both,
    ],
    ['an extended header of 2.3', extended(3, Buffer.concat([be(6, 4), Buffer.alloc(6)])), both],
    ['an extended header of 2.4', extended(4, Buffer.concat([be(6, 4), Buffer.from([1, 0])])), both],
    ['an extended header that is not there', extended(3, Buffer.alloc(0)), both],
    [
      '2.3, unsynchronised, a cover of FFs before',
      unsynchronised(
        id3v2(3, [
          { id: 'APIC', content: Buffer.alloc(200_000, 0xff) },
          { id: 'TIT2', content: utf16('Aÿb') },
          artist,
        ]),
      ),
      ['Aÿb', ['Artist'], []],
    ],
    [
      '2.4, a frame unsynchronised',
      id3v2(4, [{ id: 'TIT2', content: encode('A'), flags: 2 }, artist]),
      ['A', ['Artist'], []],
    ],
    [
      '2.4, all frames unsynchronised',
      id3v2(4, [{ id: 'TIT2', content: encode('A') }, artist], { flags: 0x80 }),
      ['A', ['Artist'], []],
    ],
    [
      'a title too long for a name',
      id3v2(3, [{ id: 'TIT2', content: latin1('x'.repeat(65_536)) }, artist]),
      [undefined, ['Artist'], ['its ID3 frame TIT2 is too long for a name']],
    ],
    [
      'the longest title',
      id3v2(3, [{ id: 'TIT2', content: latin1('x'.repeat(65_535)) }, artist]),
      ['x'.repeat(65_535), ['Artist'], []],
    ],
    [
      'a comment of any length',
      id3v2(3, [{ id: 'COMM', content: Buffer.alloc(70_000, 0x41) }, title, artist]),
      both,
    ],
    [
      '2.4 with plain sizes, a frame behind',
      id3v2(4, [{ id: 'TIT2', content: latin1(x335), plain: true }, artist]),
      [x335, ['Artist'], []],
    ],
    [
      '2.4 with plain sizes, padding behind',
      id3v2(4, [{ id: 'TIT2', content: latin1(x335), plain: true }], { padding: 30 }),
      [x335, undefined, []],
    ],
    [
      '2.4 with plain sizes, nothing behind',
      id3v2(4, [{ id: 'TIT2', content: latin1(x335), plain: true }]),
      [x335, undefined, []],
    ],
    [
      '2.4 with sizes of seven bits, a frame behind',
      id3v2(4, [{ id: 'TIT2', content: latin1(x335) }, artist]),
      [x335, ['Artist'], []],
    ],
    [
      '2.4 with plain sizes, a little padding behind, and another frame behind the tag',
      id3v2(4, [{ id: 'TIT2', content: latin1(x335), plain: true }], { padding: 3 }),
      [x335, undefined, []],
    ],
    [
      '2.4 with plain sizes, a text in which a zero stands where a frame could',
      id3v2(4, [
        { id: 'TIT2', content: latin1(`${'x'.repeat(210)}\0${'x'.repeat(124)}`), plain: true },
        artist,
      ]),
      ['x'.repeat(210), ['Artist'], []],
    ],
    [
      '2.4 with plain sizes that cannot be seven bits a byte, a name in the text',
      id3v2(4, [
        { id: 'TIT2', content: latin1(`${'x'.repeat(328)}TALB${'x'.repeat(124)}`), plain: true },
        artist,
      ]),
      [`${'x'.repeat(328)}TALB${'x'.repeat(124)}`, ['Artist'], []],
    ],
    [
      '2.4, a text that could be either: the standard holds',
      id3v2(4, [{ id: 'TIT2', content: latin1(misleading), plain: true }]),
      ['x'.repeat(207), undefined, ['its ID3 frame TALB is too long for a name']],
    ],
    [
      '2.4 with sizes of seven bits, rubble behind',
      id3v2(4, [
        { id: 'TIT2', content: latin1(x335) },
        { id: 'no!!', content: Buffer.alloc(300, 0x21) },
      ]),
      [x335, undefined, ['its ID3 tag has a broken frame']],
    ],
    [
      '2.4 with a size of 127 in its last byte',
      id3v2(4, [{ id: 'TIT2', content: latin1('x'.repeat(254)) }, artist]),
      ['x'.repeat(254), ['Artist'], []],
    ],
    [
      'an extended header of 2.4, long',
      extended(4, Buffer.concat([Buffer.from([0, 0, 1, 16]), Buffer.alloc(140)])),
      both,
    ],
    [
      'an extended header of 2.4 with a plain size',
      extended(4, Buffer.concat([Buffer.from([0, 0, 0, 0x90]), Buffer.alloc(140)])),
      both,
    ],
    [
      '2.2, unsynchronised',
      unsynchronised(
        id3v2(2, [
          { id: 'TT2', content: utf16('Aÿǿ') },
          { ...artist, id: 'TP1' },
        ]),
      ),
      ['Aÿǿ', ['Artist'], []],
    ],
    [
      '2.4, a text in which a zero stands behind FF',
      id3v2(4, [{ id: 'TIT2', content: utf16('Aÿb') }]),
      ['Aÿb', undefined, []],
    ],
    [
      '2.4, a frame unsynchronised in which FF stands before another byte',
      id3v2(4, [{ id: 'TIT2', content: encode('Aǿ'), flags: 2 }]),
      ['Aǿ', undefined, []],
    ],
    [
      'a first frame that is none',
      id3v2(3, [{ id: 'no!!', content: latin1('x') }]),
      [undefined, undefined, ['its ID3 tag has a broken frame']],
    ],
    [
      '2.2, a first frame that is none',
      id3v2(2, [{ id: 'n!!', content: Buffer.alloc(70_000) }], { flags: 0x40 }),
      [undefined, undefined, ['its ID3 tag has a broken frame']],
    ],
    [
      'a frame that is none for its last letter',
      id3v2(3, [title, { id: 'TITx', content: latin1('x') }, artist]),
      ['Title', undefined, ['its ID3 tag has a broken frame']],
    ],
    [
      'too few bytes for a frame at the end',
      id3v2(3, [title], { padding: 0, more: Buffer.from('no!! no') }),
      ['Title', undefined, []],
    ],
    [
      'an empty frame that says that it is encrypted',
      id3v2(3, [title, { id: 'TPE1', content: Buffer.alloc(0), flags: 0x40 }]),
      ['Title', undefined, []],
    ],
    [
      '2.4 with plain sizes that cannot be seven bits a byte, a frame that seems to begin in the text',
      id3v2(4, [
        { id: 'TIT2', content: latin1(`${'x'.repeat(327)}TALB${'x'.repeat(125)}`), plain: true },
        artist,
      ]),
      [`${'x'.repeat(327)}TALB${'x'.repeat(125)}`, ['Artist'], []],
    ],
    ['the last frame that is looked at', many(9_999), ['Title', undefined, []]],
    ['a frame too many', many(10_000), [undefined, undefined, []]],
    [
      'a frame that is none',
      id3v2(3, [title, { id: 'no!!', content: latin1('x') }, artist]),
      ['Title', undefined, ['its ID3 tag has a broken frame']],
    ],
    [
      'a frame that is none but for its end',
      id3v2(3, [title, { id: 'aTIT', content: latin1('x') }, artist]),
      ['Title', undefined, ['its ID3 tag has a broken frame']],
    ],
    ['an empty frame', id3v2(3, [title, { id: 'TPE1', content: Buffer.alloc(0) }]), ['Title', undefined, []]],
  ])('%s', async (_what, tag, expected) => {
    const bytes = Buffer.concat([tag, behind])
    expect(await told(bytes)).toEqual(expected)
  })

  test('unsynchronised and cut short: nothing behind it is read', async () => {
    const tag = unsynchronised(id3v2(3, [title, { id: 'XXXX', content: Buffer.alloc(5) }, artist]))
    for (const [size, expected] of [
      [tag.length - 13, ['Art', ['its ID3 frame TPE1 is cut short']]],
      [tag.length - 25, [undefined, []]],
    ] as const) {
      const bytes = Buffer.concat([tag.subarray(0, 6), Buffer.from([0, 0, 0, size]), tag.subarray(10)])
      const [artists, problems] = expected
      expect(await told(bytes)).toEqual(['Title', artists && [artists], problems])
    }
  })
  test('unsynchronised, in a file that has become shorter', async () => {
    const tag = unsynchronised(id3v2(3, [title, { id: 'XXXX', content: Buffer.alloc(200_000) }, artist]))
    expect(await told(tag.subarray(0, 150_000), tag.length)).toEqual(['Title', undefined, []])
  })
  test('of a cover of any size no more than a window is read at a time', async () => {
    const tag = id3v2(3, [{ id: 'APIC', content: Buffer.alloc(2_000_000, 0xff) }, title])
    for (const bytes of [tag, unsynchronised(tag)])
      expect((await readId3v2(fileOf(bytes, 65_536), 0, bytes.length)).fields.title?.text).toBe('Title')
  })

  test('cut short', async () => {
    expect(await told(id3v2(3, [title, artist]).subarray(0, -3))).toEqual([
      'Title',
      ['Art'],
      ['its ID3 tag is cut short', 'its ID3 frame TPE1 is cut short'],
    ])
  })
  test.each([
    ['none', Buffer.from('no tag at all')],
    ['of version 1', Buffer.concat([latin('ID3\x01'), id3v2(3, [title]).subarray(4)])],
  ])('broken: %s', async (_what, bytes) => {
    expect(await told(bytes)).toEqual([undefined, undefined, ['its ID3 tag is broken']])
  })

  function extended(version: 3 | 4, header: Buffer): Buffer {
    const tag = id3v2(version, [title, artist], { flags: 0x40 })
    const whole = Buffer.concat([tag.subarray(0, 10), header, tag.subarray(10)])
    whole.set([(whole.length - 10) >> 7, (whole.length - 10) & 127], 8)
    return whole
  }
  function many(count: number): Buffer {
    const others = Array.from({ length: count }, () => ({ id: 'TXXX', content: Buffer.alloc(1) }))
    return id3v2(3, [...others, title])
  }
})

describe('a frame', () => {
  const packed = deflateSync(latin1('Title'))
  const unreadable = [undefined, undefined, ['its ID3 frame TIT2 cannot be read']]
  const read = ['Title', undefined, []]
  const pre = (bytes: number, content: Buffer) => Buffer.concat([Buffer.alloc(bytes, 7), content])
  test.each<[string, 3 | 4, Buffer, number, unknown[]]>([
    ['2.3, compressed', 3, pre(4, packed), 0x80, read],
    ['2.3, compressed and of a group', 3, pre(5, packed), 0xa0, read],
    ['2.3, of a group', 3, pre(1, latin1('Title')), 0x20, read],
    ['2.3, encrypted', 3, latin1('Title'), 0x40, unreadable],
    ['2.3, compressed and broken', 3, pre(4, packed.subarray(0, 5)), 0x80, unreadable],
    ['2.4, compressed', 4, pre(4, packed), 0x09, read],
    ['2.4, of a group', 4, pre(1, latin1('Title')), 0x40, read],
    ['2.4, with its length', 4, pre(4, latin1('Title')), 0x01, read],
    ['2.4, encrypted', 4, latin1('Title'), 0x04, unreadable],
  ])('%s', async (_what, version, content, flags, expected) => {
    expect(await told(id3v2(version, [{ id: 'TIT2', content, flags }]))).toEqual(expected)
  })

  const text = (encoding: number, bytes: Buffer) => Buffer.concat([Buffer.from([encoding]), bytes])
  const big = (value: string) => Buffer.from(value, 'utf16le').swap16()
  test.each<[string, Buffer, string[], string]>([
    ['Latin-1', latin1('A\0B'), ['A', 'B'], 'known'],
    ['UTF-8', utf8('Ä\0B'), ['Ä', 'B'], 'known'],
    ['UTF-16', utf16('A\0Ł'), ['A', 'Ł'], 'known'],
    ['UTF-16 without a mark', text(1, Buffer.from('AŁ', 'utf16le')), ['AŁ'], 'known'],
    ['UTF-16, big-endian by its mark', text(1, big('\ufeffŁ\0B')), ['Ł', 'B'], 'known'],
    ['UTF-16, big-endian', text(2, big('Ł\0B')), ['Ł', 'B'], 'known'],
    ['UTF-16 that says Latin-1', text(0, Buffer.from('Joga', 'utf16le')), ['Joga'], 'likely'],
    [
      'UTF-16 without a mark, FE in its first letter',
      text(1, Buffer.from('ǾA\0Ｂ', 'utf16le')),
      ['ǾA', 'Ｂ'],
      'known',
    ],
    [
      'UTF-16 without a mark, FF above its first letter',
      text(1, Buffer.from('ＡB\0C', 'utf16le')),
      ['ＡB', 'C'],
      'known',
    ],
    ['no encoding', latin('Artist'), ['Artist'], 'known'],
    ['one artist twice', latin1('Ann\0Ann\0Bob'), ['Ann', 'Bob'], 'known'],
    ['blanks and zeros', latin1(' A \0\0 \0'), ['A'], 'known'],
  ])('artists in %s', async (_what, content, texts, encoding) => {
    const { fields, problems } = await readId3v2(fileOf(id3v2(4, [{ id: 'TPE1', content }])), 0, 10_000)
    expect(fields.artists).toEqual(texts.map(one => ({ text: one, encoding })))
    expect(problems.filter(one => one !== 'its ID3 tag is cut short')).toEqual([])
  })
})
