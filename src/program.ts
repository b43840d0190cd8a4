/** The command line: builds the commander tree from the commands, and runs one of them in a context. */
import { Argument, Command as Commander, CommanderError, Option } from 'commander'
import type { Command } from './cli/command.ts'
import { type Flag, flag, longName } from './cli/flags.ts'
import { selectionFlagsOf } from './cli/selection-flags.ts'
import { ExitCode, UsageError } from './errors.ts'
import type { AskedCommand, ProgramHost } from './run-command.ts'
import { type Setting, settings } from './settings.ts'

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
  const isNamed = ({ name }: Command) => name.split(' ').every(word => argv.includes(word))
  const act = async (asked: AskedCommand) => {
    const { runCommand } = await import('./run-command.ts')
    exitCode = await runCommand(asked, argv, surroundings, (otherArgv, env, cwd) =>
      runProgram(otherArgv, commands, { ...surroundings, env, cwd }),
    )
  }
  const program = createProgram(commands, surroundings, act, isNamed)
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
    const { createReporter } = await import('./run-command.ts')
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
 * @param isNamed whether a command line names a command; of the others the flags are left out, as nobody asks for them
 */
export function createProgram(
  commands: readonly Command[],
  { version, stdout, stderr }: Pick<ProgramHost, 'version' | 'stdout' | 'stderr'>,
  act: (asked: AskedCommand) => Promise<void>,
  isNamed: (command: Command) => boolean = () => true,
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
    const added = addCommand(program, command)
    if (isNamed(command)) addFlags(added, command, act)
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
      stdout.write(
        completionScript(
          createProgram(commands, { version, stdout, stderr }, act),
          shell as 'bash' | 'zsh' | 'fish',
        ),
      )
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

function addCommand(program: Commander, command: Command): Commander {
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
  return parent.command(name).summary(command.summary).description(describe(command))
}

function addFlags(commander: Commander, command: Command, act: (asked: AskedCommand) => Promise<void>): void {
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
    await act({ command, options: commander.opts(), args })
  })
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
