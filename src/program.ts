/** The command line: builds the commander tree from the commands, and runs one of them in a context. */
import { Argument, Command as Commander, CommanderError, Option } from 'commander'
import type { Command } from './cli/command.ts'
import { type Flag, type Flags, flag, longName, type shared, type ValuesOf } from './cli/flags.ts'
import { pathFlags, trackFlags } from './cli/selection-flags.ts'
import type { Config } from './config.ts'
import type { Context, openContext as OpenContext } from './context.ts'
import type { SelectionRules } from './core/selection.ts'
import { printable } from './core/units.ts'
import { AppError, ExitCode, type StopReason, systemRefusal, toError, UsageError } from './errors.ts'
import type { LibraryTotals } from './records/metrics.ts'
import type { Records } from './records/records.ts'
import type { RunEnd } from './report/entry.ts'
import type { Output, Reporter } from './report/reporter.ts'
import type { RunReport } from './report/run-report.ts'
import { type Overrides, type Setting, settings, type Variable } from './settings.ts'

/** What surrounds a run; tests bring their own. */
interface ProgramHost {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  readonly stdout: Output
  readonly stderr: Output
  readonly stdinIsTTY: boolean
  readonly version: string
  readonly now: () => Date
  /** Calls back on SIGINT and SIGTERM, and when nobody reads the output any longer; returns how to stop listening. */
  onSignal(listener: (signal: 'SIGINT' | 'SIGTERM' | 'SIGPIPE') => void): () => void
}

/** Flags that every command takes. */
const outputFlags = {
  json: flag.boolean('--json', 'print JSON lines instead of text'),
  quiet: flag.boolean(
    '-q, --quiet',
    'print nothing unless something is wrong; then warnings, errors and the summary',
  ),
  verbose: flag.boolean('-v, --verbose', 'print every item, and stack traces of errors'),
}

const completionHelp = `
Examples:
  $ mkdir -p ~/.local/share/bash-completion/completions && autodj completion bash > ~/.local/share/bash-completion/completions/autodj
      for bash
  $ mkdir -p ~/.zfunc && autodj completion zsh > ~/.zfunc/_autodj
      for zsh, with \`fpath+=~/.zfunc\` before compinit in ~/.zshrc
  $ mkdir -p ~/.config/fish/completions && autodj completion fish > ~/.config/fish/completions/autodj.fish
      for fish`

const groupSummaries: Readonly<Record<string, string>> = {
  bucket: 'compare the settings of bucket and distribution with good practice, and change them',
}

/**
 * Runs one command line. Never throws and never exits the process.
 * @returns the exit code
 */
export async function runProgram(
  argv: readonly string[],
  commands: readonly Command[],
  surroundings: ProgramHost,
): Promise<ExitCode> {
  let exitCode: ExitCode = ExitCode.ok
  const program = createProgram(commands, surroundings, async (command, flags, args) => {
    exitCode = await runCommand(
      command,
      flags,
      args,
      commandLine(argv, command.flags),
      surroundings,
      (otherArgv, env, cwd) => runProgram(otherArgv, commands, { ...surroundings, env, cwd }),
    )
  })
  if (argv.length === 0) {
    program.outputHelp({ error: true })
    return ExitCode.usage
  }
  // With `help`, or --help, commander takes a command that it does not know for none.
  const verb = argv[0] === 'help' ? argv[1] : argv[0]
  const isUnknown =
    verb !== undefined &&
    /^[^-]/.test(verb) &&
    verb !== 'help' &&
    !program.commands.some(one => one.name() === verb)
  try {
    await program.parseAsync(isUnknown ? [verb] : argv, { from: 'user' })
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      if (thrown.exitCode === 0) return ExitCode.ok
      if (thrown.code === 'commander.help') return ExitCode.usage
    }
    const error = thrown instanceof CommanderError ? misusage(thrown, argv, commands) : thrown
    if (!(error instanceof UsageError)) throw error
    const report = await createReporter(argv.includes('--json'), false, false, surroundings)
    report.exitError(error, error.exitCode)
    return error.exitCode
  }
  return exitCode
}

