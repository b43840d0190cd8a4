import { expect, test } from 'vitest'
import { allowedDeletes, parseDeleteLimit } from '../../../src/core/limits.ts'

test.each([
  [' 50 ', { count: 50 }],
  ['1.25 %', { percent: 1.25 }],
  ['100%', { percent: 100 }],
  ['101%', undefined],
  ['100.5%, 3', undefined],
  ['0', { count: 0 }],
  ['50, 1%', { count: 50, percent: 1 }],
  ['x50', undefined],
  ['50x', undefined],
  ['5%x', undefined],
  ['1.x%', undefined],
  ['-1', undefined],
  ['', undefined],
  ['50,', undefined],
  ['1.5,1%', undefined],
])('%j is %j', (text, limit) => expect(parseDeleteLimit(text)).toEqual(limit))

test('a share of a whole is rounded down, and the larger of two allowances counts', () => {
  expect(allowedDeletes({ percent: 1.5 }, 1_000)).toBe(15)
  expect(allowedDeletes({ percent: 1 }, 199)).toBe(1)
  expect(allowedDeletes({ percent: 50, count: 3 }, 10)).toBe(5)
  expect(allowedDeletes({ percent: 50, count: 7 }, 10)).toBe(7)
  expect(allowedDeletes({}, 10)).toBe(0)
})

test('of a small whole never more than a share goes, rounded up', () => {
  const byDefault = { percent: 1, count: 50, most: 25 }
  expect(allowedDeletes(byDefault, 50)).toBe(13)
  expect(allowedDeletes(byDefault, 1)).toBe(1)
  expect(allowedDeletes(byDefault, 1_000)).toBe(50)
  expect(allowedDeletes(byDefault, 100_000)).toBe(1_000)
})
