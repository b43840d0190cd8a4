/**
 * The clips of the audio bench and what is true of each. Three kinds:
 * `own` written here, one function per genre; `mma`, the grooves of Musical MIDI Accompaniment (rhythm patterns
 * by its authors, chords by us); `msx` and `fof`, music by others with tempo maps of theirs (openttd-openmsx and
 * the songs of Frets on Fire). The half a clip belongs to follows from the hash of its name alone.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Chord, chooseProgression, PITCHES, SCALES, type Style } from './harmony.ts'
import { type Note, readMidi, type TempoChange, writeMidi } from './midi.ts'
import { hashOf, type Random, randomFrom } from './random.ts'

export interface Truth {
  /** Median tempo in beats per minute. */
  readonly bpm: number
  /** False where the tempo drifts or changes. */
  readonly constant: boolean
  /** True where it changes so much that no one number is true of the clip. */
  readonly changes: boolean
  readonly beats: readonly number[]
  readonly downbeats: readonly number[]
  /** As in `C` or `F#m`; null where nobody said. */
  readonly key: string | null
}

/** Where a clip's sound comes from. */
export type Source =
  | { readonly kind: 'midi'; readonly midi: Buffer }
  | { readonly kind: 'mma'; readonly chart: string }
  | { readonly kind: 'audio'; readonly files: readonly string[]; readonly start: number }

export interface Clip {
  readonly name: string
  readonly group: 'own' | 'mma' | 'msx' | 'fof'
  readonly half: 'tuning' | 'reporting'
  /** Seconds kept. */
  readonly duration: number
  readonly source: Source
  /** Computed once the MIDI file is known (MMA writes its own). */
  readonly truth: (midi: Buffer) => Truth
}

const DURATION = 45

/**
 * Even hashes tune, odd ones report; what shares an origin (a groove file, a song) shares a half, so that the
 * second half is new to whatever was learned on the first.
 */
const halfOf = (origin: string): Clip['half'] => (hashOf(`half:${origin}`) % 2 === 0 ? 'tuning' : 'reporting')

interface Kit {
  readonly bpm: readonly [number, number]
  /** Beats in a bar (quarters, or dotted quarters where `compound`). */
  readonly metre: number
  readonly compound?: boolean
  /** Steps in a beat of the patterns below. */
  readonly steps: number
  /** Where the off-beat eighth lies: 0.5 straight, 0.67 triplet swing. */
  readonly swing?: readonly [number, number]
  /** Played by people: timing and velocity scatter, tempo often not an integer. */
  readonly live?: boolean
  readonly style: Style
  /** How likely a minor key is. */
  readonly minor: number
  /** General MIDI drum kit programs. */
  readonly kits?: readonly number[]
  /** Alternatives; in each: GM drum note to a pattern of a bar (or two), `X` accent, `x` normal, `o` soft. */
  readonly drums: readonly Record<number, string>[]
  /** Patterns of bass and chords: digits are chord tones (1 root, 3, 5, 8), `-` holds, `.` rests. */
  readonly bass: readonly string[]
  readonly chords: readonly string[]
  readonly bassPrograms: readonly number[]
  readonly chordPrograms: readonly number[]
  readonly leadPrograms: readonly number[]
}

const K = 36
const S = 38
const CLAP = 39
const H = 42
const O = 46
const RIDE = 51
const RIM = 37
const SYNTH = { bassPrograms: [38, 39, 87], chordPrograms: [88, 89, 90, 81, 4], leadPrograms: [80, 81, 84] }
const BAND = {
  bassPrograms: [33, 34],
  chordPrograms: [25, 27, 29, 0, 18],
  leadPrograms: [26, 30, 65, 73, 22],
}

