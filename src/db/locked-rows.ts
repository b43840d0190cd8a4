/** Rows that another transaction keeps locked: nobody waits for them without end, and nobody passes over them in silence. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Knex } from 'knex'
import { formatDuration, plural } from '../core/units.ts'
import type { Reporter } from '../report/reporter.ts'
import { type RowRefusal, writeInParts } from './errors.ts'
import { lockHolder } from './tracks.ts'

/** How long a run waits for locked rows, all of them together, milliseconds. */
const patience = 15_000

interface LockedRowsOptions {
  readonly knex: Knex
  /** ends the waiting */
  readonly stopping: AbortSignal
  /** undefined: whoever asked tells of each row */
  readonly report?: Pick<Reporter, 'note' | 'warn'> | undefined
  /** milliseconds; 15 s */
  readonly wait?: number | undefined
}

/** How rows are written. */
interface RowWriting<T, R> {
  idOf(one: T): string
  /** in one transaction, waiting for no row; the result of each, in their order, `locked` for one that another transaction holds */
  write(part: readonly T[]): Promise<readonly (R | 'locked')[]>
  /** what becomes of a row that the database refuses */
  refuse(one: T, refusal: RowRefusal): R
}

/** For one run: writes rows, comes back to those that are locked, and gives up once it has waited for long enough. */
export class LockedRows {
  /** ids of rows that stayed locked */
  readonly stayed = new Set<string>()
  readonly #options: LockedRowsOptions
  /** milliseconds that are left of the patience */
  #left: number

  constructor(options: LockedRowsOptions) {
    this.#options = options
    this.#left = options.wait ?? patience
  }

  /**
   * Writes a batch, in parts where the database refuses some of it.
   *
   * @returns the result of each, in their order: `locked` for what stayed so
   * @throws what concerns more than a row
   */
  async write<T, R>(
    batch: readonly T[],
    { idOf, write, refuse }: RowWriting<T, R>,
  ): Promise<(R | 'locked')[]> {
    const attempt = (some: readonly T[]) =>
      writeInParts<T, R | 'locked'>(some, write, async (one, refusal) => refuse(one, refusal))
    const ends = [...(await attempt(batch))]
    const { stopping, report } = this.#options
    const lockedNow = (): number[] => ends.flatMap((end, at) => (end === 'locked' ? [at] : []))
    let locked = lockedNow()
    for (
      let pause = 50;
      locked.length > 0 && this.#left > 0 && !stopping.aborted;
      pause = Math.min(1_000, pause * 2)
    ) {
      if (pause === 100)
        report?.note(
          `${plural(locked.length, 'row')} locked by another transaction: waiting for up to ${formatDuration(this.#left)}`,
        )
      const now = Math.min(pause, this.#left)
      this.#left -= now
      await sleep(now, undefined, { signal: stopping }).catch(() => {})
      const again = await attempt(locked.map(at => batch[at] as T))
      for (const [index, at] of locked.entries()) ends[at] = again[index] as R | 'locked'
      locked = lockedNow()
    }
    for (const at of locked) this.stayed.add(idOf(batch[at] as T))
    return ends
  }

  /** Says at the end of a run how many rows stayed locked, and by whom. */
  async tell(): Promise<void> {
    const { knex, report } = this.#options
    if (this.stayed.size > 0) await tellLocked(knex, report, [...this.stayed])
  }
}

/** Warns of rows that stayed locked, with whoever holds them, as far as the server tells. */
export async function tellLocked(
  knex: Knex,
  report: Pick<Reporter, 'warn'> | undefined,
  ids: readonly string[],
): Promise<void> {
  const holder = await lockHolder(knex, ids)
  report?.warn(
    `${plural(ids.length, 'row')} stayed locked by another transaction${holder === undefined ? '' : `, ${holder}`}`,
    { code: 'row.locked', locked: ids.length, track_ids: ids.slice(0, 100) },
  )
}

/** Why a row was not written, for one item. */
export const rowLocked = 'another transaction keeps its row locked'

/** For the summary of a run. */
export const lockedLine = (locked: number): string =>
  `${plural(locked, 'row')} left as ${locked === 1 ? 'it is' : 'they are'}: another transaction kept ${locked === 1 ? 'it' : 'them'} locked.`
