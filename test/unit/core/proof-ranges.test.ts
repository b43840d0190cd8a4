import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { proofRanges } from '../../../src/core/proof-ranges.ts'

const KiB = 1024
const least = () => 0
const most = (below: number) => below - 1

describe('what is fetched through the CDN to prove a file', () => {
  test('a small file is fetched whole', () => {
    for (const size of [1, 64 * KiB, 256 * KiB])
      expect(proofRanges(size, most)).toEqual([{ start: 0, end: size - 1 }])
  })

  test('of a larger one the first and the last bytes, and some of each half between', () => {
    const size = 10_000_001
    const half = Math.floor((size - 128 * KiB) / 2)
    expect(proofRanges(size, least)).toEqual([
      { start: 0, end: 64 * KiB - 1 },
      { start: 64 * KiB, end: 128 * KiB - 1 },
      { start: 64 * KiB + half, end: 128 * KiB + half - 1 },
      { start: size - 64 * KiB, end: size - 1 },
    ])
    // The last place that can be drawn ends where the next range begins.
    expect(proofRanges(size, most)).toEqual([
      { start: 0, end: 64 * KiB - 1 },
      { start: half, end: 64 * KiB + half - 1 },
      { start: size - 128 * KiB, end: size - 64 * KiB - 1 },
      { start: size - 64 * KiB, end: size - 1 },
    ])
  })

  test('whatever the size and the draw: in order, apart, within the file, with its first and its last byte', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.integer({ min: 1, max: 2 ** 20 }), fc.integer({ min: 1, max: 2 ** 40 })),
        fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        (size, chance) => {
          const ranges = proofRanges(size, below => {
            expect(below).toBeGreaterThanOrEqual(1)
            return Math.floor((chance.next().value ?? 0) * below)
          })
          let after = -1
          for (const { start, end } of ranges) {
            expect(start).toBeGreaterThan(after)
            expect(end).toBeGreaterThanOrEqual(start)
            after = end
          }
          expect(ranges[0]!.start).toBe(0)
          expect(after).toBe(size - 1)
        },
      ),
    )
  })
})
