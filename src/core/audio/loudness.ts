/**
 * Loudness by EBU R 128: ITU-R BS.1770-4 (K-weighting, gated integrated loudness, true peak), EBU Tech 3341 and EBU
 * Tech 3342 (loudness range).
 */
import { append } from './append.ts'

export interface Loudness {
  /** Integrated loudness, LUFS; -70 or below is silence and given as undefined. */
  readonly integrated: number | undefined
  /** Loudness range, LU (0 for less than 3 s). */
  readonly range: number
  /** True peak, dBTP; undefined for digital silence. */
  readonly truePeak: number | undefined
  /** Largest momentary (400 ms) loudness, LUFS. */
  readonly maxMomentary: number | undefined
  /** Loudness of each tenth of a second, LUFS (ungated, at least -120), for energy over time. */
  readonly tenths: Float32Array
}

/**
 * How loud, 0 to 1, on one scale for every track and every part of one: -30 LUFS is 0, -6 LUFS is 1. The application
 * compares the end of one track with the beginning of another by it.
 */
export const loudnessShare = (loudness: number): number => Math.max(0, Math.min(1, (loudness + 30) / 24))

interface LoudnessMeter {
  /** Takes the next samples, one array a channel in WAVE order (L R C LFE Ls Rs). Arrays may be reused after. */
  readonly push: (channels: readonly Float32Array[], length: number) => void
  readonly finish: () => Loudness
}

interface Biquads {
  readonly shelf: readonly [b0: number, b1: number, b2: number, a1: number, a2: number]
  readonly highPass: readonly [b0: number, b1: number, b2: number, a1: number, a2: number]
}

/**
 * The two filters of K-weighting at any sample rate. BS.1770 tabulates them at 48 kHz only; these are the analogue
 * prototypes that give that table through the bilinear transform (De Man, "Evaluation of implementations of the
 * EBU R128 loudness measurement", AES 145, 2018).
 */
function kWeighting(sampleRate: number): Biquads {
  const shelfK = Math.tan((Math.PI * 1681.974450955533) / sampleRate)
  const shelfQ = 0.7071752369554196
  const high = 10 ** (3.999843853973347 / 20)
  const band = high ** 0.4996667741545416
  const a0 = 1 + shelfK / shelfQ + shelfK * shelfK
  const k = Math.tan((Math.PI * 38.13547087602444) / sampleRate)
  const q = 0.5003270373238773
  const c0 = 1 + k / q + k * k
  return {
    shelf: [
      (high + (band * shelfK) / shelfQ + shelfK * shelfK) / a0,
      (2 * (shelfK * shelfK - high)) / a0,
      (high - (band * shelfK) / shelfQ + shelfK * shelfK) / a0,
      (2 * (shelfK * shelfK - 1)) / a0,
      (1 - shelfK / shelfQ + shelfK * shelfK) / a0,
    ],
    highPass: [1, -2, 1, (2 * (k * k - 1)) / c0, (1 - k / q + k * k) / c0],
  }
}

/** Weights of the channels of a layout (BS.1770-4, table 3): surrounds 1.41, low-frequency effects none. */
export function channelWeights(channels: number): number[] {
  if (channels === 4) return [1, 1, 1.41, 1.41]
  if (channels === 5) return [1, 1, 1, 1.41, 1.41]
  if (channels >= 6) return [1, 1, 1, 0, ...new Array<number>(channels - 4).fill(1.41)]
  return new Array<number>(channels).fill(1)
}

/** Samples either side that the true-peak interpolator looks at. */
const reach = 12

/** Rows of a windowed-sinc interpolator, one for each position between two samples. */
function interpolator(factor: number): Float64Array[] {
  return Array.from({ length: factor - 1 }, (_, phase) => {
    const shift = (phase + 1) / factor
    const row = Float64Array.from({ length: 2 * reach }, (__, i) => {
      const x = i - (reach - 1) - shift
      const window = 0.5 + 0.5 * Math.cos((Math.PI * x) / (reach + 0.5))
      return (Math.sin(Math.PI * x) / (Math.PI * x)) * window
    })
    const gain = row.reduce((a, b) => a + b, 0)
    return row.map(tap => tap / gain)
  })
}

/**
 * The largest value between samples. An interval is interpolated only where one of its ends is above half of the
 * peak so far: between two lower samples a signal gets that high only within a sixth of the rate of Nyquist, where
 * the phase drifts over the samples and other intervals show the same peak.
 */
function peakMeter(sampleRate: number): {
  push: (samples: Float32Array, length: number) => void
  peak: () => number
} {
  const rows = interpolator(sampleRate < 96_000 ? 4 : sampleRate < 192_000 ? 2 : 1)
  let buffer = new Float32Array(8192)
  let filled = reach - 1
  let peak = 0
  const scan = (to: number): void => {
    const b = buffer
    let limit = peak * 0.5
    let last = Math.abs(b[reach - 1]!)
    for (let i = reach - 1; i < to; i++) {
      const value = last
      last = Math.abs(b[i + 1]!)
      if (value <= limit && last <= limit) continue
      if (value > peak) peak = value
      for (const row of rows) {
        let sum = 0
        const from = i - reach + 1
        for (let k = 0; k < 2 * reach; k++) sum += row[k]! * b[from + k]!
        if (sum > peak) peak = sum
        else if (-sum > peak) peak = -sum
      }
      limit = peak * 0.5
    }
  }
  return {
    push: (samples, length) => {
      buffer = append(buffer, filled, samples, length)
      filled += length
      const to = filled - reach
      if (to <= reach - 1) return
      scan(to)
      buffer.copyWithin(0, to - reach + 1, filled)
      filled -= to - reach + 1
    },
    peak: () => {
      const padded = new Float32Array(filled + 2 * reach)
      padded.set(buffer.subarray(0, filled))
      buffer = padded
      scan(filled)
      return peak
    },
  }
}

