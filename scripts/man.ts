/**
 * Man pages of the program and of each command, made from the commander tree: `node scripts/man.ts FOLDER`, a part of
 * the build. `autodj.1` and `autodj-upload-local.1`, as git names its own.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import wrapAnsi from 'wrap-ansi'
import packageJson from '../package.json' with { type: 'json' }
import { type CommandTree, flatten, type TreeOption } from '../src/cli/command-tree.ts'
import { ExitCode, exitCodeMeaning } from '../src/errors.ts'
import { type Setting, settings } from '../src/settings.ts'
import { programTree } from './docs.ts'

/** Text as roff takes it: no escape and no macro by accident, hyphens that can be copied, lines of a terminal's width. */
function roff(text: string): string {
  const escaped = text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/`([^`]+)`/g, '\\fB$1\\fR')
  return wrapAnsi(escaped, 78).replaceAll(/^([.'])/gm, '\\&$1')
}

/** The same, on one line: part of a macro's line or of a term. */
const inLine = (text: string): string => roff(text).replaceAll('\n', ' ')

const argument = (text: string): string => `"${inLine(text).replaceAll('"', '""')}"`
const paragraphs = (text: string): string =>
  text
    .split(/\n{2,}/)
    .map(one => roff(one.trim()))
    .join('\n.PP\n')
const pageOf = ({ path: words }: CommandTree): string => words.join('-')

function flag({ short, long, value }: TreeOption): string {
  const names = [short, long].filter(name => name !== undefined).map(name => `\\fB${roff(name)}\\fR`)
  return `${names.join(', ')}${value === undefined ? '' : ` \\fI${roff(value.name)}\\fR`}`
}

function options(tree: CommandTree): string {
  return [...Map.groupBy(tree.options, ({ group }) => group)]
    .map(([heading, all]) => {
      const title = heading === 'Options:' ? '' : `.SS ${argument(heading.replace(/:$/, ''))}\n`
      return `${title}${all
        .map(one => {
          const choices = one.value?.choices ?? []
          const among = choices.length === 0 ? '' : ` (one of ${choices.join(', ')})`
          return `.TP\n${flag(one)}\n${roff(`${one.description}${among}`)}`
        })
        .join('\n')}`
    })
    .join('\n')
}

/** @param date of the release, `2026-11-28` */
function page(tree: CommandTree, root: CommandTree, date: string): string {
  const isRoot = tree === root
  const name = pageOf(tree)
  const summary = isRoot ? 'move an Auto-DJ library to S3 behind CloudFront, and prove it' : tree.summary
  const usage = tree.usage.slice(tree.path.join(' ').length)
  const parts = [
    `.TH ${name.toUpperCase()} 1 ${date} "autodj ${packageJson.version}" "autodj"`,
    `.SH NAME\n${roff(name)} \\- ${roff(summary || tree.description.split('\n', 1)[0] || name)}`,
    `.SH SYNOPSIS\n\\fB${roff(tree.path.join(' '))}\\fR ${roff(usage.trim())}`,
    `.SH DESCRIPTION\n${paragraphs(tree.description)}`,
  ]
  if (tree.note !== '') parts.push(`.PP\n${paragraphs(tree.note)}`)
  if (tree.commands.length > 0) {
    const below = flatten(tree).filter(one => one !== tree && one.commands.length === 0)
    parts.push(
      `.SH COMMANDS\n${below.map(one => `.TP\n\\fB${roff(pageOf(one))}\\fR(1)\n${roff(one.summary)}`).join('\n')}`,
    )
  }
  if (tree.arguments.length > 0) {
    parts.push(
      `.SH ARGUMENTS\n${tree.arguments
        .map(({ name, description, choices }) => {
          const among = choices.length === 0 ? '' : ` (one of ${choices.join(', ')})`
          return `.TP\n\\fI${roff(name)}\\fR\n${roff(`${description}${among}`)}`
        })
        .join('\n')}`,
    )
  }
  if (tree.options.length > 0) parts.push(`.SH OPTIONS\n${options(tree)}`)
  if (tree.examples.length > 0) {
    parts.push(
      `.SH EXAMPLES\n${tree.examples.map(({ line, does }) => `.TP\n\\fB${inLine(line)}\\fR\n${roff(does)}`).join('\n')}`,
    )
  }
  if (isRoot) {
    const variables = (settings as readonly Setting[]).map(
      ({ variable, description }) => `.TP\n\\fB${roff(variable)}\\fR\n${roff(description)}`,
    )
    parts.push(`.SH ENVIRONMENT\n${variables.join('\n')}`)
    const files = ['./autodj.env', './.env', '$XDG_CONFIG_HOME/autodj/autodj.env', '/etc/autodj/autodj.env']
    parts.push(
      `.SH FILES\nRead in this order; the first that has a value counts, after flags and the environment.\n${files
        .map(file => `.PP\n\\fI${roff(file)}\\fR`)
        .join('\n')}`,
    )
  }
  parts.push(
    `.SH EXIT STATUS\n${Object.values(ExitCode)
      .map(code => `.TP\n\\fB${code}\\fR\n${roff(exitCodeMeaning[code])}`)
      .join('\n')}`,
  )
  const others = isRoot ? [] : [root]
  if (others.length > 0)
    parts.push(`.SH SEE ALSO\n${others.map(one => `\\fB${pageOf(one)}\\fR(1)`).join(', ')}`)
  return `${parts.join('\n')}\n`
}

/** Every page by its file name. */
export function manPages(date: string): Map<string, string> {
  const root = programTree()
  return new Map(flatten(root).map(tree => [`${pageOf(tree)}.1`, page(tree, root, date)]))
}

if (import.meta.main) {
  const folder = process.argv[2] ?? 'dist/man'
  mkdirSync(folder, { recursive: true })
  // Reproducible builds set it, in seconds.
  const epoch = process.env['SOURCE_DATE_EPOCH']
  const date = new Date(epoch === undefined ? Date.now() : Number(epoch) * 1_000).toISOString().slice(0, 10)
  for (const [name, text] of manPages(date)) writeFileSync(path.join(folder, name), text)
}
