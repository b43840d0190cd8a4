/**
 * When the harmony changes, as evidence of the metre: chords change on beats, mostly on strong ones, and after whole
 * bars (Goto, "An audio-based real-time beat tracking system for music with or without drum-sounds", J. New Music
 * Research 30(2), 2001; Davies and Plumbley, "A spectral difference approach to downbeat extraction in musical audio",
 * EUSIPCO 2006).
 */
import { at, autocorrelation } from './tempo.ts'

/** Moments a second that changes are looked for at. */
const rate = 20

/** Multiples of the beat after which the harmony may change again. */
const lags = [0.5, 2 / 3, 1, 4 / 3, 1.5, 2, 3, 4, 6, 8]

/** Steps of a beat: chords change on coarser ones than drums. */
const stepsPerBeat = 4
const patternSteps = 2 * stepsPerBeat

/** Values that `harmonyFeatures` writes. */
export const harmonyFeatureCount = lags.length + patternSteps

export interface HarmonicRhythm {
  /** Change of harmony, 0 to 1, RATE a second. */
  readonly changes: Float32Array
  readonly mean: number
  /** Autocorrelation of the changes. */
  readonly correlation: Float32Array
}

const rhythmOf = (changes: Float32Array): HarmonicRhythm => ({
  changes,
  mean: changes.reduce((sum, value) => sum + value, 0) / Math.max(1, changes.length),
  correlation: autocorrelation(changes),
})

/**
 * @param changeAt change of harmony over a moment, seconds (0 if nothing is known).
 * @param duration seconds.
 */
export function harmonicRhythm(changeAt: (time: number) => number, duration: number): HarmonicRhythm {
  return rhythmOf(Float32Array.from({ length: Math.ceil(duration * rate) }, (_, i) => changeAt(i / rate)))
}

/** Of a part of the track, seconds. */
export function sliceHarmony({ changes }: HarmonicRhythm, from: number, to: number): HarmonicRhythm {
  return rhythmOf(changes.subarray(Math.round(from * rate), Math.round(to * rate)))
}

/** The changes folded over pairs of beats, as logarithms of their ratio to the mean: PATTERN values. */
export function foldHarmony({ changes, mean }: HarmonicRhythm, beats: Float64Array): Float32Array {
  const pattern = new Float32Array(patternSteps)
  const counts = new Float32Array(patternSteps)
  for (let i = 0; i + 1 < beats.length; i++)
    for (let s = 0; s < stepsPerBeat; s++) {
      const slot = (i & 1) * stepsPerBeat + s
      pattern[slot]! += at(changes, (beats[i]! + ((beats[i + 1]! - beats[i]!) * s) / stepsPerBeat) * rate)
      counts[slot]!++
    }
  return pattern.map((sum, slot) =>
    Math.log((sum / Math.max(1, counts[slot]!) + 0.1 * mean + 1e-6) / (1.1 * mean + 1e-6)),
  )
}

/**
 * Features of a reading: how strongly the changes repeat at multiples of the beat, and the folded pattern.
 * @param pattern as `foldHarmony` gives it.
 * @param shift beats that the reading lies after the pattern, 0 to 2; rounded to the pattern's steps.
 */
export function harmonyFeatures(
  { correlation }: HarmonicRhythm,
  pattern: Float32Array,
  shift: number,
  bpm: number,
  out: Float32Array,
  offset: number,
): void {
  const lag = (60 * rate) / bpm
  let o = offset
  for (const factor of lags) {
    const l = factor * lag
    out[o++] = 2 * Math.max(at(correlation, l * 0.99), at(correlation, l), at(correlation, l * 1.01))
  }
  const steps = Math.round(shift * stepsPerBeat)
  for (let s = 0; s < patternSteps; s++) out[o++] = pattern[(s + steps) % patternSteps]!
}
