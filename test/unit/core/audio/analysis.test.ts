import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type TrackAnalysis, trackAnalyzer } from '../../../../src/core/audio/analysis.ts'
import { tempoHypotheses } from '../../../../src/core/audio/tempo.ts'
import { type MusicOptions, music, tones } from '../../../support/music.ts'

const testRate = 16_000

function analyze(
  channels: readonly Float32Array[],
  sampleRate = testRate,
  hints?: Parameters<ReturnType<typeof trackAnalyzer>['finish']>[0],
): TrackAnalysis {
  const analyzer = trackAnalyzer(sampleRate, channels.length)
  for (let from = 0; from < channels[0]!.length; from += 7000) {
    const parts = channels.map(channel => channel.subarray(from, from + 7000))
    analyzer.push(parts, parts[0]!.length)
  }
  return analyzer.finish(hints)
}

const song = (options: Partial<MusicOptions>): MusicOptions => ({
  sampleRate: testRate,
  seconds: 16,
  bpm: 120,
  chords: ['C', 'F', 'G', 'C'],
  ...options,
})

describe('tempo and beats', () => {
  it.each([82, 100, 120, 127.3, 140, 155])('finds %f beats per minute and an even grid', bpm => {
    const found = analyze([music(song({ bpm, start: 0.3, seconds: 20 }))])
    expect(Math.abs(found.bpm! - bpm)).toBeLessThan(0.1)
    expect(found.constantTempo).toBe(true)
    expect(found.tempoChanges).toEqual([])
    // The grid runs on before the first beat; it must pass through it.
    const period = 60 / bpm
    const offsets = found.beatTimestamps.map(time => {
      const beats = (time - 0.3) / period
      return Math.abs(beats - Math.round(beats)) * period
    })
    expect(Math.max(...offsets)).toBeLessThan(0.02)
    expect(found.beatIntervals).toHaveLength(found.beatTimestamps.length - 1)
    expect(found.beatConfidenceScores).toHaveLength(found.beatTimestamps.length)
    expect(found.averageBeatInterval).toBeCloseTo(period, 3)
  })
  it('says where a bar begins', () => {
    const { firstDownbeat, beatsPerBar } = analyze([music(song({ start: 0.4, seconds: 20 }))])
    expect(beatsPerBar).toBe(4)
    const bars = (firstDownbeat! - 0.4) / 2
    expect(Math.abs(bars - Math.round(bars))).toBeLessThan(0.02)
  })
  it.each([
    [100, 125],
    [120, 140],
    [140, 120],
    [90, 100],
    [128, 150],
  ])('notes where %i beats per minute become %i', (before, after) => {
    const bars = Math.round((20 * before) / 240)
    const first = music(song({ bpm: before, seconds: (bars * 240) / before }))
    const second = music(song({ bpm: after, seconds: 24 }))
    const both = new Float32Array(first.length + second.length)
    both.set(first)
    both.set(second, first.length)
    const found = analyze([both])
    expect(found.constantTempo).toBe(false)
    expect(found.tempoChanges).toHaveLength(1)
    const [change] = found.tempoChanges
    expect(Math.abs(change!.at - first.length / testRate)).toBeLessThan(60 / before)
    expect(Math.abs(change!.bpm / after - 1)).toBeLessThan(0.01)
    // The tempo of the track is the one that lasts longer.
    expect(Math.abs(found.bpm! / after - 1)).toBeLessThan(0.01)
    // And the beats keep time on both sides.
    const near = (from: number, to: number, bpm: number): number[] =>
      found.beatIntervals.filter((gap, i) => {
        const time = found.beatTimestamps[i]!
        return time > from && time < to && Math.abs((gap * bpm) / 60 - 1) > 0.08
      })
    expect(near(2, first.length / testRate - 2, before)).toEqual([])
    expect(near(first.length / testRate + 2, both.length / testRate - 2, after)).toEqual([])
  })
  it.each([
    [6, 0.8],
    [-10, 0.75],
    [25, 0.8],
  ])(
    'an outro faster by %i in a hundred is mixed on its own bar lines (from %f of the track on)',
    (per, share) => {
      const [bpm, after] = [120, 120 * (1 + per / 100)]
      const bars = Math.round((72 * share * bpm) / 240)
      const first = music(song({ bpm, seconds: (bars * 240) / bpm }))
      const second = music(song({ bpm: after, seconds: 72 * (1 - share) }))
      const both = new Float32Array(first.length + second.length)
      both.set(first)
      both.set(second, first.length)
      const found = analyze([both])
      const change = first.length / testRate
      expect(found.constantTempo).toBe(false)
      expect(found.tempoParts).toHaveLength(2)
      expect(found.tempoParts[0]).toMatchObject({ start: 0, constant: true })
      expect(found.tempoParts[1]).toMatchObject({ end: found.duration, constant: true })
      expect(found.tempoParts[1]!.start).toBe(found.tempoChanges[0]!.at)
      expect(found.bpm).toBeCloseTo(bpm, 1)
      const bar = 240 / after
      const late = [found.mixOutPoint, ...found.downbeats].filter(time => time > change + 0.5)
      expect(late.length).toBeGreaterThan(2)
      for (const time of late) {
        const passed = (time - change) / bar
        expect(Math.abs(passed - Math.round(passed)) * bar).toBeLessThan(0.04)
      }
      expect(found.downbeats).toContain(found.mixOutPoint)
    },
  )
  it.each([117, 121.3])('writes %f beats per minute without digits that mean nothing', bpm => {
    const { bpm: found } = analyze([music(song({ bpm, seconds: 20 }))])
    expect(found).toBe(Number(found!.toFixed(4)))
    expect(Math.abs(found! - bpm)).toBeLessThan(0.1)
  })
  it('lets a tempo tag and a range decide the octave', () => {
    const sound = [music(song({ bpm: 87, seconds: 20 }))]
    expect(analyze(sound, testRate, { bpmRange: [140, 200] }).bpm).toBeCloseTo(174, 0)
    expect(analyze(sound, testRate, { tagBpm: 87 }).bpm).toBeCloseTo(87, 0)
  })
  it.each([
    [120, [200, 300], 240],
    [120, [60, 80], 60],
    [174, [60, 80], 174],
    [100, [120, 180], 100],
    [87, [130, 139], 87],
    [174, [200, 300], 174],
  ] as const)(
    '%i a minute, where %j is expected, is %i: no fraction of it that happens to lie there',
    (bpm, bpmRange, answer) => {
      const found = analyze([music(song({ bpm, seconds: 30 }))], testRate, { bpmRange })
      expect(found.bpm).toBeCloseTo(answer, 0)
    },
  )
  it('keeps the parts of a track that no range fits, and is as sure of the tempo it tells as of that one', () => {
    const parts = [100, 130, 160].map(bpm => music(song({ bpm, seconds: 25 })))
    const all = Float32Array.from(parts.flatMap(part => [...part]))
    const found = analyze([all], testRate, { bpmRange: [100, 150] })
    expect(found.tempoParts.map(({ bpm }) => Math.round(bpm))).toEqual([100, 130, 160])
    const alone = analyze([parts[2]!])
    expect(found.bpm).toBeCloseTo(160, 0)
    expect(alone.bpm).toBeCloseTo(160, 0)
    expect(found.bpmConfidence).toBeCloseTo(alone.bpmConfidence, 1)
    expect(found.bpmAlternatives.map(({ bpm }) => Math.round(bpm))).not.toContain(160)
  })
  it('is not led astray by a tag that fits no pulse', () => {
    expect(analyze([music(song({ bpm: 120, seconds: 20 }))], testRate, { tagBpm: 133 }).bpm).toBeCloseTo(
      120,
      0,
    )
  })
  it('only offers tempi between 45 and 300, 2.5 % apart', () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.float({ min: -1, max: 1, noNaN: true })), stream => {
        const correlation = Float32Array.from({ length: 801 }, () => stream.next().value as number)
        const tempi = tempoHypotheses(correlation)
        expect(tempi.every(bpm => bpm >= 45 && bpm <= 300)).toBe(true)
        for (const [i, a] of tempi.entries())
          for (const b of tempi.slice(i + 1)) expect(Math.abs(Math.log(a / b))).toBeGreaterThan(0.025)
      }),
      { numRuns: 20 },
    )
  })
})

