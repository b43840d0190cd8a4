/** Keys of a bucket in the order S3 lists them: bytewise in UTF-8, sorted when somebody lists. */

import { compareUtf8 } from '../../core/utf8-order.ts'

/** Things with a key, found by key and walked in order. */
export class SortedKeys<T extends { readonly key: string }> {
  readonly #byKey = new Map<string, T>()
  /** undefined: it has changed since */
  #sorted: readonly T[] | undefined

  get size(): number {
    return this.#byKey.size
  }

  get(key: string): T | undefined {
    return this.#byKey.get(key)
  }

  add(item: T): void {
    this.#byKey.set(item.key, item)
    this.#sorted = undefined
  }

  remove(key: string): void {
    if (this.#byKey.delete(key)) this.#sorted = undefined
  }

  /** Everything from the first key at or after `key`, in order. */
  *walk(key: string): Generator<T, void, undefined> {
    this.#sorted ??= [...this.#byKey.values()].sort((a, b) => compareUtf8(a.key, b.key))
    const sorted = this.#sorted
    let low = 0
    let high = sorted.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareUtf8(sorted[middle]!.key, key) < 0) low = middle + 1
      else high = middle
    }
    while (low < sorted.length) yield sorted[low++]!
  }
}
