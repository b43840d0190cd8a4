/**
 * The program as users get it: packed, installed into an empty folder from the registry, run from there. Skips itself
 * aloud where no registry answers.
 */
import { spawnSync } from 'node:child_process'
import { cp, mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { temporaryFolder } from '../support/temporary-folder.ts'

const root = path.join(import.meta.dirname, '../..')
const noRegistry =
  /npm error code (ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED|E50\d|ERR_SOCKET_TIMEOUT)/

let folder: string
let home: string
let why: string | undefined

interface Result {
  status: number | null
  stdout: string
  stderr: string
}

function run(program: string, args: string[], cwd: string, env: Record<string, string> = {}): Result {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 ** 2,
    env: {
      // The Node.js of this test, and nothing of the checkout's node_modules.
      PATH: `${path.dirname(process.execPath)}${path.delimiter}${process.env['PATH'] ?? ''}`,
      HOME: process.env['HOME'] ?? '',
      TMPDIR: path.join(folder, 'tmp'),
      ...Object.fromEntries(
        Object.entries(process.env).filter(([name]) =>
          /^(npm_config_(registry|cache|cafile)|NODE_EXTRA_CA_CERTS|https?_proxy|no_proxy)$/i.test(name),
        ),
      ),
      NO_COLOR: '1',
      ...env,
    } as NodeJS.ProcessEnv,
  })
  if (error) throw error
  return { status, stdout, stderr }
}

const autodj = (...args: string[]) => run(path.join(home, 'node_modules/.bin/autodj'), args, home)

beforeAll(async () => {
  folder = temporaryFolder('package')
  const checkout = path.join(folder, 'checkout')
  home = path.join(folder, 'home')
  await Promise.all([mkdir(checkout), mkdir(home), mkdir(path.join(folder, 'tmp'))])
  // A copy, because packing builds, and the checkout's own dist may be in use.
  for (const name of await readdir(root)) {
    if (['node_modules', '.git', 'dist'].includes(name)) continue
    await cp(path.join(root, name), path.join(checkout, name), { recursive: true })
  }
  await symlink(path.join(root, 'node_modules'), path.join(checkout, 'node_modules'))
  const packed = run('npm', ['pack', '--silent', '--pack-destination', folder], checkout)
  if (packed.status !== 0) throw new Error(packed.stderr)
  await writeFile(path.join(home, 'package.json'), '{ "private": true }')
  const tarball = path.join(folder, `autodj-${packageJson.version}.tgz`)
  const flags = ['--prefer-offline', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund']
  const installed = run('npm', ['install', ...flags, tarball], home)
  if (installed.status !== 0) {
    why = noRegistry.exec(installed.stderr)?.[1]
    if (why === undefined) throw new Error(installed.stderr)
    console.warn(`no npm registry answers (${why}): the packed program is not tested`)
  }
}, 180_000)

describe('the packed program', () => {
  test('holds what it needs and nothing else', async context => {
    if (why) context.skip(why)
    const there = await readdir(path.join(home, 'node_modules/autodj'))
    expect(there.sort()).toEqual(
      [
        '.env.example',
        'CHANGELOG.md',
        'LICENSE',
        'README.md',
        'assets',
        'bin',
        'dist',
        'package.json',
      ].sort(),
    )
    const files = await readdir(path.join(home, 'node_modules/autodj'), { recursive: true })
    expect(files.filter(name => /\.tsx?$|\.test\.|\.map$/.test(name))).toEqual([])
    const manifest = JSON.parse(await readFile(path.join(home, 'node_modules/autodj/package.json'), 'utf8'))
    // npm warns whoever installs it of a script that it would have run.
    expect(manifest.scripts).toBeUndefined()
    expect(manifest.man).toContain('dist/man/autodj-upload-local.1')
    expect(files).toEqual(expect.arrayContaining(manifest.man))
  })

  test('what an optional package is missing for says so', async context => {
    if (why) context.skip(why)
    const away = path.join(home, 'node_modules/away')
    const name = '@electric-sql/pglite'
    await rename(path.join(home, 'node_modules', name), away)
    const { status, stderr } = autodj('demo')
    await rename(away, path.join(home, 'node_modules', name))
    expect(stderr).toContain(`the package ${name} is not installed, and this needs it`)
    expect(stderr).toContain('without --omit=optional')
    expect(status).toBe(1)
  })

  test('--version and --help', context => {
    if (why) context.skip(why)
    expect(autodj('--version')).toEqual({ status: 0, stdout: `${packageJson.version}\n`, stderr: '' })
    const help = autodj('--help')
    expect(help).toMatchObject({ status: 0, stderr: '' })
    expect(help.stdout).toContain('Usage: autodj')
    expect(help.stdout).toContain('upload-local')
  })

  test('what is mistyped is exit code 2 and a suggestion', context => {
    if (why) context.skip(why)
    const flag = run('npx', ['--no-install', 'autodj', 'upload-local', '--dry-rum'], home)
    expect(flag).toMatchObject({ status: 2, stdout: '' })
    expect(flag.stderr).toContain('Did you mean --dry-run?')
    const command = autodj('upload-locl')
    expect(command).toMatchObject({ status: 2, stdout: '' })
    expect(command.stderr).toContain('Did you mean upload-local?')
    const nothing = autodj()
    expect(nothing).toMatchObject({ status: 2, stdout: '' })
    const unset = autodj('upload-local')
    expect(unset.status).toBe(2)
    expect(unset.stderr).toContain('S3_BUCKET_NAME is not set')
    expect(`${flag.stderr}${command.stderr}${nothing.stderr}${unset.stderr}`).not.toMatch(
      /^\s+at .*:\d+:\d+\)?$/m,
    )
  })

  test('demo: every track in S3, identical to its file, and nothing left behind', async context => {
    if (why) context.skip(why)
    const { status, stdout, stderr } = autodj('demo', '--json')
    expect(stderr).toBe('')
    expect(status).toBe(0)
    const messages = stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>)
    expect(messages.at(-1)).toMatchObject({ message_type: 'summary', tracks: 13, identical: 13 })
    expect(await readdir(home)).toEqual(['node_modules', 'package-lock.json', 'package.json'])
    const left = await readdir(path.join(folder, 'tmp'))
    expect(left.filter(name => name.startsWith('autodj'))).toEqual([])
  })
})
