/** One run of `autodj verify`, a process of its own, that reports its rate and what memory it took. */

import { verify } from '../../src/commands/verify.ts'
import { runProgram } from '../../src/program.ts'

export interface RunResult {
  exitCode: number
  /** of the whole command, from its first line to its last, database included */
  seconds: number
  /** MiB: the largest resident set seen */
  peakRss: number
  /** MiB: the largest heap that a collection left */
  peakHeap: number
  summary: Record<string, unknown>
}

const MiB = 1024 ** 2

if (import.meta.main) {
  let peakRss = 0
  let peakHeap = 0
  const sampler = setInterval(() => {
    globalThis.gc?.()
    const { rss, heapUsed } = process.memoryUsage()
    peakRss = Math.max(peakRss, rss / MiB)
    peakHeap = Math.max(peakHeap, heapUsed / MiB)
  }, 500)
  let output = ''
  const startedAt = performance.now()
  const exitCode = await runProgram(['verify', ...process.argv.slice(2)], [verify], {
    env: process.env,
    cwd: process.cwd(),
    stdout: { write: text => (output += text) },
    stderr: { write: text => process.stderr.write(text) },
    stdinIsTTY: false,
    version: '0',
    now: () => new Date(),
    onSignal: () => () => {},
  })
  clearInterval(sampler)
  const seconds = (performance.now() - startedAt) / 1_000
  const line = output.split('\n').findLast(text => text.includes('"message_type":"summary"')) ?? '{}'
  process.send?.({ exitCode, seconds, peakRss, peakHeap, summary: JSON.parse(line) } satisfies RunResult)
  process.disconnect?.()
}
