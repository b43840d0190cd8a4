import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SortedKeys } from '../../../../src/embedded/s3-server/keys.ts'

describe('keys in order', () => {
  const key = fc.string({
    unit: fc.constantFrom('a', 'é', '\u{1f3a7}', '\uffee', '\ud7ff', '/', '\ue000'),
    maxLength: 5,
  })

  test('as Buffer.compare has it, whatever came and went', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('add', 'remove', 'walk'), key), { maxLength: 60 })
    fc.assert(
      fc.property(steps, key, (all, start) => {
        const keys = new SortedKeys<{ key: string }>()
        const model = new Set<string>()
        for (const [what, k] of all) {
          if (what === 'add' && !model.has(k)) {
            model.add(k)
            keys.add({ key: k })
          } else if (what === 'remove') {
            model.delete(k)
            keys.remove(k)
          } else keys.walk('').next()
        }
        const expected = [...model]
          .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
          .filter(k => Buffer.compare(Buffer.from(k), Buffer.from(start)) >= 0)
        expect([...keys.walk(start)].map(item => item.key)).toEqual(expected)
      }),
    )
  })
})
