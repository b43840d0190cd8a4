import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import type { Knex } from 'knex'
import { UnlinkedFile } from '../external-sort/unlinked-file.ts'
import { cursorPages } from './cursor.ts'

const idBytes = 16
/** Ids asked for at a time, and written at a time. */
const blockIds = 10_000
/** Ids that are kept in memory; more wait in a temporary file. */
const mostInMemory = 100_000

/** Ids (UUIDs) in the order in which they were added, 16 bytes each: in memory few, in a temporary file the rest. */
export class IdList {
  readonly #blocks: Buffer[] = []
  readonly #mostInMemory: number
  readonly #file = new UnlinkedFile(tmpdir(), `autodj-${randomUUID()}.ids`)
  #inMemory = 0
  #length = 0

  /** @param limit ids that are kept in memory (tests) */
  constructor(limit = mostInMemory) {
    this.#mostInMemory = limit
  }

  get length(): number {
    return this.#length
  }

  /** @throws TemporaryError `temp.full` */
  async add(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return
    const block = Buffer.from(ids.join('').replaceAll('-', ''), 'hex')
    this.#length += ids.length
    // Once the file has begun, all that follows is in it.
    if (this.#file.end === 0 && this.#inMemory + ids.length <= this.#mostInMemory) {
      this.#blocks.push(block)
      this.#inMemory += ids.length
    } else await this.#file.append(block)
  }

  /** All of them, this many at a time; once, as nothing is left of the list afterwards. */
  async *pages(size: number): AsyncGenerator<string[]> {
    let page: string[] = []
    try {
      for await (const block of this.#read()) {
        for (let at = 0; at < block.length; at += idBytes) {
          page.push(formatId(block.toString('hex', at, at + idBytes)))
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
    const block = Buffer.alloc(Math.min(this.#file.end, blockIds * idBytes))
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
  for await (const rows of cursorPages<{ id: string }>(knex, sql, bindings, blockIds))
    await ids.add(rows.map(({ id }) => id))
  return ids
}
