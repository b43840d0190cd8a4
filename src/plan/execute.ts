/**
 * Applies a plan, and takes it back. Every row and object is looked at again first; what is not as the plan saw it is
 * skipped, with the reason. The journal makes both resumable at any point.
 */
import type { Knex } from 'knex'
import pLimit, { type LimitFunction } from 'p-limit'
import { actionOrder, type ObjectState, type PlanItem, type RowState } from '../core/plan.ts'
import { keysNamed, keysUploading, type RowVersion, rowVersions, swapRows } from '../db/row-facts.ts'
import { toError } from '../errors.ts'
import { itemProblem } from '../reconcile/looks.ts'
import type { DeleteOutcome, ObjectHead, ObjectHeaders, ObjectStore } from '../storage/store.ts'
import { LocalFileError, openRoot, statSource } from '../upload/source.ts'
import type { Journal, JournalEntry, Trace } from './journal.ts'
import { planItems } from './plan-file.ts'

export interface ExecuteOptions {
  knex: Knex
  store: ObjectStore
  audioRoot: string
  concurrency: number
  /** abandons what is in flight */
  signal: AbortSignal
  /** takes no further batch */
  stopping: AbortSignal
}

/** What became of one item just now. */
export interface ItemOutcome {
  item: PlanItem
  state: 'done' | 'skipped' | 'failed' | 'undone'
  reason?: string
}

type Update = PlanItem & { action: 'update-row' }
type SetHeaders = PlanItem & { action: 'set-headers' }
type Removal = PlanItem & { action: 'remove-object' }

/** Items looked at, journalled and executed together. */
const BATCH = 500

/** Why an item is left alone. */
class Skip extends Error {}

/** What a look found that acting needs; `made` where a run that was cut off did it already. */
interface Looked {
  made?: Trace
  /** goes into the journal before the effect */
  trace?: Trace
  etag?: string
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

/**
 * Applies what is not applied yet.
 *
 * @returns outcomes as they come; ends early when `stopping` is aborted
 */
export async function* applyPlan(
  file: string,
  journal: Journal,
  options: ExecuteOptions,
): AsyncGenerator<ItemOutcome[]> {
  const executor = new Executor(journal, options)
  const isDue = (item: PlanItem): boolean =>
    ['none', 'begun', 'failed', 'undone'].includes(journal.state(item.seq))
  for await (const batch of batches(file, isDue)) {
    if (options.stopping.aborted) return
    yield await executor.apply(batch)
  }
}

/** Takes back what was applied: objects first, then headers, then rows, each as it was before. */
export async function* undoPlan(
  file: string,
  journal: Journal,
  options: ExecuteOptions,
): AsyncGenerator<ItemOutcome[]> {
  const executor = new Executor(journal, options)
  for (const action of actionOrder.toReversed()) {
    const isDue = (item: PlanItem): boolean =>
      item.action === action && ['begun', 'done', 'undoing'].includes(journal.state(item.seq))
    for await (const batch of batches(file, isDue)) {
      if (options.stopping.aborted) return
      yield await executor.undo(batch)
    }
  }
}

/** Items that are due, in batches of one kind of action, so that no removal begins before the rows are settled. */
async function* batches(file: string, isDue: (item: PlanItem) => boolean): AsyncGenerator<PlanItem[]> {
  let batch: PlanItem[] = []
  for await (const item of planItems(file)) {
    if (!isDue(item)) continue
    if (batch.length >= BATCH || (batch.length > 0 && batch[0]?.action !== item.action)) {
      yield batch
      batch = []
    }
    batch.push(item)
  }
  if (batch.length > 0) yield batch
}

class Executor {
  private readonly journal: Journal
  private readonly options: ExecuteOptions
  private readonly limit: LimitFunction

  constructor(journal: Journal, options: ExecuteOptions) {
    this.journal = journal
    this.options = options
    this.limit = pLimit(options.concurrency)
  }

