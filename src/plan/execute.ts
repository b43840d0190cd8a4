/**
 * Applies a plan, and takes it back. Every row and object is looked at again first; what is not as the plan saw it is
 * skipped, with the reason. The journal makes both resumable at any point.
 */
import { actionOrder, type PlanItem } from '../core/plan.ts'
import { type HeaderChange, resetHeaders, setHeaders } from './headers.ts'
import { type ExecuteOptions, ItemExecutor, type ItemOutcome } from './item-executor.ts'
import type { PlanJournal } from './journal.ts'
import { planItems } from './plan-file.ts'
import {
  type BringBack,
  bringBackObjects,
  bringBackWanted,
  type Removal,
  removeAgain,
  removeObjects,
} from './removals.ts'
import { changeRows, type RowUpdate, resetRows } from './rows.ts'

export type { ExecuteOptions, ItemOutcome }

/** Items looked at, journalled and executed together. */
const batchItems = 500

/**
 * Applies what is not applied yet.
 *
 * @returns outcomes as they come; ends early when `stopping` is aborted
 */
export async function* applyPlan(
  file: string,
  journal: PlanJournal,
  options: ExecuteOptions,
): AsyncGenerator<ItemOutcome[]> {
  const executor = new ItemExecutor(journal, options)
  const isDue = (item: PlanItem): boolean =>
    ['none', 'begun', 'failed', 'undoing', 'undone'].includes(journal.state(item.seq))
  for await (const batch of batches(file, isDue)) {
    if (options.stopping.aborted) return
    yield await apply(executor, batch)
  }
}

/** Takes back what was applied: objects first, then headers, then rows, each as it was before. */
export async function* undoPlan(
  file: string,
  journal: PlanJournal,
  options: ExecuteOptions,
): AsyncGenerator<ItemOutcome[]> {
  const executor = new ItemExecutor(journal, options)
  for (const action of actionOrder.toReversed()) {
    const isDue = (item: PlanItem): boolean =>
      item.action === action && ['begun', 'done', 'undoing'].includes(journal.state(item.seq))
    for await (const batch of batches(file, isDue)) {
      if (options.stopping.aborted) return
      yield await undo(executor, batch)
    }
  }
}

/** Items that are due, in batches of one kind of action, so that no removal begins before the rows are settled. */
async function* batches(file: string, isDue: (item: PlanItem) => boolean): AsyncGenerator<PlanItem[]> {
  let batch: PlanItem[] = []
  for await (const item of planItems(file)) {
    if (!isDue(item)) continue
    if (batch.length >= batchItems || (batch.length > 0 && batch[0]?.action !== item.action)) {
      yield batch
      batch = []
    }
    batch.push(item)
  }
  if (batch.length > 0) yield batch
}

/** @param batch of one kind of action */
function apply(executor: ItemExecutor, batch: readonly PlanItem[]): Promise<ItemOutcome[]> {
  switch (batch[0]?.action) {
    case 'update-row':
      return changeRows(executor, batch as RowUpdate[])
    case 'bring-back-object':
      return bringBackWanted(executor, batch as BringBack[])
    case 'set-headers':
      return setHeaders(executor, batch as HeaderChange[])
    default:
      return removeObjects(executor, batch as Removal[])
  }
}

/** @param batch of one kind of action */
function undo(executor: ItemExecutor, batch: readonly PlanItem[]): Promise<ItemOutcome[]> {
  switch (batch[0]?.action) {
    case 'update-row':
      return resetRows(executor, batch as RowUpdate[])
    case 'bring-back-object':
      return removeAgain(executor, batch as BringBack[])
    case 'set-headers':
      return resetHeaders(executor, batch as HeaderChange[])
    default:
      return bringBackObjects(executor, batch as Removal[])
  }
}
