/**
 * Which pulse is the beat. Every tempo hypothesis and phase is a way to cut the onset envelopes into pairs of beats;
 * folded over the track they give a rhythm pattern (as in Krebs, Böck and Widmer, "Rhythmic pattern modeling for
 * beat and downbeat tracking in musical audio", ISMIR 2013), and a small network says how much that pattern looks
 * like music counted rightly. Its weights are in metre-weights.ts, learned by training/tune.ts.
 */
import { frameRate } from './frontend.ts'
import {
  foldHarmony,
  type HarmonicRhythm,
  harmonicRhythm,
  harmonyFeatureCount,
  harmonyFeatures,
  sliceHarmony,
} from './harmonic-rhythm.ts'
import { groupCount, type Onsets, sliceOnsets } from './onsets.ts'
import { at, autocorrelation } from './tempo.ts'

/** Steps of a beat that patterns are sampled at: divides into twos, threes and fours. */
export const steps = 12
const patternSize = 2 * steps * groupCount
const tempoCentres = [50, 65, 80, 95, 112, 130, 150, 175, 205]
const lags = [0.25, 1 / 3, 0.5, 2 / 3, 0.75, 1, 1.5, 2, 3, 4, 6, 8]

/** Length of a feature vector; the last harmonyFeatureCount are of the harmony. */
export const featureCount =
  patternSize + tempoCentres.length + 3 * lags.length + groupCount + 2 + harmonyFeatureCount

/** Phases tried for each tempo, in twelfths of a beat after the tracked pulse. */
export const shifts = [0, 3, 4, 6, 8, 9]

/** What there is to judge a reading by. */
export interface Evidence {
  readonly onsets: Onsets
  /** Autocorrelation of the novelty, and of the lowest and the highest groups of onsets. */
  readonly correlations: readonly [novelty: Float32Array, low: Float32Array, high: Float32Array]
  readonly harmony: HarmonicRhythm
  /** Seconds: when the music begins, where the file begins with it. */
  readonly beginning: number | undefined
}

/** Frames from its first on in which a file's music begins that was cut to its length; encoders put silence before it. */
const beginningFrames = 10

/** Onset strength, of which the track's mean is 1, from which that is heard. */
const sharp = 4

/** Onset strength of any group up to which nothing rises. */
const still = 0.5

function beginningOf({ novelty, groups }: Onsets): number | undefined {
  const heard = novelty.subarray(0, beginningFrames)
  const strongest = Math.max(...heard)
  if (strongest < sharp) return undefined
  const at = heard.indexOf(strongest)
  // What was cut from within goes on before its first strong onset, whose own rise may begin two frames before it. Where the
  // cut itself is that onset, nothing tells the two apart.
  const goesOn = groups.some(group => group.subarray(0, Math.max(0, at - 2)).some(value => value > still))
  return goesOn ? undefined : at / frameRate
}

function evidenceOf(onsets: Onsets, harmony: HarmonicRhythm, isBeginning: boolean): Evidence {
  const { novelty, groups } = onsets
  return {
    onsets,
    beginning: isBeginning ? beginningOf(onsets) : undefined,
    correlations: [
      autocorrelation(novelty),
      autocorrelation(groups[0]!),
      autocorrelation(groups[3]!.map((value, t) => value + groups[4]![t]!)),
    ],
    harmony,
  }
}

/** @param changeAt change of harmony over a moment, seconds (0 if nothing is known). */
export function gatherEvidence(onsets: Onsets, changeAt: (time: number) => number): Evidence {
  return evidenceOf(onsets, harmonicRhythm(changeAt, onsets.frames / frameRate), true)
}

/** Of frames `from` to `to` alone. */
export function sliceEvidence({ onsets, harmony }: Evidence, from: number, to: number): Evidence {
  const heard = sliceHarmony(harmony, from / frameRate, to / frameRate)
  return evidenceOf(sliceOnsets(onsets, from, to), heard, from === 0)
}

/** A track folded over pairs of beats. */
interface Folded {
  readonly rhythm: Float32Array
  readonly harmony: Float32Array
}

export const fold = ({ onsets, harmony }: Evidence, beats: Float64Array): Folded => ({
  rhythm: foldPattern(onsets, beats),
  harmony: foldHarmony(harmony, beats),
})

/**
 * The onset envelopes folded over pairs of tracked beats, as rows of 2 x STEPS for each group, about 0 in the mean.
 */
function foldPattern({ groups }: Onsets, beats: Float64Array): Float32Array {
  const pattern = new Float32Array(patternSize)
  const period = 2 * steps
  for (const [g, envelope] of groups.entries()) {
    const counts = new Float32Array(period)
    const row = g * period
    for (let i = 0; i + 1 < beats.length; i++) {
      const from = beats[i]! * frameRate
      const step = ((beats[i + 1]! - beats[i]!) * frameRate) / steps
      for (let s = 0; s < steps; s++) {
        const centre = from + s * step
        const value = at(envelope, centre - step / 3) + at(envelope, centre) + at(envelope, centre + step / 3)
        const slot = (i & 1) * steps + s
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
 * Features of one reading: the patterns rotated by `shift` steps (0 to 2 STEPS - 1), the tempo, and how strongly
 * onsets and harmony repeat at fractions and multiples of the beat. FEATURES values, into `out` from `offset`.
 */
export function readingFeatures(
  { onsets, correlations, harmony }: Evidence,
  folded: Folded,
  shift: number,
  bpm: number,
  out: Float32Array,
  offset: number,
): void {
  const period = 2 * steps
  let o = offset
  for (let g = 0; g < groupCount; g++)
    for (let s = 0; s < period; s++) out[o++] = folded.rhythm[g * period + ((s + shift) % period)]!
  for (const centre of tempoCentres) out[o++] = Math.exp(-0.5 * (Math.log2(bpm / centre) / 0.16) ** 2)
  const lag = (60 * frameRate) / bpm
  for (const correlation of correlations)
    for (const factor of lags) {
      const l = factor * lag
      out[o++] = 2 * Math.max(at(correlation, l * 0.99), at(correlation, l), at(correlation, l * 1.01))
    }
  for (let g = 0; g < groupCount; g++) out[o++] = 2 * (onsets.shares[g] ?? 0)
  out[o++] = Math.log2(bpm / 110)
  out[o++] = Math.log2(bpm / 110) ** 2
  harmonyFeatures(harmony, folded.harmony, shift / steps, bpm, out, o)
}
