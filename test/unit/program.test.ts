import { describe, expect, test } from 'vitest'
import { defineCommand } from '../../src/cli/command.ts'
import { flag, shared } from '../../src/cli/flags.ts'
import { commands } from '../../src/commands.ts'
import { ExitCode, TemporaryError } from '../../src/errors.ts'
import { cli } from '../support/cli.ts'

const seen: unknown[] = []
const probe = defineCommand({
  name: 'probe',
  summary: 'a command of this test',
  args: [{ spec: '[thing]', description: 'a thing' }],
  flags: {
    dryRun: shared.dryRun,
    concurrency: shared.concurrency,
    memory: flag.bytes('--memory <size>', 'budget', { min: 1024 }, '2K'),
    mode: flag.choice('--mode <mode>', 'how', ['fast', 'safe'], 'safe'),
    tag: flag.list('--tag <k=v>', 'tags'),
    minAge: shared.minAge,
  },
  async run(context, flags, args) {
    seen.push({ ...flags, args, recorded: context.invocation.args })
    if (args[0] === 'throw') throw new TypeError('it broke')
    if (args[0]?.startsWith('E'))
      throw Object.assign(new Error(`${args[0]}: open '/tmp/x'`), { code: args[0], path: '/tmp/x' })
    if (args[0] === 'away')
      throw new TemporaryError('the database is away', { code: 'db.unreachable', cure: 'Wait.' })
    if (args[0] === 'wait') {
      await new Promise(resolve => context.stopping.addEventListener('abort', resolve))
      return context.stopExitCode() ?? ExitCode.ok
    }
    context.report.note('working')
    if (args[0] === 'silent') return ExitCode.drift
    if (args[0] !== 'well')
      context.report.item({ subject: 'a\u001b[31m', state: 'failed', reason: 'gone\nagain', cure: 'look' })
    context.report.summary({ lines: ['1 done'], next: 'nothing', fields: { done: 1 } })
    return ExitCode.ok
  },
})
/** What a person at a terminal would have seen. */
const withoutTimes = (text: string) => text.replaceAll(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /gm, '')
const commandsOfTest = [probe, defineCommand({ ...probe, name: 'group one', flags: {} })]
const run = (argv: string[], options = {}) => cli(argv, { commands: commandsOfTest, ...options })

describe('flags', () => {
  test('defaults and given values reach the handler; the ledger gets what differs from the defaults', async () => {
    seen.length = 0
    await run(['probe', 'x', '-n', '-c', '7', '--memory', '1M', '--tag', 'a=1', '--tag', 'b=2'])
    await run(['probe'])
    expect(seen).toEqual([
      {
        args: ['x'],
        dryRun: true,
        concurrency: 7,
        memory: 1_048_576,
        mode: 'safe',
        tag: ['a=1', 'b=2'],
        minAge: 172_800_000,
        recorded: ['x', '--dry-run', '--concurrency=7', '--memory=1048576', '--tag=["a=1","b=2"]'],
      },
      {
        args: [],
        dryRun: false,
        concurrency: undefined,
        memory: 2048,
        mode: 'safe',
        tag: [],
        minAge: 172_800_000,
        recorded: [],
      },
    ])
  })

  test.each([
    [['probe', '-c', '0'], '--concurrency: "0" is not a whole number from 1 to 1024'],
    [
      ['probe', '--memory', 'lots'],
      '--memory: "lots" is not a size of at least 1.0 KiB (example: 64M, 1.5G)',
    ],
    [['probe', '--mode', 'quick'], 'Allowed choices are fast, safe'],
    [['probe', '--min-age', 'x'], 'is not a duration (example: 90s, 10m, 1h30m, 7d)'],
    [['probe', '--dry-rum'], "error: unknown option '--dry-rum'\n  Did you mean --dry-run?\n"],
    [['prob'], "error: unknown command 'prob'\n  Did you mean probe?\n"],
    [
      ['nothing-like-it'],
      "error: unknown command 'nothing-like-it'\n  `autodj --help` lists the commands.\n",
    ],
    [['--json', 'probe'], 'Flags come after the command.'],
    [['probe', '--nothing-like-it'], '`autodj probe --help` lists its arguments.'],
    [['group', 'one', '--nothing-like-it'], '`autodj group one --help` lists its arguments.'],
    [['probe', 'a', 'b'], 'too many arguments'],
    [['probe', '--bucket', 'No'], '--bucket "No" is not a bucket name'],
    [['probe', '--settings', '/no/such/.env'], 'cannot read /no/such/.env: no such file or directory'],
    [[], 'Usage: autodj'],
  ] as [string[], string][])('%j is a usage error', async (argv, message) => {
    const result = await run(argv)
    expect(result.stderr).toContain(message)
    expect(result.stdout).toBe('')
    expect(result.exitCode).toBe(ExitCode.usage)
  })

  test.each([
    [['probe', '--json', '--memory', 'lots'], 'usage.flag'],
    [['probe', '--json', '--dry-rum'], 'usage.arguments'],
    [['--json', 'prob'], 'usage.arguments'],
  ])('%j is JSON too', async (argv, code) => {
    const { messages, exitCode } = await run(argv)
    expect(exitCode).toBe(ExitCode.usage)
    expect(messages).toEqual([expect.objectContaining({ message_type: 'exit_error', exit_code: 2, code })])
  })
})

