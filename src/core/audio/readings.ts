/**
 * The ways to count a track: each tempo hypothesis (tempo.ts) with the pulse tracked at it (beats.ts), its phase, and
 * how much that looks like music counted rightly (metre.ts).
 */
import { trackBeats } from './beats.ts'
import { type Evidence, featureCount, fold, readingFeatures, shifts, steps } from './metre.ts'
import { type Network, scoreReading } from './network.ts'
import { tempoHypotheses } from './tempo.ts'

/** What is known of a tempo before listening. */
export interface TempoHints {
  /** The file's own tempo tag: written by a person or another program, usually right. */
  readonly tagBpm?: number | undefined
  /** What the database had; an earlier analysis, so it only decides between octaves that are as likely. */
  readonly rowBpm?: number | undefined
  /** What the operator expects: a tempo outside is answered by its octave inside, where it has one. */
  readonly bpmRange?: readonly [lowest: number, highest: number] | undefined
}

export interface Reading {
  readonly bpm: number
  readonly shift: number
  readonly beats: Float64Array
  readonly probability: number
  /** Which of each pair of beats comes first, 0 or 1. */
  readonly first: number
  /** Probability, 0 to 1, that beats lie there and not between, given the tempo. */
  readonly phaseConfidence: number
}

/** Where the beats of a pulse lie, as in `Reading`. */
export type Phase = Pick<Reading, 'shift' | 'first' | 'phaseConfidence'>

/** The likeliest phase. @param weights likelihood of each of SHIFTS, with the one and the other beat first. */
function likeliestPhase(weights: readonly number[]): Phase {
  const of = (s: number): number => weights[2 * s]! + weights[2 * s + 1]!
  let best = 0
  let all = 0
  for (let s = 0; s < shifts.length; s++) {
    if (of(s) > of(best)) best = s
    all += of(s)
  }
  return {
    shift: shifts[best]!,
    first: weights[2 * best + 1]! > weights[2 * best]! ? 1 : 0,
    phaseConfidence: all > 0 ? of(best) / all : 0,
  }
}

/** Tightness of the pulse that hypotheses are folded along. */
export const pulseTightness = 100

/** Ratios at which a tempo is the same pulse, counted by twos. */
const octaves = [2, 1 / 2, 4, 1 / 4, 8, 1 / 8]

const isInside = (bpm: number, [lowest, highest]: readonly [number, number]): boolean =>
  bpm >= lowest * 0.99 && bpm <= highest * 1.01

/** Logarithm of the odds that are given to a tag, and to the operator's range: 30 to 1. */
const told = 3.4

/** The tempi to consider: what the onsets suggest, and what the hints add. */
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
  const inside = all.filter(bpm => isInside(bpm, bpmRange))
  for (const bpm of found)
    for (const octave of octaves.map(factor => factor * bpm))
      if (isInside(octave, bpmRange) && inside.every(other => Math.abs(Math.log(other / octave)) > 0.025)) {
        inside.push(octave)
        all.push(octave)
      }
  return all
}

/** Logarithm of how likely a tempo is before listening. */
function expected(bpm: number, { tagBpm, rowBpm }: TempoHints): number {
  const near = (hint: number | undefined): boolean =>
    hint !== undefined && Math.abs(Math.log(bpm / hint)) < 0.03
  // Who wrote the tag heard the track: what people prefer in general is not held against it.
  const felt = near(tagBpm) ? told : resonance(bpm)
  // The row only breaks ties. The old values of the application's librosa, whose octave is right of two in three, do harm
  // from 0.1 on (folds of the tuning half).
  return felt + (near(rowBpm) ? 0.05 : 0)
}

/**
 * Logarithm of how readily a tempo is felt as the beat: people prefer some 120 a minute (van Noorden and Moelants,
 * "Resonance in the perception of musical pulse", J. New Music Research 28(1), 1999). It decides near ties, which rendered
 * music did not teach; how much it counts for was chosen on 295 songs of rhythm games (bench/README.md).
 */
const resonance = (bpm: number): number => -(Math.log2(bpm / 120) ** 2)

