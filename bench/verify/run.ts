/** One run of `autodj verify`, a process of its own, that reports its rate and what memory it took. */

import { verify } from '../../src/commands/verify.ts'
import { runProgram } from '../../src/program.ts'

export interface RunResult {
  exitCode: number
  /** of the whole command, from its first line to its last, database included */
  seconds: number
  /** MiB: the largest resident set seen */
  peakRss: number
  /** MiB: the most that a collection left, on the heap and in buffers beside it */
  peakHeld: number
  summary: Record<string, unknown>
}

const MiB = 1024 ** 2

if (import.meta.main) {
  let peakRss = 0
  let peakHeld = 0
  const sampler = setInterval(() => {
    globalThis.gc?.()
    const { rss, heapUsed, external } = process.memoryUsage()
    peakRss = Math.max(peakRss, rss / MiB)
    peakHeld = Math.max(peakHeld, (heapUsed + external) / MiB)
  }, 500)
  // Only the last line is kept: the lines of 100,000 items would be the memory that is measured.
  let summary = '{}'
  const startedAt = performance.now()
  const exitCode = await runProgram(['verify', ...process.argv.slice(2)], [verify], {
    env: process.env,
    cwd: process.cwd(),
    stdout: {
      write(text) {
        if (text.includes('"message_type":"summary"')) summary = text
      },
    },
    stderr: { write: text => process.stderr.write(text) },
    stdinIsTTY: false,
    version: '0',
    now: () => new Date(),
    onSignal: () => () => {},
  })
  clearInterval(sampler)
  const seconds = (performance.now() - startedAt) / 1_000
  process.send?.({ exitCode, seconds, peakRss, peakHeld, summary: JSON.parse(summary) } satisfies RunResult)
  process.disconnect?.()
}
