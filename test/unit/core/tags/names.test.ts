import { describe, expect, test } from 'vitest'
import { addField, mergeTags, type TagFields } from '../../../../src/core/tags/fields.ts'
import { tagNames } from '../../../../src/core/tags/names.ts'

const known = (text: string) => ({ text, encoding: 'known' as const })
const likely = (text: string) => ({ text, encoding: 'likely' as const })
const doubtful = (text: string) => ({ text, encoding: 'doubtful' as const })

describe('the artist of the album', () => {
  test.each([
    ...['Various', 'various artists', 'Various Artist', 'VA', 'v.a.', 'V. A.', 'Unknown', 'Unknown Artist'],
    ...['Diverse', 'Verschiedene', 'Verschiedene Interpreten'],
  ])('is nobody: %s', name => {
    expect(tagNames('x.mp3', { albumArtists: [known(name)] })).toStrictEqual({ doubts: [] })
  })
  test.each([
    ...['Vanessa', 'Various Cruelties', 'The Various Artists', 'Unknown Mortal Orchestra', 'An Unknown'],
    ...['Diverse City', 'V Aa', 'vxa.', 'Die Verschiedenen'],
  ])('is somebody: %s', name => {
    expect(tagNames('x.mp3', { albumArtists: [known(name)] })).toStrictEqual({ artist: name, doubts: [] })
  })
  test('gives way to that of the track', () => {
    expect(tagNames('x.mp3', { artists: [known('A'), known('B')], albumArtists: [known('C')] })).toEqual({
      artist: 'A, B',
      doubts: [],
    })
  })
})

test.each<[string, string, TagFields, object]>([
  ['likely, and the path says the very same', 'A/Jóga.mp3', { title: likely('J\u00f3ga') }, { doubts: [] }],
  [
    'likely, and the path says another',
    'A/Joga.mp3',
    { title: likely('Jóga') },
    { title: 'Jóga', doubts: [] },
  ],
  [
    'likely, and the path says nothing',
    'x.mp3',
    { artists: [likely('Björk')] },
    { artist: 'Björk', doubts: [] },
  ],
  [
    'doubtful, and the path says another',
    'A/B.mp3',
    { title: doubtful('Ïåñíÿ'), artists: [known('K'), doubtful('Ïåñíÿ')] },
    {
      doubts: [
        'the encoding of its title is unknown; taken from the path',
        'the encoding of its artist is unknown; taken from the path',
      ],
    },
  ],
  [
    'doubtful, and the path says nothing',
    'x.mp3',
    { artists: [doubtful('Ïåñíÿ'), likely('x')] },
    { artist: 'Ïåñíÿ, x', doubts: ['the encoding of its artist is unknown'] },
  ],
  [
    'a doubtful album',
    'A/B.mp3',
    { album: doubtful('Ïåñíÿ') },
    { doubts: ['the encoding of its album is unknown; left out'] },
  ],
  ['a likely album', 'A/B.mp3', { album: likely('Ä') }, { album: 'Ä', doubts: [] }],
])('%s', (_what, path, fields, expected) => {
  expect(tagNames(path, fields)).toStrictEqual(expected)
})

describe('fields', () => {
  test.each([
    ['120', 120],
    ['120,5', 120.5],
    ['1', 1],
    ['0.99', undefined],
    ['999.9', 999.9],
    ['1000', undefined],
    ['fast', undefined],
  ])('a tempo of %s', (text, bpm) => {
    const fields: TagFields = {}
    addField(fields, 'bpm', [known(text)])
    expect(fields.bpm).toBe(bpm)
  })
  test('what came first stays; further artists are added, each once', () => {
    const fields: TagFields = {}
    for (const text of ['A', ' B\0\0C ', 'A', '\0', '']) {
      addField(fields, 'artists', [known(text)])
      addField(fields, 'albumArtists', [known(text)])
      addField(fields, 'title', [known(text)])
    }
    expect(fields).toEqual({
      artists: [known('A'), known('B C')],
      albumArtists: [known('A'), known('B C')],
      title: known('A'),
    })
  })
  test('a blank tells nothing', () => {
    const fields: TagFields = {}
    for (const name of ['artists', 'albumArtists', 'title', 'album', 'bpm'] as const)
      addField(fields, name, [known(' '), known('\0')])
    expect(fields).toStrictEqual({})
  })
  test('the first reading that tells a field wins', () => {
    const first = { fields: { title: known('A'), bpm: 90 }, problems: ['p'] }
    const second = {
      fields: {
        title: known('B'),
        artists: [known('C')],
        albumArtists: [known('D')],
        album: known('E'),
        bpm: 9,
      },
      problems: ['p', 'q'],
    }
    expect(mergeTags([first, second])).toEqual({
      fields: { ...second.fields, ...first.fields },
      problems: ['p', 'q'],
    })
  })
})
