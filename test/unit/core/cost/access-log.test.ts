import { expect, test } from 'vitest'
import { AccessLogCounter } from '../../../../src/core/cost/access-log.ts'
import { listPrices } from '../../../../src/core/cost/prices.ts'
import { estimateTransfer } from '../../../../src/core/cost/transfer-cost.ts'

// Fields as CloudFront's documentation shows them, shortened.
const head = [
  '#Version: 1.0',
  '#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) x-edge-result-type',
]
const line = (status: number, result: string, bytes = 1_000, date = '2026-01-31') =>
  [
    date,
    '01:02:03',
    'FRA56-P4',
    bytes,
    '192.0.2.1',
    'GET',
    'd1.cloudfront.net',
    '/audio/1.mp3',
    status,
    '-',
    result,
  ].join('\t')

function count(lines: readonly string[]) {
  const counter = new AccessLogCounter(new Date('2026-01-30T00:00:00Z'))
  counter.begin()
  for (const one of lines) counter.line(one)
  return counter
}

test('requests, bytes, hits and errors; earlier lines do not count', () => {
  const { traffic, unread } = count([
    ...head,
    line(206, 'Hit'),
    line(200, 'RefreshHit'),
    line(200, 'Miss', 5_000),
    line(403, 'Error', 500),
    line(502, 'Error', 500),
    line(0, 'Error', 0),
    line(200, 'Hit', 9_999, '2026-01-29'),
    'rubbish',
  ])
  expect(traffic).toEqual({ requests: 6, bytes: 8_000, hits: 2, clientErrors: 1, serverErrors: 1 })
  expect(unread).toBe(1)
})

test.each([
  [0, 0, 0],
  [206, 0, 0],
  [399, 0, 0],
  [400, 1, 0],
  [499, 1, 0],
  [500, 0, 1],
  [599, 0, 1],
])('status %i: %i errors of clients, %i of servers', (status, clientErrors, serverErrors) => {
  expect(count([...head, line(status, 'Error')]).traffic).toMatchObject({ clientErrors, serverErrors })
})

test('what a line lacks: the time may, date, bytes and status may not', () => {
  const fields = '#Fields:  date  sc-bytes\tsc-status  '
  const lines = [
    '',
    '2026-01-31\t1\t200',
    '2026-01-29\t1\t200',
    '2026-01-31\tx\t200',
    '2026-01-31\t1\t-',
    '2026-01-31\t1',
  ]
  const { traffic, unread } = count([...lines.slice(1, 2), fields, '#Comment', 'x#Fields: x', ...lines])
  expect(traffic).toEqual({ requests: 1, bytes: 1, hits: 0, clientErrors: 0, serverErrors: 0 })
  expect(unread).toBe(5)
})

test('a file has the fields of its own head only', () => {
  const counter = new AccessLogCounter(new Date('2026-01-30T00:00:00Z'))
  for (const one of ['#Fields: date sc-bytes sc-status', '2026-01-31\t1\t200']) counter.line(one)
  counter.begin()
  counter.line('2026-01-31\t1\t200')
  expect([counter.traffic.requests, counter.unread]).toEqual([1, 1])
})

test.each([
  ['Hit', 1],
  ['RefreshHit', 1],
  ['OriginShieldHit', 1],
  ['Miss', 0],
  ['LimitExceeded', 0],
  ['Redirect', 0],
])('%s: %i hits', (result, hits) => {
  expect(count([...head, line(200, result)]).traffic.hits).toBe(hits)
})

test('from a moment on: a line of that very second counts', () => {
  const fields = '#Fields: date time sc-bytes sc-status'
  const at = (time: string) => count([fields, `2026-01-30\t${time}\t1\t200`, `2026-01-29\t${time}\t1\t200`])
  expect(at('00:00:00').traffic.requests).toBe(1)
  expect(at('23:59:59').traffic.requests).toBe(1)
})

test('the fields are those that the file names, in its order', () => {
  const { traffic } = count([
    '#Fields: sc-status date x-edge-result-type sc-bytes',
    '200\t2026-01-31\tHit\t7',
  ])
  expect(traffic).toMatchObject({ requests: 1, bytes: 7, hits: 1 })
})

test('through the CDN and straight from S3, for thirty days', () => {
  const GiB = 1024 ** 3
  const traffic = { requests: 100_000, bytes: 100 * GiB, hits: 90_000, clientErrors: 0, serverErrors: 0 }
  const { cdn, direct } = estimateTransfer(traffic, 15, listPrices)
  expect(cdn).toBeCloseTo(200 * 0.085 + 20 * 0.01 + 20 * 0.0004)
  expect(direct).toBeCloseTo(200 * 0.09 + 200 * 0.0004)
  const unknown = estimateTransfer({ ...traffic, hits: undefined }, 15, listPrices)
  expect(unknown.cdn).toBeCloseTo(200 * 0.085 + 20 * 0.01 + 40 * 0.0004)
  const common = '15 days counted as a month, no free allowance; S3 sends to CloudFront free of charge'
  expect(unknown.assumption).toBe(`${common}; 80 % answered by the edge`)
  expect(estimateTransfer(traffic, 15, listPrices).assumption).toBe(common)
})