const kits: Record<string, Kit> = {
  house: {
    bpm: [118, 130],
    metre: 4,
    steps: 4,
    style: 'dance',
    minor: 0.6,
    kits: [24, 25],
    ...SYNTH,
    drums: [
      {
        [K]: 'X...X...X...X...',
        [CLAP]: '....X.......X...',
        [O]: '..x...x...x...x.',
        [H]: 'o.x.o.x.o.x.o.x.',
      },
      { [K]: 'X...X...X...X...', [S]: '....x.......x..o', [O]: '..X...X...X...X.' },
      { [K]: 'X...X...X...X.x.', [CLAP]: '....X.......X...', [H]: 'xoxoxoxoxoxoxoxo' },
    ],
    bass: ['..1...1...1...1.', '1..1..1.1..1..8.', '.11..11..11..18.'],
    chords: ['1-----1-----1---', '..1...1...1...1.', '1--1--1-1--1--1-'],
  },
  techno: {
    bpm: [126, 145],
    metre: 4,
    steps: 4,
    style: 'dance',
    minor: 0.9,
    kits: [24, 25],
    ...SYNTH,
    drums: [
      { [K]: 'X...X...X...X...', [O]: '..x...x...x...x.', [H]: 'x.xxx.xxx.xxx.xx' },
      {
        [K]: 'X...X...X...X...',
        [CLAP]: '....x.......x...',
        [RIDE]: 'x.x.x.x.x.x.x.x.',
        [RIM]: '...x..x....x..x.',
      },
    ],
    bass: ['.111.111.111.111', '1.1.1.1.1.1.1.1.', '..1...1...1...1.'],
    chords: ['1..1..1.1..1..1.', '......1.......1.', '1---------------'],
  },
  trance: {
    bpm: [132, 142],
    metre: 4,
    steps: 4,
    style: 'pop',
    minor: 0.8,
    kits: [24],
    ...SYNTH,
    drums: [
      {
        [K]: 'X...X...X...X...',
        [CLAP]: '....X.......X...',
        [O]: '..X...X...X...X.',
        [H]: 'xxxxxxxxxxxxxxxx',
      },
    ],
    bass: ['.111.111.111.111', '..1...1...1...1.'],
    chords: ['1.135.351.135.35', '1---------------'],
  },
  hardcore: {
    bpm: [160, 195],
    metre: 4,
    steps: 4,
    style: 'pop',
    minor: 0.6,
    kits: [24, 25],
    ...SYNTH,
    drums: [{ [K]: 'X...X...X...X...', [O]: '..x...x...x...x.', [CLAP]: '....x.......x...' }],
    bass: ['..1...1...1...1.', '.1.1.1.1.1.1.1.1'],
    chords: ['1.....1.....1...', '..1...1...1...1.'],
  },
  drumbass: {
    bpm: [165, 180],
    metre: 4,
    steps: 4,
    style: 'pop',
    minor: 0.8,
    kits: [0, 24],
    ...SYNTH,
    drums: [
      { [K]: 'X.........X.....', [S]: '....X.......X...', [H]: 'x.x.x.x.x.x.x.x.' },
      { [K]: 'X.x.......X.....', [S]: '....X..o.o..X..o', [H]: 'x.x.x.xxx.x.x.x.' },
    ],
    bass: ['1-----1---1-----', '1---------8---5-'],
    chords: ['1---------------', '1-----1---------'],
  },
  garage: {
    bpm: [128, 138],
    metre: 4,
    steps: 4,
    swing: [0.54, 0.6],
    style: 'jazz',
    minor: 0.6,
    kits: [24, 25],
    ...SYNTH,
    drums: [
      {
        [K]: 'X.....x...x.....',
        [S]: '....X.......X...',
        [H]: 'x.xox.xox.xox.xo',
        [RIM]: '...x.....x....x.',
      },
    ],
    bass: ['1..1....1.5...8.', '1.....1..1......'],
    chords: ['..1...1....1..1.', '...1..1.....1...'],
  },
  breakbeat: {
    bpm: [108, 140],
    metre: 4,
    steps: 4,
    style: 'dance',
    minor: 0.7,
    kits: [0, 24],
    ...SYNTH,
    drums: [
      { [K]: 'X.X.......XX....', [S]: '....X..o.o..X..o', [H]: 'x.x.x.x.x.x.x.x.' },
      { [K]: 'X.....X..X......', [S]: '....X.......X...', [O]: '..x...x...x...x.' },
    ],
    bass: ['1.1...1..1..1.8.', '1..1..8.1..5..1.'],
    chords: ['1-------1---1---', '....1.......1...'],
  },
  hiphop: {
    bpm: [72, 102],
    metre: 4,
    steps: 4,
    swing: [0.5, 0.6],
    style: 'jazz',
    minor: 0.7,
    kits: [25, 0],
    live: true,
    bassPrograms: [38, 33],
    chordPrograms: [4, 0, 11],
    leadPrograms: [73, 66],
    drums: [
      { [K]: 'X..x..x...X.....', [S]: '....X.......X...', [H]: 'x.x.x.x.x.x.x.x.' },
      { [K]: 'X.....X..X....x.', [S]: '....X.......X..o', [H]: 'x.xxx.x.x.x.x.xx' },
    ],
    bass: ['1..1..1...5.....', '1-----1-1---5-8-'],
    chords: ['1-------1-------', '..1.......1..1..'],
  },
  reggaeton: {
    bpm: [85, 102],
    metre: 4,
    steps: 4,
    style: 'pop',
    minor: 0.8,
    kits: [25, 24],
    ...SYNTH,
    drums: [{ [K]: 'X...X...X...X...', [S]: '...x..x....x..x.', [H]: 'x.x.x.x.x.x.x.x.' }],
    bass: ['1..1..1.1..1..1.', '1-------1---5---'],
    chords: ['..1...1...1...1.', '1---------------'],
  },
  disco: {
    bpm: [108, 126],
    metre: 4,
    steps: 4,
    style: 'jazz',
    minor: 0.5,
    live: true,
    ...BAND,
    drums: [
      { [K]: 'X...X...X...X...', [S]: '....X.......X...', [H]: 'x.x.x.x.x.x.x.x.', [O]: '..x...x...x...x.' },
    ],
    bass: ['1.8.1.8.1.8.1.8.', '1..81.8.1..81.8.'],
    chords: ['..1.1.1...1.1.1.', 'x1.1x1.1x1.1x1.1'],
  },
  funk: {
    bpm: [92, 120],
    metre: 4,
    steps: 4,
    swing: [0.5, 0.55],
    style: 'blues',
    minor: 0.5,
    live: true,
    ...BAND,
    drums: [
      { [K]: 'X.x.......x..x..', [S]: '....X..o.o..X..o', [H]: 'x.x.x.x.x.x.x.x.' },
      { [K]: 'X..x..x...x.....', [S]: '....X..o....X.o.', [H]: 'xxxxxxxxxxxxxxxx' },
    ],
    bass: ['1..1....8.1.5..1', '1.......1.81.5.8'],
    chords: ['..1..1....1..1..', '....1..1....1..1'],
  },
  rock: {
    bpm: [96, 148],
    metre: 4,
    steps: 4,
    style: 'pop',
    minor: 0.4,
    live: true,
    ...BAND,
    drums: [
      { [K]: 'X.......X.x.....', [S]: '....X.......X...', [H]: 'x.x.x.x.x.x.x.x.' },
      { [K]: 'X.....x.X.......', [S]: '....X.......X...', [RIDE]: 'x...x...x...x...' },
      { [K]: 'X..x..x...x.....', [S]: '....X.......X...', [O]: 'x...x...x...x...' },
    ],
    bass: ['1.1.1.1.1.1.1.1.', '1-----1-1---5---'],
    chords: ['1.1.1.1.1.1.1.1.', '1---1-1-1---1-1-', '1-------1-------'],
  },
  punk: {
    bpm: [160, 200],
    metre: 4,
    steps: 4,
    style: 'pop',
    minor: 0.2,
    live: true,
    ...BAND,
    drums: [
      { [K]: 'X.......X.x.....', [S]: '....X.......X...', [H]: 'x.x.x.x.x.x.x.x.' },
      { [K]: 'X...x...X...x...', [S]: '....X.......X...', [O]: 'x...x...x...x...' },
    ],
    bass: ['1.1.1.1.1.1.1.1.'],
    chords: ['1.1.1.1.1.1.1.1.', '1---1---1---1---'],
  },
  ballad: {
    bpm: [60, 84],
    metre: 4,
    steps: 4,
    style: 'pop',
    minor: 0.4,
    live: true,
    bassPrograms: [32, 33],
    chordPrograms: [0, 4, 24, 48],
    leadPrograms: [73, 40, 65, 52],
    drums: [
      { [K]: 'X.......X.x.....', [S]: '....X.......X...', [H]: 'x.x.x.x.x.x.x.x.' },
      { [K]: 'X.....x.X.......', [RIM]: '....X.......X...', [RIDE]: 'x.x.x.x.x.x.x.x.' },
    ],
    bass: ['1-------1-----5-', '1-----1-5-------'],
    chords: ['1.3.5.3.1.3.5.3.', '1---1---1---1---', '1-------1-------'],
  },
  piano: {
    bpm: [60, 120],
    metre: 4,
    steps: 4,
    style: 'pop',
    minor: 0.5,
    live: true,
    drums: [{}],
    bassPrograms: [0],
    chordPrograms: [0, 2],
    leadPrograms: [0],
    bass: ['1-------5-------', '1---5---8---5---'],
    chords: ['1.3.5.3.1.3.5.3.', '..1...1...1...1.', '1.5.3.5.1.5.3.5.'],
  },
  acoustic: {
    bpm: [80, 130],
    metre: 4,
    steps: 4,
    style: 'pop',
    minor: 0.4,
    live: true,
    drums: [{}],
    bassPrograms: [32],
    chordPrograms: [24, 25],
    leadPrograms: [73, 40, 22],
    bass: ['1-------5-------', '1-------1---5---'],
    chords: ['1...1.1...1.1.1.', '1.5.3.5.1.5.3.5.', '1---1-1-1-1-1---'],
  },
  swing: {
    bpm: [104, 196],
    metre: 4,
    steps: 2,
    swing: [0.62, 0.67],
    style: 'jazz',
    minor: 0.3,
    live: true,
    bassPrograms: [32],
    chordPrograms: [0, 26],
    leadPrograms: [65, 56, 66],
    drums: [
      { [RIDE]: 'X.xxX.xx', [44]: '..x...x.', [K]: 'o...o...' },
      { [RIDE]: 'x.Xxx.Xx', [44]: '..x...x.', [S]: '.......o' },
    ],
    bass: ['1.3.5.3.', '1.5.8.5.'],
    chords: ['1..1....', '...1...1', '1--1--..'],
  },
  shuffle: {
    bpm: [84, 136],
    metre: 4,
    steps: 2,
    swing: [0.64, 0.67],
    style: 'blues',
    minor: 0.2,
    live: true,
    ...BAND,
    drums: [
      { [K]: 'X...X...', [S]: '..X...X.', [H]: 'xxxxxxxx' },
      { [K]: 'X..xX..x', [S]: '..X...X.', [RIDE]: 'x.xxx.xx' },
    ],
    bass: ['1.3.5.3.', '11335533'],
    chords: ['11111111', '.1.1.1.1'],
  },
  reggae: {
    bpm: [66, 92],
    metre: 4,
    steps: 4,
    style: 'pop',
    minor: 0.5,
    live: true,
    ...BAND,
    drums: [
      { [K]: '........X.......', [RIM]: '........X.......', [H]: 'x.x.x.x.x.x.x.x.' },
      { [K]: 'X...X...X...X...', [S]: '........X.......', [H]: 'x.xxx.x.x.xxx.x.' },
    ],
    bass: ['1---1-5-....8-5-', '1-....1-5-3-....'],
    chords: ['....1.......1...', '....1.1.....1.1.'],
  },
  bossa: {
    bpm: [112, 150],
    metre: 4,
    steps: 2,
    style: 'jazz',
    minor: 0.4,
    live: true,
    bassPrograms: [32],
    chordPrograms: [24, 4],
    leadPrograms: [73, 65],
    drums: [{ [K]: 'X..xX..x', [RIM]: 'x..x..x...x..x..', [H]: 'xxxxxxxx' }],
    bass: ['1--55--1', '1--15--5'],
    chords: ['1..1..1...1..1..', '1.1..1.1.1..1.1.'],
  },
  salsa: {
    bpm: [160, 200],
    metre: 4,
    steps: 2,
    style: 'jazz',
    minor: 0.7,
    live: true,
    bassPrograms: [32],
    chordPrograms: [0],
    leadPrograms: [56, 57],
    drums: [{ 56: 'X.x.X.x.', 76: 'x..x..x...x.x...', 62: '..x...xx', 63: '......xx' }],
    bass: ['...1..5-', '1..5..8-'],
    chords: ['1.11.1.1.1.11.1.', '.1.11.1.1.1.1.1.'],
  },
  waltz: {
    bpm: [84, 190],
    metre: 3,
    steps: 2,
    style: 'pop',
    minor: 0.4,
    live: true,
    bassPrograms: [32, 43],
    chordPrograms: [0, 48, 24],
    leadPrograms: [40, 73, 21],
    drums: [{}, { [K]: 'X.....', [S]: '..x.x.' }, { [K]: 'X.....', [RIDE]: 'x.x.x.', [RIM]: '..x.x.' }],
    bass: ['1-....', '1-----'],
    chords: ['..1.1.', '1.3.5.'],
  },
  sixeight: {
    bpm: [60, 96],
    metre: 2,
    compound: true,
    steps: 3,
    style: 'pop',
    minor: 0.5,
    live: true,
    ...BAND,
    drums: [
      { [K]: 'X.....X....x', [S]: '...X.....X..', [H]: 'xxxxxxxxxxxx' },
      { [K]: 'X.....', [S]: '...X..', [RIDE]: 'x.xx.x' },
    ],
    bass: ['1-----', '1--5--'],
    chords: ['135353', '1--1-1'],
  },
  five: {
    bpm: [90, 176],
    metre: 5,
    steps: 2,
    style: 'jazz',
    minor: 0.7,
    live: true,
    ...BAND,
    drums: [{ [K]: 'X.....X...', [S]: '...x....X.', [RIDE]: 'x.xxx.x.x.' }],
    bass: ['1..1..5.8.', '1-----5---'],
    chords: ['1..1..1.1.', '1-----1---'],
  },
  seven: {
    bpm: [100, 160],
    metre: 7,
    steps: 2,
    style: 'pop',
    minor: 0.6,
    live: true,
    ...BAND,
    drums: [{ [K]: 'X...X...X.....', [S]: '..X...X...X.X.', [H]: 'xxxxxxxxxxxxxx' }],
    bass: ['1...1...1.5.8.'],
    chords: ['1-------1-----', '1.1.1.1.1.1.1.'],
  },
  metal: {
    bpm: [100, 180],
    metre: 4,
    steps: 4,
    style: 'pop',
    minor: 0.9,
    live: true,
    bassPrograms: [34],
    chordPrograms: [30],
    leadPrograms: [30, 29],
    drums: [
      { [K]: 'XxXxXxXxXxXxXxXx', [S]: '....X.......X...', [RIDE]: 'x...x...x...x...' },
      { [K]: 'X.xxX.xxX.xxX.xx', [S]: '....X.......X...', [O]: 'x...x...x...x...' },
    ],
    bass: ['1.111.111.111.11', '1.1.1.1.1.1.1.1.'],
    chords: ['1.111.111.111.11', '1---1-1-1---1---'],
  },
  orchestral: {
    bpm: [66, 140],
    metre: 4,
    steps: 2,
    style: 'pop',
    minor: 0.5,
    live: true,
    bassPrograms: [42, 43],
    chordPrograms: [48, 49, 45],
    leadPrograms: [40, 71, 68],
    drums: [{}, { 49: 'x...............', 47: '......x.......xx' }],
    bass: ['1---5---', '1.1.1.1.'],
    chords: ['1-1-1-1-', '11111111', '1.3.5.3.'],
  },
}

