/**
 * Fourier transform of real frames.
 *
 * A frame of N real samples is packed into N/2 complex ones, transformed by an iterative radix-2 decimation in
 * time with tables (Cooley and Tukey 1965), and unpacked (Sorensen et al., "Real-valued fast Fourier transform
 * algorithms", IEEE Trans. ASSP 35(6), 1987). Tables are made once; the transform allocates nothing.
 */

export interface RealFft {
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
  // Twiddles of every stage one after another, so that the inner loop walks them in order.
  const cos = new Float64Array(half)
  const sin = new Float64Array(half)
  for (let span = 1, at = 0; span < half; at += span, span <<= 1)
    for (let j = 0; j < span; j++) {
      cos[at + j] = Math.cos((Math.PI * j) / span)
      sin[at + j] = -Math.sin((Math.PI * j) / span)
    }
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
    for (let span = 4, at = 3; span < half; at += span, span <<= 1) {
      const step = span << 1
      for (let start = 0; start < half; start += step) {
        for (let j = 0; j < span; j++) {
          const p = start + j
          const q = p + span
          const wr = cos[at + j]!
          const wi = sin[at + j]!
          const qr = re[q]!
          const qi = im[q]!
          const tr = qr * wr - qi * wi
          const ti = qr * wi + qi * wr
          const pr = re[p]!
          const pi = im[p]!
          re[q] = pr - tr
          im[q] = pi - ti
          re[p] = pr + tr
          im[p] = pi + ti
        }
      }
    }
    const r0 = re[0]!
    const i0 = im[0]!
    out[0] = (r0 + i0) * (r0 + i0)
    out[half] = (r0 - i0) * (r0 - i0)
    for (let k = 1; k < half; k++) {
      const m = half - k
      const er = (re[k]! + re[m]!) * 0.5
      const ei = (im[k]! - im[m]!) * 0.5
      const or = (im[k]! + im[m]!) * 0.5
      const oi = (re[m]! - re[k]!) * 0.5
      const wr = cosOut[k]!
      const wi = sinOut[k]!
      const xr = er + or * wr - oi * wi
      const xi = ei + or * wi + oi * wr
      out[k] = xr * xr + xi * xi
    }
  }
  return { size, power }
}

/** Periodic Hann window of a length. */
export function hann(size: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size))
}
