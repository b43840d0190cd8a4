/**
 * Every command block of every page is run as a reader types it (test/support/doc-world.ts), and ends well. What cannot
 * be run here says so and why, behind its fence: ```sh norun="…"; test/unit/docs-commands.test.ts looks at those.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DocWorld, otherPrograms, startDocWorld } from '../support/doc-world.ts'
import { commandBlocks } from '../support/markdown.ts'

const blocks = commandBlocks()
const runnable = blocks.filter(({ norun }) => norun === undefined)

/** Pages that begin before the first night. */
const fresh = new Set(['docs/guide.md', 'docs/commands/migrate.md', 'README.md'])

/** What a page takes for granted, done first. */
const before: Readonly<Record<string, string>> = {
  'docs/commands/apply.md': `rm "audio/Tape Orchard/First Light.mp3"; autodj reconcile --plan repair.plan`,
  'docs/commands/undo.md': 'autodj reconcile --plan repair.plan; autodj apply repair.plan',
  'docs/commands/bucket-apply.md': 'autodj bucket plan --output plan.json',
  'docs/commands/bucket-check.md': 'autodj bucket apply --yes --origin https://autodj.example',
  'docs/commands/demo.md': 'mkdir -p ~/Music && cp -r audio ~/Music/Sets',
  'docs/commands/import.md': 'mkdir audio/new && cp "audio/Tape Orchard/First Light.mp3" audio/new/Again.mp3',
  'docs/commands/cost.md': `echo '{ "asOf": "2026-01-31", "region": "eu-central-1" }' > eu.json`,
}

/** Programs of others that a block calls; without them it is skipped aloud. */
const others = ['aws', 'jq', 'openssl', 'ffmpeg', 'gzip']
const searched = otherPrograms.join(path.delimiter)
const isThere = new Map(
  others.map(name => [
    name,
    spawnSync('sh', ['-c', `command -v ${name}`], { env: { PATH: searched } }).status === 0,
  ]),
)
const needs = (text: string): string[] =>
  others.filter(name =>
    name === 'ffmpeg' ? text.includes('--normalize') : new RegExp(`(^|[|;&]\\s*)${name} `, 'm').test(text),
  )

let world: DocWorld
beforeAll(async () => {
  world = await startDocWorld()
})
afterAll(() => world?.close())

describe.each([...Map.groupBy(runnable, ({ page }) => page)])('%s', (page, ofPage) => {
  beforeAll(async () => {
    await world.begin(fresh.has(page) ? 'fresh' : 'night')
    const first = before[page]
    if (first !== undefined) {
      const { exitCode, said } = await world.run(first)
      if (exitCode !== 0) throw new Error(said)
    }
  })

  test.for(ofPage.map(({ line, lines }) => ({ line, text: lines.join('\n') })))(
    'line $line: $text',
    async ({ text }, { skip }) => {
      const missing = needs(text).filter(name => !isThere.get(name))
      if (missing.length > 0) skip(`not installed: ${missing.join(', ')}`)
      const { exitCode, said } = await world.run(text)
      expect(exitCode === 0 ? '' : said).toBe('')
      expect(exitCode).toBe(0)
    },
  )
})

describe('docs/guide-answers.md: each command of its tables', () => {
  const page = readFileSync('docs/guide-answers.md', 'utf8')
  const lines = [...new Set([...page.matchAll(/`(autodj [^`]+)`/g)].map(([, line]) => line as string))]
  beforeAll(() => world.begin('night'))

  // A worker is for ever; here it does what was queued.
  test.each(lines.map(line => (line === 'autodj worker' ? `${line} --until-empty` : line)))(
    '%s',
    async line => {
      const { exitCode, said } = await world.run(line)
      expect(exitCode === 0 ? '' : said).toBe('')
    },
  )
})

test('nearly every block is run', () => {
  console.log(
    `${runnable.length} command blocks of pages are run, ${blocks.length - runnable.length} are not`,
  )
  expect(runnable.length).toBeGreaterThan(100)
  expect(blocks.length - runnable.length).toBeLessThanOrEqual(8)
})
