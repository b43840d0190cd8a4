/** iTunes' list, and where it may be. */
import { expect, test } from 'vitest'
import { readMp4Tags } from '../../../../src/core/tags/mp4.ts'
import { be, box, ftyp } from '../../../support/audio-bytes.ts'
import { fileOf } from '../../../support/byte-source.ts'

const data = (type: number, content: Buffer) => box('data', be(type, 4), be(0, 4), content)
const text = (value: string) => data(1, Buffer.from(value))
const list = (title: string, ...more: Buffer[]) => box('ilst', box('\xa9nam', text(title)), ...more)
const handler = box('hdlr', be(0, 8), Buffer.from('mdir'), be(0, 13))
const meta = (...content: Buffer[]) => box('meta', be(0, 4), handler, ...content)
const known = (value: string) => ({ text: value, encoding: 'known' })

test.each<[string, Buffer[], object | undefined]>([
  ['where iTunes has it', [box('moov', box('udta', meta(list('A'))))], { title: known('A') }],
  ['right in the index', [box('moov', meta(list('A')))], { title: known('A') }],
  [
    'in a plain box, as QuickTime has it',
    [box('moov', box('udta', box('meta', handler, list('A'))))],
    { title: known('A') },
  ],
  [
    'behind the sound',
    [box('mdat', Buffer.alloc(70_000)), box('moov', meta(list('A')))],
    { title: known('A') },
  ],
  [
    'values without a text',
    [
      box(
        'moov',
        meta(
          box(
            'ilst',
            box('\xa9nam', data(1, Buffer.alloc(0)), text('A')),
            box('tmpo', data(21, Buffer.alloc(0))),
          ),
        ),
      ),
    ],
    { title: known('A') },
  ],
  ['twice: the first', [box('moov', meta(list('A')), box('udta', meta(list('B'))))], { title: known('A') }],
  ['in what is free', [box('moov', box('free', be(0, 4), handler, list('A')))], undefined],
  [
    'in what is free of the user data',
    [box('moov', box('udta', box('free', be(0, 4), handler, list('A'))))],
    undefined,
  ],
  ['in what is no user data', [box('moov', box('trak', meta(list('A'))))], undefined],
  ['outside the index', [box('free', meta(list('A')))], undefined],
  ['in a second index', [box('moov', box('free')), box('moov', meta(list('A')))], undefined],
  ['without a list', [box('moov', meta(box('free', list('A'))))], undefined],
  [
    'every field',
    [
      box(
        'moov',
        meta(
          list(
            'A',
            box('\xa9ART', text('B')),
            box('aART', text('C')),
            box('\xa9alb', data(2, Buffer.from('Ł', 'utf16le').swap16())),
            box('tmpo', data(21, be(120, 2))),
            box('covr', data(13, Buffer.alloc(99, 'x'))),
          ),
        ),
      ),
    ],
    { title: known('A'), artists: [known('B')], albumArtists: [known('C')], album: known('Ł'), bpm: 120 },
  ],
  [
    'values that are none',
    [
      box(
        'moov',
        meta(box('ilst', box('\xa9nam', box('mean', be(0, 4), be(1, 8)), box('data', be(1, 8)), text('A')))),
      ),
    ],
    { title: known('A') },
  ],
  [
    'a value too long for a name',
    [box('moov', meta(list('x'.repeat(65_529), box('\xa9ART', text('B')))))],
    { artists: [known('B')] },
  ],
  [
    'the longest value',
    [box('moov', meta(list('x'.repeat(65_528), box('\xa9ART', text('B')))))],
    { title: known('x'.repeat(65_528)), artists: [known('B')] },
  ],
])('%s', async (_what, boxes, fields) => {
  const bytes = Buffer.concat([ftyp, ...boxes])
  expect(await readMp4Tags(fileOf(bytes), 0, bytes.length)).toEqual(fields && { fields, problems: [] })
})

test('a list that is cut', async () => {
  const bytes = Buffer.concat([ftyp, box('moov', meta(list('A', box('covr', data(13, Buffer.alloc(99))))))])
  expect(await readMp4Tags(fileOf(bytes.subarray(0, -9)), 0, bytes.length - 9)).toEqual({
    fields: { title: known('A') },
    problems: ['its tags are truncated'],
  })
})
