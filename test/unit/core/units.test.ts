import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { allowedDeletes, parseDeleteLimit } from '../../../src/core/limits.ts'
import {
  formatAge,
  formatBytes,
  formatCount,
  formatDuration,
  formatEstimate,
  parseBytes,
  parseDuration,
  percent,
  plural,
  printable,
  printableJson,
  printableLines,
} from '../../../src/core/units.ts'

describe('sizes', () => {
  test.each([
    ['0', 0],
    ['512', 512],
    ['64K', 65_536],
    ['64k', 65_536],
    ['256MiB', 268_435_456],
    ['1.5 GB', 1_610_612_736],
    [' 1 b ', 1],
    ['2kb', 2048],
    ['3tib', 3 * 1024 ** 4],
    ['1P', 1024 ** 5],
    ['0.5', 1],
    ['0.4', 0],
    ['1.25k', 1280],
    ['1i', undefined],
    ['1 k b', undefined],
    ['x1', undefined],
    ['1.k', undefined],
    ['.5k', undefined],
    ['1.5.5', undefined],
    ['9'.repeat(400), undefined],
    ['', undefined],
    ['-1', undefined],
    ['1X', undefined],
    ['1e3', undefined],
    ['NaN', undefined],
  ])('%j is %s bytes', (text, bytes) => expect(parseBytes(text)).toBe(bytes))

  test.each([
    [0, '0 B'],
    [1_023, '1023 B'],
    [1_536, '1.5 KiB'],
    [1_048_575, '1.0 MiB'],
    [268_435_456, '256 MiB'],
    [6 * 1024 ** 3, '6.0 GiB'],
    [-1, '-1 B'],
    [0.6, '1 B'],
    [1_024, '1.0 KiB'],
    [-1_024, '-1.0 KiB'],
    [-1_023, '-1023 B'],
    // One digit behind the point where there are fewer than three before it.
    [99.9 * 1024, '99.9 KiB'],
    [99.95 * 1024, '100 KiB'],
    [-99.95 * 1024, '-100 KiB'],
    [1_023.9 * 1024, '1024 KiB'],
    [1_023.95 * 1024, '1.0 MiB'],
    [-1_023.95 * 1024, '-1.0 MiB'],
    [5 * 1024 ** 4, '5.0 TiB'],
    [1024 ** 5, '1.0 PiB'],
    [2_000 * 1024 ** 5, '2000.0 PiB'],
  ])('%i bytes read %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text))
})

describe('durations', () => {
  test.each([
    ['90', 90_000],
    ['90s', 90_000],
    ['1h30m', 5_400_000],
    ['250ms', 250],
    ['7d', 604_800_000],
    ['1w', 604_800_000],
    ['2m', 120_000],
    [' 1.5h ', 5_400_000],
    ['0.0015', 2],
    ['1.0004s', 1_000],
    ['1h 30m', undefined],
    ['1hx', undefined],
    ['x1h', undefined],
    ['1.5', 1_500],
    ['1.', undefined],
    ['1.h', undefined],
    ['.5', undefined],
    ['1.5.5', undefined],
    ['', undefined],
    ['2 h', undefined],
    ['h', undefined],
    ['-5m', undefined],
  ])('%j is %s ms', (text, milliseconds) => expect(parseDuration(text)).toBe(milliseconds))

  test.each([
    [0, '0s'],
    [5_000, '5s'],
    [400, '0.4s'],
    [9_960, '10s'],
    [-1, '0s'],
    [9_949, '9.9s'],
    [9_950, '10s'],
    [59_499, '59s'],
    [59_500, '1m'],
    [60_000, '1m'],
    [3_599_000, '59m 59s'],
    [3_600_000, '1h'],
    [3_660_000, '1h 1m'],
    [86_399_000, '23h 59m'],
    [86_400_000, '1d'],
    [86_400_000 + 3_599_000, '1d'],
    [90_000_000, '1d 1h'],
    [185_000, '3m 5s'],
    [7_200_000, '2h'],
    [273_600_000, '3d 4h'],
  ])('%i ms read %s', (milliseconds, text) => expect(formatDuration(milliseconds)).toBe(text))

  test.each([
    [0.2, 'under a second'],
    [0.999, 'under a second'],
    [1, 'about 1s'],
    [8.01, 'about 9s'],
    [119.5, 'about 2m'],
  ])('a guess of %d s reads %s', (seconds, text) => expect(formatEstimate(seconds)).toBe(text))

  test.each([
    [-5, 'just now'],
    [999, 'just now'],
    [1_000, '1s ago'],
    [9_999, '9s ago'],
    [86_400_000, '1d ago'],
  ])('%d ms since then read %s', (milliseconds, text) => expect(formatAge(milliseconds)).toBe(text))
})

describe('delete limits', () => {
  test.each([
    ['50', { count: 50 }],
    ['1%', { percent: 1 }],
    ['1%,50', { percent: 1, count: 50 }],
    ['101%', undefined],
    ['1.5', undefined],
    ['many', undefined],
  ])('%j is %j', (text, limit) => expect(parseDeleteLimit(text)).toEqual(limit))

  test.each([
    [{ count: 50, percent: 1 }, 1_000, 50],
    [{ count: 50, percent: 1 }, 100_000, 1_000],
    [{ percent: 1 }, 99, 0],
    [{ count: 0 }, 1_000_000, 0],
  ])('%j of %i allows %i', (limit, total, allowed) => expect(allowedDeletes(limit, total)).toBe(allowed))
})

test('a share is 100 per cent only when all is done', () => {
  expect(percent(999_999, 1_000_000)).toBe(99)
  expect(percent(1_000_000, 1_000_000)).toBe(100)
  expect(percent(0, 0)).toBe(100)
  expect(percent(5, 0)).toBe(100)
  expect(percent(5, -1)).toBe(100)
  expect(percent(2, 1)).toBe(100)
  expect(percent(0, 3)).toBe(0)
  expect(percent(1, 3)).toBe(33)
  expect(percent(1 - Number.EPSILON / 2, 1)).toBe(99)
})

test('counts and plurals', () => {
  expect(formatCount(1_234_567)).toBe('1,234,567')
  expect([0, 999, 1_000, 999_999.6].map(formatCount)).toEqual(['0', '999', '1,000', '1,000,000'])
  expect(plural(0, 'file')).toBe('0 files')
  expect(plural(1_000, 'file')).toBe('1,000 files')
  expect(plural(1, 'file')).toBe('1 file')
  expect(plural(2, 'entry', 'entries')).toBe('2 entries')
})

/** Every character that printing must escape: C0, DEL and C1, line separators, every bidirectional control. */
const disturbing = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/

test('printable text never holds what could move a cursor or turn text around', () => {
  expect(printable('a\nb\u001b[31m\u202e')).toBe('a\\nb\\x1b[31m\\u202e')
  expect(printable('\r\t\u0000\u2028')).toBe('\\r\\t\\x00\\u2028')
  expect(printable('\u009b31m\u007f\u200e\u200f\u061c')).toBe('\\x9b31m\\x7f\\u200e\\u200f\\u061c')
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), text => {
      expect(printable(text)).not.toMatch(disturbing)
    }),
  )
})

