/**
 * Pings of a health check service as healthchecks.io and its kin take them: `URL/start`, and `URL/EXIT-CODE` at the end,
 * with the summary and the last lines as the body.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Entry } from '../report/entry.ts'
import { post } from './post.ts'

const linesKept = 40
/** Milliseconds that the first ping still has once the run has ended. */
const grace = 2_000
/** Characters of the body; healthchecks.io keeps 100 kB. */
const longestBody = 10_000

export class Healthcheck {
  readonly #url: string
  readonly #warn: (text: string) => void
  readonly #lines: string[] = []
  #summary = ''
  #started: Promise<void> = Promise.resolve()
  readonly #startLate = new AbortController()

  constructor(url: string, warn: (text: string) => void) {
    this.#url = url
    this.#warn = warn
  }

  record({ level, message_type, text }: Entry): void {
    if (message_type === 'summary') this.#summary = text
    else if (level !== 'debug') {
      this.#lines.push(text)
      if (this.#lines.length > linesKept) this.#lines.shift()
    }
  }

  /** Does not keep the run waiting. */
  start(): void {
    this.#started = this.#ping('start', '', this.#startLate.signal)
  }

  async end(exitCode: number, deadline: AbortSignal): Promise<void> {
    // They come in their order, unless the service does not answer: then the end is what counts.
    await Promise.race([this.#started, sleep(grace, undefined, { ref: false })])
    this.#startLate.abort()
    const body = [this.#summary, this.#lines.join('\n')].filter(part => part !== '').join('\n\n')
    await this.#ping(String(exitCode), body.slice(0, longestBody), deadline)
  }

  async #ping(what: string, body: string, deadline: AbortSignal): Promise<void> {
    const url = new URL(this.#url)
    url.pathname = `${url.pathname.replace(/\/+$/, '')}/${what}`
    const contentType = 'text/plain; charset=utf-8'
    // Without the one the service only does not know how long it took; without the other it rings.
    const problem = await post(url, body, { contentType, deadline, tries: what === 'start' ? 1 : 3 })
    if (problem !== undefined) this.#warn(`--healthcheck: ${what}: ${problem}`)
  }
}
