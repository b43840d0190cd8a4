/**
 * Key by template: the pitch class content is compared with what each of the 24 keys puts on its degrees
 * (Krumhansl 1990; Temperley 2007; Faraldo et al., "Key estimation in electronic dance music", ECIR 2016). Here
 * the templates also cover what triads sound, which come first and which lead home, and are learned by multinomial
 * logistic regression, one set of weights for all major keys and one for all minor ones: see training/tune.ts.
 */
import type { PitchContent, Tonality } from './chroma.ts'

export const pitchClasses = ['C', 'C#', 'D', 'D#', 'E', 'F', 'F#', 'G', 'G#', 'A', 'A#', 'B'] as const

/**
 * Features of a key: its degrees in bass and treble (12 each), and triads on its degrees, major then minor, by time,
 * in the opening and going straight to the tonic triad (24 each), and how like its profile all is.
 */
export const keyFeatureCount = 97

export interface KeyTemplates {
  /** Two rows (major, minor) of keyFeatureCount: weight of each degree above the tonic. */
  readonly weights: readonly (readonly number[])[]
  readonly bias: readonly [major: number, minor: number]
}

interface Key {
  /** `C`, `F#m`: sharps only, as the application writes them. */
  readonly key: string
  /** Camelot wheel code, `8B` for C major, `8A` for A minor. */
  readonly camelot: string
  /** Probability of the key, 0 to 1, as the templates were trained to tell it; less where hardly a triad is heard. */
  readonly confidence: number
}

/**
 * Of the beginnings of rounds, what is believed; the rest is what sounds everywhere. A song may be cut, and begins on another
 * chord often enough: with all of it, keys follow songs less.
 */
const heardOpening = 0.5

/** Added to all shares, and more to those of the opening: what sounds hardly at all is no sign. */
const floor = 0.002
const openingFloor = 0.01

/**
 * What a likeness of 1 to the profile counts for beside what was learned, where that is not sure at all. The profile alone is
 * right of fewer songs than the templates, but answers the same when a song is raised or cut (docs/decisions/0061).
 */
const steadiness = 30

/** Likenesses to the profiles differ little from key to key; so that they are learned as fast as the rest. */
const likenessScale = 20

/**
 * How much each degree sounds in a major and in a minor key, whatever the chords (Sha'ath, "Estimation of key in digital
 * music recordings", MSc thesis, Birkbeck 2011).
 */
const profiles = [
  [6.6, 2.0, 3.5, 2.3, 4.6, 4.0, 2.5, 5.2, 2.4, 3.7, 2.3, 3.4],
  [6.5, 2.7, 3.5, 5.4, 2.6, 3.5, 2.5, 5.2, 4.0, 2.7, 4.3, 3.2],
] as const

/** Cosine of the pitch classes, bass and treble together, with the profile of each of the 24 keys. */
function profileLikenesses({ bass, treble }: PitchContent): Float64Array {
  let power = 0
  for (let c = 0; c < 12; c++) power += (bass[c]! + treble[c]!) ** 2
  return Float64Array.from({ length: 24 }, (_, key) => {
    const profile = profiles[key < 12 ? 0 : 1]
    let dot = 0
    let norm = 0
    for (let degree = 0; degree < 12; degree++) {
      const pitchClass = (degree + key) % 12
      dot += profile[degree]! * (bass[pitchClass]! + treble[pitchClass]!)
      norm += profile[degree]! ** 2
    }
    return power > 0 ? dot / Math.sqrt(norm * power) : 0
  })
}

