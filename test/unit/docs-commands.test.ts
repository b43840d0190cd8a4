/**
 * What the pages tell a reader to type is what the program takes: every command line of every page, in a block or in a
 * sentence, goes through the parser of the program itself. The blocks are run by test/integration/docs-blocks.test.ts,
 * the guide also by test/e2e/docs-journey.test.ts.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { commands } from '../../src/commands.ts'
import { createProgram } from '../../src/program.ts'
import { commandBlocks, pages, unmarkedBlocks } from '../support/markdown.ts'

interface Line {
  readonly where: string
  readonly line: string
  /** in a sentence, which need not say everything */
  readonly isMention: boolean
}

/** Command lines in blocks of a shell; and in a sentence, if it names a flag or more. */
function commandLines(page: string): Line[] {
  const found: Line[] = []
  let block: string | undefined
  for (const [index, text] of readFileSync(page, 'utf8').replaceAll('\\\n', ' ').split('\n').entries()) {
    const where = `${page}:${index + 1}`
    const fence = /^ *```(.*)$/.exec(text)
    if (fence) block = block === undefined ? fence[1]!.trim().split(' ', 1)[0] : undefined
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

describe.each(pages())('%s', page => {
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

test('every block says that it is typed, in which shell, or that it is read', () => {
  expect(unmarkedBlocks()).toEqual([])
})

describe('blocks that are not run', () => {
  const norun = commandBlocks().filter(block => block.norun !== undefined)
  const commandsOf = (lines: readonly string[]) =>
    lines.flatMap(line => line.replace(/\s+# .*$/, '').split(' && ')).filter(line => line !== '')

  test('are few, and each says why', () => {
    expect(norun.filter(({ norun: why }) => !/\w+ \w+/.test(why ?? ''))).toEqual([])
    expect(norun.length).toBeLessThanOrEqual(8)
  })

  test.each(norun)('$page:$line: is shell, and of what is there', ({ lines }) => {
    const { status, stderr } = spawnSync('bash', ['-n', '-c', lines.join('\n')], { encoding: 'utf8' })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const commands = commandsOf(lines)
    const scripts = commands.flatMap(line => /^npm (?:run )?(test|(?<=run )[\w:]+)/.exec(line)?.[1] ?? [])
    expect(scripts.filter(name => !(name in packageJson.scripts))).toEqual([])
    const files = commands.flatMap(
      line => line.match(/\b(?:scripts|test|packaging)\/[\w.-][\w./-]*[\w]/g) ?? [],
    )
    expect(files.filter(file => !existsSync(file))).toEqual([])
  })

  test.each(norun.filter(({ norun: why }) => why?.includes('.ci/run')))(
    '$page:$line: $norun',
    ({ lines }) => {
      const ci = readFileSync('.ci/run', 'utf8')
      expect(commandsOf(lines).filter(line => !ci.includes(` ${line}`))).toEqual([])
    },
  )
})
