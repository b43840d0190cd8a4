/**
 * The ways to lay beats over a track: one even grid from end to end; a grid for each part that keeps a tempo of its own;
 * or as they were tracked, where the tempo goes its own way.
 */
import { trackBeats } from './beats.ts'
import { frameRate } from './frontend.ts'
import { fitGrid, meanPeak, smooth, snapTempo } from './grid.ts'
import { type Evidence, sliceEvidence, steps } from './metre.ts'
import type { Network } from './network.ts'
import {
  choosePhase,
  type Phase,
  pulseTightness,
  type Reading,
  readings,
  shifted,
  type TempoHints,
} from './readings.ts'
import { curveOf, tempoPath } from './tempo-curve.ts'
import { type Part, tempoParts } from './tempo-parts.ts'

/** What holds for a part of the track. */
export interface TempoPart {
  /** Seconds: its first beat, or where the track begins; the next part's first beat, or the track's end. */
  readonly start: number
  readonly end: number
  readonly bpm: number
  /** Whether its beats lie on an even grid. */
  readonly constant: boolean
}

/** Beats that are counted through. */
interface Count {
  readonly beats: Float64Array
  /** Which of each pair of beats comes first, 0 or 1. */
  readonly first: number
}

interface Pulse {
  readonly bpm: number
  /** Probability, 0 to 1, that beats lie there and not between; of the longest part. */
  readonly phaseConfidence: number
  /** One after another; where the tempo changes at once the count begins anew. */
  readonly counts: readonly Count[]
  readonly parts: readonly TempoPart[]
}

