import { describe, expect, test } from 'vitest'
import { frameRate } from '../../../../src/core/audio/frontend.ts'
import { featureCount, gatherEvidence, sliceEvidence } from '../../../../src/core/audio/metre.ts'
import type { Network } from '../../../../src/core/audio/network.ts'
import { groupCount } from '../../../../src/core/audio/onsets.ts'
import { choosePhase, readings } from '../../../../src/core/audio/readings.ts'

/** Likes every reading as much as any other. */
const indifferent: Network = {
  hidden: 1,
  input: new Float32Array(featureCount),
  bias: new Float32Array(1),
  output: new Float32Array(1),
}

/** So many onsets a minute, all alike, for half a minute from `start` on. */
function ticking(bpm: number, start = 0) {
  const frames = 30 * frameRate
  const novelty = new Float32Array(frames)
  for (let time = start; time < 30; time += 60 / bpm) novelty[Math.round(time * frameRate)] = 40
  const groups = Array.from({ length: groupCount }, () => novelty)
  const shares = groups.map(() => 1 / groupCount)
  return gatherEvidence({ frames, groups, novelty, shares }, () => 0)
}

test.each([
  [60, 120],
  [75, 150],
  [100, 100],
  [200, 100],
  [240, 120],
])(
  'of %i onsets a minute, all alike, half and double, %i are the beat: what is nearest to 120',
  (onsets, beats) => {
    const heard = readings(ticking(onsets), indifferent, {})
    const first = heard.find(
      ({ bpm }) => Math.abs(Math.round(Math.log2(bpm / beats)) - Math.log2(bpm / beats)) < 0.02,
    )
    expect(Math.abs(first!.bpm / beats - 1)).toBeLessThan(0.01)
  },
)

test('an octave away from 120 a minute is e times less likely', () => {
  const heard = readings(ticking(240), indifferent, {})
  const of = (bpm: number) => heard.find(other => Math.abs(other.bpm / bpm - 1) < 0.01)!.probability
  // All but the doubt of octaves, of which each gets a share of its neighbours.
  expect(of(120) / of(240)).toBeGreaterThan(2.5)
  expect(of(120) / of(240)).toBeLessThan(2.8)
})

/** Its share, 0 if it is none. */
const shareOf = (heard: ReturnType<typeof readings>, bpm: number): number =>
  heard.find(other => Math.abs(other.bpm / bpm - 1) < 0.01)?.probability ?? 0

test.each([
  [240, 160],
  [120, 160],
])('a tag is believed by 30 to 1, however fast it is: %i', (tagBpm, other) => {
  // What people prefer is held against the others alone.
  const bare = (bpm: number): number => Math.exp(-(Math.log2(bpm / 120) ** 2))
  const heard = readings(ticking(240), indifferent, { tagBpm })
  const odds = (shareOf(heard, tagBpm) / shareOf(heard, other)) * bare(other)
  expect(odds).toBeGreaterThan(25)
  expect(odds).toBeLessThan(35)
})

test('what the row had only breaks ties', () => {
  const odds = (heard: ReturnType<typeof readings>): number => shareOf(heard, 160) / shareOf(heard, 240)
  const bare = odds(readings(ticking(240), indifferent, {}))
  const withRow = odds(readings(ticking(240), indifferent, { rowBpm: 160 }))
  expect(withRow / bare).toBeGreaterThan(1.02)
  expect(withRow / bare).toBeLessThan(1.08)
})

