/**
 * What a whole run says, whichever command it is: what is left where it was interrupted, and under --quiet nothing
 * unless something is wrong.
 */

import { formatCount } from '../core/units.ts'
import type { StopReason } from '../errors.ts'
import { type AppError, ExitCode } from '../errors.ts'
import type { Fields, Item, Progress, ProgressOptions, Reporter, Style, Summary } from './reporter.ts'

export interface RunReportOptions {
  readonly quiet: boolean
  /** the command line that does the rest, for people to copy */
  readonly commandLine: string
  /** why the run was told to stop, if it was */
  stopReason(): StopReason | undefined
}

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

  constructor(inner: Reporter, options: RunReportOptions) {
    this.#inner = inner
    this.#options = options
    this.json = inner.json
    this.verbose = inner.verbose
    this.style = inner.style
  }

  data(text: string, json: Fields & { message_type: 'item' | 'summary' | 'status' }): void {
    this.#inner.data(text, json)
    if (json.message_type === 'summary') this.#hasEnded = true
  }

  note(text: string, fields?: Fields): void {
    this.#inner.note(text, fields)
  }

  detail(text: string, fields?: Fields): void {
    this.#inner.detail(text, fields)
  }

  warn(text: string, fields?: Fields): void {
    this.#hasComplained = true
    this.#inner.warn(text, fields)
  }

  item(item: Item): void {
    if (item.state === 'failed') this.#hasComplained = true
    this.#inner.item(item)
  }

  error(error: AppError): void {
    this.#hasComplained = true
    this.#inner.error(error)
  }

  exitError(error: Error, exitCode: ExitCode): void {
    this.#hasComplained = true
    this.#hasEnded = true
    this.#inner.exitError(error, exitCode)
  }

  summary(summary: Summary): void {
    this.#hasEnded = true
    const told = this.#withWhatIsLeft(summary)
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

  #withWhatIsLeft(summary: Summary): Summary {
    const reason = this.#options.stopReason()
    const { items = 0, itemsTotal, unit = '' } = this.#progress ?? {}
    if (reason === undefined || itemsTotal === undefined || items >= itemsTotal) return summary
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
