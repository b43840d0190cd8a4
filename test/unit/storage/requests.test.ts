import { describe, expect, test } from 'vitest'
import { Requests } from '../../../src/storage/requests.ts'
import { type ObjectStore, StoreError } from '../../../src/storage/store.ts'

const silent = { warn() {}, note() {}, detail() {} }
const never = new AbortController().signal

/** Requests to a store that is there, by a clock of their own. */
function requests(limits: { initial: number; most: number }, busy?: () => number) {
  const clock = { now: 0 }
  const made = new Requests({
    store: { checkBucket: async () => {} } as unknown as ObjectStore,
    report: silent,
    initialConcurrency: limits.initial,
    maxConcurrency: limits.most,
    maxOutage: 1_000,
    stopping: never,
    signal: never,
    now: () => clock.now,
    ...(busy && { busy }),
  })
  return { made, clock }
}

/** Begins as many as there are; @returns how many of them have their turn, and how to end those */
async function begin(made: Requests, count: number) {
  const ends: (() => void)[] = []
  const all = Array.from({ length: count }, () =>
    made.send(1_000, () => new Promise<void>(resolve => ends.push(resolve))),
  )
  await new Promise(setImmediate)
  return {
    began: () => ends.length,
    async endFirst(many: number) {
      for (const end of ends.splice(0, many)) end()
      await new Promise(setImmediate)
    },
    async finish() {
      while (ends.length > 0) await this.endFirst(ends.length)
      await Promise.all(all)
    },
  }
}

describe('requests with content', () => {
  test('as many at a time as there are places; more once that has brought more', async () => {
    const { made, clock } = requests({ initial: 4, most: 16 }, () => 0)
    const work = await begin(made, 40)
    expect(work.began()).toBe(4)
    clock.now = 250
    await work.endFirst(4)
    // Each place was used once within the window: twice as many now.
    expect([made.concurrency, work.began()]).toEqual([8, 8])
    await work.finish()
    expect(made.statistics).toMatchObject({ peakConcurrency: 8, halvings: 0 })
  })

  test('no more while this thread has no time for them', async () => {
    const { made, clock } = requests({ initial: 4, most: 16 })
    const work = await begin(made, 40)
    const busyUntil = performance.now() + 50
    while (performance.now() < busyUntil);
    clock.now = 250
    await work.endFirst(4)
    expect([made.concurrency, work.began()]).toEqual([4, 4])
    await work.finish()
  })

  test('a number that is given stays as it is', async () => {
    const { made, clock } = requests({ initial: 4, most: 4 }, () => 0)
    const work = await begin(made, 20)
    clock.now = 250
    await work.endFirst(4)
    expect([made.concurrency, work.began()]).toEqual([4, 4])
    await work.finish()
  })

  test('SlowDown halves them', async () => {
    const { made } = requests({ initial: 4, most: 16 })
    let isSlow = true
    await made.send(1, async () => {
      if (!isSlow) return
      isSlow = false
      throw new StoreError('throttled', 'slower')
    })
    expect(made.statistics).toMatchObject({ concurrency: 2, halvings: 1, retries: 1 })
    const work = await begin(made, 5)
    expect(work.began()).toBe(2)
    await work.finish()
  })

  test('whoever has a place keeps it for all its requests, and a question takes none', async () => {
    const { made } = requests({ initial: 1, most: 1 })
    const order: string[] = []
    const long = made.inTurn(async () => {
      order.push(await made.carry(1, async () => 'first'))
      order.push(await made.ask(async () => 'question'))
      order.push(await made.carry(1, async () => 'second'))
    })
    const other = made.send(1, async () => order.push('other'))
    await Promise.all([long, other])
    expect(order).toEqual(['first', 'question', 'second', 'other'])
  })
})