const loud: Record<string, number> = { X: 116, x: 92, o: 52 }

interface Song {
  readonly midi: Buffer
  readonly truth: Truth
}

/** How the tempo of a clip behaves. */
type Flow = 'constant' | 'drift' | 'step'

function compose(genre: string, tonic: number, mode: 'major' | 'minor', flow: Flow, random: Random): Song {
  const kit = kits[genre]!
  const wanted = random.between(...kit.bpm)
  const bpm = kit.live
    ? Math.round(wanted * 100) / 100
    : random.next() < 0.8
      ? Math.round(wanted)
      : Math.round(wanted * 10) / 10
  const quartersPerBeat = kit.compound ? 1.5 : 1
  const bars = Math.ceil((DURATION * bpm) / 60 / kit.metre) + 2
  const swing = kit.swing ? random.between(...kit.swing) : 0.5
  const jitter = kit.live ? 0.005 : 0

  const tempi: TempoChange[] = [{ at: 0, bpm: bpm * quartersPerBeat }]
  if (flow === 'drift') {
    let now = bpm
    for (let bar = 1; bar < bars; bar++) {
      now = Math.max(bpm * 0.92, Math.min(bpm * 1.08, now * (1 + 0.008 * random.normal())))
      tempi.push({ at: bar * kit.metre * quartersPerBeat, bpm: now * quartersPerBeat })
    }
  }
  if (flow === 'step') {
    const to = bpm * random.pick([0.8, 0.88, 1.12, 1.22])
    tempi.push({ at: Math.floor(bars * 0.45) * kit.metre * quartersPerBeat, bpm: to * quartersPerBeat })
  }

  const drums = random.pick(kit.drums)
  const bassPattern = random.pick(kit.bass)
  const chordPattern = random.pick(kit.chords)
  const chords = chooseProgression(random, mode, kit.style)
  const hasLead = random.next() < 0.75
  const leadRate = random.pick([1, 2, 2, 4])
  const bassOctave = 36 + (tonic > 7 ? -12 : 0)
  const stepLength = quartersPerBeat / kit.steps
  const notes: Note[] = []

  /** Quarter notes of a step, swung and scattered. */
  const time = (bar: number, step: number): number => {
    const beat = Math.floor(step / kit.steps)
    const within = (step % kit.steps) / kit.steps
    const bent =
      within === 0 ? 0 : within < 0.5 ? within * 2 * swing : swing + (within - 0.5) * 2 * (1 - swing)
    const scatter = (jitter * random.normal() * bpm) / 60
    return Math.max(
      0,
      (bar * kit.metre + beat + (kit.steps === 3 ? within : bent) + scatter) * quartersPerBeat,
    )
  }
  const stepsInBar = kit.metre * kit.steps
  const symbol = (pattern: string, bar: number, step: number): string =>
    pattern[(bar * stepsInBar + step) % pattern.length] ?? '.'
  /** Steps a note lasts: as many as `-` follow. */
  const held = (pattern: string, bar: number, step: number): number => {
    let steps = 1
    while (step + steps < stepsInBar && symbol(pattern, bar, step + steps) === '-') steps++
    return steps
  }
  const velocity = (base: number): number => base + (kit.live ? 7 * random.normal() : 0)

  // A form: an introduction with layers missing, the body, a break without drums, the body again.
  const introBars = random.pick([0, 2, 4])
  const withoutDrums = introBars > 0 && random.next() < 0.5
  const breakAt = random.next() < 0.4 ? Math.floor(bars * 0.5) : bars
  let leadDegree = 4
  for (let bar = 0; bar < bars; bar++) {
    const intro = bar < introBars
    const pause = bar >= breakAt && bar < breakAt + 4
    const chord: Chord = chords[bar % chords.length]!
    const fill = bar % 8 === 7 && drums[S] !== undefined && random.next() < 0.6
    for (const [drum, pattern] of Object.entries(drums)) {
      if (pause || (intro && withoutDrums)) continue
      for (let step = 0; step < stepsInBar; step++) {
        if (fill && Number(drum) === S && step >= stepsInBar - kit.steps) continue
        const hit = loud[symbol(pattern, bar, step)]
        if (hit !== undefined)
          notes.push({
            at: time(bar, step),
            length: 0.1,
            channel: 9,
            pitch: Number(drum),
            velocity: velocity(hit),
          })
      }
    }
    if (fill && !pause && !(intro && withoutDrums))
      for (let step = stepsInBar - kit.steps; step < stepsInBar; step++)
        notes.push({
          at: time(bar, step),
          length: 0.1,
          channel: 9,
          pitch: random.pick([S, 45, 48]),
          velocity: velocity(100),
        })
    for (let step = 0; step < stepsInBar; step++) {
      const bass = symbol(bassPattern, bar, step)
      if (/\d/.test(bass) && !(intro && !withoutDrums)) {
        const above =
          bass === '8'
            ? 12
            : bass === '1'
              ? 0
              : bass === '3'
                ? chord.tones[1]!
                : chord.tones.at(chord.tones.length > 2 ? 2 : 1)!
        const pitch = bassOctave + tonic + chord.root + above
        notes.push({
          at: time(bar, step),
          length: held(bassPattern, bar, step) * stepLength * 0.9,
          channel: 0,
          pitch,
          velocity: velocity(98),
        })
      }
      const comp = symbol(chordPattern, bar, step)
      if (/\d/.test(comp)) {
        // All of the chord where the pattern only knows `1`, single tones (an arpeggio) where it has others.
        const single = /[358]/.test(chordPattern)
        const index =
          comp === '1' ? 0 : comp === '3' ? 1 : comp === '5' ? Math.min(2, chord.tones.length - 1) : 0
        for (const [i, tone] of chord.tones.entries()) {
          if (single && i !== index) continue
          const pitchClass = (tonic + chord.root + tone) % 12
          const pitch = (single || pitchClass < 7 ? 60 : 48) + pitchClass
          notes.push({
            at: time(bar, step),
            length: held(chordPattern, bar, step) * stepLength * 0.95,
            channel: 1,
            pitch,
            velocity: velocity(single ? 84 : 76),
          })
        }
      }
    }
    if (hasLead && !intro)
      for (let i = 0; i < kit.metre * leadRate; i++) {
        const strong = i % leadRate === 0
        if (random.next() > (strong ? 0.65 : 0.4)) continue
        leadDegree = Math.max(-2, Math.min(10, leadDegree + random.pick([-2, -1, -1, 0, 1, 1, 2])))
        const scale = SCALES[mode]
        let pitch = 67 + tonic + scale[((leadDegree % 7) + 7) % 7]! + 12 * Math.floor(leadDegree / 7)
        if (strong) {
          const tones = chord.tones.map(tone => (tonic + chord.root + tone) % 12)
          while (!tones.includes(pitch % 12)) pitch--
        }
        const within = (i % leadRate) / leadRate
        const bent = leadRate > 1 && within === 0.5 ? swing : within
        const at = (bar * kit.metre + Math.floor(i / leadRate) + bent) * quartersPerBeat
        notes.push({
          at: at + Math.max(0, (jitter * random.normal() * bpm) / 60),
          length: (quartersPerBeat / leadRate) * 0.9,
          channel: 2,
          pitch: pitch > 92 ? pitch - 12 : pitch,
          velocity: velocity(88),
        })
      }
  }

  const programs = new Map([
    [0, random.pick(kit.bassPrograms)],
    [1, random.pick(kit.chordPrograms)],
    [2, random.pick(kit.leadPrograms)],
    [9, random.pick(kit.kits ?? [0, 0, 8, 16])],
  ])
  const midi = writeMidi({ notes, tempi, programs })
  const maps = readMidi(midi)
  const beats: number[] = []
  const downbeats: number[] = []
  for (let beat = 0; beat < bars * kit.metre; beat++) {
    const at = maps.seconds(beat * quartersPerBeat)
    if (at >= DURATION) break
    beats.push(at)
    if (beat % kit.metre === 0) downbeats.push(at)
  }
  return {
    midi,
    truth: {
      bpm: flow === 'constant' ? bpm : medianTempo(beats),
      constant: flow === 'constant',
      changes: flow === 'step',
      beats,
      downbeats,
      key: PITCHES[tonic] + (mode === 'minor' ? 'm' : ''),
    },
  }
}

