/** The process: environment, signals, streams and the exit code. The only place that ends it. */
import packageJson from '../package.json' with { type: 'json' }
import { commands } from './commands/index.ts'
import { ExitCode } from './errors.ts'
import { runProgram } from './program.ts'

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // `autodj … | head` closes the pipe: nobody reads any more, which is no failure of ours.
    if (error.code === 'EPIPE') process.exit(ExitCode.ok)
    throw error
  })
}

const exitCode = await runProgram(process.argv.slice(2), commands, {
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  stdinIsTTY: process.stdin.isTTY === true,
  version: packageJson.version,
  now: () => new Date(),
  onSignal(listener) {
    const listeners = (['SIGINT', 'SIGTERM'] as const).map(signal => {
      const handler = () => listener(signal)
      process.on(signal, handler)
      return () => process.off(signal, handler)
    })
    return () => {
      for (const off of listeners) off()
    }
  },
})
// Pipes are written asynchronously: what was said must be read before the process ends.
await Promise.all(
  [process.stdout, process.stderr].map(stream => new Promise<void>(done => stream.write('', () => done()))),
)
process.exit(exitCode)