describe('a range', () => {
  test.each([
    ['from below', 120, [45, 90], 60],
    ['from above', 120, [200, 300], 240],
    ['two of them away', 200, [45, 60], 50],
    ['three of them away', 240, [30, 35], 30],
    ['a hundredth beyond its lower end', 120, [60.5, 90], 60],
    ['a hundredth beyond its upper end', 120, [200, 238], 240],
  ] as const)(
    'gets the octave of what is heard, %s, and no other pulse that lies inside',
    (_, bpm, bpmRange, answer) => {
      const [first] = readings(ticking(bpm), indifferent, { bpmRange })
      expect(first!.bpm / answer).toBeCloseTo(1, 2)
    },
  )
  test('leaves what has no octave inside, against odds of 30 to 1', () => {
    const bare = readings(ticking(120), indifferent, {})
    const heard = readings(ticking(120), indifferent, { bpmRange: [150, 170] })
    const inside = shareOf(bare, 160) + shareOf(bare, 80)
    expect(inside).toBeGreaterThan(0)
    const odds = shareOf(heard, 160) / shareOf(heard, 120) / (inside / shareOf(bare, 120))
    expect(odds).toBeGreaterThan(25)
    expect(odds).toBeLessThan(35)
  })
  test('makes shares of one, likeliest first', () => {
    const heard = readings(ticking(120), indifferent, { bpmRange: [45, 90] })
    const shares = heard.map(({ probability }) => probability)
    expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6)
    expect(shares).toEqual([...shares].sort((a, b) => b - a))
    expect(new Set(heard.map(({ bpm }) => bpm)).size).toBe(heard.length)
  })
})

test('300 a minute is heard at all', () => {
  const heard = readings(ticking(300), indifferent, {})
  expect(heard.some(({ bpm }) => Math.abs(bpm / 300 - 1) < 0.01)).toBe(true)
})

describe('a file that begins with its music begins on a beat', () => {
  /** Two a second, a quarter of a second after the onsets. */
  const between = Float64Array.from({ length: 56 }, (_, i) => 0.75 + i / 2)
  const half = 6
  test.each([0, 0.05, 0.09])('where the first onset is at %f s', start => {
    const beats = between.map(time => time + start)
    const found = choosePhase(ticking(120, start), indifferent, beats, 120)
    expect(found.shift).toBe(half)
    // e to one for each of the other five phases.
    expect(found.phaseConfidence).toBeCloseTo(Math.E / (Math.E + 5), 1)
  })
  test('and a quarter of a beat is put right the way it lies', () => {
    // The onsets are an eighth of a second before each beat: three quarters after the one before.
    const late = between.map(time => time - 1 / 8)
    expect(choosePhase(ticking(120), indifferent, late, 120).shift).toBe(9)
  })
  const undecided = 1 / 6
  test('but not where the music begins later', () => {
    const { phaseConfidence } = choosePhase(ticking(120, 0.1), indifferent, between, 120)
    expect(phaseConfidence).toBeCloseTo(undecided, 6)
  })
  test('nor where it begins softly', () => {
    const { onsets } = ticking(120)
    const novelty = onsets.novelty.map((value, t) => (t === 0 ? 3.9 : value))
    const soft = gatherEvidence({ ...onsets, novelty }, () => 0)
    expect(choosePhase(soft, indifferent, between, 120).phaseConfidence).toBeCloseTo(undecided, 6)
  })
  /** The first onset at 0.08 s, and so much at frame `t` before it, in group `g`. */
  const sounding = (g: number, t: number, strength: number) => {
    const { onsets } = ticking(120, 0.08)
    const heard = onsets.novelty.map((value, frame) => (frame === t ? strength : value))
    return gatherEvidence({ ...onsets, groups: onsets.groups.with(g, heard) }, () => 0)
  }
  const late = between.map(time => time + 0.08)
  const begins = Math.E / (Math.E + 5)
  test.each([
    ['cut from within where anything rises before: low', 0, 5, 0.6, undecided],
    ['cut from within where anything rises before: high', groupCount - 1, 2, 0.6, undecided],
    ['the beginning where next to nothing does', 0, 5, 0.4, begins],
    ['the beginning where only its own rise does', 0, 6, 0.6, begins],
  ])('a sharp onset at 0.08 s is %s (group %i, frame %i)', (_, g, t, strength, confidence) => {
    const found = choosePhase(sounding(g, t, strength), indifferent, late, 120)
    expect(found.phaseConfidence).toBeCloseTo(confidence, 1)
  })
  test('nor for a part from within it', () => {
    const part = sliceEvidence(ticking(120), 50, 3000)
    expect(choosePhase(part, indifferent, between, 120).phaseConfidence).toBeCloseTo(undecided, 6)
    const first = sliceEvidence(ticking(120), 0, 1500)
    expect(choosePhase(first, indifferent, between, 120).shift).toBe(half)
  })
})
