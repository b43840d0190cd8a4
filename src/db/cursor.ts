import type { Knex } from 'knex'

/**
 * The rows of a statement, this many at a time, in its order. It runs once, however many there are, where keyset pages would
 * look rows up all over the table for each; what comes of it is as old as the first page. Holds a connection and a
 * transaction in the meantime, so it is for what is worked on at once; the next page is read while one is.
 *
 * @param sql with `?` for its bindings
 * @param rowMode `array`: rows are their columns in order, half the work of objects if there are millions
 */
export async function* cursorPages<Row>(
  knex: Knex,
  sql: string,
  bindings: readonly unknown[],
  pageSize: number,
  { rowMode }: { rowMode?: 'array' } = {},
): AsyncGenerator<Row[], void> {
  const transaction = await knex.transaction()
  const fetch = async (): Promise<Row[]> => {
    const query = transaction.raw<{ rows: Row[] }>(`fetch ${pageSize} from pages`)
    return (await (rowMode === undefined ? query : query.options({ rowMode }))).rows
  }
  let next: Promise<Row[]> | undefined
  try {
    // All of it is read: planned for the first tenth, as cursors are, it would look every row up by an index.
    await transaction.raw('set local cursor_tuple_fraction = 1')
    await transaction.raw(`declare pages no scroll cursor for ${sql}`, bindings as Knex.RawBinding[])
    next = fetch()
    for (;;) {
      const rows = await next
      const isLast = rows.length < pageSize
      if (!isLast) next = fetch()
      if (rows.length > 0) yield rows
      if (isLast) return
    }
  } finally {
    await next?.catch(() => {})
    await transaction.rollback()
  }
}
