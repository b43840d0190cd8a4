/**
 * A run over tracks, the same for every command: pages are claimed while the one before is worked on, each track is
 * taken as soon as there is a slot for it, what was done is committed in batches and then told. It passes over the rows
 * again until nothing new comes up, and comes back to those that another transaction had locked. Any number of runs
 * share the work; any of them may be killed.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context } from '../context.ts'
import { formatDuration, plural } from '../core/units.ts'
import type { Database } from '../db/database.ts'
import { abandonDeadRuns } from '../db/ledger.ts'
import { tellLocked } from '../db/locked-rows.ts'
import { keptByPolicy } from '../db/row-security.ts'
import {
  claimTracks,
  countTracks,
  type Track,
  type TrackFilter,
  trackPages,
  tracksById,
} from '../db/tracks.ts'
import { ExitCode, isAbortError, toError } from '../errors.ts'
import { keepHeapLevel } from '../heap.ts'
import type { Progress } from '../report/reporter.ts'
import { RunHalted } from '../storage/resilience.ts'
import { Committer } from './committer.ts'
import { Passes, rowsKeepComing } from './passes.ts'
import { isProcessAlive, machineName, type RecordedRun } from './recorded-run.ts'
import { selectedTracks } from './selected-tracks.ts'
import { TrackCommitter } from './track-committer.ts'
import type { Done, TrackTask, TrackWork } from './track-work.ts'

/** Tracks that are chosen together. */
export interface TrackChoice {
  readonly filter: TrackFilter
  /** what is done leaves no mark on a row that the filter knows: one pass, and no row comes up again */
  readonly once?: boolean
}

/** What a run over tracks is to do. */
interface TrackRunPlan<Task extends TrackTask, Outcome extends { readonly state: string }> {
  readonly work: TrackWork<Task, Outcome>
  readonly choices: readonly TrackChoice[]
  /** tracks taken at most */
  readonly limit: number | undefined
  /** tracks claimed at a time: few at first, so that several runs share a small library, more as there prove to be more */
  readonly claims: { readonly first: number; readonly largest: number }
  /** a batch is committed when it has this many tracks, or after this many milliseconds */
  readonly commits: { readonly size: number; readonly interval: number }
  /** tracks worth having in hand at a time */
  slots(): number
  readonly progress: Progress
  /** a word behind the bar */
  note?(): string
  /** What is to be done once all is, unless the run was stopped. */
  finish?(): Promise<void>
  /** how long rows are waited for that others have locked once all else is done, milliseconds */
  readonly lockWait?: number
}

export interface TrackRunEnd {
  readonly exitCode: ExitCode
  /** begun */
  readonly taken: number
  /** left out, as they needed nothing */
  readonly leftOut: number
  /** rows that another transaction held locked to the end */
  readonly locked: number
  /** rows that are still to be done: others are at work on them. Not counted in a run that was stopped or limited. */
  readonly left: number
  /** of wall clock */
  readonly seconds: number
}

/** Ids of locked rows that are remembered at most. */
const mostLocked = 100_000

/**
 * Does a command's work on all its tracks. Whatever happens, what was done is committed.
 *
 * @throws what ended the run from within; what another run declared dead
 */
export async function runTracks<Task extends TrackTask, Outcome extends { readonly state: string }>(
  context: Context,
  database: Database,
  run: RecordedRun,
  plan: TrackRunPlan<Task, Outcome>,
): Promise<TrackRunEnd> {
  const choices = await selectedChoices(context, database, plan.choices)
  return new TrackRun(context, database, run, { ...plan, choices }).run()
}

