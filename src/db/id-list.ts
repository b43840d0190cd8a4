import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import type { Knex } from 'knex'
import { UnlinkedFile } from '../external-sort/unlinked-file.ts'
import { cursorPages } from './cursor.ts'

/** How an entry of a list is written. */
interface EntryForm<Entry> {
  readonly bytes: number
  write(entries: readonly Entry[]): Buffer
  read(block: Buffer, at: number): Entry
}

/** UUIDs. */
const idForm: EntryForm<string> = {
  bytes: 16,
  write: ids => Buffer.from(ids.join('').replaceAll('-', ''), 'hex'),
  read: (block, at) => formatId(block.toString('hex', at, at + 16)),
}

/** A row and where in its table it lay when it was selected: `(block,item)`. */
export interface PlacedId {
  readonly id: string
  readonly ctid: string
}

/** The row's UUID, and behind it the number of its block and of its item. */
const placedForm: EntryForm<PlacedId> = {
  bytes: 22,
  write(rows) {
    const block = Buffer.alloc(rows.length * 22)
    for (const [index, { id, ctid }] of rows.entries()) {
      const at = index * 22
      block.write(id.replaceAll('-', ''), at, 'hex')
      const comma = ctid.indexOf(',')
      block.writeUInt32LE(Number(ctid.slice(1, comma)), at + 16)
      block.writeUInt16LE(Number(ctid.slice(comma + 1, -1)), at + 20)
    }
    return block
  },
  read: (block, at) => ({
    id: idForm.read(block, at),
    ctid: `(${block.readUInt32LE(at + 16)},${block.readUInt16LE(at + 20)})`,
  }),
}

/** Entries asked for at a time, and written at a time. */
const blockEntries = 10_000
/** Entries that are kept in memory; more wait in a temporary file. */
const mostInMemory = 100_000

/** Entries in the order in which they were added, as few bytes as they take: in memory few, in a temporary file the rest. */
class EntryList<Entry> {
  readonly #form: EntryForm<Entry>
  readonly #blocks: Buffer[] = []
  readonly #mostInMemory: number
  readonly #file = new UnlinkedFile(tmpdir(), `autodj-${randomUUID()}.ids`)
  #inMemory = 0
  #length = 0

  constructor(form: EntryForm<Entry>, limit: number) {
    this.#form = form
    this.#mostInMemory = limit
  }

  get length(): number {
    return this.#length
  }

  /** @throws TemporaryError `temp.full` */
  async add(entries: readonly Entry[]): Promise<void> {
    if (entries.length === 0) return
    const block = this.#form.write(entries)
    this.#length += entries.length
    // Once the file has begun, all that follows is in it.
    if (this.#file.end === 0 && this.#inMemory + entries.length <= this.#mostInMemory) {
      this.#blocks.push(block)
      this.#inMemory += entries.length
    } else await this.#file.append(block)
  }

  /** All of them, this many at a time; once, as nothing is left of the list afterwards. */
  async *pages(size: number): AsyncGenerator<Entry[]> {
    const { bytes, read } = this.#form
    let page: Entry[] = []
    try {
      for await (const block of this.#read()) {
        for (let at = 0; at < block.length; at += bytes) {
          page.push(read(block, at))
          if (page.length < size) continue
          yield page
          page = []
        }
      }
      if (page.length > 0) yield page
    } finally {
      await this.#file.close()
    }
  }

  async *#read(): AsyncGenerator<Buffer> {
    yield* this.#blocks
    const block = Buffer.alloc(Math.min(this.#file.end, blockEntries * this.#form.bytes))
    for (let position = 0; position < this.#file.end; ) {
      const wanted = Math.min(block.length, this.#file.end - position)
      for (let filled = 0; filled < wanted; ) {
        const read = await this.#file.read(block, filled, wanted - filled, position + filled)
        if (read === 0) throw new Error('the temporary file is shorter than what was written to it')
        filled += read
      }
      position += wanted
      yield block.subarray(0, wanted)
    }
  }
}

export class IdList extends EntryList<string> {
  /** @param limit ids that are kept in memory (tests) */
  constructor(limit = mostInMemory) {
    super(idForm, limit)
  }
}

export class PlacedIdList extends EntryList<PlacedId> {
  /** @param limit rows that are kept in memory (tests) */
  constructor(limit = mostInMemory) {
    super(placedForm, limit)
  }
}

/** A UUID as texts have it. @param hex its 32 digits */
export function formatId(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/**
 * The ids that a statement selects, in its order; what comes of it is as old as this call.
 *
 * @param sql gives one column, `id`
 */
export async function selectIds(knex: Knex, sql: string, bindings: readonly unknown[]): Promise<IdList> {
  const ids = new IdList()
  for await (const rows of cursorPages<{ id: string }>(knex, sql, bindings, blockEntries))
    await ids.add(rows.map(({ id }) => id))
  return ids
}

/** As {@link selectIds}, with the places of the rows. @param sql gives two columns, `id` and `ctid` */
export async function selectPlacedIds(
  knex: Knex,
  sql: string,
  bindings: readonly unknown[],
): Promise<PlacedIdList> {
  const rows = new PlacedIdList()
  for await (const page of cursorPages<PlacedId>(knex, sql, bindings, blockEntries)) await rows.add(page)
  return rows
}
