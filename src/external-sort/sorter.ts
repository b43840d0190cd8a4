import type { SortedRecord as Entry, Sorter } from '../core/reconcile/records.ts'
import { bytesFrom, header, lengthAt, sortByKey } from './key-order.ts'
import { UnlinkedFile } from './unlinked-file.ts'

/** Bytes held in memory before a run is written. */
const runCapacity = 4 * 1024 * 1024
/** Bytes read at a time from each run while merging. */
const blockBytes = 32 * 1024
/** Bytes written at a time. */
const chunkBytes = 256 * 1024
/** Entries to a batch. */
const batchEntries = 1_024
/** Runs merged at once; more are merged in several rounds, so that buffers stay bounded. */
const fanIn = 128
/** Bytes of keys that readers are compared by before all of them are. */
const rankBytes = 6

/**
 * External merge sort (Knuth, TAOCP vol. 3, 5.4) by the UTF-8 bytes of the keys: sorted runs go to one nameless
 * temporary file, then a heap merges them. What fits into one run never touches the disk. Memory: one run, and a block
 * for each run; entries are kept as bytes outside the JavaScript heap, where a million strings would be garbage to
 * collect again and again.
 *
 * Texts must be well-formed: a lone surrogate has no bytes.
 */
export class ExternalSorter implements Sorter {
  #run: MemoryRun
  #spare: MemoryRun | undefined
  readonly #runs: Extent[] = []
  readonly #file: UnlinkedFile
  #writing: Promise<void> = Promise.resolve()
  #prefix: Buffer | undefined
  readonly #runBytes: number

  /**
   * @param folder where the temporary file goes; must exist
   */
  constructor(folder: string, name: string, { runBytes = runCapacity }: { runBytes?: number } = {}) {
    this.#file = new UnlinkedFile(folder, `${name}.sort`)
    this.#runBytes = runBytes
    this.#run = new MemoryRun(runBytes)
  }

  /** Adds an entry. The promise, if there is one, is back-pressure; entries may be added while it is open. */
  add(key: string, value: string): Promise<void> | undefined {
    if (this.#run.add(key, value)) return undefined
    const full = this.#run
    this.#run = this.#spare ?? new MemoryRun(this.#runBytes)
    this.#spare = undefined
    this.#run.add(key, value)
    return this.#spill(full)
  }

  async *sorted(): AsyncGenerator<readonly Entry[]> {
    try {
      await this.#writing
      if (this.#runs.length === 0) {
        yield* this.#run.batches()
        return
      }
      await this.#spill(this.#run)
      this.#spare = undefined
      while (this.#runs.length > fanIn) {
        const merging = this.#runs.splice(0, fanIn)
        const writer = new RunWriter(this.#file)
        const write = (entry: RunReader): boolean => writer.add(entry.block, entry.start, entry.end)
        for await (const _ of this.#merge(merging, write)) await writer.flush()
        this.#runs.push(await writer.finish())
      }
      let batch: Entry[] = []
      const take = (entry: RunReader): boolean => batch.push(decode(entry.block, entry.start)) >= batchEntries
      for await (const _ of this.#merge(this.#runs, take)) {
        yield batch
        batch = []
      }
      if (batch.length > 0) yield batch
    } finally {
      await this.#writing.catch(() => {})
      await this.#file.close()
    }
  }

  #spill(run: MemoryRun): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      const writer = new RunWriter(this.#file)
      const order = run.inOrder()
      this.#narrowPrefix(run.bytes, order)
      for (const offset of order) {
        if (writer.add(run.bytes, offset, run.endOf(offset))) await writer.flush()
      }
      this.#runs.push(await writer.finish())
      // Its memory is used again: buffers wait long for the garbage collector, which does not see their size.
      run.clear()
      this.#spare = run
    })
    return this.#writing
  }