describe('key', () => {
  it.each([
    ['C', ['C', 'F', 'G', 'C']],
    ['A', ['A', 'D', 'E', 'A']],
    ['D#', ['D#', 'G#', 'A#', 'D#']],
    ['Am', ['Am', 'Dm', 'Em', 'Am']],
    ['F#m', ['F#m', 'Bm', 'C#m', 'F#m']],
  ])('hears %s', (key, chords) => {
    const found = analyze([music(song({ chords, bpm: 132 }))])
    expect(found.key).toBe(key)
    expect(found.keyConfidence).toBeGreaterThan(0.3)
  })
  it('is the same a few cents off', () => {
    const inTune = music(song({ sampleRate: 16_000, chords: ['C', 'F', 'G', 'C'] }))
    // Played at another rate: 30 cents sharp.
    const found = analyze([inTune], 16_280)
    expect(found.key).toBe('C')
    expect(found.tuning).toBeGreaterThan(20)
    expect(found.tuning).toBeLessThan(40)
  })
})

describe('form', () => {
  it('finds a quiet introduction and outro, on bar lines', () => {
    const whole = music(song({ bpm: 120, seconds: 48 }))
    // 8 bars of 2 s at a tenth of the level, 12 in full, 4 quiet ones.
    for (let i = 0; i < whole.length; i++) if (i < 16 * testRate || i >= 40 * testRate) whole[i]! *= 0.1
    const found = analyze([whole])
    expect(found.introEnd).toBeCloseTo(16, 0)
    expect(found.outroStart).toBeCloseTo(40, 0)
    expect(found.introEnergy).toBeLessThan(0.5)
    expect(found.mixOutPoint).toBeCloseTo(40, 0)
    expect(found.sections.map(({ kind }) => kind)).toEqual(['intro', 'body', 'outro'])
    expect(found.mixableSections.length).toBeGreaterThan(0)
    expect(found.energyProfile.every(({ energy }) => energy >= 0 && energy <= 1)).toBe(true)
  })
})

