import type { Knex } from 'knex'
import { cursorPages } from './cursor.ts'

const idBytes = 16
/** Ids asked for at a time. */
const fetchRows = 10_000

/** Ids (UUIDs) in the order in which they were added: 16 bytes each, outside the JavaScript heap. */
export class IdList {
  readonly #blocks: Buffer[] = []
  #length = 0

  get length(): number {
    return this.#length
  }

  add(ids: readonly string[]): void {
    if (ids.length === 0) return
    this.#blocks.push(Buffer.from(ids.join('').replaceAll('-', ''), 'hex'))
    this.#length += ids.length
  }

  /** All of them, so many at a time. */
  *pages(size: number): Generator<string[]> {
    let page: string[] = []
    for (const block of this.#blocks) {
      for (let at = 0; at < block.length; at += idBytes) {
        page.push(formatId(block.toString('hex', at, at + idBytes)))
        if (page.length < size) continue
        yield page
        page = []
      }
    }
    if (page.length > 0) yield page
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
  for await (const rows of cursorPages<{ id: string }>(knex, sql, bindings, fetchRows))
    ids.add(rows.map(({ id }) => id))
  return ids
}
