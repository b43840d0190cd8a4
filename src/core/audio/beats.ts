/**
 * Beat tracking by dynamic programming (Ellis, "Beat tracking by dynamic programming", J. New Music Research 36(1),
 * 2007): the path of beats that gathers the most onset strength while its periods stay near a tempo.
 */
import { FRAME_RATE } from './frontend.ts'

/**
 * Beat times in seconds for a tempo in beats per minute.
 * @param strength onset envelope, frames at FRAME_RATE, mean 1.
 * @param tightness how strongly periods other than the tempo's are punished; 100 holds a steady tempo, 30 follows
 * a drift of some per cent.
 */
export function trackBeats(strength: Float32Array, bpm: number, tightness: number): Float64Array {
  const frames = strength.length
  const period = (60 * FRAME_RATE) / bpm
  const shortest = Math.max(2, Math.round(period * 0.75))
  const longest = Math.round(period * 1.34)
  if (frames < longest + 2) return new Float64Array(0)
  const penalty = new Float64Array(longest + 1)
  for (let lag = shortest; lag <= longest; lag++) penalty[lag] = tightness * Math.log(lag / period) ** 2
  // Onsets are rarely on the frame: smoothed over about a sixteenth of the period, a grid can still hold.
  const score = new Float64Array(frames)
  const previous = new Int32Array(frames)
  for (let t = 0; t < frames; t++) {
    let best = -Infinity
    let from = -1
    const limit = Math.min(longest, t)
    for (let lag = shortest; lag <= limit; lag++) {
      const value = score[t - lag]! - penalty[lag]!
      if (value > best) {
        best = value
        from = t - lag
      }
    }
    const own = (strength[t]! * 2 + (strength[t - 1] ?? 0) + (strength[t + 1] ?? 0)) / 4
    // A path may begin anywhere in the first period or so; later only by losing what it would have gathered.
    if (best > 0) {
      score[t] = own + best
      previous[t] = from
    } else {
      score[t] = own
      previous[t] = -1
    }
  }
  let last = frames - 1
  for (let t = Math.max(0, frames - longest); t < frames; t++) if (score[t]! > score[last]!) last = t
  const path: number[] = []
  for (let t = last; t >= 0; t = previous[t]!) path.push(t)
  path.reverse()
  return Float64Array.from(path, t => refine(strength, t) / FRAME_RATE)
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