  async apply(batch: readonly PlanItem[]): Promise<ItemOutcome[]> {
    const updates = batch.filter(item => item.action === 'update-row') as Update[]
    const removals = batch.filter(item => item.action === 'remove-object') as Removal[]
    const headers = batch.filter(item => item.action === 'set-headers') as SetHeaders[]
    return [
      ...(await this.updateRows(updates)),
      ...(await this.setHeaders(headers)),
      ...(await this.removeObjects(removals)),
    ]
  }

  async undo(batch: readonly PlanItem[]): Promise<ItemOutcome[]> {
    const updates = batch.filter(item => item.action === 'update-row') as Update[]
    const removals = batch.filter(item => item.action === 'remove-object') as Removal[]
    const headers = batch.filter(item => item.action === 'set-headers') as SetHeaders[]
    return [
      ...(await this.bringBack(removals)),
      ...(await this.resetHeaders(headers)),
      ...(await this.resetRows(updates)),
    ]
  }

  /* ── Rows ─────────────────────────────────────────────────────────────────────────────────────────────────── */

  private async updateRows(items: readonly Update[]): Promise<ItemOutcome[]> {
    const { knex } = this.options
    const current = await rowVersions(
      knex,
      items.map(item => item.trackId),
    )
    return this.executeAll(items, {
      begun: 'begun',
      done: 'done',
      look: async item => {
        const row = current.get(item.trackId)
        if (row === undefined) throw new Skip('the row is gone')
        if (this.journal.state(item.seq) === 'begun' && sameRow(row, item.becomes)) return { made: {} }
        if (!sameRow(row, item.was)) throw new Skip('the row has changed since')
        if (item.needsObject !== undefined) await this.needObject(item.needsObject)
        if (item.needsFile !== undefined) await this.needFile(item.needsFile)
        return { trace: { updatedAt: row.updatedAt } }
      },
      act: async due => {
        const changed = await swapRows(
          knex,
          due.map(({ item: { trackId, was, becomes } }) => ({ trackId, from: was, to: becomes })),
        )
        return item => (changed.has(item.trackId) ? {} : new Skip('the row has changed since'))
      },
    })
  }

  private async resetRows(items: readonly Update[]): Promise<ItemOutcome[]> {
    const { knex } = this.options
    const current = await rowVersions(
      knex,
      items.map(item => item.trackId),
    )
    return this.executeAll(items, {
      begun: 'undoing',
      done: 'undone',
      look: async item => {
        const row = current.get(item.trackId)
        if (row === undefined) throw new Skip('the row is gone')
        // Never changed, or taken back already by a run that was cut off.
        if (this.journal.state(item.seq) !== 'done' && sameRow(row, item.was)) return { made: {} }
        if (!sameRow(row, item.becomes)) throw new Skip('the row has changed since')
        return {}
      },
      act: async due => {
        const changed = await swapRows(
          knex,
          due.map(({ item: { seq, trackId, was, becomes } }) => {
            const { updatedAt = null } = this.journal.trace(seq)
            return { trackId, from: becomes, to: was, updatedAt }
          }),
        )
        return item => (changed.has(item.trackId) ? {} : new Skip('the row has changed since'))
      },
    })
  }

  private async needObject(state: ObjectState): Promise<ObjectHead> {
    const head = await this.options.store.head(state.key, { signal: this.options.signal })
    if (head === undefined) throw new Skip('the object is gone')
    if (head.etag !== state.etag || head.size !== state.size) throw new Skip('the object has changed since')
    return head
  }

  private async needFile({ path, size }: { path: string; size?: number }): Promise<void> {
    const { audioRoot } = this.options
    try {
      const found = await statSource(path, audioRoot, await openRoot(audioRoot))
      if (size !== undefined && found.size !== size) throw new Skip('the local file has another size')
    } catch (error) {
      if (error instanceof LocalFileError) throw new Skip(error.message)
      throw error
    }
  }

  /* ── Headers ──────────────────────────────────────────────────────────────────────────────────────────────── */

