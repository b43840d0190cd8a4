/**
 * The one pass over the samples that tempo, beats, key, sections and the descriptors all share: mono PCM in
 * windows of any length is decimated and turned into a log band spectrogram (100 frames a second) and a pitch
 * spectrogram (about 5 frames a second). Nothing of the PCM is kept, so memory grows by about 9 kB a second of
 * audio whatever its sample rate.
 */
import { append } from './append.ts'
import { hann, realFft } from './fft.ts'

/** Frames a second of the band spectrogram. */
export const frameRate = 100

/**
 * Upper edges of the bands in Hz; the first begins at 20 Hz. Single bins where bins are wide, then three an
 * octave: enough to tell kick, bass, snare and hats apart.
 */
const edges = [
  54, 97, 140, 183, 226, 291, 355, 463, 570, 721, 915, 1152, 1453, 1830, 2304, 2906, 3660, 4607, 5813, 7320,
  9215, 11025,
]

export const bandCount = edges.length

/** Band levels are stored as 1/128 dB, 0 dB being a full-scale sine in one bin; the floor is -120 dB. */
export const dbUnit = 1 / 128
const floorDb = -120

/** Pitch resolution of the pitch spectrogram: bins in a semitone. */
export const pitchBins = 5
/** Lowest pitch, as a MIDI note: A1, 55 Hz; a third of a semitone is 3 bins of the transform higher up only. */
export const lowestPitch = 33
export const pitchCount = 75
const pitchTableSize = pitchCount * pitchBins

/**
 * Rows of magnitudes, each number as the upper half of a single-precision float (bfloat16): within 0.4 %, in half of
 * the memory, and that is most of what a long set needs.
 */
export interface PitchRows {
  readonly count: number
  /** Row `index`, pitchCount x pitchBins magnitudes, into `row`. */
  readonly read: (index: number, row: Float32Array) => void
}

export interface Spectra {
  readonly frames: number
  /** `frames` rows of bandCount levels in dbUnit. */
  readonly bands: Int16Array
  /** Frames a second of `pitches`. */
  readonly pitchRate: number
  /** Magnitudes of spectral peaks, by pitch. */
  readonly pitches: PitchRows
  /** Spectral centroid (power-weighted mean of frequency), Hz: geometric mean over the track; undefined for silence. */
  readonly centroid: number | undefined
  /** Seconds of audio. */
  readonly duration: number
}

/**
 * Is told of what frames the spectra are, a Hann window of `size` samples each, their bins `binHz` apart, and answers with
 * what takes their powers, `frameRate` a second.
 */
type FrameWatch = (size: number, binHz: number) => ((power: Float32Array) => void) | undefined

interface FrontEnd {
  /** Takes the next mono samples. The array may be reused by the caller. */
  readonly push: (mono: Float32Array, length: number) => void
  readonly finish: () => Spectra
}

/**
 * Half-band low-pass of 4 m - 1 taps by the window method (Kaiser, beta 8), every other tap zero: the one-sided
 * odd taps. Stop band about -80 dB, so what folds down is below the noise of any recording.
 */
function halfBandTaps(count: number): Float32Array {
  const bessel = (x: number): number => {
    let sum = 1
    let term = 1
    for (let k = 1; k < 30; k++) {
      term *= (x / (2 * k)) ** 2
      sum += term
    }
    return sum
  }
  const reach = 2 * count
  return Float32Array.from({ length: count }, (_, i) => {
    const n = 2 * i + 1
    const window = bessel(8 * Math.sqrt(1 - (n / reach) ** 2)) / bessel(8)
    return (window * Math.sin((Math.PI * n) / 2)) / (Math.PI * n)
  })
}

/** Halves the rate of a stream. Returns how many samples it wrote into `out`. */
function decimator(): (input: Float32Array, length: number, out: Float32Array) => number {
  const taps = halfBandTaps(8)
  const count = taps.length
  const reach = 2 * count - 1
  let buffer = new Float32Array(8192)
  // Zeros before the first sample, so that the output is not delayed.
  let filled = reach
  return (input, length, out) => {
    buffer = append(buffer, filled, input, length)
    filled += length
    let written = 0
    let centre = reach
    const [t0, t1, t2, t3, t4, t5, t6, t7] = taps as unknown as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ]
    const b = buffer
    for (; centre + reach < filled; centre += 2) {
      out[written++] =
        0.5 * b[centre]! +
        t0 * (b[centre - 1]! + b[centre + 1]!) +
        t1 * (b[centre - 3]! + b[centre + 3]!) +
        t2 * (b[centre - 5]! + b[centre + 5]!) +
        t3 * (b[centre - 7]! + b[centre + 7]!) +
        t4 * (b[centre - 9]! + b[centre + 9]!) +
        t5 * (b[centre - 11]! + b[centre + 11]!) +
        t6 * (b[centre - 13]! + b[centre + 13]!) +
        t7 * (b[centre - 15]! + b[centre + 15]!)
    }
    b.copyWithin(0, centre - reach, filled)
    filled -= centre - reach
    return written
  }
}