  /** What all keys begin with, so far: those of a run lie between its first and its last. */
  #narrowPrefix(bytes: Buffer, order: Uint32Array): void {
    for (const entry of [order[0], order.at(-1)]) {
      if (entry === undefined) return
      const key = bytes.subarray(entry + header, entry + header + lengthAt(bytes, entry))
      this.#prefix ??= Buffer.from(key)
      let common = 0
      while (common < this.#prefix.length && this.#prefix[common] === key[common]) common += 1
      this.#prefix = this.#prefix.subarray(0, common)
    }
  }

  /** Calls `take` with every entry in order, and yields if that says so: a promise for each would be costly. */
  async *#merge(runs: readonly Extent[], take: (entry: RunReader) => boolean): AsyncGenerator<void> {
    const heap: RunReader[] = []
    for (const run of runs) {
      const reader = new RunReader(this.#file, run, this.#prefix?.length ?? 0)
      if (reader.next() || (await reader.advance())) push(heap, reader)
    }
    while (heap.length > 0) {
      const least = heap[0] as RunReader
      if (take(least)) yield
      // Without a promise if the block at hand still has entries: most steps.
      if (!least.next() && !(await least.advance())) {
        const last = heap.pop() as RunReader
        if (heap.length === 0) return
        heap[0] = last
      }
      sink(heap)
    }
  }
}

/** Entries in memory, one after the other as bytes. */
class MemoryRun {
  bytes: Buffer = Buffer.alloc(0)
  #used = 0
  #offsets = new Uint32Array(0)
  #count = 0
  readonly #most: number

  constructor(most: number) {
    this.#most = most
  }

