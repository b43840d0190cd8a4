/**
 * Tempo, beats and bars of a track from its onset strength: hypotheses (tempo.ts), a pulse tracked for each
 * (beats.ts), the reading that looks most like music (metre.ts), then the grid.
 */
import { trackBeats } from './beats.ts'
import { FRAME_RATE } from './frontend.ts'
import {
  type Correlations,
  FEATURES,
  foldPattern,
  type Network,
  readingFeatures,
  SHIFTS,
  STEPS,
  scoreReading,
} from './metre.ts'
import type { Onsets } from './onsets.ts'
import { at, autocorrelation, FASTEST, SLOWEST, tempoHypotheses } from './tempo.ts'

/** What is known of a tempo before listening. */
export interface TempoHints {
  /** The file's own tempo tag: written by a person or another program, usually right. */
  readonly tagBpm?: number | undefined
  /** What the database had; an earlier analysis, so weak evidence for the octave only. */
  readonly rowBpm?: number | undefined
  /** What the operator allows; tempi outside are answered only by their double or half inside. */
  readonly bpmRange?: readonly [lowest: number, highest: number] | undefined
}

export interface TempoChange {
  /** Seconds. */
  readonly at: number
  /** Beats per minute from there on. */
  readonly bpm: number
}

export interface Rhythm {
  /** Beats per minute, 45 to 225 (wider where hints ask for it). */
  readonly bpm: number
  /** Probability, 0 to 1, that this and no multiple or fraction of it is the tempo. */
  readonly confidence: number
  /** Other readings with a probability of 0.02 or more, likeliest first. */
  readonly alternatives: readonly { readonly bpm: number; readonly probability: number }[]
  /** Whether one tempo and one grid fit the track from end to end. */
  readonly constant: boolean
  /** Seconds, ascending; on an even grid where `constant`. */
  readonly beats: Float64Array
  /** For each beat, 0 to 1: onset strength there against the strongest eighth of all beats. */
  readonly beatStrengths: Float32Array
  /** 1 less the coefficient of variation of the intervals as tracked, before any grid: 1 is a machine, 0 to 1. */
  readonly regularity: number
  /** Autocorrelation of the onset strength at the beat, 0 to 1: how strongly the track pulses. */
  readonly clarity: number
  /** Beats in a bar: 3 or 4. */
  readonly beatsPerBar: number
  /** Index into `beats` of the first that begins a bar. */
  readonly firstDownbeat: number
  /** How clearly bars begin there, 0 (a guess) to 1. */
  readonly downbeatConfidence: number
  /** Where the tempo moves by more than 3 % and stays, and to what; empty where `constant`. */
  readonly changes: readonly TempoChange[]
}

/** Frames are centred on their time, but a rise is seen when it enters the window: measured on clicks. */
const ONSET_DELAY = 0.006

interface Reading {
  readonly bpm: number
  readonly shift: number
  readonly beats: Float64Array
  readonly probability: number
  /** Which of each pair of beats comes first, 0 or 1. */
  readonly first: number
}

/** Correlations of the novelty and of the lowest and the highest groups. */
export function rhythmCorrelations(onsets: Onsets): Correlations {
  const high = Float32Array.from(onsets.groups[3]!, (value, t) => value + onsets.groups[4]![t]!)
  return {
    novelty: autocorrelation(onsets.novelty),
    low: autocorrelation(onsets.groups[0]!),
    high: autocorrelation(high),
  }
}

/** Tightness of the pulse that hypotheses are folded along. */
export const PULSE_TIGHTNESS = 100