test('of text of several lines the breaks stay, and of styled text the styles of ours, nothing else', () => {
  const text = 'a\tb\n\u001b[31mred\u001b[39m\u001b[2J\u009b1m\u202e'
  expect(printableLines(text)).toBe('a\tb\n\\x1b[31mred\\x1b[39m\\x1b[2J\\x9b1m\\u202e')
  expect(printableLines(text, { styled: true })).toBe('a\tb\n\u001b[31mred\u001b[39m\\x1b[2J\\x9b1m\\u202e')
})

test('every style of ours stays, and none that looks like one', () => {
  const ours = [1, 2, 22, 31, 32, 33, 36, 39].map(code => `\u001b[${code}m`)
  for (const style of ours) expect(printableLines(`a${style}b`, { styled: true })).toBe(`a${style}b`)
  for (const style of ['\u001b[3m', '\u001b[131m', '\u001b[1;31m', '\u001b[31'])
    expect(printableLines(`${ours[0]}a${style}b`, { styled: true })).toBe(
      `${ours[0]}a\\x1b${style.slice(1)}b`,
    )
  expect(printableLines('a\rb\n', { styled: true })).toBe('a\\rb\n')
})

test('JSON made printable means the same', () => {
  expect(printableJson('{"a":"\u202e\u007f"}\n')).toBe('{"a":"\\u202e\\u007f"}\n')
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), text => {
      const json = JSON.stringify({ [text]: text })
      expect(printableJson(json)).not.toMatch(disturbing)
      expect(JSON.parse(printableJson(json))).toEqual(JSON.parse(json))
    }),
  )
})