describe('help', () => {
  test('goes to stdout and exits 0', async () => {
    const { stdout, stderr, exitCode } = await run(['probe', '--help'])
    expect(stdout).toContain('--mode <mode>')
    expect(stdout).toContain('Settings:')
    expect(stdout).toContain('(default: 48h)')
    expect(stderr).toBe('')
    expect(exitCode).toBe(ExitCode.ok)
  })

  test('autodj help COMMAND is autodj COMMAND --help', async () => {
    const asked = await run(['help', 'probe'])
    expect(asked).toMatchObject({ exitCode: ExitCode.ok, stderr: '' })
    expect(asked.stdout).toBe((await run(['probe', '--help'])).stdout)
  })

  test('a command in a group is found', async () => {
    expect((await run(['group', 'one'])).exitCode).toBe(ExitCode.ok)
    expect((await run(['group', 'on'])).stderr).toContain('Did you mean one?')
  })
})

describe('a command line that is wrong', () => {
  test.each([
    [['prob'], "unknown command 'prob'", 'Did you mean probe?'],
    [['help', 'prob'], "unknown command 'prob'", 'Did you mean probe?'],
    [['nonsense', '--help'], "unknown command 'nonsense'", '`autodj --help` lists'],
    [['group', 'two'], "unknown command 'two'", '`autodj group --help` lists'],
    [['--bucket', 'x', 'probe'], "unknown option '--bucket'", 'Flags come after the command.'],
    [['--settings', 'x', 'probe'], "unknown option '--settings'", 'Flags come after the command.'],
    [['--json', 'probe'], "unknown option '--json'", 'Flags come after the command.'],
  ])('%j', async (argv, cause, cure) => {
    const { exitCode, stdout, stderr, messages } = await run(argv)
    expect(exitCode).toBe(ExitCode.usage)
    expect(stdout).toBe('')
    const said = argv.includes('--json') ? JSON.stringify(messages) : stderr
    expect(said).toContain(cause)
    expect(said).toContain(cure)
  })

  test.each([
    ['*', true],
    ['https://autodj.example', true],
    ['https://*.autodj.example', true],
    ['http://localhost:3000', true],
    ['https://autodj.example/', false],
    ['https://autodj.example/player', false],
    ['autodj.example', false],
  ])('--origin %s: %s', async (origin, isRight) => {
    const { exitCode, stderr } = await cli(['bucket', 'check', '--origin', origin])
    expect(exitCode).toBe(ExitCode.usage)
    expect(stderr).toMatch(isRight ? /S3_BUCKET_NAME is not set/ : /^error: --origin: ".*" is not an origin/)
  })

  test('help of a command, asked for in either way', async () => {
    const [before, after] = [await run(['help', 'probe']), await run(['probe', '--help'])]
    expect(before).toMatchObject({ exitCode: ExitCode.ok, stdout: expect.stringContaining('autodj probe') })
    expect(before.stdout).toBe(after.stdout)
  })
})

test.each(['analyze', 'fetch', 'upload-local'])(
  '%s --job without --enqueue is refused, not ignored',
  async name => {
    const { exitCode, stderr } = await cli([name, '--job', 'x'])
    expect(exitCode).toBe(2)
    expect(stderr).toBe('error: --job needs --enqueue\n  Run the command with --help to see what it takes.\n')
  },
)

