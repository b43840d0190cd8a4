/**
 * Pitch class content: tuning, chroma of bass and treble, and how long each triad sounds. In the line of Gómez,
 * "Tonal description of polyphonic audio for music content processing", INFORMS J. Computing 18(3), 2006 (peaks
 * rather than bins, local normalisation), and Fujishima, "Realtime chord recognition of musical sound", ICMC 1999
 * (triads by template).
 */
import { lowestPitch, type PitchRows, pitchBins, pitchCount, type Spectra } from './frontend.ts'
import { roundBeginnings } from './rounds.ts'

/** What of all that sounds has which pitch, in the track or a part of it. */
export interface PitchContent {
  /** Pitch classes C to B, each summing to 1: below about G3 (MIDI note 55), and from there up. */
  readonly bass: Float32Array
  readonly treble: Float32Array
  /** Share of the sounding time of each major triad (0 to 11) and minor triad (12 to 23), summing to 1. */
  readonly triads: Float32Array
  /** `triads` where rounds of chords begin, which tend to do so on the tonic; as far as none is heard the same as `triads`. */
  readonly opening: Float32Array
  /** How often each triad is expected to be followed by each other one (row by row, 24 x 24), summing to 1. */
  readonly moves: Float32Array
  /** False if there is nothing to hear a pitch in. */
  readonly tonal: boolean
}

export interface Tonality extends PitchContent {
  /** Deviation from A = 440 Hz in semitones, -0.5 to 0.5. */
  readonly tuning: number
  /**
   * How much the harmony changes over a moment, seconds: cosine distance of the chroma half a second before and
   * after it, 0 to 1; 0 if either is silent.
   */
  readonly changeAt: (time: number) => number
  /** What sounds from one time to another alone, seconds. */
  readonly between: (from: number, to: number) => PitchContent
}

/** Where bass goes over into treble, a MIDI note, and over how many: gently, so that a song raised by a tone sounds alike. */
const split = 55
const crossover = 36

/** Pitches over which both ends of the range fade out, for the same reason: from the middle on. */
const fade = 36

const bassWeights = Float32Array.from({ length: pitchCount }, (_, p) =>
  Math.max(0, Math.min(1, 0.5 - (p + lowestPitch - split + 0.5) / crossover)),
)
const audible = Float32Array.from({ length: pitchCount }, (_, p) =>
  Math.min(1, (p + 0.5) / fade, (pitchCount - p - 0.5) / fade),
)

const size = pitchCount * pitchBins

const binAt = (row: Float32Array, bin: number): number => row[Math.min(size - 1, Math.max(0, bin))]!

/**
 * Where in the semitone the peaks lie, semitones, by the circular mean weighted with their magnitude; and the sum of
 * the magnitudes of each row.
 */
function tuningAndEnergies({ count, read }: PitchRows): { tuning: number; energies: Float32Array } {
  const row = new Float32Array(size)
  const energies = new Float32Array(count)
  const byBin = new Float64Array(pitchBins)
  for (let t = 0; t < count; t++) {
    read(t, row)
    let sum = 0
    for (let i = 0, bin = 0; i < size; i++) {
      const value = row[i]!
      sum += value
      byBin[bin]! += value
      if (++bin === pitchBins) bin = 0
    }
    energies[t] = sum
  }
  let re = 0
  let im = 0
  for (const [bin, sum] of byBin.entries()) {
    const angle = (2 * Math.PI * (bin - (pitchBins - 1) / 2)) / pitchBins
    re += sum * Math.cos(angle)
    im += sum * Math.sin(angle)
  }
  return { tuning: re === 0 && im === 0 ? 0 : Math.atan2(im, re) / (2 * Math.PI), energies }
}

/** Share of a note that its partials put on other pitches (octave, twelfth, ...), taken off from the bottom up. */
const partials = [
  [12, 0.45],
  [19, 0.3],
  [24, 0.2],
  [28, 0.12],
] as const

/** Takes them off. @returns the sum of what is left, above 0. */
function takeOffPartials(frame: Float32Array): number {
  let total = 1e-9
  for (let p = 0; p < pitchCount; p++) {
    for (const [up, share] of partials)
      if (p + up < pitchCount) frame[p + up] = Math.max(0, frame[p + up]! - share * frame[p]!)
    total += frame[p]!
  }
  return total
}

/** Probability that the triad changes to a given other one from one row to the next. */
const moveProbability = Math.exp(-2)

