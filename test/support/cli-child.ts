/**
 * A process that runs one command line when it is told to, and can be killed in the middle. It loads everything before
 * it says that it is ready, so that a kill strikes the work and not the start.
 */
import { commands } from '../../src/commands/index.ts'
import '../../src/cleanup/command.ts'
import '../../src/plan/command.ts'
import '../../src/reconcile/command.ts'
import '../../src/restore/command.ts'
import '../../src/storage/s3.ts'
import '../../src/upload/command.ts'
import { runProgram } from '../../src/program.ts'

interface Job {
  argv: string[]
  env: Record<string, string>
  cwd: string
}

process.once('message', async (job: Job) => {
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
  process.send?.({ exitCode, output }, undefined, undefined, () => process.exit(0))
})
process.send?.('ready')
