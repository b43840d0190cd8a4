import type { ErrorCode } from '../error-codes.ts'

/** Why one source did not give a track's audio. `passing`: it may give it another time. */
export class FetchProblem extends Error {
  readonly code: ErrorCode
  readonly cure: string | undefined
  readonly passing: boolean

  constructor(
    code: ErrorCode,
    message: string,
    { cure, passing = false, cause }: { cure?: string; passing?: boolean; cause?: unknown } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'FetchProblem'
    this.code = code
    this.cure = cure
    this.passing = passing
  }
}
