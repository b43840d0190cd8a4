import { describe, expect, it } from 'vitest'
import { frameRate } from '../../../../src/core/audio/frontend.ts'
import { smooth } from '../../../../src/core/audio/grid.ts'
import { featureCount, gatherEvidence } from '../../../../src/core/audio/metre.ts'
import { learnedNetworks } from '../../../../src/core/audio/network.ts'
import type { Onsets } from '../../../../src/core/audio/onsets.ts'
import { toBeTold, withSteadyBeats } from '../../../../src/core/audio/pulse.ts'
import { analyzeRhythm } from '../../../../src/core/audio/rhythm.ts'
import { tempoPath } from '../../../../src/core/audio/tempo-curve.ts'

interface Note {
  /** In beats from the beginning of the bar, and how loud. */
  readonly at: number
  readonly loud: number
  /** Index of its group of onsets, low to high. */
  readonly group: number
}

/** Bass drum and snare on the four beats, and other notes so much of a beat after each of them. */
const bar = (drums: number, after: number, loud: number): Note[] =>
  [0, 1, 2, 3].flatMap(at => [
    { at, loud: drums, group: at % 2 === 0 ? 0 : 2 },
    { at: at + after, loud, group: 1 },
  ])

/** Onset strength of bars, each with the notes that it is given; beats lie where `beatAt` says, seconds. */
function onsets(
  seconds: number,
  beatAt: (beat: number) => number,
  notesOf: (bar: number) => readonly Note[],
): Onsets {
  const frames = seconds * frameRate
  const groups = Array.from({ length: 5 }, () => new Float32Array(frames).fill(0.05))
  for (let bar = 0; beatAt(4 * bar) < seconds; bar++)
    for (const { at, loud, group } of notesOf(bar)) {
      const centre = beatAt(4 * bar + at) * frameRate
      for (let t = Math.max(0, Math.floor(centre) - 1); t <= Math.min(frames - 1, centre + 2); t++)
        groups[group]![t]! += loud * Math.max(0, 1 - Math.abs(t - centre) / 2)
    }
  const novelty = Float32Array.from({ length: frames }, (_, t) =>
    groups.reduce((sum, group) => sum + group[t]!, 0),
  )
  const scaled = (signal: Float32Array): Float32Array => {
    const mean = signal.reduce((a, b) => a + b, 0) / frames
    return signal.map(value => value / mean)
  }
  return { frames, groups: groups.map(scaled), novelty: scaled(novelty), shares: [0.3, 0.2, 0.3, 0, 0.2] }
}

const heard = (onsets: Onsets) => analyzeRhythm(onsets, learnedNetworks(featureCount), () => 0)!