/** Gives the energy of samples `from` to `to` after K-weighting; the filters continue where they stopped. */
function weigher(sampleRate: number): (samples: Float32Array, from: number, to: number) => number {
  const { shelf, highPass } = kWeighting(sampleRate)
  const [b0, b1, b2, a1, a2] = shelf
  const [, , , c1, c2] = highPass
  const state = new Float64Array(6)
  return (samples, from, to) => {
    // Numbers that a closure keeps are allocated at each assignment, and so are locals that were destructured.
    let x1 = state[0]!
    let x2 = state[1]!
    let y1 = state[2]!
    let y2 = state[3]!
    let z1 = state[4]!
    let z2 = state[5]!
    let sum = 0
    for (let i = from; i < to; i++) {
      const x = samples[i]!
      const y = b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
      x2 = x1
      x1 = x
      const z = y - 2 * y1 + y2 - c1 * z1 - c2 * z2
      y2 = y1
      y1 = y
      z2 = z1
      z1 = z
      sum += z * z
    }
    state[0] = x1
    state[1] = x2
    state[2] = y1
    state[3] = y2
    state[4] = z1
    state[5] = z2
    // Denormal numbers after digital silence would slow the loop a hundredfold.
    for (let k = 2; k < 6; k++) if (Math.abs(state[k]!) < 1e-30) state[k] = 0
    return sum
  }
}

const offset = -0.691
const toLufs = (power: number): number => offset + 10 * Math.log10(power)
const toPower = (lufs: number): number => 10 ** ((lufs - offset) / 10)

/** @throws RangeError for less than one channel. */
export function loudnessMeter(sampleRate: number, channels: number): LoudnessMeter {
  if (channels < 1) throw new RangeError('no channels')
  const weights = channelWeights(channels)
  const filters = weights.map(() => weigher(sampleRate))
  const peaks = weights.map(() => peakMeter(sampleRate))
  let tenths = new Float64Array(4096)
  let count = 0
  /** Samples and weighted energy of the tenth being filled; its end is where the next one starts, unrounded. */
  let position = 0
  let inTenth = 0
  let energy = 0
  let boundary = Math.round(sampleRate / 10)

  return {
    push: (input, length) => {
      for (let c = 0; c < channels; c++) peaks[c]!.push(input[c]!, length)
      let from = 0
      while (from < length) {
        const to = Math.min(length, from + boundary - position)
        for (let c = 0; c < channels; c++)
          if (weights[c] !== 0) energy += weights[c]! * filters[c]!(input[c]!, from, to)
        inTenth += to - from
        position += to - from
        from = to
        if (position === boundary) {
          if (count === tenths.length) {
            const larger = new Float64Array(2 * count)
            larger.set(tenths)
            tenths = larger
          }
          tenths[count++] = energy / inTenth
          energy = 0
          inTenth = 0
          boundary = Math.round(((count + 1) * sampleRate) / 10)
        }
      }
    },
    finish: () => {
      const powers = tenths.subarray(0, count)
      const momentary = slidingMeans(powers, 4)
      const shortTerm = slidingMeans(powers, 30)
      const peak = Math.max(...peaks.map(meter => meter.peak()))
      const loudest = momentary.reduce((a, b) => Math.max(a, b), 0)
      return {
        integrated: integrated(momentary),
        range: loudnessRange(shortTerm),
        truePeak: peak > 0 ? 20 * Math.log10(peak) : undefined,
        maxMomentary: loudest > 1e-12 ? toLufs(loudest) : undefined,
        tenths: Float32Array.from(powers, power => Math.max(-120, toLufs(power + 1e-13))),
      }
    },
  }
}

/** Means of `size` consecutive powers, starting at each. */
function slidingMeans(powers: Float64Array, size: number): Float64Array {
  const out = new Float64Array(Math.max(0, powers.length - size + 1))
  for (let i = 0; i < out.length; i++) {
    let sum = 0
    for (let k = 0; k < size; k++) sum += powers[i + k]!
    out[i] = sum / size
  }
  return out
}

function meanAbove(powers: Float64Array, gate: number): number {
  let sum = 0
  let count = 0
  for (const power of powers)
    if (power > gate) {
      sum += power
      count++
    }
  return count > 0 ? sum / count : 0
}

/** BS.1770-4: blocks above -70 LUFS give the relative gate 10 LU below their mean; the mean of those above it. */
function integrated(momentary: Float64Array): number | undefined {
  const ungated = meanAbove(momentary, toPower(-70))
  if (ungated === 0) return undefined
  return toLufs(meanAbove(momentary, Math.max(toPower(-70), ungated / 10)))
}

/** Tech 3342: 10th to 95th percentile of short-term loudness above -70 LUFS and 20 LU below their mean. */
function loudnessRange(shortTerm: Float64Array): number {
  const absolute = shortTerm.filter(power => power >= toPower(-70))
  if (absolute.length === 0) return 0
  const gate = meanAbove(absolute, 0) / 100
  const kept = absolute.filter(power => power >= gate).sort()
  const percentile = (share: number): number => kept[Math.round((kept.length - 1) * share)]!
  return toLufs(percentile(0.95)) - toLufs(percentile(0.1))
}
