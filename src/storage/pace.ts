/** Answers that must keep coming: one that drips is never idle, and would be waited for without end. */
import type { IncomingMessage } from 'node:http'

/** Bytes a second, on average, below which an answer is given up: far below what a share of --bwlimit comes to. */
const leastRate = 256

/** How an answer has come so far. */
export class Pace {
  readonly #graceMs: number
  readonly #since = performance.now()

  /** @param graceMs milliseconds that it may take, besides what its bytes take at the least rate */
  constructor(graceMs: number) {
    this.#graceMs = graceMs
  }

  /** Why it is to be given up, after so many bytes; undefined: it comes fast enough. */
  problem(bytes: number): Error | undefined {
    const elapsed = performance.now() - this.#since
    if (elapsed <= this.#graceMs + (bytes / leastRate) * 1_000) return undefined
    const error = new Error(`only ${bytes} bytes of the answer came in ${Math.round(elapsed / 1_000)} s`)
    return Object.assign(error, { name: 'TimeoutError', code: 'TimeoutError' })
  }
}

/** Ends a body that comes too slowly, however it is read. */
export function keepPace(body: unknown, graceMs: number): void {
  const { socket } = body as Partial<IncomingMessage>
  if (socket === undefined || socket === null) return
  const before = socket.bytesRead
  const pace = new Pace(graceMs)
  const timer = setInterval(
    () => {
      const problem = pace.problem(socket.bytesRead - before)
      if (problem !== undefined) (body as IncomingMessage).destroy(problem)
    },
    Math.min(graceMs, 5_000),
  )
  timer.unref()
  ;(body as IncomingMessage).once('close', () => clearInterval(timer))
}
