/**
 * Onset strength by band group: log-compressed spectral flux (Klapuri, Eronen and Astola, "Analysis of the meter of
 * acoustic musical signals", IEEE TASLP 14(1), 2006; Böck, Krebs and Schedl, "Evaluating the online capabilities of
 * onset detection methods", ISMIR 2012, for the two-frame difference).
 */
import { bandCount, dbUnit, frameRate, type Spectra } from './frontend.ts'

/** Which group each band belongs to: below 140 Hz, 570 Hz, 2.3 kHz, 5.8 kHz, and above. */
const groupOfBand = [0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4]
export const groupCount = 5

export interface Onsets {
  readonly frames: number
  /** One envelope a group, each scaled to a mean of 1 over the track (0 if the group is silent). */
  readonly groups: readonly Float32Array[]
  /** Their sum above its own local average, half-wave rectified, mean 1; 0 throughout if there are no onsets to speak of. */
  readonly novelty: Float32Array
  /** Share of each group in the whole flux, summing to 1. */
  readonly shares: readonly number[]
}

/**
 * Rise of the compressed magnitudes, summed over groups, from which an onset is heard: in music it is about 0.3 in the mean,
 * a steady tone ripples by less than a thousandth.
 */
const audible = 0.02

/** One that only an onset makes: drones whose partials beat rise by 0.88 at most, each of 379 songs by 2.05 somewhere. */
const strong = 1

/** Fewer onsets than these, a tenth of a second apart or more, are no pulse. */
const leastOnsets = 4

/** Magnitudes are compressed as log(1 + GAIN m), m relative to the track's mean loud level. */
const gain = 8

export function onsetStrength({ bands, frames }: Spectra): Onsets {
  // The level that compression is relative to: the mean of all bands in frames that are not quiet.
  let sum = 0
  let count = 0
  const perUnit = (Math.LN10 / 20) * dbUnit
  for (let i = 0; i < bands.length; i += 7) {
    if (bands[i]! > -80 / dbUnit) {
      sum += Math.exp(bands[i]! * perUnit)
      count++
    }
  }
  const reference = count > 0 ? sum / count : 1
  const groups = Array.from({ length: groupCount }, () => new Float32Array(frames))
  const size = new Array<number>(groupCount).fill(0)
  for (const group of groupOfBand) size[group]!++
  // Levels are whole numbers, far fewer than there are frames and bands.
  const highest = bands.reduce((most, level) => Math.max(most, level), -32768)
  const lowest = -120 / dbUnit
  const compressed = Float32Array.from({ length: Math.max(0, highest - lowest + 1) }, (_, i) =>
    Math.log(1 + (gain / reference) * Math.exp((i + lowest) * perUnit)),
  )
  const history = [new Float32Array(bandCount), new Float32Array(bandCount)]
  for (let t = 0; t < frames; t++) {
    const before = history[t & 1]!
    for (let b = 0; b < bandCount; b++) {
      const level = compressed[bands[t * bandCount + b]! - lowest]!
      const rise = level - before[b]!
      before[b] = level
      if (rise > 0 && t >= 2) groups[groupOfBand[b]!]![t]! += rise
    }
  }
  const novelty = new Float32Array(frames)
  const means = groups.map((group, g) => {
    let total = 0
    for (let t = 0; t < frames; t++) {
      const value = group[t]! / size[g]!
      group[t] = value
      novelty[t]! += value
      total += value
    }
    return total / Math.max(1, frames)
  })
  const all = means.reduce((a, b) => a + b, 0)
  for (const [g, group] of groups.entries()) {
    const mean = means[g]!
    if (mean > 0) for (let t = 0; t < frames; t++) group[t]! /= mean
  }
  return {
    frames,
    groups,
    novelty: aboveLocalMean(novelty, Math.round(frameRate * 0.4)),
    shares: means.map(mean => (all > 0 ? mean / all : 0)),
  }
}

/** Frames `from` to `to` of a track. */
export function sliceOnsets({ groups, novelty, shares }: Onsets, from: number, to: number): Onsets {
  return {
    frames: to - from,
    groups: groups.map(group => group.subarray(from, to)),
    novelty: novelty.subarray(from, to),
    shares,
  }
}

/**
 * Whether anything rises again and again: audibly after stillness, or strongly. Dense music never stops rising for a
 * tenth of a second; nor do the partials of a drone that beat with each other, but by less.
 */
function hasOnsets(rises: Float32Array): boolean {
  const apart = frameRate / 10
  let afterStillness = 0
  let lastAudible = -Infinity
  let strongOnes = 0
  let lastStrong = -Infinity
  for (let t = 0; t < rises.length && afterStillness < leastOnsets && strongOnes < leastOnsets; t++) {
    const rise = rises[t]!
    if (rise < audible) continue
    if (t - lastAudible >= apart) afterStillness++
    lastAudible = t
    if (rise < strong || t - lastStrong < apart) continue
    strongOnes++
    lastStrong = t
  }
  return afterStillness >= leastOnsets || strongOnes >= leastOnsets
}

/** What rises above the average of `reach` frames either side, scaled to a mean of 1. */
function aboveLocalMean(signal: Float32Array, reach: number): Float32Array {
  const { length } = signal
  const out = new Float32Array(length)
  let sum = 0
  let count = 0
  for (let t = 0; t < Math.min(reach, length); t++) {
    sum += signal[t]!
    count++
  }
  let total = 0
  for (let t = 0; t < length; t++) {
    if (t + reach < length) {
      sum += signal[t + reach]!
      count++
    }
    if (t - reach - 1 >= 0) {
      sum -= signal[t - reach - 1]!
      count--
    }
    out[t] = Math.max(0, signal[t]! - sum / count)
    total += out[t]!
  }
  if (!hasOnsets(out)) return out.fill(0)
  const mean = total / Math.max(1, length)
  if (mean > 1e-9) for (let t = 0; t < length; t++) out[t]! /= mean
  return out
}
