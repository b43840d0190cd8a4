import { expect, test } from 'vitest'
import { parseBandwidth } from '../../src/core/bandwidth.ts'
import { Throttle } from '../../src/throttle.ts'

test('a bandwidth limit: what is sent is paid for before more is', async () => {
  let now = new Date('2026-11-23T12:00:00').getTime()
  const throttle = new Throttle(
    parseBandwidth('12:00,1M 12:01,off'),
    () => now,
    async milliseconds => {
      now += milliseconds
    },
  )
  const startedAt = now
  const passed: number[] = []
  for (let count = 0; count < 100; count++) {
    await throttle.pass(1024 ** 2, new AbortController().signal)
    passed.push(Math.round((now - startedAt) / 1_000))
  }
  expect(passed.slice(0, 5)).toEqual([1, 2, 3, 4, 5])
  expect(passed.at(-1)).toBe(60)
})