/** Every reading, likeliest tempo first, each with its likeliest phase. */
export function readings(evidence: Evidence, network: Network, hints: TempoHints): Reading[] {
  const { onsets, correlations } = evidence
  const tempi = hypothesesWith(tempoHypotheses(correlations[0]), hints)
  const features = new Float32Array(featureCount)
  const scored: { bpm: number; beats: Float64Array; scores: number[] }[] = []
  let top = -Infinity
  for (const bpm of tempi) {
    const beats = trackBeats(onsets.novelty, bpm, pulseTightness)
    if (beats.length < 4) continue
    const folded = fold(evidence, beats)
    const scores: number[] = []
    for (const shift of shifts)
      for (let first = 0; first < 2; first++) {
        readingFeatures(evidence, folded, shift + first * steps, bpm, features, 0)
        const score = scoreReading(network, features, 0) + expected(bpm, hints)
        scores.push(score)
        top = Math.max(top, score)
      }
    scored.push({ bpm, beats, scores })
  }
  let all = 0
  for (const { scores } of scored) for (const score of scores) all += Math.exp(score - top)
  const heard = scored
    .map(({ bpm, beats, scores }) => {
      const weights = scores.map(score => Math.exp(score - top) / all)
      return {
        bpm,
        beats,
        ...likeliestPhase(weights),
        probability: weights.reduce((a, b) => a + b, 0),
      }
    })
    .sort((a, b) => b.probability - a.probability)
  const answers = hints.bpmRange ? inRange(heard, hints.bpmRange) : heard
  const probabilities = doubted(answers)
  // Rounding may make a sum of shares a little more than all.
  return answers.map((reading, at) => ({ ...reading, probability: Math.min(1, probabilities[at]!) }))
}

/**
 * What is heard, counted as the operator expects: which pulse it is was decided without the range, in which another may happen
 * to lie. What lies outside goes to its likeliest octave inside; without one it stays, and is believed by 1 to 30.
 * @param heard likeliest first.
 */
function inRange<T extends { readonly bpm: number; readonly probability: number }>(
  heard: readonly T[],
  range: readonly [number, number],
): T[] {
  const inside = heard.filter(({ bpm }) => isInside(bpm, range))
  const gained = inside.map(({ probability }) => probability)
  const outside: T[] = []
  for (const reading of heard.filter(({ bpm }) => !isInside(bpm, range))) {
    const octave = inside.findIndex(({ bpm }) =>
      octaves.some(factor => Math.abs(Math.log((factor * reading.bpm) / bpm)) < 0.025),
    )
    if (octave >= 0) gained[octave]! += reading.probability
    else outside.push({ ...reading, probability: reading.probability * Math.exp(-told) })
  }
  const counted = [...inside.map((reading, i) => ({ ...reading, probability: gained[i]! })), ...outside]
  const all = counted.reduce((sum, { probability }) => sum + probability, 0)
  return counted
    .map(reading => ({ ...reading, probability: reading.probability / all }))
    .sort((a, b) => b.probability - a.probability)
}

/**
 * What the network does not know of: it learned from music that was rendered. Of 173 real songs some were counted at twice or
 * half the speed although it was surest (above 0.99) of them; the share is set after them, not fitted.
 */
const octaveDoubt = 0.03

/** Probabilities of which each gives its share of doubt to the double and the half, where they are considered. */
function doubted(tempi: readonly { bpm: number; probability: number }[]): number[] {
  const out = tempi.map(() => 0)
  for (const [at, { bpm, probability }] of tempi.entries()) {
    const octaves = tempi.flatMap((other, i) =>
      Math.abs(Math.abs(Math.log2(other.bpm / bpm)) - 1) < 0.04 ? [i] : [],
    )
    const doubt = octaves.length > 0 ? octaveDoubt : 0
    out[at]! += (1 - doubt) * probability
    for (const i of octaves) out[i]! += (doubt * probability) / octaves.length
  }
  return out
}

/**
 * Logarithm of how much likelier a phase is for a beat where the music begins: a file that begins with it was cut there,
 * mostly on a bar line. Half a beat off were 12 of 225 songs of rhythm games, 7 with it; of excerpts of 213 of them, which
 * begin anywhere, 17, and 18 with it (bench/README.md).
 */
function beginsOnBeat({ beginning }: Evidence, beats: Float64Array, bpm: number, shift: number): number {
  if (beginning === undefined) return 0
  const after = ((beginning - beats[0]!) * bpm) / 60 - shift / steps
  return Math.exp(-0.5 * ((after - Math.round(after)) / 0.08) ** 2)
}

/** The phase that the network likes best for an even grid, and which of two beats is first. */
export function choosePhase(evidence: Evidence, network: Network, beats: Float64Array, bpm: number): Phase {
  const folded = fold(evidence, beats)
  const features = new Float32Array(featureCount)
  const scores = shifts.flatMap(shift => {
    const begins = beginsOnBeat(evidence, beats, bpm, shift)
    return [0, 1].map(first => {
      readingFeatures(evidence, folded, shift + first * steps, bpm, features, 0)
      return scoreReading(network, features, 0) + begins
    })
  })
  const top = Math.max(...scores)
  return likeliestPhase(scores.map(score => Math.exp(score - top)))
}

/** Beats moved on by `shift` twelfths of the gap that follows each. */
export function shifted(beats: Float64Array, shift: number): Float64Array {
  if (shift === 0) return beats
  const out = new Float64Array(beats.length)
  for (let i = 0; i < beats.length; i++) {
    const gap = i + 1 < beats.length ? beats[i + 1]! - beats[i]! : beats[i]! - beats[i - 1]!
    out[i] = beats[i]! + (gap * shift) / steps
  }
  return out
}
