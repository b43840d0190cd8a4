/**
 * Which pulse is the beat. Every tempo hypothesis and phase is a way to cut the onset envelopes into pairs of beats;
 * folded over the track they give a rhythm pattern (as in Krebs, Böck and Widmer, "Rhythmic pattern modeling for
 * beat and downbeat tracking in musical audio", ISMIR 2013), and a small network says how much that pattern looks
 * like music counted rightly. Its weights are in metre-weights.ts, learned by bench/audio/tune.ts.
 */
import { FRAME_RATE } from './frontend.ts'
import { GROUPS, type Onsets } from './onsets.ts'
import { at } from './tempo.ts'

/** Steps of a beat that patterns are sampled at: divides into twos, threes and fours. */
export const STEPS = 12
const PATTERN = 2 * STEPS * GROUPS
const TEMPO_CENTRES = [50, 65, 80, 95, 112, 130, 150, 175, 205]
const LAGS = [0.25, 1 / 3, 0.5, 2 / 3, 0.75, 1, 1.5, 2, 3, 4, 6, 8]

/** Length of a feature vector. */
export const FEATURES = PATTERN + TEMPO_CENTRES.length + 3 * LAGS.length + GROUPS + 2

/** Phases tried for each tempo, in twelfths of a beat after the tracked pulse. */
export const SHIFTS = [0, 3, 4, 6, 8, 9]

export interface Correlations {
  readonly novelty: Float32Array
  readonly low: Float32Array
  readonly high: Float32Array
}

/**
 * The onset envelopes folded over pairs of tracked beats, as rows of 2 x STEPS for each group, about 0 in the mean.
 */
export function foldPattern({ groups }: Onsets, beats: Float64Array): Float32Array {
  const pattern = new Float32Array(PATTERN)
  const period = 2 * STEPS
  for (const [g, envelope] of groups.entries()) {
    const counts = new Float32Array(period)
    const row = g * period
    for (let i = 0; i + 1 < beats.length; i++) {
      const from = beats[i]! * FRAME_RATE
      const step = ((beats[i + 1]! - beats[i]!) * FRAME_RATE) / STEPS
      for (let s = 0; s < STEPS; s++) {
        const centre = from + s * step
        const value = at(envelope, centre - step / 3) + at(envelope, centre) + at(envelope, centre + step / 3)
        const slot = (i & 1) * STEPS + s
        pattern[row + slot]! += value
        counts[slot]! += 3
      }
    }
    let mean = 0
    for (let s = 0; s < period; s++) {
      pattern[row + s]! /= Math.max(1, counts[s]!)
      mean += pattern[row + s]! / period
    }
    for (let s = 0; s < period; s++) pattern[row + s] = Math.log((pattern[row + s]! + 0.2) / (mean + 0.2))
  }
  return pattern
}

/**
 * Features of one reading: the pattern rotated by `shift` steps (0 to 2 STEPS - 1), the tempo, and how strongly the
 * envelopes repeat at fractions and multiples of the beat. Written into `out` from `offset`.
 */
export function readingFeatures(
  pattern: Float32Array,
  shift: number,
  bpm: number,
  correlations: Correlations,
  shares: readonly number[],
  out: Float32Array,
  offset: number,
): void {
  const period = 2 * STEPS
  let o = offset
  for (let g = 0; g < GROUPS; g++)
    for (let s = 0; s < period; s++) out[o++] = pattern[g * period + ((s + shift) % period)]!
  for (const centre of TEMPO_CENTRES) out[o++] = Math.exp(-0.5 * (Math.log2(bpm / centre) / 0.16) ** 2)
  const lag = (60 * FRAME_RATE) / bpm
  for (const correlation of [correlations.novelty, correlations.low, correlations.high])
    for (const factor of LAGS) {
      const l = factor * lag
      out[o++] = 2 * Math.max(at(correlation, l * 0.99), at(correlation, l), at(correlation, l * 1.01))
    }
  for (let g = 0; g < GROUPS; g++) out[o++] = 2 * (shares[g] ?? 0)
  out[o++] = Math.log2(bpm / 110)
  out[o++] = Math.log2(bpm / 110) ** 2
}

export interface Network {
  readonly hidden: number
  /** hidden x FEATURES, row by row. */
  readonly input: Float32Array
  readonly bias: Float32Array
  readonly output: Float32Array
}

/** Score of a feature vector at `offset`: one hidden layer of tanh units. */
export function scoreReading(
  { hidden, input, bias, output }: Network,
  features: Float32Array,
  offset: number,
): number {
  let score = 0
  for (let h = 0; h < hidden; h++) {
    let sum = bias[h]!
    const row = h * FEATURES
    for (let i = 0; i < FEATURES; i++) sum += input[row + i]! * features[offset + i]!
    score += output[h]! * Math.tanh(sum)
  }
  return score
}