/** What likenesses are divided by to be logarithms of probabilities. */
const softness = 0.05

interface TriadPath {
  /** Of each frame, 24 each: the probability of each triad, given all that sounds. */
  readonly shares: Float32Array
  /** Expected moves from one triad to another into a frame are `from` of the frame before times `into` of it, over `norms`. */
  readonly from: Float32Array
  readonly into: Float32Array
  readonly norms: Float32Array
}

/**
 * How likely each triad is in each frame and how likely each change of triad, when changes are costly: forward and
 * backward (Rabiner, "A tutorial on hidden Markov models", 1989), not the one likeliest path, which another first sample or another
 * encoder bends now and then, and all counts of changes with it.
 * @param likenesses of each triad to each frame, frame by frame; written over.
 */
function triadPath(likenesses: Float32Array): TriadPath {
  const count = likenesses.length / 24
  const stay = 1 - moveProbability
  const from = new Float32Array(24 * count)
  const shares = new Float32Array(24 * count)
  const norms = new Float32Array(count)
  const into = likenesses
  for (let t = 0, row = 0; t < count; t++, row += 24) {
    let most = -Infinity
    for (let k = 0; k < 24; k++) most = Math.max(most, likenesses[row + k]!)
    let sum = 0
    for (let k = 0; k < 24; k++) {
      into[row + k] = Math.exp((likenesses[row + k]! - most) / softness)
      const before = t === 0 ? 1 : stay * from[row - 24 + k]! + moveProbability
      sum += from[row + k] = before * into[row + k]!
    }
    for (let k = 0; k < 24; k++) from[row + k]! /= sum
  }
  const after = new Float64Array(24).fill(1)
  for (let t = count - 1; t >= 0; t--) {
    const row = 24 * t
    let sum = 0
    for (let k = 0; k < 24; k++) sum += shares[row + k] = from[row + k]! * after[k]!
    let all = 0
    for (let k = 0; k < 24; k++) {
      shares[row + k]! /= sum
      all += into[row + k] = into[row + k]! * after[k]!
    }
    let norm = 0
    let top = 0
    for (let k = 0; k < 24; k++) {
      after[k] = stay * into[row + k]! + moveProbability * all
      if (t > 0) norm += from[row - 24 + k]! * after[k]!
      top = Math.max(top, after[k]!)
    }
    norms[t] = norm
    for (let k = 0; k < 24; k++) after[k]! /= top
  }
  return { shares, from, into, norms }
}

const nothing: PitchContent = {
  bass: new Float32Array(12),
  treble: new Float32Array(12),
  triads: new Float32Array(24),
  opening: new Float32Array(24),
  moves: new Float32Array(24 * 24),
  tonal: false,
}

