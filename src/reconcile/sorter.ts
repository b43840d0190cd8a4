import { type FileHandle, open, unlink } from 'node:fs/promises'
import path from 'node:path'
import type { Sorter } from '../core/reconcile/resolve.ts'

type Entry = readonly [key: string, value: string]
type Compare = (a: string, b: string) => number

/** Characters held in memory before a run is written; about twice as many bytes. */
const RUN_CHARACTERS = 12 * 1024 * 1024
/** What an entry costs beside its characters, in characters. */
const ENTRY_OVERHEAD = 48
/** Bytes read at a time from each run while merging. */
const BLOCK_BYTES = 64 * 1024
/** Entries to a batch. */
const BATCH = 4_096
/** Runs merged at once; more are merged in several rounds, so that buffers stay bounded. */
const FAN_IN = 64

const byCodeUnits: Compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0)

/**
 * External merge sort (Knuth, TAOCP vol. 3, 5.4): sorted runs go to one nameless temporary file, then a heap merges
 * them. What fits into one run never touches the disk. Memory: one run, and a block for each run.
 */
export class ExternalSorter implements Sorter {
  private entries: Entry[] = []
  private characters = 0
  private readonly runs: Run[] = []
  private file: FileHandle | undefined
  private end = 0
  private readonly folder: string
  private readonly name: string
  private readonly compare: Compare
  private readonly runCharacters: number

  /**
   * @param folder where the temporary file goes; must exist
   * @param name of the file; it is unlinked as soon as it is open, so that not even kill -9 leaves it behind
   */
  constructor(
    folder: string,
    name: string,
    {
      compare = byCodeUnits,
      runCharacters = RUN_CHARACTERS,
    }: { compare?: Compare; runCharacters?: number } = {},
  ) {
    this.folder = folder
    this.name = name
    this.compare = compare
    this.runCharacters = runCharacters
  }

  add(key: string, value: string): Promise<void> | undefined {
    this.entries.push([key, value])
    this.characters += key.length + value.length + ENTRY_OVERHEAD
    return this.characters < this.runCharacters ? undefined : this.spill()
  }

  async *sorted(): AsyncGenerator<readonly Entry[]> {
    try {
      if (this.runs.length === 0) {
        const entries = this.sortEntries()
        for (let start = 0; start < entries.length; start += BATCH) yield entries.slice(start, start + BATCH)
        return
      }
      if (this.entries.length > 0) await this.spill()
      while (this.runs.length > FAN_IN) {
        const merged = await this.writeRun(this.merge(this.runs.splice(0, FAN_IN)))
        this.runs.push(merged)
      }
      yield* this.merge(this.runs)
    } finally {
      await this.close()
    }
  }

  /** Gives the temporary file back; `sorted` does it at its end. */
  async close(): Promise<void> {
    this.entries = []
    await this.file?.close()
    this.file = undefined
  }

  private sortEntries(): Entry[] {
    const { entries, compare } = this
    this.entries = []
    this.characters = 0
    return entries.sort(([a], [b]) => compare(a, b))
  }

  private async spill(): Promise<void> {
    const entries = this.sortEntries()
    async function* batches(): AsyncGenerator<readonly Entry[]> {
      for (let start = 0; start < entries.length; start += BATCH) yield entries.slice(start, start + BATCH)
    }
    this.runs.push(await this.writeRun(batches()))
  }

  private async writeRun(batches: AsyncIterable<readonly Entry[]>): Promise<Run> {
    if (this.file === undefined) {
      const file = path.join(this.folder, `${this.name}.sort`)
      this.file = await open(file, 'wx+', 0o600)
      await unlink(file)
    }
    const start = this.end
    for await (const batch of batches) {
      let text = ''
      for (const [key, value] of batch) text += `${escapeText(key)}\t${escapeText(value)}\n`
      const bytes = Buffer.from(text, 'utf8')
      for (let offset = 0; offset < bytes.length; ) {
        const { bytesWritten } = await this.file.write(bytes, offset, bytes.length - offset, this.end)
        offset += bytesWritten
        this.end += bytesWritten
      }
    }
    return { start, end: this.end }
  }

