import type { Knex } from 'knex'

/** A column of a bulk statement: name, SQL type, and its value in a row. */
export type BulkColumn<Row> = readonly [name: string, type: string, value: (row: Row) => unknown]

/** Rows for one statement: enough to make round trips cheap, few enough to keep a statement to some megabytes. */
const bulkRows = 5_000

/**
 * `unnest(?::uuid[], …) as alias(id, …)` and its bindings, one array for each column. However many rows, the binds
 * are as many as the columns: the protocol's limit of 65,535, past which node-postgres wraps silently, is never near.
 */
export function unnest<Row>(
  alias: string,
  columns: readonly BulkColumn<Row>[],
  rows: readonly Row[],
): { sql: string; bindings: Knex.Value[] } {
  return {
    sql: `unnest(${columns.map(([, type]) => `?::${type}[]`).join(', ')}) as ${alias}(${columns.map(([name]) => name).join(', ')})`,
    // Knex types array bindings by element; the SQL casts say what each really is.
    bindings: columns.map(([, , value]) => rows.map(row => value(row) ?? null) as Knex.Value),
  }
}

/** The rows in slices of `size`. */
export function* slices<Row>(rows: readonly Row[], size = bulkRows): Generator<readonly Row[]> {
  for (let start = 0; start < rows.length; start += size) yield rows.slice(start, start + size)
}
