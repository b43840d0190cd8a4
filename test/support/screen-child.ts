/**
 * The program with one command of its own, for tests at a terminal: it reports what the lines on its standard input say.
 * `files N SIZE` sets the totals, `done N SIZE` advances, `fail NAME`, `skip NAME` and `warn TEXT` report, `hold` holds something in flight, `end` ends it.
 */
import { createInterface } from 'node:readline'
import { defineCommand } from '../../src/cli/command.ts'
import { ExitCode } from '../../src/errors.ts'
import { runProgram } from '../../src/program.ts'

const probe = defineCommand({
  name: 'probe',
  summary: 'reports as it is told',
  flags: {},
  async run(context) {
    const { report } = context
    const progress = report.progress({ label: 'uploading', unit: 'files', showBytes: true })
    progress.note('16 at a time')
    const input = createInterface({ input: process.stdin })
    let isHeld = false
    context.stopping.addEventListener('abort', () => input.close())
    for await (const line of input) {
      const [, word, rest = ''] = /^(\S+) ?(.*)$/.exec(line) ?? []
      const [items = 0, bytes = 0] = rest.split(' ').map(Number)
      if (word === 'files') progress.total({ items, bytes })
      else if (word === 'done') progress.advance({ items, bytes })
      else if (word === 'fail') {
        const reason = 'the server closed the connection before the whole file was there'
        report.item({ subject: rest, state: 'failed', reason: `${rest}: ${reason}`, cure: 'Run it again.' })
      } else if (word === 'skip') report.item({ subject: rest, state: 'skipped', reason: 'empty' })
      else if (word === 'warn') report.warn(rest)
      else if (word === 'hold') isHeld = true
      else break
    }
    if (isHeld) {
      const alive = setInterval(() => {}, 60_000)
      await new Promise((_, reject) => {
        context.signal.addEventListener('abort', () => reject(context.signal.reason))
      }).finally(() => clearInterval(alive))
    }
    progress.done()
    report.summary({ lines: ['The summary, first line.', 'Its second line.'], next: 'nothing', fields: {} })
    return context.stopExitCode() ?? ExitCode.someFailed
  },
})

process.exitCode = await runProgram(process.argv.slice(2), [probe], {
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  stdinIsTTY: true,
  version: '0.0.0-test',
  now: () => new Date(),
  onSignal(listener) {
    const handler = () => listener('SIGINT')
    process.on('SIGINT', handler)
    return () => process.off('SIGINT', handler)
  },
})
process.exit()
