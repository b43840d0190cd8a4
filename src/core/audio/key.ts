/**
 * Key by template: the pitch class content is compared with what each of the 24 keys puts on its degrees
 * (Krumhansl 1990; Temperley 2007; Faraldo et al., "Key estimation in electronic dance music", ECIR 2016). Here
 * the templates cover bass, treble and triads, and are learned by multinomial logistic regression, one set of
 * weights for all major keys and one for all minor ones: see bench/audio/tune.ts.
 */
import type { Tonality } from './chroma.ts'

export const PITCH_CLASSES = ['C', 'C#', 'D', 'D#', 'E', 'F', 'F#', 'G', 'G#', 'A', 'A#', 'B'] as const

/** Features of a track: bass, treble, major triads, minor triads, twelve each. */
export const KEY_FEATURES = 48

export interface KeyTemplates {
  /** Two rows (major, minor) of KEY_FEATURES: weight of each degree above the tonic. */
  readonly weights: readonly (readonly number[])[]
  readonly bias: readonly [major: number, minor: number]
}

export interface Key {
  /** `C`, `F#m`: sharps only, as the application writes them. */
  readonly key: string
  /** Camelot wheel code, `8B` for C major, `8A` for A minor. */
  readonly camelot: string
  /** Probability of the key, 0 to 1, as the templates were trained to tell it. */
  readonly confidence: number
}

/** Square roots, so that what sounds seldom still counts. */
export function keyFeatures({ bass, treble, triads }: Tonality): Float32Array {
  const features = new Float32Array(KEY_FEATURES)
  features.set(bass, 0)
  features.set(treble, 12)
  features.set(triads, 24)
  return features.map(Math.sqrt)
}

/** Scores of C to B major (0 to 11) and C to B minor (12 to 23). */
export function keyScores(features: Float32Array, { weights, bias }: KeyTemplates): Float64Array {
  const scores = new Float64Array(24)
  for (let key = 0; key < 24; key++) {
    const mode = key < 12 ? 0 : 1
    const tonic = key % 12
    const row = weights[mode]!
    let score = bias[mode]
    for (let part = 0; part < KEY_FEATURES; part += 12)
      for (let degree = 0; degree < 12; degree++)
        score += row[part + degree]! * features[part + ((degree + tonic) % 12)]!
    scores[key] = score
  }
  return scores
}

/** Camelot code of a key numbered as in `keyScores`. */
export function camelotOf(key: number): string {
  const relativeMajor = key < 12 ? key : (key + 3) % 12
  return `${((((relativeMajor * 7) % 12) + 7) % 12) + 1}${key < 12 ? 'B' : 'A'}`
}

/** @returns undefined where nothing has a pitch. */
export function estimateKey(tonality: Tonality, templates: KeyTemplates): Key | undefined {
  if (!tonality.tonal) return undefined
  const scores = keyScores(keyFeatures(tonality), templates)
  let best = 0
  for (let key = 1; key < 24; key++) if (scores[key]! > scores[best]!) best = key
  const all = scores.reduce((sum, score) => sum + Math.exp(score - scores[best]!), 0)
  return {
    key: PITCH_CLASSES[best % 12]! + (best < 12 ? '' : 'm'),
    camelot: camelotOf(best),
    confidence: 1 / all,
  }
}