/** The tempi to consider: what the onsets suggest, and what the hints add or forbid. */
function hypothesesWith(found: readonly number[], { tagBpm, rowBpm, bpmRange }: TempoHints): number[] {
  const all = [...found]
  const add = (bpm: number | undefined): void => {
    if (bpm === undefined || !(bpm >= 30 && bpm <= 300)) return
    // Only where the onsets know the pulse or its double or half: a wrong tag must not invent one.
    const near = found.find(other =>
      [0.5, 1, 2].some(factor => Math.abs(Math.log((bpm * factor) / other)) < 0.03),
    )
    if (near === undefined) return
    if (all.every(other => Math.abs(Math.log(other / bpm)) > 0.025)) all.push(bpm)
  }
  add(tagBpm)
  add(rowBpm)
  if (!bpmRange) return all
  const [lowest, highest] = bpmRange
  const inside = (bpm: number): boolean => bpm >= lowest * 0.99 && bpm <= highest * 1.01
  const allowed = all.filter(inside)
  for (const bpm of found)
    for (const factor of [2, 0.5])
      if (inside(bpm * factor) && allowed.every(other => Math.abs(Math.log(other / (bpm * factor))) > 0.025))
        allowed.push(bpm * factor)
  return allowed.length > 0 ? allowed : all
}

function hintBonus(bpm: number, { tagBpm, rowBpm }: TempoHints): number {
  const near = (hint: number | undefined): boolean =>
    hint !== undefined && Math.abs(Math.log(bpm / hint)) < 0.03
  // Logarithms of the odds given to each source: about 30 to 1 for a tag, 2 to 1 for the row.
  return (near(tagBpm) ? 3.4 : 0) + (near(rowBpm) ? 0.7 : 0)
}

/** Every reading, likeliest tempo first, each with its likeliest phase. */
function readings(
  onsets: Onsets,
  network: Network,
  hints: TempoHints,
): { all: Reading[]; correlations: Correlations } {
  const correlations = rhythmCorrelations(onsets)
  const tempi = hypothesesWith(tempoHypotheses(correlations.novelty), hints)
  const features = new Float32Array(FEATURES)
  const scored: { bpm: number; beats: Float64Array; scores: number[] }[] = []
  let top = -Infinity
  for (const bpm of tempi) {
    const beats = trackBeats(onsets.novelty, bpm, PULSE_TIGHTNESS)
    if (beats.length < 4) continue
    const pattern = foldPattern(onsets, beats)
    const scores: number[] = []
    for (const shift of SHIFTS)
      for (let first = 0; first < 2; first++) {
        readingFeatures(pattern, shift + first * STEPS, bpm, correlations, onsets.shares, features, 0)
        const score = scoreReading(network, features, 0) + hintBonus(bpm, hints)
        scores.push(score)
        top = Math.max(top, score)
      }
    scored.push({ bpm, beats, scores })
  }
  let all = 0
  for (const { scores } of scored) for (const score of scores) all += Math.exp(score - top)
  const ranked = scored
    .map(({ bpm, beats, scores }) => {
      const weights = scores.map(score => Math.exp(score - top) / all)
      let best = 0
      for (let s = 1; s < SHIFTS.length; s++)
        if (weights[2 * s]! + weights[2 * s + 1]! > weights[2 * best]! + weights[2 * best + 1]!) best = s
      return {
        bpm,
        beats,
        shift: SHIFTS[best]!,
        first: weights[2 * best + 1]! > weights[2 * best]! ? 1 : 0,
        probability: weights.reduce((a, b) => a + b, 0),
      }
    })
    .sort((a, b) => b.probability - a.probability)
  return { all: ranked, correlations }
}