  /** @returns false when it is full; the first entry always fits */
  add(key: string, value: string): boolean {
    // A UTF-16 unit is at most three bytes of UTF-8.
    const atMost = header + 3 * (key.length + value.length)
    if (this.#used + atMost > this.bytes.length && !this.#grow(atMost)) return false
    if (this.#count === this.#offsets.length) {
      const offsets = new Uint32Array(Math.max(1_024, 2 * this.#offsets.length))
      offsets.set(this.#offsets)
      this.#offsets = offsets
    }
    const { bytes } = this
    const used = this.#used
    const keyLength = bytes.write(key, used + header, 'utf8')
    const valueLength = bytes.write(value, used + header + keyLength, 'utf8')
    bytes.writeUInt32LE(keyLength, used)
    bytes.writeUInt32LE(valueLength, used + 4)
    this.#offsets[this.#count] = used
    this.#count += 1
    this.#used = used + header + keyLength + valueLength
    return true
  }

  clear(): void {
    this.#used = 0
    this.#count = 0
  }

  #grow(by: number): boolean {
    if (this.#count > 0 && this.#used + by > this.#most) return false
    const size = Math.max(this.#used + by, Math.min(this.#most, Math.max(16_384, 2 * this.bytes.length)))
    const bytes = Buffer.allocUnsafeSlow(size)
    this.bytes.copy(bytes, 0, 0, this.#used)
    this.bytes = bytes
    return true
  }

  /** Where the entries begin, in the order of their keys. */
  inOrder(): Uint32Array {
    const order = this.#offsets.subarray(0, this.#count)
    sortByKey(this.bytes, order)
    return order
  }

  endOf(offset: number): number {
    return endOfEntry(this.bytes, offset)
  }

  *batches(): Generator<readonly Entry[]> {
    const order = this.inOrder()
    for (let start = 0; start < order.length; start += batchEntries) {
      const batch: Entry[] = []
      for (const offset of order.subarray(start, start + batchEntries)) batch.push(decode(this.bytes, offset))
      yield batch
    }
  }
}

function endOfEntry(bytes: Uint8Array, at: number): number {
  return at + header + lengthAt(bytes, at) + lengthAt(bytes, at + 4)
}

function decode(bytes: Buffer, at: number): Entry {
  const keyEnd = at + header + lengthAt(bytes, at)
  return [
    bytes.toString('utf8', at + header, keyEnd),
    bytes.toString('utf8', keyEnd, keyEnd + lengthAt(bytes, at + 4)),
  ]
}

/** Where a run lies in the file. */
interface Extent {
  start: number
  end: number
}

class RunWriter {
  readonly #start: number
  readonly #file: UnlinkedFile
  #chunk = Buffer.allocUnsafeSlow(chunkBytes)
  #used = 0

  constructor(file: UnlinkedFile) {
    this.#file = file
    this.#start = file.end
  }

  /** @returns whether it is time to `flush` */
  add(bytes: Buffer, start: number, end: number): boolean {
    const needed = this.#used + end - start
    if (needed > this.#chunk.length) {
      const larger = Buffer.allocUnsafeSlow(2 * needed)
      this.#chunk.copy(larger, 0, 0, this.#used)
      this.#chunk = larger
    }
    bytes.copy(this.#chunk, this.#used, start, end)
    this.#used = needed
    return needed >= chunkBytes / 2
  }

  async finish(): Promise<Extent> {
    await this.flush()
    return { start: this.#start, end: this.#file.end }
  }

  async flush(): Promise<void> {
    const used = this.#used
    this.#used = 0
    await this.#file.append(this.#chunk.subarray(0, used))
  }
}

/** Reads one run block by block; the entry at hand is `block` from `start` to `end`. */
class RunReader {
  block: Buffer = Buffer.alloc(0)
  start = 0
  end = 0
  /** its key beyond what all begin with, as far as a number holds it */
  rank = 0
  readonly #prefixLength: number
  #filled = 0
  #position: number
  readonly #last: number
  readonly #file: UnlinkedFile

  constructor(file: UnlinkedFile, run: Extent, prefixLength: number) {
    this.#file = file
    this.#prefixLength = prefixLength
    this.#position = run.start
    this.#last = run.end
  }

  /** The next entry of the block at hand; false when it is not wholly there. */
  next(): boolean {
    const left = this.#filled - this.end
    if (left < header) return false
    const end = endOfEntry(this.block, this.end)
    if (end > this.#filled) return false
    this.start = this.end
    this.end = end
    this.rank = bytesFrom(this.block, this.start, this.#prefixLength, rankBytes)
    return true
  }

  /** The next entry, from the disk; false at the end of the run. */
  async advance(): Promise<boolean> {
    do {
      const left = this.#filled - this.end
      if (this.#position >= this.#last) {
        if (left > 0) throw new Error('the temporary file ends within an entry')
        return false
      }
      const need = left >= header ? endOfEntry(this.block, this.end) - this.end : header
      const fits = need <= this.block.length
      const block = fits ? this.block : Buffer.allocUnsafeSlow(Math.max(blockBytes, need))
      this.block.copy(block, 0, this.end, this.#filled)
      const wanted = Math.min(block.length - left, this.#last - this.#position)
      const bytesRead = await this.#file.read(block, left, wanted, this.#position)
      if (bytesRead === 0) throw new Error('the temporary file is shorter than what was written to it')
      this.#position += bytesRead
      this.block = block
      this.#filled = left + bytesRead
      this.end = 0
    } while (!this.next())
    return true
  }
}

function compareEntries(a: RunReader, b: RunReader): number {
  if (a.rank !== b.rank) return a.rank - b.rank
  const endOfA = a.start + header + lengthAt(a.block, a.start)
  const endOfB = b.start + header + lengthAt(b.block, b.start)
  return a.block.compare(b.block, b.start + header, endOfB, a.start + header, endOfA)
}

function push(heap: RunReader[], reader: RunReader): void {
  let index = heap.push(reader) - 1
  while (index > 0) {
    const parent = (index - 1) >> 1
    if (compareEntries(heap[parent] as RunReader, reader) <= 0) return
    heap[index] = heap[parent] as RunReader
    heap[parent] = reader
    index = parent
  }
}

/** Restores the heap after its first entry has changed. */
function sink(heap: RunReader[]): void {
  const top = heap[0] as RunReader
  let index = 0
  for (;;) {
    let child = 2 * index + 1
    if (child >= heap.length) break
    const right = heap[child + 1]
    if (right !== undefined && compareEntries(right, heap[child] as RunReader) < 0) child += 1
    const least = heap[child] as RunReader
    if (compareEntries(top, least) <= 0) break
    heap[index] = least
    index = child
  }
  heap[index] = top
}
