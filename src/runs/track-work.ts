/**
 * What a command does with each of its tracks, told once: a run over all of them and a job of the queue, which names
 * one, go about it in the same way.
 */

import type { Knex } from 'knex'
import type { ChangeOutcome, Track } from '../db/tracks.ts'
import type { ErrorCode } from '../error-codes.ts'

export interface TrackTask {
  readonly track: Track
}

/** Why a track was not done, as it is told and as the ledger keeps it. */
export interface TrackProblem {
  /** `skipped`: no later run need try it before something changes, or someone asks for what failed */
  readonly state: 'failed' | 'skipped'
  readonly code: ErrorCode
  readonly reason: string
  readonly cure?: string | undefined
}

/** What stands against the row, not the work: it changed, went, was set back, or the database refuses it. */
export interface RowProblem extends TrackProblem {
  readonly state: 'failed'
  readonly code: 'row.changed' | 'row.deleted' | 'row.set-back' | 'row.refused'
}

/** A task and what came of it, to be committed. */
export interface Done<Task, Outcome> {
  readonly task: Task
  readonly outcome: Outcome
}

/** @typeParam Outcome `interrupted` is left for the next run; every other one is committed */
export interface TrackWork<Task extends TrackTask, Outcome extends { readonly state: string }> {
  /** under which the ledger keeps what failed */
  readonly command: string
  /** kind of its claims */
  readonly claim: string
  /** commands whose failures are forgotten once a track is done */
  readonly settles: readonly string[]
  /** what is said of a row that something makes as if it had not been done, each time */
  readonly setBack: { readonly reason: string; readonly cure: string }
  /** What has to be known of these tracks before they are taken. Those left out need nothing. */
  prepare(tracks: readonly Track[]): Promise<Task[]>
  /** Does one. @throws what no other track would be spared */
  take(task: Task): Promise<Outcome>
  /** Writes rows and objects, in the transaction that the rest of the commit belongs to. */
  commit(
    trx: Knex,
    batch: readonly Done<Task, Outcome>[],
  ): Promise<ReadonlyMap<string, ChangeOutcome | 'locked'>>
  /** what the ledger is to keep of an outcome; undefined: nothing is wrong */
  problemOf(outcome: Outcome): TrackProblem | undefined
  /** Tells and counts what became of a track, once that is committed. */
  tell(task: Task, end: Outcome | RowProblem): void
  /** what is left if the row could not take the outcome, and who finds it */
  leftoverCure?(outcome: Outcome): string | undefined
  /** What is done after the commit of a row. */
  afterCommit?(task: Task, outcome: Outcome): Promise<void>
}

/** Whether it is the row that an outcome was not for. */
export function isRowProblem(end: { readonly state: string }): end is RowProblem {
  return 'code' in end && typeof end.code === 'string' && end.code.startsWith('row.')
}
