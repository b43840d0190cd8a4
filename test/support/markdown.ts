/** Fenced blocks of Markdown pages, in their order. */
import { globSync, readFileSync } from 'node:fs'

interface FencedBlock {
  /** first word behind the fence: `sh`, `text`, or nothing */
  language: string
  /** `norun="…"`: why the block cannot be run by a test */
  norun: string | undefined
  /** number of its first line in the page */
  line: number
  lines: string[]
}

export function fencedBlocks(page: string): FencedBlock[] {
  const blocks: FencedBlock[] = []
  let open: FencedBlock | undefined
  for (const [index, line] of page.split('\n').entries()) {
    const fence = /^ *```(.*)$/.exec(line)
    if (fence === null) open?.lines.push(line)
    else if (open === undefined) {
      const [, language = '', attributes = ''] = /^ *(\S*) *(.*)$/.exec(fence[1]!) as RegExpExecArray
      const norun = /(?:^| )norun(?:="([^"]*)")?/.exec(attributes)
      open = { language, norun: norun ? (norun[1] ?? '') : undefined, line: index + 2, lines: [] }
      blocks.push(open)
    } else open = undefined
  }
  return blocks
}

/** Every page for readers; decisions are history. */
export function pages(): string[] {
  const found = [
    ...globSync('docs/**/*.md'),
    'README.md',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    'bench/README.md',
  ]
  return found
    .map(page => page.replaceAll('\\', '/'))
    .filter(page => !page.includes('node_modules') && !page.startsWith('docs/decisions/'))
}

/** Blocks in a language that a shell runs. */
const shells = new Set(['sh', 'bash', 'shell', 'console', 'zsh', 'fish'])
/** Blocks of what is read and not typed. */
const texts = new Set(['text', 'mermaid', 'sql', 'json', 'ini', 'nginx'])

interface CommandBlock extends FencedBlock {
  page: string
}

/** What a reader is told to type, of all pages. */
export function commandBlocks(): CommandBlock[] {
  return pages().flatMap(page =>
    fencedBlocks(readFileSync(page, 'utf8'))
      .filter(({ language }) => shells.has(language))
      .map(block => ({ page, ...block })),
  )
}

/** A line of a block that reads as if it were typed; brackets are of a usage line. */
const typed = /^(\$ |(sudo|autodj|npm|npx|aws|docker|kubectl|systemctl) (?!.*\[))/

/** Blocks that say neither that they are typed nor that they are read, and what is typed in those that are read. */
export function unmarkedBlocks(): string[] {
  return pages().flatMap(page =>
    fencedBlocks(readFileSync(page, 'utf8'))
      .filter(
        ({ language, lines }) =>
          !shells.has(language) && (!texts.has(language) || lines.some(line => typed.test(line))),
      )
      .map(({ line }) => `${page}:${line}`),
  )
}
