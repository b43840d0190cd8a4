/** The even grid of beats of a track whose tempo is constant. */
import { frameRate } from './frontend.ts'
import type { Reading } from './readings.ts'
import { at, fastest, slowest } from './tempo.ts'

/** Frames of strong onsets and how strong they are, 8 at most. */
interface Strong {
  readonly frames: Int32Array
  readonly weights: Float32Array
}

function strongOnsets(strength: Float32Array): Strong {
  const all = new Int32Array(strength.length)
  let count = 0
  for (let t = 0; t < strength.length; t++) if (strength[t]! > 0.5) all[count++] = t
  const frames = all.slice(0, count)
  const weights = new Float32Array(count)
  for (let i = 0; i < count; i++) weights[i] = Math.min(8, strength[frames[i]!]!)
  return { frames, weights }
}

/**
 * The period, in frames, that fits the onsets from frame `from` to `to` best, of those `steps` steps either side of
 * `around`; a step moves the last beat against the first by a frame. For each period the onsets are folded into a
 * histogram of phases, a frame a bin, and the highest bin counts.
 */
function searchPeriod(
  { frames, weights }: Strong,
  [from, to]: readonly [number, number],
  around: number,
  steps: number,
): { period: number; start: number } {
  const step = around / Math.max(50, to - from)
  const firstOnset = firstFrom(frames, from)
  const lastOnset = firstFrom(frames, to)
  let best = { period: around, start: from, score: -1 }
  const histogram = new Float64Array(Math.ceil(around + steps * step) + 2)
  const middle = (from + to) / 2
  for (let s = -steps; s <= steps; s++) {
    const period = around + s * step
    const bins = Math.round(period)
    const inverse = 1 / period
    histogram.fill(0)
    // Phases about the middle, so that they do not run away with the period.
    for (let i = firstOnset; i < lastOnset; i++) {
      const turns = (frames[i]! - middle) * inverse
      histogram[Math.floor((turns - Math.floor(turns)) * bins)]! += weights[i]!
    }
    for (let b = 0; b < bins; b++) {
      const score = histogram[b]! + 0.6 * (histogram[(b + 1) % bins]! + histogram[(b + bins - 1) % bins]!)
      if (score > best.score) best = { period, start: middle + ((b + 0.5) / bins) * period, score }
    }
  }
  return best
}

/** Index of the first of ascending numbers that is not below a limit. */
function firstFrom(ascending: Int32Array, limit: number): number {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ascending[middle]! < limit) low = middle + 1
    else high = middle
  }
  return low
}

/** Frames up to which every period is tried on the whole track: the work grows with the square. */
const wholeFrames = 300 * frameRate

/** Steps either side in which the period of a stretch is looked for in one twice as long. */
const refining = 12

/** The stretch of `length` frames, of `all`, that has most onsets. */
function densestStretch({ frames, weights }: Strong, length: number, all: number): [number, number] {
  let start = 0
  let most = 0
  let sum = 0
  for (let i = 0, first = 0; i < frames.length; i++) {
    sum += weights[i]!
    while (frames[i]! - frames[first]! >= length) sum -= weights[first++]!
    if (sum > most) {
      most = sum
      start = Math.min(frames[first]!, all - length)
    }
  }
  return [start, start + length]
}

/**
 * The even grid over the whole track that the onsets fit best, its tempo within `reach` (a share) of a given one. Of a
 * long track the stretch with most onsets says it first, then stretches twice as long each more exactly.
 */
function searchGrid(strength: Float32Array, bpm: number, reach: number): { period: number; start: number } {
  const { length } = strength
  const onsets = strongOnsets(strength)
  let [from, to] = length <= wholeFrames ? [0, length] : densestStretch(onsets, wholeFrames, length)
  let best = searchPeriod(onsets, [from, to], (60 * frameRate) / bpm, Math.ceil((to - from) * reach))
  while (to - from < length) {
    const more = (to - from) / 2
    from = Math.max(0, Math.min(from - more, length - 4 * more))
    to = Math.min(length, from + 4 * more)
    best = searchPeriod(onsets, [from, to], best.period, refining)
  }
  const first = best.start - Math.floor(best.start / best.period) * best.period
  return { period: best.period / frameRate, start: first / frameRate }
}

/** The even grid that the onsets between two frames fit best, its tempo within `reach` (a share) of a given one; seconds. */
export function searchStretch(
  novelty: Float32Array,
  [from, to]: readonly [number, number],
  bpm: number,
  reach: number,
): { period: number; start: number } {
  const steps = Math.ceil(Math.max(50, to - from) * reach)
  const { period, start } = searchPeriod(strongOnsets(novelty), [from, to], (60 * frameRate) / bpm, steps)
  return { period: period / frameRate, start: start / frameRate }
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
        for (let i = 0; i < count; i++) score += at(strength, (from + i * candidate) * frameRate)
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
  if (whole < slowest || whole > fastest || Math.abs(bpm - whole) > uncertainty) return grid
  const period = 60 / whole
  return { period, start: grid.start + ((grid.period - period) * (count - 1)) / 2 }
}

/** Mean strength at the best frame within 30 ms of each beat. */
export function meanPeak(strength: Float32Array, beats: Float64Array): number {
  let sum = 0
  for (const time of beats) {
    const t = Math.round(time * frameRate)
    let peak = 0
    for (let k = t - 3; k <= t + 3; k++) peak = Math.max(peak, strength[k] ?? 0)
    sum += Math.min(8, peak)
  }
  return sum / Math.max(1, beats.length)
}

/**
 * The even grid that fits the whole track best near a tempo, and its share of the onset strength that beats gather
 * which were tracked at that tempo: about 1 where it is constant.
 */
export function evenGrid(
  novelty: Float32Array,
  strength: Float32Array,
  { bpm, beats }: Pick<Reading, 'bpm' | 'beats'>,
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
