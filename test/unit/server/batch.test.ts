import { describe, expect, test } from 'vitest'
import { batched } from '../../../src/server/batch.ts'

/** A loader whose batches the test answers by hand. */
function controlled() {
  const batches: { keys: readonly string[]; answer(): void; fail(error: Error): void }[] = []
  const load = (keys: readonly string[]) =>
    new Promise<Map<string, string>>((resolve, reject) => {
      batches.push({
        keys,
        answer: () =>
          resolve(new Map(keys.filter(key => key !== 'none').map(key => [key, key.toUpperCase()]))),
        fail: reject,
      })
    })
  return { batches, load }
}
const tick = () => new Promise(resolve => setImmediate(() => setImmediate(resolve)))

describe('batched', () => {
  test('one tick, one batch, each key once', async () => {
    const { batches, load } = controlled()
    const get = batched({ load, maxInFlight: 1, maxBatch: 100 })
    const answers = Promise.all([get('a'), get('b'), get('a'), get('none')])
    await tick()
    expect(batches.map(one => one.keys)).toEqual([['a', 'b', 'none']])
    batches[0]?.answer()
    expect(await answers).toEqual(['A', 'B', 'A', undefined])
  })

  test('a question asked while its key is on the way is asked anew: no answer is older than its question', async () => {
    const { batches, load } = controlled()
    const get = batched({ load, maxInFlight: 1, maxBatch: 100 })
    const first = get('a')
    await tick()
    const second = get('a')
    await tick()
    expect(batches.length).toBe(1)
    batches[0]?.answer()
    expect(await first).toBe('A')
    await tick()
    expect(batches.map(one => one.keys)).toEqual([['a'], ['a']])
    batches[1]?.answer()
    expect(await second).toBe('A')
  })

  test('no more batches at a time, and no larger ones, than allowed; nobody is forgotten', async () => {
    const { batches, load } = controlled()
    const get = batched({ load, maxInFlight: 2, maxBatch: 3 })
    const answers = Promise.all(['a', 'b', 'c', 'd', 'e', 'f', 'g'].map(get))
    await tick()
    await tick()
    expect(batches.map(one => one.keys.length)).toEqual([3, 3])
    batches[0]?.answer()
    batches[1]?.answer()
    await tick()
    expect(batches[2]?.keys).toEqual(['g'])
    batches[2]?.answer()
    expect(await answers).toEqual(['A', 'B', 'C', 'D', 'E', 'F', 'G'])
  })

  test('a failed batch fails its own questions and none after them', async () => {
    const { batches, load } = controlled()
    const get = batched({ load, maxInFlight: 1, maxBatch: 100 })
    const first = Promise.allSettled([get('a'), get('b')])
    await tick()
    const second = get('c')
    batches[0]?.fail(new Error('away'))
    expect((await first).map(one => one.status)).toEqual(['rejected', 'rejected'])
    await tick()
    batches[1]?.answer()
    expect(await second).toBe('C')
  })
})
