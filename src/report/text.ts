/** Reports for people: lines, colours if they are wanted, a line of progress if there is a terminal. */

import { stripVTControlCharacters } from 'node:util'
import { Chalk } from 'chalk'
import { formatCount, printable, printableLines } from '../core/units.ts'
import { type AppError, ExitCode } from '../errors.ts'
import { displayWidth, wrapWords } from './cells.ts'
import { LiveLine } from './live-line.ts'
import { type ProgressView, plainProgressLine, progressLine } from './progress-line.ts'
import {
  failedStates,
  type Item,
  type Output,
  type Progress,
  passedOverStates,
  type Reporter,
  type Style,
  type Summary,
  usualStates,
} from './reporter.ts'

interface TextReporterOptions {
  stdout: Output
  stderr: Output
  quiet: boolean
  verbose: boolean
  /** whether a stream takes colours */
  color: Readonly<Record<'stdout' | 'stderr', boolean>>
  /** the terminal on stderr can draw a line anew (default: yes, if it is one) */
  draws?: boolean
  /** the terminal breaks its lines anew when it is resized (default: yes) */
  reflows?: boolean
  now: () => number
}

/** Milliseconds between progress lines if there is no terminal to draw on. */
const plainProgressInterval = 10_000

/** Items of one state and cause that are listed; more are counted. */
const listedAlike = 10

/** Failed or skipped items with one cause. */
interface Alike {
  state: string
  reason: string
  count: number
}

export class TextReporter implements Reporter {
  readonly json = false
  readonly verbose: boolean
  readonly style: Style
  readonly #options: TextReporterOptions
  readonly #cures = new Set<string>()
  readonly #alike = new Map<string, Alike>()
  #progress: TextProgress | undefined

  constructor(options: TextReporterOptions) {
    this.#options = options
    this.verbose = options.verbose
    this.style = new Chalk({ level: options.color.stdout || options.color.stderr ? 1 : 0 })
  }

  data(text: string): void {
    this.#above(() => this.#options.stdout.write(`${this.#safe(text, 'stdout')}\n`))
  }

  note(text: string): void {
    if (!this.#options.quiet) this.#say(text)
  }

  detail(text: string): void {
    if (this.verbose) this.#say(this.style.dim(text))
  }

  warn(text: string): void {
    this.#say(`${this.style.yellow('warning:')} ${text}`)
  }

  item(item: Item): void {
    if (failedStates.has(item.state)) {
      if (!this.#isListed(item)) return
      const reason = reasonOf(item) ?? ''
      this.#say(`${this.style.red(item.state)} ${printable(item.subject)}: ${printable(reason)}`)
      this.#cure(item.cure)
    } else if (this.#options.quiet && !this.verbose && usualStates.has(item.state)) {
      return
    } else if (item.text !== undefined) {
      // Words of a table's row are wrapped at a terminal; other text may be there to be copied.
      if (/\S {2,}\S/.test(item.text)) this.#result(item.text)
      else this.data(item.text)
    } else {
      const isPassedOver = passedOverStates.has(item.state)
      if (!this.verbose && !isPassedOver) return
      if (isPassedOver && !this.#isListed(item)) return
      const reason = reasonOf(item)
      const why = reason ? `: ${printable(reason)}` : ''
      this.#say(`${this.style.dim(item.state)} ${printable(item.subject)}${why}`)
    }
  }

  summary(summary: Summary): void {
    this.#progress?.done()
    for (const { state, reason, count } of this.#alike.values()) {
      const more = count - listedAlike
      if (more > 0) this.#say(`${this.style.dim(state)} ${formatCount(more)} more: ${printable(reason)}`)
    }
    this.#alike.clear()
    for (const line of summary.lines) this.#result(line)
    if (summary.next) this.#result(`${this.style.cyan('next:')} ${summary.next}`)
  }

  error(error: AppError): void {
    this.#sayError(error)
  }

  exitError(error: Error & { cure?: string; exitCode?: ExitCode }): void {
    this.#progress?.done()
    this.#sayError(error)
    if (this.verbose) {
      for (let inner: unknown = error; inner instanceof Error; inner = inner.cause)
        this.#say(this.style.dim(inner.stack ?? String(inner)))
    }
  }

  #sayError(error: Error & { cure?: string | undefined; exitCode?: ExitCode }): void {
    // Of usage: told to whoever typed it, before anything began.
    const timed = error.exitCode !== ExitCode.usage
    this.#say(`${this.style.red('error:')} ${printable(error.message)}`, timed)
    if (error.cure) this.#say(`  ${printable(error.cure)}`, timed)
  }

  /** Whether an item is one of the first with its cause, and so is listed. */
  #isListed(item: Item): boolean {
    if (this.verbose) return true
    const reason = reasonOf(item) ?? ''
    const key = `${item.state}\0${item.fields?.['code'] ?? reason.replaceAll(item.subject, '')}`
    const alike = this.#alike.get(key) ?? { state: item.state, reason, count: 0 }
    this.#alike.set(key, alike)
    alike.count++
    if (alike.count === listedAlike + 1)
      this.#say(this.style.dim('  further ones are only counted; --verbose lists them all'))
    return alike.count <= listedAlike
  }

  /** What to do is said once: a thousand files with one cause have one cure. */
  #cure(cure: string | undefined): void {
    if (cure === undefined || this.#cures.has(cure)) return
    if (this.#cures.size < 100) this.#cures.add(cure)
    this.#say(`  ${this.style.dim(printable(cure))}`)
  }

  progress(options: { label: string; unit: string; showBytes?: boolean }): Progress {
    this.#progress?.done()
    const { stderr, quiet, now, reflows = true, draws = true } = this.#options
    this.#progress = new TextProgress({
      ...options,
      now,
      show: view => {
        if (quiet) return undefined
        if (stderr.isTTY && draws)
          return new LiveLine(stderr, columns => progressLine(view(), columns, displayWidth), reflows)
        const timer = setInterval(() => this.#say(plainProgressLine(view())), plainProgressInterval)
        timer.unref()
        return { stop: () => clearInterval(timer) }
      },
    })
    return this.#progress
  }

  close(): void {
    this.#progress?.done()
  }

  /** A line of the result, to stdout: words wrapped at a terminal. */
  #result(text: string): void {
    const { stdout } = this.#options
    const safe = this.#safe(text, 'stdout')
    const line = stdout.isTTY ? wrapWords(safe, stdout.columns || 80) : safe
    this.#above(() => stdout.write(`${line}\n`))
  }

