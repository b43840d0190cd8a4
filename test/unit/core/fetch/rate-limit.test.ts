import { expect, test } from 'vitest'
import { RateLimit } from '../../../../src/core/fetch/rate-limit.ts'

test('starts are spread, and what was not used is not saved up', () => {
  const limit = new RateLimit(30)
  expect([limit.take(0), limit.take(0), limit.take(500)]).toEqual([0, 2_000, 3_500])
  expect(limit.take(60_000)).toBe(0)
  expect(limit.take(60_000)).toBe(2_000)
})

test('no limit, no wait', () => {
  const limit = new RateLimit(undefined)
  expect([limit.take(0), limit.take(0)]).toEqual([0, 0])
})