describe('what is hardly music', () => {
  it.each([
    ['silence', new Float32Array(5 * testRate)],
    ['a single sample', new Float32Array(1)],
    ['nothing', new Float32Array(0)],
    ['half a second of a tone', tones(testRate, [{ hz: 440, seconds: 0.5, level: -10 }])],
    ['one second of a tone', tones(testRate, [{ hz: 440, seconds: 1, level: -10 }])],
    ['ten seconds of a tone', tones(testRate, [{ hz: 440, seconds: 10, level: -10 }])],
  ])('%s gets an analysis all of whose numbers are numbers', (_, samples) => {
    const found = analyze([samples])
    expect(found.duration).toBeCloseTo(samples.length / testRate, 6)
    JSON.stringify(found, (name, value) => {
      if (typeof value === 'number') expect(Number.isFinite(value), name).toBe(true)
      return value
    })
    for (const share of [
      found.energy,
      found.danceability,
      found.introEnergy,
      found.outroEnergy,
      found.keyConfidence,
    ]) {
      expect(share).toBeGreaterThanOrEqual(0)
      expect(share).toBeLessThanOrEqual(1)
    }
  })
  it('silence has no tempo, key or loudness', () => {
    const { bpm, key, loudness, truePeak, beatTimestamps } = analyze([new Float32Array(5 * testRate)])
    expect([bpm, key, loudness, truePeak, beatTimestamps]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      [],
    ])
  })
  it.each([3, 20])('a tone of %i seconds ripples, and has no pulse nor a key to be sure of', seconds => {
    const { bpm, beatTimestamps, keyConfidence } = analyze([
      tones(testRate, [{ hz: 440, seconds, level: -10 }]),
    ])
    expect(bpm).toBeUndefined()
    expect(beatTimestamps).toEqual([])
    expect(keyConfidence).toBeLessThan(0.3)
  })
  it('music 40 dB quieter has the same tempo', () => {
    const quiet = analyze([music(song({})).map(value => value / 100)])
    expect(Math.abs(quiet.bpm! - 120)).toBeLessThan(0.1)
  })
  it.each([8000, 11_025, 32_000, 48_000, 96_000, 192_000])('takes %i Hz', rate => {
    const found = analyze([music(song({ sampleRate: rate, seconds: 8, bpm: 125 }))], rate)
    expect(Math.abs(found.bpm! - 125)).toBeLessThan(1)
  })
  it('does not depend on how long the file said it was', () => {
    const sound = music(song({}))
    const of = (expected: number | undefined) => {
      const analyzer = trackAnalyzer(testRate, 1, expected)
      for (let from = 0; from < sound.length; from += 7000)
        analyzer.push([sound.subarray(from, from + 7000)], Math.min(7000, sound.length - from))
      return analyzer.finish()
    }
    const known = of(undefined)
    for (const expected of [0, 0.1, 3, 16, 4000]) expect(of(expected)).toEqual(known)
  })
  it('takes six channels and one alike, but for loudness', () => {
    const one = music(song({ seconds: 8 }))
    const silent = new Float32Array(one.length)
    const six = analyze([one, one, one, silent, one, one])
    expect(six.bpm).toBe(analyze([one]).bpm)
    expect(() => trackAnalyzer(1000, 2)).toThrow(RangeError)
    expect(() => trackAnalyzer(44_100, 0)).toThrow(RangeError)
  })
})
