/** One run of a command, in its context: settings, reporter, signals, records. What a run takes and `--help` does not. */
import type { Command } from './cli/command.ts'
import { type Flags, longName, type shared, type ValuesOf } from './cli/flags.ts'
import { readSelection, selectionFlagsOf } from './cli/selection-flags.ts'
import { type Config, loadConfig, SettingsError } from './config.ts'
import { type Context, openContext } from './context.ts'
import type { SelectionRules } from './core/selection.ts'
import { printable } from './core/units.ts'
import { AppError, ExitCode, type StopReason, systemRefusal, toError } from './errors.ts'
import { enterNetwork } from './network.ts'
import type { LibraryTotals } from './records/metrics.ts'
import type { Records } from './records/records.ts'
import type { RunEnd } from './report/entry.ts'
import type { Output, Reporter } from './report/reporter.ts'
import { RunReport } from './report/run-report.ts'
import { type Overrides, type Setting, settings, type Variable } from './settings.ts'
import { Throttle } from './throttle.ts'

/** What surrounds a run; tests bring their own. */
export interface ProgramHost {
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

/** A command as it was asked for. */
export interface AskedCommand {
  readonly command: Command
  /** by commander's names */
  readonly options: Record<string, unknown>
  readonly args: readonly string[]
}

/**
 * Does what a command line asks for. Never throws and never exits the process.
 *
 * @param asked the command, and what commander read: options as it names them, arguments in order
 * @param argv the whole command line, to be shown
 * @returns the exit code
 */
export async function runCommand(
  { command, options, args }: AskedCommand,
  argv: readonly string[],
  surroundings: ProgramHost,
  runOther: Context['runCommand'],
): Promise<ExitCode> {
  const commandLine = commandLineOf(argv, command.flags)
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
  let opened: ReturnType<typeof openContext> | undefined
  let records: Records | undefined
  let stopCode: () => ExitCode | undefined = () => undefined
  try {
    const config = loadConfig({
      env: surroundings.env,
      cwd: surroundings.cwd,
      envFile: options['settings'] as string | undefined,
      overrides: readOverrides(options),
    })
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
  opened: ReturnType<typeof openContext> | undefined,
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

/** A command line for people to copy: quoted for a shell, without settings that may hold secrets. */
function commandLineOf(argv: readonly string[], flags: Command['flags']): string {
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

/** Speaks to whoever started the program. */
export async function createReporter(
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
