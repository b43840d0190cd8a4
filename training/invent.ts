/**
 * Grooves in four drawn at random, for tuning alone (tune.ts): ostinati, backbeats and syncopations in combinations
 * that no genre file has, so that what is learned is how music is counted and not how twenty genres are played. Drums,
 * bass and chords often have Euclidean rhythms (Toussaint, "The Euclidean algorithm generates traditional musical
 * rhythms", BRIDGES 2005), among them the 3-3-2 that hides a beat like no other. Other metres drawn like this are too
 * often music that nobody could count: learned from, they did harm.
 */

import type { Random } from '../bench/audio/random.ts'
import { type Kit, snareNote } from './genres.ts'

const [
  kickNote,
  rimNote,
  clapNote,
  closedNote,
  pedalNote,
  openNote,
  rideNote,
  bellNote,
  tambourineNote,
  cowbellNote,
] = [36, 37, 39, 42, 44, 46, 51, 53, 54, 56]
const hats = [
  closedNote,
  closedNote,
  closedNote,
  pedalNote,
  openNote,
  rideNote,
  rideNote,
  bellNote,
  tambourineNote,
  70,
  82,
]
const hands = [
  rimNote,
  cowbellNote,
  tambourineNote,
  60,
  61,
  62,
  63,
  64,
  65,
  66,
  67,
  68,
  69,
  70,
  75,
  76,
  77,
  80,
]
const beats = 4

/** The steps of a bar. */
interface Grid {
  readonly steps: number
  readonly perBeat: number
  /** How strong each step is: 0 the bar line, 1 its middle, 2 other beats, 3 their halves, 4 the rest. */
  readonly depth: readonly number[]
}

function gridOf(perBeat: number): Grid {
  const steps = beats * perBeat
  const depth = Array.from({ length: steps }, (_, step) => {
    if (step % (steps / 2) === 0) return step === 0 ? 0 : 1
    if (step % perBeat === 0) return 2
    return step % (perBeat / 2) === 0 ? 3 : 4
  })
  return { steps, perBeat, depth }
}

/** So many onsets in so many steps, as evenly as they go, turned to begin `turn` onsets later. */
function euclidean(onsets: number, steps: number, turn: number): boolean[] {
  const hits = Array.from({ length: steps }, () => false)
  for (let i = 0; i < onsets; i++) hits[Math.ceil((i * steps) / onsets) % steps] = true
  const first = Math.ceil((turn * steps) / onsets) % steps
  return hits.map((_, i) => hits[(i + first) % steps]!)
}

/** One rhythm, of one bar or two. */
function rhythm(random: Random, { steps, perBeat, depth }: Grid): boolean[] {
  const way = random.next()
  if (way < 0.35) {
    const span = random.next() < 0.25 ? 2 * steps : steps
    const least = Math.max(2, Math.floor(span / 8))
    const onsets = least + Math.floor(random.next() * (span / 2 - least))
    return euclidean(onsets, span, random.next() < 0.7 ? 0 : 1)
  }
  if (way < 0.55) {
    const chances = random.pick([
      [1, 0.8, 0.8, 0.3, 0.1],
      [0.9, 0.5, 0.4, 0.5, 0.2],
      [0.6, 0.3, 0.3, 0.7, 0.3],
      [1, 0.5, 0.2, 0.1, 0.05],
    ])
    const bars = random.next() < 0.4 ? 2 : 1
    return Array.from({ length: bars * steps }, (_, step) => random.next() < chances[depth[step % steps]!]!)
  }
  const every = (gap: number, from = 0): boolean[] =>
    Array.from({ length: steps }, (_, step) => step >= from && (step - from) % gap === 0)
  if (way < 0.7) return every(perBeat)
  if (way < 0.78) return every(perBeat, perBeat / 2)
  if (way < 0.88) return every(perBeat / 2)
  if (way < 0.94) return every(steps / 2)
  return every(steps)
}