  /** A line to stderr: words wrapped at a terminal, else with the time before each line. */
  #say(text: string, timed = true): void {
    const { stderr, now } = this.#options
    const safe = this.#safe(text, 'stderr')
    const stamp = `${new Date(now()).toISOString().slice(0, 19)}Z `
    const line = stderr.isTTY
      ? wrapWords(safe, stderr.columns || 80)
      : timed
        ? safe.replace(/^(?=.)/gm, stamp)
        : safe
    this.#above(() => stderr.write(`${line}\n`))
  }

  /** Whoever wrote a name, a key or an answer: no more of it than letters reaches the terminal. */
  #safe(text: string, stream: 'stdout' | 'stderr'): string {
    const { color } = this.#options
    if (color[stream]) return printableLines(text, { styled: true })
    // Painted for the other stream.
    return printableLines(color.stdout || color.stderr ? stripVTControlCharacters(text) : text)
  }

  #above(write: () => void): void {
    if (this.#progress) this.#progress.above(write)
    else write()
  }
}

/** Why, without the subject before it: it stands there already. */
function reasonOf({ subject, reason }: Item): string | undefined {
  return reason?.startsWith(`${subject}: `) ? reason.slice(subject.length + 2) : reason
}

interface TextProgressOptions {
  label: string
  unit: string
  showBytes?: boolean
  now: () => number
  /** Begins to show what `view` tells; undefined: nothing is shown. */
  show(view: () => ProgressView): { stop(): void; above?(write: () => void): void } | undefined
}

class TextProgress implements Progress {
  readonly #shown: ReturnType<TextProgressOptions['show']>
  readonly #state: { items: number; bytes: number; itemsTotal?: number; bytesTotal?: number }
  readonly #itemMeter: RateMeter
  readonly #byteMeter: RateMeter
  #note = ''
  #isDone = false

  constructor({ label, unit, showBytes = false, now, show }: TextProgressOptions) {
    const startedAt = now()
    this.#state = { items: 0, bytes: 0 }
    this.#itemMeter = new RateMeter(now)
    this.#byteMeter = new RateMeter(now)
    this.#shown = show(() => ({
      ...this.#state,
      label,
      unit,
      showBytes,
      itemsPerSecond: this.#itemMeter.perSecond(),
      bytesPerSecond: this.#byteMeter.perSecond(),
      elapsed: now() - startedAt,
      note: this.#note,
    }))
  }

  advance({ items = 0, bytes = 0 }: { items?: number; bytes?: number }): void {
    this.#state.items += items
    this.#state.bytes += bytes
    if (items !== 0) this.#itemMeter.add(items)
    if (bytes !== 0) this.#byteMeter.add(bytes)
  }

  total({ items, bytes }: { items?: number; bytes?: number }): void {
    if (items !== undefined) this.#state.itemsTotal = items
    if (bytes !== undefined) this.#state.bytesTotal = bytes
  }

  note(text: string): void {
    this.#note = text
  }

  done(): void {
    if (!this.#isDone) this.#shown?.stop()
    this.#isDone = true
  }

  /** Writes past what is shown. */
  above(write: () => void): void {
    if (this.#isDone || this.#shown?.above === undefined) write()
    else this.#shown.above(write)
  }
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
