/** Reports for people: lines, colours where they are wanted, bars where there is a terminal. */
import { createRequire } from 'node:module'
import { Chalk } from 'chalk'
import type { SingleBar } from 'cli-progress'
import { formatBytes, formatCount, formatDuration, percent, printable } from '../core/units.ts'
import type { AppError } from '../errors.ts'
import type { Item, Progress, ProgressState, Reporter, Style, Summary } from './reporter.ts'

/** Loaded when a bar is drawn: under cron, in pipes and with --json none is. */
function progressBars(): typeof import('cli-progress') {
  return createRequire(import.meta.url)('cli-progress')
}

/** An output stream, as much of it as reporting needs. */
export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

export interface TextReporterOptions {
  stdout: Output
  stderr: Output
  quiet: boolean
  verbose: boolean
  color: boolean
  now: () => number
}

/** Seconds between progress lines where there is no terminal to draw a bar on. */
const plainProgressInterval = 10_000

const failedStates = new Set(['failed', 'damaged', 'error', 'refused', 'conflict'])

export class TextReporter implements Reporter {
  readonly json = false
  readonly verbose: boolean
  readonly style: Style
  readonly #options: TextReporterOptions
  readonly #cures = new Set<string>()
  #bar: TextProgress | undefined

  constructor(options: TextReporterOptions) {
    this.#options = options
    this.verbose = options.verbose
    this.style = new Chalk({ level: options.color ? 1 : 0 })
  }

  data(text: string): void {
    this.#write(this.#options.stdout, text)
  }

  note(text: string): void {
    if (!this.#options.quiet) this.#write(this.#options.stderr, text)
  }

  detail(text: string): void {
    if (this.verbose) this.#write(this.#options.stderr, this.style.dim(text))
  }

  warn(text: string): void {
    this.#write(this.#options.stderr, `${this.style.yellow('warning:')} ${text}`)
  }

  item(item: Item): void {
    if (failedStates.has(item.state)) {
      const subject = printable(item.subject)
      this.#write(
        this.#options.stderr,
        `${this.style.red(item.state)} ${subject}: ${printable(item.reason ?? '')}`,
      )
      this.#cure(item.cure)
    } else if (item.text !== undefined) {
      this.#write(this.#options.stdout, item.text)
    } else if (this.verbose || item.state === 'skipped') {
      const reason = item.reason ? `: ${printable(item.reason)}` : ''
      if (this.verbose || !this.#options.quiet)
        this.#write(this.#options.stderr, `${this.style.dim(item.state)} ${printable(item.subject)}${reason}`)
    }
  }

  summary(summary: Summary): void {
    this.#bar?.done()
    for (const line of summary.lines) this.#write(this.#options.stdout, line)
    if (summary.next) this.#write(this.#options.stdout, `${this.style.cyan('next:')} ${summary.next}`)
  }

  error(error: AppError): void {
    this.#write(this.#options.stderr, `${this.style.red('error:')} ${printable(error.message)}`)
    if (error.cure) this.#write(this.#options.stderr, `  ${printable(error.cure)}`)
  }

  exitError(error: Error & { cure?: string }): void {
    this.#bar?.done()
    this.#write(this.#options.stderr, `${this.style.red('error:')} ${printable(error.message)}`)
    if (error.cure) this.#write(this.#options.stderr, `  ${printable(error.cure)}`)
    if (this.verbose) {
      for (let inner: unknown = error; inner instanceof Error; inner = inner.cause)
        this.#write(this.#options.stderr, this.style.dim(inner.stack ?? String(inner)))
    }
  }

  /** What to do is said once: a thousand files with one cause have one cure. */
  #cure(cure: string | undefined): void {
    if (cure === undefined || this.#cures.has(cure)) return
    if (this.#cures.size < 100) this.#cures.add(cure)
    this.#write(this.#options.stderr, `  ${this.style.dim(printable(cure))}`)
  }

  progress(options: { label: string; unit: string; showBytes?: boolean }): Progress {
    this.#bar?.done()
    const { stderr, quiet, now } = this.#options
    this.#bar = new TextProgress({ ...options, stderr, silent: quiet, now, style: this.style })
    return this.#bar
  }

  close(): void {
    this.#bar?.done()
  }

  #write(stream: Output, text: string): void {
    const write = () => stream.write(`${text}\n`)
    if (this.#bar) this.#bar.above(write)
    else write()
  }
}

interface TextProgressOptions {
  label: string
  unit: string
  showBytes?: boolean
  stderr: Output
  silent: boolean
  now: () => number
  style: Style
}

class TextProgress implements Progress {
  readonly #options: TextProgressOptions
  readonly #state: ProgressState = { items: 0, bytes: 0 }
  readonly #startedAt: number
  readonly #meter: RateMeter
  readonly #bar: SingleBar | undefined
  readonly #timer: NodeJS.Timeout | undefined
  #note = ''

  constructor(options: TextProgressOptions) {
    this.#options = options
    this.#startedAt = options.now()
    this.#meter = new RateMeter(options.now)
    if (options.silent) return
    if (options.stderr.isTTY) {
      this.#bar = new (progressBars().SingleBar)({
        stream: options.stderr as unknown as NodeJS.WritableStream,
        format: () => this.#line(true).slice(0, (options.stderr.columns ?? 80) - 1),
        clearOnComplete: true,
        hideCursor: true,
        gracefulExit: false,
        fps: 10,
      })
      this.#bar.start(1, 0)
    } else {
      this.#timer = setInterval(() => options.stderr.write(`${this.#line(false)}\n`), plainProgressInterval)
      this.#timer.unref()
    }
  }

