import { expect, test } from 'vitest'
import { keyFeatureCount, keyFeatures } from '../../../../src/core/audio/key.ts'

test('a change of chords more, or all of them, is no more than half the word', () => {
  const even = (length: number): Float32Array => new Float32Array(length).fill(1 / length)
  const heard = { bass: even(12), treble: even(12), triads: even(24), opening: even(24), tonal: true }
  const once = new Float32Array(24 * 24)
  // G to C, and nothing else
  once[7 * 24] = 1
  const [none, one] = [new Float32Array(24 * 24), once].map(moves => keyFeatures({ ...heard, moves }))
  const changed = [...one!].flatMap((value, at) =>
    value === none![at] ? [] : [{ at, by: value - none![at]! }],
  )
  expect(changed).toHaveLength(1)
  // C major (0), its fifth degree
  expect(changed[0]!.at).toBe(72 + 7)
  expect(changed[0]!.by).toBeLessThan(0.7)
  expect(none!.subarray(72, keyFeatureCount).every(value => value > 0)).toBe(true)
})
