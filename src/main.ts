/** The process: environment, signals, streams and the exit code. The only place that ends it. */
import { EventEmitter } from 'node:events'
import packageJson from '../package.json' with { type: 'json' }
import { commands } from './commands.ts'
import { ExitCode, systemErrorReason } from './errors.ts'
import { runProgram } from './program.ts'

const closing = new EventEmitter()
for (const [name, stream] of [
  ['stdout', process.stdout],
  ['stderr', process.stderr],
] as const) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // `autodj … | head`, or a terminal that was closed: nobody reads any longer. What changes things finishes what it has
    // in hand.
    if (error.code === 'EPIPE' || error.code === 'EIO') return void closing.emit('closed')
    if (stream !== process.stderr)
      process.stderr.write(`error: ${name} cannot be written to: ${systemErrorReason(error)}\n`)
    process.exit(ExitCode.temporary)
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
    const closed = () => listener('SIGPIPE')
    closing.once('closed', closed)
    // The terminal is gone. Under nohup, which Node.js undoes, and without one, that is not a reason to stop.
    const hungUp = () => {
      if (process.stdout.isTTY || process.stderr.isTTY) closing.emit('closed')
    }
    process.on('SIGHUP', hungUp)
    return () => {
      process.off('SIGHUP', hungUp)
      closing.off('closed', closed)
      for (const off of listeners) off()
    }
  },
})
// Pipes are written asynchronously: what was said must be read before the process ends.
await Promise.all(
  [process.stdout, process.stderr].map(stream => new Promise<void>(done => stream.write('', () => done()))),
)
process.exit(exitCode)
