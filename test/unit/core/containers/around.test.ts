/** Tags before and behind the sound, by their specifications: id3.org, Lyrics3 1 and 2, APEv2. */
import { describe, expect, test } from 'vitest'
import { id3Length, surroundings } from '../../../../src/core/containers/around.ts'
import { id3v1, id3v2, latin, latin1, le } from '../../../support/audio-bytes.ts'
import { fileOf } from '../../../support/byte-source.ts'

const sound = Buffer.alloc(400, 0x55)
const v2 = id3v2(4, [{ id: 'TIT2', content: latin1('Title') }])
const v1 = id3v1(latin('Title'), latin('Artist'))
const enhanced = Buffer.concat([latin('TAG+'), Buffer.alloc(223, 0x20)])
const footed = (frames = 30) => {
  const size = Buffer.from([0, 0, 0, frames])
  return Buffer.concat([latin('ID3\x04\0\x10'), size, Buffer.alloc(frames), latin('3DI\x04\0\x10'), size])
}
const ape = (flags: number, size = 32 + 40) =>
  Buffer.concat([
    ...(flags & 0x80 ? [Buffer.alloc(32, 1)] : []),
    ...[Buffer.alloc(40, 2), latin('APETAGEX'), le(2000, 4), le(size, 4), le(1, 4)],
    ...[Buffer.from([0, 0, 0, flags]), Buffer.alloc(8)],
  ])
const lyrics2 = (length = 131) =>
  Buffer.concat([
    latin('LYRICSBEGIN'),
    Buffer.alloc(120, 'la '),
    latin(`${String(length).padStart(6, '0')}LYRICS200`),
  ])
const lyrics1 = (length: number) => latin(`LYRICSBEGIN${'la '.repeat(length / 3)}LYRICSEND`)

describe('length of an ID3v2 tag', () => {
  const head = (...bytes: number[]) => Buffer.from([0x49, 0x44, 0x33, ...bytes])
  test.each([
    [head(3, 0, 0, 0, 0, 0, 5), 15],
    [head(4, 0, 0x10, 0, 0, 0, 5), 25],
    [head(2, 0, 0, 1, 2, 3, 4), 10 + 2 ** 21 + 2 * 2 ** 14 + 3 * 128 + 4],
    [head(4, 0xfe, 0, 0, 0, 0, 0x7f), 137],
    [head(4, 0xff, 0, 0, 0, 0, 5), 0],
    [head(5, 0, 0, 0, 0, 0, 5), 0],
    [head(3, 0, 0, 0, 0, 0x80, 0), 0],
    [head(3, 0, 0, 0, 0, 0), 0],
    [Buffer.from('ID4\x03\0\0\0\0\0\x05'), 0],
  ])('%o: %i', (bytes, length) => {
    expect(id3Length(bytes)).toBe(length)
  })
})

