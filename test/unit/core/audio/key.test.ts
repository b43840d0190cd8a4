import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { PitchContent } from '../../../../src/core/audio/chroma.ts'
import { camelotOf, estimateKey, keyFeatureCount, keyFeatures } from '../../../../src/core/audio/key.ts'
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

describe('camelotOf', () => {
  test.each([
    [0, '8B'],
    [7, '9B'],
    [2, '10B'],
    [9, '11B'],
    [4, '12B'],
    [11, '1B'],
    [6, '2B'],
    [1, '3B'],
    [8, '4B'],
    [3, '5B'],
    [10, '6B'],
    [5, '7B'],
    [21, '8A'],
    [16, '9A'],
    [23, '10A'],
    [18, '11A'],
    [13, '12A'],
    [20, '1A'],
    [15, '2A'],
    [22, '3A'],
    [17, '4A'],
    [12, '5A'],
    [19, '6A'],
    [14, '7A'],
  ])('key %i is %s', (key, code) => expect(camelotOf(key)).toBe(code))
})

describe('estimateKey', () => {
  const share = fc.float({ min: 0, max: 1, noNaN: true })
  const classes = fc.array(share, { minLength: 12, maxLength: 12 })
  const triads = fc.array(share, { minLength: 24, maxLength: 24 })
  const heard = fc
    .record({
      bass: classes,
      treble: classes,
      triads,
      opening: triads,
      moves: fc.array(share, { minLength: 576, maxLength: 576 }),
    })
    .map(({ bass, treble, triads, opening, moves }): PitchContent => {
      const normal = (values: number[]): Float32Array => {
        const sum = values.reduce((a, b) => a + b, 0) || 1
        return Float32Array.from(values, value => value / sum)
      }
      return {
        bass: normal(bass),
        treble: normal(treble),
        triads: normal(triads),
        opening: normal(opening),
        moves: normal(moves),
        tonal: true,
      }
    })
  const names = ['C', 'C#', 'D', 'D#', 'E', 'F', 'F#', 'G', 'G#', 'A', 'A#', 'B']
  /** The same music so many semitones higher. */
  const transposed = (music: PitchContent, up: number): PitchContent => {
    const move = (values: Float32Array): Float32Array =>
      values.map((_, i) => values[Math.floor(i / 12) * 12 + (((i % 12) - up + 12) % 12)]!)
    const from = (triad: number): number => Math.floor(triad / 12) * 12 + (((triad % 12) - up + 12) % 12)
    return {
      ...music,
      bass: move(music.bass),
      treble: move(music.treble),
      triads: move(music.triads),
      opening: move(music.opening),
      moves: music.moves.map((_, i) => music.moves[from(Math.floor(i / 24)) * 24 + from(i % 24)]!),
    }
  }
  test('goes up with the music', () => {
    fc.assert(
      fc.property(heard, fc.nat(11), (music, up) => {
        const [one, two] = [music, transposed(music, up)].map(
          tonality => estimateKey(tonality, keyTemplates)!,
        )
        const minor = one!.key.endsWith('m') ? 'm' : ''
        expect(two!.key).toBe(names[(names.indexOf(one!.key.replace('m', '')) + up) % 12]! + minor)
        expect(two!.confidence).toBeCloseTo(one!.confidence, 6)
        expect(one!.confidence).toBeGreaterThan(0)
        expect(one!.confidence).toBeLessThanOrEqual(1)
      }),
      { numRuns: 30 },
    )
  })
  describe('where F# is a little likelier than C by the templates, and C by the profile', () => {
    const silent = new Float32Array(24)
    const tonality: PitchContent = {
      // F and G, a fifth from C, are likely too.
      bass: shares(12, { 0: 3 ** 2, 6: 3.1 ** 2, 5: 2.5 ** 2, 7: 2.5 ** 2 }),
      treble: new Float32Array(12),
      triads: silent,
      opening: silent,
      moves: new Float32Array(576),
      tonal: true,
    }
    /** Score a key by its tonic in the bass alone. */
    const templates = (weight: number) => {
      const row = Array.from({ length: keyFeatureCount }, (_, i) => (i === 0 ? weight : 0))
      return { weights: [row, row.map(() => 0)], bias: [0, -100] } as const
    }
    test.each([
      ['sure', 40, 'F#'],
      ['not sure', 1, 'C'],
    ])('templates that are %s decide so', (_, weight, key) => {
      expect(keyFeatures(tonality)[6 * keyFeatureCount]).toBeCloseTo(3.1, 2)
      expect(estimateKey(tonality, templates(weight))!.key).toBe(key)
    })
    test('what is said is how likely that is, the profile included', () => {
      // By the templates alone C has 0.14, a good tenth less than F#.
      expect(estimateKey(tonality, templates(1))!.confidence).toBeCloseTo(0.7, 1)
    })
  })
  test('knows no key where nothing has a pitch', () => {
    expect(estimateKey({ tonal: false } as PitchContent, keyTemplates)).toBeUndefined()
  })
})

test('one pitch class alone tells no key, a triad does', () => {
  const tone = (at: Readonly<Record<number, number>>): PitchContent => ({
    ...heard,
    bass: shares(12, at),
    treble: shares(12, at),
    triads: shares(24, { 0: 1 }),
    moves: shares(24 * 24, { 0: 1 }),
  })
  expect(estimateKey(tone({ 0: 1 }), keyTemplates)!.confidence).toBeLessThan(0.01)
  expect(estimateKey(tone({ 0: 0.4, 4: 0.3, 7: 0.3 }), keyTemplates)!.confidence).toBeGreaterThan(0.5)
})
