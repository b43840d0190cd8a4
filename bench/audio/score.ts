/** The measures of the field. */
import { pitchClasses } from '../../src/core/audio/key.ts'

/** Gouyon et al., "An experimental comparison of audio tempo induction algorithms", IEEE TASLP 14(5), 2006: 4 %. */
export const tempoA1 = (estimate: number, truth: number): boolean => Math.abs(estimate / truth - 1) <= 0.04

/** The same, allowing factors of 2 and 3. */
export const tempoA2 = (estimate: number, truth: number): boolean =>
  [1, 2, 3, 1 / 2, 1 / 3].some(factor => tempoA1(estimate, truth * factor))

/** Within 0.1 beats per minute after the octave (a factor of 2 or 3) is put right. */
export const tempoExact = (estimate: number, truth: number): boolean =>
  [1, 2, 3, 1 / 2, 1 / 3].some(factor => Math.abs(estimate / factor - truth) <= 0.1)

/**
 * Beat F-measure with a tolerance of 70 ms, without the first five seconds (Davies, Degara and Plumbley, "Evaluation
 * methods for musical audio beat tracking algorithms", 2009; defaults of mir_eval).
 */
export function beatF(estimated: readonly number[], truth: readonly number[], tolerance = 0.07): number {
  const a = estimated.filter(time => time >= 5)
  const b = truth.filter(time => time >= 5)
  if (a.length === 0 || b.length === 0) return 0
  // Both ascend, so the greedy matching is a largest one.
  let hits = 0
  let i = 0
  for (const time of b) {
    while (i < a.length && a[i]! < time - tolerance) i++
    if (i < a.length && a[i]! <= time + tolerance) {
      hits++
      i++
    }
  }
  return (2 * hits) / (a.length + b.length)
}

const parse = (key: string): [tonic: number, minor: boolean] => {
  const minor = key.endsWith('m')
  return [pitchClasses.indexOf((minor ? key.slice(0, -1) : key) as (typeof pitchClasses)[number]), minor]
}

/** MIREX audio key detection: 1 exact, 0.5 a fifth apart, 0.3 relative, 0.2 parallel. */
export function mirexScore(estimate: string, truth: string): number {
  const [a, aMinor] = parse(estimate)
  const [b, bMinor] = parse(truth)
  if (aMinor === bMinor) {
    if (a === b) return 1
    const apart = (a - b + 12) % 12
    return apart === 5 || apart === 7 ? 0.5 : 0
  }
  if (a === b) return 0.2
  const [major, minor] = aMinor ? [b, a] : [a, b]
  return (minor - major + 12) % 12 === 9 ? 0.3 : 0
}
