import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareUtf8 } from '../../../src/core/utf8-order.ts'

test('orders as the bytes of UTF-8 do', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
      expect(Math.sign(compareUtf8(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)))
    }),
    {
      examples: [
        ['\uFF21', '\u{1F3A7}'],
        ['\uD7FF', '\uE000'],
        ['a', 'a/'],
        ['', ''],
      ],
      numRuns: 2000,
    },
  )
})
