/** One line at the foot of a terminal that is drawn again and again; everything else is written above it and stays. */
import { displayWidth } from './cells.ts'
import type { Output } from './reporter.ts'

/** Milliseconds between two frames. */
const frame = 100
/** Cells left free at the right: an echoed `^C^C` must not break the line, or its head would stay behind. */
const margin = 5

export class LiveLine {
  readonly #stream: Output
  readonly #render: (columns: number) => string
  readonly #reflows: boolean
  readonly #timer: NodeJS.Timeout
  /** cells of what is on the screen now */
  #drawn = 0

  /**
   * @param render gives the line, at most this many cells wide
   * @param reflows whether the terminal breaks a line anew when it is made narrower, as nearly all do
   */
  constructor(stream: Output, render: (columns: number) => string, reflows: boolean) {
    this.#stream = stream
    this.#render = render
    this.#reflows = reflows
    this.#timer = setInterval(() => this.#draw(), frame)
    this.#timer.unref()
    this.#draw()
  }

  /** Writes above the line: takes it away, and leaves it to the next frame to come back below. */
  above(write: () => void): void {
    this.#clear()
    write()
  }

  /** Takes the line away for good; calling it twice is harmless. */
  stop(): void {
    clearInterval(this.#timer)
    this.#clear()
  }

  #draw(): void {
    const line = this.#render(Math.max(1, this.#columns - margin))
    this.#stream.write(`${this.#erasure()}${line}\u001b[K`)
    this.#drawn = displayWidth(line)
  }

  #clear(): void {
    if (this.#drawn > 0) this.#stream.write(`${this.#erasure()}\u001b[K`)
    this.#drawn = 0
  }

  /** Back to the begin of what was drawn. A narrower terminal may have broken it into several rows in the meantime. */
  #erasure(): string {
    const rows = this.#reflows ? Math.max(1, Math.ceil(this.#drawn / this.#columns)) : 1
    return rows === 1 ? '\r' : `\r\u001b[${rows - 1}A\u001b[J`
  }

  get #columns(): number {
    return this.#stream.columns || 80
  }
}
