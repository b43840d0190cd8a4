/**
 * `npm run bench:verify`: how fast and in what memory `autodj verify` runs, and how soon `doctor` names what is
 * broken. The command is measured whole, in a process of its own, with its ledger on PostgreSQL where
 * TEST_POSTGRES_URL names one (else on the embedded database, which shares its core); the servers are another process.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { migrateUp } from '../src/db/migrate.ts'
import { cli } from '../test/support/cli.ts'
import { pgliteTestDatabase, postgresTestDatabase, type TestDatabase } from '../test/support/database.ts'
import { bucket, credentials, type EdgeReady, keyOf, size } from './verify/edge.ts'
import type { RunResult } from './verify/run.ts'

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

const edgeProcess = fork(new URL('verify/edge.ts', import.meta.url), [String(tracks)])
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

  const small = await run(few, ready.edge)
  report(
    `${tracks} probes of an edge that has everything`,
    tracks / small.seconds,
    '1/s',
    '>= 1000',
    tracks / small.seconds >= 1_000,
  )
  const large = await run(many, ready.edge)
  report(
    `${manyTracks} probes of it`,
    manyTracks / large.seconds,
    '1/s',
    '>= 1000',
    manyTracks / large.seconds >= 1_000,
  )
  // What is held on to, after a collection. The resident set is no measure of growth: V8 widens its young generation
  // with time, up to a limit of its own, whatever the program keeps.
  const held = large.peakHeld - small.peakHeld
  report(`memory held, ${manyTracks} tracks more than ${tracks}`, held, 'MiB', '<= 4', held <= 4)
  report(`resident memory at ${manyTracks} tracks`, large.peakRss, 'MiB', '<= 400', large.peakRss <= 400)

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
      `insert into public.tracks (id, spotify_id, title, artist, file_source, file_size, s3_object_key)
       select gen_random_uuid(), 's' || n, 't', 'a', 'S3', ?, k from unnest(?::int[], ?::text[]) u(n, k)`,
      [size, numbers, numbers.map(keyOf)],
    )
  }
  await db.knex.raw('analyze public.tracks')
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

async function run(place: TestDatabase, cdn: string): Promise<RunResult> {
  const child: ChildProcess = fork(new URL('verify/run.ts', import.meta.url), ['--json', '--quiet'], {
    env: { PATH: process.env['PATH'], ...settings(place, cdn) },
    execArgv: ['--expose-gc'],
    cwd: folder,
  })
  const [result] = (await once(child, 'message')) as [RunResult]
  if (result.exitCode !== 0)
    throw new Error(`verify ended with ${result.exitCode}: ${JSON.stringify(result.summary)}`)
  return result
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
