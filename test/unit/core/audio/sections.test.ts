import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bandCount, frameRate } from '../../../../src/core/audio/frontend.ts'
import type { Rhythm } from '../../../../src/core/audio/rhythm.ts'
import { analyzeForm, soundOfTenths } from '../../../../src/core/audio/sections.ts'

interface Part {
  readonly bars: number
  /** LUFS. */
  readonly loudness: number
  /** Level of the lower and of the upper half of the bands, dB. */
  readonly low: number
  readonly high: number
}

const beat = 0.5
const bar = 4 * beat

/** What the front end and the meter would make of parts one after another, `pickup` seconds before the first bar. */
function track(parts: readonly Part[], pickup = 0, beats = true) {
  const duration = pickup + parts.reduce((sum, { bars }) => sum + bars * bar, 0)
  const frames = Math.floor(duration * frameRate)
  const bands = new Int16Array(frames * bandCount)
  const tenths = new Float32Array(Math.floor(duration * 10))
  const partAt = (time: number): Part => {
    let end = pickup
    for (const part of parts) {
      end += part.bars * bar
      if (time < end) return part
    }
    return parts.at(-1)!
  }
  for (let t = 0; t < frames; t++) {
    const { low, high } = partAt(t / frameRate)
    for (let b = 0; b < bandCount; b++) bands[t * bandCount + b] = 128 * (b < bandCount / 2 ? low : high)
  }
  for (let t = 0; t < tenths.length; t++) tenths[t] = partAt(t / 10).loudness
  const times = Float64Array.from(
    { length: Math.floor((duration - pickup) / beat) },
    (_, i) => pickup + i * beat,
  )
  const rhythm: Rhythm = {
    bpm: 60 / beat,
    confidence: 1,
    phaseConfidence: 1,
    alternatives: [],
    constant: true,
    beats: times,
    beatStrengths: new Float32Array(times.length).fill(0.8),
    regularity: 1,
    clarity: 1,
    beatsPerBar: 4,
    downbeats: Array.from(times, (_, i) => i).filter(i => i % 4 === 0),
    downbeatConfidence: 1,
    changes: [],
    parts: [],
  }
  return {
    duration,
    form: analyzeForm(soundOfTenths({ bands, frames }), tenths, duration, beats ? rhythm : undefined),
    lines: times.filter((_, i) => i % 4 === 0),
  }
}

const quiet = { loudness: -32, low: -60, high: -70 }
const full = { loudness: -12, low: -20, high: -30 }
const silent = { loudness: -120, low: -120, high: -120 }
const thin = { loudness: -20, low: -50, high: -30 }

