import { expect, test } from 'vitest'
import { stagingPrefix } from '../../../src/core/prefixes.ts'

test('what is on its way lies below the prefix of all keys, hidden', () => {
  expect(stagingPrefix('audio/')).toBe('audio/.incoming/')
  expect(stagingPrefix('')).toBe('.incoming/')
})
