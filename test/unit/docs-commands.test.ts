/**
 * What the pages tell a reader to type is what the program takes: every command line of every page, in a block or in a
 * sentence, goes through the parser of the program itself. The journey on embedded parts is test/e2e/docs-journey.test.ts.
 */
import { globSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { commands } from '../../src/commands.ts'
import { createProgram } from '../../src/program.ts'

const pages = [...globSync('docs/**/*.md'), 'README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'].filter(
  page => !page.includes('node_modules') && !page.includes('docs/decisions/'),
)

interface Line {
  readonly where: string
  readonly line: string
  /** in a sentence, which need not say everything */
  readonly isMention: boolean
}

/** Command lines in blocks marked `sh`, without those marked `sh norun`; and in a sentence, where it names a flag or more. */
function commandLines(page: string): Line[] {
  const found: Line[] = []
  let block: string | undefined
  for (const [index, text] of readFileSync(page, 'utf8').replaceAll('\\\n', ' ').split('\n').entries()) {
    const where = `${page}:${index + 1}`
    const fence = /^ *```(.*)$/.exec(text)
    if (fence) block = block === undefined ? fence[1]!.trim() : undefined
    else if (block === 'sh') found.push(...shell(text).map(line => ({ where, line, isMention: false })))
    else if (block === undefined) {
      for (const [, line] of text.matchAll(/`(autodj [^`]+)`/g))
        found.push(...shell(line as string).map(one => ({ where, line: one, isMention: true })))
    }
  }
  return found
}

/** The autodj commands of a line of shell: without comments, prompts, redirections and other programs. */
function shell(text: string): string[] {
  return text
    .replace(/(^|\s)#.*$/, '')
    .split(/&&|\||;/)
    .map(one => one.trim().replace(/^(\$ |sudo |npx |(?:[A-Z_]+=\S+ )+)/, ''))
    .filter(one => /^autodj\b/.test(one))
    .map(one => one.replace(/ [<>]>? ?\S+| &$/g, ''))
}

/** Words as a shell would make them of it. */
function words(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, bare]) => double ?? single ?? bare ?? '',
  )
}

const fineInSentence = new Set([
  'commander.help',
  'commander.missingArgument',
  'commander.optionMissingArgument',
])

async function parse({ line, isMention }: Line): Promise<string | undefined> {
  const nowhere = { write: () => true }
  const program = createProgram(commands, { version: '0', stdout: nowhere, stderr: nowhere }, async () => {})
  try {
    await program.parseAsync(words(line).slice(1), { from: 'user' })
    return undefined
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    if (isMention && fineInSentence.has(code ?? '')) return undefined
    return code === 'commander.helpDisplayed' || code === 'commander.version' ? undefined : message
  }
}

/** Names of what the reader puts in: `autodj apply PLAN`, `autodj COMMAND --help`, `autodj demo [dir]`. */
const isShape = (line: string) => /…|\[|\bCOMMAND\b|\bVERB\b|\| *\w+|\\\|/.test(line)

describe.each(pages)('%s', page => {
  const lines = commandLines(page).filter(({ line }) => !isShape(line))
  test.runIf(lines.length > 0)('each command line is one that the program takes', async () => {
    const wrong: string[] = []
    for (const line of lines) {
      const problem = await parse(line)
      if (problem !== undefined) wrong.push(`${line.where}: ${line.line}: ${problem}`)
    }
    expect(wrong).toEqual([])
  })
})

test('blocks that are not run are few, and none of them is autodj', () => {
  const norun = pages.flatMap(page =>
    [...readFileSync(page, 'utf8').matchAll(/^```sh norun\n([\s\S]*?)^```/gm)].map(
      ([, body]) => body as string,
    ),
  )
  expect(norun.filter(body => /^autodj/m.test(body))).toEqual([])
  expect(norun.length).toBeLessThanOrEqual(6)
})