/**
 * The commander tree of these commands: what `--help`, shell completion, man pages and the command reference are made of.
 *
 * @param act does what a command line asks for
 */
export function createProgram(
  commands: readonly Command[],
  { version, stdout, stderr }: Pick<ProgramHost, 'version' | 'stdout' | 'stderr'>,
  act: (command: Command, flags: Record<string, unknown>, args: string[]) => Promise<void>,
): Commander {
  const program = new Commander('autodj')
    .description('Moves an Auto-DJ library to S3 behind CloudFront, proves it, and keeps it right.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help for a command')
    .helpCommand('help [command]', 'show help for a command')
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: text => void stdout.write(text),
      writeErr: text => void stderr.write(text),
      // Said by the reporter, as every other error: under --json it is JSON.
      outputError: () => {},
      getOutHelpWidth: () => stdout.columns ?? 100,
    })
    .exitOverride()
    .addHelpText('after', '\nNew here? `autodj demo` shows the whole journey without an account or a server.')
  for (const command of commands) {
    addCommand(program, command, (flags, args) => act(command, flags, args))
  }
  // No run of the program, but a question to it: settings are not read, so a broken file does not break a shell's start.
  program
    .command('completion')
    .summary('print the completion script of a shell')
    .description(
      'Prints a script that completes commands, flags and their values when it is loaded by the shell.',
    )
    .addArgument(new Argument('<shell>', 'the shell to complete in').choices(['bash', 'zsh', 'fish']))
    .addHelpText('after', completionHelp)
    .action(async (shell: string) => {
      const { completionScript } = await import('./completion/completion.ts')
      stdout.write(completionScript(program, shell as 'bash' | 'zsh' | 'fish'))
    })
  return program
}

/** What commander says of a command line, as ours: the cause, and below it what to do. */
function misusage(
  { message }: CommanderError,
  argv: readonly string[],
  commands: readonly Command[],
): UsageError {
  const [cause = '', ...hints] = message.replace(/^error: /, '').split('\n')
  const nearest = hints.map(hint => hint.replace(/^\(|\)$/g, '')).join(' ')
  const begun = argv.join(' ')
  const command = commands.find(({ name }) => `${begun} `.startsWith(`${name} `))
  const ofCommands = [
    ...Object.values(outputFlags).map(({ spec }) => longName(spec)),
    ...settings.flatMap((one: Setting) => (one.flag === undefined ? [] : longName(one.flag))),
    '--settings',
  ]
  const isOfCommands = ofCommands.some(flag => cause.includes(`'${flag}'`))
  const group = commands.some(({ name }) => name.startsWith(`${argv[0]} `)) ? `${argv[0]} ` : ''
  const cure =
    nearest ||
    (command
      ? `\`autodj ${command.name} --help\` lists its arguments.`
      : isOfCommands
        ? 'Flags come after the command.'
        : `\`autodj ${group}--help\` lists the commands.`)
  return new UsageError(cause, { code: 'usage.arguments', cure })
}

