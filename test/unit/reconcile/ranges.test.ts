/** A bucket listed in ranges: each object once and in order, whatever the ranges and pages, and little beyond a range. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compareUtf8 } from '../../../src/core/utf8-order.ts'
import { RangeKeys } from '../../../src/reconcile/keyed-rows.ts'
import { factsOf, listInRanges } from '../../../src/reconcile/listing.ts'
import type { ObjectEntry, ObjectStore } from '../../../src/storage/store.ts'

/** A store that lists these in pages of so many. */
function storeOf(all: readonly ObjectEntry[], pageSize: number) {
  const state = { pages: 0 }
  const store = {
    async *list({ prefix = '', startAfter = '' }: { prefix?: string; startAfter?: string }) {
      const found = all.filter(({ key }) => key.startsWith(prefix) && compareUtf8(key, startAfter) > 0)
      for (let at = 0; at < found.length || at === 0; at += pageSize) {
        state.pages++
        yield found.slice(at, at + pageSize)
      }
    },
  } as unknown as ObjectStore
  return { store, state }
}
const entry = (key: string, size = 1, more: Partial<ObjectEntry> = {}): ObjectEntry => ({
  key,
  size,
  etag: `e ${key}`,
  lastModified: new Date(7),
  ...more,
})
const options = { prefix: '', except: 'quarantine/', width: 3 }
const list = async (store: ObjectStore, boundaries: string[], more = {}) =>
  (await Array.fromAsync(listInRanges(store, boundaries, { ...options, ...more }))).flat()

describe('ranges', () => {
  const name = fc.oneof(
    fc.constantFrom('a', 'b', 'ba', 'quarantine/x', 'quarantine', 'z', '\uffff', '\u{1F3A7}', 'folder/'),
    fc.string({ minLength: 1, maxLength: 3 }),
  )
  test('bring each object once, in byte order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(name, { maxLength: 20 }),
        fc.uniqueArray(name, { maxLength: 6 }),
        fc.integer({ min: 1, max: 4 }),
        fc.constantFrom(0, 1),
        async (names, cuts, pageSize, size) => {
          const all = names.toSorted(compareUtf8).map(key => entry(key, size))
          const { store } = storeOf(all, pageSize)
          const found = await list(store, cuts.toSorted(compareUtf8))
          const expected = all.filter(
            ({ key }) => !key.startsWith('quarantine/') && !(size === 0 && key.endsWith('/')),
          )
          expect(found.map(({ key }) => key)).toEqual(expected.map(({ key }) => key))
        },
      ),
      { numRuns: 300 },
    )
  })

  test('end with the page that leads beyond them', async () => {
    const all = Array.from({ length: 100 }, (_, index) => entry(String(index).padStart(3, '0')))
    const { store, state } = storeOf(all, 10)
    expect(await list(store, ['024', '049'])).toHaveLength(100)
    // 00–29, 25–54 and 50–99.
    expect(state.pages).toBe(3 + 3 + 5)
  })

  test('are of one prefix, and without a quarantine of all of it', async () => {
    const { store } = storeOf(
      ['audio/a', 'b', 'quarantine/c'].map(key => entry(key)),
      2,
    )
    expect((await list(store, [], { prefix: 'audio/' })).map(({ key }) => key)).toEqual(['audio/a'])
    expect(await list(store, ['b'], { except: '' })).toHaveLength(3)
  })

  test('what a listing tells of an object', () => {
    const long = new Date(Date.now() - 100 * 86_400_000)
    expect(factsOf(entry('a', 5))).toEqual({ key: 'a', size: 5, etag: 'e a', lastModified: 7 })
    const tiered = factsOf(entry('a', 5, { storageClass: 'INTELLIGENT_TIERING', lastModified: long }))
    expect(tiered).toEqual({
      key: 'a',
      size: 5,
      etag: 'e a',
      lastModified: long.getTime(),
      mayBeArchived: true,
    })
    expect(factsOf(entry('a', 5, { storageClass: 'STANDARD' }))).not.toHaveProperty('mayBeArchived')
  })
})

describe('where it is cut', () => {
  const key = (index: number) => String(index).padStart(7, '0')
  const cuts = (count: number, limits: { stride?: number; most?: number }) => {
    const keys = new RangeKeys(limits)
    for (let index = 0; index < count; index++) keys.add(key(index))
    return keys.boundaries().map(Number)
  }
  test.each<[string, number, { stride?: number; most?: number }, number[]]>([
    ['every key that is kept', 3 * 4_096, { stride: 4_096 }, [0, 4_096, 8_192]],
    ['every second of them', 4 * 4_096, { stride: 2_048 }, [2_048, 6_144, 10_240, 14_336]],
    ['every key, where they are further apart than a range', 20_000, { stride: 8_192 }, [0, 8_192, 16_384]],
    // Of four, every other stays; from then on every second is kept, and so on.
    [
      'what is left of a sample that was thinned out',
      6 * 4_096,
      { stride: 4_096, most: 4 },
      [0, 8_192, 16_384],
    ],
    ['thinned out twice', 12 * 4_096, { stride: 4_096, most: 4 }, [0, 16_384, 32_768]],
    ['one that is just not full', 3 * 4_096, { stride: 4_096, most: 4 }, [0, 4_096, 8_192]],
  ])('%s', (_, count, limits, expected) => {
    expect(cuts(count, limits)).toEqual(expected)
  })
})
