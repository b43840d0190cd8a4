import type { Knex } from 'knex'
import { acquireRemovalLease } from '../db/ledger.ts'
import { machineName } from './recorded-run.ts'

/**
 * Takes the lock of whatever removes objects or files, or rests on files that another one might remove: no two of them
 * ever overlap. It ends with the run.
 *
 * @throws LockedError (exit code 11) naming the holder and its age
 */
export async function holdRemovalLease(knex: Knex, runId: string): Promise<void> {
  await acquireRemovalLease(knex, { runId, host: machineName(), pid: process.pid })
}