describe('output', () => {
  test('data on stdout, the rest on stderr, control characters escaped', async () => {
    const { stdout, stderr } = await run(['probe'], { isTTY: true, env: { NO_COLOR: '1' } })
    expect(stdout).toBe('1 done\nnext: nothing\n')
    expect(stderr).toBe('working\nfailed a\\x1b[31m: gone\\nagain\n  look\n')
  })

  test('off a terminal every line on stderr has its time, data on stdout is as it is', async () => {
    const { stdout, stderr } = await run(['probe'], { now: () => new Date('2026-01-31T02:03:04.567Z') })
    expect(stdout).toBe('1 done\nnext: nothing\n')
    expect(stderr).toBe(
      ['working', 'failed a\\x1b[31m: gone\\nagain', '  look']
        .map(line => `2026-01-31T02:03:04Z ${line}\n`)
        .join(''),
    )
  })

  test('--quiet says nothing of a run in which nothing is wrong: cron sends no mail', async () => {
    expect(await run(['probe', 'well', '-q'])).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })
    expect((await run(['probe', 'well', '-q', '--json'])).messages).toMatchObject([
      { message_type: 'summary' },
    ])
  })

  test('--quiet leaves failures, and the summary with them', async () => {
    const { stdout, stderr } = await run(['probe', '-q'])
    expect(stdout).toContain('1 done')
    expect(stderr).not.toContain('working')
    expect(stderr).toContain('failed')
  })

  test('--json: every line has a type and a schema', async () => {
    const { messages } = await run(['probe', '--json'])
    expect(messages.map(one => one['message_type'])).toEqual(['status', 'item', 'summary'])
    expect(messages.every(one => one['schema'] === 1)).toBe(true)
    for (const { time } of messages) expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  })

  test('--json: a command without a summary of its own ends with one', async () => {
    const { messages } = await run(['probe', 'silent', '--json'])
    expect(messages).toMatchObject([{ message_type: 'status' }, { message_type: 'summary', exit_code: 4 }])
  })

  test('colours on a terminal, unless NO_COLOR', async () => {
    expect((await run(['probe'], { isTTY: true })).stderr).toContain('\u001b[31mfailed')
    expect((await run(['probe'], { isTTY: true, env: { NO_COLOR: '1' } })).stderr).not.toContain('\u001b[31m')
  })
})

describe('errors', () => {
  test('a foreseen one: cause, cure, its exit code, no stack', async () => {
    const { stderr, exitCode } = await run(['probe', 'away'])
    expect(withoutTimes(stderr)).toBe('error: the database is away\n  Wait.\n')
    expect(exitCode).toBe(ExitCode.temporary)
  })

  test('a bug says that it is one, and shows its stack only under --verbose', async () => {
    const { stderr, exitCode } = await run(['probe', 'throw'])
    expect(stderr).toContain('unexpected: it broke')
    expect(stderr).not.toMatch(/^\s+at /m)
    expect(exitCode).toBe(ExitCode.fatal)
    expect(withoutTimes((await run(['probe', 'throw', '-v'])).stderr)).toMatch(/TypeError: it broke\n\s+at /)
  })

  test.each([
    ['ENOSPC', ExitCode.temporary, 'no space is left for /tmp/x (ENOSPC)'],
    ['EROFS', ExitCode.fatal, 'cannot access /tmp/x: read-only file system'],
    ['EACCES', ExitCode.fatal, 'cannot access /tmp/x: permission denied'],
    ['EMFILE', ExitCode.temporary, 'too many files are open (EMFILE)'],
  ] as const)('%s from anywhere is a refusal of the system, not a bug', async (code, expected, message) => {
    const { stderr, exitCode } = await run(['probe', code])
    expect(exitCode).toBe(expected)
    expect(withoutTimes(stderr)).toMatch(/^error: [^\n]+\n {2}[^\n]+\n$/)
    expect(stderr).toContain(message)
  })

  test.each([
    ['SIGINT', ExitCode.sigint],
    ['SIGTERM', ExitCode.sigterm],
  ] as const)('%s lets the run finish what is in flight and exits %i', async (signal, code) => {
    const { exitCode, stderr } = await run(['probe', 'wait'], {
      withSignals: (send: (signal: string) => void) => setTimeout(() => send(signal), 20),
    })
    expect(stderr).toContain('finishing what is in flight')
    expect(exitCode).toBe(code)
  })

  test('a run whose output nobody reads any more finishes what is in flight, without a word', async () => {
    const { exitCode, stderr } = await run(['probe', 'wait'], {
      withSignals: (send: (signal: string) => void) => setTimeout(() => send('SIGPIPE'), 20),
    })
    expect(stderr).toBe('')
    expect(exitCode).toBe(ExitCode.sigterm)
  })
})

test('every command has a summary in the house style, and names are unique', () => {
  for (const one of commands) expect(one.summary, one.name).toMatch(/^[a-z].*[^.]$/s)
  expect(new Set(commands.map(one => one.name)).size).toBe(commands.length)
})
