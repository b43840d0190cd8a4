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

test('an object of 128 KiB on average is not small, and a share is what is not read', () => {
  const of = (bytes: number, resting?: number) =>
    estimateCost([{ name: 'STANDARD', objects: 8_192, bytes }], listPrices, resting).options
  const [, , tiered, infrequent] = of(GiB, 0.25)
  // A quarter at 0.0125, the rest at 0.023, and 8,192 objects watched.
  expect(tiered?.dollarsAMonth).toBeCloseTo(0.25 * 0.0125 + 0.75 * 0.023 + 8.192 * 0.0025)
  expect(infrequent?.dollarsAMonth).toBeCloseTo(0.0125 + 0.75 * 0.01)
  expect(tiered?.assumption).toBe(
    '25 % of the bytes are idle for 30 days and cost $0.0125 a GB; $0.0025 per 1,000 objects monitored',
  )
  expect(infrequent?.assumption).toBe(
    'everything is moved; the other 75 % are read once a month at $0.01 a GB; moving costs $0.01 per 1,000 objects, once',
  )
  const small = of(GiB - 1)[2]
  expect(small?.dollarsAMonth).toBeCloseTo(0.023)
  expect(small?.assumption).toBe('the objects are under 128 KB on average: none is moved or monitored')
  const resting = of(GiB)[2]
  expect(resting?.assumption).toContain('80 % of the bytes')
})

test('sums over all classes, of which some do not tell how many objects they hold', () => {
  const classes = [
    { name: 'STANDARD', objects: 3, bytes: 2 * GiB },
    { name: 'GLACIER_IR (all)', objects: null, bytes: GiB },
  ]
  const { objects, bytes, byClass, options } = estimateCost(classes, listPrices)
  expect([objects, bytes]).toEqual([3, 3 * GiB])
  expect(byClass).toEqual([0.046, 0.004])
  expect(options[0]).toEqual({
    name: 'as it is now',
    dollarsAMonth: 0.05,
    assumption: '3.0 GiB in its classes',
  })
  expect(options[1]).toMatchObject({ dollarsAMonth: 3 * 0.023, assumption: '$0.023 a GB' })
  const none = estimateCost([], { ...listPrices, storagePerGBMonth: {} })
  expect([none.objects, none.bytes, none.options.map(one => one.dollarsAMonth)]).toEqual([0, 0, [0, 0, 0, 0]])
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
  [-1, '$0'],
  [0.0001, 'under $0.01'],
  [0.01, '$0.01'],
  [99.99, '$99.99'],
  [100, '$100'],
  [999, '$999'],
  [1_234_567, '$1,234,567'],
  [1.239, '$1.24'],
  [12_345.6, '$12,346'],
])('%d is %s', (dollars, text) => {
  expect(formatDollars(dollars)).toBe(text)
})
