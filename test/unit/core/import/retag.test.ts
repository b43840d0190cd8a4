import { expect, test } from 'vitest'
import { retagged } from '../../../../src/core/import/retag.ts'

const now = { artist: 'Björk', title: 'Jóga' }
const formerly = [
  { artist: 'BjÃ¶rk', title: 'JÃ³ga' },
  { artist: 'Folder', title: 'File' },
]

test.each([
  ['as it was read then', { artist: 'BjÃ¶rk', title: 'JÃ³ga' }, now],
  ['named after its path then', { artist: 'Folder', title: 'File' }, now],
  ['right already', now, undefined],
  ['both given by a person', { artist: 'Bjork', title: 'Joga' }, undefined],
  ['the title given by a person', { artist: 'BjÃ¶rk', title: 'Joga' }, { artist: 'Björk', title: 'Joga' }],
  ['the artist given by a person', { artist: 'B.', title: 'JÃ³ga' }, { artist: 'B.', title: 'Jóga' }],
])('%s', (_, row, expected) => {
  expect(retagged(row, now, formerly)).toEqual(expected)
})
