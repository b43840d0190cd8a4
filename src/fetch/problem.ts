import type { ErrorCode } from '../error-codes.ts'
import { ItemError } from '../errors.ts'

/** Why one source did not give a track's audio. `passing`: it may give it another time. */
export class FetchProblem extends ItemError {
  readonly passing: boolean

  constructor(
    code: ErrorCode,
    reason: string,
    { cure, passing = false, cause }: { cure?: string; passing?: boolean; cause?: unknown } = {},
  ) {
    super(code, reason, cure, cause)
    this.passing = passing
  }
}