  private async *merge(runs: readonly Run[]): AsyncGenerator<readonly Entry[]> {
    const file = this.file as FileHandle
    const heap: RunReader[] = []
    for (const run of runs) {
      const reader = new RunReader(file, run)
      if (await reader.advance()) push(heap, reader, this.compare)
    }
    let batch: Entry[] = []
    while (heap.length > 0) {
      const least = heap[0] as RunReader
      batch.push(least.entry)
      if (batch.length >= BATCH) {
        yield batch
        batch = []
      }
      // Without a promise where the block at hand still has entries: most steps.
      if (least.next() || (await least.advance())) sink(heap, this.compare)
      else {
        const last = heap.pop() as RunReader
        if (heap.length > 0) {
          heap[0] = last
          sink(heap, this.compare)
        }
      }
    }
    if (batch.length > 0) yield batch
  }
}

interface Run {
  start: number
  end: number
}

/** Reads one run block by block. */
class RunReader {
  entry: Entry = ['', '']
  private lines: string[] = []
  private index = 0
  private rest: Buffer = Buffer.alloc(0)
  private position: number
  private readonly end: number
  private readonly file: FileHandle

  constructor(file: FileHandle, run: Run) {
    this.file = file
    this.position = run.start
    this.end = run.end
  }

  /** The next entry of the block at hand; false when there is none. */
  next(): boolean {
    if (this.index >= this.lines.length) return false
    const line = this.lines[this.index] as string
    this.index += 1
    const tab = line.indexOf('\t')
    this.entry = [unescapeText(line.slice(0, tab)), unescapeText(line.slice(tab + 1))]
    return true
  }

  /** The next entry, from the disk where need be; false at the end. */
  async advance(): Promise<boolean> {
    while (!this.next()) {
      if (this.position >= this.end) return false
      const block = Buffer.allocUnsafe(Math.min(BLOCK_BYTES, this.end - this.position))
      const { bytesRead } = await this.file.read(block, 0, block.length, this.position)
      if (bytesRead === 0) throw new Error('the temporary file is shorter than what was written to it')
      this.position += bytesRead
      const bytes = Buffer.concat([this.rest, block.subarray(0, bytesRead)])
      const newline = bytes.lastIndexOf(10)
      this.lines = newline < 0 ? [] : bytes.toString('utf8', 0, newline).split('\n')
      this.rest = bytes.subarray(newline + 1)
      this.index = 0
    }
    return true
  }
}

function push(heap: RunReader[], reader: RunReader, compare: Compare): void {
  let index = heap.push(reader) - 1
  while (index > 0) {
    const parent = (index - 1) >> 1
    if (compare((heap[parent] as RunReader).entry[0], reader.entry[0]) <= 0) return
    heap[index] = heap[parent] as RunReader
    heap[parent] = reader
    index = parent
  }
}

/** Restores the heap after its first entry has changed. */
function sink(heap: RunReader[], compare: Compare): void {
  const top = heap[0] as RunReader
  let index = 0
  for (;;) {
    let child = 2 * index + 1
    if (child >= heap.length) break
    const right = heap[child + 1]
    if (right !== undefined && compare(right.entry[0], (heap[child] as RunReader).entry[0]) < 0) child += 1
    const least = heap[child] as RunReader
    if (compare(top.entry[0], least.entry[0]) <= 0) break
    heap[index] = least
    index = child
  }
  heap[index] = top
}

/** Lone surrogates have no UTF-8, and must come back as they went. */
const special = /[\\\t\n\ud800-\udfff]/

function escapeText(text: string): string {
  if (!special.test(text)) return text
  return text
    .replaceAll('\\', '\\\\')
    .replaceAll('\t', '\\t')
    .replaceAll('\n', '\\n')
    .replace(/\p{Surrogate}/gu, unit => `\\u${unit.charCodeAt(0).toString(16)}`)
}

function unescapeText(text: string): string {
  if (!text.includes('\\')) return text
  return text.replace(/\\(?:u([0-9a-f]{4})|([tn\\]))/g, (_, hex: string | undefined, letter: string) =>
    hex !== undefined
      ? String.fromCharCode(Number.parseInt(hex, 16))
      : letter === 't'
        ? '\t'
        : letter === 'n'
          ? '\n'
          : '\\',
  )
}
