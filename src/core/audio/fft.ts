/**
 * Fourier transform of real frames.
 *
 * A frame of N real samples is packed into N/2 complex ones, transformed by an iterative decimation in time with
 * tables (Cooley and Tukey 1965), two stages at a time (radix 4: three multiplications for four, and half the memory
 * traffic), and unpacked (Sorensen et al., "Real-valued fast Fourier transform algorithms", IEEE Trans. ASSP 35(6),
 * 1987). Tables are made once; the transform allocates nothing.
 */

interface RealFft {
  /** Samples in a frame, a power of two. */
  readonly size: number
  /**
   * Squared magnitudes of bins 0 to size / 2 of `frame` (length `size`), into `power` (length size / 2 + 1).
   * Not normalised: a full-scale sine at a bin's centre gives (size / 2)².
   */
  readonly power: (frame: Float32Array, power: Float32Array) => void
}

/** Throws RangeError unless `size` is a power of two of at least 8. */
export function realFft(size: number): RealFft {
  if (size < 8 || (size & (size - 1)) !== 0) throw new RangeError(`FFT size ${size} is not a power of two`)
  const half = size >> 1
  const re = new Float64Array(half)
  const im = new Float64Array(half)
  const reverse = new Uint32Array(half)
  const bits = Math.log2(half)
  for (let i = 0; i < half; i++) {
    let r = 0
    for (let b = 0; b < bits; b++) r |= ((i >> b) & 1) << (bits - 1 - b)
    reverse[i] = r
  }
  const turn = (angle: number): [re: number, im: number] => [Math.cos(angle), -Math.sin(angle)]
  // An odd stage that cannot be paired comes first, where it is cheapest.
  const single = bits % 2 === 1 && bits > 2
  const firstPaired = single ? 8 : 4
  const singleTurns = Float64Array.from([0, 1, 2, 3].flatMap(j => turn((Math.PI * j) / 4)))
  // Twiddles of the paired stages one after another, six numbers a butterfly, so that the inner loop walks them.
  const pairedTurns: number[] = []
  for (let span = firstPaired; span < half; span <<= 2)
    for (let j = 0; j < span; j++) {
      const angle = (Math.PI * j) / (2 * span)
      pairedTurns.push(...turn(2 * angle), ...turn(angle), ...turn(3 * angle))
    }
  const turns = Float64Array.from(pairedTurns)
  const cosOut = new Float64Array(half)
  const sinOut = new Float64Array(half)
  for (let i = 0; i < half; i++) {
    cosOut[i] = Math.cos((2 * Math.PI * i) / size)
    sinOut[i] = -Math.sin((2 * Math.PI * i) / size)
  }

  const power = (frame: Float32Array, out: Float32Array): void => {
    // The first two stages have trivial twiddles: done together while the samples are put in bit-reversed order.
    for (let i = 0; i < half; i += 4) {
      const a = reverse[i]! << 1
      const b = reverse[i + 1]! << 1
      const c = reverse[i + 2]! << 1
      const d = reverse[i + 3]! << 1
      const ar = frame[a]! + frame[b]!
      const ai = frame[a + 1]! + frame[b + 1]!
      const br = frame[a]! - frame[b]!
      const bi = frame[a + 1]! - frame[b + 1]!
      const cr = frame[c]! + frame[d]!
      const ci = frame[c + 1]! + frame[d + 1]!
      const dr = frame[c + 1]! - frame[d + 1]!
      const di = frame[d]! - frame[c]!
      re[i] = ar + cr
      im[i] = ai + ci
      re[i + 2] = ar - cr
      im[i + 2] = ai - ci
      re[i + 1] = br + dr
      im[i + 1] = bi + di
      re[i + 3] = br - dr
      im[i + 3] = bi - di
    }
    if (single)
      for (let start = 0; start < half; start += 8)
        for (let j = 0; j < 4; j++) {
          const p = start + j
          const q = p + 4
          const wr = singleTurns[2 * j]!
          const wi = singleTurns[2 * j + 1]!
          const tr = re[q]! * wr - im[q]! * wi
          const ti = re[q]! * wi + im[q]! * wr
          re[q] = re[p]! - tr
          im[q] = im[p]! - ti
          re[p] = re[p]! + tr
          im[p] = im[p]! + ti
        }
    for (let span = firstPaired, at = 0; span < half; at += 6 * span, span <<= 2)
      for (let start = 0; start < half; start += span << 2)
        for (let j = 0, w = at; j < span; j++, w += 6) {
          const a = start + j
          const b = a + span
          const c = b + span
          const d = c + span
          const b1 = re[b]! * turns[w]! - im[b]! * turns[w + 1]!
          const b2 = re[b]! * turns[w + 1]! + im[b]! * turns[w]!
          const c1 = re[c]! * turns[w + 2]! - im[c]! * turns[w + 3]!
          const c2 = re[c]! * turns[w + 3]! + im[c]! * turns[w + 2]!
          const d1 = re[d]! * turns[w + 4]! - im[d]! * turns[w + 5]!
          const d2 = re[d]! * turns[w + 5]! + im[d]! * turns[w + 4]!
          const evenRe = re[a]! + b1
          const evenIm = im[a]! + b2
          const oddRe = re[a]! - b1
          const oddIm = im[a]! - b2
          re[a] = evenRe + (c1 + d1)
          im[a] = evenIm + (c2 + d2)
          re[c] = evenRe - (c1 + d1)
          im[c] = evenIm - (c2 + d2)
          re[b] = oddRe + (c2 - d2)
          im[b] = oddIm - (c1 - d1)
          re[d] = oddRe - (c2 - d2)
          im[d] = oddIm + (c1 - d1)
        }
    const r0 = re[0]!
    const i0 = im[0]!
    out[0] = (r0 + i0) * (r0 + i0)
    out[half] = (r0 - i0) * (r0 - i0)
    // Bins k and half - k are made of the same four numbers.
    for (let k = 1; k <= half >> 1; k++) {
      const m = half - k
      const er = (re[k]! + re[m]!) * 0.5
      const ei = (im[k]! - im[m]!) * 0.5
      const or = (im[k]! + im[m]!) * 0.5
      const oi = (re[m]! - re[k]!) * 0.5
      const wr = cosOut[k]!
      const wi = sinOut[k]!
      const tr = or * wr - oi * wi
      const ti = or * wi + oi * wr
      out[k] = (er + tr) * (er + tr) + (ei + ti) * (ei + ti)
      out[m] = (er - tr) * (er - tr) + (ei - ti) * (ei - ti)
    }
  }
  return { size, power }
}

/** Periodic Hann window of a length. */
export function hann(size: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size))
}