/** The tracks that a run would take, for a dry run: no more of the table is read than the limit asks for. */
export async function* plannedTracks<Task>(
  context: Pick<Context, 'signal' | 'stopping' | 'selection' | 'config' | 'report'>,
  database: Database,
  { choices, limit }: Pick<TrackRunPlan<never, never>, 'choices' | 'limit'>,
  prepare: (tracks: readonly Track[]) => Promise<readonly Task[]>,
): AsyncGenerator<Task> {
  const { signal, stopping } = context
  const { knex } = database
  keepHeapLevel()
  let planned = 0
  for (const { filter } of await selectedChoices(context, database, choices)) {
    const pageSize = Math.min(1_000, Math.max(50, limit ?? 1_000))
    const pages = trackPages(knex, { filter, pageSize, signal, inOrder: limit !== undefined })
    for await (const page of pages) {
      for (const task of await prepare(page)) {
        if (planned === limit || stopping.aborted) return
        planned++
        yield task
      }
      if (planned === limit) return
    }
  }
}

/** The choices, narrowed to what --include, --artist and the like select. */
export async function selectedChoices(
  context: Parameters<typeof selectedTracks>[0],
  database: Database,
  choices: readonly TrackChoice[],
): Promise<readonly TrackChoice[]> {
  const selected = await selectedTracks(context, database)
  return choices.map(choice => ({ ...choice, filter: { ...choice.filter, ...selected } }))
}

interface TaskPage<Task> {
  readonly tasks: readonly Task[]
  readonly nextAfterId: string | null
}

class TrackRun<Task extends TrackTask, Outcome extends { readonly state: string }> {
  readonly #context: Context
  readonly #database: Database
  readonly #run: RecordedRun
  readonly #plan: TrackRunPlan<Task, Outcome>
  readonly #committer: TrackCommitter<Task, Outcome>
  readonly #batches: Committer<Done<Task, Outcome>>
  /** ids of rows that were locked when they were to be claimed */
  readonly #locked = new Map<TrackChoice, Set<string>>()
  /** done, and locked when they were to be committed; by id */
  readonly #uncommitted = new Map<string, Done<Task, Outcome>>()
  #total = 0
  /** of all of them; undefined if not every row knows its size */
  #bytes: number | undefined = 0
  #taken = 0
  #leftOut = 0
  #problems = 0
  #failure: Error | undefined

  constructor(context: Context, database: Database, run: RecordedRun, plan: TrackRunPlan<Task, Outcome>) {
    this.#context = context
    this.#database = database
    this.#run = run
    this.#plan = plan
    this.#committer = new TrackCommitter(database, run.id, plan.work)
    this.#batches = new Committer(batch => this.#commit(batch), plan.commits)
  }