export function tonality({ pitches, pitchRate }: Pick<Spectra, 'pitches' | 'pitchRate'>): Tonality {
  const frames = pitches.count
  const { tuning, energies } = tuningAndEnergies(pitches)
  // Where a semitone begins among the bins: between two of them, most often.
  const shift = Math.floor(tuning * pitchBins)
  const part = tuning * pitchBins - shift
  const chromagram = new Float32Array(12 * frames)
  const loudest = energies.reduce((most, energy) => Math.max(most, energy), 0)
  if (loudest < 1e-5) return { tuning: 0, ...nothing, changeAt: () => 0, between: () => nothing }
  /** Of bass and treble, those frames that sound. */
  const low = new Float32Array(12 * frames)
  const high = new Float32Array(12 * frames)
  const frameOf = new Int32Array(frames)
  /** Of the frames that sound: how much each triad is like them, and how much they count. */
  const likenesses = new Float32Array(24 * frames)
  const weights = new Float32Array(frames)
  let heard = 0
  const row = new Float32Array(size)
  const frame = new Float32Array(pitchCount)
  const chroma = new Float32Array(12)
  const whole = new Float32Array(pitchCount)
  for (let t = 0; t < frames; t++) {
    if (energies[t]! < 0.02 * loudest) continue
    pitches.read(t, row)
    for (let p = 0; p < pitchCount; p++) {
      const first = p * pitchBins + shift
      let sum = (1 - part) * binAt(row, first) + part * binAt(row, first + pitchBins)
      for (let b = 1; b < pitchBins; b++) sum += binAt(row, first + b)
      whole[p] = Math.sqrt(sum)
      frame[p] = whole[p]! * audible[p]!
    }
    // A change of harmony is heard wherever it sounds: nothing fades out for that.
    const sounding = takeOffPartials(whole)
    for (let p = 0; p < pitchCount; p++)
      chromagram[12 * t + ((p + lowestPitch) % 12)]! += whole[p]! / sounding
    const total = takeOffPartials(frame)
    chroma.fill(0)
    const weight = Math.sqrt(energies[t]! / loudest)
    for (let p = 0; p < pitchCount; p++) {
      const pitchClass = (p + lowestPitch) % 12
      const value = frame[p]! / total
      low[12 * heard + pitchClass]! += value * bassWeights[p]!
      high[12 * heard + pitchClass]! += value * (1 - bassWeights[p]!)
      chroma[pitchClass]! += value
    }
    for (let triad = 0; triad < 24; triad++) {
      const root = triad % 12
      const third = (root + (triad < 12 ? 4 : 3)) % 12
      likenesses[24 * heard + triad] =
        chroma[root]! * 1.05 + chroma[third]! + chroma[(root + 7) % 12]! + 0.5 * low[12 * heard + root]!
    }
    frameOf[heard] = t
    weights[heard++] = weight
  }
  const { shares, from: movesFrom, into: movesInto, norms } = triadPath(likenesses.subarray(0, 24 * heard))
  /** Expected moves from one triad to another between a sounding frame and the one before. */
  const addMoves = (t: number, moves: Float32Array): void => {
    const row = 24 * t
    for (let before = 0; before < 24; before++) {
      const scale = (movesFrom[row - 24 + before]! * moveProbability) / norms[t]!
      if (scale < 1e-9) continue
      for (let triad = 0; triad < 24; triad++)
        if (triad !== before) moves[before * 24 + triad]! += scale * movesInto[row + triad]!
    }
  }
  const beginnings = roundBeginnings(
    {
      chroma: low.subarray(0, 12 * heard).map((value, i) => value + high[i]!),
      weights: weights.subarray(0, heard),
      rowOf: frameOf.subarray(0, heard),
    },
    pitchRate,
  )
  const comesRound = beginnings.reduce((a, b) => a + b, 0)
  /** Of sounding frames `from` to `to`. */
  const content = (from: number, to: number): PitchContent => {
    const bass = new Float32Array(12)
    const treble = new Float32Array(12)
    const triads = new Float32Array(24)
    const opening = new Float32Array(24)
    const moves = new Float32Array(24 * 24)
    for (let t = from; t < to; t++) {
      const weight = weights[t]!
      for (let c = 0; c < 12; c++) {
        bass[c]! += low[12 * t + c]! * weight
        treble[c]! += high[12 * t + c]! * weight
      }
      for (let triad = 0; triad < 24; triad++) {
        const share = shares[24 * t + triad]!
        triads[triad]! += weight * share
        opening[triad]! += beginnings[t]! * share
      }
      if (t > from) addMoves(t, moves)
    }
    for (const part of [bass, treble, triads, opening, moves]) {
      const sum = part.reduce((a, b) => a + b, 0)
      if (sum > 0) for (let i = 0; i < part.length; i++) part[i]! /= sum
    }
    const begins = opening.some(share => share > 0) ? comesRound : 0
    for (let triad = 0; triad < 24; triad++)
      opening[triad] = begins * opening[triad]! + (1 - begins) * triads[triad]!
    return { bass, treble, triads, opening, moves, tonal: to > from }
  }
  const indexOf = (time: number): number => {
    let index = 0
    while (index < heard && frameOf[index]! < time * pitchRate) index++
    return index
  }
  const changeAt = (time: number): number => {
    const centre = time * pitchRate
    const sum = (from: number, to: number): Float64Array => {
      const out = new Float64Array(12)
      for (let t = Math.max(0, from); t <= Math.min(frames - 1, to); t++)
        for (let c = 0; c < 12; c++) out[c]! += chromagram[12 * t + c]!
      return out
    }
    const before = sum(Math.round(centre - 3.4), Math.round(centre - 1))
    const after = sum(Math.round(centre + 0.6), Math.round(centre + 3))
    let dot = 0
    let a = 0
    let b = 0
    for (let c = 0; c < 12; c++) {
      dot += before[c]! * after[c]!
      a += before[c]! ** 2
      b += after[c]! ** 2
    }
    return a > 0 && b > 0 ? Math.max(0, 1 - dot / Math.sqrt(a * b)) : 0
  }
  return {
    tuning,
    ...content(0, heard),
    changeAt,
    between: (from, to) => content(indexOf(from), indexOf(to)),
  }
}
