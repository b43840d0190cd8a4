import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { inSequence, mergeOrdered } from '../../../../src/core/reconcile/merge.ts'
import { compareUtf8 } from '../../../../src/core/utf8-order.ts'

const anyKey = fc.string({
  unit: fc.constantFrom('a', 'b', 'B', 'é', '\ue000', '\uffff', '😀', '𝄞'),
  maxLength: 4,
})

async function* paged<T>(entries: readonly T[], size: number): AsyncGenerator<T[]> {
  for (let start = 0; start < entries.length; start += size) yield entries.slice(start, start + size)
}

async function collect<T>(batches: AsyncIterable<readonly T[]>): Promise<T[]> {
  const all: T[] = []
  for await (const batch of batches) {
    if (batch.length === 0) throw new Error('an empty batch')
    all.push(...batch)
  }
  return all
}

describe('mergeOrdered', () => {
  it('joins as the tables in memory would, whatever the pages', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyKey),
        fc.uniqueArray(anyKey),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        async (left, right, leftPage, rightPage) => {
          left.sort(compareUtf8)
          right.sort(compareUtf8)
          const joined = await collect(
            mergeOrdered(
              paged(left, leftPage),
              paged(right, rightPage),
              key => key,
              key => key,
            ),
          )
          const rows = joined.filter(pair => pair.left !== undefined)
          expect(rows.map(pair => pair.left)).toEqual(left)
          for (const { key, right: object } of rows)
            expect(object).toBe(right.includes(key) ? key : undefined)
          const objects = joined.filter(pair => pair.right !== undefined && pair.again !== true)
          expect(objects.map(pair => pair.right)).toEqual(right)
          for (const { key, left: row } of objects) expect(row).toBe(left.includes(key) ? key : undefined)
          for (let index = 1; index < joined.length; index += 1) {
            expect(compareUtf8(joined[index - 1]!.key, joined[index]!.key)).toBeLessThanOrEqual(0)
          }
        },
      ),
    )
  })

  it('refuses a side that is out of order, and a listing that repeats a key', async () => {
    const merge = (left: string[], right: string[]) =>
      collect(
        mergeOrdered(
          paged(left, 2),
          paged(right, 2),
          key => key,
          key => key,
        ),
      )
    await expect(merge(['b', 'a'], [])).rejects.toMatchObject({ code: 'reconcile.order' })
    await expect(merge([], ['a', 'c', 'b'])).rejects.toMatchObject({ code: 'reconcile.order' })
    await expect(merge([], ['a', 'b', 'b'])).rejects.toMatchObject({ code: 'reconcile.order' })
    // UTF-16 order is not UTF-8 order.
    await expect(merge([], ['😀', '\uffff'])).rejects.toMatchObject({ code: 'reconcile.order' })
  })

  it('fails when a listing fails on a later page, after which nothing is yielded', async () => {
    async function* failing(): AsyncGenerator<string[]> {
      yield ['a', 'b']
      throw new Error('page 2')
    }
    const seen: string[] = []
    const run = async (): Promise<void> => {
      for await (const batch of mergeOrdered(
        paged(['a', 'b', 'c', 'd'], 1),
        failing(),
        k => k,
        k => k,
      )) {
        seen.push(...batch.map(pair => pair.key))
      }
    }
    await expect(run()).rejects.toThrow('page 2')
    expect(seen).not.toContain('c')
  })

  it('closes both sides when its reader stops early', async () => {
    const closed: string[] = []
    async function* source(name: string): AsyncGenerator<string[]> {
      try {
        for (let index = 0; index < 100; index += 1) yield [`k${String(index).padStart(3, '0')}`]
      } finally {
        closed.push(name)
      }
    }
    for await (const _ of mergeOrdered(
      source('left'),
      source('right'),
      k => k,
      k => k,
    ))
      break
    expect(closed.sort()).toEqual(['left', 'right'])
  })
})

describe('inSequence', () => {
  async function* factories<T>(lists: readonly T[][]): AsyncGenerator<() => AsyncIterable<T>> {
    for (const list of lists) {
      yield async function* () {
        yield* list
      }
    }
  }

  it('concatenates, in order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.integer())),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
        async (lists, width, depth) => {
          const all: number[] = []
          for await (const item of inSequence(factories(lists), { width, depth })) all.push(item)
          expect(all).toEqual(lists.flat())
        },
      ),
    )
  })

  it('runs at most `width` streams at once and reads at most `depth` items ahead', async () => {
    let open = 0
    let most = 0
    const read: number[] = []
    async function* sources(): AsyncGenerator<() => AsyncIterable<number>> {
      for (let stream = 0; stream < 6; stream += 1) {
        yield async function* () {
          open += 1
          most = Math.max(most, open)
          read[stream] = 0
          for (let item = 0; item < 10; item += 1) {
            read[stream] = item + 1
            yield item
          }
          open -= 1
        }
      }
    }
    let taken = 0
    for await (const _ of inSequence(sources(), { width: 3, depth: 2 })) {
      taken += 1
      await new Promise(resolve => setImmediate(resolve))
      if (taken === 1) expect(read.slice(1)).toEqual([2, 2])
    }
    expect(taken).toBe(60)
    expect(most).toBe(3)
  })

  it('reports a failing stream where it stands, and never as its end', async () => {
    async function* sources(): AsyncGenerator<() => AsyncIterable<string>> {
      yield async function* () {
        yield 'a'
        yield 'b'
      }
      yield async function* () {
        yield 'c'
        throw new Error('lost')
      }
      yield async function* () {
        yield 'd'
      }
    }
    const seen: string[] = []
    const run = async (): Promise<void> => {
      for await (const item of inSequence(sources(), { width: 3, depth: 4 })) seen.push(item)
    }
    await expect(run()).rejects.toThrow('lost')
    expect(seen).toEqual(['a', 'b', 'c'])
  })
})
