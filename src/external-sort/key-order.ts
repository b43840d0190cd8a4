/** The order of entries in memory by the bytes of their keys. */

/** Length of key and of value, 32 bits each, before their bytes. */
export const header = 8

export function lengthAt(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  )
}

/** Bytes of a key that are sorted by at a time: with the place of its entry they fit the 53 bits of a number. */
const digitBytes = 4
const places = 2 ** 21
/** Fewer are compared with each other. */
const few = 12

/**
 * Sorts entries, by where they begin: by four bytes of their keys at a time, the most significant first, as numbers, which
 * V8 sorts without calling anything back. What the keys of a group have in common is passed over.
 */
export function sortByKey(bytes: Uint8Array, entries: Uint32Array): void {
  if (entries.length <= few || entries.length > places) {
    entries.sort((a, b) => compareKeys(bytes, a, b))
    return
  }
  const skip = commonLength(bytes, entries)
  const numbers = new Float64Array(entries.length)
  for (let place = 0; place < entries.length; place += 1) {
    const entry = entries[place] as number
    numbers[place] = bytesFrom(bytes, entry, skip, digitBytes) * places + place
  }
  numbers.sort()
  const before = entries.slice()
  let start = 0
  for (let place = 0; place < numbers.length; place += 1) {
    const number = numbers[place] as number
    entries[place] = before[number % places] as number
    const next = place + 1 < numbers.length ? (numbers[place + 1] as number) : -1
    if (next >= 0 && Math.floor(next / places) === Math.floor(number / places)) continue
    if (place > start) sortGroup(bytes, entries.subarray(start, place + 1), entries.length)
    start = place + 1
  }
}

function sortGroup(bytes: Uint8Array, group: Uint32Array, of: number): void {
  // Where one key ends and another goes on with NUL, four bytes more tell nothing.
  if (group.length === of) group.sort((a, b) => compareKeys(bytes, a, b))
  else sortByKey(bytes, group)
}

function compareKeys(bytes: Uint8Array, a: number, b: number): number {
  const endOfA = a + header + lengthAt(bytes, a)
  const endOfB = b + header + lengthAt(bytes, b)
  let [i, j] = [a + header, b + header]
  for (; i < endOfA && j < endOfB; i += 1, j += 1) {
    const difference = (bytes[i] as number) - (bytes[j] as number)
    if (difference !== 0) return difference
  }
  return endOfA - i - (endOfB - j)
}

/** Bytes with which all keys begin. */
function commonLength(bytes: Uint8Array, entries: Uint32Array): number {
  const first = entries[0] as number
  let common = lengthAt(bytes, first)
  for (const entry of entries) {
    common = Math.min(common, lengthAt(bytes, entry))
    for (let index = 0; index < common; index += 1)
      if (bytes[first + header + index] !== bytes[entry + header + index]) common = index
  }
  return common
}

/** So many bytes of the key of an entry, after `skip`, as one number; where it ends before, zeros. */
export function bytesFrom(bytes: Uint8Array, entry: number, skip: number, count: number): number {
  const start = entry + header
  const end = start + lengthAt(bytes, entry)
  let number = 0
  for (let at = start + skip; at < start + skip + count; at += 1)
    number = number * 256 + (at < end ? (bytes[at] as number) : 0)
  return number
}
