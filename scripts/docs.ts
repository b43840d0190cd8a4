/**
 * Writes the pages of docs/ that follow from the code: `npm run docs`. A test (test/unit/docs.test.ts) fails where a
 * page that is committed is not what this makes.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type CommandTree, commandTree, flatten } from '../src/cli/command-tree.ts'
import { commands } from '../src/commands.ts'
import { ExitCode, exitCodeMeaning } from '../src/errors.ts'
import { createProgram } from '../src/program.ts'
import { type Setting, type SettingTopic, settings } from '../src/settings.ts'
import { documentedCodes } from './error-meanings.ts'
import { readSchemas, type Shape } from './json-schemas.ts'

const root = path.join(import.meta.dirname, '..')
const made = '<!-- Made from the code by `npm run docs`: change it there. -->'

/** The program as a tree, as its own help shows it. */
export function programTree(): CommandTree {
  const nowhere = { write: () => true, columns: 100 }
  const surroundings = { version: '', stdout: nowhere, stderr: nowhere }
  return commandTree(createProgram(commands, surroundings, async () => {}))
}

const cell = (text: string): string => prose(text).replaceAll('|', '\\|')
const inCode = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``
const fileOf = ({ path: words }: CommandTree): string => `${words.slice(1).join('-')}.md`
/** Angle brackets would be HTML; flags and example addresses are code, if they are not that already. */
function prose(text: string): string {
  return text
    .split(/(`[^`]+`)/)
    .map(part =>
      part.startsWith('`')
        ? part
        : part
            .replaceAll('<', '&lt;')
            .replaceAll(
              /(?<![\w-])--[a-z][a-z-]*[a-z]|\b(?:https?|postgresql|s3):\/\/[^\s,;()"]+[\w/]/g,
              '`$&`',
            ),
    )
    .join('')
}

function commandPage(tree: CommandTree): string {
  const name = tree.path.join(' ')
  const groups = Map.groupBy(tree.options, ({ group }) => group)
  const described = tree.options.map(one => one.long)
  const parts = [
    made,
    `# ${name}`,
    prose(tree.description),
    ['```text', `${tree.usage}`, '```'].join('\n'),
    ...(tree.arguments.length === 0
      ? []
      : [
          [
            '| argument | meaning |',
            '| --- | --- |',
            ...tree.arguments.map(
              one =>
                `| ${inCode(one.required ? `<${one.name}>` : `[${one.name}]`)} | ${cell(one.description)}${choices(one.choices)} |`,
            ),
          ].join('\n'),
        ]),
    ...(tree.commands.length === 0
      ? []
      : [tree.commands.map(one => `- [${one.path.join(' ')}](${fileOf(one)}): ${one.summary}`).join('\n')]),
    ...(tree.examples.length === 0
      ? []
      : [
          '## Examples',
          ...tree.examples.map(({ line, does }) => `${sentence(does)}:\n\n\`\`\`sh\n${line}\n\`\`\``),
        ]),
    ...(described.length === 0 ? [] : ['## Flags']),
    ...[...groups].flatMap(([heading, options]) => [
      ...(heading === 'Options:' ? [] : [`### ${heading.replace(/:$/, '')}`]),
      [
        '| flag | meaning |',
        '| --- | --- |',
        ...options.map(one => {
          const value = one.value === undefined ? '' : ` <${one.value.name}>`
          const names = [one.short, `${one.long}${value}`].filter(Boolean).join(', ')
          return `| ${inCode(names)} | ${cell(one.description)}${choices(one.value?.choices ?? [])} |`
        }),
      ].join('\n'),
    ]),
    ...(tree.note === '' ? [] : [prose(tree.note)]),
    '[All commands](README.md) · [Exit codes](../exit-codes.md) · [Settings](../settings.md)',
  ]
  return `${parts.join('\n\n')}\n`
}

const sentence = (text: string): string => prose(`${text.charAt(0).toUpperCase()}${text.slice(1)}`)
const choices = (all: readonly string[]): string =>
  all.length === 0 ? '' : ` (one of ${all.map(inCode).join(', ')})`

function commandIndex(tree: CommandTree): string {
  const rows = flatten(tree)
    .slice(1)
    .filter(one => one.commands.length === 0)
    .map(one => `| [\`${one.path.join(' ')}\`](${fileOf(one)}) | ${cell(one.summary)} |`)
  return `${made}

# Commands

${prose(tree.description)} Flags come after the command. Data goes to stdout, everything else to stderr.

| command | what it does |
| --- | --- |
${rows.join('\n')}
`
}

const topics: Readonly<Record<SettingTopic, string>> = {
  database: 'Database',
  store: 'Store',
  network: 'Network',
  cdn: 'CDN',
  audio: 'Audio folder',
  serve: 'Tracks API',
  fetch: 'Downloads',
  records: 'Records of runs',
}

function settingsPage(): string {
  const sections = Object.entries(topics).map(([topic, heading]) => {
    const rows = (settings as readonly Setting[])
      .filter(one => one.topic === topic)
      .map(
        one =>
          `| \`${one.variable}\` | ${one.flag === undefined ? '' : inCode(one.flag)} | ${cell(one.description)} | ${inCode(one.example)} | ${one.secret ? 'yes' : ''} |`,
      )
    return `## ${heading}\n\n| variable | flag | meaning | example | secret |\n| --- | --- | --- | --- | --- |\n${rows.join('\n')}`
  })
  return `${made}

# Settings

Flags win over the environment, the environment over the files. Read in this order, the first that has a value counts:
\`autodj.env\`, then the application's \`.env\` beside it, \`$XDG_CONFIG_HOME/autodj/autodj.env\`,
\`/etc/autodj/autodj.env\`. \`--settings\` or \`AUTODJ_SETTINGS\` name one file instead. Relative paths are relative to the
file that says them, and \`NAME_FILE\` reads the value of a secret from a file. A secret is never printed.

\`autodj init\` writes these files and tries each answer; \`autodj doctor\` checks them.

${sections.join('\n\n')}
`
}

function exitCodesPage(): string {
  const rows = Object.values(ExitCode).map(code => `| ${code} | ${cell(exitCodeMeaning[code])} |`)
  return `${made}

# Exit codes

Part of the contract: a code keeps its meaning. With \`--json\` the last line of a run that did not succeed is an
\`exit_error\` with this number and an [error code](error-codes.md).

| code | meaning |
| --- | --- |
${rows.join('\n')}
`
}

function errorCodesPage(): string {
  const all = documentedCodes().map(one => ({ ...one, code: one.isFamily ? `${one.code}…` : one.code }))
  const families = Map.groupBy(all, ({ code }) => code.split('.', 1)[0] as string)
  const sections = [...families].map(
    ([family, codes]) =>
      `## ${family}\n\n| code | what happened | what to do | exit code |\n| --- | --- | --- | --- |\n${codes
        .map(
          ({ code, meaning, cure, exits }) =>
            `| \`${code}\` | ${cell(meaning)} | ${cell(cure)} | ${exits.map(one => ExitCode[one]).join(', ')} |`,
        )
        .join('\n')}`,
  )
  return `${made}

# Error codes

What \`code\` means in \`--json\` lines, in the ledger and in \`autodj status\`. A message may bring a more exact cure than
the one here. Codes are only ever added. Exit code 3: the error is that of one item, and the run continued.

${sections.join('\n\n')}
`
}