describe('analyseForm', () => {
  it('cuts a track where its sound changes and names the parts', () => {
    const { form } = track([
      { bars: 8, ...quiet },
      { bars: 16, ...full },
      { bars: 8, ...thin },
      { bars: 16, ...full },
      { bars: 8, ...quiet },
    ])
    expect(form.sections.map(({ start, end, kind }) => [start, end, kind])).toEqual([
      [0, 16, 'intro'],
      [16, 48, 'body'],
      [48, 64, 'break'],
      [64, 96, 'body'],
      [96, 112, 'outro'],
    ])
    expect(form).toMatchObject({ introEnd: 16, outroStart: 96, mixInPoint: 0, mixOutPoint: 96 })
    expect(form.introEnergy).toBeCloseTo(0, 2)
    expect(form.outroEnergy).toBeCloseTo(0, 2)
    expect(form.sections.map(({ energy }) => energy)).toEqual([0, 0.75, 0.417, 0.75, 0])
    expect(form.energyProfile).toHaveLength(56)
    expect(form.mixableSections.map(({ bars }) => bars)).toEqual([8, 16, 8, 16, 8])
  })
  it.each([
    [
      'an outro of four bars or more: at its start',
      [
        { bars: 16, ...full },
        { bars: 4, ...quiet },
      ],
      32,
      32,
    ],
    [
      'a shorter one: eight bars before the end of sound',
      [
        { bars: 16, ...full },
        { bars: 2, ...quiet },
      ],
      32,
      20,
    ],
    ['none: eight bars before the end', [{ bars: 16, ...full }], 32, 16],
    [
      'none and a silent end: eight bars before the end of sound',
      [
        { bars: 16, ...full },
        { bars: 6, ...silent },
      ],
      32,
      16,
    ],
    ['less than eight bars: at the first', [{ bars: 5, ...full }], 10, 0],
  ])('mixes out of a track with %s', (_, parts, outroStart, mixOutPoint) => {
    expect(track(parts).form).toMatchObject({ outroStart, mixOutPoint })
  })
  it('counts energy on one scale in every track: the same parts 9 LU quieter have less, and are the same parts', () => {
    const parts = [
      { bars: 8, ...thin },
      { bars: 16, ...full },
      { bars: 8, ...thin },
    ]
    const [loud, soft] = [0, 9].map(
      down => track(parts.map(part => ({ ...part, loudness: part.loudness - down }))).form,
    ) as [ReturnType<typeof track>['form'], ReturnType<typeof track>['form']]
    expect(loud.introEnergy).toBeCloseTo(10 / 24, 2)
    expect(soft.introEnergy).toBeCloseTo(1 / 24, 2)
    expect(loud.outroEnergy - soft.outroEnergy).toBeCloseTo(9 / 24, 2)
    expect(loud.energyProfile.map(({ energy }, i) => energy - soft.energyProfile[i]!.energy)).toEqual(
      loud.energyProfile.map(() => expect.closeTo(9 / 24, 2)),
    )
    expect(soft.sections.map(({ start, kind }) => [start, kind])).toEqual(
      loud.sections.map(({ start, kind }) => [start, kind]),
    )
  })
  it('sets an incoming track on at the first bar line with sound', () => {
    const { form } = track(
      [
        { bars: 3, ...silent },
        { bars: 16, ...full },
      ],
      0.3,
    )
    expect(form.mixInPoint).toBeCloseTo(6.3, 9)
    expect(form.introEnd).toBeCloseTo(6.3, 9)
  })
  it('has no sections, mix points at the ends and no energy in silence', () => {
    const { form, duration } = track([{ bars: 8, ...silent }])
    expect(form).toMatchObject({
      sections: [],
      mixInPoint: 0,
      mixOutPoint: duration,
      introEnergy: 0,
      outroEnergy: 0,
    })
  })
  it('without a pulse counts in steps of two seconds and offers nothing to mix', () => {
    const { form } = track(
      [
        { bars: 8, ...quiet },
        { bars: 16, ...full },
      ],
      0,
      false,
    )
    expect(form.mixableSections).toEqual([])
    expect(form.energyProfile[1]).toMatchObject({ time: 2 })
  })
  it('whatever the track: parts on bar lines that follow each other, points in order, shares from 0 to 1', () => {
    const part = fc.record({
      // One bar alone is no metre: that track is counted in steps of two seconds, as the test above has it.
      bars: fc.integer({ min: 2, max: 12 }),
      loudness: fc.integer({ min: -90, max: -5 }),
      low: fc.integer({ min: -110, max: 0 }),
      high: fc.integer({ min: -110, max: 0 }),
    })
    fc.assert(
      fc.property(
        fc.array(part, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 0, max: 19 }),
        (parts, pickup) => {
          const { form, duration, lines } = track(parts, pickup / 10)
          const line = (time: number): boolean => time === duration || lines.includes(time)
          for (const [i, { start, end, energy }] of form.sections.entries()) {
            expect(start).toBe(i === 0 ? lines[0] : form.sections[i - 1]!.end)
            expect(end).toBeGreaterThan(start)
            expect(line(end)).toBe(true)
            expect(energy).toBeGreaterThanOrEqual(0)
            expect(energy).toBeLessThanOrEqual(1)
          }
          if (form.sections.length > 0) {
            expect(form.sections.at(-1)!.end).toBe(duration)
            for (const point of [form.introEnd, form.outroStart, form.mixInPoint, form.mixOutPoint])
              expect(line(point)).toBe(true)
          }
          expect(form.mixInPoint).toBeLessThanOrEqual(form.introEnd)
          expect(form.introEnd).toBeLessThanOrEqual(form.outroStart)
          expect(form.mixInPoint).toBeLessThanOrEqual(form.mixOutPoint)
          expect(form.mixOutPoint).toBeLessThanOrEqual(form.outroStart)
          for (const { bars, stability } of form.mixableSections) {
            expect(bars).toBeGreaterThanOrEqual(4)
            expect(stability).toBeGreaterThanOrEqual(0.4)
            expect(stability).toBeLessThanOrEqual(1)
          }
          for (const { energy } of form.energyProfile) {
            expect(energy).toBeGreaterThanOrEqual(0)
            expect(energy).toBeLessThanOrEqual(1)
          }
        },
      ),
      { numRuns: 100 },
    )
  })
})
