/** The commander tree as plain data: what completion, man pages and the command reference are made of. */
import type {
  Command as Commander,
  Argument as CommanderArgument,
  Option as CommanderOption,
} from 'commander'

/** What a value is, as far as a shell can help with it. */
type ValueKind = 'file' | 'directory' | 'command' | 'other'

export interface Value {
  /** `time`, `low-high`: as help shows it, without brackets */
  readonly name: string
  readonly kind: ValueKind
  readonly choices: readonly string[]
}

export interface TreeOption {
  /** `-n` */
  readonly short: string | undefined
  /** `--dry-run` */
  readonly long: string
  readonly description: string
  /** undefined: a switch */
  readonly value: Value | undefined
  readonly repeatable: boolean
  /** the heading of help that it stands under: `Options:` */
  readonly group: string
}

export interface TreeArgument extends Value {
  readonly description: string
  readonly required: boolean
  readonly variadic: boolean
}

export interface CommandTree {
  /** `['autodj', 'bucket', 'check']` */
  readonly path: readonly string[]
  readonly summary: string
  readonly description: string
  /** `autodj bucket check [options]` */
  readonly usage: string
  readonly options: readonly TreeOption[]
  readonly arguments: readonly TreeArgument[]
  readonly examples: readonly { readonly line: string; readonly does: string }[]
  /** what follows the options in help, besides examples */
  readonly note: string
  readonly commands: readonly CommandTree[]
}

/** What help shows of a command and of all below it. */
export function commandTree(commander: Commander, parents: readonly string[] = []): CommandTree {
  const help = commander.createHelp()
  const path = [...parents, commander.name()]
  const commands = help.visibleCommands(commander).filter(one => one.name() !== 'help')
  const { examples, note } = afterHelp(commander)
  return {
    path,
    summary: commander.summary(),
    description: commander.description(),
    usage: help.commandUsage(commander),
    options: help.visibleOptions(commander).map(describeOption),
    arguments: commander.registeredArguments.map(describeArgument),
    examples,
    note,
    commands: commands.map(one => commandTree(one, path)),
  }
}

function describeOption(option: CommanderOption): TreeOption {
  const name = /[<[](.+)[>\]]/.exec(option.flags)?.[1]
  return {
    short: option.short,
    long: option.long ?? option.flags,
    description: option.description,
    value: name === undefined ? undefined : { name, kind: kindOf(name), choices: option.argChoices ?? [] },
    // Flags that take a list say so, in the words of their description.
    repeatable: option.variadic || option.description.includes('may be repeated'),
    group: option.helpGroupHeading ?? 'Options:',
  }
}

function describeArgument(argument: CommanderArgument): TreeArgument {
  const name = argument.name()
  return {
    name,
    kind: kindOf(name),
    choices: argument.argChoices ?? [],
    description: argument.description,
    required: argument.required,
    variadic: argument.variadic,
  }
}

function kindOf(name: string): ValueKind {
  if (/^(file\b.*|plan|where)$/.test(name)) return 'file'
  return name === 'dir' ? 'directory' : name === 'command' ? 'command' : 'other'
}

/** What `addHelpText` has added: only printing shows it. */
function afterHelp(commander: Commander): Pick<CommandTree, 'examples' | 'note'> {
  let printed = ''
  const { writeOut } = commander.configureOutput()
  commander.configureOutput({
    writeOut: text => {
      printed += text
    },
  })
  commander.outputHelp()
  commander.configureOutput({ ...(writeOut && { writeOut }) })
  const [note = '', examples = ''] = printed.slice(commander.helpInformation().length).split(/^Examples:\n/m)
  return {
    note: note.trim(),
    examples: [...examples.matchAll(/^ {2}\$ (.+)\n {6}(.+)$/gm)].map(([, line = '', does = '']) => ({
      line,
      does,
    })),
  }
}

/** A command and all below it, the command itself first. */
export function flatten(tree: CommandTree): CommandTree[] {
  return [tree, ...tree.commands.flatMap(flatten)]
}
