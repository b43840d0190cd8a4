import { expect, test } from 'vitest'
import { stalePages } from '../../scripts/docs.ts'

test('the pages of docs/ that follow from the code are what `npm run docs` makes of it', () => {
  expect(stalePages()).toEqual([])
})