function addCommand(
  program: Commander,
  command: Command,
  action: (flags: Record<string, unknown>, args: string[]) => Promise<void>,
): void {
  const words = command.name.split(' ')
  const name = words.pop() as string
  let parent = program
  for (const word of words) {
    parent =
      parent.commands.find(one => one.name() === word) ??
      parent
        .command(word)
        .description(groupSummaries[word] ?? '')
        .helpCommand(false)
  }
  const commander = parent.command(name).summary(command.summary).description(describe(command))
  for (const { spec, description, choices, defaultValue } of command.args) {
    const argument = new Argument(spec, description)
    if (choices) argument.choices([...choices])
    if (defaultValue !== undefined) argument.default(defaultValue)
    commander.addArgument(argument)
  }
  for (const one of Object.values(command.flags)) commander.addOption(toOption(one))
  for (const one of Object.values(selectionFlagsOf(command)))
    commander.addOption(toOption(one).helpGroup('Which tracks:'))
  for (const one of Object.values(outputFlags)) commander.addOption(toOption(one).helpGroup('Output:'))
  const settingOptions = settings.filter((one: Setting) => one.flag !== undefined)
  for (const one of settingOptions as readonly Setting[]) {
    const isHeeded = one.topic === 'records' || (command.settings?.includes(one.topic) ?? true)
    const option = new Option(one.flag as string, `${one.description} (${one.variable})`)
    commander.addOption(
      option.helpGroup(one.topic === 'records' ? 'Records:' : 'Settings:').hideHelp(!isHeeded),
    )
  }
  // Not `--env-file`: Node.js takes that one for itself wherever it stands on the command line.
  commander.addOption(
    new Option('--settings <file>', 'read settings from this file (default: ./.env)').helpGroup('Settings:'),
  )
  if (command.examples) {
    const lines = command.examples.map(([line, does]) => `  $ ${line}\n      ${does}`)
    commander.addHelpText('after', `\nExamples:\n${lines.join('\n')}`)
  }
  commander.action(async (...received: unknown[]) => {
    const args = received
      .slice(0, command.args.length)
      .flatMap(one => (one === undefined ? [] : (one as string | string[])))
    await action(commander.opts(), args)
  })
}

/** The flags that choose tracks, without those that the command has in its own way. */
function selectionFlagsOf(command: Command): Flags {
  if (command.selects === undefined) return {}
  const flags: Flags = command.selects === 'tracks' ? trackFlags : pathFlags
  return Object.fromEntries(Object.entries(flags).filter(([key]) => !(key in command.flags)))
}

function describe({ summary, description }: Command): string {
  const sentence = `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`
  return description ? `${sentence}\n\n${description}` : sentence
}

/** Defaults are filled in by `runCommand`: commander only says them, if there is something to say. */
function toOption({ spec, description, choices, defaultValue, defaultText, parse }: Flag<unknown>): Option {
  const isPlain = defaultValue === undefined || defaultValue === false || Array.isArray(defaultValue)
  const said = defaultText ?? (isPlain ? undefined : String(defaultValue))
  const option = new Option(spec, said === undefined ? description : `${description} (default: ${said})`)
  if (choices) option.choices([...choices])
  else if (parse) option.argParser(parse)
  return option
}

