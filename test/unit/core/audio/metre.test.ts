import { describe, expect, it } from 'vitest'
import {
  foldHarmony,
  harmonicRhythm,
  harmonyFeatureCount,
  harmonyFeatures,
  sliceHarmony,
} from '../../../../src/core/audio/harmonic-rhythm.ts'
import { featureCount } from '../../../../src/core/audio/metre.ts'
import { learnedNetworks, scoreReading, unpack } from '../../../../src/core/audio/network.ts'
import type { PackedNetwork } from '../../../../src/core/audio/packed-network.ts'

const pack = (rows: readonly (readonly number[])[], output: readonly number[]): PackedNetwork => ({
  rows: rows.map(row => [0.01, Buffer.from(Int8Array.from(row).buffer).toString('base64')]),
  bias: rows.map((_, i) => 0.1 * i),
  output,
})

describe('network', () => {
  const one = pack(
    [
      [100, -50, 3],
      [7, 0, 127],
    ],
    [1, -2],
  )
  const other = pack([[-20, 40, 60]], [0.5])
  const features = Float32Array.of(9, 9, 0.3, -0.2, 0.9)

  it('is a hidden layer of tanh units over scaled signed bytes', () => {
    const expected = Math.tanh(0.3 + 0.1 + 0.027) - 2 * Math.tanh(0.1 + 0.021 + 1.143)
    expect(scoreReading(unpack([one], 3), features, 2)).toBeCloseTo(expected, 5)
  })
  it('of several scores their mean', () => {
    const alone = [one, other].map(network => scoreReading(unpack([network], 3), features, 2))
    expect(scoreReading(unpack([one, other], 3), features, 2)).toBeCloseTo((alone[0]! + alone[1]!) / 2, 5)
  })
  it('refuses weights that were learned from other features', () => {
    expect(() => unpack([one], 4)).toThrow(/do not fit/)
  })
  it.each(['metre', 'phase'] as const)('of the %s has weights that fit the features, none lost', what => {
    const { hidden, input, bias, output } = learnedNetworks(featureCount)[what]
    expect([input.length, bias.length, output.length]).toEqual([hidden * featureCount, hidden, hidden])
    for (const weights of [input, bias, output]) {
      expect(weights.every(Number.isFinite)).toBe(true)
      expect(weights.some(weight => weight !== 0)).toBe(true)
    }
  })
})

/** Chords change every `gap` seconds from 0 on, for a tenth of a second. */
const changing =
  (gap: number) =>
  (time: number): number =>
    time % gap < 0.1 ? 0.8 : 0.05
const beatsAt = (bpm: number, from = 0): Float64Array =>
  Float64Array.from({ length: 80 }, (_, i) => from + (i * 60) / bpm)

describe('the phase', () => {
  it('is said by the networks of the metre and others', () => {
    const { metre, phase } = learnedNetworks(featureCount)
    expect(phase.hidden).toBeGreaterThan(metre.hidden)
    expect(phase.input.subarray(0, metre.input.length)).toEqual(metre.input)
    const score = (network: typeof metre, from: number): number =>
      network.output.subarray(from, from + metre.hidden).reduce((sum, value) => sum + Math.abs(value), 0)
    expect(score(phase, 0) / score(metre, 0)).toBeCloseTo(3 / 4, 5)
  })
})

describe('harmonic rhythm', () => {
  it('repeats after a bar and not after a beat', () => {
    const out = new Float32Array(harmonyFeatureCount + 1)
    const harmony = harmonicRhythm(changing(2), 60)
    harmonyFeatures(harmony, foldHarmony(harmony, beatsAt(120)), 0, 120, out, 1)
    const [half, , one, , , two, three, four, six, eight] = out.subarray(1)
    expect(out[0]).toBe(0)
    for (const long of [four!, eight!]) expect(long).toBeGreaterThan(1.5)
    for (const short of [half!, one!, two!, three!, six!]) expect(short).toBeLessThan(0.5)
  })
  it('falls on the first of two beats, wherever the reading begins', () => {
    const harmony = harmonicRhythm(changing(1), 60)
    const strongest = (from: number, shift: number): number => {
      const out = new Float32Array(harmonyFeatureCount)
      harmonyFeatures(harmony, foldHarmony(harmony, beatsAt(120, from)), shift, 120, out, 0)
      const pattern = out.subarray(harmonyFeatureCount - 8)
      return pattern.indexOf(Math.max(...pattern))
    }
    expect(strongest(0, 0)).toBe(0)
    expect(strongest(0, 1)).toBe(4)
    expect(strongest(0.5, 0)).toBe(4)
    expect(strongest(0.5, 1)).toBe(0)
    expect(strongest(0.125, 0.75)).toBe(4)
  })
  it('says nothing where nothing is known', () => {
    const harmony = harmonicRhythm(() => 0, 30)
    const out = new Float32Array(harmonyFeatureCount).fill(7)
    harmonyFeatures(harmony, foldHarmony(harmony, beatsAt(120)), 0, 120, out, 0)
    expect([...out].every(value => Math.abs(value) < 1e-6)).toBe(true)
  })
  it('of a part is that of the part alone', () => {
    const whole = harmonicRhythm(time => (time < 30 ? 0 : changing(2)(time)), 60)
    const part = sliceHarmony(whole, 30, 60)
    expect(part.mean).toBeCloseTo(2 * whole.mean, 5)
    expect(part.changes).toHaveLength(600)
    expect(part.correlation[40]).toBeGreaterThan(0.9)
  })
})