/** Cuts a stream into overlapping frames centred on `index / rate` seconds. */
function framer(
  sampleRate: number,
  rate: number,
  size: number,
  onFrame: (frame: Float32Array) => void,
): (input: Float32Array, length: number) => void {
  const window = hann(size)
  const frame = new Float32Array(size)
  let buffer = new Float32Array(4 * size)
  let filled = size >> 1
  /** Stream position of buffer[0]; the stream starts with half a frame of zeros. */
  let origin = 0
  let index = 0
  return (input, length) => {
    buffer = append(buffer, filled, input, length)
    filled += length
    let start = Math.round((index * sampleRate) / rate) - origin
    while (start + size <= filled) {
      for (let i = 0; i < size; i++) frame[i] = buffer[start + i]! * window[i]!
      onFrame(frame)
      index++
      start = Math.round((index * sampleRate) / rate) - origin
    }
    const drop = Math.min(start, filled)
    buffer.copyWithin(0, drop, filled)
    filled -= drop
    origin += drop
  }
}

/** Powers of two near a length. */
const nearestPower = (length: number): number => 2 ** Math.round(Math.log2(length))

/** A longer copy. By half: doubling would leave half of a long set's memory unused. */
function longer<T extends Int16Array | Uint16Array>(array: T): T {
  const copy = new (array.constructor as new (length: number) => T)(Math.ceil(array.length * 1.5))
  copy.set(array)
  return copy
}

function pitchRows(stored: Uint16Array, count: number): PitchRows {
  return {
    count,
    read: (index, row) => {
      const bits = new Uint32Array(row.buffer, row.byteOffset, pitchTableSize)
      for (let i = 0, at = index * pitchTableSize; i < pitchTableSize; i++, at++) bits[i] = stored[at]! << 16
    },
  }
}

/**
 * @param sampleRate of the samples pushed, Hz; 4,000 to 768,000.
 * @param expected seconds of sound that are to come, as far as is known: memory is laid out for them once, which a
 *   long set would otherwise outgrow again and again, each time with old and new in memory.
 * @param watch also gets the spectra of the bands, frame by frame.
 * @throws RangeError for a rate outside that.
 */
