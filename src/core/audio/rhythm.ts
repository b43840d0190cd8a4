/**
 * Tempo, beats and bars of a track from its onset strength: hypotheses (tempo.ts), a pulse tracked for each
 * (beats.ts), the reading that looks most like music (metre.ts), then the grid.
 */
import { findBars, peakNear } from './bars.ts'
import { trackBeats } from './beats.ts'
import { FRAME_RATE } from './frontend.ts'
import { evenGrid, fitGrid, meanPeak, smooth, snapTempo } from './grid.ts'
import { type Evidence, gatherEvidence, STEPS, sliceEvidence } from './metre.ts'
import type { Network } from './network.ts'
import type { Onsets } from './onsets.ts'
import { choosePhase, PULSE_TIGHTNESS, type Reading, readings, shifted, type TempoHints } from './readings.ts'
import { at } from './tempo.ts'
import { tempoCurve } from './tempo-curve.ts'

export interface TempoChange {
  /** Seconds. */
  readonly at: number
  /** Beats per minute from there on. */
  readonly bpm: number
}

export interface Rhythm {
  /** Beats per minute, 45 to 225 (wider where hints ask for it); where it changes, that of the longest stretch. */
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

/**
 * No beat is known to less than a tenth of a millisecond, and no tempo to less than a ten-thousandth a minute; and so
 * bar lines, which are beats, are equal to them wherever they are written.
 */
export const fourPlaces = (value: number): number => Math.round(value * 1e4) / 1e4

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

/** Mean interval from one beat to another, seconds. */
const meanInterval = (beats: Float64Array, from: number, to: number): number =>
  (beats[to]! - beats[from]!) / (to - from)

/** Beats that a tempo is measured over: each is known to a few milliseconds only. */
const SPAN = 8

/** The tempo that holds longest: of the longest stretch between changes, and there that of most beats. */
function prevailingTempo(beats: Float64Array, changes: readonly TempoChange[]): number {
  const starts = [0, ...changes.map(({ at }) => beats.indexOf(at)), beats.length - 1]
  let [from, to] = [0, 0]
  for (const [i, start] of starts.slice(0, -1).entries()) {
    const end = starts[i + 1]!
    if (beats[end]! - beats[start]! > beats[to]! - beats[from]!) [from, to] = [start, end]
  }
  const span = Math.min(SPAN, to - from)
  const count = to - from - span + 1
  return (
    60 / medianOf(Array.from({ length: count }, (_, i) => meanInterval(beats, from + i, from + i + span)))
  )
}

function findChanges(beats: Float64Array): TempoChange[] {
  const changes: TempoChange[] = []
  let current = beats.length > SPAN ? meanInterval(beats, 0, SPAN) : 0
  for (let i = SPAN; i + SPAN < beats.length; i++) {
    const ahead = meanInterval(beats, i, i + SPAN)
    if (Math.abs(Math.log(ahead / current)) < 0.03) continue
    // Only from where the beats already keep the new tempo.
    if (Math.abs(Math.log(meanInterval(beats, i, i + 2) / ahead)) > 0.015) continue
    changes.push({ at: beats[i]!, bpm: 60 / ahead })
    current = ahead
    i += SPAN - 1
  }
  return changes
}

/** The longest run of frames whose tempo stays within 2 % of where it began. */
function longestSteady(curve: Float32Array): [from: number, to: number] {
  let longest: [number, number] = [0, 0]
  let from = 0
  for (let t = 0; t <= curve.length; t++) {
    if (t < curve.length && Math.abs(Math.log(curve[t]! / curve[from]!)) < 0.02) continue
    if (t - from > longest[1] - longest[0]) longest = [from, t]
    from = t
  }
  return longest
}

/** Readings of one pulse may differ by these. */
const RATIOS = [1 / 3, 1 / 2, 2 / 3, 1, 3 / 2, 2, 3]

/**
 * The readings of a track whose tempo moves: counted as its longest steady part is, tracked along the curve. Undefined
 * where a constant tempo gathers as much onset strength.
 */
function movingReadings(
  evidence: Evidence,
  network: Network,
  hints: TempoHints,
  { bpm }: Reading,
): readonly Reading[] | undefined {
  const { onsets } = evidence
  const curve = tempoCurve(onsets.novelty, bpm)
  if (!curve) return undefined
  const [from, to] = longestSteady(curve)
  const all = readings(sliceEvidence(evidence, from, to), network, hints)
  const [best] = all
  if (!best) return undefined
  const ratio = RATIOS.find(other => Math.abs(Math.log((other * curve[from]!) / best.bpm)) < 0.04)
  if (ratio === undefined) return undefined
  const strength = smooth(onsets.novelty)
  const track = (tempo: number | Float32Array): Float64Array =>
    trackBeats(onsets.novelty, tempo, PULSE_TIGHTNESS)
  const beats = track(curve.map(tempo => tempo * ratio))
  if (meanPeak(strength, beats) < MOVING_SHARE * meanPeak(strength, track(bpm * ratio))) return undefined
  return [{ ...best, beats }, ...all.slice(1)]
}

/** How much more strength the beats along a curve must gather than those of a constant tempo. */
const MOVING_SHARE = 0.95

/**
 * The share (see `evenGrid`) from which a tempo is called constant, and no curve of tempi is looked for: breaks in which
 * other things sound cost a grid some of it.
 */
const EVEN = 0.75

interface Pulse {
  readonly bpm: number
  readonly beats: Float64Array
  /** Which of each pair of beats comes first, 0 or 1. */
  readonly first: number
  readonly changes: readonly TempoChange[]
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
  const evidence = gatherEvidence(onsets, harmonyAt)
  const steady = readings(evidence, network, hints)
  if (!steady[0]) return undefined
  const duration = onsets.frames / FRAME_RATE
  const strength = smooth(onsets.novelty)
  const even = evenGrid(onsets.novelty, strength, steady[0], duration)
  const moving = even.share >= EVEN ? undefined : movingReadings(evidence, network, hints, steady[0])
  const all = moving ?? steady
  const best = all[0]!
  const phaseOf = (beats: Float64Array) => choosePhase(evidence, network, beats, best.bpm)

