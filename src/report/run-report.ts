/**
 * What a whole run says, whichever command it is: what is left where it was interrupted, and under --quiet nothing
 * unless something is wrong. Counts what it hears and hands it on to the records of the run.
 */

import { stripVTControlCharacters } from 'node:util'
import { formatCount, printable } from '../core/units.ts'
import { type ErrorCode, usualCure } from '../error-codes.ts'
import type { StopReason } from '../errors.ts'
import { type AppError, ExitCode } from '../errors.ts'
import type { Entry, Level, RunEnd } from './entry.ts'
import {
  type Fields,
  failedStates,
  type Item,
  type Progress,
  type ProgressOptions,
  type Reporter,
  type Style,
  type Summary,
} from './reporter.ts'

interface RunReportOptions {
  readonly quiet: boolean
  /** the command line that does the rest, for people to copy */
  readonly commandLine: string
  /** why the run was told to stop, if it was */
  stopReason(): StopReason | undefined
}

const countUp = (counts: Map<string, number>, name: string): void =>
  void counts.set(name, (counts.get(name) ?? 0) + 1)

export class RunReport implements Reporter {
  readonly json: boolean
  readonly verbose: boolean
  readonly style: Style
  readonly #inner: Reporter
  readonly #options: RunReportOptions
  #progress: { items: number; itemsTotal: number | undefined; unit: string } | undefined
  /** the summary of a quiet run, until it is known whether anybody needs it */
  #held: Summary | undefined
  #hasComplained = false
  #hasEnded = false
  #record: ((entry: Entry) => void) | undefined
  readonly #outcomes = new Map<string, number>()
  readonly #failures = new Map<string, number>()
  #summaryFields: Fields = {}

  constructor(inner: Reporter, options: RunReportOptions) {
    this.#inner = inner
    this.#options = options
    this.json = inner.json
    this.verbose = inner.verbose
    this.style = inner.style
  }

  /** From now on every line goes there too. */
  recordTo(record: (entry: Entry) => void): void {
    this.#record = record
  }

  /** What the run came to, so far. */
  tally(): Pick<RunEnd, 'fields' | 'failures' | 'outcomes'> {
    return { fields: this.#summaryFields, failures: this.#failures, outcomes: this.#outcomes }
  }

  data(text: string, json: Fields & { message_type: 'item' | 'summary' | 'status' }): void {
    this.#inner.data(text, json)
    if (json.message_type === 'summary') this.#hasEnded = true
  }

  note(text: string, fields?: Fields): void {
    this.#inner.note(text, fields)
    this.#keep('info', 'status', text, fields)
  }

  detail(text: string, fields?: Fields): void {
    this.#inner.detail(text, fields)
    this.#keep('debug', 'status', text, fields)
  }

  warn(text: string, fields?: Fields): void {
    this.#hasComplained = true
    this.#inner.warn(text, fields)
    this.#keep('warning', 'error', text, fields)
  }

  item(item: Item): void {
    const { subject, state, reason, fields = {} } = item
    const isFailed = failedStates.has(state)
    const cure = item.cure ?? (isFailed && fields.code ? usualCure(fields.code) : undefined)
    if (isFailed) {
      this.#hasComplained = true
      countUp(this.#failures, String(fields['code'] ?? state))
    }
    countUp(this.#outcomes, state)
    this.#inner.item({ ...item, cure })
    const level = isFailed ? 'error' : state === 'skipped' ? 'warning' : 'info'
    const why = reason === undefined ? '' : `: ${reason}`
    this.#keep(level, 'item', printable(`${state} ${subject}${why}`), {
      subject,
      state,
      ...fields,
      ...(reason ? { reason } : {}),
      ...(cure ? { cure } : {}),
    })
  }

  error(error: AppError): void {
    this.#hasComplained = true
    this.#inner.error(error)
    this.#keepError('error', error)
  }

  exitError(error: Error, exitCode: ExitCode): void {
    this.#hasComplained = true
    this.#hasEnded = true
    this.#inner.exitError(error, exitCode)
    this.#keepError('exit_error', error)
  }

  summary(summary: Summary): void {
    this.#hasEnded = true
    const told = this.#withWhatIsLeft(summary)
    const next = told.next === undefined ? [] : [`next: ${told.next}`]
    this.#summaryFields = told.fields
    this.#keep('info', 'summary', stripVTControlCharacters([...told.lines, ...next].join('\n')), told.fields)
    const isAnswer = told.isAnswer ?? told.fields['dry_run'] === true
    if (this.#options.quiet && !this.json && !isAnswer) this.#held = told
    else this.#inner.summary(told)
  }

  progress(options: ProgressOptions): Progress {
    const state = { items: 0, itemsTotal: undefined as number | undefined, unit: options.unit }
    this.#progress = state
    const inner = this.#inner.progress(options)
    return {
      advance(by) {
        state.items += by.items ?? 0
        inner.advance(by)
      },
      total(totals) {
        state.itemsTotal = totals.items ?? state.itemsTotal
        inner.total(totals)
      },
      note: text => inner.note(text),
      done: () => inner.done(),
    }
  }

  close(): void {
    this.#inner.close()
  }

  /** Says what is still to be said, once the exit code is known. */
  end(exitCode: ExitCode): void {
    const held = this.#held
    this.#held = undefined
    if (held !== undefined && (exitCode !== ExitCode.ok || this.#hasComplained)) this.#inner.summary(held)
    if (this.json && !this.#hasEnded) this.#inner.summary({ lines: [], fields: { exit_code: exitCode } })
  }

  #keep(level: Level, message_type: Entry['message_type'], text: string, fields: Fields = {}): void {
    this.#record?.({ level, message_type, text: stripVTControlCharacters(text), fields })
  }

  #keepError(
    message_type: 'error' | 'exit_error',
    error: Error & { code?: ErrorCode; cure?: string | undefined },
  ): void {
    const { message, cure, code } = error
    this.#keep('error', message_type, printable(cure ? `${message} (${cure})` : message), { code, cure })
  }

  #withWhatIsLeft(summary: Summary): Summary {
    const reason = this.#options.stopReason()
    const { items = 0, itemsTotal, unit = '' } = this.#progress ?? {}
    // Before the first item is done the command's own words say all there is to say.
    if (reason === undefined || itemsTotal === undefined || items === 0 || items >= itemsTotal) return summary
    const left = itemsTotal - items
    const why = reason === 'time-budget' ? 'Time budget used up' : 'Interrupted'
    const does = summary.startsOver ? 'starts over' : `does the ${left === 1 ? 'last one' : 'rest'}`
    return {
      ...summary,
      lines: [
        `${why}: ${formatCount(items)} of ${formatCount(itemsTotal)} ${unit} done, ${formatCount(left)} left.`,
        ...summary.lines,
      ],
      next: `\`${this.#options.commandLine}\` ${does}`,
      fields: { ...summary.fields, interrupted: { reason, unit, done: items, total: itemsTotal, left } },
    }
  }
}