function medianTempo(beats: readonly number[]): number {
  const gaps = beats.slice(1).map((at, i) => at - beats[i]!)
  gaps.sort((a, b) => a - b)
  return 60 / gaps[Math.floor(gaps.length / 2)]!
}

/** Clips of each genre, keys dealt out so that all 24 occur; one in eight drifts, one in sixteen changes. */
function ownClips(from: number, to: number, half?: Clip['half']): Clip[] {
  const clips: Clip[] = []
  let deal = from
  for (const genre of Object.keys(kits))
    for (let n = from; n < to; n++) {
      const name = `own-${genre}-${n}`
      const random = randomFrom(hashOf(name))
      const tonic = (deal * 7) % 12
      deal++
      const mode = random.next() < kits[genre]!.minor ? 'minor' : 'major'
      const chance = random.next()
      const flow: Flow = chance < 0.06 ? 'step' : chance < 0.18 && kits[genre]!.live ? 'drift' : 'constant'
      const { midi, truth } = compose(genre, tonic, mode, flow, random)
      clips.push({
        name,
        group: 'own',
        half: half ?? halfOf(name),
        duration: DURATION,
        source: { kind: 'midi', midi },
        truth: () => truth,
      })
    }
  return clips
}

/** Tempo range, in beats, that music of a groove's name is played at; first match wins. */
const grooveTempi: readonly (readonly [RegExp, number, number])[] = [
  [/vienese/, 160, 198],
  [/^(arpeggiowaltz)/, 100, 150],
  [/fast.*waltz/, 150, 195],
  [/waltz|34$/, 84, 165],
  [/68|blues68/, 60, 84],
  [/jazz-54/, 120, 175],
  [/dnb/, 165, 178],
  [/punk|fasttwist|thr$/, 160, 198],
  [/ballad|serenade|lullaby|hymn|bald|spiritual|oldie/, 60, 84],
  [/slow/, 60, 88],
  [/quickstep|fastbigband|fastswing|bebop/, 180, 200],
  [/bluegrass|dixie|charleston|jive|gypsy|zydeco/, 120, 190],
  [/mambo|salsa|son$|afro/, 150, 200],
  [/swing|bigband|jazz|basie|trio/, 105, 190],
  [/house|trance|techno|dance|rave/, 118, 145],
  [/hip-?hop|r\+b|rb$|rnb|trip|16shuffle/, 72, 100],
  [/reggae/, 66, 88],
  [/march|polka|foxtrot/, 104, 132],
  [/bossa|beguine|rhumba/, 100, 140],
  [/cha|tango|bolero/, 90, 128],
  [/samba/, 92, 116],
  [/ska|ragtime|boggie|boogie|twist/, 120, 170],
  [/16beat|fus/, 78, 112],
  [/funk|soul|motown|disco|boneym/, 96, 124],
  [/ambient|desert|mellow/, 66, 100],
  [/metal|mtl|hrk/, 100, 160],
  [/shuffle|blues/, 84, 136],
  [/rock|8beat|beat8|twi/, 100, 150],
  [/./, 88, 136],
]

