import { expect, test } from 'vitest'
import { parseBandwidth } from '../../src/core/bandwidth.ts'
import type { ObjectStore } from '../../src/storage/store.ts'
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

/** A throttle whose clock is moved by its own waits alone. */
function clocked(table: string | undefined, start = '2026-11-23T12:00:00') {
  const clock = { now: new Date(start).getTime(), waits: [] as number[] }
  const throttle = new Throttle(
    table === undefined ? undefined : parseBandwidth(table),
    () => clock.now,
    async milliseconds => {
      clock.waits.push(milliseconds)
      clock.now += milliseconds
    },
  )
  return { throttle, clock }
}

test('without a limit, or where there is none at that hour, nothing waits', async () => {
  for (const table of [undefined, 'off', '08:00,1K 11:00,off']) {
    const { throttle, clock } = clocked(table)
    await throttle.pass(10 * 1024 ** 3)
    expect([table, clock.waits]).toEqual([table, []])
  }
})

test('in slices: none waits for another’s whole body, and none longer than a tenth of a second at a time', async () => {
  const { throttle, clock } = clocked('100K')
  const ends: string[] = []
  await Promise.all([
    throttle.pass(100 * 1024).then(() => ends.push('large')),
    throttle.pass(1024).then(() => ends.push('small')),
  ])
  expect(ends).toEqual(['small', 'large'])
  for (const wait of clock.waits) expect(wait).toBeLessThanOrEqual(101)
  const { throttle: fast, clock: other } = clocked('100M')
  await fast.pass(1024 ** 2)
  // 64 KiB of 100 MiB a second.
  expect(Math.max(...other.waits)).toBeLessThan(2)
  expect(other.waits.length).toBeGreaterThan(5)
  expect(other.waits.length).toBeLessThanOrEqual(16)
})

test('one second of what was not used is kept, and no more', async () => {
  const { throttle, clock } = clocked('100K')
  clock.now += 10_000
  await throttle.pass(100 * 1024)
  expect(clock.waits).toEqual([])
  await throttle.pass(10 * 1024)
  expect(clock.waits.reduce((sum, wait) => sum + wait, 0)).toBeCloseTo(100, 0)
})

test('streams go before bodies that wait', async () => {
  const { throttle } = clocked('10K')
  const ends: string[] = []
  const body = async (name: string) => {
    await throttle.pass(1_000)
    ends.push(name)
  }
  const stream = async () => {
    for await (const _ of throttle.through(
      (async function* () {
        yield Buffer.alloc(1_000)
      })(),
    ))
      ends.push('stream')
  }
  await Promise.all([body('first'), body('second'), body('third'), stream()])
  expect(ends.indexOf('stream')).toBeLessThan(ends.indexOf('third'))
  expect(ends.slice(1).filter(name => name !== 'stream')).toEqual(['second', 'third'])
})

test('a slice that waits looks at the timetable every minute', async () => {
  const { throttle, clock } = clocked('12:00,1M 12:01,0.001 12:03,off', '2026-11-23T12:00:59.999')
  await throttle.pass(64 * 1024)
  expect(clock.waits.slice(1)).toEqual([60_000, 60_000])
  expect(clock.waits[0]).toBeCloseTo(62.5, 0)
})

test('a signal ends the wait with its reason, and others go on', async () => {
  const aborted = AbortSignal.abort(new Error('enough'))
  const { throttle } = clocked('10K')
  await expect(throttle.pass(1, aborted)).rejects.toThrow('enough')
  const abort = new AbortController()
  const waiting = new Throttle(parseBandwidth('1K'))
  const first = waiting.pass(600_000, abort.signal)
  const second = waiting.pass(10)
  abort.abort(new Error('enough'))
  await expect(first).rejects.toThrow('enough')
  await second
  const broken = new Throttle(parseBandwidth('1K'), Date.now, async () => {
    throw new Error('no clock')
  })
  await expect(broken.pass(10)).rejects.toThrow('no clock')
})

test('the downloads of a store pay, whole and in part, and what is not there costs nothing', async () => {
  const { throttle, clock } = clocked('10K')
  let destroyed: Error | undefined
  const store = {
    bucket: 'music',
    async get(key: string) {
      if (key === 'gone') return undefined
      const body = Object.assign(
        (async function* () {
          yield Buffer.alloc(5 * 1024)
        })(),
        {
          destroy(error: Error) {
            destroyed = error
          },
        },
      )
      return { head: { key }, body }
    },
    getInto: async (_key: string, into: Uint8Array) => ({ head: {}, bytes: into.length }),
  } as unknown as ObjectStore
  expect(new Throttle(undefined).downloadsOf(store)).toBe(store)
  const limited = throttle.downloadsOf(store)
  expect(limited.bucket).toBe('music')
  expect(await limited.get('gone')).toBeUndefined()
  expect(clock.waits).toEqual([])
  const waited = () => Math.round(clock.waits.splice(0).reduce((sum, wait) => sum + wait, 0))
  const content = await limited.get('a')
  expect(waited()).toBe(0)
  expect((await Array.fromAsync(content?.body ?? [])).map(chunk => chunk.length)).toEqual([5 * 1024])
  expect(waited()).toBeCloseTo(500, -1)
  content?.body.destroy(new Error('enough'))
  expect(destroyed?.message).toBe('enough')
  expect(await limited.getInto('a', Buffer.alloc(10 * 1024))).toMatchObject({ bytes: 10 * 1024 })
  expect(waited()).toBeCloseTo(1_000, -1)
})
