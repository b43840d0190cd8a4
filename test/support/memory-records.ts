import type { SortedRecord, Sorter, Spool, Tags } from '../../src/core/reconcile/records.ts'
import { compareUtf8 } from '../../src/core/utf8-order.ts'

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

/** The Spool port over an array. */
export function memorySpool(batch = 3): Spool {
  const records: { tags: Tags; record: SortedRecord }[] = []
  return {
    add(tags, key, value) {
      records.push({ tags, record: [key, value] })
      return undefined
    },
    async *replay(wanted) {
      const found = records.filter(({ tags }) => wanted(...tags)).map(({ record }) => record)
      for (let start = 0; start < found.length; start += batch) yield found.slice(start, start + batch)
    },
    async close() {},
  }
}
