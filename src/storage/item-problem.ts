import { StoreError, type StoreErrorKind } from './store.ts'

/** What concerns one object only; anything else (no bucket, no credentials, an abort) ends the run. */
const itemKinds: ReadonlySet<StoreErrorKind> = new Set<StoreErrorKind>([
  'denied',
  'missing',
  'archived',
  'exists',
  'precondition',
  'bad-digest',
  'throttled',
  'unavailable',
  'network',
  'timeout',
  'invalid',
])

/** Whether something went wrong with one object, which is no reason to end the run. */
export const isItemProblem = (error: unknown): error is StoreError =>
  error instanceof StoreError && itemKinds.has(error.kind)