  private setHeaders(items: readonly SetHeaders[]): Promise<ItemOutcome[]> {
    return this.execute(items, {
      begun: 'begun',
      done: 'done',
      look: async item => {
        const head = await this.options.store.head(item.object.key, { signal: this.options.signal })
        if (head === undefined) throw new Skip('the object is gone')
        if (
          this.journal.state(item.seq) === 'begun' &&
          head.size === item.object.size &&
          hasHeaders(head, item.becomes)
        ) {
          return { made: { etag: head.etag } }
        }
        if (head.etag !== item.object.etag || head.size !== item.object.size || !hasHeaders(head, item.was)) {
          throw new Skip('the object has changed since')
        }
        if (head.contentEncoding !== undefined)
          throw new Skip('it has a Content-Encoding, which a copy would lose')
        return {}
      },
      each: async item => ({ etag: await this.rewrite(item.object.key, item.object.etag, item.becomes) }),
    })
  }

  private resetHeaders(items: readonly SetHeaders[]): Promise<ItemOutcome[]> {
    const { store, signal } = this.options
    return this.execute(items, {
      begun: 'undoing',
      done: 'undone',
      look: async item => {
        const head = await store.head(item.object.key, { signal })
        if (head === undefined) throw new Skip('the object is gone')
        const { etag } = this.journal.trace(item.seq)
        // Cut off before the ETag was journalled, as a copy of an object in parts has another one.
        const unknown =
          etag === undefined && this.journal.state(item.seq) !== 'done' && hasHeaders(head, item.becomes)
        const ours = head.etag === etag || head.etag === item.object.etag || unknown
        if (!ours || head.size !== item.object.size) throw new Skip('the object has changed since')
        if (hasHeaders(head, item.was)) return { made: {} }
        if (!hasHeaders(head, item.becomes)) throw new Skip('the headers have changed since')
        return { etag: head.etag }
      },
      each: async (item, looked) => ({
        etag: await this.rewrite(item.object.key, looked.etag ?? '', item.was),
      }),
    })
  }

  /** Copies an object onto itself with other headers, everything else of it kept. @returns its new ETag */
  private async rewrite(
    key: string,
    ifMatch: string,
    { contentType, cacheControl }: { contentType?: string; cacheControl?: string },
  ): Promise<string> {
    const { store, signal } = this.options
    const head = await store.head(key, { signal })
    if (head === undefined || head.etag !== ifMatch) throw new Skip('the object has changed since')
    const headers: ObjectHeaders = {
      contentType: contentType ?? 'binary/octet-stream',
      metadata: head.metadata,
      ...(cacheControl === undefined ? {} : { cacheControl }),
      ...(head.contentDisposition === undefined ? {} : { contentDisposition: head.contentDisposition }),
      ...(head.storageClass === undefined ? {} : { storageClass: head.storageClass }),
    }
    return (await store.copy(key, key, { ifMatch, headers, signal })).etag
  }

  /* ── Objects ──────────────────────────────────────────────────────────────────────────────────────────────── */