const mmaLibrary = '/usr/share/mma/lib'
/** Not music, or a bar that MMA counts otherwise than it sounds. */
const notMusic = /metronome|none|68march|ballad68|^68ballad|intro|ending|count|mide|cresc|jazz-54x|quando/

/** A clip of each groove file; further variants have other chords, keys, tempi and grooves of the same file. */
function mmaClips(variant = 0): Clip[] {
  const clips: Clip[] = []
  if (!existsSync(mmaLibrary)) return clips
  let deal = variant
  for (const folder of ['alexis', 'casio', 'kara', 'stdlib', 'yamaha', 'zoom'])
    for (const file of readdirSync(join(mmaLibrary, folder)).sort()) {
      if (!file.endsWith('.mma') || notMusic.test(file)) continue
      const style = file.slice(0, -4)
      const text = readFileSync(join(mmaLibrary, folder, file), 'latin1')
      const grooves = [...text.matchAll(/^\s*DefGroove\s+(\S+)/gim)].map(match => match[1]!)
      const bar = Number(/^\s*Time\s+(\d+)\s*(?:\/\/.*)?$/im.exec(text)?.[1] ?? 4)
      const origin = `mma-${folder}-${style}`
      const name = variant === 0 ? origin : `${origin}~${variant}`
      const random = randomFrom(hashOf(name))
      const plain = grooves.filter(groove => !/intro|end|fill|break/i.test(groove))
      const groove = plain[Math.floor(random.next() * Math.min(variant === 0 ? 3 : 20, plain.length))]
      if (groove === undefined) continue
      const perBeat = bar % 6 === 0 ? 3 : 1
      const [, low, high] = grooveTempi.find(([pattern]) => pattern.test(style))!
      const bpm = Math.round(random.between(low, high) * (random.next() < 0.5 ? 1 : 10)) / 1
      const beatTempo = bpm > 300 ? bpm / 10 : bpm
      const tonic = (deal * 5) % 12
      deal++
      const jazzy = /jazz|swing|bossa|bigband|latin|broadway/.test(style)
      const mode = random.next() < 0.42 ? 'minor' : 'major'
      const chords = chooseProgression(
        random,
        mode,
        /blues|bog|boo/.test(style) ? 'blues' : jazzy ? 'jazz' : 'pop',
      )
      const bars = Math.ceil((DURATION * beatTempo * perBeat) / 60 / bar) + 2
      const flats = ['C', 'C#', 'D', 'Eb', 'E', 'F', 'F#', 'G', 'Ab', 'A', 'Bb', 'B']
      const lines = [`Tempo ${beatTempo * perBeat}`, `Groove ${folder}/${file.slice(0, -4)}:${groove}`]
      for (let n = 0; n < bars; n++) {
        const chord = chords[n % chords.length]!
        lines.push(`${n + 1} ${flats[(tonic + chord.root) % 12]}${chord.suffix}`)
      }
      clips.push({
        name,
        group: 'mma',
        half: halfOf(origin),
        duration: DURATION,
        source: { kind: 'mma', chart: `${lines.join('\n')}\n` },
        truth: midi => ({
          ...gridTruth(midi, perBeat, bar, 0),
          key: PITCHES[tonic] + (mode === 'minor' ? 'm' : ''),
        }),
      })
    }
  return clips
}

