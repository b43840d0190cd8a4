import { describe, expect, it } from 'vitest'
import { smooth } from '../../../../src/core/audio/grid.ts'
import { curveOf, tempoPath } from '../../../../src/core/audio/tempo-curve.ts'
import { type Part, tempoParts } from '../../../../src/core/audio/tempo-parts.ts'

/** How loud each eighth of a bar is: bass drum, snare and hats with a syncopation. */
const groove = [5, 1.5, 3, 2.5, 4, 1.5, 3, 1]

/** Frames a second. */
const rate = 100

/** Onset strength of a groove whose tempo at each moment, seconds, is given; noise as of fingers and breath. */
function onsets(seconds: number, tempoAt: (time: number) => number, pattern: readonly number[] = groove) {
  const novelty = new Float32Array(seconds * rate)
  let noise = 1
  for (let t = 0; t < novelty.length; t++) {
    noise = (noise * 16807) % 2147483647
    novelty[t] = 0.4 * (noise / 2147483647)
  }
  const beats: number[] = []
  let eighth = 0
  for (let time = 0.2; time < seconds; time += 30 / tempoAt(time)) {
    const loud = pattern[eighth % pattern.length]!
    if (loud > 0)
      for (let t = Math.floor(time * rate) - 1; t <= time * rate + 2; t++)
        novelty[t]! += loud * Math.max(0, 1 - Math.abs(t - time * rate) / 2)
    if (eighth % 2 === 0) beats.push(time)
    eighth++
  }
  return { novelty, beats }
}

const partsIn = (novelty: Float32Array, bpm: number): Part[] =>
  tempoParts(novelty, smooth(novelty), tempoPath(novelty, bpm)!)

const nearest = (beats: readonly number[], time: number): number =>
  Math.min(...beats.map(beat => Math.abs(beat - time)))

describe('tempoParts', () => {
  it.each([
    [3, 0.8],
    [-3, 0.5],
    [4, 0.7],
    [6, 0.8],
    [-6, 0.3],
    [-10, 0.75],
    [15, 0.6],
    [25, 0.7],
    [-20, 0.5],
  ])('a change by %i in a hundred after %f of the track', (per, share) => {
    const [seconds, bpm] = [120, 116]
    const at = share * seconds
    const { novelty, beats } = onsets(seconds, time => (time < at ? bpm : bpm * (1 + per / 100)))
    const found = partsIn(novelty, bpm)
    expect(found).toHaveLength(2)
    const [first, second] = found as [Part, Part]
    expect(60 / first.period).toBeCloseTo(bpm, 0)
    expect(Math.abs(60 / second.period / (bpm * (1 + per / 100)) - 1)).toBeLessThan(0.004)
    // To within a bar, and on a beat.
    expect(Math.abs(second.from - at)).toBeLessThan(240 / bpm)
    expect(nearest(beats, second.from)).toBeLessThan(0.05)
    for (const { from, to, period, start } of found)
      for (let beat = start + Math.ceil((from - start) / period) * period; beat < to; beat += period)
        if (Math.abs(beat - at) > 2) expect(nearest(beats, beat)).toBeLessThan(0.035)
  })
  it('a tempo that goes over little by little, with a gap between what holds before and after', () => {
    const tempo = (time: number): number => 110 + 14 * Math.max(0, Math.min(1, (time - 60) / 15))
    const { novelty } = onsets(140, tempo)
    const found = partsIn(novelty, 110)
    expect(found).toHaveLength(2)
    expect(found[0]!.to).toBeGreaterThan(57)
    expect(found[0]!.to).toBeLessThan(68)
    expect(found[1]!.from).toBeGreaterThan(67)
    expect(found[1]!.from).toBeLessThan(79)
  })
  it('back to the first tempo again', () => {
    const tempo = (time: number): number => (time > 50 && time < 85 ? 131 : 124)
    const found = partsIn(onsets(140, tempo).novelty, 124)
    expect(found.map(({ period }) => Math.round(60 / period))).toEqual([124, 131, 124])
  })
  describe('of one tempo there are none', () => {
    const steady = (bpm = 120) => onsets(120, () => bpm).novelty
    it('played through', () => expect(partsIn(steady(), 120)).toEqual([]))
    it('with a passage in which three go on four', () => {
      const novelty = steady()
      // Accents on every third sixteenth of the same beat.
      const { novelty: other } = onsets(120, () => 160, [5, 0, 4, 0, 5, 0, 4, 0])
      const shift = Math.round(rate * (0.2 - 0.2))
      for (let t = 50 * rate; t < 80 * rate; t++) novelty[t] = other[t - shift]!
      const found = partsIn(novelty, 120)
      // What lies on the old grid as well may be heard as a part or not, but what comes after is where it was.
      for (const { period } of [found[0], found.at(-1)].filter(part => part !== undefined))
        expect(60 / period).toBeCloseTo(120, 0)
    })
    it.each([
      ['nothing', () => 0],
      ['something without a beat', (t: number) => 1 + Math.sin(t * t * 0.001)],
      [
        'a beat at random',
        (t: number) =>
          Math.sin(t * 12.9898) * 43758.5453 - Math.floor(Math.sin(t * 12.9898) * 43758.5453) > 0.97
            ? 6
            : 0.2,
      ],
    ])('with a passage of %s', (_, sound) => {
      const novelty = steady()
      for (let t = 40 * rate; t < 75 * rate; t++) novelty[t] = sound(t)
      expect(partsIn(novelty, 120)).toEqual([])
    })
    it('with a hand that is never quite in time', () => {
      let wander = 0
      let noise = 7
      const { novelty } = onsets(150, () => {
        noise = (noise * 16807) % 2147483647
        wander = 0.9 * wander + 0.6 * (noise / 2147483647 - 0.5)
        return 104 * (1 + 0.01 * wander)
      })
      expect(partsIn(novelty, 104).every(({ period }) => Math.abs((period * 104) / 60 - 1) < 0.02)).toBe(true)
    })
  })
})

describe('tempoPath', () => {
  it('is undefined for less than two stretches', () => {
    expect(tempoPath(new Float32Array(850), 120)).toBeUndefined()
    expect(tempoPath(new Float32Array(0), 120)).toBeUndefined()
  })
  it('stays where it was asked about for silence', () => {
    expect(new Set(tempoPath(new Float32Array(3000), 120)).size).toBe(1)
  })
  it('makes a curve of as many frames as wanted, the first and last values held', () => {
    const curve = curveOf(Float64Array.of(100, 110, 120), 1200)
    expect([curve.length, curve[0], curve[400], curve[500], curve[600], curve[1199]]).toEqual([
      1200, 100, 100, 110, 120, 120,
    ])
  })
})
