import { describe, expect, test } from 'vitest'
import { roundBeginnings } from '../../../../src/core/audio/rounds.ts'

const rate = 5

/** Chroma in which a pitch class sounds for `seconds` each, from the `from`th row on. */
function sounding(classes: readonly number[], seconds: number, from = 0) {
  const rows = classes.length * seconds * rate - from
  const chroma = new Float32Array(12 * rows)
  for (let t = 0; t < rows; t++) chroma[12 * t + classes[Math.floor((t + from) / (seconds * rate))]!] = 1
  return {
    chroma,
    weights: new Float32Array(rows).fill(1),
    rowOf: Int32Array.from({ length: rows }, (_, t) => t),
  }
}

const round = [9, 5, 0, 7]
const rounds = Array.from({ length: 6 }, () => round).flat()

/** How much of the beginnings each pitch class has. */
function byClass({ chroma, ...rest }: ReturnType<typeof sounding>): number[] {
  const shares = new Array<number>(12).fill(0)
  for (const [t, share] of roundBeginnings({ chroma, ...rest }, rate).entries())
    for (let c = 0; c < 12; c++) shares[c]! += share * chroma[12 * t + c]!
  return shares
}

const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0)

describe('roundBeginnings', () => {
  test.each([
    ['four chords of two seconds', sounding(rounds, 2), 9],
    ['begun with the second of them', sounding(rounds, 2, 2 * rate), 5],
    ['begun a fifth of a second late', sounding(rounds, 2, 1), 9],
    ['three chords of three seconds', sounding(Array.from({ length: 6 }, () => [2, 7, 9]).flat(), 3), 2],
  ])('%s', (_, heard, first) => {
    const shares = byClass(heard)
    expect(sum(shares)).toBeGreaterThan(0.98)
    expect(shares[first]).toBeGreaterThan(0.8)
  })

  test('every round has its beginning', () => {
    const shares = roundBeginnings(sounding(rounds, 2), rate)
    for (const start of [0, 8, 16, 24, 32, 40])
      expect(sum(shares.subarray(start * rate, (start + 2) * rate))).toBeGreaterThan(0.03)
  })

  test('what comes after two minutes is not counted', () => {
    const shares = roundBeginnings(sounding(Array.from({ length: 20 }, () => round).flat(), 2), rate)
    expect(sum(shares.subarray(120 * rate))).toBe(0)
    expect(sum(shares)).toBeGreaterThan(0.98)
  })

  test.each([
    ['nothing', sounding([], 1)],
    ['one row', sounding([0], 1, rate - 1)],
    ['a tone that never changes', sounding([0], 60)],
    ['chords that never come back', sounding([0, 7, 2, 9, 4, 11, 6, 1, 8, 3, 10, 5], 5)],
  ])('%s does not come round', (_, heard) => {
    expect(sum(roundBeginnings(heard, rate))).toBeLessThan(0.15)
  })
})
