import type { DifferenceClass } from '../core/reconcile/facts.ts'

/** What a run saw, counted while it goes. */
export interface Tally {
  rows: number
  rowsWithKey: number
  objects: number
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
  /** lines with at least one drift */
  drift: number
}

export function newTally(): Tally {
  const none = {
    rows: 0,
    rowsWithKey: 0,
    objects: 0,
    bytes: 0,
    files: 0,
    agree: 0,
    changed: 0,
    unread: 0,
    heads: 0,
  }
  return {
    ...none,
    hashed: 0,
    drift: 0,
    found: {
      'missing-object': 0,
      'orphan-object': 0,
      'size-differs': 0,
      'checksum-differs': 0,
      'metadata-differs': 0,
      'wrong-source': 0,
      'nfc-twin': 0,
      'case-twin': 0,
      moved: 0,
      'duplicate-content': 0,
      'no-audio': 0,
      'local-file-without-row': 0,
    },
  }
}
