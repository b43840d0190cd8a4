import { constants, type FileHandle } from 'node:fs/promises'
import { FatalError, systemErrorReason, UsageError } from '../errors.ts'
import { syncFile, writeWhole } from '../file-effects.ts'
import { linesOf, NamedFileError, openItself } from '../named-files.ts'
import type { Checksums } from '../storage/store.ts'
import { journalOf, longestLine } from './plan-file.ts'

/**
 * What has become of each item of a plan, beside the plan. An intent is on disk before its effect begins; what lies
 * between `begun` and `done` after a kill is settled by looking at the world.
 */
type ItemState = 'none' | 'begun' | 'done' | 'skipped' | 'failed' | 'undoing' | 'undone'

const states: readonly ItemState[] = ['none', 'begun', 'done', 'skipped', 'failed', 'undoing', 'undone']

/** What undoing an item needs and the plan does not hold. */
export interface Trace {
  /** the row's time of last change before */
  updatedAt?: string | null
  /** the delete marker made; if a lost answer led to several, the newest */
  markerVersionId?: string
  /** of the object as it was written */
  etag?: string
  /** of the object as it was before, what the store knew of its content */
  sums?: Checksums
}

export interface JournalEntry {
  seq: number
  state: ItemState
  trace?: Trace
  /** why it was skipped or failed */
  reason?: string
}

/** A line with a trace is no longer than this, bytes: keys and reasons are elsewhere. */
const traceLine = 8_192

/** The journal of one plan, `FILE.journal`. Memory: nine bytes an item; traces are read back where undoing needs them. */
export class PlanJournal {
  readonly #handle: FileHandle
  readonly #byItem: Uint8Array
  /** where the newest line with a trace of each item begins; 0, where the header is: it has none */
  readonly #traceAt: Float64Array
  /** bytes in the file */
  #size = 0
  /** the last line has no end: a kill, or a full disk, cut it short */
  #torn = false
  readonly #file: string
  /** there was none before: what has become of the plan nobody knows */
  #isNew = false

  constructor(handle: FileHandle, file: string, items: number) {
    this.#handle = handle
    this.#file = file
    this.#byItem = new Uint8Array(items + 1)
    this.#traceAt = new Float64Array(items + 1)
  }

  /**
   * Opens the journal of a plan, or begins it.
   *
   * @param items how many the plan has
   * @throws FatalError when it belongs to another plan
   */
  static async open(planFile: string, planId: string, items: number): Promise<PlanJournal> {
    const file = journalOf(planFile)
    const { O_RDWR, O_APPEND, O_CREAT } = constants
    const unusable = (what: string, error: unknown): UsageError =>
      new UsageError(`cannot ${what} ${file}: ${systemErrorReason(error)}`, {
        code: 'plan.journal',
        cause: error,
      })
    const handle = await openItself(file, O_RDWR | O_APPEND | O_CREAT, 0o600).catch(error => {
      throw unusable('write', error)
    })
    try {
      const journal = new PlanJournal(handle, file, items)
      let first = true
      for await (const line of linesOf(handle, longestLine)) {
        const start = journal.#size
        journal.#size += line.length + 1
        let value: { plan?: string } & Partial<JournalEntry>
        try {
          value = JSON.parse(line.toString())
        } catch {
          // Cut short by a kill, or by a full disk.
          continue
        }
        if (first && value.plan !== planId) {
          throw new FatalError(`${file} belongs to another plan`, {
            code: 'plan.journal',
            cure: 'Give every plan a file name of its own; move this journal away if you are done with its plan.',
          })
        }
        first = false
        if (value.seq === undefined || value.state === undefined || value.seq > items) continue
        journal.#note(value as JournalEntry, start)
      }
      await journal.#measure()
      journal.#isNew = first
      if (first) await journal.#append([JSON.stringify({ plan: planId })])
      return journal
    } catch (error) {
      await handle.close()
      throw error instanceof NamedFileError ? unusable('read', error) : error
    }
  }

  /** Whether it was begun just now: the plan was never applied, or its journal is lost, or on another machine. */
  get isNew(): boolean {
    return this.#isNew
  }

  state(seq: number): ItemState {
    return states[this.#byItem[seq] ?? 0] ?? 'none'
  }

  /** Whether an effect was begun of which nobody has seen the end. */
  isOpen(seq: number): boolean {
    return ['begun', 'undoing'].includes(this.state(seq))
  }

  async trace(seq: number): Promise<Trace> {
    const start = this.#traceAt[seq] ?? 0
    if (start === 0) return {}
    const { buffer, bytesRead } = await this.#handle.read(Buffer.alloc(traceLine), 0, traceLine, start)
    const [line = ''] = buffer.toString('utf8', 0, bytesRead).split('\n', 1)
    return (JSON.parse(line) as JournalEntry).trace ?? {}
  }

  /** On disk when the promise resolves. */
  async write(entries: readonly JournalEntry[]): Promise<void> {
    if (entries.length === 0) return
    const lines = entries.map(entry => JSON.stringify(entry))
    let start = await this.#append(lines)
    for (const [index, entry] of entries.entries()) {
      this.#note(entry, start)
      start += Buffer.byteLength(lines[index] as string) + 1
    }
  }

  /**
   * An empty trace says nothing new. A failure does not end an intent: its effect may have happened, and the item stays
   * open until someone has looked.
   */
  #note({ seq, state, trace }: JournalEntry, start: number): void {
    if (state !== 'failed' || !this.isOpen(seq)) this.#byItem[seq] = states.indexOf(state)
    if (trace !== undefined && Object.keys(trace).length > 0) this.#traceAt[seq] = start
  }

  close(): Promise<void> {
    return this.#handle.close()
  }

  /** Where the next line begins. */
  async #measure(): Promise<void> {
    this.#size = (await this.#handle.stat()).size
    if (this.#size === 0) return
    const { buffer } = await this.#handle.read(Buffer.alloc(1), 0, 1, this.#size - 1)
    this.#torn = buffer.toString() !== '\n'
  }

  /** @returns where the first of the lines begins @throws the file system's error, a full disk's included */
  async #append(lines: readonly string[]): Promise<number> {
    const file = { handle: this.#handle, path: this.#file }
    // A line cut short is ended, so that the next one is whole.
    const end = this.#torn ? '\n' : ''
    const text = `${end}${lines.join('\n')}\n`
    try {
      await writeWhole(file, text)
    } catch (error) {
      await this.#measure()
      throw error
    }
    const start = this.#size + end.length
    this.#torn = false
    this.#size += Buffer.byteLength(text)
    await syncFile(file)
    return start
  }
}
