import { expect, test } from 'vitest'
import { repeat } from '../../../src/worker/repeat.ts'

test('again and again, never twice at a time, whatever goes wrong; its end waits for what is under way', async () => {
  const details: string[] = []
  let [times, now, most] = [0, 0, 0]
  const { promise: held, resolve: letGo } = Promise.withResolvers<void>()
  const repeating = repeat(
    1,
    async () => {
      most = Math.max(most, ++now)
      times++
      try {
        if (times === 1) throw new Error('database away')
        if (times === 3) await held
      } finally {
        now--
      }
    },
    { detail: text => void details.push(text) },
  )
  await expect.poll(() => times).toBe(3)
  let isStopped = false
  const stopping = repeating.stop().then(() => {
    isStopped = true
  })
  await new Promise(resolve => setImmediate(resolve))
  expect(isStopped).toBe(false)
  letGo()
  await stopping
  expect([times, most, details]).toEqual([3, 1, ['maintenance: Error: database away']])
})

test('not once if it is ended before its time has come', async () => {
  let times = 0
  await repeat(60_000, async () => void times++, { detail() {} }).stop()
  expect(times).toBe(0)
})
