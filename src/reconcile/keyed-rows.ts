/** Rows in the order of their keys, which no index has: they wait in a sorter. */
import type { Proof, RowFacts } from '../core/reconcile/facts.ts'
import { mergeOrdered } from '../core/reconcile/merge.ts'
import type { Sorter } from '../core/reconcile/records.ts'

export type KeyedRow = RowFacts & { key: string }

/** Keys of rows to a range of the listing: so many that few requests reach beyond their range. */
const keysToARange = 4_000

/** Where one range of the listing ends and the next begins: the last keys of pages, but not of the last one. */
export async function* boundaries(pages: AsyncIterable<readonly KeyedRow[]>): AsyncGenerator<string> {
  let last: string | undefined
  let keys = 0
  for await (const page of pages) {
    if (last !== undefined && keys >= keysToARange) {
      yield last
      keys = 0
    }
    last = page.at(-1)?.key
    keys += page.length
  }
}

export async function* keyedRows(sorter: Sorter): AsyncGenerator<KeyedRow[]> {
  for await (const batch of sorter.sorted()) yield batch.map(([key, value]) => decodeRow(key, value))
}

/** Rows and what the ledger has proved under their keys: both are in byte order, so that one pass joins them. */
export async function* withProofs(
  rows: AsyncIterable<readonly KeyedRow[]>,
  proofs: AsyncIterable<readonly { key: string; proof: Proof | undefined }[]>,
): AsyncGenerator<KeyedRow[]> {
  for await (const pairs of mergeOrdered(rows, proofs, keyOf, keyOf)) {
    const page: KeyedRow[] = []
    for (const { left: row, right } of pairs) {
      if (row === undefined) continue
      if (right?.proof !== undefined) row.proof = right.proof
      page.push(row)
    }
    if (page.length > 0) yield page
  }
}

export const keyOf = (entry: { key: string }): string => entry.key

/** A row as it waits on disk: an array, since names of members would be half of it. */
export function encodeRow({ trackId, source, size, path }: RowFacts): string {
  return JSON.stringify([trackId, source, size, path])
}

function decodeRow(key: string, value: string): KeyedRow {
  const [trackId, source, size, path] = JSON.parse(value)
  return { trackId, key, source, size, path }
}
