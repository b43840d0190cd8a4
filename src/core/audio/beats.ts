/**
 * Beat tracking by dynamic programming (Ellis, "Beat tracking by dynamic programming", J. New Music Research 36(1),
 * 2007): the path of beats that gathers the most onset strength while its periods stay near a tempo.
 */
import { frameRate } from './frontend.ts'

/** Frames whose scores are kept, at least half of them behind the present one: enough for tempi from 4 a minute up. */
const scores = 4096

/**
 * Beat times in seconds for a tempo in beats per minute, one number or one for each frame.
 * @param strength onset envelope, frames at frameRate, mean 1.
 * @param tightness how strongly periods other than the tempo's are punished; 100 holds a steady tempo, 30 follows
 * a drift of some per cent.
 */
export function trackBeats(
  strength: Float32Array,
  tempo: number | Float32Array,
  tightness: number,
): Float64Array {
  const frames = strength.length
  const periodAt = (t: number): number => (60 * frameRate) / (typeof tempo === 'number' ? tempo : tempo[t]!)
  const reach = (period: number): number => Math.round(period * 1.34)
  if (frames === 0 || frames < reach(periodAt(0)) + 2) return new Float64Array(0)
  let period = 0
  let shortest = 0
  let longest = 0
  let penalty = new Float64Array(0)
  // Of the last frames, `origin` being the first of them.
  const score = new Float64Array(scores)
  let origin = 0
  /** Frames back to the beat before, 0 if a path begins. */
  const steps = new Uint16Array(frames)
  for (let t = 0; t < frames; t++) {
    if (periodAt(t) !== period) {
      period = periodAt(t)
      shortest = Math.max(2, Math.round(period * 0.75))
      longest = reach(period)
      penalty = Float64Array.from(
        { length: longest + 1 },
        (_, lag) => tightness * Math.log(lag / period) ** 2,
      )
    }
    if (t - origin === scores) {
      score.copyWithin(0, scores / 2)
      origin += scores / 2
    }
    const now = t - origin
    let best = -Infinity
    let step = 0
    const limit = Math.min(longest, t)
    for (let lag = shortest; lag <= limit; lag++) {
      const value = score[now - lag]! - penalty[lag]!
      if (value > best) {
        best = value
        step = lag
      }
    }
    // Onsets are rarely on the frame: smoothed over their neighbours, a path need not hit them.
    const own = (strength[t]! * 2 + (strength[t - 1] ?? 0) + (strength[t + 1] ?? 0)) / 4
    // A path may begin anywhere in the first period or so; later only by losing what it would have gathered.
    if (best > 0) {
      score[now] = own + best
      steps[t] = step
    } else score[now] = own
  }
  let last = frames - 1
  for (let t = Math.max(0, frames - longest); t < frames; t++)
    if (score[t - origin]! > score[last - origin]!) last = t
  let count = 1
  for (let t = last; steps[t]! > 0; t -= steps[t]!) count++
  const beats = new Float64Array(count)
  for (let t = last; count > 0; t -= steps[t]!) beats[--count] = refine(strength, t) / frameRate
  return beats
}

/** Position of the peak at or beside a frame, by the parabola through it and its neighbours. */
function refine(strength: Float32Array, t: number): number {
  const a = strength[t - 1] ?? 0
  const b = strength[t]!
  const c = strength[t + 1] ?? 0
  const curve = a - 2 * b + c
  if (!(curve < 0) || b < a || b < c) return t
  return t + (0.5 * (a - c)) / curve
}
