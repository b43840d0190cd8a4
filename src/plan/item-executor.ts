/**
 * The way of every item: a look, the intent in the journal, the effect, and what came of it in the journal. What lies
 * between intent and outcome after a kill is settled by the next look.
 */
import type { Knex } from 'knex'
import type { AudioFolder } from '../core/audio-path.ts'
import type { PlanItem } from '../core/plan.ts'
import type { LockedRows } from '../db/locked-rows.ts'
import { ItemError, toError } from '../errors.ts'
import { isItemProblem } from '../storage/item-problem.ts'
import { type ObjectHead, type ObjectStore, StoreError } from '../storage/store.ts'
import { Turns } from '../storage/turns.ts'
import type { JournalEntry, PlanJournal, Trace } from './journal.ts'

export interface ExecuteOptions {
  knex: Knex
  /** default: nothing is said of rows that stay locked, but that each fails */
  lockedRows?: LockedRows
  store: ObjectStore
  audioFolder: AudioFolder
  /** every key of the library begins so */
  keyPrefix: string
  /** an audio folder that looks empty is empty; default: it may not be mounted */
  force?: boolean
  /** items at a time at first, and at most */
  concurrency: { readonly initial: number; readonly max: number }
  /** abandons what is in flight */
  signal: AbortSignal
  /** takes no further batch */
  stopping: AbortSignal
}

/** What became of one item just now. */
export interface ItemOutcome {
  item: PlanItem
  /** `untouched`: there was nothing to take back, since it had never taken effect */
  state: 'done' | 'skipped' | 'failed' | 'undone' | 'untouched'
  reason?: string
  cure?: string
}

/** Why an item is left alone. */
export class Skip extends Error {}

/** What a look found that acting needs; `made` if a run that was cut off did it already. */
export interface Looked {
  /** it is done already, or undone; with what undoing it needs */
  made?: Trace
  /** with `made`: an undo finds that it never took effect */
  untouched?: boolean
  /** goes into the journal before the effect */
  trace?: Trace
  etag?: string
  /** the object as it was */
  head?: ObjectHead
  marker?: string
  /** the object is back, at most its copy is left over */
  back?: boolean
}

interface Steps<I> {
  begun: 'begun' | 'undoing'
  done: 'done' | 'undone'
  /** throws a Skip for what must be left alone */
  look(item: I): Promise<Looked>
}

/** Settles items of one kind at a time. */
export class ItemExecutor {
  readonly journal: PlanJournal
  readonly options: ExecuteOptions
  readonly #turns: Turns

  constructor(journal: PlanJournal, options: ExecuteOptions) {
    this.journal = journal
    this.options = options
    this.#turns = new Turns(options.concurrency)
  }

  /** In its turn, with its failure as a value; what concerns more than the item is thrown. */
  attempt<T>(work: () => Promise<T>): Promise<T | Error> {
    return this.#turns.take(async () => {
      try {
        const result = await work()
        this.#turns.succeeded(0)
        return result
      } catch (error) {
        if (error instanceof Skip) return error
        if (error instanceof StoreError && error.retryable) this.#turns.throttled()
        if (isItemProblem(error)) return new ItemError('store', error.message, error.cure)
        if (error instanceof Error && (error.constructor === Error || error.constructor === ItemError))
          return error
        throw toError(error)
      }
    })
  }

  /** Looks at each item, journals the intents, acts on one at a time, and journals what came of it. */
  each<I extends PlanItem>(
    items: readonly I[],
    steps: Steps<I> & { each: (item: I, looked: Looked) => Promise<Trace> },
  ): Promise<ItemOutcome[]> {
    return this.all(items, {
      ...steps,
      act: async due => {
        const results = await Promise.allSettled(
          due.map(({ item, looked }) => this.attempt(() => steps.each(item, looked))),
        )
        // Only when all have come to rest: what is in flight is never abandoned by another one's failure.
        const byItem = new Map<number, Trace | Error>()
        for (const [index, result] of results.entries()) {
          if (result.status === 'rejected') throw result.reason
          byItem.set(due[index]?.item.seq ?? 0, result.value)
        }
        return item => byItem.get(item.seq) ?? {}
      },
    })
  }

  /**
   * The same, acting on all at once; `act` gives how to tell what became of each.
   *
   * An effect that failed may have happened nevertheless, its answer lost: it is looked for, and as long as nobody has
   * seen either end the item stays open, for the next run to look.
   */
  async all<I extends PlanItem>(
    items: readonly I[],
    steps: Steps<I> & {
      act: (due: readonly { item: I; looked: Looked }[]) => Promise<(item: I) => Trace | Error>
    },
  ): Promise<ItemOutcome[]> {
    const outcomes: ItemOutcome[] = []
    const entries: JournalEntry[] = []
    const settle = async (item: I, result: Looked | Error): Promise<void> => {
      if (!(result instanceof Error)) {
        const before = this.journal.isOpen(item.seq) ? await this.journal.trace(item.seq) : {}
        outcomes.push({
          item,
          state: result.untouched ? 'untouched' : steps.done,
          ...(result.untouched ? { reason: 'it had not taken effect' } : {}),
        })
        entries.push({ seq: item.seq, state: steps.done, trace: { ...before, ...result.made } })
        return
      }
      const state = result instanceof Skip ? 'skipped' : 'failed'
      const { message: reason } = result
      outcomes.push({ item, state, reason, ...(result instanceof ItemError ? { cure: result.cure } : {}) })
      // An undo that was not possible leaves the item applied, to be tried again.
      if (steps.done === 'done') entries.push({ seq: item.seq, state, reason: result.message })
    }
    const due: { item: I; looked: Looked }[] = []
    const look = (item: I): Promise<Looked | Error> => this.attempt(() => steps.look(item))
    const looks = await Promise.all(items.map(look))
    for (const [index, looked] of looks.entries()) {
      const item = items[index] as I
      if (looked instanceof Error || looked.made !== undefined) await settle(item, looked)
      else due.push({ item, looked })
    }
    await this.journal.write(
      due.map(({ item, looked }) => ({
        seq: item.seq,
        state: steps.begun,
        ...(looked.trace === undefined ? {} : { trace: looked.trace }),
      })),
    )
    if (due.length > 0) {
      const tell = await steps.act(due)
      for (const { item } of due) {
        const result = tell(item)
        if (!(result instanceof Error)) {
          await settle(item, { made: result })
          continue
        }
        const seen = await look(item)
        // What a second look refuses is refused for good; what it would do again has not happened, as far as one sees.
        const refused = seen instanceof Skip && (steps.done === 'done' || result instanceof Skip)
        if (refused || (!(seen instanceof Error) && seen.made !== undefined)) await settle(item, seen)
        else await settle(item, result instanceof Skip ? new Error(result.message) : result)
      }
    }
    await this.journal.write(entries)
    return outcomes
  }
}
