/** Tempo, beats and grid from an onset envelope that is made, not heard: whole sets in no time. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { trackBeats } from '../../../../src/core/audio/beats.ts'
import {
  bandCount,
  dbUnit,
  frameRate,
  frontEnd,
  pitchBins,
  pitchCount,
} from '../../../../src/core/audio/frontend.ts'
import { evenGrid, smooth } from '../../../../src/core/audio/grid.ts'
import { onsetStrength } from '../../../../src/core/audio/onsets.ts'
import { autocorrelation, maxLag } from '../../../../src/core/audio/tempo.ts'

/** Mean 1, an onset on each beat and weaker ones between, silent in between `pauses`, seconds. */
function envelope(
  bpm: number,
  seconds: number,
  start: number,
  pauses: readonly (readonly [number, number])[] = [],
): Float32Array {
  const onsets = new Float32Array(Math.round(seconds * frameRate))
  const period = 60 / bpm / 2
  for (let i = 0; start + i * period < seconds - 0.02; i++) {
    const time = start + i * period
    if (pauses.some(([from, to]) => time >= from && time < to)) continue
    const position = time * frameRate
    const frame = Math.floor(position)
    const level = i % 2 === 0 ? 12 : 4
    onsets[frame]! += level * (1 - position + frame)
    onsets[frame + 1]! += level * (position - frame)
  }
  const mean = onsets.reduce((a, b) => a + b, 0) / onsets.length
  return onsets.map(value => value / mean)
}

describe('onsetStrength', () => {
  /** Half a minute of a level of dB a frame, in all bands. */
  function strength(level: (frame: number) => number) {
    const frames = 30 * frameRate
    const bands = Int16Array.from({ length: frames * bandCount }, (_, i) =>
      Math.round(level(Math.floor(i / bandCount)) / dbUnit),
    )
    const pitches = { count: 0, read: () => {} }
    return onsetStrength({ frames, bands, pitches, pitchRate: 5, centroid: 1000, duration: 30 }).novelty
  }
  it('hears onsets in music so dense that it is never still for a tenth of a second', () => {
    const novelty = strength(frame => -20 + (frame % 30 < 2 ? 12 : 0) + (frame % 4 < 2 ? 3 : 0))
    expect(novelty.some(value => value > 0)).toBe(true)
  })
  it.each([
    ['a steady tone', () => -20],
    ['a drone whose partials beat', (frame: number) => -20 + 2 * Math.sin((2 * Math.PI * frame) / 13)],
    ['three onsets', (frame: number) => ([500, 1000, 1500].includes(frame) ? -10 : -20)],
    ['three onsets close together', (frame: number) => ([500, 504, 508, 512].includes(frame) ? -10 : -20)],
  ])('hears no pulse in %s', (_, level) => {
    expect(strength(level).every(value => value === 0)).toBe(true)
  })
})

describe('autocorrelation', () => {
  const byDefinition = (signal: Float32Array): number[] => {
    const mean = signal.reduce((a, b) => a + b, 0) / signal.length
    const at = (lag: number): number => {
      let sum = 0
      for (let t = lag; t < signal.length; t++) sum += (signal[t]! - mean) * (signal[t - lag]! - mean)
      return sum / (signal.length - lag)
    }
    return Array.from({ length: maxLag + 1 }, (_, lag) => (lag < signal.length ? at(lag) / at(0) : 0))
  }
  it('is what its definition says, however many blocks the signal is cut into', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(2, 100, 801, 2496, 2497, 3300, 9000),
        fc.integer({ min: 1, max: 1e9 }),
        (length, seed) => {
          let state = seed
          const signal = Float32Array.from({ length }, () => {
            state = (state * 48_271) % 2_147_483_647
            return state % 5 === 0 ? (8 * state) / 2_147_483_647 : 0.1
          })
          fc.pre(signal.some(value => value > 1))
          const expected = byDefinition(signal)
          const found = autocorrelation(signal)
          expect(found.length).toBe(maxLag + 1)
          for (const [lag, value] of expected.entries()) expect(found[lag]).toBeCloseTo(value, 3)
        },
      ),
      { numRuns: 20 },
    )
  })
  it.each([0, 1, 3.7])('is zero throughout where nothing changes, at %f', value => {
    expect(autocorrelation(new Float32Array(5000).fill(value)).every(one => one === 0)).toBe(true)
  })
  it('is zero throughout for nothing', () => {
    expect(autocorrelation(new Float32Array(0)).every(value => value === 0)).toBe(true)
  })
})