  advance({ items = 0, bytes = 0 }: { items?: number; bytes?: number }): void {
    this.#state.items += items
    this.#state.bytes += bytes
    this.#meter.add(this.#options.showBytes ? bytes : items)
  }

  total({ items, bytes }: { items?: number; bytes?: number }): void {
    this.#state.itemsTotal = items ?? this.#state.itemsTotal
    this.#state.bytesTotal = bytes ?? this.#state.bytesTotal
  }

  note(text: string): void {
    this.#note = text
  }

  done(): void {
    clearInterval(this.#timer)
    if (this.#bar?.isActive) this.#bar.stop()
  }

  /** Writes past the bar: takes it off the line, and leaves it to the next frame to come back below. */
  above(write: () => void): void {
    if (this.#bar?.isActive) this.#options.stderr.write('\r\u001b[2K')
    write()
  }

  #line(withBar: boolean): string {
    const { label, unit, showBytes } = this.#options
    const { items, bytes, itemsTotal, bytesTotal } = this.#state
    const [done, whole] = showBytes ? [bytes, bytesTotal] : [items, itemsTotal]
    const parts = [label]
    if (whole !== undefined && whole > 0) {
      if (withBar) parts.push(progressBars().Format.BarFormat(Math.min(1, done / whole), barStyle))
      parts.push(`${percent(done, whole)}%`)
    }
    parts.push(
      `${formatCount(items)}${itemsTotal === undefined ? '' : `/${formatCount(itemsTotal)}`} ${unit}`,
    )
    if (showBytes) parts.push(formatBytes(bytes))
    const rate = this.#meter.perSecond()
    parts.push(showBytes ? `${formatBytes(rate)}/s` : `${formatCount(rate)} ${unit}/s`)
    if (whole !== undefined && rate > 0 && done < whole)
      parts.push(`ETA ${formatDuration(((whole - done) / rate) * 1_000)}`)
    else parts.push(formatDuration(this.#options.now() - this.#startedAt))
    if (this.#note) parts.push(this.#note)
    return parts.join('  ')
  }
}

const barStyle = {
  barsize: 24,
  barCompleteString: '█'.repeat(24),
  barIncompleteString: '░'.repeat(24),
  barGlue: '',
}

/** A rate over the last ten seconds, so that an ETA follows what the network does now. */
export class RateMeter {
  readonly #now: () => number
  readonly #samples: { at: number; amount: number }[] = []
  readonly #startedAt: number

  constructor(now: () => number) {
    this.#now = now
    this.#startedAt = now()
  }

  add(amount: number): void {
    const at = Math.floor(this.#now() / 250) * 250
    const last = this.#samples.at(-1)
    if (last?.at === at) last.amount += amount
    else this.#samples.push({ at, amount })
    while (this.#samples.length > 41) this.#samples.shift()
  }

  perSecond(): number {
    const now = this.#now()
    const since = Math.max(this.#startedAt, now - 10_000)
    const seconds = (now - since) / 1_000
    if (seconds <= 0) return 0
    let sum = 0
    for (const sample of this.#samples) if (sample.at >= since - 250) sum += sample.amount
    return sum / seconds
  }
}
