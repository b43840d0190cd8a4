import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { largestSample, soundGate } from '../../../../src/core/audio/soundness.ts'

describe('soundGate', () => {
  const bad = [Number.NaN, Infinity, -Infinity, 4.01, -1e9]
  it('leaves sound alone, up to 12.04 dB above full scale', () => {
    const channel = Float32Array.from([0, 1, -1, 3.99, -largestSample, largestSample])
    const gate = soundGate()
    gate.pass([channel, channel], channel.length)
    expect([...channel]).toEqual([0, 1, -1, Math.fround(3.99), -4, 4])
    expect(gate.silenced()).toBe(0)
  })
  it('lets nothing bad through, silences all channels alike, and nothing further off than a frame', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(19_999), fc.nat(1), fc.constantFrom(...bad)), { maxLength: 6 }),
        fc.integer({ min: 100, max: 20_000 }),
        (spots, window) => {
          const channels = [new Float32Array(20_000).fill(0.5), new Float32Array(20_000).fill(-0.25)]
          for (const [at, channel, value] of spots) channels[channel]![at] = value
          const gate = soundGate()
          for (let from = 0; from < 20_000; from += window) {
            const parts = channels.map(channel => channel.subarray(from, from + window))
            gate.pass(parts, parts[0]!.length)
          }
          const [left, right] = channels as [Float32Array, Float32Array]
          const wrong = left.findIndex((value, i) => {
            const near = spots.some(([at]) => Math.abs(i - at) <= 1152)
            const after = spots.some(([at]) => i >= at && i < at + 1152)
            const expected = after ? value === 0 : near ? value === 0 || value === 0.5 : value === 0.5
            return !expected || right[i]! + value * 0.5 !== 0
          })
          expect(wrong).toBe(-1)
          const zeros = left.reduce((sum, value) => sum + Number(value === 0), 0)
          expect(gate.silenced()).toBe(zeros)
        },
      ),
      { numRuns: 40 },
    )
  })
})
