import type { Sorter } from '../../../src/core/reconcile/resolve.ts'

/** The Sorter port over an array, in small batches so that groups cross them. */
export function memorySorter(batch = 3): Sorter {
  const records: [string, string][] = []
  return {
    add(key, value) {
      records.push([key, value])
      return undefined
    },
    async *sorted() {
      records.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      for (let start = 0; start < records.length; start += batch) yield records.slice(start, start + batch)
    },
  }
}
