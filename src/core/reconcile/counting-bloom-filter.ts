import { foldCase } from './names.ts'

/** Cells for every fingerprint expected: one in twelve of those that came once is taken for more. */
const cellsEach = 6
const leastCells = 2 ** 12
/** 64 MB. Beyond 45 million fingerprints more pass that came once, and nothing is wrong for it. */
const mostCells = 2 ** 28

/**
 * Tells fingerprints that came once from those that may have come more often, in two cells of two bits each: a counting
 * Bloom filter with two hash functions (Fan et al., "Summary Cache", 2000). What came twice is never taken for once; what
 * came once may be taken for more, where others share both of its cells.
 */
export class CountingBloomFilter {
  readonly #bits: Uint8Array
  readonly #cells: number

  /** @param expected how many fingerprints will come, about */
  constructor(expected: number) {
    this.#cells = Math.min(mostCells, Math.max(leastCells, 4 * Math.ceil((cellsEach * expected) / 4)))
    this.#bits = new Uint8Array(this.#cells / 4)
  }

  count(fingerprint: number): void {
    this.#add(this.#cell(fingerprint))
    this.#add(this.#cell(mix(fingerprint)))
  }

  mayRepeat(fingerprint: number): boolean {
    return this.#isFull(this.#cell(fingerprint)) && this.#isFull(this.#cell(mix(fingerprint)))
  }

  /** Spread evenly over all, however many there are. */
  #cell(hash: number): number {
    return Math.floor((hash * this.#cells) / 2 ** 32)
  }

  #add(cell: number): void {
    const shift = (cell & 3) * 2
    const byte = this.#bits[cell >>> 2] as number
    if (((byte >>> shift) & 3) < 2) this.#bits[cell >>> 2] = byte + (1 << shift)
  }

  #isFull(cell: number): boolean {
    return (((this.#bits[cell >>> 2] as number) >>> ((cell & 3) * 2)) & 3) >= 2
  }
}

const basis = 0x811c9dc5
const prime = 0x01000193

/**
 * A text in 32 bits, never 0: FNV-1a over its UTF-16 units, mixed as MurmurHash3 ends (both in the public domain).
 *
 * @param salt makes another fingerprint of the same text; its lower 32 bits count
 * @param from where the part of the text begins that is enough to tell it by
 */
export function fingerprint(text: string, salt = 0, from = 0): number {
  let hash = basis ^ salt
  for (let index = from; index < text.length; index += 1)
    hash = Math.imul(hash ^ text.charCodeAt(index), prime)
  return mix(hash) || 1
}

/** The fingerprint of `foldCase(name)`, without making that of a name in Latin-1, as nearly all are. */
export function foldedFingerprint(name: string): number {
  let hash = basis
  for (let index = 0; index < name.length; index += 1) {
    const unit = name.charCodeAt(index)
    if (unit >= 0x100) return fingerprint(foldCase(name))
    const isCapital = (unit >= 0x41 && unit <= 0x5a) || (unit >= 0xc0 && unit <= 0xde && unit !== 0xd7)
    hash = Math.imul(hash ^ (isCapital ? unit + 0x20 : unit), prime)
  }
  return mix(hash) || 1
}

function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
