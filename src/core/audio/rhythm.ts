/**
 * Tempo, beats and bars of a track from its onset strength: hypotheses (tempo.ts), a pulse tracked for each
 * (beats.ts), the reading that looks most like music (metre.ts), then the beats laid over the track (pulse.ts) and the
 * bars (bars.ts).
 */
import { findBars, peakNear } from './bars.ts'
import { frameRate } from './frontend.ts'
import { evenGrid, smooth } from './grid.ts'
import { gatherEvidence, shifts } from './metre.ts'
import type { Networks } from './network.ts'
import type { Onsets } from './onsets.ts'
import {
  asTracked,
  inParts,
  movingReadings,
  onOneGrid,
  partsOf,
  type TempoPart,
  toBeTold,
  withSteadyBeats,
} from './pulse.ts'
import { choosePhase, readings, type TempoHints } from './readings.ts'
import { at } from './tempo.ts'
import { tempoPath } from './tempo-curve.ts'

export interface TempoChange {
  /** Seconds. */
  readonly at: number
  /** Beats per minute from there on. */
  readonly bpm: number
}

export interface Rhythm {
  /** Beats per minute, 45 to 300 (wider where hints ask for it); where it changes, that of the longest stretch. */
  readonly bpm: number
  /** Probability, 0 to 1, that this and no multiple or fraction of it is the tempo. */
  readonly confidence: number
  /** Probability, 0 to 1, that beats lie there and not between, given the tempo. */
  readonly phaseConfidence: number
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
  /** Indices into `beats` of those that begin bars. Where the tempo changes at once a bar may be cut short. */
  readonly downbeats: readonly number[]
  /** How clearly bars begin there, 0 (a guess) to 1. */
  readonly downbeatConfidence: number
  /** Where the tempo moves and stays, and to what; empty if `constant`. */
  readonly changes: readonly TempoChange[]
  /** The track from one change to the next. */
  readonly parts: readonly TempoPart[]
}

/** Frames are centred on their time, but a rise is seen when it enters the window: measured on clicks. */
const onsetDelay = 0.006

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

/**
 * As octaveDoubt of readings.ts: of tracker modules whose phase the networks were surest of (0.94 and above) one in 39 was half
 * a beat off. Set after half of the modules; the other half says the same (bench/README.md).
 */
const phaseDoubt = 0.04

/** Gives the others of the phases their share of doubt. */
const doubted = (confidence: number): number =>
  confidence - phaseDoubt * (confidence - (1 - confidence) / (shifts.length - 1))

/**
 * The share (see `evenGrid`) from which a tempo is called constant: breaks in which other things sound cost a grid some
 * of it.
 */
const minEvenness = 0.75

/**
 * @param harmonyAt change of harmony over a moment, seconds (0 if nothing is known).
 * @returns undefined if there is no pulse: silence, or less than about four beats.
 */
export function analyzeRhythm(
  onsets: Onsets,
  networks: Networks,
  harmonyAt: (time: number) => number,
  hints: TempoHints = {},
): Rhythm | undefined {
  if (onsets.frames < 2 * frameRate || !onsets.novelty.some(value => value > 0)) return undefined
  const evidence = gatherEvidence(onsets, harmonyAt)
  const steady = readings(evidence, networks.metre, hints)
  if (!steady[0]) return undefined
  const duration = onsets.frames / frameRate
  const path = tempoPath(onsets.novelty, steady[0].bpm)
  const inGrids = partsOf(evidence, networks.metre, hints, path)
  const strength = smooth(onsets.novelty)
  const tracked = withSteadyBeats(evidence, strength, steady[0], path)
  const even = evenGrid(onsets.novelty, strength, tracked, duration)
  const oneFits = even.share >= minEvenness
  const parted = inGrids && toBeTold(inGrids, strength, oneFits ? even : undefined) ? inGrids : undefined
  const constant = !parted && oneFits
  const moving =
    parted || constant ? undefined : movingReadings(evidence, networks.metre, hints, steady[0], path)
  const all = parted?.all ?? moving ?? steady
  const best = all[0]!
  const followed = moving ? best : tracked
  const pulse = parted
    ? inParts(evidence, networks.phase, parted)
    : constant
      ? onOneGrid(evidence, networks.phase, even, best.bpm, onsetDelay)
      : asTracked(
          evidence,
          followed,
          choosePhase(evidence, networks.phase, followed.beats, best.bpm),
          !!moving,
        )

  const heard = (time: number): number => fourPlaces(Math.max(0, time - onsetDelay))
  const counts = pulse.counts.map(({ beats, first }) => ({ beats: beats.map(heard), first }))
  const beats = Float64Array.from(counts.flatMap(({ beats }) => [...beats]))
  const raw = Float32Array.from(beats, time => peakNear(onsets.novelty, time))
  const ceiling = [...raw].sort((a, b) => b - a)[Math.floor(raw.length / 8)] || 1
  const longest = counts.reduce((a, b) => (b.beats.length > a.beats.length ? b : a))
  const barsIn = ({ beats, first }: (typeof counts)[number], metres?: readonly number[]) =>
    findBars(onsets, beats, Float32Array.from(beats, harmonyAt), first, metres)
  const bars = barsIn(longest)
  const downbeats: number[] = []
  let passed = 0
  for (const count of counts) {
    const { firstDownbeat } = count === longest ? bars : barsIn(count, [bars.beatsPerBar])
    for (let i = firstDownbeat; i < count.beats.length; i += bars.beatsPerBar) downbeats.push(passed + i)
    passed += count.beats.length
  }
  const parts = pulse.parts.map((part, i) => ({
    ...part,
    start: i === 0 ? 0 : heard(part.start),
    end: i + 1 < pulse.parts.length ? heard(part.end) : duration,
  }))
  return {
    bpm: pulse.bpm,
    confidence: best.probability,
    phaseConfidence: doubted(pulse.phaseConfidence),
    alternatives: all
      .slice(1)
      .filter(({ probability }) => probability >= 0.02)
      .map(({ bpm, probability }) => ({ bpm, probability })),
    constant,
    beats,
    beatStrengths: raw.map(value => Math.min(1, value / ceiling)),
    regularity: regularityOf(best.beats),
    clarity: Math.max(0, Math.min(1, at(evidence.correlations[0], (60 * frameRate) / pulse.bpm))),
    beatsPerBar: bars.beatsPerBar,
    downbeats,
    downbeatConfidence: bars.confidence,
    changes: parts.slice(1).map(({ start, bpm }) => ({ at: start, bpm })),
    parts,
  }
}
