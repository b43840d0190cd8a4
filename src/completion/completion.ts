/**
 * Completion scripts, made of the commander tree. They know everything and start no process: a key is answered at once,
 * and a broken installation breaks no shell.
 */
import type { Command as Commander } from 'commander'
import { type CommandTree, commandTree, flatten, type TreeArgument, type Value } from '../cli/command-tree.ts'

type Shell = 'bash' | 'zsh' | 'fish'

/** What the shell loads; ends in a line feed. */
export function completionScript(program: Commander, shell: Shell): string {
  return { bash, zsh, fish }[shell](commandTree(program))
}

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? ''
const summaryOf = (tree: CommandTree): string => tree.summary || firstLine(tree.description)
const wordsOf = (tree: CommandTree): string => tree.path.slice(1).join(' ')

/** Command names that a value may be: `bucket check` is two words, which no shell can offer as one. */
function choicesOf(value: Value, root: CommandTree): readonly string[] {
  if (value.kind !== 'command') return value.choices
  return root.commands.map(({ path }) => path.at(-1) as string)
}

const inQuotes = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

function bash(root: CommandTree): string {
  const complete = (value: Value): string => {
    const choices = choicesOf(value, root)
    if (choices.length > 0) return `_autodj_words ${inQuotes(choices.join(' '))}`
    return { file: '_autodj_files -f', directory: '_autodj_files -d', command: '', other: ':' }[value.kind]
  }
  const branch = (tree: CommandTree): string => {
    const flags = tree.options.flatMap(({ short, long }) => [long, ...(short === undefined ? [] : [short])])
    const values = tree.options.flatMap(({ short, long, value }) =>
      value === undefined
        ? []
        : [`      ${[long, short].filter(Boolean).join('|')}) ${complete(value)}; return ;;`],
    )
    const positional =
      tree.commands.length > 0
        ? `_autodj_words ${inQuotes(tree.commands.map(({ path }) => path.at(-1)).join(' '))}`
        : tree.arguments[0]
          ? complete(tree.arguments[0])
          : ':'
    return [
      `    ${inQuotes(wordsOf(tree))})`,
      ...(values.length > 0 ? ['      case $prev in', ...values.map(line => `  ${line}`), '      esac'] : []),
      `      case $cur in`,
      `        -*) _autodj_words ${inQuotes(flags.join(' '))} ;;`,
      `        *) ${positional} ;;`,
      '      esac',
      '      ;;',
    ].join('\n')
  }
  const known = flatten(root)
    .slice(1)
    .map(tree => inQuotes(wordsOf(tree)))
  return `# bash completion for autodj: made by \`autodj completion bash\`

_autodj_words() {
  COMPREPLY=($(compgen -W "$1" -- "$cur"))
}

_autodj_files() {
  local IFS=$'\\n'
  type compopt &>/dev/null && compopt -o filenames
  COMPREPLY=($(compgen "$1" -- "$cur"))
}

_autodj() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} command='' i
  COMPREPLY=()
  # bash splits --flag=value at the sign
  if [[ $cur == = ]]; then
    cur=''
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  # flags come after the command
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${command:+$command }\${COMP_WORDS[i]}" in
      ${known.join('|')}) command="\${command:+$command }\${COMP_WORDS[i]}" ;;
      *) break ;;
    esac
  done
  case $command in
${flatten(root).map(branch).join('\n')}
  esac
}

complete -F _autodj autodj
`
}

