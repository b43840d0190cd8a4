/**
 * The records of a run that outlive it: log file, health check, metrics. Whatever goes wrong with one of them is a
 * warning, never the run's failure. Loaded only if one is asked for.
 */
import { hostname } from 'node:os'
import type { RecordSettings } from '../config.ts'
import { formatDuration } from '../core/units.ts'
import { toError } from '../errors.ts'
import type { Entry, RunEnd } from '../report/entry.ts'
import { Healthcheck } from './healthcheck.ts'
import { LogFile } from './log-file.ts'
import type { LibraryTotals } from './metrics.ts'
import { redactor } from './redact.ts'

interface RecordsOptions {
  readonly settings: RecordSettings
  /** the command line, as it may be shown */
  readonly commandLine: string
  readonly command: string
  readonly version: string
  /** what must not be recorded */
  readonly secrets: readonly string[]
  readonly now: () => Date
  /** milliseconds that they may take at the end of a run (default: 25 s) */
  readonly endTimeout?: number
  warn(text: string): void
}

/** Milliseconds that the records may take at the end of a run, and of one that was told to stop at once. */
const endTimeout = 25_000
const forcedTimeout = 2_000

export class Records {
  readonly #options: RecordsOptions
  readonly #redact: (text: string) => string
  readonly #log: LogFile | undefined
  readonly #healthcheck: Healthcheck | undefined
  #isLogLost = false

  /** @throws UsageError if the log file cannot be opened */
  constructor(options: RecordsOptions) {
    this.#options = options
    const { settings, command, commandLine, version, now } = options
    this.#redact = redactor(options.secrets)
    if (settings.logFile !== undefined)
      this.#log = new LogFile(settings.logFile, { format: settings.logFormat, now })
    if (settings.healthcheck !== undefined) {
      this.#healthcheck = new Healthcheck(settings.healthcheck, options.warn)
      this.#healthcheck.start()
    }
    this.record({
      level: 'info',
      message_type: 'status',
      text: `${command} started: ${commandLine} (autodj ${version}, pid ${process.pid} on ${hostname()})`,
      fields: { event: 'begin', command, version, pid: process.pid, host: hostname() },
    })
  }

  record(entry: Entry): void {
    const clean: Entry = {
      ...entry,
      text: this.#redact(entry.text),
      fields: JSON.parse(this.#redact(JSON.stringify(entry.fields, plain))),
    }
    this.#healthcheck?.record(clean)
    if (this.#isLogLost) return
    try {
      this.#log?.write(clean)
    } catch (error) {
      this.#isLogLost = true
      this.#options.warn(`--log-file: ${toError(error).message}; the run continues without it`)
    }
  }

  /**
   * @param runs the run, and those of the commands that it ran itself
   * @param library of the database, if it was open
   */
  async end(
    runs: readonly RunEnd[],
    library: LibraryTotals | undefined,
    { isForced }: { isForced: boolean },
  ): Promise<void> {
    const [run] = runs
    if (run === undefined) return
    const { command, startedAt, endedAt, exitCode } = run
    const duration = endedAt.getTime() - startedAt.getTime()
    this.record({
      level: exitCode === 0 ? 'info' : 'error',
      message_type: 'status',
      text: `${command} ended with exit code ${exitCode} after ${formatDuration(duration)}`,
      fields: { event: 'end', command, exit_code: exitCode, seconds: duration / 1_000 },
    })
    const deadline = AbortSignal.timeout(isForced ? forcedTimeout : (this.#options.endTimeout ?? endTimeout))
    const { metrics } = this.#options.settings
    const sent = metrics === undefined ? undefined : this.#sendMetrics(metrics, runs, library, deadline)
    await Promise.all([sent, this.#healthcheck?.end(exitCode, deadline)])
    this.#log?.close()
  }

  async #sendMetrics(
    where: string,
    runs: readonly RunEnd[],
    library: LibraryTotals | undefined,
    deadline: AbortSignal,
  ): Promise<void> {
    try {
      const { pushMetrics, writeMetricsFile } = await import('./metrics.ts')
      if (!/^https?:\/\//.test(where)) return await writeMetricsFile(where, runs, library)
      const problem = await pushMetrics(where, runs, library, deadline)
      if (problem !== undefined) this.#options.warn(`--metrics: ${problem}`)
    } catch (error) {
      this.#options.warn(`--metrics: ${this.#redact(toError(error).message)}`)
    }
  }
}

const plain = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? Number(value) : value)
