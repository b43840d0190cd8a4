import fc from 'fast-check'
import { expect, test } from 'vitest'
import { base62, isLocalTrackId, localTrackId } from '../../../../src/core/import/content-id.ts'
import { sha256 } from '../../../support/sums.ts'

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

test('ids are what they were: rows made by an earlier version must be found again', () => {
  // computed by another program
  expect(localTrackId('0'.repeat(64))).toBe('local:0000000000000000000000')
  expect(localTrackId(sha256(''))).toBe('local:rzWtdMwJelxEeMmeB0EiiE')
  expect(base62('f'.repeat(64))).toBe('yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1')
})

test.each([
  [localTrackId(sha256('')), true],
  ['local:rzWtdMwJelxEeMmeB0Ei', false],
  ['local:rzWtdMwJelxEeMmeB0EiiE0', false],
  ['local:rzWtdMwJelxEeMmeB0Ei-E', false],
  ['xlocal:rzWtdMwJelxEeMmeB0EiiE', false],
  ['4uLU6hMCjMI75M1A2tKUQC', false],
])('%s is of import: %s', (id, expected) => {
  expect(isLocalTrackId(id)).toBe(expected)
})

test('base 62 keeps the number, in 43 digits', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }), number => {
      const text = base62(number.toString(16).padStart(64, '0'))
      expect(text).toMatch(/^[0-9A-Za-z]{43}$/)
      let back = 0n
      for (const digit of text) back = back * 62n + BigInt(digits.indexOf(digit))
      expect(back).toBe(number)
    }),
  )
})
