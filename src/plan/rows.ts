/** `update-row`: rows changed, and put back, only if they are as they were seen. */
import type { Knex } from 'knex'
import type { PlanItem, RowState } from '../core/plan.ts'
import { type RowVersion, rowVersions, swapRows } from '../db/row-facts.ts'
import { needFile, needObject } from './needs.ts'
import { type ItemOutcome, type Settler, Skip } from './settle.ts'

export type RowUpdate = PlanItem & { action: 'update-row' }

export async function changeRows(settler: Settler, items: readonly RowUpdate[]): Promise<ItemOutcome[]> {
  const { journal, options } = settler
  const { knex } = options
  const current = await currentRows(knex, items)
  return settler.all(items, {
    begun: 'begun',
    done: 'done',
    look: async item => {
      const row = current.get(item.trackId)
      if (row === undefined) throw new Skip('the row is gone')
      if (journal.state(item.seq) === 'begun' && sameRow(row, item.becomes)) return { made: {} }
      if (!sameRow(row, item.was)) throw new Skip('the row has changed since')
      if (item.needsObject !== undefined) await needObject(options, item.needsObject)
      if (item.needsFile !== undefined) await needFile(options, item.needsFile)
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

function currentRows(knex: Knex, items: readonly RowUpdate[]) {
  return rowVersions(
    knex,
    items.map(item => item.trackId),
  )
}

/** Puts rows back as they were, the time of their last change included. */
export async function resetRows(settler: Settler, items: readonly RowUpdate[]): Promise<ItemOutcome[]> {
  const { journal, options } = settler
  const { knex } = options
  const current = await currentRows(knex, items)
  return settler.all(items, {
    begun: 'undoing',
    done: 'undone',
    look: async item => {
      const row = current.get(item.trackId)
      if (row === undefined) throw new Skip('the row is gone')
      // Never changed, or taken back already by a run that was cut off.
      if (journal.state(item.seq) !== 'done' && sameRow(row, item.was)) return { made: {} }
      if (!sameRow(row, item.becomes)) throw new Skip('the row has changed since')
      return {}
    },
    act: async due => {
      const swaps = await Promise.all(
        due.map(async ({ item: { seq, trackId, was, becomes } }) => {
          const { updatedAt = null } = await journal.trace(seq)
          return { trackId, from: becomes, to: was, updatedAt }
        }),
      )
      const changed = await swapRows(knex, swaps)
      return item => (changed.has(item.trackId) ? {} : new Skip('the row has changed since'))
    },
  })
}

function sameRow(row: RowVersion, { key, source, size, path }: RowState): boolean {
  return row.key === key && row.source === source && row.size === size && row.path === path
}
