/** Cells for every fingerprint expected: one in sixteen of those that came once is taken for more. */
const cellsEach = 16
const leastCells = 2 ** 12
/** 64 MB. Beyond 16 million fingerprints more pass that came once, and nothing is wrong for it. */
const mostCells = 2 ** 28

/**
 * Tells fingerprints that came once from those that may have come more often, in two bits each: a counting Bloom
 * filter with one hash function (Fan et al., "Summary Cache", 2000). What came twice is never taken for once; what
 * came once may be taken for more, where another one shares its cell.
 */
export class CountingBloomFilter {
  readonly #cells: Uint8Array
  readonly #mask: number

  /** @param expected how many fingerprints will come, about */
  constructor(expected: number) {
    let cells = leastCells
    while (cells < mostCells && cells < cellsEach * expected) cells *= 2
    this.#cells = new Uint8Array(cells / 4)
    this.#mask = cells - 1
  }

  count(fingerprint: number): void {
    const cell = (fingerprint & this.#mask) >>> 0
    const at = cell >>> 2
    const shift = (cell & 3) * 2
    const byte = this.#cells[at] as number
    const seen = (byte >>> shift) & 3
    if (seen < 2) this.#cells[at] = byte + (1 << shift)
  }

  mayRepeat(fingerprint: number): boolean {
    const cell = (fingerprint & this.#mask) >>> 0
    return (((this.#cells[cell >>> 2] as number) >>> ((cell & 3) * 2)) & 3) >= 2
  }
}

/** A text in 32 bits, never 0: FNV-1a over its UTF-16 units, mixed as MurmurHash3 ends (both in the public domain). */
export function fingerprint(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0 || 1
}
