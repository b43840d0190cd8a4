/**
 * `npm run bench:download`: `autodj restore` against the downloaders people use, the same objects from the same
 * server, in turn.
 *
 *     npm run bench:download -- [--rounds 5] [--only typical,small,large,far] [--schemes http,https]
 *
 * The server is versitygw on files that autodj itself uploaded. What autodj does beyond its peers is measured with it:
 * SHA-256 of every file compared, a sync before it gets its name, rows and ledger. So each peer is measured twice: as it
 * is, and `checked`, with what somebody does afterwards who wants the same: every file on the disk, and its SHA-256
 * compared, by as many `sync` and `sha256sum` as there are cores. `curl --parallel` is the floor: it signs with SigV4, and
 * compares nothing. `far` puts 40 ms between client and server, as a store in another region is.
 */
import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Database } from '../src/db/database.ts'
import { migrateUp } from '../src/db/migrate.ts'
import { insertTracks } from '../src/db/tracks.ts'
import { selfSigned } from '../test/support/certificate.ts'
import { pgliteTestDatabase, postgresTestDatabase } from '../test/support/database.ts'
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
  middle,
  namesOf,
  printComparison,
  readBenchOptions,
  type Scenario,
  work,
} from './peers.ts'

const { rounds, wanted, schemes } = readBenchOptions(['typical', 'small', 'large', 'far'])
const root = fileURLToPath(new URL('..', import.meta.url))
const bin = path.join(root, 'bin', 'autodj.js')
const certificate = path.join(work, 'cert.pem')
{
  const { key, cert } = selfSigned(['localhost'])
  writeFileSync(certificate, cert)
  writeFileSync(path.join(work, 'key.pem'), key)
}
const out = path.join(work, 'out')

interface StoredObject {
  readonly key: string
  /** hex */
  readonly sha256: string
}