function jsonPage(): string {
  const typeOf = ({ type, const: constant }: Shape): string =>
    constant === undefined ? [type ?? 'any'].flat().join(' or ') : `\`${constant}\``
  const common = new Set(['message_type', 'schema', 'time'])
  const rows = (shape: Shape, prefix = ''): string[] =>
    Object.entries(shape.properties ?? {}).flatMap(([name, one]) => {
      if (prefix === '' && common.has(name)) return []
      const states =
        name === 'state' && prefix === '' ? `: ${(one.examples ?? []).map(inCode).join(', ')}` : ''
      const inner = one.type === 'array' ? `${prefix}${name}[].` : `${prefix}${name}.`
      return [
        `| \`${prefix}${name}\` | ${typeOf(one)} | ${cell(one.description ?? '')}${states} |`,
        ...rows(one.type === 'array' ? (one.items ?? {}) : one, inner),
      ]
    })
  const sections = [...readSchemas()].map(([command, { anyOf }]) => {
    const kinds = anyOf
      .filter(({ properties }) => ['item', 'summary'].includes(String(properties?.['message_type']?.const)))
      .map(
        shape =>
          `\`${shape.properties?.['message_type']?.const}\`\n\n| field | type | meaning |\n| --- | --- | --- |\n${rows(shape).join('\n')}`,
      )
    const file = `schemas/${command.replace(' ', '-')}.json`
    return [`## ${command}`, `[Schema of its lines](${file})`, ...kinds].join('\n\n')
  })
  return `${made}

# JSON

With \`--json\` every command prints JSON lines: one object on each line, UTF-8, each with

- \`message_type\`: \`status\` (progress, what happens now), \`item\` (one file, object, row or check) and \`summary\` (once, at
  the end) on stdout; \`error\` (with \`level\`: \`error\` or \`warning\`) and \`exit_error\` (the last line of a run that did not
  succeed) on stderr,
- \`schema\`: the version of this contract,
- \`time\`: UTC, ISO 8601.

Fields, kinds of lines and states are only ever added, so ignore those that you do not know; what is named here stays. An
error has a [code](error-codes.md), a \`message\` and a \`cure\`, and what else tells where it happened. Secrets never appear.

Each command has a JSON Schema (2020-12) of its lines. The schemas are learned from lines that the tests have seen, and
a test holds the lines of a whole journey to them; the tables below are made from them.

\`\`\`sh
autodj upload-local --json | jq 'select(.message_type == "item" and .state == "failed") | .subject'
\`\`\`

${sections.join('\n\n')}
`
}

/** Every page, by its path from the top of the repository. */
function pages(): Map<string, string> {
  const tree = programTree()
  return new Map([
    ['docs/commands/README.md', commandIndex(tree)],
    ...flatten(tree)
      .slice(1)
      .map(one => [`docs/commands/${fileOf(one)}`, commandPage(one)] as const),
    ['docs/settings.md', settingsPage()],
    ['docs/exit-codes.md', exitCodesPage()],
    ['docs/error-codes.md', errorCodesPage()],
    ['docs/json.md', jsonPage()],
  ])
}

/** The pages that are not as they should be; with `write`, they are made so. */
export function stalePages(write = false): string[] {
  const wanted = pages()
  const commandFolder = path.join(root, 'docs/commands')
  if (write) mkdirSync(commandFolder, { recursive: true })
  const stale: string[] = []
  for (const name of readdirSync(commandFolder)) {
    if (wanted.has(`docs/commands/${name}`)) continue
    stale.push(`docs/commands/${name}`)
    if (write) rmSync(path.join(commandFolder, name))
  }
  for (const [name, text] of wanted) {
    const file = path.join(root, name)
    let there: string | undefined
    try {
      there = readFileSync(file, 'utf8')
    } catch {
      there = undefined
    }
    if (there === text) continue
    stale.push(name)
    if (write) writeFileSync(file, text)
  }
  return stale
}

if (import.meta.main) for (const name of stalePages(true)) console.log(`written: ${name}`)
