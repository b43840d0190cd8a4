/** `update-row`: rows changed, and put back, only if they are as they were seen. */
import type { Knex } from 'knex'
import { isFileThere } from '../audio-files/mounted.ts'
import { type PlanItem, type RowState, stakeOf } from '../core/plan.ts'
import { keyReadings } from '../core/reconcile/names.ts'
import { LockedRows, rowLocked } from '../db/locked-rows.ts'
import { type RowSwap, type RowVersion, rowVersions, swapRows } from '../db/row-facts.ts'
import type { ChangeOutcome } from '../db/tracks.ts'
import { usualCure } from '../error-codes.ts'
import { type ExecuteOptions, type ItemExecutor, type ItemOutcome, Skip } from './item-executor.ts'
import type { Trace } from './journal.ts'
import { needFile, needObject } from './needs.ts'

type RowUpdate = PlanItem & { action: 'update-row' }

export async function changeRows(
  executor: ItemExecutor,
  items: readonly RowUpdate[],
): Promise<ItemOutcome[]> {
  const { journal, options } = executor
  const { knex } = options
  const rowOf = await rowLooker(knex, items)
  const outcomes = await executor.all(items, {
    begun: 'begun',
    done: 'done',
    look: async item => {
      const row = await rowOf(item)
      if (row === undefined) throw new Skip('the row is gone')
      if (journal.isOpen(item.seq) && sameRow(row, item.becomes)) return { made: {} }
      if (!sameRow(row, item.was)) throw new Skip('the row has changed since')
      if (item.needsObject !== undefined) await needObject(options, item.needsObject)
      if (item.needsFile !== undefined) await needFile(options, item.needsFile)
      const back = await audioIsBack(options, item)
      if (back !== undefined) throw new Skip(back)
      return { trace: { updatedAt: row.updatedAt } }
    },
    act: async due => {
      const ends = await swapEach(
        options,
        due.map(({ item: { trackId, was, becomes } }) => ({ trackId, from: was, to: becomes })),
      )
      return item => ends.get(item.trackId) ?? {}
    },
  })
  // Audio may have come back between the look and the change of its row.
  const done = outcomes.filter(({ state }) => state === 'done')
  const backs = await Promise.all(
    done.map(async outcome => ({ outcome, reason: await audioIsBack(options, outcome.item as RowUpdate) })),
  )
  const wrong = new Map(
    backs.flatMap(({ outcome, reason }) => (reason === undefined ? [] : [[outcome, reason]])),
  )
  if (wrong.size === 0) return outcomes
  const reset = await resetRows(
    executor,
    [...wrong.keys()].map(({ item }) => item as RowUpdate),
  )
  return [
    ...outcomes.filter(outcome => !wrong.has(outcome)),
    ...reset.map((outcome): ItemOutcome => {
      const [, reason] = [...wrong].find(([{ item }]) => item.seq === outcome.item.seq) ?? []
      return outcome.state === 'undone' && reason !== undefined
        ? { ...outcome, state: 'skipped', reason: `${reason}: the row was restored` }
        : outcome
    }),
  ]
}

/** Why a row is not to be left without audio after all: the object that it named, or its file, is there. */
async function audioIsBack(
  { knex, store, audioFolder, keyPrefix: prefix, force, signal }: ExecuteOptions,
  item: RowUpdate,
): Promise<string | undefined> {
  if (stakeOf(item) !== 'loss') return undefined
  const { key, path } = item.was
  const { bucket } = store
  for (const one of key === null ? [] : new Set([key, ...keyReadings(key, { bucket, prefix })]))
    if ((await store.head(one, { signal })) !== undefined) return 'its object is back'
  if (path === null) return undefined
  const there = await isFileThere({ knex }, path, audioFolder, { force })
  if (there === undefined) return 'it cannot be seen whether its local file is there'
  return there ? 'its local file is back' : undefined
}

/** Looks at rows: all at once the first time, and at single ones whenever they are looked at again. */
async function rowLooker(
  knex: Knex,
  items: readonly RowUpdate[],
): Promise<(item: RowUpdate) => Promise<RowVersion | undefined>> {
  const first = await rowVersions(
    knex,
    items.map(item => item.trackId),
  )
  const unseen = new Set(items.map(item => item.seq))
  return async ({ seq, trackId }) =>
    (unseen.delete(seq) ? first : await rowVersions(knex, [trackId])).get(trackId)
}

/** Puts rows back as they were, the time of their last change included. */
export async function resetRows(executor: ItemExecutor, items: readonly RowUpdate[]): Promise<ItemOutcome[]> {
  const { journal, options } = executor
  const { knex } = options
  const rowOf = await rowLooker(knex, items)
  return executor.all(items, {
    begun: 'undoing',
    done: 'undone',
    look: async item => {
      const row = await rowOf(item)
      if (row === undefined) throw new Skip('the row is gone')
      // Never changed, or taken back already by a run that was cut off.
      if (journal.state(item.seq) !== 'done' && sameRow(row, item.was))
        return { made: {}, untouched: journal.state(item.seq) === 'begun' }
      if (!sameRow(row, item.becomes)) throw new Skip('the row has changed since')
      return {}
    },
    act: async due => {
      const swaps = await Promise.all(
        due.map(async ({ item: { seq, trackId, was, becomes } }) => {
          const { updatedAt } = await journal.trace(seq)
          return { trackId, from: becomes, to: was, ...(updatedAt === undefined ? {} : { updatedAt }) }
        }),
      )
      const ends = await swapEach(options, swaps)
      return item => ends.get(item.trackId) ?? {}
    },
  })
}

/** Swaps rows; one that the database refuses fails alone. @returns what became of each, by its track */
async function swapEach(
  { knex, stopping, lockedRows = new LockedRows({ knex, stopping }) }: ExecuteOptions,
  swaps: readonly RowSwap[],
): Promise<Map<string, Trace | Error>> {
  const ends = await lockedRows.write<RowSwap, Trace | Error>(swaps, {
    idOf: ({ trackId }) => trackId,
    async write(part) {
      const outcomes = await knex.transaction(trx => swapRows(trx, part))
      return part.map(({ trackId }) => endOf(outcomes.get(trackId) ?? 'deleted'))
    },
    refuse: (_, { reason, cure }) => new Error(`${reason}. ${cure}`),
  })
  return new Map(swaps.map(({ trackId }, at) => [trackId, endOrLocked(ends[at])]))
}

function endOf(outcome: ChangeOutcome | 'locked'): Trace | Error | 'locked' {
  switch (outcome) {
    case 'done':
      return {}
    case 'locked':
      return outcome
    case 'deleted':
      return new Skip('the row is gone')
    case 'changed':
      return new Skip('the row has changed since')
    case 'set-back':
      return new Error(`the row was set back as it was written. ${usualCure('row.set-back')}`)
  }
}

const endOrLocked = (end: Trace | Error | 'locked' | undefined): Trace | Error =>
  end === undefined || end === 'locked' ? new Error(rowLocked) : end

function sameRow(row: RowVersion, { key, source, size, path }: RowState): boolean {
  return row.key === key && row.source === source && row.size === size && row.path === path
}