  private async removeObjects(items: readonly Removal[]): Promise<ItemOutcome[]> {
    if (items.length === 0) return []
    const { knex, store, signal } = this.options
    const keys = items.map(item => item.object.key)
    const uploading = await keysUploading(knex, store.bucket)
    const named = await keysNamed(knex, keys)
    const outcomes = await this.execute(items, {
      begun: 'begun',
      done: 'done',
      look: async item => {
        const { key } = item.object
        const head = await store.head(key, { signal })
        if (head === undefined) {
          if (this.journal.state(item.seq) !== 'begun') throw new Skip('the object is gone')
          const trace = await this.removedBefore(item)
          if (trace === undefined) throw new Skip('the object is gone')
          return { made: trace }
        }
        if (head.etag !== item.object.etag || head.size !== item.object.size) {
          throw new Skip('the object has changed since')
        }
        if (named.has(key)) throw new Skip('a row names the object')
        if (uploading.has(key)) throw new Skip('an upload to this key is under way')
        if (item.needsFile !== undefined) await this.needFile(item.needsFile)
        return {}
      },
      each: async item => {
        const { key, etag } = item.object
        if (item.to !== undefined) await this.copyWhole(key, item.to, { ifMatch: etag })
        const [outcome] = await store.delete([{ key, ifMatch: etag }], signal)
        throwOutcome(outcome)
        return outcome?.deleteMarkerVersionId === undefined
          ? {}
          : { markerVersionId: outcome.deleteMarkerVersionId }
      },
    })
    // A row may have come to name an object between the look and the removal.
    const namedNow = await keysNamed(knex, keys)
    const wanted = outcomes.filter(
      ({ item, state }) => state === 'done' && namedNow.has((item as Removal).object.key),
    )
    if (wanted.length === 0) return outcomes
    const back = await this.bringBack(wanted.map(({ item }) => item as Removal))
    const reason = 'a row has come to name the object: brought back'
    return [
      ...outcomes.filter(outcome => !wanted.includes(outcome)),
      ...back.map(
        (outcome): ItemOutcome =>
          outcome.state === 'undone' ? { ...outcome, state: 'skipped', reason } : outcome,
      ),
    ]
  }

  /** What a run that was killed between removal and journal would have written; undefined when it was not our doing. */
  private async removedBefore({ object, to }: Removal): Promise<Trace | undefined> {
    const { store, signal } = this.options
    if (to !== undefined) {
      const copy = await store.head(to, { signal })
      return copy !== undefined && copy.size === object.size ? {} : undefined
    }
    const marker = await this.currentMarker(object.key)
    return marker === undefined ? undefined : { markerVersionId: marker }
  }

  /** The delete marker that hides an object now. */
  private async currentMarker(key: string): Promise<string | undefined> {
    const { store, signal } = this.options
    for await (const page of store.listVersions({ prefix: key, signal })) {
      for (const version of page) {
        if (version.key === key && version.isLatest)
          return version.isDeleteMarker ? version.versionId : undefined
      }
      if (page.some(version => version.key > key)) return undefined
    }
    return undefined
  }

  private bringBack(items: readonly Removal[]): Promise<ItemOutcome[]> {
    const { store, signal } = this.options
    return this.execute(items, {
      begun: 'undoing',
      done: 'undone',
      look: async item => {
        const { object, to } = item
        const head = await store.head(object.key, { signal })
        if (head !== undefined) {
          // Never removed, or brought back already; only what is the same for certain may cost the copy its place.
          const copy = to === undefined ? undefined : await store.head(to, { signal })
          const same = head.etag === object.etag || (copy !== undefined && isSame(head, copy))
          if (head.size !== object.size || !same) throw new Skip('another object is in its place')
          return { back: true }
        }
        if (to !== undefined) {
          const copy = await store.head(to, { signal })
          if (copy === undefined || copy.size !== object.size)
            throw new Error(`it is not in quarantine any more: ${to}`)
          return {}
        }
        const marker = await this.currentMarker(object.key)
        const ours = this.journal.trace(item.seq).markerVersionId ?? marker
        if (marker === undefined || marker !== ours) throw new Skip('the object was deleted by someone else')
        return { marker }
      },
      each: async (item, looked) => {
        const { object, to } = item
        if (to === undefined) {
          if (looked.marker === undefined) return {}
          const [outcome] = await store.delete([{ key: object.key, versionId: looked.marker }], signal)
          throwOutcome(outcome)
          return {}
        }
        if (!looked.back) await this.copyWhole(to, object.key, { ifNoneMatch: true })
        const copy = await store.head(to, { signal })
        if (copy !== undefined)
          throwOutcome((await store.delete([{ key: to, ifMatch: copy.etag }], signal))[0])
        return {}
      },
    })
  }

