/** What was done is committed in batches, one at a time, in its order; a failure ends it. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Committer } from '../../../src/runs/committer.ts'

let batches: number[][]
/** ends the commit that is under way */
let end: () => void
beforeEach(() => {
  batches = []
})
afterEach(() => {
  vi.useRealTimers()
})

const immediate = (size = 3) =>
  new Committer<number>(async batch => void batches.push([...batch]), { size, interval: 1_000 })

test('when there are as many as a batch has, and the rest when it is told to', async () => {
  const committer = immediate()
  for (const one of [1, 2, 3, 4]) await committer.add(one)
  expect(batches).toEqual([[1, 2, 3]])
  await committer.flush()
  await committer.flush()
  expect(batches).toEqual([[1, 2, 3], [4]])
})

test('when the first of them has waited for so long, and not sooner, each time anew', async () => {
  vi.useFakeTimers()
  const committer = immediate()
  for (const one of [1, 2]) {
    await committer.add(one)
    await vi.advanceTimersByTimeAsync(999)
    await committer.add(one + 10)
    expect(batches).toHaveLength(one - 1)
    await vi.advanceTimersByTimeAsync(1)
    expect(batches.at(-1)).toEqual([one, one + 10])
  }
  // What is flushed in between is not waited for any longer.
  await committer.add(5)
  await vi.advanceTimersByTimeAsync(500)
  await committer.flush()
  await committer.add(6)
  await vi.advanceTimersByTimeAsync(500)
  expect(batches.at(-1)).toEqual([5])
  await vi.advanceTimersByTimeAsync(500)
  expect(batches.at(-1)).toEqual([6])
})

test('what is added while a batch is committed waits for it, and goes together', async () => {
  const committer = new Committer<number>(
    batch =>
      new Promise(resolve => {
        batches.push([...batch])
        end = resolve
      }),
    { size: 2, interval: 60_000 },
  )
  const first = [1, 2].map(one => committer.add(one))
  await expect.poll(() => batches).toEqual([[1, 2]])
  const all = [...first, ...[3, 4, 5].map(one => committer.add(one))]
  await Promise.all(first.slice(0, 1))
  expect(batches).toEqual([[1, 2]])
  end()
  await expect
    .poll(() => batches)
    .toEqual([
      [1, 2],
      [3, 4, 5],
    ])
  end()
  await Promise.all(all)
})

test('a commit that fails fails whoever waits for it, and whoever comes after it', async () => {
  vi.useFakeTimers()
  const committer = new Committer<number>(() => Promise.reject(new Error('database away')), {
    size: 2,
    interval: 1_000,
  })
  await committer.add(1)
  await vi.advanceTimersByTimeAsync(1_000)
  await expect(committer.add(2)).rejects.toThrow('database away')
  await expect(committer.flush()).rejects.toThrow('database away')
})
