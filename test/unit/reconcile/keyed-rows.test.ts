import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Proof, RowFacts } from '../../../src/core/reconcile/facts.ts'
import type { SortedRecord } from '../../../src/core/reconcile/records.ts'
import { compareUtf8 } from '../../../src/core/utf8-order.ts'
import { encodeRow, keyedRows, RangeKeys, withProofs } from '../../../src/reconcile/keyed-rows.ts'

const text = fc.oneof(fc.constantFrom('', ' ', '=', ' a=b ', '\n'), fc.string({ unit: 'grapheme' }))
const row = fc.record({
  trackId: fc.uuid(),
  key: text,
  source: fc.constantFrom('S3', 'LOCAL', 'YOUTUBE', 'UNAVAILABLE', null),
  size: fc.option(fc.oneof(fc.nat(), fc.double({ noNaN: true, noDefaultInfinity: true, min: 0 }))),
  path: fc.option(text),
})

async function* pages<T>(...all: T[][]): AsyncGenerator<T[]> {
  yield* all
}

describe('rows that wait in a sorter', () => {
  it('come back as they were', async () => {
    await fc.assert(
      fc.asyncProperty(row, async one => {
        const sorted = pages<SortedRecord>([[one.key, encodeRow(one as RowFacts)]])
        const [page] = await Array.fromAsync(keyedRows({ add: () => undefined, sorted: () => sorted }))
        expect(page).toEqual([one])
      }),
    )
  })
})

describe('proofs', () => {
  const keyed = (key: string, trackId: string) => ({ trackId, key, source: null, size: null, path: null })
  const proof = (etag: string): Proof => ({ size: 1, etag, at: 0 })

  it('go to every row of their key, whatever pages they come in', async () => {
    const key: fc.Arbitrary<string> = fc.constantFrom('', 'a', 'b', '\uffff', '\u{1F3A7}')
    const cut = <T>(all: T[], sizes: number[]): T[][] => {
      const cuts: T[][] = []
      for (let at = 0, turn = 0; at < all.length; turn++) {
        const size = sizes.length === 0 ? all.length : (sizes[turn % sizes.length] as number)
        cuts.push(all.slice(at, at + size))
        at += size
      }
      return cuts
    }
    const sizes = fc.array(fc.integer({ min: 1, max: 3 }))
    await fc.assert(
      fc.asyncProperty(fc.array(key), fc.uniqueArray(key), sizes, sizes, async (keys, proved, a, b) => {
        const rows = keys.toSorted(compareUtf8).map((one, index) => keyed(one, `${index}`))
        const proofs = proved.toSorted(compareUtf8).map(one => ({ key: one, proof: proof(one) }))
        const found = await Array.fromAsync(withProofs(pages(...cut(rows, a)), pages(...cut(proofs, b))))
        expect(found.flat().map(({ trackId }) => trackId)).toEqual(rows.map((_, index) => `${index}`))
        for (const one of found.flat())
          expect(one.proof).toEqual(proved.includes(one.key) ? proof(one.key) : undefined)
      }),
    )
  })
})

it('who stops early ends the proofs as well', async () => {
  let ended = 0
  async function* all<T>(one: T): AsyncGenerator<T[]> {
    try {
      for (;;) yield [one]
    } finally {
      ended++
    }
  }
  const row = { trackId: 't', key: 'k', source: null, size: null, path: null }
  for await (const page of withProofs(all(row), all({ key: 'k', proof: undefined }))) {
    expect(page).toHaveLength(1)
    break
  }
  expect(ended).toBe(2)
})

describe('ranges of a listing', () => {
  const keys = (count: number) => Array.from({ length: count }, (_, index) => String(index).padStart(7, '0'))
  const cuts = (all: readonly string[], limits = {}) => {
    const range = new RangeKeys(limits)
    for (const key of all) range.add(key)
    return range.boundaries()
  }

  it('a library that is one range is not cut', () => {
    expect(cuts([])).toEqual([])
    expect(cuts(keys(3_000))).toEqual([])
  })

  it('hold about as many rows each, in whatever order these came', () => {
    const shuffled = keys(100_000).map((_, index, all) => all[(index * 7_919) % all.length] as string)
    const found = cuts(shuffled)
    expect(found).toEqual(found.toSorted())
    const sizes = found.map((key, index) => Number(key) - Number(found[index - 1] ?? 0))
    expect(found.length).toBeGreaterThan(20)
    for (const size of sizes) expect(size).toBeLessThan(3 * 4_096)
  })

  it('the sample stays as small as it may be, however many rows', () => {
    const found = cuts(keys(64_000), { stride: 1, most: 16 })
    expect(found.length).toBeLessThan(16)
    expect(found.length).toBeGreaterThan(6)
  })

  it('a key that many rows have cuts once', () => {
    expect(cuts(Array.from({ length: 20_000 }, () => 'same'))).toEqual(['same'])
  })
})