export function frontEnd(sampleRate: number, expected = 60, watch?: FrameWatch): FrontEnd {
  if (!(sampleRate >= 4000 && sampleRate <= 768_000))
    throw new RangeError(`a sample rate of ${sampleRate} Hz is outside 4,000 to 768,000`)
  let halvings = 0
  while (sampleRate / 2 ** (halvings + 1) >= 15_900) halvings++
  const bandRate = sampleRate / 2 ** halvings
  const pitchHalving = bandRate > 15_000
  const pitchSampleRate = pitchHalving ? bandRate / 2 : bandRate

  const bandSize = nearestPower(bandRate * 0.0464)
  const bandFft = realFft(bandSize)
  const bandPower = new Float32Array(bandSize / 2 + 1)
  const binHz = bandRate / bandSize
  const bandStart = new Int32Array(bandCount + 1)
  bandStart[0] = 1
  for (let b = 0; b < bandCount; b++)
    bandStart[b + 1] = Math.max(bandStart[b]!, Math.min(bandSize / 2 + 1, Math.round(edges[b]! / binHz)))
  const scale = 1 / (bandSize / 4) ** 2
  let bands = new Int16Array(bandCount * Math.ceil((expected + 1) * frameRate))
  let frames = 0
  let sumOfCentroids = 0
  let soundingFrames = 0
  const floor = 10 ** (floorDb / 10)
  const toUnits = 10 / dbUnit / Math.LN10

  const watched = watch?.(bandSize, binHz)
  const pushBands = framer(bandRate, frameRate, bandSize, frame => {
    bandFft.power(frame, bandPower)
    watched?.(bandPower)
    if ((frames + 1) * bandCount > bands.length) bands = longer(bands)
    const row = frames * bandCount
    let total = 0
    let moment = 0
    for (let b = 0; b < bandCount; b++) {
      let sum = 0
      let first = 0
      const from = bandStart[b]!
      const to = bandStart[b + 1]!
      for (let k = from; k < to; k++) {
        sum += bandPower[k]!
        first += k * bandPower[k]!
      }
      total += sum
      moment += first
      bands[row + b] = Math.min(32767, toUnits * Math.log(sum * scale + floor))
    }
    if (total > 0) {
      sumOfCentroids += Math.log2((moment / total) * binHz)
      soundingFrames++
    }
    frames++
  })

  const pitchSize = nearestPower(pitchSampleRate * 0.3715)
  const pitchFft = realFft(pitchSize)
  const pitchPower = new Float32Array(pitchSize / 2 + 1)
  const pitchBinHz = pitchSampleRate / pitchSize
  const pitchRate = 5.4
  const firstBin = Math.max(2, Math.floor(52 / pitchBinHz))
  const lastBin = Math.min(pitchSize / 2 - 1, Math.ceil(4200 / pitchBinHz))
  let pitches = new Uint16Array(pitchTableSize * Math.ceil((expected + 1) * pitchRate))
  let pitchFrames = 0
  const row = new Float32Array(pitchTableSize)
  const rowBits = new Uint32Array(row.buffer)
  const magnitudeScale = 4 / pitchSize

  const pushPitches = framer(pitchSampleRate, pitchRate, pitchSize, frame => {
    pitchFft.power(frame, pitchPower)
    if ((pitchFrames + 1) * pitchTableSize > pitches.length) pitches = longer(pitches)
    row.fill(0)
    for (let k = firstBin; k <= lastBin; k++) {
      const power = pitchPower[k]!
      if (power <= pitchPower[k - 1]! || power < pitchPower[k + 1]! || power < 1e-7) continue
      // Parabola through the log magnitudes (Smith and Serra, PARSHL, 1987).
      const a = Math.log(pitchPower[k - 1]! + 1e-20)
      const b = Math.log(power)
      const c = Math.log(pitchPower[k + 1]! + 1e-20)
      const offset = (0.5 * (a - c)) / (a - 2 * b + c)
      const hz = (k + offset) * pitchBinHz
      const position = (69 + 12 * Math.log2(hz / 440) - lowestPitch + 0.5) * pitchBins - 0.5
      const lower = Math.floor(position)
      if (lower < 0 || lower + 1 >= pitchTableSize) continue
      const magnitude = Math.sqrt(Math.exp(b - 0.25 * (a - c) * offset)) * magnitudeScale
      row[lower]! += magnitude * (1 - position + lower)
      row[lower + 1]! += magnitude * (position - lower)
    }
    const at = pitchFrames * pitchTableSize
    for (let i = 0; i < pitchTableSize; i++) pitches[at + i] = (rowBits[i]! + 0x8000) >>> 16
    pitchFrames++
  })

  const stages = Array.from({ length: halvings }, () => ({ decimate: decimator(), out: new Float32Array(0) }))
  const last = { decimate: decimator(), out: new Float32Array(0) }
  let samples = 0
  const feed = (mono: Float32Array, length: number): void => {
    let input = mono
    let count = length
    for (const stage of stages) {
      if (stage.out.length < count / 2 + 1) stage.out = new Float32Array(count)
      count = stage.decimate(input, count, stage.out)
      input = stage.out
    }
    pushBands(input, count)
    if (pitchHalving) {
      if (last.out.length < count / 2 + 1) last.out = new Float32Array(count + 2)
      count = last.decimate(input, count, last.out)
      input = last.out
    }
    pushPitches(input, count)
  }
  return {
    push: (mono, length) => {
      samples += length
      feed(mono, length)
    },
    finish: () => {
      const silence = new Float32Array(4096)
      // Zeros enough to push the last frames out, then drop those centred beyond the end.
      for (let left = Math.ceil(sampleRate * 0.5); left > 0; left -= silence.length)
        feed(silence, Math.min(left, silence.length))
      const duration = samples / sampleRate
      frames = Math.min(frames, Math.floor(duration * frameRate))
      pitchFrames = Math.min(pitchFrames, Math.ceil(duration * pitchRate))
      const spectra = {
        frames,
        bands: bands.subarray(0, frames * bandCount),
        pitchRate,
        pitches: pitchRows(pitches, pitchFrames),
        centroid: soundingFrames > 0 ? 2 ** (sumOfCentroids / soundingFrames) : undefined,
        duration,
      }
      // They are the caller's now, to be let go of one by one.
      bands = new Int16Array(0)
      pitches = new Uint16Array(0)
      return spectra
    },
  }
}
