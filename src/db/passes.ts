/** A track that a run did, whose row something else then made as if it had not, more than once. */
export const setBackCode = 'row.set-back'

/** Ids that are kept at most: some 10 MB. */
const most = 100_000

/**
 * Passes of a run over the rows that are left, until one brings nothing: rows of runs that died meanwhile come up
 * again, and new ones. What something sets back each time it is done (a trigger, an older application) would come up
 * for ever: it is done once more, and not a third time. Only what comes after the first pass is remembered, and that
 * only so far, so that memory stays flat however many tracks there are.
 */
export class Passes {
  readonly #most: number
  readonly #again = new Set<string>()
  #pass = 0

  /** @param limit ids that are remembered (tests) */
  constructor(limit = most) {
    this.#most = limit
  }

  /** Begins the next pass. @returns whether there is to be one: not when more came up again than are remembered */
  begin(): boolean {
    this.#pass++
    return this.#again.size < this.#most
  }

  /** Whether a track that has come up is to be done; not when it was done in an earlier pass but the first. */
  isDue(id: string): boolean {
    if (this.#pass === 1) return true
    if (this.#again.has(id)) return false
    this.#again.add(id)
    return true
  }
}