describe('trackBeats', () => {
  it.each([
    [128, 20],
    [61, 200],
    [174.3, 3600],
  ])('follows %f beats a minute for %i s', (bpm, seconds) => {
    const start = 0.31
    const beats = trackBeats(envelope(bpm, seconds, start), bpm, 100)
    expect(beats.length).toBeGreaterThan((seconds * bpm) / 60 - 4)
    for (const [i, time] of beats.entries()) {
      const nearest = start + (Math.round(((time - start) * bpm) / 60) * 60) / bpm
      expect(Math.abs(time - nearest)).toBeLessThan(0.012)
      if (i > 0) expect(time - beats[i - 1]!).toBeCloseTo(60 / bpm, 1)
    }
  })
  it('answers a tempo of 10 a minute, and none in what is shorter than its beat', () => {
    expect(trackBeats(envelope(10, 120, 1), 10, 100).length).toBeGreaterThan(15)
    expect(trackBeats(envelope(10, 7, 1), 10, 100).length).toBe(0)
  })
})

describe('evenGrid', () => {
  it.each([
    ['four minutes', 128, 240, []],
    ['ten minutes', 97.31, 600, []],
    ['an hour', 125.02, 3600, []],
    [
      'three hours with breaks',
      133,
      10_800,
      [[0, 700] as const, [3000, 3400] as const, [5000, 5350] as const],
    ],
  ])('is exact over %s', (_, bpm, seconds, pauses) => {
    const novelty = envelope(bpm, seconds, 0.2, pauses)
    const strength = smooth(novelty)
    const beats = trackBeats(novelty, bpm, 100)
    // As a tempo is known before the grid: to a per cent.
    const grid = evenGrid(novelty, strength, { bpm: bpm * 1.008, beats }, seconds)
    // Not half a frame off at either end.
    expect(Math.abs(grid.period - 60 / bpm) * grid.beats.length).toBeLessThan(0.02)
    const first = (grid.beats[0]! - 0.2) / grid.period
    expect(Math.abs(first - Math.round(first)) * grid.period).toBeLessThan(0.015)
    expect(grid.share).toBeGreaterThan(0.9)
  })
})

describe('the pitch spectrogram', () => {
  it('has a tone in its place, at the magnitude it has', () => {
    const rate = 22_050
    const front = frontEnd(rate)
    const level = 0.3
    const hz = 440 * 2 ** (3 / 12)
    const tone = Float32Array.from(
      { length: 3 * rate },
      (_, i) => level * Math.sin((2 * Math.PI * hz * i) / rate),
    )
    front.push(tone, tone.length)
    const { pitches } = front.finish()
    expect(pitches.count).toBe(Math.ceil(3 * 5.4))
    const row = new Float32Array(pitchCount * pitchBins)
    pitches.read(8, row)
    const peak = row.indexOf(Math.max(...row))
    // C5, MIDI note 72, is 39 semitones above the lowest, in the middle of its bins.
    expect(peak).toBe(39 * pitchBins + 2)
    const sum = row.reduce((a, b) => a + b, 0)
    // The parabola through three bins is off by so much between them.
    expect(Math.abs(sum / level - 1)).toBeLessThan(0.04)
    expect([...row].filter(value => value > 0.01 * level).length).toBeLessThanOrEqual(3)
  })
})
