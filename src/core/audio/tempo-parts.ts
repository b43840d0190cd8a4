/**
 * The parts of a track that keep one tempo each. The path of tempi (tempo-curve.ts) says where there may be some. A
 * stretch counts as a part only where what is played there comes round at its own tempo again and again, and is lost
 * on the grid of the track's longest part: so breaks, cross-rhythms and passages without drums, whose strongest period
 * is another or none, change nothing.
 */
import { frameRate } from './frontend.ts'
import { fitGrid, searchStretch } from './grid.ts'
import { hop, stretchFrames } from './tempo-curve.ts'

interface Grid {
  readonly period: number
  readonly start: number
}

/** An even grid, and from when to when it holds, seconds. */
export interface Part {
  readonly period: number
  /** A beat of the grid, the first of a pair wherever the longest part's `start` is one. */
  readonly start: number
  readonly from: number
  readonly to: number
  /** Whether its beats lie in the groove where the longest part's do: what moves those moves these. */
  readonly alike: boolean
}

/** Tempi nearer to each other than this (a logarithm) are one. */
const same = 0.012

/** Shortest part: less is no tempo yet. */
const leastSeconds = 5
const leastBeats = 8

/** What a stretch begins and ends with may be its neighbour's, seconds. */
const edgeSeconds = 2

/** Phases that a groove is folded into, over two beats. */
const phases = 48

/**
 * How much of what is played must come round: correlations, 1 for a machine, about 0 if there is no such period. A few
 * bars, as an echo that dies away, have to be clearer.
 */
const minPeriodicity = 0.4
const minPeriodicitySoon = 0.85
const soonBeats = 32

/** Likeness from which two grooves are one. */
const minLikeness = 0.75

/**
 * Share of that from which the grid of the longest part still explains a stretch: some of every groove falls on any grid.
 * Less will do where the stretch's own tempo stands to it as three to four or to two: that is how musicians play against
 * a beat that continues.
 */
const minExplained = 0.65
const minExplainedAcross = 0.25
const crossRatios = [3 / 4, 4 / 3, 2 / 3, 3 / 2]

interface Run {
  readonly bpm: number
  /** Frames. */
  readonly from: number
  readonly to: number
}

/** The stretches in which the path stays near one tempo, those that are long enough. */
function runsOf(path: Float64Array, frames: number): Run[] {
  const runs: Run[] = []
  let first = 0
  for (let i = 1; i <= path.length; i++) {
    if (i < path.length && Math.abs(Math.log(path[i]! / path[first]!)) < same) continue
    // Each value of the path speaks for the middle of its stretch.
    const from = first === 0 ? 0 : first * hop + stretchFrames / 2
    const to = i === path.length ? frames : (i - 1) * hop + stretchFrames / 2
    const tempi = path.slice(first, i).sort()
    const bpm = tempi[tempi.length >> 1]!
    const seconds = (to - from) / frameRate
    if (seconds >= leastSeconds && (seconds * bpm) / 60 >= leastBeats) runs.push({ bpm, from, to })
    first = i
  }
  return runs
}

/** Onsets from one frame to another, folded over two beats of a grid, less their mean. */
function groove(novelty: Float32Array, { period, start }: Grid, from: number, to: number): Float64Array {
  const sums = new Float64Array(phases)
  const counts = new Float64Array(phases)
  const turn = 2 * period * frameRate
  for (let t = Math.max(0, from); t < Math.min(to, novelty.length); t++) {
    const turns = (t - start * frameRate) / turn
    const phase = Math.floor((turns - Math.floor(turns)) * phases) % phases
    sums[phase]! += Math.min(8, novelty[t]!)
    counts[phase]!++
  }
  let mean = 0
  for (let p = 0; p < phases; p++) {
    sums[p]! /= Math.max(1, counts[p]!)
    mean += sums[p]! / phases
  }
  return sums.map(value => value - mean)
}

/** Correlation of two grooves, the second turned by this many phases. */
function alike(a: Float64Array, b: Float64Array, turn = 0): number {
  let dot = 0
  let aa = 0
  let bb = 0
  for (let p = 0; p < phases; p++) {
    const other = b[(p + turn) % phases]!
    dot += a[p]! * other
    aa += a[p]! ** 2
    bb += other ** 2
  }
  return aa > 0 && bb > 0 ? dot / Math.sqrt(aa * bb) : 0
}

