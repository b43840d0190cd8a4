import type { Knex } from 'knex'

/**
 * The rows of a statement, so many at a time, in its order. It runs once, however many there are, where keyset pages would
 * look rows up all over the table for each; what comes of it is as old as the first page. Holds a connection meanwhile.
 *
 * @param sql with `?` for its bindings
 */
export async function* cursorPages<Row>(
  knex: Knex,
  sql: string,
  bindings: readonly unknown[],
  pageSize: number,
): AsyncGenerator<Row[], void> {
  const transaction = await knex.transaction()
  try {
    // All of it is read: planned for the first tenth, as cursors are, it would look every row up by an index.
    await transaction.raw('set local cursor_tuple_fraction = 1')
    await transaction.raw(`declare pages no scroll cursor for ${sql}`, bindings as Knex.RawBinding[])
    for (;;) {
      const { rows } = await transaction.raw<{ rows: Row[] }>(`fetch ${pageSize} from pages`)
      if (rows.length > 0) yield rows
      if (rows.length < pageSize) return
    }
  } finally {
    await transaction.rollback()
  }
}
