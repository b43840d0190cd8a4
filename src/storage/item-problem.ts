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

/** What went wrong with one object, when that is not a reason to end the run. */
export function itemProblem(error: unknown): string | undefined {
  return error instanceof StoreError && itemKinds.has(error.kind) ? error.message : undefined
}