function drums(random: Random, grid: Grid): Record<number, string> {
  const { steps, perBeat, depth } = grid
  const kit: Record<number, string> = {}
  const line = (hits: readonly boolean[], loud: (step: number) => string): string =>
    hits.map((hit, step) => (hit ? loud(step) : '.')).join('')
  const accent = (step: number): string => (depth[step % steps]! < 3 ? 'X' : random.next() < 0.5 ? 'x' : 'o')
  const onBeats = (chosen: (beat: number) => boolean): boolean[] =>
    Array.from({ length: steps }, (_, step) => step % perBeat === 0 && chosen(step / perBeat))
  const players = random.next()
  if (players < 0.22) return kit
  // Below 0.35 hands alone.
  if (players > 0.35) {
    const kick = random.next()
    kit[kickNote] = line(
      kick < 0.22
        ? onBeats(() => true)
        : kick < 0.4
          ? onBeats(beat => beat % 2 === 0)
          : kick < 0.5
            ? onBeats(beat => beat === 0)
            : rhythm(random, grid).map((hit, step) => hit || (step === 0 && random.next() < 0.9)),
      step => (depth[step % steps]! < 3 ? 'X' : 'x'),
    )
    const back = random.next()
    const snare =
      back < 0.5
        ? onBeats(beat => beat % 2 === 1)
        : back < 0.65
          ? onBeats(beat => beat === 2)
          : back < 0.72
            ? Array.from({ length: steps }, (_, step) => step % perBeat === perBeat / 2)
            : back < 0.87
              ? rhythm(random, grid)
              : []
    const ghosts = random.next() < 0.3
    kit[random.pick([snareNote, snareNote, snareNote, 40, rimNote, clapNote])] = snare
      .map((hit, step) =>
        hit ? accent(step) : ghosts && depth[step % steps] === 4 && random.next() < 0.2 ? 'o' : '.',
      )
      .join('')
  }
  if (random.next() < 0.85) kit[random.pick(hats)] = line(rhythm(random, grid), accent)
  while (random.next() < 0.4) kit[random.pick(hands)] = line(rhythm(random, grid), accent)
  return kit
}

/** Chord tones, in the order given, on a rhythm; held until the next or cut short. */
function tones(random: Random, grid: Grid, order: string): string {
  const hold = random.next() < 0.6
  let onset = 0
  return rhythm(random, grid)
    .map(hit => (hit ? order[onset++ % order.length]! : hold && onset > 0 ? '-' : '.'))
    .join('')
}

function chords(random: Random, grid: Grid): string {
  const way = random.next()
  if (way < 0.1) return '.'
  if (way < 0.64) return tones(random, grid, '1')
  // Arpeggios run on through the beat, also in threes.
  const order = random.pick(['135', '1353', '1358', '135853', '8531', '15351535', '1535'])
  if (way > 0.87) return tones(random, grid, order)
  const gap = grid.perBeat === 4 && random.next() < 0.5 ? 2 : 1
  return Array.from({ length: grid.steps }, (_, step) =>
    step % gap === 0 ? order[(step / gap) % order.length]! : '-',
  ).join('')
}

export function inventKit(random: Random): Kit {
  const perBeat = random.pick([4, 4, 2])
  const [slowest, fastest] = [58, perBeat === 2 ? 200 : 180]
  const bpm = slowest * (fastest / slowest) ** random.next()
  const grid = gridOf(perBeat)
  const programs = (): number[] => [Math.floor(random.next() * 96)]
  return {
    bpm: [bpm, bpm],
    metre: beats,
    steps: perBeat,
    ...(random.next() < 0.2 ? { swing: [0.55, 0.68] as const } : {}),
    live: random.next() < 0.5,
    style: random.pick(['pop', 'pop', 'jazz', 'blues', 'dance']),
    minor: 0.5,
    kits: [0, 8, 16, 24, 25, 26, 32, 40, 48],
    drums: [drums(random, grid)],
    bass: [
      random.next() < 0.1
        ? '.'
        : tones(random, grid, random.pick(['1', '1', '1', '15', '158', '1115', '1358', '18'])),
    ],
    chords: [chords(random, grid)],
    bassPrograms: [32, 33, 34, 35, 36, 38, 39, 43, 58, 87],
    chordPrograms: programs(),
    leadPrograms: programs(),
  }
}