  /** Copies, and makes sure that the copy is whole before anything relies on it. */
  private async copyWhole(
    from: string,
    to: string,
    conditions: { ifMatch?: string; ifNoneMatch?: boolean },
  ): Promise<void> {
    const { store, signal } = this.options
    const source = await store.head(from, { signal })
    if (source === undefined) throw new Skip('the object is gone')
    await store.copy(from, to, { ...conditions, signal })
    const copy = await store.head(to, { signal })
    if (copy === undefined || copy.size !== source.size || compareHeads(source, copy) === false)
      throw new Error(`the copy at ${to} is not the same`)
  }

  /* ── The way of every item ────────────────────────────────────────────────────────────────────────────────── */

  /** Looks at each item, journals the intents, acts on one at a time, and journals what came of it. */
  private execute<I extends PlanItem>(
    items: readonly I[],
    steps: Steps<I> & { each: (item: I, looked: Looked) => Promise<Trace> },
  ): Promise<ItemOutcome[]> {
    return this.executeAll(items, {
      ...steps,
      act: async due => {
        const results = await Promise.allSettled(
          due.map(({ item, looked }) => this.limit(() => attempt(() => steps.each(item, looked)))),
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

  /** The same, acting on all at once; `act` gives how to tell what became of each. */
  private async executeAll<I extends PlanItem>(
    items: readonly I[],
    steps: Steps<I> & {
      act: (due: readonly { item: I; looked: Looked }[]) => Promise<(item: I) => Trace | Error>
    },
  ): Promise<ItemOutcome[]> {
    const outcomes: ItemOutcome[] = []
    const entries: JournalEntry[] = []
    const settle = (item: I, result: Trace | Error): void => {
      if (!(result instanceof Error)) {
        outcomes.push({ item, state: steps.done })
        entries.push({ seq: item.seq, state: steps.done, trace: result })
        return
      }
      const state = result instanceof Skip ? 'skipped' : 'failed'
      outcomes.push({ item, state, reason: result.message })
      // An undo that was not possible leaves the item applied, to be tried again.
      const recorded =
        steps.done === 'done' ? state : this.journal.state(item.seq) === 'undoing' ? 'undoing' : undefined
      if (recorded !== undefined) entries.push({ seq: item.seq, state: recorded, reason: result.message })
    }
    const due: { item: I; looked: Looked }[] = []
    const looks = await Promise.all(items.map(item => this.limit(() => attempt(() => steps.look(item)))))
    for (const [index, looked] of looks.entries()) {
      const item = items[index] as I
      if (looked instanceof Error) settle(item, looked)
      else if (looked.made !== undefined) settle(item, looked.made)
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
      for (const { item } of due) settle(item, tell(item))
    }
    await this.journal.write(entries)
    return outcomes
  }
}

/** One item's failure as a value; what concerns more than the item is thrown. */
async function attempt<T>(work: () => Promise<T>): Promise<T | Error> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof Skip) return error
    const problem = itemProblem(error)
    if (problem !== undefined) return new Error(problem)
    if (error instanceof Error && error.constructor === Error) return error
    throw toError(error)
  }
}

function sameRow(row: RowVersion, { key, source, size, path }: RowState): boolean {
  return row.key === key && row.source === source && row.size === size && row.path === path
}

/** Whether two objects hold the same bytes by a checksum the server has of both; undefined when it has none. */
function compareHeads(a: ObjectHead, b: ObjectHead): boolean | undefined {
  for (const name of ['sha256', 'crc64nvme', 'crc32'] as const) {
    const [left, right] = [a.checksums[name], b.checksums[name]]
    if (left !== undefined && right !== undefined) return left === right
  }
  return undefined
}

function isSame(a: ObjectHead, b: ObjectHead): boolean {
  return a.size === b.size && (compareHeads(a, b) ?? a.etag === b.etag)
}

function hasHeaders(
  head: ObjectHead,
  { contentType, cacheControl }: { contentType?: string; cacheControl?: string },
): boolean {
  return head.contentType === contentType && head.cacheControl === cacheControl
}

function throwOutcome(outcome: DeleteOutcome | undefined): void {
  if (outcome?.error === undefined) return
  if (outcome.error.kind === 'precondition') throw new Skip('the object has changed since')
  throw outcome.error
}
