import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PitchContent } from '../../../../src/core/audio/chroma.ts'
import { realFft } from '../../../../src/core/audio/fft.ts'
import { camelotOf, estimateKey, keyFeatureCount, keyFeatures } from '../../../../src/core/audio/key.ts'
import { keyTemplates } from '../../../../src/core/audio/key-weights.ts'
import { channelWeights, type Loudness, loudnessMeter } from '../../../../src/core/audio/loudness.ts'
import { largestSample, soundGate } from '../../../../src/core/audio/soundness.ts'
import { waveformBuilder } from '../../../../src/core/audio/waveform.ts'
import { type Tone, tones } from '../../../support/music.ts'

describe('realFft', () => {
  it('agrees with the definition of the transform', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 8 }).map(bits => 2 ** bits),
        fc.infiniteStream(fc.float({ min: -1, max: 1, noNaN: true })),
        (size, stream) => {
          const frame = Float32Array.from({ length: size }, () => stream.next().value as number)
          const power = new Float32Array(size / 2 + 1)
          realFft(size).power(frame, power)
          for (let bin = 0; bin <= size / 2; bin++) {
            let re = 0
            let im = 0
            for (let i = 0; i < size; i++) {
              re += frame[i]! * Math.cos((2 * Math.PI * bin * i) / size)
              im -= frame[i]! * Math.sin((2 * Math.PI * bin * i) / size)
            }
            expect(power[bin]).toBeCloseTo(re * re + im * im, 2)
          }
        },
      ),
      { numRuns: 30 },
    )
  })
  it('refuses sizes that are not powers of two', () => {
    expect(() => realFft(1000)).toThrow(RangeError)
    expect(() => realFft(4)).toThrow(RangeError)
  })
})

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

describe('soundGate', () => {
  const BAD = [Number.NaN, Infinity, -Infinity, 4.01, -1e9]
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
        fc.array(fc.tuple(fc.nat(19_999), fc.nat(1), fc.constantFrom(...BAD)), { maxLength: 6 }),
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

describe('camelotOf', () => {
  it.each([
    [0, '8B'],
    [7, '9B'],
    [2, '10B'],
    [9, '11B'],
    [4, '12B'],
    [11, '1B'],
    [6, '2B'],
    [1, '3B'],
    [8, '4B'],
    [3, '5B'],
    [10, '6B'],
    [5, '7B'],
    [21, '8A'],
    [16, '9A'],
    [23, '10A'],
    [18, '11A'],
    [13, '12A'],
    [20, '1A'],
    [15, '2A'],
    [22, '3A'],
    [17, '4A'],
    [12, '5A'],
    [19, '6A'],
    [14, '7A'],
  ])('key %i is %s', (key, code) => expect(camelotOf(key)).toBe(code))
})

describe('estimateKey', () => {
  const share = fc.float({ min: 0, max: 1, noNaN: true })
  const classes = fc.array(share, { minLength: 12, maxLength: 12 })
  const triads = fc.array(share, { minLength: 24, maxLength: 24 })
  const heard = fc
    .record({
      bass: classes,
      treble: classes,
      triads,
      opening: triads,
      moves: fc.array(share, { minLength: 576, maxLength: 576 }),
    })
    .map(({ bass, treble, triads, opening, moves }): PitchContent => {
      const normal = (values: number[]): Float32Array => {
        const sum = values.reduce((a, b) => a + b, 0) || 1
        return Float32Array.from(values, value => value / sum)
      }
      return {
        bass: normal(bass),
        treble: normal(treble),
        triads: normal(triads),
        opening: normal(opening),
        moves: normal(moves),
        tonal: true,
      }
    })
  const NAMES = ['C', 'C#', 'D', 'D#', 'E', 'F', 'F#', 'G', 'G#', 'A', 'A#', 'B']
  /** The same music so many semitones higher. */
  const transposed = (music: PitchContent, up: number): PitchContent => {
    const move = (values: Float32Array): Float32Array =>
      values.map((_, i) => values[Math.floor(i / 12) * 12 + (((i % 12) - up + 12) % 12)]!)
    const from = (triad: number): number => Math.floor(triad / 12) * 12 + (((triad % 12) - up + 12) % 12)
    return {
      ...music,
      bass: move(music.bass),
      treble: move(music.treble),
      triads: move(music.triads),
      opening: move(music.opening),
      moves: music.moves.map((_, i) => music.moves[from(Math.floor(i / 24)) * 24 + from(i % 24)]!),
    }
  }
  it('goes up with the music', () => {
    fc.assert(
      fc.property(heard, fc.nat(11), (music, up) => {
        const [one, two] = [music, transposed(music, up)].map(
          tonality => estimateKey(tonality, keyTemplates)!,
        )
        const minor = one!.key.endsWith('m') ? 'm' : ''
        expect(two!.key).toBe(NAMES[(NAMES.indexOf(one!.key.replace('m', '')) + up) % 12]! + minor)
        expect(two!.confidence).toBeCloseTo(one!.confidence, 6)
        expect(one!.confidence).toBeGreaterThan(0)
        expect(one!.confidence).toBeLessThanOrEqual(1)
      }),
      { numRuns: 30 },
    )
  })
  it('of two keys about as likely takes the one whose relatives are likely too', () => {
    // Templates that score a key by its tonic in the bass alone.
    const row = Array.from({ length: keyFeatureCount }, (_, i) => (i === 0 ? 1 : 0))
    const templates = { weights: [row, row.map(() => 0)], bias: [0, -20] } as const
    const bass = new Float32Array(12)
    // F# is a little likelier than C, but F and G, a fifth from C, are likely too.
    for (const [pitchClass, score] of [
      [0, 3],
      [6, 3.1],
      [5, 2.5],
      [7, 2.5],
    ] as const)
      bass[pitchClass] = score ** 2
    const silent = new Float32Array(24)
    const tonality: PitchContent = {
      bass,
      treble: new Float32Array(12),
      triads: silent,
      opening: silent,
      moves: new Float32Array(576),
      tonal: true,
    }
    expect(keyFeatures(tonality)[6 * keyFeatureCount]).toBeCloseTo(3.1, 2)
    expect(estimateKey(tonality, templates)!.key).toBe('C')
  })
  it('knows no key where nothing has a pitch', () => {
    expect(estimateKey({ tonal: false } as PitchContent, keyTemplates)).toBeUndefined()
  })
})

describe('waveformBuilder', () => {
  it('gives a thousand points of low, high and root mean square', () => {
    const builder = waveformBuilder(8000)
    const half = new Float32Array(80_000).fill(0.5)
    const negative = new Float32Array(80_000).fill(-1)
    builder.push(half, half.length)
    builder.push(negative, negative.length)
    const { points, bytes } = builder.finish()
    expect(points).toBe(1000)
    expect([...bytes.subarray(0, 3)]).toEqual([0, 64, 128])
    expect([...bytes.subarray(2997)]).toEqual([128, 0, 255])
  })
  it('has fewer points than a thousand for less than ten seconds, none for nothing', () => {
    const builder = waveformBuilder(8000)
    expect(builder.finish()).toEqual({ points: 0, bytes: new Uint8Array(0) })
    builder.push(new Float32Array(100), 100)
    expect(builder.finish().points).toBe(2)
  })
})