interface Client {
  readonly name: string
  readonly argv: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

// --- server and database ------------------------------------------------------------------------------------------

async function startServer(scheme: string): Promise<{ url: string; stop(): Promise<void> }> {
  const folder = execFileSync('sh', [path.join(root, 'scripts', 'tools.sh')], { encoding: 'utf8' }).trim()
  const data = path.join(work, 'data')
  mkdirSync(path.join(data, 'bench'), { recursive: true })
  const port = await freePort()
  const tls = scheme === 'https' ? ['--cert', certificate, '--key', path.join(work, 'key.pem')] : []
  const server = spawn(
    path.join(folder, 'versitygw'),
    [
      ...['--access', credentials.AWS_ACCESS_KEY_ID, '--secret', credentials.AWS_SECRET_ACCESS_KEY],
      ...['--port', `127.0.0.1:${port}`, '--keep-alive', '--quiet', ...tls, 'posix', data],
    ],
    { stdio: 'ignore' },
  )
  process.on('exit', () => server.kill())
  for (let tries = 0; !(await answers(port)); tries++) {
    if (tries > 100) throw new Error('versitygw did not start')
    await sleep(100)
  }
  return {
    url: `${scheme}://localhost:${port}`,
    async stop() {
      server.kill()
      await once(server, 'exit')
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  return port
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const connected = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  return connected
}

const server = process.env['TEST_POSTGRES_URL']
if (!server) console.log('TEST_POSTGRES_URL is not set: autodj runs on the embedded database')
const place = server ? await postgresTestDatabase(server) : await pgliteTestDatabase()
await sql(migrateUp)

async function sql<T>(work: (database: Database) => Promise<T>): Promise<T> {
  const database = await place.open()
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}

function settings(url: string, audioRoot: string): Record<string, string> {
  return {
    ...credentials,
    DATABASE_URL: place.url,
    S3_BUCKET_NAME: 'bench',
    S3_ENDPOINT: url,
    AUDIO_STORAGE_PATH: audioRoot,
    NODE_EXTRA_CA_CERTS: certificate,
  }
}

/** Into the bucket, by autodj itself; the rows as they are then are kept. */
async function upload(scenario: Scenario, url: string): Promise<StoredObject[]> {
  await sql(async ({ knex }) => {
    await knex.raw('truncate public.tracks cascade')
    await knex.raw('truncate autodj_ledger.objects cascade')
    const names = namesOf(scenario)
    for (let start = 0; start < names.length; start += 10_000) {
      const page = names.slice(start, start + 10_000).map(name => ({
        id: randomUUID(),
        spotifyId: `bench:${name}`,
        title: name,
        artist: 'Bench',
        album: null,
        duration: null,
        filePath: name,
        fileSource: 'LOCAL' as const,
        fileSize: scenario.size,
      }))
      await insertTracks(knex, page)
    }
  })
  measureProgram(
    [process.execPath, bin, 'upload-local', '-q'],
    settings(url, path.join(scenario.dir, 'audio')),
  )
  return sql(async ({ knex }) => {
    await knex.raw('drop table if exists public.bench_rows')
    await knex.raw('create table public.bench_rows as table public.tracks')
    return knex('autodj_ledger.objects').orderBy('key').select('key', 'sha256')
  })
}

// --- clients --------------------------------------------------------------------------------------------------------

function clients(url: string, objects: readonly StoredObject[]): Client[] {
  const { curl, s5cmd, rclone } = findPeerPrograms()
  const peers: Client[] = []
  const byKey = writeSums('keys', objects, key => key)
  const byName = writeSums('names', objects, key => path.basename(key))
  if (s5cmd) {
    const flags = ['--endpoint-url', url, '--no-verify-ssl', '--log', 'error']
    peers.push({ name: 's5cmd', argv: [s5cmd, ...flags, 'cp', 's3://bench/*', `${out}/`], env: credentials })
  }
  if (rclone) {
    const flags = ['--s3-provider', 'Other', '--s3-endpoint', url, '--s3-env-auth', '--ca-cert', certificate]
    const at = ['--transfers', '16', '--checkers', '16', '--config', '/dev/null', '-q']
    peers.push({
      name: 'rclone',
      argv: [rclone, 'copy', ':s3:bench', out, ...flags, ...at],
      env: credentials,
    })
  }
  if (curl) {
    const config = path.join(work, 'curl.conf')
    const lines = objects.map(
      ({ key }) => `url = "${url}/bench/${key}"\noutput = "${out}/${path.basename(key)}"`,
    )
    writeFileSync(config, `${lines.join('\n')}\n`)
    const user = `${credentials.AWS_ACCESS_KEY_ID}:${credentials.AWS_SECRET_ACCESS_KEY}`
    const sign = ['--aws-sigv4', 'aws:amz:us-east-1:s3', '--user', user, '--cacert', certificate]
    sign.push('-H', 'x-amz-content-sha256: UNSIGNED-PAYLOAD')
    peers.push({
      name: 'curl --parallel',
      argv: ['curl', '-sS', '--fail', '--parallel', '--parallel-max', '16', ...sign, '-K', config],
    })
  }
  return [
    { name: 'autodj', argv: [process.execPath, bin, 'restore', '-q'], env: settings(url, out) },
    ...peers.flatMap(peer => [peer, checked(peer, peer.name.startsWith('curl') ? byName : byKey)]),
  ]
}

/** A peer, and then what makes its files as good as ours. */
function checked({ name, argv, env }: Client, sums: readonly string[]): Client {
  const script = `"$@" && cd ${out} && find . -type f -print0 | xargs -0 -n 200 -P ${sums.length} sync -d &&
    printf '%s\\n' ${sums.join(' ')} | xargs -n 1 -P ${sums.length} sha256sum --quiet --check`
  return { name: `${name}, checked`, argv: ['sh', '-c', script, 'sh', ...argv], ...(env && { env }) }
}

/** Files of sums, as many as there are cores, for `sha256sum --check`. */
function writeSums(
  name: string,
  objects: readonly StoredObject[],
  pathOf: (key: string) => string,
): string[] {
  return Array.from({ length: availableParallelism() }, (_, index) => {
    const file = path.join(work, `${name}.${index}`)
    const mine = objects.filter((_, at) => at % availableParallelism() === index)
    writeFileSync(file, mine.map(({ key, sha256 }) => `${sha256}  ${pathOf(key)}\n`).join(''))
    return file
  })
}

/**
 * Empties the folder that is downloaded into. What was there is emptied and put aside, not removed: ext4 looks at each
 * inode that was freed in the last minute before it takes another, which costs whoever comes next more than 3,000 small
 * downloads do. And what the one before left to the system to write is written first.
 */
function clearOut(): void {
  for (const one of existsSync(out) ? readdirSync(out, { recursive: true, withFileTypes: true }) : [])
    if (one.isFile()) truncateSync(path.join(one.parentPath, one.name))
  if (existsSync(out)) renameSync(out, `${out}-${randomUUID()}`)
  mkdirSync(out)
  execFileSync('sync')
}

async function measure({ name, argv, env = {} }: Client, { files, size }: Scenario): Promise<Measured> {
  clearOut()
  if (name === 'autodj') {
    await sql(async ({ knex }) => {
      await knex.raw('truncate public.tracks cascade')
      await knex.raw('insert into public.tracks select * from public.bench_rows')
    })
  }
  const measured = measureProgram(argv, env)
  const came = readdirSync(out, { recursive: true, withFileTypes: true }).filter(one => one.isFile())
  if (came.length !== files) throw new Error(`${came.length} of ${files} files came`)
  const sample = came[Math.floor(Math.random() * came.length)]!
  if (readFileSync(path.join(sample.parentPath, sample.name)).length !== size)
    throw new Error(`${sample.name} has another size`)
  return measured
}

// --- the run ------------------------------------------------------------------------------------------------------

const judgements = new Judgements('download')

/** @param far with a distance between client and server, and the peers as they are */
async function compare(scenario: Scenario, far = false): Promise<void> {
  for (const scheme of schemes) {
    rmSync(path.join(work, 'data'), { recursive: true, force: true })
    const { url, stop } = await startServer(scheme)
    const objects = await upload(scenario, url)
    const runs = new Map<string, Measured[]>()
    const left = clients(far ? await fromAfar(url) : url, objects).filter(
      ({ name }) => !far || !name.endsWith('checked'),
    )
    for (let round = 0; round < rounds; round++) {
      for (const client of [...left]) {
        try {
          const measured = await measure(client, scenario)
          runs.set(client.name, [...(runs.get(client.name) ?? []), measured])
        } catch (error) {
          if (client.name === 'autodj') throw error
          console.log(`${client.name} on ${scenario.name}: ${error}`)
          left.splice(left.indexOf(client), 1)
          runs.delete(client.name)
        }
      }
    }
    await stop()
    const bytes = scenario.files * scenario.size
    printComparison(
      `${scenario.name} over ${scheme}${far ? `, ${distance} ms away` : ''}: ${scenario.files} x ${scenario.size} bytes, medians of ${rounds}`,
      bytes,
      runs,
    )
    const mine = middle(runs.get('autodj')!)
    for (const [name, measured] of runs) {
      if (name === 'autodj' || name === 'curl --parallel') continue
      const ratio = middle(measured).wall / mine.wall
      judgements.add(`${scenario.name} ${scheme}: ${name} wall / autodj wall`, ratio, '>= 1', ratio >= 1)
    }
    const { peak } = mine
    judgements.add(`${scenario.name} ${scheme}: peak memory of autodj, MiB`, peak, '< 300', peak < 300)
  }
  rmSync(scenario.dir, { recursive: true })
}

if (wanted.has('typical')) await compare(makeFiles('typical', 300, 5 * MiB))
if (wanted.has('small')) await compare(makeFiles('small', 3_000, 64 * 1024))
if (wanted.has('large')) await compare(makeFiles('large', 2, 500 * MiB))
if (wanted.has('far')) {
  await compare(makeFiles('far-typical', 300, 5 * MiB), true)
  await compare(makeFiles('far-small', 3_000, 64 * 1024), true)
}
await place.drop()
judgements.print()
process.exit(0)