function zsh(root: CommandTree): string {
  const explain = (text: string): string => text.replaceAll(/[[\]\\:]/g, '\\$&')
  const functionOf = (tree: CommandTree): string => ['', ...tree.path].join('_').replaceAll('-', '_')
  const action = (value: Value): string => {
    const choices = choicesOf(value, root)
    if (choices.length > 0) return `(${choices.map(one => one.replaceAll(':', '\\:')).join(' ')})`
    return { file: '_files', directory: '_files -/', command: '', other: '' }[value.kind]
  }
  const body = (tree: CommandTree): string => {
    const options = tree.options.map(({ short, long, description, value, repeatable }) => {
      const text = `[${explain(description)}]`
      const after = value === undefined ? '' : `:${explain(value.name)}:${action(value)}`
      if (short === undefined) {
        return inQuotes(`${repeatable ? '*' : ''}${long}${value ? '=' : ''}${text}${after}`)
      }
      const names = `{${short}${value ? '+' : ''},${long}${value ? '=' : ''}}`
      return `${repeatable ? "'*'" : inQuotes(`(${short} ${long})`)}${names}${inQuotes(`${text}${after}`)}`
    })
    const positionals = tree.arguments.map((one: TreeArgument, index) =>
      inQuotes(
        `${one.variadic ? '*' : index + 1}:${one.required ? '' : ':'}${explain(one.name)}:${action(one)}`,
      ),
    )
    if (tree.commands.length === 0) {
      return `  _arguments -s -S ${[...options, ...positionals].join(' \\\n    ')}`
    }
    const names = tree.commands.map(one =>
      inQuotes(`${one.path.at(-1)}:${summaryOf(one).replaceAll(':', '\\:')}`),
    )
    const branches = tree.commands.map(one => `        ${one.path.at(-1)}) ${functionOf(one)} ;;`)
    return `  local state line curcontext="$curcontext"
  typeset -A opt_args
  _arguments -C ${options.join(' ')} '1: :->command' '*:: :->rest'
  case $state in
    command)
      local -a commands=(
        ${names.join('\n        ')}
      )
      _describe -t commands command commands
      ;;
    rest)
      case $line[1] in
${branches.join('\n')}
      esac
      ;;
  esac`
  }
  return `#compdef autodj
# zsh completion for autodj: made by \`autodj completion zsh\`

${flatten(root)
  .toReversed()
  .map(tree => `${functionOf(tree)}() {\n${body(tree)}\n}`)
  .join('\n\n')}

# A file of fpath is the function's body; sourced, it only registers itself.
if [ "\${funcstack[1]}" = _autodj ]; then
  _autodj "$@"
else
  compdef _autodj autodj
fi
`
}

function fish(root: CommandTree): string {
  const quoted = (text: string): string => `'${text.replaceAll(/['\\]/g, '\\$&')}'`
  const complete = (value: Value): string => {
    const choices = choicesOf(value, root)
    if (choices.length > 0) return `-x -a ${quoted(choices.join(' '))}`
    return { file: '-r -F', directory: "-x -a '(__fish_complete_directories)'", command: '-x', other: '-x' }[
      value.kind
    ]
  }
  const branch = (tree: CommandTree): string[] => {
    const words = wordsOf(tree)
    const at = `complete -c autodj -n ${quoted(`__autodj_at ${words}`.trim())}`
    const exactly = `complete -c autodj -n ${quoted(`__autodj_exactly ${words}`.trim())}`
    const [argument] = tree.arguments
    return [
      ...tree.commands.map(one => `${exactly} -a ${one.path.at(-1)} -d ${quoted(summaryOf(one))}`),
      ...(tree.commands.length > 0 ? [] : tree.options).map(
        ({ short, long, description, value }) =>
          `${at}${short === undefined ? '' : ` -s ${short.slice(1)}`} -l ${long.slice(2)}${value === undefined ? '' : ` ${complete(value)}`} -d ${quoted(description)}`,
      ),
      ...(argument === undefined
        ? []
        : [
            `${argument.variadic ? at : exactly} ${complete(argument).replace(/^-[rx] /, '')} -d ${quoted(argument.description)}`,
          ]),
    ]
  }
  return `# fish completion for autodj: made by \`autodj completion fish\`

# Flags come after the command, so the command is the first words.
function __autodj_exactly
    set -l words (commandline -opc)
    test "$words[2..]" = "$argv"
end

function __autodj_at
    set -l words (commandline -opc)
    test (count $words) -gt (count $argv); or return 1
    test "$words[2..$(math 1 + (count $argv))]" = "$argv"
end

complete -c autodj -f
${flatten(root).flatMap(branch).join('\n')}
`
}