/** The phases that a groove is best turned by to be like another, and how like it is then. */
function bestTurn(a: Float64Array, b: Float64Array): { turn: number; likeness: number } {
  let best = { turn: 0, likeness: -1 }
  for (let turn = 0; turn < phases; turn++) {
    const likeness = alike(a, b, turn)
    if (likeness > best.likeness) best = { turn, likeness }
  }
  return best
}

const frame = (seconds: number): number => Math.round(seconds * frameRate)

/** The groove in each piece of some 8 to 16 beats of a stretch. */
function pieces(novelty: Float32Array, grid: Part, { from, to }: Part): Float64Array[] {
  const beats = Math.max(8, Math.min(16, Math.floor((to - from) / grid.period / 3)))
  const length = 2 * Math.round(beats / 2) * grid.period
  const count = Math.max(1, Math.floor((to - from) / length + 1e-6))
  return Array.from({ length: count }, (_, i) =>
    groove(novelty, grid, frame(from + i * length), frame(Math.min(to, from + (i + 1) * length))),
  )
}

const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

/** How much of a stretch comes round on its own grid: each piece against all others. 0 if it has but one. */
function comesRound(novelty: Float32Array, part: Part): number {
  const grooves = pieces(novelty, part, part)
  if (grooves.length < 2) return 0
  const all = new Float64Array(phases)
  for (const each of grooves) for (let p = 0; p < phases; p++) all[p]! += each[p]!
  return meanOf(
    grooves.map(each =>
      alike(
        all.map((sum, p) => sum - each[p]!),
        each,
      ),
    ),
  )
}

function partOf(novelty: Float32Array, strength: Float32Array, { bpm, from, to }: Run): Part {
  const edge = edgeSeconds * frameRate
  const inner = [from > 0 ? from + edge : 0, to < novelty.length ? to - edge : to] as const
  const stretch = inner[1] - inner[0] >= 4 * frameRate ? inner : ([from, to] as const)
  const rough = searchStretch(novelty, stretch, bpm, same)
  const first = stretch[0] / frameRate
  const start = rough.start - Math.floor((rough.start - first) / rough.period) * rough.period
  const count = Math.max(2, Math.floor((stretch[1] / frameRate - start) / rough.period))
  const grid = fitGrid(strength, rough.period, start, count, 0.2)
  return {
    period: grid.period,
    start: grid.start,
    from: stretch[0] / frameRate,
    to: stretch[1] / frameRate,
    alike: true,
  }
}

/**
 * The parts of a track, in their order, if there are two or more; otherwise none. Where a part and the next do not
 * meet the tempo goes over little by little (or nothing is heard).
 * @param novelty onset strength, frames at frameRate.
 * @param strength the same, smoothed.
 * @param path as of `tempoPath`.
 */
export function tempoParts(novelty: Float32Array, strength: Float32Array, path: Float64Array): Part[] {
  const runs = runsOf(path, novelty.length)
  if (runs.length < 2) return []
  const fitted = runs.map(run => {
    const part = partOf(novelty, strength, run)
    return { part, round: comesRound(novelty, part) }
  })
  const weight = ({ part, round }: { part: Part; round: number }): number =>
    round >= minPeriodicity ? (part.to - part.from) * round : 0
  const longest = fitted.reduce((a, b) => (weight(b) > weight(a) ? b : a))
  if (weight(longest) === 0) return []
  const { part: main } = longest
  const theme = groove(novelty, main, frame(main.from), frame(main.to))
  const parts = fitted.flatMap(({ part, round }): Part[] => {
    if (part === main) return [part]
    const followed = meanOf(pieces(novelty, main, part).map(each => alike(theme, each)))
    const again = bestTurn(theme, groove(novelty, part, frame(part.from), frame(part.to)))
    // The same music at another tempo need not be heard twice.
    const evidence = Math.max(round, again.likeness >= minLikeness ? again.likeness : 0)
    const across = crossRatios.some(ratio => Math.abs(Math.log((part.period * ratio) / main.period)) < same)
    const explained = across ? minExplainedAcross : minExplained
    if (followed > explained * Math.max(evidence, minPeriodicity))
      return [{ ...main, from: part.from, to: part.to }]
    const asked = (part.to - part.from) / part.period < soonBeats ? minPeriodicitySoon : minPeriodicity
    if (evidence < asked) return []
    const alikeToMain = again.likeness >= minLikeness
    const turned = alikeToMain ? (again.turn / phases) * 2 * part.period : 0
    return [{ ...part, start: part.start + turned, alike: alikeToMain }]
  })
  return joined(novelty, parts)
}

