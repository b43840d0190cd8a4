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

  test('a leap goes past all of a prefix and nothing else', () => {
    fc.assert(
      fc.property(fc.uniqueArray(key, { maxLength: 40 }), all => {
        const keys = new SortedKeys<{ key: string }>()
        for (const k of all) keys.add({ key: k })
        const group = (k: string) => (k.includes('/') ? k.slice(0, k.indexOf('/') + 1) : undefined)
        const sorted = all.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        const expected = sorted.filter((k, i) => {
          const g = group(k)
          return g === undefined || !sorted.slice(0, i).some(before => before.startsWith(g))
        })
        const seen: string[] = []
        const walk = keys.walk('')
        for (let step = walk.next(); !step.done; ) {
          seen.push(step.value.key)
          step = walk.next(group(step.value.key))
        }
        expect(seen).toEqual(expected)
      }),
    )
  })
})