describe('where they are', () => {
  const span = (kind: string, start: number, end: number) => ({ kind, start, end })
  const n = sound.length
  test.each<[string, Buffer, object]>([
    ['none', sound, { tags: [], start: 0, end: n }],
    ['an empty file', Buffer.alloc(0), { tags: [], start: 0, end: 0 }],
    [
      'ID3v2 twice before',
      Buffer.concat([v2, v2, sound]),
      {
        tags: [span('id3v2', 0, v2.length), span('id3v2', v2.length, 2 * v2.length)],
        start: 2 * v2.length,
        end: 2 * v2.length + n,
      },
    ],
    [
      'ID3v2, cut',
      v2.subarray(0, -3),
      { tags: [span('id3v2', 0, v2.length - 3)], start: v2.length - 3, end: v2.length - 3 },
    ],
    ['ID3v1', Buffer.concat([sound, v1]), { tags: [span('id3v1', n, n + 128)], start: 0, end: n }],
    ['nothing but ID3v1', v1, { tags: [span('id3v1', 0, 128)], start: 0, end: 0 }],
    [
      '127 bytes that begin as ID3v1 does',
      Buffer.concat([v2, v1.subarray(0, 127)]),
      { end: v2.length + 127 },
    ],
    [
      'ID3v1, enhanced',
      Buffer.concat([sound, enhanced, v1]),
      { tags: [span('id3v1', n, n + 355)], start: 0, end: n },
    ],
    ['nothing but ID3v1, enhanced', Buffer.concat([enhanced, v1]), { tags: [span('id3v1', 0, 355)], end: 0 }],
    [
      'ID3v1, half of what it is enhanced by',
      Buffer.concat([v2, enhanced.subarray(1), v1]),
      {
        tags: [span('id3v2', 0, v2.length), span('id3v1', v2.length + 226, v2.length + 354)],
        end: v2.length + 226,
      },
    ],
    ['APE with its header', Buffer.concat([sound, ape(0x80)]), { tags: [span('ape', n, n + 104)], end: n }],
    ['APE without', Buffer.concat([sound, ape(0)]), { tags: [span('ape', n, n + 72)], end: n }],
    ['nothing but APE', ape(0x80), { tags: [span('ape', 0, 104)], end: 0 }],
    ['APE, longer than the file', Buffer.concat([sound, ape(0, 1000)]), { tags: [], end: n + 72 }],
    ['APE, a byte longer than the file', ape(0x80, 73), { tags: [], end: 104 }],
    ['ID3v2 with its footer', Buffer.concat([sound, footed()]), { tags: [span('id3v2', n, n + 50)], end: n }],
    [
      'ID3v2 whose footer does not say so',
      Buffer.concat([sound, footed().fill(0, 45, 46)]),
      { tags: [span('id3v2', n, n + 50)], end: n },
    ],
    [
      'a footer of nothing',
      Buffer.concat([sound, latin('3DI\x05\0\x10\0\0\0\0')]),
      { tags: [], end: n + 10 },
    ],
    ['Lyrics3', Buffer.concat([sound, lyrics2()]), { tags: [span('lyrics3', n, n + 146)], end: n }],
    [
      'Lyrics3 of no length',
      Buffer.concat([sound, lyrics2().fill('x', 131, 137)]),
      { tags: [], end: n + 146 },
    ],
    [
      'Lyrics3 of version 1',
      Buffer.concat([sound, lyrics1(3000)]),
      { tags: [span('lyrics3', n, n + 3020)], end: n },
    ],
    [
      'Lyrics3 of version 1, the longest',
      Buffer.concat([sound, lyrics1(5100)]),
      { tags: [span('lyrics3', n, n + 5120)], end: n },
    ],
    ['Lyrics3 of version 1, too long', Buffer.concat([sound, lyrics1(5103)]), { tags: [], end: n + 5123 }],
    [
      'Lyrics3 of version 1 without a beginning',
      Buffer.concat([sound, latin('LYRICSEND')]),
      { tags: [], end: n + 9 },
    ],
    [
      'all of them',
      Buffer.concat([v2, sound, footed(), ape(0x80), lyrics2(), v1]),
      {
        tags: [
          span('id3v2', 0, v2.length),
          ...[
            span('id3v1', 300, 428),
            span('lyrics3', 154, 300),
            span('ape', 50, 154),
            span('id3v2', 0, 50),
          ].map(({ kind, start, end }) => span(kind, v2.length + n + start, v2.length + n + end)),
        ],
        start: v2.length,
        end: v2.length + n,
      },
    ],
    [
      'more before than are looked at',
      Buffer.concat([...new Array(17).fill(v2), sound]),
      { start: 16 * v2.length },
    ],
    ['more behind than are looked at', Buffer.concat([sound, ...new Array(17).fill(v1)]), { end: n + 128 }],
    [
      'one behind that begins within one before',
      Buffer.concat([v2, v1.subarray(0, 100), latin('APETAGEX'), le(2000, 4), le(140, 4), Buffer.alloc(16)]),
      { start: v2.length, end: v2.length + 132 },
    ],
  ])('%s', async (_what, bytes, expected) => {
    const file = fileOf(bytes, 5_120)
    expect(await surroundings(file)).toMatchObject(expected)
  })
})
