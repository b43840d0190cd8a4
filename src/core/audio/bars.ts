/**
 * Bars of three or four beats: harmony changes and the bass drum sounds where they begin (Goto, "An audio-based
 * real-time beat tracking system for music with or without drum-sounds", J. New Music Research 30(2), 2001).
 */
import { frameRate } from './frontend.ts'
import type { Onsets } from './onsets.ts'

/**
 * Where bars begin.
 * @param harmony change of harmony at each beat, any positive scale.
 * @param first which of each pair of beats comes first, 0 or 1.
 * @param metres beats in a bar that may be answered.
 */
export function findBars(
  onsets: Onsets,
  beats: Float64Array,
  harmony: Float32Array,
  first: number,
  metres: readonly number[] = [3, 4],
): { beatsPerBar: number; firstDownbeat: number; confidence: number } {
  const count = beats.length
  const low = Float32Array.from(beats, time => peakNear(onsets.groups[0]!, time))
  const standard = (values: Float32Array): Float32Array => {
    const mean = values.reduce((a, b) => a + b, 0) / Math.max(1, count)
    const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, count)) || 1
    return values.map(value => Math.max(-2, Math.min(2, (value - mean) / deviation)))
  }
  const a = standard(low)
  const h = standard(harmony)
  const evidence = Float32Array.from(
    beats,
    (_, i) => 1.6 * h[i]! + 0.7 * a[i]! + (i % 2 === first ? 0.3 : -0.3),
  )
  const candidates: { bar: number; offset: number; score: number }[] = []
  for (const bar of metres)
    for (let offset = 0; offset < bar; offset++) {
      let sum = 0
      let n = 0
      for (let i = offset; i < count; i += bar) {
        sum += evidence[i]!
        n++
      }
      const others = (evidence.reduce((x, y) => x + y, 0) - sum) / Math.max(1, count - n)
      // Fewer bars make a chance mean larger; and most music by far counts four.
      candidates.push({
        bar,
        offset,
        score: (sum / Math.max(1, n) - others) * Math.sqrt(n) * (bar === 3 ? 0.75 : 1),
      })
    }
  candidates.sort((x, y) => y.score - x.score)
  const best = candidates[0]!
  const rival = candidates.find(other => other.bar === best.bar && other !== best)!
  return {
    beatsPerBar: best.bar,
    firstDownbeat: best.offset,
    confidence: Math.max(0, Math.min(1, (best.score - rival.score) / (Math.abs(best.score) + 1))),
  }
}

/** Highest value within 40 ms of a time in seconds. */
export function peakNear(envelope: Float32Array, time: number): number {
  const t = Math.round(time * frameRate)
  let peak = 0
  for (let k = -4; k <= 4; k++) peak = Math.max(peak, envelope[t + k] ?? 0)
  return peak
}