/** Whether two parts lie on one grid. */
const sameGrid = (a: Part, b: Part): boolean => a.period === b.period && a.start === b.start

interface Vote {
  /** Seconds: a beat of the grid. */
  readonly time: number
  /** About a half where what follows it is the part's groove, minus a half where it is anything else. */
  readonly vote: number
}

/** What each beat of a part's grid from one time to another says of the part's holding there. */
function votes(novelty: Float32Array, part: Part, from: number, to: number): Vote[] {
  const own = groove(novelty, part, frame(part.from), frame(part.to))
  const turn = 2 * part.period * frameRate
  const firstFrame = part.start * frameRate
  const cells = (low: number, high: number): { time: number; dot: number }[] => {
    const first = Math.ceil((low - part.start) / part.period)
    const count = Math.max(0, Math.ceil((high - part.start) / part.period) - first)
    return Array.from({ length: count }, (_, i) => {
      const time = part.start + (first + i) * part.period
      let dot = 0
      for (let t = frame(time); t < frame(time + part.period); t++) {
        const turns = (t - firstFrame) / turn
        dot += (novelty[t] ?? 0) * own[Math.floor((turns - Math.floor(turns)) * phases) % phases]!
      }
      return { time, dot }
    })
  }
  const usual = Math.max(1e-9, meanOf(cells(part.from, part.to).map(({ dot }) => dot)))
  return cells(from, to).map(({ time, dot }) => ({
    time,
    vote: Math.max(-1, Math.min(1, dot / usual)) - 0.5,
  }))
}

/** Seconds either side of two parts' edges in which they are looked for. */
const overlap = 8

/** Beats that must be lost by going over at once, for a change to be one little by little. */
const lost = 1.5

/** Where one part ends and the next begins: at one moment, or with something between. */
function border(novelty: Float32Array, a: Part, b: Part): { end: number; begin: number } {
  const low = Math.max((a.from + a.to) / 2, a.to - overlap)
  const high = Math.min((b.from + b.to) / 2, b.from + overlap)
  const before = votes(novelty, a, low, high)
  const after = votes(novelty, b, low, high).reverse()
  /** Sums of votes up to each beat, and the beat up to which they are most. */
  const furthest = (all: readonly Vote[], none: number): { at: number; sum: number } => {
    let best = { at: none, sum: 0 }
    let sum = 0
    for (const { time, vote } of all) {
      sum += vote
      if (sum > best.sum) best = { at: time, sum }
    }
    return best
  }
  const end = furthest(before, low)
  const begin = furthest(after, high)
  let at = { time: high, sum: -Infinity }
  let right = after.reduce((sum, { vote }) => sum + vote, 0)
  let left = 0
  let i = 0
  for (const { time, vote } of after.reverse()) {
    while (i < before.length && before[i]!.time < time - 0.5 * b.period) left += before[i++]!.vote
    if (left + right > at.sum) at = { time, sum: left + right }
    right -= vote
  }
  if (begin.at > end.at && end.sum + begin.sum > at.sum + lost)
    return { end: end.at + a.period / 2, begin: begin.at }
  return { end: at.time - 0.5 * b.period, begin: at.time }
}

/** Onsets against their mean over 1.5 s either side: in a break without drums what is left counts as much. */
function evened(novelty: Float32Array): Float32Array {
  const reach = 1.5 * frameRate
  const sums = new Float64Array(novelty.length + 1)
  for (let t = 0; t < novelty.length; t++) sums[t + 1] = sums[t]! + Math.min(8, novelty[t]!)
  return novelty.map((value, t) => {
    const [from, to] = [Math.max(0, t - reach), Math.min(novelty.length, t + reach)]
    return Math.min(8, value) / ((sums[to]! - sums[from]!) / (to - from) + 0.05)
  })
}

/** Neighbours on one grid made one, and each part as long as it holds; none if one is left. */
function joined(novelty: Float32Array, parts: readonly Part[]): Part[] {
  const whole: Part[] = []
  for (const part of parts) {
    const last = whole.at(-1)
    if (last && sameGrid(last, part)) whole[whole.length - 1] = { ...last, to: part.to }
    else whole.push(part)
  }
  if (whole.length < 2) return []
  const even = evened(novelty)
  const borders = whole.slice(1).map((part, i) => border(even, whole[i]!, part))
  return whole.map((part, i) => ({
    ...part,
    from: i === 0 ? 0 : borders[i - 1]!.begin,
    to: borders[i]?.end ?? novelty.length / frameRate,
  }))
}
