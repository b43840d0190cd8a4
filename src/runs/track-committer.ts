/** Writes down what became of tracks: row, ledger and claim in one transaction, and what is wrong with a row as its own. */
import pLimit from 'p-limit'
import { printable } from '../core/units.ts'
import type { Database } from '../db/database.ts'
import { writeInParts } from '../db/errors.ts'
import { clearItems, type FailedItem, recordItems, releaseClaims } from '../db/ledger.ts'
import { policyRefusal } from '../db/row-security.ts'
import type { ChangeOutcome } from '../db/tracks.ts'
import type { Done, RowProblem, TrackProblem, TrackTask, TrackWork } from './track-work.ts'

/** `locked`: another transaction holds the row; to be committed again. */
export type TrackEnd =
  | { readonly state: 'locked' }
  | { readonly state: 'told'; readonly problem: TrackProblem | undefined }

/** Tracks with whom something is done at a time after their commit: each may hold a file open. */
const afterCommits = 64

const locked: TrackEnd = { state: 'locked' }

export class TrackCommitter<Task extends TrackTask, Outcome extends { readonly state: string }> {
  readonly #database: Database
  readonly #runId: string
  readonly #work: TrackWork<Task, Outcome>

  constructor(database: Database, runId: string, work: TrackWork<Task, Outcome>) {
    this.#database = database
    this.#runId = runId
    this.#work = work
  }

  /** Commits a batch and tells what became of each. @returns that, in their order */
  async commit(batch: readonly Done<Task, Outcome>[]): Promise<TrackEnd[]> {
    const work = this.#work
    const rows = await writeInParts<Done<Task, Outcome>, RowProblem | 'locked' | undefined>(
      batch,
      part => this.#write(part),
      async ({ task }, refusal) =>
        this.#record<RowProblem>(task, { state: 'failed', code: 'row.refused', ...refusal }),
    )
    const ends: TrackEnd[] = []
    const limit = pLimit(afterCommits)
    const after: Promise<void>[] = []
    for (const [index, { task, outcome }] of batch.entries()) {
      const row = rows[index]
      if (row === 'locked') {
        ends.push(locked)
        continue
      }
      work.tell(task, row ?? outcome)
      ends.push({ state: 'told', problem: row ?? work.problemOf(outcome) })
      if (row === undefined && work.afterCommit)
        after.push(limit(async () => work.afterCommit?.(task, outcome)))
    }
    await Promise.allSettled(after)
    await Promise.all(after)
    return ends
  }

  /** A row that a policy of the database keeps from this user. */
  async keptByPolicy(task: Task): Promise<void> {
    const cure = 'Change the policy, or use the owner of the tables in DATABASE_URL.'
    const problem: RowProblem = { state: 'failed', code: 'row.refused', reason: policyRefusal, cure }
    this.#work.tell(task, await this.#record(task, problem))
  }

  /** A row that came up again after it was done, twice. */
  async setBack(task: Task): Promise<void> {
    const problem: RowProblem = { state: 'failed', code: 'row.set-back', ...this.#work.setBack }
    this.#work.tell(task, await this.#record(task, problem))
  }

  /** Lets go of tracks that need nothing. */
  async release(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return
    const { command, claim } = this.#work
    const { knex } = this.#database
    await clearItems(knex, command, ids)
    await releaseClaims(knex, { kind: claim, runId: this.#runId, trackIds: ids })
  }

  async #write(part: readonly Done<Task, Outcome>[]): Promise<(RowProblem | 'locked' | undefined)[]> {
    const { claim, settles } = this.#work
    return this.#database.knex.transaction(async trx => {
      const outcomes = await this.#work.commit(trx, part)
      const items: FailedItem[] = []
      const done: string[] = []
      const ended: string[] = []
      const rows = part.map(({ task, outcome }) => {
        const { id } = task.track
        const row = outcomes.get(id) ?? 'deleted'
        if (row === 'locked') return row
        ended.push(id)
        const problem = row === 'done' ? undefined : this.#rowProblem(row, outcome)
        const kept = problem ?? this.#work.problemOf(outcome)
        if (kept === undefined) done.push(id)
        else if (row !== 'deleted') items.push(this.#item(task, kept))
        return problem
      })
      if (items.length > 0) await recordItems(trx, items)
      if (done.length > 0) await clearItems(trx, settles, done)
      await releaseClaims(trx, { kind: claim, runId: this.#runId, trackIds: ended })
      return rows
    })
  }

  async #record<P extends TrackProblem>(task: Task, problem: P): Promise<P> {
    await this.#database.knex.transaction(async trx => {
      await recordItems(trx, [this.#item(task, problem)])
      await releaseClaims(trx, { kind: this.#work.claim, runId: this.#runId, trackIds: [task.track.id] })
    })
    return problem
  }

  #item({ track: { id } }: Task, { state, code, reason, cure }: TrackProblem): FailedItem {
    return {
      command: this.#work.command,
      subject: id,
      trackId: id,
      state,
      errorCode: code,
      error: printable(reason),
      cure,
      runId: this.#runId,
    }
  }

  #rowProblem(row: Exclude<ChangeOutcome, 'done'>, outcome: Outcome): RowProblem {
    if (row === 'set-back') return { state: 'failed', code: 'row.set-back', ...this.#work.setBack }
    const cure = this.#work.leftoverCure?.(outcome)
    if (row === 'deleted')
      return { state: 'failed', code: 'row.deleted', reason: 'the row was deleted in the meantime', cure }
    return {
      state: 'failed',
      code: 'row.changed',
      reason: 'the row changed in the meantime and was left alone',
      cure: ['Run it again.', cure].filter(Boolean).join(' '),
    }
  }
}
