import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { channelWeights, type Loudness, loudnessMeter } from '../../../../src/core/audio/loudness.ts'
import { type Tone, tones } from '../../../support/music.ts'

/** Measures channels in windows of an odd length, as a stream would bring them. */
function measure(sampleRate: number, channels: readonly Float32Array[], window = 5000): Loudness {
  const meter = loudnessMeter(sampleRate, channels.length)
  for (let from = 0; from < channels[0]!.length; from += window) {
    const parts = channels.map(channel => channel.subarray(from, from + window))
    meter.push(parts, parts[0]!.length)
  }
  return meter.finish()
}

const stereo = (rate: number, parts: readonly Tone[]): Loudness => {
  const channel = tones(rate, parts)
  return measure(rate, [channel, channel])
}
/** The bench runs these signals at 48 kHz; at 8 kHz they take a sixth of the time. */
const testRate = 8000
const sine = (level: number, seconds: number): Tone => ({ hz: 1000, seconds, level })

describe('loudness', () => {
  // EBU Tech 3341 (2023), table 1: test signals 1 to 5 with their answers, ±0.1 LU.
  it.each([
    ['1: -23 dBFS', [sine(-23, 20)], -23],
    ['2: -33 dBFS', [sine(-33, 20)], -33],
    ['3: quiet ends', [sine(-36, 10), sine(-23, 60), sine(-36, 10)], -23],
    [
      '4: silence at the ends',
      [sine(-72, 10), sine(-36, 10), sine(-23, 60), sine(-36, 10), sine(-72, 10)],
      -23,
    ],
    ['5: gating', [sine(-26, 20), sine(-20, 20.1), sine(-26, 20)], -23],
  ] as const)('integrated, Tech 3341 signal %s', (_, parts, expected) => {
    expect(Math.abs(stereo(testRate, parts).integrated! - expected)).toBeLessThanOrEqual(0.1)
  })
  it('integrated, Tech 3341 signal 6: 5.0 channels', () => {
    const level = (dB: number) => tones(testRate, [{ hz: 1000, seconds: 20, level: dB }])
    const { integrated } = measure(testRate, [level(-28), level(-28), level(-24), level(-30), level(-30)])
    expect(Math.abs(integrated! + 23)).toBeLessThanOrEqual(0.1)
  })
  it.each([8000, 22_050, 44_100, 96_000, 192_000])('is the same at %i Hz', rate => {
    // K-weighting is 0 dB at 997 Hz by definition: a stereo sine at -18 dBFS is -18 LUFS.
    const channel = tones(rate, [{ hz: 997, seconds: 4, level: -18 }])
    expect(measure(rate, [channel, channel]).integrated).toBeCloseTo(-18, 1)
  })
  // EBU Tech 3342, table 1: signals 1 to 4, ±1 LU.
  it.each([
    ['1', [sine(-20, 20), sine(-30, 20)], 10],
    ['2', [sine(-20, 20), sine(-15, 20)], 5],
    ['3', [sine(-40, 20), sine(-20, 20)], 20],
    ['4', [sine(-50, 20), sine(-35, 20), sine(-20, 20), sine(-35, 20), sine(-50, 20)], 15],
  ] as const)('range, Tech 3342 signal %s', (_, parts, expected) => {
    expect(Math.abs(stereo(testRate, parts).range - expected)).toBeLessThanOrEqual(1)
  })
  // EBU Tech 3341, signals 15 to 19: sines whose samples miss their peaks, +0.2 / -0.4 dB.
  it.each([
    [4, 0, -6],
    [4, 45, -6],
    [6, 60, -6],
    [8, 67.5, -6],
    [4, 45, 3],
  ])('true peak of a sine at a %ith of the rate, %f degrees, %i dBTP', (divisor, degrees, expected) => {
    const part = { hz: 48_000 / divisor, seconds: 1, level: expected, phase: (degrees * Math.PI) / 180 }
    const channel = tones(48_000, [part])
    // A sine that is switched on has a true peak above its own.
    for (let i = 0; i < 2400; i++) {
      channel[i]! *= i / 2400
      channel[channel.length - 1 - i]! *= i / 2400
    }
    const { truePeak } = measure(48_000, [channel])
    expect(truePeak! - expected).toBeLessThanOrEqual(0.2)
    expect(truePeak! - expected).toBeGreaterThanOrEqual(-0.4)
  })
  it('knows silence', () => {
    const { integrated, truePeak, range } = measure(44_100, [new Float32Array(44_100)])
    expect([integrated, truePeak, range]).toEqual([undefined, undefined, 0])
  })
  it('weighs the channels of 5.1', () => {
    expect(channelWeights(6)).toEqual([1, 1, 1, 0, 1.41, 1.41])
  })
  it('does not depend on how the stream is cut', () => {
    const channel = tones(44_100, [sine(-20, 1), sine(-30, 1.3)])
    const whole = measure(44_100, [channel], channel.length)
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30_000 }), window => {
        const cut = measure(44_100, [channel], Math.max(37, window))
        expect(cut.integrated).toBeCloseTo(whole.integrated!, 9)
        expect(cut.truePeak).toBeCloseTo(whole.truePeak!, 9)
      }),
      { numRuns: 10 },
    )
  })
})
