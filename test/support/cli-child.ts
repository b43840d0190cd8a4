/**
 * A process that runs one command line when it is told to, and can be killed in the middle: at a step of its own work,
 * not at a time, so that the kill strikes the same moments on a fast machine and on a slow one. A step is the begin of
 * anything asynchronous (a request, a query, a file operation, a timer), as `async_hooks` sees it. It loads everything
 * before it says that it is ready: the work is what is struck, and not the start.
 */
import { createHook } from 'node:async_hooks'
import { commands } from '../../src/commands.ts'
import '../../src/analyze/run.ts'
import '../../src/cleanup/run.ts'
import '../../src/fetch/run.ts'
import '../../src/import/run.ts'
import '../../src/plan/run.ts'
import '../../src/reconcile/run.ts'
import '../../src/restore/run.ts'
import '../../src/storage/s3.ts'
import '../../src/upload/run.ts'
import '../../src/worker/run.ts'
import { runProgram } from '../../src/program.ts'

export interface Job {
  argv: string[]
  env: Record<string, string>
  cwd: string
  /** the step at which the process kills itself, with SIGKILL; undefined: it ends by itself */
  killAt: number | undefined
}

export interface JobResult {
  exitCode: number
  /** both streams */
  output: string
  steps: number
}

process.once('message', async (job: Job) => {
  let steps = 0
  createHook({
    init(_id, type) {
      if (type === 'PROMISE') return
      steps += 1
      if (steps === job.killAt) process.kill(process.pid, 'SIGKILL')
    },
  }).enable()
  let output = ''
  const stream = {
    write: (text: string) => {
      output += text
      return true
    },
  }
  const exitCode = await runProgram(job.argv, commands, {
    env: job.env,
    cwd: job.cwd,
    stdout: stream,
    stderr: stream,
    stdinIsTTY: false,
    version: '0.0.0-test',
    now: () => new Date(),
    onSignal: () => () => {},
  })
  const result: JobResult = { exitCode, output, steps }
  process.send?.(result, undefined, undefined, () => process.exit(0))
})
process.send?.('ready')
