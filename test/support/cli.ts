/** Runs the program in this process, as `main` does, with streams and environment of the test's own. */
import type { Command } from '../../src/cli/command.ts'
import { commands as allCommands } from '../../src/commands.ts'
import type { ExitCode } from '../../src/errors.ts'
import { runProgram } from '../../src/program.ts'
import { recordLines } from './json-lines.ts'
import { temporaryFolder } from './temporary-folder.ts'

export interface CliResult {
  exitCode: ExitCode
  stdout: string
  stderr: string
  /** the JSON lines of both streams, where `--json` was given */
  messages: Record<string, unknown>[]
}

export interface CliOptions {
  env?: Record<string, string>
  cwd?: string
  commands?: readonly Command[]
  isTTY?: boolean
  /** gets the function that delivers a signal */
  withSignals?: (send: (signal: 'SIGINT' | 'SIGTERM' | 'SIGPIPE') => void) => void
  now?: () => Date
}

export async function cli(argv: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const { env = {}, commands = allCommands, isTTY = false } = options
  const written = { stdout: '', stderr: '' }
  const stream = (name: 'stdout' | 'stderr') => ({
    isTTY,
    columns: 100,
    write: (text: string) => {
      written[name] += text
      return true
    },
  })
  const exitCode = await runProgram(argv, commands, {
    env,
    cwd: options.cwd ?? temporaryFolder('cli'),
    stdout: stream('stdout'),
    stderr: stream('stderr'),
    stdinIsTTY: isTTY,
    version: '0.0.0-test',
    now: options.now ?? (() => new Date()),
    onSignal(listener) {
      options.withSignals?.(listener)
      return () => {}
    },
  })
  const messages = argv.includes('--json')
    ? `${written.stdout}${written.stderr}`
        .split('\n')
        .filter(line => line.startsWith('{'))
        .map(line => JSON.parse(line) as Record<string, unknown>)
    : []
  if (commands === allCommands) recordLines(argv, messages)
  return { exitCode, ...written, messages }
}
