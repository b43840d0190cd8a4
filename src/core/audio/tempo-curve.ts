/**
 * Tempo over time: the strongest periodicity of each stretch of the track near a given tempo, joined by a path that
 * pays for moving (Peeters, "Template-based estimation of time-varying tempo", EURASIP J. Advances in Signal
 * Processing, 2007: Viterbi decoding of a tempogram).
 */
import { frameRate } from './frontend.ts'

/** Frames of a stretch, and from one to the next. */
export const stretchFrames = 8 * frameRate
export const hop = frameRate

/** Tempi are looked for half an octave either side of the given one, half a hundredth apart. */
const step = Math.log(1.005)
const reach = Math.round(Math.log(2) / 2 / step)
const candidates = 2 * reach + 1

/** Multiples of the period whose correlations are added up. */
const multiples = [1, 2, 3, 4]

/**
 * What a jump to any other tempo costs, the more the further (what sounds like 4 to 3 is a cross-rhythm more often than a
 * change of tempo), and a move to the next candidate; correlations are at most 1.
 */
const jump = 1.2
const further = 2
const glide = 0.05

/** Correlation of each candidate period within frames `from` to `to`, the mean over MULTIPLES. */
function periodicity(novelty: Float32Array, from: number, to: number, periods: Float64Array): Float64Array {
  const length = to - from
  let mean = 0
  for (let t = from; t < to; t++) mean += novelty[t]! / length
  const part = new Float32Array(length)
  let power = 0
  for (let t = 0; t < length; t++) {
    part[t] = novelty[from + t]! - mean
    power += part[t]! * part[t]!
  }
  if (power === 0) return new Float64Array(candidates)
  const longest = Math.min(length - 1, Math.ceil(periods[0]! * multiples.at(-1)!) + 1)
  const known = new Float64Array(longest + 1).fill(Number.NaN)
  const correlation = (lag: number): number => {
    if (lag > longest) return 0
    if (Number.isNaN(known[lag]!)) {
      let sum = 0
      for (let t = lag; t < length; t++) sum += part[t]! * part[t - lag]!
      known[lag] = (sum / power) * (length / (length - lag))
    }
    return known[lag]!
  }
  return Float64Array.from(periods, period => {
    let sum = 0
    for (const multiple of multiples) {
      const lag = Math.floor(period * multiple)
      sum += Math.max(correlation(lag), correlation(lag + 1))
    }
    return sum / multiples.length
  })
}

/**
 * Beats per minute in each stretch of the track (stretchFrames frames, hop apart, the first from frame 0), or undefined if
 * the track is shorter than two stretches.
 * @param novelty onset strength, frames at frameRate.
 * @param bpm the tempo to stay near.
 */
export function tempoPath(novelty: Float32Array, bpm: number): Float64Array | undefined {
  const count = Math.floor((novelty.length - stretchFrames) / hop) + 1
  if (count < 2) return undefined
  const tempi = Float64Array.from({ length: candidates }, (_, i) => bpm * Math.exp((i - reach) * step))
  const periods = tempi.map(tempo => (60 * frameRate) / tempo)
  const back = new Uint8Array(count * candidates)
  let scores = new Float64Array(candidates)
  for (let stretch = 0; stretch < count; stretch++) {
    const here = periodicity(novelty, stretch * hop, stretch * hop + stretchFrames, periods)
    const next = new Float64Array(candidates)
    const best = highest(scores)
    for (let i = 0; i < candidates; i++) {
      let from = best
      let score = scores[best]! - jump - further * step * Math.abs(i - best)
      for (let near = Math.max(0, i - 1); near <= Math.min(candidates - 1, i + 1); near++) {
        const reached = scores[near]! - (near === i ? 0 : glide)
        if (reached > score || (reached === score && near === i)) {
          from = near
          score = reached
        }
      }
      back[stretch * candidates + i] = from
      next[i] = score + here[i]!
    }
    scores = next
  }
  const path = new Float64Array(count)
  let state = highest(scores)
  for (let stretch = count - 1; stretch >= 0; stretch--) {
    path[stretch] = tempi[state]!
    state = back[stretch * candidates + state]!
  }
  return path
}

function highest(values: Float64Array): number {
  let best = 0
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i
  return best
}

/** The tempo of each of `frames` frames: a stretch speaks for its middle; before the first and after the last they go on. */
export function curveOf(path: Float64Array, frames: number): Float32Array {
  const curve = new Float32Array(frames)
  for (let t = 0; t < frames; t++)
    curve[t] = path[Math.max(0, Math.min(path.length - 1, Math.round((t - stretchFrames / 2) / hop)))]!
  return curve
}
