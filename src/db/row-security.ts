/** Policies that keep rows from the user as whom we are connected: what it is not shown looks as if it were not there. */
import type { Knex } from 'knex'
import { refuseIfTripped, trippedBreakers } from '../core/safety.ts'
import { AppError } from '../errors.ts'

/** Whether row-level security of `tracks` applies to this user; its owner, and whoever may bypass it, see every row. */
export async function rowsMayBeHidden(knex: Knex): Promise<boolean> {
  const { rows } = await knex.raw<{ rows: { active: boolean }[] }>(
    `select row_security_active('tracks') as active`,
  )
  return rows[0]?.active === true
}

/**
 * For what removes an object or a file that no row needs.
 *
 * @throws SafetyLimitError if there may be rows that this user is not shown
 */
export async function requireAllRows({ knex }: { knex: Knex }, { force }: { force: boolean }): Promise<void> {
  if (force) return
  refuseIfTripped(trippedBreakers({ limit: {}, rowsMayBeHidden: await rowsMayBeHidden(knex) }))
}

/** Rows that are looked at one by one. */
const mostProbed = 1_000

/**
 * Of rows that are there and could not be locked, those that no other transaction holds: a policy lets this user see them,
 * and not change them.
 */
export async function keptByPolicy(knex: Knex, ids: Iterable<string>): Promise<Set<string>> {
  const kept = new Set<string>()
  const some = [...ids].slice(0, mostProbed)
  if (some.length === 0 || !(await rowsMayBeHidden(knex))) return kept
  for (const id of some) {
    // A savepoint, in a transaction: what is locked is an error.
    const found = await knex
      .transaction(trx => trx('tracks').where({ id }).forNoKeyUpdate().noWait().pluck('id'))
      .catch((error: unknown) => {
        if (error instanceof AppError && error.code === 'db.busy') return [id]
        throw error
      })
    if (found.length === 0) kept.add(id)
  }
  return kept
}

/** What PostgreSQL does not say of its own accord: it finds no such row. */
export const policyRefusal =
  'row-level security policies of the table tracks do not let this user change the row'

/** @throws what the database would say, if it said so, when a policy keeps one of these rows from this user */
export async function refuseKeptByPolicy(trx: Knex, ids: Iterable<string>): Promise<void> {
  if ((await keptByPolicy(trx, ids)).size > 0)
    throw Object.assign(new Error(policyRefusal), { code: '42501', severity: 'ERROR' })
}
