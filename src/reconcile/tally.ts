import { type DifferenceClass, differenceClasses } from '../core/reconcile/facts.ts'

/** What a run saw, counted while it goes. */
export interface Tally {
  rows: number
  rowsWithKey: number
  objects: number
  /** of these what the listing left out, though it was there before */
  unlisted: number
  /** bytes of the objects seen */
  bytes: number
  files: number
  agree: number
  /** rows or objects that changed while the run looked: not judged */
  changed: number
  unread: number
  heads: number
  hashed: number
  found: Record<DifferenceClass, number>
  /** of these what contradicts nothing */
  notes: Record<DifferenceClass, number>
  /** drift in all: a line may tell of several */
  differences: number
  /** lines with at least one drift */
  drift: number
}

export function newTally(): Tally {
  const classes = Object.keys(differenceClasses) as DifferenceClass[]
  const none = (): Record<DifferenceClass, number> =>
    Object.fromEntries(classes.map(kind => [kind, 0])) as Record<DifferenceClass, number>
  return {
    rows: 0,
    rowsWithKey: 0,
    objects: 0,
    unlisted: 0,
    bytes: 0,
    files: 0,
    agree: 0,
    changed: 0,
    unread: 0,
    heads: 0,
    hashed: 0,
    drift: 0,
    differences: 0,
    found: none(),
    notes: none(),
  }
}
