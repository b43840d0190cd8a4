/** Composes a clip of a genre as MIDI, and says what is true of it. */

import type { Random } from '../bench/audio/random.ts'
import { type Kit, snareNote } from './genres.ts'
import { type Chord, chooseProgression, pitches, scales } from './harmony.ts'
import { type Note, readMidi, type TempoChange, writeMidi } from './midi.ts'

/** Seconds of a clip. */
export const clipSeconds = 45

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

const loud: Record<string, number> = { X: 116, x: 92, o: 52 }

interface Song {
  readonly midi: Buffer
  readonly truth: Truth
}

/** How the tempo of a clip behaves. */
export type Flow = 'constant' | 'drift' | 'step'

/**
 * @param tonic pitch class, C is 0.
 * @param random decides everything else.
 * @param barsPerChord how long a chord lasts: 0.5, 1, 2 or 4.
 * @param duration seconds.
 */
export function compose(
  kit: Kit,
  tonic: number,
  mode: 'major' | 'minor',
  flow: Flow,
  random: Random,
  barsPerChord = 1,
  duration = clipSeconds,
): Song {
  const wanted = random.between(...kit.bpm)
  const bpm = kit.live
    ? Math.round(wanted * 100) / 100
    : random.next() < 0.8
      ? Math.round(wanted)
      : Math.round(wanted * 10) / 10
  const quartersPerBeat = kit.compound ? 1.5 : 1
  const bars = Math.ceil((duration * bpm) / 60 / kit.metre) + 2
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
    /** From a step of this bar on. */
    const chordAt = (step: number): Chord => {
      const half = step >= kit.steps * Math.ceil(kit.metre / 2) ? 0.5 : 0
      return chords[Math.floor((bar + half) / barsPerChord) % chords.length]!
    }
    const fill = bar % 8 === 7 && drums[snareNote] !== undefined && random.next() < 0.6
    for (const [drum, pattern] of Object.entries(drums)) {
      if (pause || (intro && withoutDrums)) continue
      for (let step = 0; step < stepsInBar; step++) {
        if (fill && Number(drum) === snareNote && step >= stepsInBar - kit.steps) continue
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
          pitch: random.pick([snareNote, 45, 48]),
          velocity: velocity(100),
        })
    for (let step = 0; step < stepsInBar; step++) {
      const chord = chordAt(step)
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
        const scale = scales[mode]
        let pitch = 67 + tonic + scale[((leadDegree % 7) + 7) % 7]! + 12 * Math.floor(leadDegree / 7)
        if (strong) {
          const chord = chordAt(Math.floor(i / leadRate) * kit.steps)
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
    if (at >= duration) break
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
      key: pitches[tonic] + (mode === 'minor' ? 'm' : ''),
    },
  }
}

/** Of the gaps between beats. */
export function medianTempo(beats: readonly number[]): number {
  const gaps = beats.slice(1).map((at, i) => at - beats[i]!)
  gaps.sort((a, b) => a - b)
  return 60 / gaps[Math.floor(gaps.length / 2)]!
}
