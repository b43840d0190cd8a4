/** An index in memory from what a row may call its file to the row's id: some 24 bytes an entry, however long the names. */

import { formatId } from '../db/id-list.ts'

/** Entries sorted together. */
const chunkEntries = 65_536
const idBytes = 16

/** Entries of one handle beyond which only those count that led to the same file when they were added. */
const crowd = 256

/** Adds ids (UUIDs) by handle, finds them again. Two handles may look alike: whoever asks looks at the rows themselves. */
export class RowHandles {
  readonly #chunks: Chunk[] = []
  #open = new Chunk()

  /**
   * @param handle what the row may call its file
   * @param file what it leads to now, if that is known
   */
  add(handle: string, id: string, file = ''): void {
    if (this.#open.add(hashOf(handle), hashOf(file), id)) return
    this.#open.sort()
    this.#chunks.push(this.#open)
    this.#open = new Chunk()
    this.#open.add(hashOf(handle), hashOf(file), id)
  }

  /**
   * Ids of the rows with this handle, and perhaps of a few others. Of a crowd with one and the same handle (`audio.mp3` in
   * each folder) only those that led to `file` when they were added.
   */
  find(handle: string, file: string): string[] {
    const [wanted, target] = [hashOf(handle), hashOf(file)]
    const all: string[] = []
    const same: string[] = []
    for (const chunk of [...this.#chunks, this.#open]) {
      for (const at of chunk.entriesOf(wanted)) {
        if (all.length <= crowd) all.push(chunk.id(at))
        if (chunk.file(at) === target) same.push(chunk.id(at))
      }
    }
    return all.length <= crowd ? all : same
  }
}

class Chunk {
  #handles: Uint32Array = new Uint32Array(1_024)
  #files = new Uint32Array(1_024)
  #ids: Buffer = Buffer.alloc(1_024 * idBytes)
  #length = 0
  /** places of the entries in the order of their handles, once there will be no more */
  #order: Uint32Array | undefined

  add(handle: number, file: number, id: string): boolean {
    if (this.#length === chunkEntries) return false
    if (this.#length === this.#handles.length) this.#grow()
    this.#handles[this.#length] = handle
    this.#files[this.#length] = file
    this.#ids.write(id.replaceAll('-', ''), this.#length * idBytes, 'hex')
    this.#length += 1
    return true
  }

  #grow(): void {
    const [handles, files, ids] = [this.#handles, this.#files, this.#ids]
    this.#handles = new Uint32Array(handles.length * 2)
    this.#handles.set(handles)
    this.#files = new Uint32Array(files.length * 2)
    this.#files.set(files)
    this.#ids = Buffer.alloc(ids.length * 2)
    ids.copy(this.#ids)
  }

  sort(): void {
    const handles = this.#handles
    this.#order = Uint32Array.from({ length: this.#length }, (_, at) => at).sort(
      (a, b) => (handles[a] as number) - (handles[b] as number),
    )
  }

  *entriesOf(handle: number): Generator<number> {
    const [handles, order] = [this.#handles, this.#order]
    if (order === undefined) {
      for (let at = 0; at < this.#length; at++) if (handles[at] === handle) yield at
      return
    }
    let [low, high] = [0, order.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((handles[order[middle] as number] as number) < handle) low = middle + 1
      else high = middle
    }
    for (; low < order.length && handles[order[low] as number] === handle; low++) yield order[low] as number
  }

  file(at: number): number {
    return this.#files[at] as number
  }

  id(at: number): string {
    return formatId(this.#ids.toString('hex', at * idBytes, (at + 1) * idBytes))
  }
}

/** FNV-1a, 32 bits, over UTF-16 units. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return hash >>> 0
}
