/** Reports for programs: one JSON object a line. */
import { printableJson } from '../core/units.ts'
import { AppError, type ExitCode } from '../errors.ts'
import {
  type Fields,
  type Item,
  jsonSchemaVersion,
  type Output,
  type Progress,
  type Reporter,
  type Style,
  type Summary,
} from './reporter.ts'
import { RateMeter } from './text.ts'

const same = (text: string): string => text
const plain: Style = { bold: same, dim: same, red: same, green: same, yellow: same, cyan: same }

/** Milliseconds between progress messages. */
const statusInterval = 1_000

interface JsonReporterOptions {
  stdout: Output
  stderr: Output
  quiet: boolean
  verbose: boolean
  now: () => number
}

export class JsonReporter implements Reporter {
  readonly json = true
  readonly verbose: boolean
  readonly style = plain
  readonly #options: JsonReporterOptions
  #stopProgress: (() => void) | undefined

  constructor(options: JsonReporterOptions) {
    this.#options = options
    this.verbose = options.verbose
  }

  data(_text: string, { message_type, ...fields }: Fields & { message_type: string }): void {
    this.#out(message_type, fields)
  }

  note(text: string, fields: Fields = {}): void {
    if (!this.#options.quiet) this.#out('status', { message: text, ...fields })
  }

  detail(text: string, fields: Fields = {}): void {
    if (this.verbose) this.#out('status', { message: text, ...fields })
  }

  warn(text: string, fields: Fields = {}): void {
    this.#err('error', { level: 'warning', message: text, ...fields })
  }

  item({ subject, state, fields = {}, reason, cure }: Item): void {
    this.#out('item', { subject, state, ...fields, ...(reason ? { reason } : {}), ...(cure ? { cure } : {}) })
  }

  summary({ lines, next, fields }: Summary): void {
    this.#stopProgress?.()
    this.#out('summary', { ...fields, message: lines[0] ?? '', ...(next ? { next } : {}) })
  }

  error(error: AppError): void {
    this.#err('error', { level: 'error', ...describe(error) })
  }

  exitError(error: Error, exitCode: ExitCode): void {
    this.#stopProgress?.()
    this.#err('exit_error', {
      exit_code: exitCode,
      ...describe(error),
      ...(this.verbose ? { stack: error.stack } : {}),
    })
  }

  progress({ label, unit }: { label: string; unit: string }): Progress {
    this.#stopProgress?.()
    const { now } = this.#options
    const state = {
      items: 0,
      bytes: 0,
      itemsTotal: undefined as number | undefined,
      bytesTotal: undefined as number | undefined,
    }
    const startedAt = now()
    const meter = new RateMeter(now)
    let word = ''
    const send = () =>
      this.#out('status', {
        activity: label,
        unit,
        items_done: state.items,
        items_total: state.itemsTotal,
        bytes_done: state.bytes,
        bytes_total: state.bytesTotal,
        bytes_per_second: Math.round(meter.perSecond()),
        seconds_elapsed: Math.round((now() - startedAt) / 100) / 10,
        ...(word ? { note: word } : {}),
      })
    const timer = this.#options.quiet ? undefined : setInterval(send, statusInterval).unref()
    const stop = () => clearInterval(timer)
    this.#stopProgress = stop
    return {
      advance({ items = 0, bytes = 0 }) {
        state.items += items
        state.bytes += bytes
        meter.add(bytes)
      },
      total({ items, bytes }) {
        state.itemsTotal = items ?? state.itemsTotal
        state.bytesTotal = bytes ?? state.bytesTotal
      },
      note(text) {
        word = text
      },
      done: stop,
    }
  }

  close(): void {
    this.#stopProgress?.()
  }

  #out(messageType: string, fields: Fields): void {
    this.#options.stdout.write(this.#line(messageType, fields))
  }

  #err(messageType: string, fields: Fields): void {
    this.#options.stderr.write(this.#line(messageType, fields))
  }

  #line(messageType: string, fields: Fields): string {
    const time = new Date(this.#options.now()).toISOString()
    const json = JSON.stringify(
      { message_type: messageType, schema: jsonSchemaVersion, time, ...fields },
      (_key, value) => (typeof value === 'bigint' ? Number(value) : value),
    )
    return `${printableJson(json)}\n`
  }
}

function describe(error: Error): Fields {
  if (!(error instanceof AppError)) return { code: 'bug', message: error.message }
  return { code: error.code, message: error.message, cure: error.cure, ...error.details }
}
