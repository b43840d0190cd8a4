/** What happens before a command runs: which Node.js will do, and what is loaded for `--help`. */
import { execFileSync, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { migrated, pgliteTestDatabase } from '../support/database.ts'
import { bareEnvironment } from '../support/environment.ts'

const root = path.join(import.meta.dirname, '../..')
const shim = path.join(root, 'bin/autodj.js')
const main = path.join(root, 'src/main.ts')
const script = (source: string): string[] => [
  '--import',
  `data:text/javascript,${encodeURIComponent(source)}`,
]

/** Node.js programs on the PATH with their versions. */
function nodesOnPath(): { program: string; version: string }[] {
  return (process.env['PATH'] ?? '').split(path.delimiter).flatMap(folder => {
    const program = path.join(folder, 'node')
    if (!existsSync(program)) return []
    return {
      program,
      version: execFileSync(program, ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim(),
    }
  })
}

const isOld = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major < 22 || (major === 22 && minor < 18)
}

test.each(['10.24.1', '18.20.8', '20.20.2', '22.17.1'])('Node.js %s is refused in one line', version => {
  const pretend = script(
    `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`,
  )
  const { status, stdout, stderr } = spawnSync(process.execPath, [...pretend, shim, 'demo'], {
    encoding: 'utf8',
  })
  expect(stderr).toMatch(/^autodj needs Node\.js 22\.18 or later; this is \S+\. Install .+\n$/)
  expect(stderr).toContain(`this is ${version}.`)
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
})

const old = nodesOnPath().find(({ version }) => isOld(version))

test.skipIf(!old)(`a real old Node.js (${old?.version ?? 'none on the PATH'}) says the same`, () => {
  const { status, stderr } = spawnSync(old?.program ?? '', [shim, '--help'], { encoding: 'utf8' })
  expect(stderr).toMatch(/^autodj needs Node\.js 22\.18 or later; this is \S+\. Install .+\n$/)
  expect(status).toBe(1)
})

test('a TMPDIR that is not there stays so: no cache is put where a disk is to be mounted', () => {
  const missing = path.join(tmpdir(), `autodj-startup-${randomUUID()}`)
  spawnSync(process.execPath, [shim, '--version'], { env: { PATH: process.env['PATH'], TMPDIR: missing } })
  expect(existsSync(missing)).toBe(false)
})

test.runIf(process.platform === 'linux').each([
  [48, 'error: only 48 files may be open, and autodj needs 56'],
  [128, 'error: only 128 files may be open, and the embedded database needs 256'],
])('%i open files: refused before anything begins', (limit, message) => {
  const command = `ulimit -n ${limit}; exec "$0" "$@"`
  const env = { PATH: process.env['PATH'], DATABASE_URL: 'pglite:/nowhere/db' }
  const run = spawnSync('sh', ['-c', command, process.execPath, main, 'migrate'], { encoding: 'utf8', env })
  expect([run.status, run.stderr]).toEqual([5, expect.stringContaining(message)])
})

test('for a short command nothing of the embedded database is compiled that takes much memory', async () => {
  const database = await migrated(await pgliteTestDatabase())
  const { status, stdout } = spawnSync(process.execPath, ['--trace-wasm-compilation-times', main, 'status'], {
    env: { ...bareEnvironment(), DATABASE_URL: database.url },
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  })
  expect(status).toBe(0)
  const compiled = stdout.match(/^Compiled function .*/gm) ?? []
  expect(compiled.filter(line => line.includes('using Liftoff')).length).toBeGreaterThan(1_000)
  // At its largest, bytes: with V8's own budget one function takes 600 MB.
  const peaks = compiled.map(line => Number(/using TurboFan, .* and (\d+) /.exec(line)?.[1] ?? 0))
  expect(Math.max(...peaks)).toBeLessThan(100_000_000)
})

test('package.json asks for the same Node.js as the shim', async () => {
  const { default: packageJson } = await import('../../package.json', { with: { type: 'json' } })
  expect(packageJson.engines.node).toBe('>=22.18')
})

test.each([['--help'], ['upload-local', '--help'], ['--version']])(
  '%j %j loads commander, and no other package',
  (...argv) => {
    const listing = script(`
      import { registerHooks } from 'node:module'
      const loaded = new Set()
      registerHooks({ load: (url, context, next) => (loaded.add(url), next(url, context)) })
      process.on('exit', () => process.stderr.write('\\nLOADED ' + JSON.stringify([...loaded])))
    `)
    const { stderr } = spawnSync(process.execPath, [...listing, main, ...argv], { encoding: 'utf8' })
    const loaded = JSON.parse(stderr.slice(stderr.lastIndexOf('LOADED ') + 7)) as string[]
    const packages = loaded.flatMap(url => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? [])
    expect(loaded.some(url => url.endsWith('/src/program.ts'))).toBe(true)
    expect([...new Set(packages)].sort()).toEqual(['commander'])
    const heavy = loaded.filter(url =>
      /\/src\/(db|storage|cdn|audio|embedded|server|upload|reconcile|records)\/(?!command\.ts|flags\.ts)/.test(
        url,
      ),
    )
    expect(heavy).toEqual([])
  },
)
