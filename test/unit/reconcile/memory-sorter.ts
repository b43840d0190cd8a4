import type { Sorter } from '../../../src/core/reconcile/resolve.ts'
import { compareUtf8 } from '../../../src/core/utf8-order.ts'

/** The Sorter port over an array, in small batches so that groups cross them. */
export function memorySorter(batch = 3): Sorter {
  const records: [string, string][] = []
  return {
    add(key, value) {
      records.push([key, value])
      return undefined
    },
    async *sorted() {
      records.sort(([a], [b]) => compareUtf8(a, b))
      for (let start = 0; start < records.length; start += batch) yield records.slice(start, start + batch)
    },
  }
}
