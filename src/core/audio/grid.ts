/** The even grid of beats of a track whose tempo is constant. */
import { FRAME_RATE } from './frontend.ts'
import type { Reading } from './readings.ts'
import { at, FASTEST, SLOWEST } from './tempo.ts'

/**
 * The even grid over the whole track that the onsets fit best, its tempo within `reach` (a share) of a given one:
 * for each period the onset strength is folded into a histogram of phases, ten milliseconds a bin, and the highest
 * bin counts.
 */
function searchGrid(strength: Float32Array, bpm: number, reach: number): { period: number; start: number } {
  const frames: number[] = []
  for (let t = 0; t < strength.length; t++) if (strength[t]! > 0.5) frames.push(t)
  const positions = Float64Array.from(frames)
  const weights = Float32Array.from(frames, t => Math.min(8, strength[t]!))
  const around = (60 * FRAME_RATE) / bpm
  // Steps that move the last beat against the first by a frame.
  const step = around / Math.max(50, strength.length)
  const steps = Math.ceil((around * reach) / step)
  let best = { period: around, start: 0, score: -1 }
  const histogram = new Float64Array(Math.ceil(around * (1 + 2 * reach)) + 2)
  const middle = strength.length / 2
  for (let s = -steps; s <= steps; s++) {
    const period = around + s * step
    const bins = Math.round(period)
    const scale = bins / period
    const inverse = 1 / period
    histogram.fill(0)
    // Phases about the middle of the track, so that they do not run away with the period.
    for (let i = 0; i < positions.length; i++) {
      const turns = (positions[i]! - middle) * inverse
      histogram[Math.floor((turns - Math.floor(turns)) * period * scale)]! += weights[i]!
    }
    for (let b = 0; b < bins; b++) {
      const score = histogram[b]! + 0.6 * (histogram[(b + 1) % bins]! + histogram[(b + bins - 1) % bins]!)
      if (score > best.score) best = { period, start: middle + ((b + 0.5) / bins) * period, score }
    }
  }
  const first = best.start - Math.floor(best.start / best.period) * best.period
  return { period: best.period / FRAME_RATE, start: first / FRAME_RATE }
}

/** The grid of one period that gathers most onset strength near a given one. */
export function fitGrid(
  strength: Float32Array,
  period: number,
  start: number,
  count: number,
  reach: number,
): { period: number; start: number; score: number } {
  // Turned about the middle, so that period and phase are searched independently.
  const middle = start + (period * (count - 1)) / 2
  let best = { period, start, score: -1 }
  const search = (
    periodAt: number,
    periodStep: number,
    periods: number,
    middleAt: number,
    step: number,
    steps: number,
  ): void => {
    let found = best
    for (let p = -periods; p <= periods; p++) {
      const candidate = periodAt + p * periodStep
      for (let m = -steps; m <= steps; m++) {
        const from = middleAt + m * step - (candidate * (count - 1)) / 2
        let score = 0
        for (let i = 0; i < count; i++) score += at(strength, (from + i * candidate) * FRAME_RATE)
        if (score > found.score) found = { period: candidate, start: from, score }
      }
    }
    best = found
  }
  search(period, reach / count, 8, middle, 0.005, 8)
  const centre = best.start + (best.period * (count - 1)) / 2
  search(best.period, reach / count / 4, 5, centre, 0.0015, 5)
  return best
}

/**
 * A whole number of beats per minute where the fitted one is within what the fit can tell (8 ms over
 * the track, at least 0.01): what was made by a machine was set to a whole number.
 */
export function snapTempo(
  grid: { period: number; start: number },
  count: number,
): { period: number; start: number } {
  const bpm = 60 / grid.period
  const whole = Math.round(bpm)
  const uncertainty = Math.max(0.01, (bpm * 0.008) / (count * grid.period))
  if (whole < SLOWEST || whole > FASTEST || Math.abs(bpm - whole) > uncertainty) return grid
  const period = 60 / whole
  return { period, start: grid.start + ((grid.period - period) * (count - 1)) / 2 }
}

/** Mean strength at the best frame within 30 ms of each beat. */
export function meanPeak(strength: Float32Array, beats: Float64Array): number {
  let sum = 0
  for (const time of beats) {
    const t = Math.round(time * FRAME_RATE)
    let peak = 0
    for (let k = t - 3; k <= t + 3; k++) peak = Math.max(peak, strength[k] ?? 0)
    sum += Math.min(8, peak)
  }
  return sum / Math.max(1, beats.length)
}

/**
 * The even grid that fits the whole track best near a tempo, and its share of the onset strength that the freely
 * tracked beats gather: about 1 where the tempo is constant.
 */
export function evenGrid(
  novelty: Float32Array,
  strength: Float32Array,
  { bpm, beats }: Reading,
  duration: number,
): { period: number; beats: Float64Array; share: number } {
  const { period, start } = searchGrid(novelty, bpm, 0.02)
  const count = Math.max(1, Math.floor((duration - start) / period) + 1)
  const grid = Float64Array.from({ length: count }, (_, i) => start + i * period)
  return { period, beats: grid, share: meanPeak(strength, grid) / Math.max(1e-9, meanPeak(strength, beats)) }
}

/** Three-frame smoothing, so that a grid need not hit an onset to the frame. */
export function smooth(signal: Float32Array): Float32Array {
  const out = new Float32Array(signal.length)
  for (let t = 0; t < signal.length; t++)
    out[t] = 0.5 * signal[t]! + 0.25 * (signal[t - 1] ?? 0) + 0.25 * (signal[t + 1] ?? 0)
  return out
}
