import { createHash } from 'node:crypto'
import type { Knex } from 'knex'

/**
 * What tells this database from others, copies of it included: objects carry it, so that two libraries in one bucket can
 * tell theirs apart. 16 hexadecimal digits; undefined if the database does not say.
 */
export async function libraryOf(knex: Knex): Promise<string | undefined> {
  try {
    const { rows } = await knex.raw<{ rows: { identity: string }[] }>(
      "select system_identifier || '/' || current_database() as identity from pg_control_system()",
    )
    const identity = rows[0]?.identity
    return identity && createHash('sha256').update(identity).digest('hex').slice(0, 16)
  } catch {
    // Not every kind of server has it, or lets everybody ask.
    return undefined
  }
}