async function runCommand(
  command: Command,
  options: Record<string, unknown>,
  args: readonly string[],
  commandLine: string,
  surroundings: ProgramHost,
  runOther: Context['runCommand'],
): Promise<ExitCode> {
  // What a run takes and `--help` does not.
  const [{ loadConfig, SettingsError }, { openContext }, { RunReport }, { Throttle }] = await Promise.all([
    import('./config.ts'),
    import('./context.ts'),
    import('./report/run-report.ts'),
    import('./throttle.ts'),
  ])
  const flags = Object.fromEntries(
    Object.entries(command.flags).map(([key, one]) => [
      key,
      options[optionKey(one.spec)] ?? one.defaultValue,
    ]),
  )
  const quiet = options['quiet'] === true
  const verbose = options['verbose'] === true
  const stopping = new AbortController()
  const forcing = new AbortController()
  const report = new RunReport(await createReporter(options['json'] === true, quiet, verbose, surroundings), {
    quiet,
    commandLine,
    stopReason: () => (stopping.signal.aborted ? (stopping.signal.reason as StopReason) : undefined),
  })
  const stopListening = surroundings.onSignal(signal => {
    if (signal === 'SIGPIPE') {
      report.detail('nobody is reading the output: finishing what is in flight')
      stopping.abort('sigterm' satisfies StopReason)
    } else if (stopping.signal.aborted && stopping.signal.reason !== 'time-budget') {
      report.warn('stopping at once')
      forcing.abort(new AppError(ExitCode.sigint, 'stopped by a second signal', { code: 'stopped' }))
    } else {
      report.warn(`${signal}: finishing what is in flight; again to stop at once`)
      stopping.abort((signal === 'SIGINT' ? 'sigint' : 'sigterm') satisfies StopReason)
    }
  })
  const startedAt = surroundings.now()
  const steps: RunEnd[] = []
  let exitCode: ExitCode
  let opened: ReturnType<typeof OpenContext> | undefined
  let records: Records | undefined
  let stopCode: () => ExitCode | undefined = () => undefined
  try {
    const config = loadConfig({
      env: surroundings.env,
      cwd: surroundings.cwd,
      envFile: options['settings'] as string | undefined,
      overrides: readOverrides(options),
    })
    const { enterNetwork } = await import('./network.ts')
    await enterNetwork(config.network)
    records = await openRecords(config, { report, command: command.name, commandLine, surroundings })
    opened = openContext({
      config,
      report,
      invocation: {
        command: command.name,
        args: describeInvocation({ ...command.flags, ...selectionFlagsOf(command) }, options, args),
      },
      throttle: new Throttle((flags as Partial<ValuesOf<Pick<typeof shared, 'bwlimit'>>>).bwlimit),
      selection: await selectionOf(command, options, surroundings.cwd),
      interactive: surroundings.stdinIsTTY && surroundings.stderr.isTTY === true && options['json'] !== true,
      stopping,
      forcing,
      now: surroundings.now,
      cwd: surroundings.cwd,
      runCommand: runOther,
      recordStep: end => void steps.push(end),
    })
    stopCode = opened.context.stopExitCode
    exitCode = await command.run(opened.context, flags, args)
  } catch (thrown) {
    const stopped = forcing.signal.aborted ? stopCode() : undefined
    const error = toError(thrown)
    if (error instanceof SettingsError) {
      const { enterNetwork } = await import('./network.ts')
      await enterNetwork(error.config.network).catch(() => undefined)
      records = await openRecords(error.config, {
        report,
        command: command.name,
        commandLine,
        surroundings,
      }).catch(() => undefined)
    }
    const told = error instanceof AppError ? error : (systemRefusal(error) ?? bug(error))
    exitCode = stopped ?? told.exitCode
    if (stopped === undefined) report.exitError(told, exitCode)
  }
  report.end(exitCode)
  if (records !== undefined) {
    const run = { command: command.name, startedAt, endedAt: surroundings.now(), exitCode, ...report.tally() }
    const library = await libraryTotals(opened).catch(() => undefined)
    await records.end([run, ...steps], library, { isForced: forcing.signal.aborted })
  }
  await opened?.release()
  report.close()
  stopListening()
  return exitCode
}

/** The records that are asked for; undefined: none. @throws UsageError if the log file cannot be opened */
async function openRecords(
  config: Pick<Config, 'records' | 'given'>,
  {
    report,
    command,
    commandLine,
    surroundings: { version, now },
  }: { report: RunReport; command: string; commandLine: string; surroundings: ProgramHost },
): Promise<Records | undefined> {
  if (config.records === undefined) return undefined
  const { Records } = await import('./records/records.ts')
  const records = new Records({
    settings: config.records,
    command,
    commandLine,
    version,
    now,
    secrets: (settings as readonly Setting[]).flatMap(({ secret, variable }) =>
      secret ? (config.given[variable as Variable] ?? []) : [],
    ),
    warn: text => report.warn(text),
  })
  report.recordTo(entry => records.record(entry))
  return records
}

/** What metrics tell of the library, if the run had its database open. */
async function libraryTotals(
  opened: ReturnType<typeof OpenContext> | undefined,
): Promise<LibraryTotals | undefined> {
  const database = await opened?.openedDatabase()
  if (opened === undefined || database === undefined) return undefined
  const { readTotals } = await import('./status/status.ts')
  return readTotals(database.knex, opened.context.config.s3.bucket)
}

function bug(error: Error): AppError {
  return new AppError(ExitCode.fatal, `unexpected: ${error.message || error.name}`, {
    code: 'bug',
    cause: error,
  })
}

