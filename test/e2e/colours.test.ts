/** Colours and drawing go by each stream and by NO_COLOR, FORCE_COLOR and TERM. */
import { expect, test } from 'vitest'
import { defineCommand } from '../../src/cli/command.ts'
import { ExitCode } from '../../src/errors.ts'
import { runProgram } from '../../src/program.ts'

const probe = defineCommand({
  name: 'probe',
  summary: 'says something on both streams',
  flags: {},
  async run({ report }) {
    const progress = report.progress({ label: 'counting', unit: 'files' })
    progress.total({ items: 2 })
    progress.advance({ items: 1 })
    report.warn('on stderr')
    progress.done()
    report.summary({ lines: [report.style.bold('on stdout')], fields: {}, isAnswer: true })
    return ExitCode.ok
  },
})

async function run(env: Record<string, string>, isTTY: { stdout: boolean; stderr: boolean }) {
  const written = { stdout: '', stderr: '' }
  const stream = (name: 'stdout' | 'stderr') => ({
    isTTY: isTTY[name],
    columns: 80,
    write: (text: string) => {
      written[name] += text
      return true
    },
  })
  await runProgram(['probe'], [probe], {
    env,
    cwd: '/',
    stdout: stream('stdout'),
    stderr: stream('stderr'),
    stdinIsTTY: false,
    version: '0',
    now: () => new Date(),
    onSignal: () => () => {},
  })
  const isPainted = (text: string) => /\u001b\[\d+m/.test(text)
  return { ...written, painted: [isPainted(written.stdout), isPainted(written.stderr)] }
}

const both = { stdout: true, stderr: true }
test.each([
  ['a terminal', {}, both, [true, true]],
  ['stdout into a file', {}, { stdout: false, stderr: true }, [false, true]],
  ['stderr into a file', {}, { stdout: true, stderr: false }, [true, false]],
  ['neither', {}, { stdout: false, stderr: false }, [false, false]],
  ['NO_COLOR', { NO_COLOR: '1' }, both, [false, false]],
  ['an empty NO_COLOR is none', { NO_COLOR: '' }, both, [true, true]],
  ['NO_COLOR before FORCE_COLOR', { NO_COLOR: '1', FORCE_COLOR: '1' }, both, [false, false]],
  ['FORCE_COLOR', { FORCE_COLOR: '1' }, { stdout: false, stderr: false }, [true, true]],
  ['FORCE_COLOR=0', { FORCE_COLOR: '0' }, both, [false, false]],
  ['TERM=dumb', { TERM: 'dumb' }, both, [false, false]],
])('%s', async (_name, env, isTTY, painted) => {
  const seen = await run(env, isTTY)
  expect(seen.painted).toEqual(painted)
  expect(seen.stdout.replaceAll(/\u001b\[\d+m/g, '')).toBe('on stdout\n')
  expect(seen.stderr).toContain('on stderr')
})

test('a terminal that cannot draw gets lines alone', async () => {
  const { stderr } = await run({ TERM: 'dumb' }, both)
  expect(stderr).toBe('warning: on stderr\n')
})
