import { type FileHandle, open } from 'node:fs/promises'
import { FatalError, systemErrorCode, UsageError } from '../errors.ts'
import { journalOf } from './plan-file.ts'

/**
 * What has become of each item of a plan, beside the plan. An intent is on disk before its effect begins; what lies
 * between `begun` and `done` after a kill is settled by looking at the world.
 */
export type ItemState = 'none' | 'begun' | 'done' | 'skipped' | 'failed' | 'undoing' | 'undone'

const states: readonly ItemState[] = ['none', 'begun', 'done', 'skipped', 'failed', 'undoing', 'undone']

/** What undoing an item needs and the plan does not hold. */
export interface Trace {
  /** the row's time of last change before */
  updatedAt?: string | null
  /** the delete marker made */
  markerVersionId?: string
  /** of the object as it was written */
  etag?: string
}

export interface JournalEntry {
  seq: number
  state: ItemState
  trace?: Trace
  /** why it was skipped or failed */
  reason?: string
}

/** The journal of one plan, `FILE.journal`. Memory: a byte an item, and the traces. */
export class Journal {
  private readonly handle: FileHandle
  private readonly byItem: Uint8Array
  private readonly traces: Map<number, Trace>

  private constructor(handle: FileHandle, byItem: Uint8Array, traces: Map<number, Trace>) {
    this.handle = handle
    this.byItem = byItem
    this.traces = traces
  }

  /**
   * Opens the journal of a plan, or begins it.
   *
   * @param items how many the plan has
   * @throws FatalError when it belongs to another plan
   */
  static async open(planFile: string, planId: string, items: number): Promise<Journal> {
    const file = journalOf(planFile)
    const handle = await open(file, 'a+', 0o600).catch(error => {
      throw new UsageError(`cannot write ${file}: ${systemErrorCode(error)}`, {
        code: 'plan.journal',
        cause: error,
      })
    })
    try {
      const byItem = new Uint8Array(items + 1)
      const traces = new Map<number, Trace>()
      let first = true
      let cut = false
      for await (const line of handle.readLines({ encoding: 'utf8', start: 0, autoClose: false })) {
        let value: { plan?: string } & Partial<JournalEntry>
        try {
          value = JSON.parse(line)
        } catch {
          // The last line of a run that was killed while it wrote.
          cut = true
          continue
        }
        if (first && value.plan !== planId) {
          throw new FatalError(`${file} belongs to another plan`, {
            code: 'plan.journal',
            cure: 'give every plan a file name of its own; move this journal away if you are done with its plan',
          })
        }
        first = false
        if (value.seq === undefined || value.state === undefined || value.seq > items) continue
        byItem[value.seq] = states.indexOf(value.state)
        if (value.trace !== undefined) traces.set(value.seq, { ...traces.get(value.seq), ...value.trace })
      }
      const journal = new Journal(handle, byItem, traces)
      // A line cut short is ended, so that the next one is whole.
      await journal.append(
        first ? [`${cut ? '\n' : ''}${JSON.stringify({ plan: planId })}`] : cut ? [''] : [],
      )
      return journal
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  state(seq: number): ItemState {
    return states[this.byItem[seq] ?? 0] ?? 'none'
  }

  trace(seq: number): Trace {
    return this.traces.get(seq) ?? {}
  }

  /** On disk when the promise resolves. */
  async write(entries: readonly JournalEntry[]): Promise<void> {
    if (entries.length === 0) return
    for (const { seq, state, trace } of entries) {
      this.byItem[seq] = states.indexOf(state)
      if (trace !== undefined) this.traces.set(seq, { ...this.traces.get(seq), ...trace })
    }
    await this.append(entries.map(entry => JSON.stringify(entry)))
  }

  close(): Promise<void> {
    return this.handle.close()
  }

  private async append(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return
    await this.handle.write(`${lines.join('\n')}\n`)
    await this.handle.datasync()
  }
}
