/**
 * Walks the list of a release (docs/releasing.md) and makes its tag:
 *
 *   npm run release -- 0.2.0           checks, sets the version, dates the changelog, commits, tags; pushes nothing
 *   npm run release -- --check v0.2.0  what the release workflow asks: do tag, package.json and changelog agree?
 *   npm run release -- --notes         the changelog's section of this version
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { stalePages } from './docs.ts'

const root = path.join(import.meta.dirname, '..')
const changelogFile = path.join(root, 'CHANGELOG.md')
const run = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim()
const versionOfPackage = (): string =>
  JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')).version as string

/** The section of a version, without its heading; undefined: there is none, or it is empty. */
function sectionOf(changelog: string, version: string): string | undefined {
  const lines = changelog.split('\n')
  const start = lines.findIndex(line => line.startsWith(`## [${version}]`))
  if (start === -1) return undefined
  const length = lines.slice(start + 1).findIndex(line => line.startsWith('## '))
  const text = lines.slice(start + 1, length === -1 ? undefined : start + 1 + length).join('\n')
  return text.trim() === '' ? undefined : text.trim()
}

/** The changelog with what was unreleased under the heading of this version, and an empty section above it. */
function dated(changelog: string, version: string, day: string): string {
  return changelog.replace(/^## \[Unreleased\]\n/m, `## [Unreleased]\n\n## [${version}] - ${day}\n`)
}

/** Everything that keeps a release from being made, each with what to do. */
function obstacles(version: string): string[] {
  const found: string[] = []
  if (!/^\d+\.\d+\.\d+(-[a-z0-9.]+)?$/.test(version))
    found.push(`"${version}" is not a version (example: 0.2.0)`)
  if (run('git', 'status', '--porcelain') !== '') found.push('the checkout has changes: commit or stash them')
  if (run('git', 'branch', '--show-current') !== 'main') found.push('this is not the branch main')
  if (run('git', 'tag', '--list', `v${version}`) !== '') found.push(`the tag v${version} is there already`)
  if (sectionOf(readFileSync(changelogFile, 'utf8'), 'Unreleased') === undefined)
    found.push('CHANGELOG.md has nothing under [Unreleased]')
  const stale = stalePages()
  if (stale.length > 0) found.push(`pages are not as the code is (npm run docs): ${stale.join(', ')}`)
  return found
}

/** Whether a tag is what the tree says it is; throws if not. */
function check(tag: string): void {
  const version = versionOfPackage()
  if (tag !== `v${version}`) throw new Error(`the tag is ${tag}, and package.json says ${version}`)
  if (sectionOf(readFileSync(changelogFile, 'utf8'), version) === undefined)
    throw new Error(`CHANGELOG.md has no section of ${version}`)
}

function release(version: string): void {
  const found = obstacles(version)
  if (found.length > 0) throw new Error(`not released:\n  ${found.join('\n  ')}`)
  const steps: [what: string, argv: [string, ...string[]]][] = [
    ['lint, types, unit tests', ['npm', 'run', '--silent', 'check']],
    ['everything else: .ci/run', ['bash', '.ci/run']],
  ]
  for (const [what, [program, ...args]] of steps) {
    console.log(`— ${what}`)
    execFileSync(program, args, { cwd: root, stdio: 'inherit' })
  }
  writeFileSync(
    changelogFile,
    dated(readFileSync(changelogFile, 'utf8'), version, new Date().toISOString().slice(0, 10)),
  )
  run('npm', 'version', version, '--no-git-tag-version', '--allow-same-version')
  run('git', 'commit', '--all', '--message', `autodj ${version}`)
  run('git', 'tag', '--annotate', `v${version}`, '--message', `autodj ${version}`)
  const folder = mkdtempSync(path.join(tmpdir(), 'autodj-release-'))
  run('npm', 'pack', '--silent', '--pack-destination', folder)
  const tarball = path.join(folder, readdirSync(folder)[0] as string)
  const sha256 = createHash('sha256').update(readFileSync(tarball)).digest('hex')
  rmSync(folder, { recursive: true })
  console.log(`Tagged v${version}; nothing is pushed.
  git push --atomic origin main v${version}    the release workflow publishes
  packaging/homebrew/autodj.rb: sha256 ${sha256} (of the tarball as packed here; compare it with the published one)`)
}

if (import.meta.main) {
  const [first = '', second = ''] = process.argv.slice(2)
  try {
    if (first === '--check') check(second)
    else if (first === '--notes') {
      const changelog = readFileSync(changelogFile, 'utf8')
      console.log(sectionOf(changelog, versionOfPackage()) ?? sectionOf(changelog, 'Unreleased') ?? '')
    } else release(first)
  } catch (error) {
    console.error((error as Error).message)
    process.exitCode = 1
  }
}
