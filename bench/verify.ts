/**
 * `npm run bench:verify`: how fast and in what memory `autodj verify` runs, and how soon `doctor` names what is
 * broken. What is measured is the built program, a process of its own, start-up included; its ledger is on PostgreSQL
 * where TEST_POSTGRES_URL names one (else on the embedded database, which lives in its memory). The servers are
 * another process, on the other core where taskset(1) is there.
 */
import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { migrateUp } from '../src/db/migrate.ts'
import { cli } from '../test/support/cli.ts'
import { pgliteTestDatabase, postgresTestDatabase, type TestDatabase } from '../test/support/database.ts'
import { bucket, credentials, type EdgeReady, keyOf, size } from './verify/edge.ts'

const tracks = 10_000
const manyTracks = 100_000
const repeats = 3

const results: { what: string; value: number; unit: string; bar: string; holds: boolean }[] = []
const report = (what: string, value: number, unit: string, bar: string, holds: boolean) => {
  results.push({ what, value: Math.round(value * 100) / 100, unit, bar, holds })
  console.log(`${holds ? 'ok  ' : 'MISS'} ${what}: ${value.toFixed(2)} ${unit} (${bar})`)
}
const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

const server = process.env['TEST_POSTGRES_URL']
console.log(`ledger on ${server ? 'PostgreSQL' : 'the embedded database (TEST_POSTGRES_URL is not set)'}`)

const pinned = spawnSync('taskset', ['-c', '1', 'true']).status === 0
const edgeProcess = fork(new URL('verify/edge.ts', import.meta.url), [String(tracks)])
if (pinned) spawnSync('taskset', ['-a', '-c', '-p', '1', String(edgeProcess.pid)])
console.log(
  pinned ? 'servers on core 1, autodj on core 0' : 'taskset is not here: the system places the processes',
)
const [ready] = (await once(edgeProcess, 'message')) as [EdgeReady]
const folder = await mkdtemp(path.join(tmpdir(), 'autodj-bench-'))
let few: TestDatabase | undefined
let many: TestDatabase | undefined
try {
  few = await library(tracks)
  many = await library(manyTracks)

  await run(few, ready.cdn) // fills the cache of the CDN: what is measured is the prober, not the S3 server
  const rates: number[] = []
  for (let n = 0; n < repeats; n++) rates.push(tracks / (await run(few, ready.cdn)).seconds)
  report(
    `${tracks} probes through the embedded CDN, its cache warm`,
    median(rates),
    '1/s',
    '>= 1000',
    median(rates) >= 1_000,
  )

  const small = await runs(few, ready.edge)
  const large = await runs(many, ready.edge)
  for (const [count, { seconds }] of [
    [tracks, small],
    [manyTracks, large],
  ] as const) {
    const rate = count / seconds
    report(`${count} probes of an edge that has everything`, rate, '1/s', '>= 1000', rate >= 1_000)
  }
  report(`resident memory at ${tracks} tracks, at most`, small.peak, 'MiB', 'for comparison', true)
  report(`resident memory at ${manyTracks} tracks, at most`, large.peak, 'MiB', '<= 256', large.peak <= 256)
  const growth = large.peak / small.peak
  report('the one by the other', growth, '', '<= 1.1', growth <= 1.1)

  await doctor()
} finally {
  edgeProcess.disconnect()
  await few?.drop()
  await many?.drop()
  await rm(folder, { recursive: true, force: true })
}
console.log(JSON.stringify({ bench: 'verify', results }))
process.exitCode = results.every(({ holds }) => holds) ? 0 : 1

/** A database with so many S3 tracks. */
async function library(count: number): Promise<TestDatabase> {
  const place = server ? await postgresTestDatabase(server) : await pgliteTestDatabase()
  const db = await place.open()
  await migrateUp(db)
  for (let from = 0; from < count; from += 5_000) {
    const numbers = Array.from({ length: Math.min(5_000, count - from) }, (_, n) => from + n)
    await db.knex.raw(
      `insert into tracks (id, spotify_id, title, artist, file_source, file_size, s3_object_key)
       select gen_random_uuid(), 's' || n, 't', 'a', 'S3', ?, k from unnest(?::int[], ?::text[]) u(n, k)`,
      [size, numbers, numbers.map(keyOf)],
    )
  }
  await db.knex.raw('analyze tracks')
  await db.close()
  return place
}