const medianOf = (values: readonly number[]): number =>
  values.length === 0 ? 0 : [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

/** Mean interval from one beat to another, seconds. */
const meanInterval = (beats: Float64Array, from: number, to: number): number =>
  (beats[to]! - beats[from]!) / (to - from)

/** Beats that a tempo is measured over: each is known to a few milliseconds only. */
const spanBeats = 8

/** Index of a beat, and beats per minute from there on. */
interface Change {
  readonly index: number
  readonly bpm: number
}

/** The tempo that holds longest: of the longest stretch between changes, and there that of most beats. */
function prevailingTempo(beats: Float64Array, changes: readonly Change[]): number {
  const starts = [0, ...changes.map(({ index }) => index), beats.length - 1]
  let [from, to] = [0, 0]
  for (const [i, start] of starts.slice(0, -1).entries()) {
    const end = starts[i + 1]!
    if (beats[end]! - beats[start]! > beats[to]! - beats[from]!) [from, to] = [start, end]
  }
  const span = Math.min(spanBeats, to - from)
  const count = to - from - span + 1
  return (
    60 / medianOf(Array.from({ length: count }, (_, i) => meanInterval(beats, from + i, from + i + span)))
  )
}

/** Where tracked beats move by more than 3 % and stay. */
function findChanges(beats: Float64Array): Change[] {
  const changes: Change[] = []
  let current = beats.length > spanBeats ? meanInterval(beats, 0, spanBeats) : 0
  for (let i = spanBeats; i + spanBeats < beats.length; i++) {
    const ahead = meanInterval(beats, i, i + spanBeats)
    if (Math.abs(Math.log(ahead / current)) < 0.03) continue
    // Only from where the beats already keep the new tempo.
    if (Math.abs(Math.log(meanInterval(beats, i, i + 2) / ahead)) > 0.015) continue
    changes.push({ index: i, bpm: 60 / ahead })
    current = ahead
    i += spanBeats - 1
  }
  return changes
}

/** One grid over the whole track. */
export function onOneGrid(
  evidence: Evidence,
  network: Network,
  even: { readonly period: number; readonly beats: Float64Array },
  bpm: number,
  delay: number,
): Pulse {
  const duration = evidence.onsets.frames / frameRate
  const phase = choosePhase(evidence, network, even.beats, bpm)
  const shift = (even.period * phase.shift) / steps
  const strength = smooth(evidence.onsets.novelty)
  const grid = fitGrid(strength, even.period, even.beats[0]! + shift, even.beats.length - 1, 0.01)
  const { period, start } = snapTempo(grid, even.beats.length)
  const before = Math.floor((start + delay) / period)
  const from = start - before * period
  const count = Math.ceil((duration - from) / period)
  const beats = Float64Array.from({ length: count }, (_, i) => from + i * period)
  const first = before % 2 === 0 ? phase.first : 1 - phase.first
  return {
    bpm: 60 / period,
    phaseConfidence: phase.phaseConfidence,
    counts: [{ beats, first }],
    parts: [{ start: 0, end: duration, bpm: 60 / period, constant: true }],
  }
}

/** The beats of a reading as they were tracked. @param moving whether the tempo is known to move. */
export function asTracked(
  evidence: Evidence,
  { beats: tracked }: Reading,
  { shift, first, phaseConfidence }: Phase,
  moving: boolean,
): Pulse {
  const duration = evidence.onsets.frames / frameRate
  const beats = shifted(tracked, shift).filter(time => time < duration)
  // Without a curve the track has one tempo, however unevenly its beats could be tracked.
  const changes = moving ? findChanges(beats) : []
  const bpm = prevailingTempo(beats, changes)
  const starts = [{ index: 0, bpm: 0 }, ...changes]
  const parts = starts.map(({ index }, i): TempoPart => {
    const next = starts[i + 1]?.index
    const own = beats.slice(index, next === undefined ? undefined : next + 1)
    return {
      start: i === 0 ? 0 : beats[index]!,
      end: next === undefined ? duration : beats[next]!,
      bpm: starts[i]!.bpm || (changes.length === 0 ? bpm : prevailingTempo(own, [])),
      constant: false,
    }
  })
  return { bpm, phaseConfidence, counts: [{ beats, first }], parts }
}

/** Whether a path of tempi leaves its tempo by more than players do. */
const moves = (path: Float64Array): boolean => Math.max(...path) / Math.min(...path) >= 1.03

/**
 * Tightness of beats whose tempo is known: they follow players who drift by a few per cent, and jump to no onset between
 * two beats, however strong (pickups, offbeats).
 */
const steadyTightness = 400

/** A reading with its beats tracked at its tempo, or along a path that moves where that gathers more onset strength. */
export function withSteadyBeats(
  { onsets: { novelty, frames } }: Evidence,
  strength: Float32Array,
  reading: Reading,
  path: Float64Array | undefined,
): Reading {
  const track = (tempo: number | Float32Array): Float64Array => trackBeats(novelty, tempo, steadyTightness)
  const beats = track(reading.bpm)
  if (!path || !moves(path)) return { ...reading, beats }
  const along = track(curveOf(path, frames))
  return { ...reading, beats: meanPeak(strength, along) > meanPeak(strength, beats) ? along : beats }
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
const ratios = [1 / 3, 1 / 2, 2 / 3, 1, 3 / 2, 2, 3]

/** How much more strength the beats along a curve must gather than those of a constant tempo. */
const movingShare = 0.95

/**
 * The readings of a track whose tempo moves: counted as its longest steady part is, tracked along the path. Undefined
 * where a constant tempo gathers as much onset strength.
 */
export function movingReadings(
  evidence: Evidence,
  network: Network,
  hints: TempoHints,
  { bpm }: Reading,
  path: Float64Array | undefined,
): readonly Reading[] | undefined {
  const { onsets } = evidence
  if (!path || !moves(path)) return undefined
  const curve = curveOf(path, onsets.frames)
  const [from, to] = longestSteady(curve)
  const all = readings(sliceEvidence(evidence, from, to), network, hints)
  const [best] = all
  if (!best) return undefined
  const ratio = ratios.find(other => Math.abs(Math.log((other * curve[from]!) / best.bpm)) < 0.04)
  if (ratio === undefined) return undefined
  const strength = smooth(onsets.novelty)
  const track = (tempo: number | Float32Array): Float64Array =>
    trackBeats(onsets.novelty, tempo, pulseTightness)
  const beats = track(curve.map(tempo => tempo * ratio))
  if (meanPeak(strength, beats) < movingShare * meanPeak(strength, track(bpm * ratio))) return undefined
  return [{ ...best, beats }, ...all.slice(1)]
}

/** A track whose tempo changes from one part to another. */
interface Parted {
  readonly all: readonly Reading[]
  readonly parts: readonly Part[]
  readonly path: Float64Array
  /** Mean onset strength that beats on the grids of the parts gather, and whether that is as much as those tracked do. */
  readonly gathered: number
  readonly asTracked: boolean
}

/** Share of the track that must lie in parts for it to be told by parts. */
const minCovered = 0.6

/** Share of the strength of tracked beats that those on grids must gather to be as good. */
const asGood = 0.93

/** How many times the strength that one grid gathers the grids of parts must, to be told instead of it. */
const better = 1.05

const gridBeats = (parts: readonly Part[]): Float64Array =>
  Float64Array.from(
    parts.flatMap(({ period, start, from, to }) => {
      const first = Math.ceil((from - start) / period)
      const count = Math.max(0, Math.ceil((to - start) / period) - first)
      return Array.from({ length: count }, (_, i) => start + (first + i) * period)
    }),
  )

const longestOf = (parts: readonly Part[]): Part =>
  parts.reduce((a, b) => (b.to - b.from > a.to - a.from ? b : a))

/**
 * The parts of a track that keep a tempo each, counted as the longest is. Undefined if there are no two, or most of
 * the track lies in none.
 */
export function partsOf(
  evidence: Evidence,
  network: Network,
  hints: TempoHints,
  path: Float64Array | undefined,
): Parted | undefined {
  const { novelty, frames } = evidence.onsets
  const strength = smooth(novelty)
  const along = (path: Float64Array | undefined): readonly Part[] => {
    const found = path ? tempoParts(novelty, strength, path) : []
    const covered = found.reduce((sum, { from, to }) => sum + to - from, 0)
    return covered >= minCovered * (frames / frameRate) ? found : []
  }
  const parts = along(path)
  if (!path || parts.length < 2) return undefined
  const longest = longestOf(parts)
  const hear = ({ from, to }: Part, hints: TempoHints): readonly Reading[] =>
    readings(
      sliceEvidence(evidence, Math.round(from * frameRate), Math.round(to * frameRate)),
      network,
      hints,
    )
  const isCountedAs = ({ bpm }: Reading, { period }: Part): boolean =>
    Math.abs(Math.log((bpm * period) / 60)) < 0.02
  const counted = (
    parts: readonly Part[],
    path: Float64Array,
    heard: readonly Reading[],
  ): Parted | undefined => {
    const [best] = heard
    if (!best || !isCountedAs(best, longestOf(parts))) return undefined
    const beats = trackBeats(novelty, curveOf(path, frames), steadyTightness)
    const gathered = meanPeak(strength, gridBeats(parts))
    const asTracked = gathered >= asGood * meanPeak(strength, beats)
    return { all: [{ ...best, beats }, ...heard.slice(1)], parts, path, gathered, asTracked }
  }
  const heard = hear(longest, hints)
  const [best] = heard
  if (!best) return undefined
  if (isCountedAs(best, longest)) return counted(parts, path, heard)
  // Heard alone it is counted otherwise: once more from there.
  const otherPath = tempoPath(novelty, best.bpm)
  const others = along(otherPath)
  if (!otherPath || others.length < 2) return undefined
  // Another part may be the longest now, one that the range cannot be kept for: one path goes through all of them.
  const other = longestOf(others)
  const again = isCountedAs(best, other) ? heard : hear(other, { ...hints, bpmRange: undefined })
  return counted(others, otherPath, again)
}

/**
 * Whether the parts are to be told. Where the tempo drifts, beats as tracked are nearer to what is played than any grids;
 * but players who are a little off each grid are further off the one grid that would be laid over all of it otherwise.
 * @param oneGrid that one, undefined if none would be laid.
 */
export function toBeTold(
  { parts, gathered, asTracked }: Parted,
  strength: Float32Array,
  oneGrid: { readonly period: number; readonly beats: Float64Array } | undefined,
): boolean {
  if (asTracked || !oneGrid) return asTracked
  // Beats of another octave are others: nothing is to be compared.
  const alike = Math.abs(Math.log(longestOf(parts).period / oneGrid.period)) < 0.02
  return alike && gathered > better * meanPeak(strength, oneGrid.beats)
}

/** Gap between two beats from which one is missing, in beats. */
const tooFar = 1.5

/** Each part on its grid, and in between the beats as tracked. */
export function inParts(evidence: Evidence, network: Network, { parts, all }: Parted): Pulse {
  const duration = evidence.onsets.frames / frameRate
  /** Beats that a part's grid lies off the beat, an odd one where the pair begins with the other. */
  const phaseIn = ({ period, start, from, to }: Part): { turned: number; confidence: number } => {
    const [low, high] = [Math.round(from * frameRate), Math.round(to * frameRate)]
    const offset = low / frameRate
    const first = start + Math.ceil((offset - start) / (2 * period)) * 2 * period
    const count = Math.max(2, Math.floor((to - first) / period))
    const beats = Float64Array.from({ length: count }, (_, i) => first - offset + i * period)
    const phase = choosePhase(sliceEvidence(evidence, low, high), network, beats, 60 / period)
    return { turned: phase.shift / steps + phase.first, confidence: phase.phaseConfidence }
  }
  const main = longestOf(parts)
  const phase = phaseIn(main)
  const grids = parts.map(part => {
    const { turned } = part === main || part.alike ? phase : phaseIn(part)
    const first = Math.ceil((part.from - part.start) / part.period) * part.period + part.start
    const count = Math.max(2, Math.round((part.to - first) / part.period))
    // Snapped about the part's own middle; then back to the first of a pair.
    const snapped = snapTempo({ period: part.period, start: first }, count)
    const back = Math.round((first - part.start) / part.period)
    const start = snapped.start - back * snapped.period + turned * snapped.period
    return { ...part, period: snapped.period, start }
  })
  const tracked = all[0]!.beats
  const counts: { beats: number[]; first: number }[] = []
  const told: TempoPart[] = []
  for (const [i, { from, to, period, start }] of grids.entries()) {
    // Snapped, a beat may lie a little before where the part was said to begin.
    const index = Math.ceil((from - start) / period - 0.3)
    const count = Math.max(
      0,
      Math.ceil(((i + 1 < grids.length ? to : duration) - start) / period - 1e-6) - index,
    )
    if (count === 0) continue
    const beats = Array.from({ length: count }, (_, k) => start + (index + k) * period)
    const previous = counts.at(-1)
    const last = previous?.beats.at(-1)
    const before = grids[i - 1]
    if (previous && last !== undefined && before) {
      if (beats[0]! - last > tooFar * Math.max(period, before.period))
        for (const time of tracked)
          if (time > last + 0.6 * before.period && time < beats[0]! - 0.6 * period) previous.beats.push(time)
      told[told.length - 1] = { ...told.at(-1)!, end: beats[0]! }
    }
    counts.push({ beats, first: Math.abs(index % 2) })
    told.push({ start: told.length === 0 ? 0 : beats[0]!, end: duration, bpm: 60 / period, constant: true })
  }
  const longest = told.reduce((a, b) => (b.end - b.start > a.end - a.start ? b : a))
  return {
    bpm: longest.bpm,
    phaseConfidence: phase.confidence,
    counts: counts.map(({ beats, first }) => ({ beats: Float64Array.from(beats), first })),
    parts: told,
  }
}