/** A command line for people to copy: quoted for a shell, without settings that may hold secrets. */
function commandLine(argv: readonly string[], flags: Command['flags']): string {
  const shown = new Map(Object.values(flags).map(one => [longName(one.spec), one.shown]))
  const secret = settings.flatMap((one: Setting) => (one.secret && one.flag ? longName(one.flag) : []))
  const words = argv
    .map((word, index) => {
      const [, name = '', value = ''] = /^(--[\w-]+)=(.*)$/s.exec(word) ?? []
      const show = shown.get(argv[index - 1] ?? '')
      return shown.get(name) ? `${name}=${shown.get(name)?.(value)}` : show ? show(word) : word
    })
    .filter(
      (word, index) =>
        !secret.some(name => word === name || word.startsWith(`${name}=`)) &&
        !secret.includes(argv[index - 1] ?? ''),
    )
  const quoted = words.map(word =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`,
  )
  return ['autodj', ...quoted].map(printable).join(' ')
}

function optionKey(spec: string): string {
  return longName(spec)
    .replace(/^--(no-)?/, '')
    .replace(/-([a-z0-9])/g, (_all, letter: string) => letter.toUpperCase())
}

function readOverrides(options: Record<string, unknown>): Overrides {
  const overrides: Overrides = {}
  for (const setting of settings as readonly Setting[]) {
    const value = setting.flag === undefined ? undefined : options[optionKey(setting.flag)]
    if (typeof value === 'string') overrides[setting.variable as keyof Overrides] = value
  }
  return overrides
}

/** What the flags that choose tracks say; undefined if none was given. */
async function selectionOf(
  command: Command,
  options: Record<string, unknown>,
  cwd: string,
): Promise<SelectionRules | undefined> {
  const given = Object.entries(selectionFlagsOf(command)).flatMap(([key, { spec }]) => {
    const value = options[optionKey(spec)]
    return value === undefined ? [] : [[key, value] as const]
  })
  if (given.length === 0) return undefined
  const { readSelection } = await import('./cli/selection-flags.ts')
  return readSelection(Object.fromEntries(given), cwd)
}

/** The invocation as the ledger keeps it: flags that differ from their defaults, no settings (they may hold secrets). */
function describeInvocation(
  flags: Flags,
  options: Record<string, unknown>,
  args: readonly string[],
): string[] {
  const words = [...args]
  for (const { spec, defaultValue, shown } of Object.values(flags)) {
    const given = options[optionKey(spec)]
    if (given === undefined || given === defaultValue || (Array.isArray(given) && given.length === 0))
      continue
    const value = shown && typeof given === 'string' ? shown(given) : given
    words.push(
      value === true
        ? longName(spec)
        : `${longName(spec)}=${typeof value === 'object' ? JSON.stringify(value) : value}`,
    )
  }
  return words
}

async function createReporter(
  json: boolean,
  quiet: boolean,
  verbose: boolean,
  { stdout, stderr, env, now }: ProgramHost,
): Promise<Reporter> {
  const options = { stdout, stderr, quiet, verbose, now: () => now().getTime() }
  if (json) {
    const { JsonReporter } = await import('./report/json.ts')
    return new JsonReporter(options)
  }
  const { TextReporter } = await import('./report/text.ts')
  const isDumb = env['TERM'] === 'dumb'
  const wanted = env['NO_COLOR']
    ? false
    : env['FORCE_COLOR']
      ? !/^(0|false)$/i.test(env['FORCE_COLOR'])
      : undefined
  // Each for itself: what a terminal shows in colours is plain in a file or a pipe.
  const colorOf = ({ isTTY }: Output): boolean => wanted ?? (isTTY === true && !isDumb)
  const color = { stdout: colorOf(stdout), stderr: colorOf(stderr) }
  // xterm itself and the console of Linux cut lines that no longer fit; all others break them anew.
  const reflows = env['XTERM_VERSION'] === undefined && env['TERM'] !== 'linux'
  return new TextReporter({ ...options, color, reflows, draws: !isDumb })
}