/** Beats of a MIDI file's own tempo and metre maps, every `perBeat` quarters, from `start` seconds. */
function gridTruth(midi: Buffer, perBeat: number, bar: number | null, start: number): Truth {
  const maps = readMidi(midi)
  const beats: number[] = []
  const downbeats: number[] = []
  let metre = 0
  let sinceMetre = 0
  for (let quarter = 0; ; quarter += perBeat) {
    const at = maps.seconds(quarter) - start
    if (at >= DURATION || quarter > maps.end) break
    while (metre + 1 < maps.metres.length && maps.metres[metre + 1]!.at <= quarter + 1e-6) {
      metre++
      sinceMetre = maps.metres[metre]!.at
    }
    const { numerator, denominator } = maps.metres[metre]!
    const inBar = bar ?? (numerator * 4) / denominator
    if (at >= 0) {
      beats.push(at)
      if (Math.abs((quarter - sinceMetre) % inBar) < 1e-6) downbeats.push(at)
    }
  }
  const gaps = beats.slice(1).map((at, i) => at - beats[i]!)
  const bpm = medianTempo(beats)
  const spread = Math.max(...gaps) / Math.min(...gaps)
  return { bpm, constant: spread < 1.001, changes: spread > 1.1, beats, downbeats, key: null }
}

