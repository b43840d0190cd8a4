/** Rows in the order of their keys, which no index has: they wait in a sorter. */
import type { FileSource } from '../core/audio-source.ts'
import type { Proof, RowFacts } from '../core/reconcile/facts.ts'
import type { Sorter } from '../core/reconcile/records.ts'
import { compareUtf8 } from '../core/utf8-order.ts'

export type KeyedRow = RowFacts & { key: string }

/** Keys of rows to a range of the listing: so many that few requests reach beyond their range. */
const keysToARange = 4_096
/** Of this many keys one is kept at first. */
const firstStride = 512
/** Keys that are kept at most: some megabytes. */
const mostKept = 2 ** 14

/** Where a listing is cut, so that its ranges hold about as many rows each: told by a sample of their keys. */
export class RangeKeys {
  readonly #most: number
  #kept: string[] = []
  #stride: number
  #seen = 0

  /** @param limits of the sample (tests) */
  constructor({ stride = firstStride, most = mostKept } = {}) {
    this.#stride = stride
    this.#most = most
  }

  /** In any order. */
  add(key: string): void {
    if (this.#seen++ % this.#stride !== 0) return
    this.#kept.push(key)
    if (this.#kept.length < this.#most) return
    this.#kept = this.#kept.filter((_, index) => index % 2 === 0)
    this.#stride *= 2
  }

  /** In byte order, each once. */
  boundaries(): string[] {
    const step = Math.max(1, Math.round(keysToARange / this.#stride))
    return [...new Set(this.#kept.toSorted(compareUtf8).filter((_, index) => index % step === step - 1))]
  }
}

export async function* keyedRows(sorter: Sorter): AsyncGenerator<KeyedRow[]> {
  for await (const batch of sorter.sorted()) yield batch.map(([key, value]) => decodeRow(key, value))
}

type ProofPage = readonly { key: string; proof: Proof | undefined }[]

/**
 * Rows and what the ledger has proved under their keys: both are in byte order, so that one pass joins them.
 *
 * @param proofs in pages, none of them empty
 */
export async function* withProofs(
  rows: AsyncIterable<KeyedRow[]>,
  proofs: AsyncIterable<ProofPage>,
): AsyncGenerator<KeyedRow[]> {
  const pages = proofs[Symbol.asyncIterator]()
  const nextPage = async (): Promise<ProofPage | undefined> => (await pages.next()).value
  try {
    let page = await nextPage()
    let at = 0
    for await (const batch of rows) {
      for (const row of batch) {
        while (page !== undefined) {
          const order = compareUtf8(page[at]!.key, row.key)
          if (order === 0) row.proof = page[at]!.proof
          // The proof stays: several rows may have the key.
          if (order >= 0) break
          if (++at >= page.length) [page, at] = [await nextPage(), 0]
        }
      }
      yield batch
    }
  } finally {
    await pages.return?.()
  }
}

export const keyOf = (entry: { key: string }): string => entry.key

/** A row as it waits on disk, short: there may be a hundred million of them. */
export function encodeRow({ trackId, source, size, path }: RowFacts): string {
  return `${trackId} ${source ?? ''} ${size ?? ''} ${path === null ? '' : `=${path}`}`
}

function decodeRow(key: string, value: string): KeyedRow {
  const sourceAt = value.indexOf(' ') + 1
  const sizeAt = value.indexOf(' ', sourceAt) + 1
  const pathAt = value.indexOf(' ', sizeAt) + 1
  const size = value.slice(sizeAt, pathAt - 1)
  return {
    trackId: value.slice(0, sourceAt - 1),
    key,
    source: sourceAt === sizeAt - 1 ? null : (value.slice(sourceAt, sizeAt - 1) as FileSource),
    size: size === '' ? null : Number(size),
    path: value.length === pathAt ? null : value.slice(pathAt + 1),
  }
}
