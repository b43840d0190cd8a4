import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LatencyHistogram } from '../../../../src/core/verify/latency.ts'

test('a quantile is that of the sorted values, to 1 %', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.01, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 300 }),
      fc.constantFrom(0, 0.5, 0.95, 0.99, 1),
      (values, share) => {
        const histogram = new LatencyHistogram()
        for (const value of values) histogram.add(value)
        const sorted = values.toSorted((a, b) => a - b)
        const exact = sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1]!
        expect(Math.abs(histogram.quantile(share)! / exact - 1)).toBeLessThan(0.0101)
        expect(histogram.count).toBe(values.length)
      },
    ),
  )
})

test('no values, no quantile; nothing is too fast', () => {
  const histogram = new LatencyHistogram()
  expect(histogram.quantile(0.5)).toBeUndefined()
  histogram.add(0)
  expect(histogram.quantile(0.5)).toBeCloseTo(0.01, 3)
})
