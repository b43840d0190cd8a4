/** Properties under `scripts/mutation.ts`: the same each time, and over at the first failure, which nobody reads. */
import fc from 'fast-check'

fc.configureGlobal({ endOnFailure: true, seed: 1 })
