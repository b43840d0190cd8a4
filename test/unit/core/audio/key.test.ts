import { expect, test } from 'vitest'
import { estimateKey, keyFeatureCount, keyFeatures } from '../../../../src/core/audio/key.ts'
import { keyTemplates } from '../../../../src/core/audio/key-weights.ts'

const shares = (length: number, at: Readonly<Record<number, number>>): Float32Array =>
  Float32Array.from({ length }, (_, i) => at[i] ?? 0)

/** Tonic, fourth and fifth in C major. */
const heard = {
  bass: shares(12, { 0: 0.5, 5: 0.25, 7: 0.25 }),
  treble: shares(12, { 0: 0.25, 2: 0.1, 4: 0.2, 5: 0.1, 7: 0.25, 9: 0.05, 11: 0.05 }),
  triads: shares(24, { 0: 0.5, 5: 0.25, 7: 0.25 }),
  opening: shares(24, { 0: 1 }),
  moves: shares(24 * 24, { [0 * 24 + 5]: 0.25, [5 * 24 + 7]: 0.25, [7 * 24 + 0]: 0.5 }),
  tonal: true,
}

/** The same, so many semitones higher. */
function raised(by: number): typeof heard {
  const moved = (index: number): number => index - (index % 12) + (((index % 12) + by) % 12)
  const part = (values: Float32Array): Float32Array => {
    const out = new Float32Array(values.length)
    for (const [i, value] of values.entries()) out[moved(i)] = value
    return out
  }
  const moves = new Float32Array(24 * 24)
  for (const [i, value] of heard.moves.entries())
    moves[moved(Math.floor(i / 24)) * 24 + moved(i % 24)] = value
  return {
    bass: part(heard.bass),
    treble: part(heard.treble),
    triads: part(heard.triads),
    opening: part(heard.opening),
    moves,
    tonal: true,
  }
}

test.each([1, 2, 3, 6, 11])(
  'what sounds %i semitones higher has the same features, a key as much higher',
  by => {
    const before = keyFeatures(heard)
    const after = keyFeatures(raised(by))
    for (let key = 0; key < 24; key++) {
      const higher = key - (key % 12) + (((key % 12) + by) % 12)
      const row = (features: Float32Array, of: number) =>
        features.subarray(of * keyFeatureCount, (of + 1) * keyFeatureCount)
      // Sums of the same numbers in another order.
      for (const [f, value] of row(after, higher).entries())
        expect(value).toBeCloseTo(row(before, key)[f]!, 5)
    }
    expect(estimateKey(raised(by), keyTemplates)?.confidence).toBeCloseTo(
      estimateKey(heard, keyTemplates)!.confidence,
      4,
    )
  },
)

test('a piece that begins on its fifth is in the same key', () => {
  expect(estimateKey(heard, keyTemplates)?.key).toBe('C')
  expect(estimateKey({ ...heard, opening: shares(24, { 7: 1 }) }, keyTemplates)?.key).toBe('C')
})
