/**
 * Containers, manifests, units, workflows, man pages and links, each by the program that knows them. Which are there:
 * `TEST_LINTERS=$(sh scripts/linters.sh)`; man pages and units need mandoc and systemd-analyze on the PATH.
 */
import { spawnSync } from 'node:child_process'
import { cp, readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { manPages } from '../../scripts/man.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const root = path.join(import.meta.dirname, '../..')
const linters = process.env['TEST_LINTERS']
if (linters === undefined)
  console.warn('TEST_LINTERS is not set: containers, manifests and links are not linted')
const tool = (name: string): string => (linters === undefined ? name : path.join(linters, name))

function runs(program: string, ...args: string[]): boolean {
  const isThere = spawnSync(program, args).error === undefined
  if (!isThere && linters !== undefined) console.warn(`${program} is not installed: not tested`)
  return isThere
}

function lint(program: string, ...args: string[]): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: root, encoding: 'utf8' })
  return { status, said: `${stdout}${stderr}`.trim() }
}
const clean = { status: 0, said: '' }

let folder: string
beforeAll(async () => {
  folder = temporaryFolder('packaging')
})

test.skipIf(!runs(tool('hadolint'), '--version'))('Dockerfile: hadolint', () => {
  expect(lint(tool('hadolint'), 'Dockerfile')).toEqual(clean)
})

test.skipIf(!runs(tool('compose-check')))('compose.yaml: as docker compose reads it', () => {
  expect(lint(tool('compose-check'), 'compose.yaml')).toEqual(clean)
})

test.skipIf(!runs(tool('kubernetes-validate'), '--version'))('Kubernetes: against its own schemas', () => {
  const manifests = 'packaging/kubernetes/cronjob.yaml'
  expect(lint(tool('kubernetes-validate'), '--strict', '--quiet', manifests)).toEqual(clean)
})

test.skipIf(!runs(tool('actionlint'), '-version'))('workflows: actionlint', () => {
  expect(lint(tool('actionlint'), '-no-color')).toEqual(clean)
})

test.skipIf(!runs(tool('lychee'), '--version'))(
  'links between pages and to their headings: lychee',
  async () => {
    const pages = (await readdir(path.join(root, 'docs'), { recursive: true }))
      .filter(name => name.endsWith('.md') && !name.includes('node_modules'))
      .map(name => path.join('docs', name))
    const args = ['--offline', '--include-fragments', '--no-progress', '--format', 'json', '--root-dir', root]
    const { said } = lint(tool('lychee'), ...args, 'README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...pages)
    const { error_map } = JSON.parse(said.slice(said.indexOf('{'))) as { error_map: Record<string, unknown> }
    expect(error_map).toEqual({})
  },
)

describe.skipIf(!runs('mandoc', '-V'))('man pages', () => {
  test('mandoc has nothing to say but of style', async () => {
    const files = []
    for (const [name, text] of manPages('2026-01-01')) {
      files.push(path.join(folder, name))
      await writeFile(path.join(folder, name), text)
    }
    expect(lint('mandoc', '-Tlint', '-Wwarning', ...files)).toEqual(clean)
    const { said } = lint('mandoc', '-Tascii', path.join(folder, 'autodj-upload-local.1'))
    expect(said.replaceAll(/.\u0008/g, '')).toMatch(/--dry-run[\s\S]*EXIT STATUS/)
  })
})

test.skipIf(!runs('systemd-analyze', '--version'))('systemd units', async () => {
  const units = path.join(root, 'packaging/systemd')
  const names = await readdir(units)
  await cp(units, folder, { recursive: true })
  for (const name of names) {
    // Neither the program nor its man pages are installed where the tests run.
    const text = await readFile(path.join(folder, name), 'utf8')
    const here = text.replaceAll('/usr/bin/autodj', process.execPath).replaceAll(/^Documentation=.*\n/gm, '')
    await writeFile(path.join(folder, name), here)
  }
  const { status, said } = lint('systemd-analyze', 'verify', ...names.map(name => path.join(folder, name)))
  const ours = said.split('\n').filter(line => line.includes('autodj'))
  expect({ status, ours }).toEqual({ status: 0, ours: [] })
})

test('the commands of units, crontab and manifest are commands with flags of that name', async () => {
  const texts = await Promise.all(
    ['systemd/autodj.service', 'systemd/autodj-worker.service', 'cron/autodj', 'kubernetes/cronjob.yaml'].map(
      name => readFile(path.join(root, 'packaging', name), 'utf8'),
    ),
  )
  const lines = texts.flatMap(text => [
    ...[...text.matchAll(/^ExecStart=\S+ (.+)$/gm)].map(([, words]) => words!.split(' ')),
    ...[...text.matchAll(/^30 2 \* \* \* autodj autodj (.+)$/gm)].map(([, words]) => words!.split(' ')),
    ...[...text.matchAll(/args: (\[.+\])$/gm)].map(([, list]) => JSON.parse(list!) as string[]),
  ])
  expect(lines).toHaveLength(4)
  for (const words of lines) {
    const { status, stderr } = spawnSync(process.execPath, ['src/main.ts', ...words, '--help'], {
      cwd: root,
      encoding: 'utf8',
    })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  }
})