/** Features of each of the 24 keys (C to B major, C to B minor), keyFeatureCount long each. */
export function keyFeatures(content: PitchContent, likenesses = profileLikenesses(content)): Float32Array {
  const { bass, treble, triads, opening, moves } = content
  const features = new Float32Array(24 * keyFeatureCount)
  for (let key = 0; key < 24; key++) {
    const tonic = key % 12
    let at = key * keyFeatureCount
    // Square roots, so that what sounds seldom still counts.
    const degrees = (value: (pitchClass: number) => number, least = floor): void => {
      for (let degree = 0; degree < 12; degree++)
        features[at++] = Math.sqrt(value((degree + tonic) % 12) + least)
    }
    degrees(pitchClass => bass[pitchClass]!)
    degrees(pitchClass => treble[pitchClass]!)
    degrees(root => triads[root]!)
    degrees(root => triads[12 + root]!)
    const first = (triad: number): number =>
      heardOpening * opening[triad]! + (1 - heardOpening) * triads[triad]!
    degrees(root => first(root), openingFloor)
    degrees(root => first(12 + root), openingFloor)
    degrees(root => moves[root * 24 + key]!)
    degrees(root => moves[(12 + root) * 24 + key]!)
    features[at] = likenessScale * likenesses[key]!
  }
  return features
}

/** Scores of C to B major (0 to 11) and C to B minor (12 to 23). */
function keyScores(features: Float32Array, { weights, bias }: KeyTemplates): Float64Array {
  return Float64Array.from({ length: 24 }, (_, key) => {
    const mode = key < 12 ? 0 : 1
    const row = weights[mode]!
    let score = bias[mode]
    for (let f = 0; f < keyFeatureCount; f++) score += row[f]! * features[key * keyFeatureCount + f]!
    return score
  })
}

/** Camelot code of a key numbered as in `keyScores`. */
export function camelotOf(key: number): string {
  const relativeMajor = key < 12 ? key : (key + 3) % 12
  return `${((((relativeMajor * 7) % 12) + 7) % 12) + 1}${key < 12 ? 'B' : 'A'}`
}

/**
 * How far what sounds can tell a key at all, 0 to 1: three pitch classes can (a triad), one cannot, as a test tone or a
 * drone. From their perplexity, the number of pitch classes that would be as varied if all sounded alike.
 */
function telling({ bass, treble }: PitchContent): number {
  let all = 0
  let entropy = 0
  const sounds = bass.map((value, c) => value + treble[c]!)
  for (const value of sounds) all += value
  for (const value of sounds) if (value > 0) entropy -= (value / all) * Math.log(value / all)
  return Math.max(0, Math.min(1, (Math.exp(entropy) - 1) / 2))
}

/** The highest score, whose it is, and its probability. */
function likeliest(scores: Float64Array): { readonly best: number; readonly probability: number } {
  const top = Math.max(...scores)
  const all = scores.reduce((sum, score) => sum + Math.exp(score - top), 0)
  return { best: scores.indexOf(top), probability: 1 / all }
}

/**
 * The likeliest key: by the templates, and the less sure they are, the more by the profile too.
 * @returns undefined if nothing has a pitch.
 */
export function estimateKey(tonality: PitchContent, templates: KeyTemplates): Key | undefined {
  if (!tonality.tonal) return undefined
  const likenesses = profileLikenesses(tonality)
  const scores = keyScores(keyFeatures(tonality, likenesses), templates)
  const doubt = 1 - likeliest(scores).probability
  const { best, probability } = likeliest(
    scores.map((score, key) => score + steadiness * doubt * likenesses[key]!),
  )
  return {
    key: pitchClasses[best % 12]! + (best < 12 ? '' : 'm'),
    camelot: camelotOf(best),
    confidence: telling(tonality) * probability,
  }
}

export interface KeyStretch {
  /** Seconds. */
  readonly start: number
  readonly end: number
  /** Undefined if nothing has a pitch. */
  readonly key: string | undefined
  /** Probability of the key, 0 to 1. */
  readonly confidence: number
}

/** Seconds that a key is heard in: some progressions of chords. */
const stretch = 16

/** The key of each stretch of the track. @param duration seconds. */
export function keysOverTime(tonality: Tonality, templates: KeyTemplates, duration: number): KeyStretch[] {
  const count = Math.max(1, Math.round(duration / stretch))
  return Array.from({ length: count }, (_, i) => {
    const [start, end] = [(i * duration) / count, ((i + 1) * duration) / count]
    const found = estimateKey(tonality.between(start, end), templates)
    return { start, end, key: found?.key, confidence: found?.confidence ?? 0 }
  })
}