function settings(place: TestDatabase, cdn: string): Record<string, string> {
  return {
    DATABASE_URL: place.url,
    S3_BUCKET_NAME: bucket,
    S3_ENDPOINT: ready.s3,
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    CLOUDFRONT_DOMAIN: cdn,
  }
}

interface RunResult {
  /** of the whole command, from its start to its end */
  seconds: number
  /** MiB: the largest resident set there ever was, as the kernel counts it */
  peak: number
}

async function run(place: TestDatabase, cdn: string): Promise<RunResult> {
  const peakFile = path.join(folder, 'peak')
  const command = [
    ...(pinned ? ['taskset', '-c', '0'] : []),
    process.execPath,
    '--import',
    fileURLToPath(new URL('verify/peak.ts', import.meta.url)),
    fileURLToPath(new URL('../bin/autodj.js', import.meta.url)),
    'verify',
    '--quiet',
  ]
  const startedAt = performance.now()
  const child: ChildProcess = spawn(command[0]!, command.slice(1), {
    env: { PATH: process.env['PATH'], BENCH_PEAK_FILE: peakFile, ...settings(place, cdn) },
    stdio: ['ignore', 'ignore', 'inherit'],
    cwd: folder,
  })
  const [exitCode] = (await once(child, 'exit')) as [number | null]
  const seconds = (performance.now() - startedAt) / 1_000
  if (exitCode !== 0) throw new Error(`verify ended with ${exitCode}`)
  return { seconds, peak: Number(await readFile(peakFile, 'utf8')) }
}

/** The median of the times, the largest of the peaks. */
async function runs(place: TestDatabase, cdn: string): Promise<RunResult> {
  const all: RunResult[] = []
  for (let n = 0; n < repeats; n++) all.push(await run(place, cdn))
  return {
    seconds: median(all.map(({ seconds }) => seconds)),
    peak: Math.max(...all.map(({ peak }) => peak)),
  }
}

/** Ten set-ups, each broken in one place. */
async function doctor(): Promise<void> {
  const good = { ...settings(few!, ready.cdn), AWS_REGION: 'us-east-1', AUDIO_STORAGE_PATH: folder }
  const broken: [change: Record<string, string>, check: string][] = [
    [{ AWS_SECRET_ACCESS_KEY: 'wrong' }, 'bucket'],
    [{ AWS_ACCESS_KEY_ID: 'AKIAUNKNOWN' }, 'bucket'],
    [{ S3_BUCKET_NAME: 'nowhere' }, 'bucket'],
    [{ S3_BUCKET_NAME: '' }, 'region'],
    [{ S3_ENDPOINT: 'http://127.0.0.1:9' }, 'endpoint'],
    [{ S3_ENDPOINT: 'http://no-such-host.invalid' }, 'endpoint'],
    [{ CLOUDFRONT_DOMAIN: 'http://127.0.0.1:9' }, 'cdn-fetch'],
    [{ CLOUDFRONT_KEY_PAIR_ID: 'K1', CLOUDFRONT_PRIVATE_KEY_PATH: './missing.pem' }, 'signing-key'],
    [{ DATABASE_URL: 'postgresql://autodj@127.0.0.1:9/autodj' }, 'database'],
    [{ AUDIO_STORAGE_PATH: process.execPath }, 'audio-folder'],
  ]
  let named = 0
  let slowest = 0
  for (const [change, check] of broken) {
    const startedAt = performance.now()
    const { messages } = await cli(['doctor', '--json'], { env: { ...good, ...change }, cwd: folder })
    slowest = Math.max(slowest, (performance.now() - startedAt) / 1_000)
    const [first, ...more] = messages.filter(({ state }) => state === 'failure')
    if (first?.['subject'] === check && more.length === 0) named++
    else console.log(`doctor: expected ${check}, got ${JSON.stringify([first, ...more])}`)
  }
  report(
    'broken set-ups that doctor names, and nothing else',
    named,
    `of ${broken.length}`,
    'all',
    named === broken.length,
  )
  report('slowest of them', slowest, 's', '< 10', slowest < 10)
}