/** Beats moved on by `shift` twelfths of the gap that follows each. */
function shifted(beats: Float64Array, shift: number): Float64Array {
  if (shift === 0) return beats
  const out = new Float64Array(beats.length)
  for (let i = 0; i < beats.length; i++) {
    const gap = i + 1 < beats.length ? beats[i + 1]! - beats[i]! : beats[i]! - beats[i - 1]!
    out[i] = beats[i]! + (gap * shift) / STEPS
  }
  return out
}

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
function fitGrid(
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

/** Mean strength at the best frame within 30 ms of each beat. */
function meanPeak(strength: Float32Array, beats: Float64Array): number {
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
 * How much of the strength that the freely tracked beats gather an even grid must gather too for the tempo to be
 * called constant.
 */
const EVEN_SHARE = 0.75

/** The even grid that holds for the whole track, or undefined where the tempo is not constant. */
function evenGrid(
  onsets: Onsets,
  strength: Float32Array,
  { bpm, beats }: Reading,
  duration: number,
): { period: number; beats: Float64Array } | undefined {
  const { period, start } = searchGrid(onsets.novelty, bpm, 0.02)
  const count = Math.max(1, Math.floor((duration - start) / period) + 1)
  const grid = Float64Array.from({ length: count }, (_, i) => start + i * period)
  return meanPeak(strength, grid) >= EVEN_SHARE * meanPeak(strength, beats)
    ? { period, beats: grid }
    : undefined
}

/** The phase that the network likes best for an even grid, and which of two beats is first. */
function choosePhase(
  onsets: Onsets,
  network: Network,
  correlations: Correlations,
  beats: Float64Array,
  bpm: number,
): { shift: number; first: number } {
  const pattern = foldPattern(onsets, beats)
  const features = new Float32Array(FEATURES)
  let best = { shift: 0, first: 0, score: -Infinity }
  for (const shift of SHIFTS) {
    const scores = [0, 1].map(first => {
      readingFeatures(pattern, shift + first * STEPS, bpm, correlations, onsets.shares, features, 0)
      return scoreReading(network, features, 0)
    }) as [number, number]
    const score = Math.log(Math.exp(scores[0]) + Math.exp(scores[1]))
    if (score > best.score) best = { shift, first: scores[1] > scores[0] ? 1 : 0, score }
  }
  return best
}

/** Three-frame smoothing, so that a grid need not hit an onset to the frame. */
function smooth(signal: Float32Array): Float32Array {
  const out = new Float32Array(signal.length)
  for (let t = 0; t < signal.length; t++)
    out[t] = 0.5 * signal[t]! + 0.25 * (signal[t - 1] ?? 0) + 0.25 * (signal[t + 1] ?? 0)
  return out
}

function regularityOf(beats: Float64Array): number {
  const count = beats.length - 1
  if (count < 1) return 0
  const mean = (beats[count]! - beats[0]!) / count
  let sum = 0
  for (let i = 0; i < count; i++) sum += (beats[i + 1]! - beats[i]! - mean) ** 2
  return Math.max(0, 1 - Math.sqrt(sum / count) / mean)
}

const medianOf = (values: readonly number[]): number =>
  values.length === 0 ? 0 : [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

/** Periods of neighbouring beats, each the median of the `reach` on either side. */
function localPeriods(beats: Float64Array, reach: number): Float64Array {
  const gaps = Array.from({ length: Math.max(0, beats.length - 1) }, (_, i) => beats[i + 1]! - beats[i]!)
  return Float64Array.from(gaps, (_, i) => medianOf(gaps.slice(Math.max(0, i - reach), i + reach + 1)))
}

function findChanges(beats: Float64Array): TempoChange[] {
  const periods = localPeriods(beats, 4)
  const changes: TempoChange[] = []
  let current = periods[0] ?? 0
  for (let i = 8; i + 8 < periods.length; i++) {
    const ahead = medianOf([...periods.subarray(i, i + 8)])
    if (Math.abs(Math.log(ahead / current)) > 0.03 && Math.abs(Math.log(periods[i]! / ahead)) < 0.015) {
      changes.push({ at: beats[i]!, bpm: 60 / ahead })
      current = ahead
      i += 7
    }
  }
  return changes
}

/** Where bars begin. @param harmony change of harmony at each beat, any positive scale. */
function findBars(
  onsets: Onsets,
  beats: Float64Array,
  harmony: Float32Array,
  first: number,
): { beatsPerBar: number; firstDownbeat: number; confidence: number } {
  const count = beats.length
  const low = Float32Array.from(beats, time => peakNear(onsets.groups[0]!, time))
  const standard = (values: Float32Array): Float32Array => {
    const mean = values.reduce((a, b) => a + b, 0) / Math.max(1, count)
    const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, count)) || 1
    return values.map(value => Math.max(-2, Math.min(2, (value - mean) / deviation)))
  }
  const a = standard(low)
  const h = standard(harmony)
  const evidence = Float32Array.from(
    beats,
    (_, i) => 1.6 * h[i]! + 0.7 * a[i]! + (i % 2 === first ? 0.3 : -0.3),
  )
  const candidates: { bar: number; offset: number; score: number }[] = []
  for (const bar of [3, 4])
    for (let offset = 0; offset < bar; offset++) {
      let sum = 0
      let n = 0
      for (let i = offset; i < count; i += bar) {
        sum += evidence[i]!
        n++
      }
      const others = (evidence.reduce((x, y) => x + y, 0) - sum) / Math.max(1, count - n)
      // Fewer bars make a chance mean larger; and most music by far counts four.
      candidates.push({
        bar,
        offset,
        score: (sum / Math.max(1, n) - others) * Math.sqrt(n) * (bar === 3 ? 0.75 : 1),
      })
    }
  candidates.sort((x, y) => y.score - x.score)
  const best = candidates[0]!
  const rival = candidates.find(other => other.bar === best.bar && other !== best)!
  return {
    beatsPerBar: best.bar,
    firstDownbeat: best.offset,
    confidence: Math.max(0, Math.min(1, (best.score - rival.score) / (Math.abs(best.score) + 1))),
  }
}

function peakNear(envelope: Float32Array, time: number): number {
  const t = Math.round(time * FRAME_RATE)
  let peak = 0
  for (let k = -4; k <= 4; k++) peak = Math.max(peak, envelope[t + k] ?? 0)
  return peak
}

/**
 * @param harmonyAt change of harmony over a moment, seconds (0 where nothing is known).
 * @returns undefined where there is no pulse: silence, or less than about four beats.
 */
export function analyseRhythm(
  onsets: Onsets,
  network: Network,
  harmonyAt: (time: number) => number,
  hints: TempoHints = {},
): Rhythm | undefined {
  if (onsets.frames < 2 * FRAME_RATE || !onsets.novelty.some(value => value > 0)) return undefined
  const { all, correlations } = readings(onsets, network, hints)
  const best = all[0]
  if (!best) return undefined
  const duration = onsets.frames / FRAME_RATE
  const strength = smooth(onsets.novelty)
  const even = evenGrid(onsets, strength, best, duration)
  let beats: Float64Array
  let bpm: number
  let { first } = best
  if (even) {
    const choice = choosePhase(onsets, network, correlations, even.beats, best.bpm)
    first = choice.first
    const shift = (even.period * choice.shift) / STEPS
    const grid = fitGrid(strength, even.period, even.beats[0]! + shift, even.beats.length - 1, 0.01)
    const { period, start } = snapTempo(grid, even.beats.length)
    bpm = 60 / period
    const before = Math.floor((start + ONSET_DELAY) / period)
    const from = start - before * period
    if (before % 2 !== 0) first = 1 - first
    beats = Float64Array.from({ length: Math.ceil((duration - from) / period) }, (_, i) => from + i * period)
  } else {
    beats = shifted(best.beats, best.shift).filter(time => time < duration)
    bpm = 60 / medianOf([...localPeriods(beats, 2)])
  }
  const constant = even !== undefined
  beats = beats.map(time => Math.max(0, time - ONSET_DELAY))
  const raw = Float32Array.from(beats, time => peakNear(onsets.novelty, time))
  const ceiling = [...raw].sort((a, b) => b - a)[Math.floor(raw.length / 8)] || 1
  const bars = findBars(onsets, beats, Float32Array.from(beats, harmonyAt), first)
  return {
    bpm,
    confidence: best.probability,
    alternatives: all
      .slice(1)
      .filter(({ probability }) => probability >= 0.02)
      .map(({ bpm, probability }) => ({ bpm, probability })),
    constant,
    beats,
    beatStrengths: raw.map(value => Math.min(1, value / ceiling)),
    regularity: regularityOf(best.beats),
    clarity: Math.max(0, Math.min(1, at(correlations.novelty, (60 * FRAME_RATE) / bpm))),
    beatsPerBar: bars.beatsPerBar,
    firstDownbeat: bars.firstDownbeat,
    downbeatConfidence: bars.confidence,
    changes: constant ? [] : findChanges(beats),
  }
}

/**
 * A whole number of beats per minute where the fitted one is within what the fit can tell (8 ms over
 * the track, at least 0.01): what was made by a machine was set to a whole number.
 */
function snapTempo(
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