  const onGrid = (): Pulse => {
    const phase = phaseOf(even.beats)
    const shift = (even.period * phase.shift) / STEPS
    const grid = fitGrid(strength, even.period, even.beats[0]! + shift, even.beats.length - 1, 0.01)
    const { period, start } = snapTempo(grid, even.beats.length)
    const before = Math.floor((start + ONSET_DELAY) / period)
    const from = start - before * period
    const count = Math.ceil((duration - from) / period)
    return {
      bpm: 60 / period,
      beats: Float64Array.from({ length: count }, (_, i) => from + i * period),
      first: before % 2 === 0 ? phase.first : 1 - phase.first,
      changes: [],
    }
  }
  const asTracked = (): Pulse => {
    const { shift, first } = moving ? phaseOf(best.beats) : best
    const beats = shifted(best.beats, shift).filter(time => time < duration)
    // Without a curve the track has one tempo, however unevenly its beats could be tracked.
    const changes = moving ? findChanges(beats) : []
    return { bpm: prevailingTempo(beats, changes), beats, first, changes }
  }
  const constant = !moving && even.share >= EVEN
  const { bpm, first, changes, ...pulse } = constant ? onGrid() : asTracked()
  const heard = (time: number): number => fourPlaces(Math.max(0, time - ONSET_DELAY))
  const beats = pulse.beats.map(heard)
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
    clarity: Math.max(0, Math.min(1, at(evidence.correlations[0], (60 * FRAME_RATE) / bpm))),
    beatsPerBar: bars.beatsPerBar,
    firstDownbeat: bars.firstDownbeat,
    downbeatConfidence: bars.confidence,
    changes: changes.map(({ at, bpm }) => ({ at: heard(at), bpm })),
  }
}
