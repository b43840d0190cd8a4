/**
 * Chords tend to come round, and the round to begin on the tonic: Am F C G is in A minor, C G Am F in C major, and nothing
 * but where it begins tells them apart. How long a round lasts is told by the autocorrelation of the chroma (Foote,
 * "Visualizing music and audio using self-similarity", ACM Multimedia 1999), which a shift of pitch or another encoder
 * hardly moves; it begins with the music. One second at the beginning alone is told by five spectra, all rounds by hundreds.
 */

/** Seconds that a round may last. */
const shortest = 3
const longest = 26
/** Seconds of music that are looked at: a bar too many in between, and nothing after it is in step. */
const span = 120
/** Rounds that are compared with each other, at most. */
const compared = 3
/** Part of a row by which lengths are tried. */
const step = 0.25
/** Lengths are weighed by how alike rounds of them are (a correlation, -1 to 1) over this, as logarithms of probabilities. */
const softness = 0.06
/** As alike as this something that does not come round is taken to be. */
const chance = 0.5
/** Seconds after which a round is no longer at its beginning. */
const beginning = 0.7

interface Sounding {
  /** Of each row that sounds, 12 each: chroma. */
  readonly chroma: Float32Array
  /** How much it counts. */
  readonly weights: Float32Array
  /** Where it lies, counted in rows, ascending. */
  readonly rowOf: Int32Array
}

/** Correlation of the chroma with itself, by how many rows later. */
function autocorrelation({ chroma, weights, rowOf }: Sounding, rows: number, most: number): Float64Array {
  const mean = new Float64Array(12)
  let all = 0
  for (const [t, weight] of weights.entries()) {
    all += weight
    for (let c = 0; c < 12; c++) mean[c]! += weight * chroma[12 * t + c]!
  }
  const centred = new Float32Array(12 * rows)
  let power = 0
  for (const [t, row] of rowOf.entries())
    for (let c = 0; c < 12; c++) {
      const value = chroma[12 * t + c]! - mean[c]! / all
      centred[12 * (row - rowOf[0]!) + c] = value
      power += value * value
    }
  return Float64Array.from({ length: most + 1 }, (_, lag) => {
    let sum = 0
    for (let i = 12 * lag; i < centred.length; i++) sum += centred[i - 12 * lag]! * centred[i]!
    return power > 0 ? (sum * rows) / (power * (rows - lag)) : 0
  })
}

/** Lengths of a round in rows, each with how alike rounds of it are. */
function lengthsOf(
  sounding: Sounding,
  rows: number,
  rate: number,
): (readonly [length: number, alike: number])[] {
  const most = Math.min(rows - 1, Math.round(compared * longest * rate))
  const alikeAt = autocorrelation(sounding, rows, most)
  const lengths: (readonly [number, number])[] = []
  for (let length = shortest * rate; length <= Math.min(longest * rate, 0.6 * rows); length += step) {
    let sum = 0
    let all = 0
    for (let lag = length; lag <= most && lag < 0.75 * rows; lag += length) {
      const first = Math.floor(lag)
      const next = Math.min(most, first + 1)
      const overlap = rows - lag
      sum += overlap * (alikeAt[first]! + (lag - first) * (alikeAt[next]! - alikeAt[first]!))
      all += overlap
    }
    if (all > 0) lengths.push([length, sum / all])
  }
  return lengths
}

/**
 * How much each sounding row counts as the beginning of a round of chords.
 * @param rate rows a second.
 * @returns shares that sum to the probability that the harmony comes round at all.
 */
export function roundBeginnings(sounding: Sounding, rate: number): Float64Array {
  const { rowOf } = sounding
  const first = rowOf[0] ?? 0
  let count = 0
  while (count < rowOf.length && rowOf[count]! - first < span * rate) count++
  const shares = new Float64Array(rowOf.length)
  if (count === 0) return shares
  const early = {
    chroma: sounding.chroma.subarray(0, 12 * count),
    weights: sounding.weights.subarray(0, count),
    rowOf: rowOf.subarray(0, count),
  }
  const lengths = lengthsOf(early, rowOf[count - 1]! - first + 1, rate)
  const top = lengths.reduce((best, [, alike]) => Math.max(best, alike), chance)
  const likely = lengths.map(([, alike]) => Math.exp((alike - top) / softness))
  const all = likely.reduce((sum, value) => sum + value, Math.exp((chance - top) / softness))
  const ofRound = new Float64Array(count)
  for (const [i, [length]] of lengths.entries()) {
    const probability = likely[i]! / all
    if (probability < 1e-4) continue
    let sum = 0
    for (let t = 0; t < count; t++) {
      // A row that is centred just before a round begins hears its beginning.
      const since = Math.max(0, ((rowOf[t]! - first + 0.5) % length) - 0.5) / rate
      sum += ofRound[t] = early.weights[t]! / (1 + (since / beginning) ** 4)
    }
    for (let t = 0; t < count; t++) shares[t]! += (probability * ofRound[t]!) / sum
  }
  return shares
}
