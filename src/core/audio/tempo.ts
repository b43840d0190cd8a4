/**
 * Tempo hypotheses: what pulses the onset envelope repeats at, before anything is said about which of them is the
 * beat. Autocorrelation of the onset strength and a comb over its multiples (Scheirer 1998; Percival and
 * Tzanetakis, "Streamlined tempo estimation based on autocorrelation and cross-correlation with pulses", IEEE/ACM
 * TASLP 22(12), 2014).
 */
import { realFft } from './fft.ts'
import { frameRate } from './frontend.ts'

/** The longest lag looked at: 16 beats at 120 beats per minute. */
export const maxLag = 8 * frameRate

/** Frames that are transformed at a time, of which those beyond twice maxLag are new. */
const block = 4096

/**
 * Normalised autocorrelation of an envelope about its mean, lags 0 to maxLag frames; all zero for silence. By power
 * spectra (Wiener-Khinchin), block by block: each block is taken together with the maxLag frames before it, and what
 * those have among themselves, which the block before has counted, is taken off.
 */
export function autocorrelation(envelope: Float32Array): Float32Array {
  const { length } = envelope
  const out = new Float32Array(maxLag + 1)
  let mean = 0
  for (let t = 0; t < length; t++) mean += envelope[t]!
  mean /= Math.max(1, length)
  const fft = realFft(block)
  const frame = new Float32Array(block)
  const power = new Float32Array(block / 2 + 1)
  const spectrum = new Float64Array(block / 2 + 1)
  const add = (from: number, to: number, sign: number): void => {
    frame.fill(0)
    for (let t = Math.max(0, from); t < to; t++) frame[t - from] = envelope[t]! - mean
    fft.power(frame, power)
    for (let k = 0; k < spectrum.length; k++) spectrum[k]! += sign * power[k]!
  }
  for (let start = 0; start < length; start += block - 2 * maxLag) {
    const before = start - maxLag
    add(before, Math.min(length, start + block - 2 * maxLag), 1)
    if (start > 0) add(before, start, -1)
  }
  const cosines = Float64Array.from({ length: block }, (_, i) => Math.cos((2 * Math.PI * i) / block))
  for (let lag = 0; lag <= Math.min(maxLag, length - 1); lag++) {
    let sum = (spectrum[0]! + (lag % 2 === 0 ? 1 : -1) * spectrum[block / 2]!) / 2
    for (let k = 1; k < block / 2; k++) sum += spectrum[k]! * cosines[(k * lag) % block]!
    // Divided by the overlap: a short clip must not favour short lags.
    out[lag] = sum / (length - lag)
  }
  const zero = out[0]!
  // Of a constant nothing is left but rounding.
  if (zero > 1e-9 * mean * mean * block) for (let lag = 0; lag <= maxLag; lag++) out[lag]! /= zero
  else out.fill(0)
  return out
}

/** Value between samples, linear; 0 beyond the end. */
export function at(signal: Float32Array, position: number): number {
  const lower = Math.floor(position)
  if (lower < 0 || lower + 1 >= signal.length) return 0
  const share = position - lower
  return signal[lower]! * (1 - share) + signal[lower + 1]! * share
}

/** Slowest and fastest tempo that is ever answered, beats per minute. */
export const slowest = 45
export const fastest = 300

/**
 * Tempi (beats per minute) that the onsets may be counted at, strongest pulse first: the peaks of the comb and
 * their simple multiples, 45 to 300, at least 2.5 % apart, at most `most`.
 */
export function tempoHypotheses(correlation: Float32Array, most = 14): number[] {
  const steps = Math.round(Math.log(400 / 30) / Math.log(1.004))
  const salience = new Float32Array(steps)
  const tempo = (i: number): number => 30 * 1.004 ** i
  for (let i = 0; i < steps; i++) {
    const period = (60 * frameRate) / tempo(i)
    let sum = 0
    let weights = 0
    for (let k = 1; k <= 8 && k * period < maxLag - 1; k++) {
      const weight = 1 / Math.sqrt(k)
      // Peaks are narrow at long lags: the best within half a per cent stands for the lag.
      const lag = k * period
      sum +=
        weight * Math.max(at(correlation, lag * 0.998), at(correlation, lag), at(correlation, lag * 1.002))
      weights += weight
    }
    salience[i] = sum / weights
  }
  const peaks: { bpm: number; salience: number }[] = []
  for (let i = 1; i + 1 < steps; i++)
    if (salience[i]! > 0 && salience[i]! >= salience[i - 1]! && salience[i]! > salience[i + 1]!)
      peaks.push({ bpm: tempo(i), salience: salience[i]! })
  peaks.sort((a, b) => b.salience - a.salience)
  const found: number[] = []
  const add = (bpm: number): void => {
    if (bpm < slowest || bpm > fastest || found.length >= most) return
    if (found.every(other => Math.abs(Math.log(other / bpm)) > 0.025)) found.push(bpm)
  }
  for (const { bpm } of peaks.slice(0, 5)) add(bpm)
  for (const { bpm } of peaks.slice(0, 2))
    for (const factor of [2, 0.5, 3, 1 / 3, 1.5, 2 / 3, 4, 0.25]) add(bpm * factor)
  for (const { bpm } of peaks.slice(5)) add(bpm)
  return found
}
