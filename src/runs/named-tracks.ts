/** One track that is named, by a job of the queue: the same work as a run over all of them does, one track at a time. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../db/database.ts'
import { releaseClaims } from '../db/ledger.ts'
import { claimTracks, type Track, type TrackFilter, trackPage } from '../db/tracks.ts'
import { Committer } from './committer.ts'
import type { RecordedRun } from './recorded-run.ts'
import { TrackCommitter, type TrackEnd } from './track-committer.ts'
import type { Done, TrackProblem, TrackTask, TrackWork } from './track-work.ts'

/** What became of a track. `absent`: no row that the filter takes; `left-out`: it needs nothing. */
type NamedEnd<Outcome> =
  | { readonly state: 'absent' | 'left-out' | 'interrupted' | 'locked' }
  | { readonly state: 'ended'; readonly outcome: Outcome; readonly problem: TrackProblem | undefined }

interface Waiting<Task, Outcome> {
  readonly done: Done<Task, Outcome>
  readonly resolve: (end: TrackEnd) => void
  readonly reject: (error: unknown) => void
}

/** Takes tracks as they are named. Those that end at a time are committed together. */
export class NamedTracks<Task extends TrackTask, Outcome extends { readonly state: string }> {
  readonly #database: Database
  readonly #run: RecordedRun
  readonly #work: TrackWork<Task, Outcome>
  readonly #lockWait: number
  readonly #committer: TrackCommitter<Task, Outcome>
  readonly #batches: Committer<Waiting<Task, Outcome>>

  /** @param lockWait how long a row is waited for that another transaction has locked, milliseconds */
  constructor(database: Database, run: RecordedRun, work: TrackWork<Task, Outcome>, lockWait = 15_000) {
    this.#database = database
    this.#lockWait = lockWait
    this.#run = run
    this.#work = work
    this.#committer = new TrackCommitter(database, run.id, work)
    this.#batches = new Committer(batch => this.#commit(batch), { size: 50, interval: 0 })
  }

  /**
   * Claims a track, waiting for it where another run has it, and does the work. A row that another transaction has
   * locked is waited for, and given up for now if it stays so.
   *
   * @param filter takes that one row, or none
   * @throws AbortError when the run stops in the meantime · what no other track would be spared · the database's errors
   */
  async take(filter: TrackFilter): Promise<NamedEnd<Outcome>> {
    const track = await this.#claim(filter)
    if (track === 'absent' || track === 'locked') return { state: track }
    try {
      const [task] = await this.#work.prepare([track])
      if (task === undefined) {
        await this.#committer.release([track.id])
        return { state: 'left-out' }
      }
      const outcome = await this.#work.take(task)
      if (outcome.state === 'interrupted') {
        this.#work.tell(task, outcome)
        return { state: 'interrupted' }
      }
      const done = { task, outcome }
      const end = await this.#whileLocked(async () => {
        const told = await this.#add(done)
        return told.state === 'locked' ? undefined : told
      })
      return end === undefined ? { state: 'locked' } : { state: 'ended', outcome, problem: end.problem }
    } finally {
      const { claim: kind } = this.#work
      await releaseClaims(this.#database.knex, { kind, runId: this.#run.id, trackIds: [track.id] })
    }
  }

  async #claim(filter: TrackFilter): Promise<Track | 'absent' | 'locked'> {
    const { knex } = this.#database
    const { claim: kind } = this.#work
    let lockedSince: number | undefined
    for (let pause = 100; ; pause = Math.min(2_000, pause * 2)) {
      const { tracks, locked } = await claimTracks(knex, { kind, runId: this.#run.id, limit: 1, filter })
      if (tracks[0] !== undefined) return tracks[0]
      if ((await trackPage(knex, { limit: 1, filter })).length === 0) return 'absent'
      // A run that has it is alive, or its lease is about to run out; a transaction may be forgotten.
      lockedSince = locked.length === 0 ? undefined : (lockedSince ?? performance.now())
      if (lockedSince !== undefined && performance.now() - lockedSince > this.#lockWait) return 'locked'
      await sleep(pause, undefined, { signal: this.#run.stopping })
    }
  }

  /** Tries again until there is a result, for as long as a locked row is waited for. */
  async #whileLocked<T>(attempt: () => Promise<T | undefined>): Promise<T | undefined> {
    const deadline = performance.now() + this.#lockWait
    for (let pause = 50; ; pause = Math.min(1_000, pause * 2)) {
      const result = await attempt()
      if (result !== undefined || performance.now() > deadline || this.#run.stopping.aborted) return result
      await sleep(pause, undefined, { signal: this.#run.stopping }).catch(() => {})
    }
  }

  #add(done: Done<Task, Outcome>): Promise<TrackEnd> {
    return new Promise((resolve, reject) => {
      this.#batches.add({ done, resolve, reject }).catch(reject)
    })
  }

  async #commit(batch: readonly Waiting<Task, Outcome>[]): Promise<void> {
    try {
      const ends = await this.#committer.commit(batch.map(({ done }) => done))
      for (const [index, { resolve }] of batch.entries()) resolve(ends[index] as TrackEnd)
    } catch (error) {
      // Of these tracks alone: the queue tries them again.
      for (const { reject } of batch) reject(error)
    }
  }
}
