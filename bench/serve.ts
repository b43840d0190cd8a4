/**
 * How many redirects a second `autodj serve` answers on one core, and how late the latest are:
 *
 *     TEST_POSTGRES_URL=… npm run bench:serve
 *
 * The server is a process of its own, bound to one core where the system can do that (taskset); load generator and
 * PostgreSQL share the rest of the machine. Every request asks for another of 10,000 tracks. Closed loop of 64
 * connections, medians of three rounds of 8 s after one that warms up. CPU a redirect is what a busy machine does not
 * falsify: 200 µs of it are 5,000 a second on one core.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import autocannon from 'autocannon'
import { migrateUp } from '../src/db/migrate.ts'
import { postgresTestDatabase } from '../test/support/database.ts'

const serverUrl = process.env['TEST_POSTGRES_URL']
if (!serverUrl) throw new Error('set TEST_POSTGRES_URL: the figures are for PostgreSQL')
const tracks = 10_000
const connections = 64
const seconds = 8
const rounds = 3

interface Round {
  rate: number
  p99: number
  failed: number
  /** what the server's process used, microseconds a redirect: the rate that a core of its own allows */
  cpu: number
  /** cores that the server and all of its threads may run on */
  cores: number
}

const folder = mkdtempSync(path.join(tmpdir(), 'autodj-bench-serve-'))
const testDatabase = await postgresTestDatabase(serverUrl)
try {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  writeFileSync(path.join(folder, 'key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const ids = await fill()
  const plain = await measure('redirect', ids, {})
  const signed = await measure('redirect, signed URLs (ECDSA, 10,000 keys in turn)', ids, {
    CLOUDFRONT_KEY_PAIR_ID: 'K2JCJMDEHXQW5F',
    CLOUDFRONT_PRIVATE_KEY_PATH: path.join(folder, 'key.pem'),
  })
  const result = (what: string, value: number, bar: string, holds: boolean) => ({ what, value, bar, holds })
  const results = [
    result('redirects/s on one core', plain.rate, '>= 5000', plain.rate >= 5_000),
    result('redirect p99, ms', plain.p99, '< 20', plain.p99 < 20),
    result('server CPU a redirect, µs', plain.cpu, '<= 200', plain.cpu <= 200),
    result('signed redirects/s on one core', signed.rate, '>= 5000', signed.rate >= 5_000),
    result('signed redirect p99, ms', signed.p99, '< 20', signed.p99 < 20),
    result('server CPU a signed redirect, µs', signed.cpu, '<= 200', signed.cpu <= 200),
    result('cores the server may use', plain.cores, '= 1', plain.cores === 1 && signed.cores === 1),
    result('failed requests', plain.failed + signed.failed, '= 0', plain.failed + signed.failed === 0),
  ]
  console.log(JSON.stringify({ bench: 'serve', results }))
} finally {
  await testDatabase.drop()
  rmSync(folder, { recursive: true })
}

async function fill(): Promise<string[]> {
  const database = await testDatabase.open()
  await migrateUp(database)
  const ids = Array.from({ length: tracks }, () => randomUUID())
  await database.knex.batchInsert(
    'tracks',
    ids.map((id, index) => ({
      id,
      spotify_id: id,
      title: `Title ${index}`,
      artist: `Artist ${index % 500}`,
      file_source: 'S3',
      s3_object_key: `audio/Artist_${index % 500}/Title_${index}_0a1b2c3d.mp3`,
    })),
    1_000,
  )
  await database.knex.raw('analyze tracks')
  await database.close()
  return ids
}

async function measure(what: string, ids: readonly string[], env: Record<string, string>): Promise<Round> {
  const { server, origin } = await start(env)
  try {
    await round(origin, ids, server, 3)
    const all: Round[] = []
    for (let index = 0; index < rounds; index++) {
      const one = await round(origin, ids, server, seconds)
      all.push(one)
      console.log(
        `${what}: ${one.rate}/s, p99 ${one.p99} ms, ${one.cpu} µs of CPU each, ${one.failed} failed`,
      )
    }
    return {
      rate: median(all.map(one => one.rate)),
      p99: median(all.map(one => one.p99)),
      cpu: median(all.map(one => one.cpu)),
      failed: all.reduce((sum, one) => sum + one.failed, 0),
      cores: Math.max(...all.map(one => one.cores)),
    }
  } finally {
    server.kill('SIGTERM')
  }
}

async function round(
  origin: string,
  ids: readonly string[],
  server: ChildProcess,
  duration: number,
): Promise<Round> {
  const before = cpuSeconds(server.pid)
  const result = await autocannon({
    url: origin,
    connections,
    duration,
    // Its timers follow the wall clock: where that is set meanwhile, the default of 10 s strikes falsely.
    timeout: 600,
    requests: ids.map(id => ({ path: `/api/v1/tracks/${id}/audio` })),
  })
  const used = cpuSeconds(server.pid) - before
  return {
    rate: Math.round(result.requests.average),
    p99: result.latency.p99,
    failed: result.errors + result['4xx'] + result['5xx'],
    cpu: Math.round((used / result.requests.total) * 1e6),
    cores: coresOf(server.pid),
  }
}

async function start(env: Record<string, string>): Promise<{ server: ChildProcess; origin: string }> {
  const node = [process.execPath, 'src/main.ts', 'serve', '--port', '0', '--json']
  const pinned = hasTaskset() ? ['taskset', '-c', '0', ...node] : node
  const server = spawn(pinned[0] as string, pinned.slice(1), {
    cwd: new URL('..', import.meta.url),
    env: {
      PATH: process.env['PATH'],
      NODE_ENV: 'production',
      DATABASE_URL: testDatabase.url,
      AUDIO_STORAGE_PATH: folder,
      CLOUDFRONT_DOMAIN: 'd111111abcdef8.cloudfront.net',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  for await (const line of createInterface({ input: server.stdout })) {
    const { address } = JSON.parse(line) as { address?: string }
    if (address) return { server, origin: address }
  }
  throw new Error('the server did not start')
}

/** User and system time of a process so far, from /proc; NaN where there is none. */
function cpuSeconds(pid: number | undefined): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / 100
  } catch {
    return Number.NaN
  }
}

/** Cores that a process may run on, as the kernel has it; NaN where it does not say. */
function coresOf(pid: number | undefined): number {
  try {
    const [, list = ''] =
      /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return list
      .split(',')
      .map(range => range.split('-').map(Number))
      .reduce((sum, [first = Number.NaN, last = first]) => sum + last - first + 1, 0)
  } catch {
    return Number.NaN
  }
}

function hasTaskset(): boolean {
  try {
    execFileSync('taskset', ['-V'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number
}
