/** A body that must keep coming, and what becomes of one that is left in the middle. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { steadily } from '../../../src/verify/steadily.ts'

const live = new AbortController().signal

/** Chunks of so many bytes, each after so many milliseconds; tells whether it was closed. */
function bodyOf(chunks: number, bytes: number, pause = 0) {
  const state = { closed: false, given: 0 }
  async function* body() {
    try {
      for (; state.given < chunks; state.given++) {
        if (pause > 0) await sleep(pause)
        yield Buffer.alloc(bytes)
      }
    } finally {
      state.closed = true
    }
  }
  return { body: body(), state }
}
const lengthOf = async (chunks: AsyncIterable<Uint8Array>) =>
  (await Array.fromAsync(chunks)).reduce((sum, chunk) => sum + chunk.length, 0)

test('all of it, with time for what comes', async () => {
  const { body, state } = bodyOf(20, 1_000, 30)
  // 600 ms and more: each thousand bytes are worth a second.
  expect(await lengthOf(steadily(body, { deadlineMs: 500, leastRate: 1_000, signal: live }))).toBe(20_000)
  expect(state.closed).toBe(true)
})

test('no longer than what came is worth, and then it is closed', async () => {
  const { body, state } = bodyOf(1_000, 1, 10)
  await expect(
    lengthOf(steadily(body, { deadlineMs: 60, leastRate: 1_000_000, signal: live })),
  ).rejects.toThrow(/^only \d+ bytes arrived in time$/)
  await expect.poll(() => state.closed).toBe(true)
  expect(state.given).toBeLessThan(20)
})

test('whoever stops reading closes it', async () => {
  const { body, state } = bodyOf(1_000, 1)
  for await (const _ of steadily(body, { signal: live })) break
  await expect.poll(() => state.closed).toBe(true)
  expect(state.given).toBeLessThan(3)
})

test('a signal that was given before, or comes while it is read, ends it with its reason', async () => {
  const early = bodyOf(10, 1)
  const aborted = AbortSignal.abort(new Error('enough'))
  await expect(lengthOf(steadily(early.body, { signal: aborted }))).rejects.toThrow('enough')
  expect(early.state.given).toBe(0)
  const abort = new AbortController()
  const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }
  const reading = lengthOf(steadily(never, { signal: abort.signal }))
  abort.abort(new Error('enough'))
  await expect(reading).rejects.toThrow('enough')
})

test('an error of the body is its own', async () => {
  async function* broken() {
    yield Buffer.alloc(5)
    throw new Error('reset')
  }
  await expect(lengthOf(steadily(broken(), { signal: live }))).rejects.toThrow('reset')
})
