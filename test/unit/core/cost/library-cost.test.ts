import { expect, test } from 'vitest'
import { estimateCost } from '../../../../src/core/cost/library-cost.ts'
import { formatDollars, listPrices } from '../../../../src/core/cost/prices.ts'

const GiB = 1024 ** 3
const byName = (classes: Parameters<typeof estimateCost>[0], resting?: number) =>
  Object.fromEntries(
    estimateCost(classes, listPrices, resting).options.map(one => [
      one.name,
      Number(one.dollarsAMonth.toFixed(4)),
    ]),
  )

test('1,000 GiB in 200,000 objects', () => {
  const found = byName([{ name: 'STANDARD', objects: 200_000, bytes: 1_000 * GiB }], 0.8)
  expect(found).toEqual({
    'as it is now': 23,
    'all in S3 Standard': 23,
    // 800 GiB at 0.0125, 200 at 0.023, 200 thousand objects watched at 0.0025
    'under Intelligent-Tiering': 10 + 4.6 + 0.5,
    // 1,000 GiB at 0.0125, 200 read at 0.01
    'under a lifecycle to Standard-IA after 30 days': 12.5 + 2,
  })
})

test('small objects are neither moved nor watched', () => {
  const found = byName([{ name: 'STANDARD', objects: 1_000_000, bytes: 1 * GiB }])
  expect(found['under Intelligent-Tiering']).toBe(0.023)
})

test('each class has its price; an unknown one is taken for Standard', () => {
  const { byClass } = estimateCost(
    [
      { name: 'GLACIER_IR', objects: null, bytes: GiB },
      { name: 'INTELLIGENT_TIERING (infrequent)', objects: null, bytes: GiB },
      { name: 'SOMETHING_NEW', objects: null, bytes: GiB },
    ],
    listPrices,
  )
  expect(byClass).toEqual([0.004, 0.0125, 0.023])
})

test.each([
  [0, '$0'],
  [0.0001, 'under $0.01'],
  [1.239, '$1.24'],
  [12_345.6, '$12,346'],
])('%d is %s', (dollars, text) => {
  expect(formatDollars(dollars)).toBe(text)
})
