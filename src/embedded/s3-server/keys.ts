/** Keys of a bucket in the order S3 lists them: bytewise in UTF-8, made lazily when somebody lists. */

import { compareUtf8 } from '../../core/utf8-order.ts'

/** Things with a key, found by key and walked in order. Adding is O(1), the first walk after it O(n + k log k). */
export class SortedKeys<T extends { readonly key: string }> {
  readonly #byKey = new Map<string, T>()
  #sorted: T[] = []
  #added: T[] = []
  #removed = 0

  get size(): number {
    return this.#byKey.size
  }

  get(key: string): T | undefined {
    return this.#byKey.get(key)
  }

  /** The key must not be there yet. */
  add(item: T): void {
    this.#byKey.set(item.key, item)
    this.#added.push(item)
  }

  remove(key: string): void {
    if (this.#byKey.delete(key)) this.#removed++
  }

  values(): IterableIterator<T> {
    return this.#byKey.values()
  }

  /**
   * Everything from the first key at or after `key`, in order. `next(prefix)` leaps over all keys with that prefix.
   * Items removed while walking are left out.
   */
  *walk(key: string): Generator<T, void, string | undefined> {
    const sorted = this.#settle()
    let i = lowerBound(sorted, key)
    while (i < sorted.length) {
      const item = sorted[i++]!
      if (this.#byKey.get(item.key) !== item) continue
      const past = yield item
      if (past !== undefined) i = pastPrefix(sorted, past, i)
    }
  }

  #settle(): T[] {
    if (this.#added.length === 0 && this.#removed <= this.#byKey.size) return this.#sorted
    const live = (item: T) => this.#byKey.get(item.key) === item
    const old = this.#removed > 0 ? this.#sorted.filter(live) : this.#sorted
    const added = (this.#removed > 0 ? this.#added.filter(live) : this.#added).sort((a, b) =>
      compareUtf8(a.key, b.key),
    )
    const merged: T[] = []
    let i = 0
    for (const item of added) {
      while (i < old.length && compareUtf8(old[i]!.key, item.key) < 0) merged.push(old[i++]!)
      merged.push(item)
    }
    while (i < old.length) merged.push(old[i++]!)
    this.#added = []
    this.#removed = 0
    // A walk in progress keeps the array it began with.
    this.#sorted = merged
    return merged
  }
}

function lowerBound(sorted: readonly { key: string }[], key: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareUtf8(sorted[middle]!.key, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

function pastPrefix(sorted: readonly { key: string }[], prefix: string, from: number): number {
  let low = from
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const { key } = sorted[middle]!
    if (key.startsWith(prefix) || compareUtf8(key, prefix) < 0) low = middle + 1
    else high = middle
  }
  return low
}