  async run(): Promise<TrackRunEnd> {
    const { choices, progress, finish } = this.#plan
    const { stopping, lost } = this.#run
    const startedAt = performance.now()
    let left = 0
    try {
      for (const choice of choices) await this.#runChoice(choice)
      await this.#comeBack()
      if (!stopping.aborted) {
        await finish?.()
        left = await this.#countLeft()
      }
    } catch (error) {
      this.#failure ??= toError(error)
    }
    // Also when claiming failed: what is done is committed, whatever comes then.
    await this.#batches.flush().catch(error => {
      this.#failure ??= toError(error)
    })
    progress.done()
    if (this.#failure) throw this.#failure
    const stopped = this.#context.stopExitCode()
    if (stopped === undefined) lost.throwIfAborted()
    const locked = this.#lockedCount()
    return {
      exitCode:
        stopped ?? (this.#problems > 0 ? ExitCode.someFailed : locked > 0 ? ExitCode.temporary : ExitCode.ok),
      taken: this.#taken,
      leftOut: this.#leftOut,
      locked,
      left,
      seconds: (performance.now() - startedAt) / 1_000,
    }
  }

  /** Passes over the rows until one brings nothing new: rows of runs that died in the meantime come up again. */
  async #runChoice(choice: TrackChoice): Promise<void> {
    const { knex } = this.#database
    const { limit, progress } = this.#plan
    const counted = countTracks(knex, choice.filter).then(({ tracks, bytes, withoutSize }) => {
      const all = this.#total + tracks
      this.#total = Math.min(all, limit ?? all)
      if (withoutSize > 0 || this.#total < all) this.#bytes = undefined
      if (this.#bytes !== undefined) this.#bytes += bytes
      progress.total({
        items: this.#total,
        ...(this.#bytes !== undefined && { bytes: this.#bytes }),
      })
    })
    counted.catch(() => {}) // told below
    const passes = new Passes()
    while (passes.begin()) {
      if ((await this.#pass(choice, choice.filter, passes)) === 0) break
      await this.#batches.flush()
      await abandonDeadRuns(knex, { host: machineName(), isAlive: isProcessAlive })
      if (choice.once) break
    }
    if (passes.isFull) this.#context.report.warn(rowsKeepComing)
    await counted
  }

  /** @returns how many were taken */
  async #pass(choice: TrackChoice, filter: TrackFilter, passes: Passes): Promise<number> {
    const { stopping } = this.#run
    const { claims, slots, limit = Number.POSITIVE_INFINITY } = this.#plan
    const running = new Set<Promise<void>>()
    const before = this.#taken
    let claimSize = claims.first
    /** claimed, and not taken yet */
    let waiting = 0
    /** The page after this one, on its way while this one is worked on: the database keeps nobody waiting. */
    let coming: Promise<TaskPage<Task>> | undefined
    const claimAfter = (afterId: string | undefined): void => {
      const most = Math.min(claimSize, limit - this.#taken - waiting)
      if (most <= 0 || stopping.aborted) return
      coming = this.#claim(choice, filter, afterId, most)
      coming.catch(() => {}) // told where it is waited for
      claimSize = Math.min(claims.largest, claimSize * 2)
    }
    try {
      claimAfter(undefined)
      while (coming && !stopping.aborted) {
        const { tasks, nextAfterId } = await coming
        coming = undefined
        if (nextAfterId === null) break
        // From here on pages are as large as they get, and so is the garbage that one makes.
        if (tasks.length === claims.largest) keepHeapLevel()
        waiting += tasks.length
        for (const [index, task] of tasks.entries()) {
          if (stopping.aborted) break
          if (index === tasks.length >> 1) claimAfter(nextAfterId)
          waiting--
          if (!passes.isDue(task.track.id)) {
            this.#problems++
            await this.#committer.setBack(task)
            continue
          }
          this.#taken++
          const one = this.#take(task).finally(() => running.delete(one))
          running.add(one)
          while (running.size >= slots()) await Promise.race(running)
        }
        if (coming === undefined) claimAfter(nextAfterId)
      }
    } finally {
      await Promise.allSettled([...running, coming])
    }
    return this.#taken - before
  }

  async #claim(
    choice: TrackChoice,
    filter: TrackFilter,
    afterId: string | undefined,
    limit: number,
  ): Promise<TaskPage<Task>> {
    const { work, progress } = this.#plan
    const { id: runId } = this.#run
    const { tracks, locked, nextAfterId } = await claimTracks(this.#database.knex, {
      kind: work.claim,
      runId,
      afterId,
      limit,
      filter: { ...filter, notRecordedBy: { command: work.command, runId } },
    })
    const known = this.#locked.get(choice) ?? new Set()
    this.#locked.set(choice, known)
    for (const id of locked) if (known.size < mostLocked) known.add(id)
    for (const { id } of tracks) known.delete(id)
    const free = tracks.filter(({ id }) => !this.#uncommitted.has(id))
    const tasks = await work.prepare(free)
    const wanted = new Set(tasks.map(task => task.track.id))
    const leftOut = free.flatMap(({ id }) => (wanted.has(id) ? [] : [id]))
    await this.#committer.release(leftOut)
    this.#leftOut += leftOut.length
    if (this.#plan.limit === undefined) progress.advance({ items: leftOut.length })
    return { tasks, nextAfterId }
  }

  async #take(task: Task): Promise<void> {
    const { work, progress, note } = this.#plan
    const { stopping } = this.#run
    try {
      const outcome = await work.take(task)
      progress.advance({ items: 1 })
      if (note) progress.note(note())
      if (outcome.state === 'interrupted') work.tell(task, outcome)
      else await this.#batches.add({ task, outcome })
    } catch (thrown) {
      const error = toError(thrown)
      const isAbort = isAbortError(error) || thrown === stopping.reason
      if (this.#context.signal.aborted || (stopping.aborted && isAbort)) return
      // Nothing that follows would fare better: let what is in flight finish, and end.
      this.#failure ??= error instanceof RunHalted ? error.cause : error
      this.#run.halt(this.#failure)
    }
  }

  async #commit(batch: readonly Done<Task, Outcome>[]): Promise<void> {
    const ends = await this.#committer.commit(batch)
    for (const [index, end] of ends.entries()) {
      const done = batch[index] as Done<Task, Outcome>
      if (end.state === 'locked') this.#uncommitted.set(done.task.track.id, done)
      else if (end.problem !== undefined) this.#problems++
    }
  }

  #lockedCount(): number {
    return [...this.#locked.values()].reduce((sum, ids) => sum + ids.size, this.#uncommitted.size)
  }

  /** Comes back to rows that another transaction had locked, until they are free or it was waited for long enough. */
  async #comeBack(): Promise<void> {
    const { stopping } = this.#run
    const { lockWait = 15_000 } = this.#plan
    const { report } = this.#context
    await this.#batches.flush()
    if (this.#lockedCount() === 0 || stopping.aborted) return
    await this.#refuseKeptByPolicy()
    const deadline = performance.now() + lockWait
    for (let pause = 50; this.#lockedCount() > 0 && !stopping.aborted; pause = Math.min(1_000, pause * 2)) {
      const rest = deadline - performance.now()
      if (pause === 100)
        report.note(
          `${plural(this.#lockedCount(), 'row')} locked by another transaction: waiting for up to ${formatDuration(rest)}`,
        )
      await sleep(Math.max(0, Math.min(pause, rest)), undefined, { signal: stopping }).catch(() => {})
      const again = [...this.#uncommitted.values()]
      this.#uncommitted.clear()
      if (again.length > 0) await this.#commit(again)
      for (const [choice, ids] of this.#locked) {
        if (ids.size === 0) continue
        const filter = { ...choice.filter, ids: [...ids] }
        ids.clear()
        const passes = new Passes()
        passes.begin()
        await this.#pass(choice, filter, passes)
        await this.#batches.flush()
      }
      if (rest <= 0) break
    }
    if (this.#lockedCount() > 0 && !stopping.aborted) await this.#tellLocked()
  }

  /** Rows that look locked, and that a policy of the database keeps from this user: nobody will ever unlock them. */
  async #refuseKeptByPolicy(): Promise<void> {
    const { knex } = this.#database
    for (const ids of this.#locked.values()) {
      const kept = await keptByPolicy(knex, ids)
      for (const id of kept) ids.delete(id)
      for (const task of await this.#plan.work.prepare(await tracksById(knex, [...kept]))) {
        this.#problems++
        await this.#committer.keptByPolicy(task)
      }
    }
  }

  async #tellLocked(): Promise<void> {
    const ids = [...this.#uncommitted.keys(), ...[...this.#locked.values()].flatMap(known => [...known])]
    await tellLocked(this.#database.knex, this.#context.report, ids)
  }

  /** Rows that are left to others, who have claimed them: what nobody counted cannot be called done. */
  async #countLeft(): Promise<number> {
    const { work, choices } = this.#plan
    // Each row that was counted at the start has come up since.
    if (this.#taken + this.#leftOut >= this.#total) return 0
    const notRecordedBy = { command: work.command, runId: this.#run.id }
    let left = 0
    for (const { filter, once } of choices) {
      const { tracks } = await countTracks(this.#database.knex, { ...filter, notRecordedBy })
      left += once ? Math.max(0, tracks - this.#taken - this.#leftOut) : tracks
    }
    return Math.max(0, left - this.#lockedCount())
  }
}