const msxFolder = '/usr/share/games/openttd/baseset/openmsx'

function msxClips(): Clip[] {
  if (!existsSync(msxFolder)) return []
  const clips: Clip[] = []
  for (const file of readdirSync(msxFolder).sort()) {
    if (!file.endsWith('.mid')) continue
    const midi = readFileSync(join(msxFolder, file))
    const maps = readMidi(midi)
    // Without a metre other than the default or a drum part nothing says that its author meant the tempo map.
    if (!maps.hasDrums || maps.seconds(maps.end) < 30) continue
    const name = `msx-${file.slice(0, -4)}`
    clips.push({
      name,
      group: 'msx',
      half: halfOf(name),
      duration: DURATION,
      source: { kind: 'midi', midi },
      truth: m => gridTruth(m, 1, null, 0),
    })
  }
  return clips
}

const fofFolder = '/usr/share/games/fretsonfire/data/songs'

/** Two passages of each song: people playing to a click, mapped by hand. */
function fofClips(): Clip[] {
  if (!existsSync(fofFolder)) return []
  const clips: Clip[] = []
  for (const album of ['muldjord', 'sectoid']) {
    const folder = join(fofFolder, album)
    if (!existsSync(folder)) continue
    for (const song of readdirSync(folder, { withFileTypes: true })) {
      if (!song.isDirectory()) continue
      const path = join(folder, song.name)
      const origin = `fof-${song.name.replaceAll(/\W+/g, '_')}`
      for (const start of [20, 80])
        clips.push({
          name: `${origin}-${start}`,
          group: 'fof',
          half: halfOf(origin),
          duration: DURATION,
          source: { kind: 'audio', files: [join(path, 'song.ogg'), join(path, 'guitar.ogg')], start },
          truth: () => gridTruth(readFileSync(join(path, 'notes.mid')), 1, null, start),
        })
    }
  }
  return clips
}

/** Every clip, in a fixed order. */
export function allClips(): Clip[] {
  return [...ownClips(0, 6), ...mmaClips(), ...msxClips(), ...fofClips()]
}

/**
 * More to learn from, for tune.ts alone: other clips of the genres written here and of the groove files that are in
 * the tuning half. None of them is ever reported on.
 */
export function extraTuningClips(): Clip[] {
  const grooves = [1].flatMap(variant => mmaClips(variant)).filter(clip => clip.half === 'tuning')
  return [...ownClips(6, 12, 'tuning'), ...grooves]
}
