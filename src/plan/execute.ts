/**
 * Applies a plan, and takes it back. Every row and object is looked at again first; what is not as the plan saw it is
 * skipped, with the reason. The journal makes both resumable at any point.
 */
import { actionOrder, type PlanItem } from '../core/plan.ts'
import { resetHeaders, setHeaders } from './headers.ts'
import { type ExecuteOptions, ItemExecutor, type ItemOutcome } from './item-executor.ts'
import type { PlanJournal } from './journal.ts'
import { planItems } from './plan-file.ts'
import { bringBackObjects, bringBackWanted, removeAgain, removeObjects } from './removals.ts'
import { changeRows, resetRows } from './rows.ts'

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
    yield await execute('apply', executor, batch)
  }
}

/**
 * Takes back what was applied: objects first, then headers, then rows, each as it was before. Without a journal from
 * before everything may have been: each item is looked at as one that was begun.
 */
export async function* undoPlan(
  file: string,
  journal: PlanJournal,
  options: ExecuteOptions,
): AsyncGenerator<ItemOutcome[]> {
  const executor = new ItemExecutor(journal, options)
  const { isNew } = journal
  for (const action of actionOrder.toReversed()) {
    const isDue = (item: PlanItem): boolean =>
      item.action === action && (isNew || ['begun', 'done', 'undoing'].includes(journal.state(item.seq)))
    for await (const batch of batches(file, isDue)) {
      if (options.stopping.aborted) return
      if (isNew) await journal.write(batch.map(({ seq }) => ({ seq, state: 'begun' })))
      yield await execute('undo', executor, batch)
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

/** What is done with a batch of one kind of action, and what takes it back. */
const executions = {
  'update-row': { apply: changeRows, undo: resetRows },
  'bring-back-object': { apply: bringBackWanted, undo: removeAgain },
  'set-headers': { apply: setHeaders, undo: resetHeaders },
  'remove-object': { apply: removeObjects, undo: bringBackObjects },
} as const satisfies Record<PlanItem['action'], unknown>

function execute(
  how: 'apply' | 'undo',
  executor: ItemExecutor,
  batch: readonly PlanItem[],
): Promise<ItemOutcome[]> {
  const { action } = batch[0] as PlanItem
  return executions[action][how](executor, batch as never)
}
