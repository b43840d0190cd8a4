/** For a run that ends while rows still come up. */
export const rowsKeepComing = 'rows kept being added while it ran: run it again for the rest'

/** Ids that are kept at most: some 10 MB. */
const most = 100_000

/**
 * Passes of a run over the rows that are left, until one brings nothing: rows of runs that died in the meantime come up
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

  /** Whether more came up than is remembered: there is no further pass, and some may be left. */
  get isFull(): boolean {
    return this.#again.size >= this.#most
  }

  /** Begins the next pass. @returns whether there is to be one */
  begin(): boolean {
    this.#pass++
    return !this.isFull
  }

  /** Whether a track that has come up is to be done; not when it was done in an earlier pass but the first. */
  isDue(id: string): boolean {
    if (this.#pass === 1) return true
    if (this.#again.has(id)) return false
    this.#again.add(id)
    return true
  }
}