describe('analyzeRhythm', () => {
  it('asks one network for the tempo and another for the phase', () => {
    const networks = learnedNetworks(featureCount)
    const song = onsets(
      40,
      beat => 0.2 + beat / 2,
      () => bar(6, 0.5, 2),
    )
    const undecided = { ...networks.phase, output: new Float32Array(networks.phase.hidden) }
    const found = analyzeRhythm(song, networks, () => 0)!
    const without = analyzeRhythm(song, { ...networks, phase: undecided }, () => 0)!
    expect([without.bpm, without.confidence]).toEqual([found.bpm, found.confidence])
    expect(without.phaseConfidence).toBeCloseTo(1 / 6, 5)
    expect(found.phaseConfidence).toBeGreaterThan(0.5)
    // However sure a network is: one in 25 keeps a doubt.
    const sure = { ...networks.phase, output: networks.phase.output.map(value => value * 1000) }
    expect(analyzeRhythm(song, { ...networks, phase: sure }, () => 0)!.phaseConfidence).toBeCloseTo(0.96, 5)
  })
  // As in marches: pickups a quarter before the beat in one bar, strong notes between the beats in the next. Beats that
  // are tracked loosely go from the ones to the others and back.
  it.each([
    [100, 3, 9, 6],
    [120, 3, 9, 6],
    [132, 3, 9, 6],
    [100, 5, 9, 9],
    [120, 5, 9, 9],
    [132, 5, 9, 9],
  ])(
    'keeps to one grid of %i beats a minute under strong notes between them (%i, %i, %i)',
    (bpm, drums, pickup, offbeat) => {
      const period = 60 / bpm
      const song = onsets(
        60,
        beat => 0.2 + beat * period,
        number => (number % 2 === 0 ? bar(drums, 0.75, pickup) : bar(drums, 0.5, offbeat)),
      )
      const { constant, bpm: found, changes } = heard(song)
      expect(constant).toBe(true)
      expect(changes).toEqual([])
      expect(Math.abs(found / bpm - 1)).toBeLessThan(0.002)
    },
  )
  it.each([0.85, 1.2])('denies one grid to a tempo that goes over to %f of itself', ratio => {
    // Notes every eighth, as loud as the beats: a grid of the first tempo meets many of those of the second.
    const times: number[] = [0.2]
    while (times.at(-1)! < 92) {
      const last = times.at(-1)!
      const through = Math.min(1, Math.max(0, (last - 45) / 12))
      times.push(last + 0.125 / (1 + (ratio - 1) * through))
    }
    const beatAt = (beat: number): number => times[Math.min(times.length - 1, Math.round(beat * 4))]!
    const { constant, changes } = heard(
      onsets(90, beatAt, () => [...bar(5, 0.5, 5), ...bar(0, 0.25, 4), ...bar(0, 0.75, 4)]),
    )
    expect(constant).toBe(false)
    expect(changes.length).toBeGreaterThan(0)
  })
  it.each([
    [100, 5, 9, 9, 1.06],
    [118, 3, 9, 6, 0.96],
    [120, 5, 9, 9, 0.9],
    [132, 3, 9, 6, 1.04],
  ])(
    'hears that such a march of %i beats a minute (%i, %i, %i) goes on %f times as fast',
    (bpm, drums, pickup, offbeat, speed) => {
      const period = 60 / bpm
      const turn = Math.floor(50 / (4 * period)) * 4
      const song = onsets(
        90,
        beat => 0.2 + (Math.min(beat, turn) + Math.max(0, beat - turn) / speed) * period,
        number => (number % 2 === 0 ? bar(drums, 0.75, pickup) : bar(drums, 0.5, offbeat)),
      )
      const { constant, changes } = heard(song)
      expect(constant).toBe(false)
      expect(changes).toHaveLength(1)
      expect(Math.abs(changes[0]!.at - 0.2 - turn * period)).toBeLessThan(8 * period)
      expect(Math.abs(changes[0]!.bpm / (bpm * speed) - 1)).toBeLessThan(0.003)
    },
  )
  it.each([0.02, 0.04])('follows players whose tempo sways by %f', sway => {
    // Tempo is the derivative of beats by time: its integral, inverted step by step.
    const times: number[] = [0.2]
    while (times.at(-1)! < 62) {
      const last = times.at(-1)!
      times.push(last + 0.125 / (1 + sway * Math.sin((2 * Math.PI * last) / 30)))
    }
    const beatAt = (beat: number): number => times[Math.min(times.length - 1, Math.round(beat * 4))]!
    const { constant, beats } = heard(onsets(60, beatAt, () => bar(5, 0.5, 2)))
    expect(constant).toBe(false)
    const truth = times.filter((time, i) => i % 4 === 0 && time > 2 && time < 58)
    const off = truth.map(time => Math.min(...[...beats].map(beat => Math.abs(beat - time))))
    expect(off.filter(gap => gap < 0.04).length / off.length).toBeGreaterThan(0.95)
  })
})

describe('withSteadyBeats', () => {
  it.each([0.8, 1.25])('goes along with a tempo that goes over to %f of itself', ratio => {
    const times: number[] = [0.2]
    while (times.at(-1)! < 92) {
      const last = times.at(-1)!
      const through = Math.min(1, Math.max(0, (last - 45) / 12))
      times.push(last + 0.5 / (1 + (ratio - 1) * through))
    }
    const song = onsets(
      90,
      beat => times[Math.min(times.length - 1, Math.round(beat))]!,
      () => bar(5, 0, 0),
    )
    const reading = {
      bpm: 120,
      shift: 0,
      first: 0,
      beats: new Float64Array(0),
      probability: 1,
      phaseConfidence: 1,
    }
    const { beats } = withSteadyBeats(
      gatherEvidence(song, () => 0),
      smooth(song.novelty),
      reading,
      tempoPath(song.novelty, 120),
    )
    const truth = times.filter(time => time > 2 && time < 88)
    const off = truth.map(time => Math.min(...[...beats].map(beat => Math.abs(beat - time))))
    expect(off.filter(gap => gap < 0.04).length / off.length).toBeGreaterThan(0.9)
  })
})

describe('toBeTold', () => {
  const period = 0.5
  const grid = { period, beats: Float64Array.from({ length: 100 }, (_, i) => 1 + i * period) }
  /** On that grid half of the beats are heard, each with a strength of 4. */
  const strength = new Float32Array(6000)
  for (const time of grid.beats.slice(0, 50)) strength[Math.round(time * frameRate)] = 4
  const part = { period, start: 1, from: 0, to: 26, alike: true }
  const parted = (gathered: number, asTracked: boolean) => ({
    all: [],
    parts: [part, { ...part, period: 0.45, from: 26, to: 50 }],
    path: new Float64Array(0),
    gathered,
    asTracked,
  })
  it.each([
    ['told: their grids gather as much as beats that were tracked', parted(3, true), grid, true],
    ['told: less, and yet more than the one grid that would be laid over all', parted(3, false), grid, true],
    ['not told: no more than the one grid', parted(2.05, false), grid, false],
    ['not told: less than tracked, and no one grid would be laid', parted(3, false), undefined, false],
    ['not told: the one grid is of another octave', parted(3, false), { ...grid, period: 1 }, false],
  ] as const)('parts are %s', (_, found, oneGrid, told) => {
    expect(toBeTold(found, strength, oneGrid)).toBe(told)
  })
})
