/** `autodj status` from the command line, on PGlite: a library in the middle of its migration. */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { finishRun, recordItems, startRun, upsertObjects } from '../../src/db/ledger.ts'
import { migrateUp } from '../../src/db/migrate.ts'
import { type CliOptions, cli } from '../support/cli.ts'
import { pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { putInventory } from '../support/inventory.ts'
import { end, listening, portOf } from '../support/listening.ts'
import { testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let place: TestDatabase
let folder: string
const statusWith = (argv: string[], { env = {}, ...options }: CliOptions = {}) =>
  cli(['status', ...argv], {
    cwd: folder,
    env: { DATABASE_URL: place.url, S3_BUCKET_NAME: 'music', CLOUDFRONT_DOMAIN: 'cdn.example.com', ...env },
    ...options,
  })
const status = (...argv: string[]) => statusWith(argv)

beforeAll(async () => {
  folder = temporaryFolder('status')
  place = await pgliteTestDatabase()
})
afterAll(() => place.drop())

test('without a schema it says what to do', async () => {
  const { exitCode, stderr } = await status()
  expect(exitCode).toBe(1)
  expect(stderr).toMatch(/has no tracks table\n\S+ {3}Run `autodj migrate` first/)
})

test('an empty library', async () => {
  await place.use(migrateUp)
  const { exitCode, stdout, stderr } = await status('--queues')
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  expect(stdout).toMatch(/^No tracks yet\.\nQueues: no worker is running\n {2}fetch +0 queued, 0 in progress/)
  expect(stdout).toMatch(/next: `autodj import`/)
})

test('rows by source, runs, failures with cause and next step, runs at work; text and JSON agree', async () => {
  const database = await place.open()
  const { knex } = database
  const row = (source: string, more: Record<string, unknown> = {}) => {
    const id = randomUUID()
    return { id, spotify_id: id, title: 't', artist: 'a', file_source: source, file_size: 1_000_000, ...more }
  }
  const gone = row('LOCAL', { file_path: 'gone.mp3' })
  await knex('tracks').insert([
    row('S3', { s3_object_key: 'audio/1.mp3', file_path: '1.mp3' }),
    row('S3', { s3_object_key: 'audio/2.mp3', analyzed_at: new Date() }),
    row('LOCAL', { file_path: '3.mp3' }),
    gone,
    row('UNAVAILABLE', { file_size: null }),
  ])
  const run = { args: {}, host: 'studio pid:[1]', pid: 7, version: '0' }
  const [done, alive, killed] = [randomUUID(), randomUUID(), randomUUID()]
  await startRun(knex, { ...run, id: done, command: 'upload-local' })
  await finishRun(knex, done, { state: 'failed', exitCode: 3, summary: {} })
  const ended = [
    ['reconcile', 4],
    ['cleanup', 7],
    ['fetch', 10],
    ['import', 1],
  ] as const
  for (const [command, exitCode] of ended) {
    const id = randomUUID()
    await startRun(knex, { ...run, id, command })
    await finishRun(knex, id, { state: 'failed', exitCode, summary: {} })
  }
  await startRun(knex, { ...run, id: killed, command: 'verify' })
  await knex('autodj_ledger.runs')
    .where({ id: killed })
    .update({ lease_until: knex.raw(`now() - interval '1 minute'`) })
  await knex('autodj_ledger.runs').insert({
    ...run,
    id: alive,
    command: 'analyze',
    lease_until: knex.raw(`now() + interval '1 hour'`),
  })
  await knex('autodj_ledger.claims').insert({ kind: 'analyze', track_id: gone.id, run_id: alive })
  await knex('autodj_ledger.leases').insert({
    name: 'cleanup',
    run_id: alive,
    host: run.host,
    pid: 7,
    expires_at: knex.raw(`now() + interval '1 hour'`),
  })
  await recordItems(knex, [
    {
      command: 'upload-local',
      subject: gone.id,
      trackId: gone.id,
      state: 'failed',
      errorCode: 'file.missing',
      error: 'gone.mp3 is not there',
      cure: 'Restore the file.',
      runId: done,
    },
  ])
  await upsertObjects(knex, [
    { bucket: 'music', key: 'audio/1.mp3', size: 5, uploadedAt: new Date(), servedAt: new Date() },
    { bucket: 'music', key: 'audio/2.mp3', size: 7, uploadedAt: new Date() },
    { bucket: 'another', key: 'audio/3.mp3', size: 9 },
  ])
  await database.close()

  const text = await status()
  expect(text.exitCode).toBe(0)
  expect(text.stdout).toMatch(/^Tracks: 5$/m)
  expect(text.stdout).toMatch(/in S3 +2 +40\.0 % +.* 1 analysed, 1 with a local copy$/m)
  expect(text.stdout).toMatch(
    /2 objects in the ledger, 12 B: 2 uploaded and confirmed, 1 seen through the CDN$/m,
  )
  expect(text.stdout).toMatch(/verify +killed/)
  expect(text.stdout).toMatch(/reconcile +drift found +.*exit code 4$/m)
  expect(text.stdout).toMatch(/cleanup +stopped by a safety limit .*exit code 7$/m)
  expect(text.stdout).toMatch(/fetch +time budget used up +.*exit code 10$/m)
  expect(text.stdout).toMatch(/import +failed +.*exit code 1$/m)
  expect(text.stdout).toMatch(/upload-local +some failed +.*exit code 3$/m)
  expect(text.stdout).toMatch(
    /upload-local: 1 failed, file\.missing: gone\.mp3 is not there\n {4}Restore the file\.\n {4}then `autodj upload-local --retry-failed`/,
  )
  expect(text.stdout).toMatch(/analyze, pid 7 on studio, for .*: 1 track claimed, lease until/)
  expect(text.stdout).toMatch(/cleanup: analyze, pid 7 on studio/)
  expect(text.stdout).toMatch(
    /2 tracks \(12 B\) uploaded in the last 24 h; at that pace the last one is uploaded on \d{4}-\d\d-\d\d$/m,
  )
  expect(text.stdout).toMatch(/977 KiB in 1 local copy of tracks in S3 could be freed/)
  expect(text.stdout).toMatch(/next: `autodj upload-local` uploads/)
  expect(text.stdout).not.toContain('Queues')

  const { messages } = await status('--json', '--queues')
  expect(messages).toEqual([
    expect.objectContaining({
      message_type: 'summary',
      bucket: 'music',
      tracks: expect.arrayContaining([
        { source: 'S3', tracks: 2, bytes: 2_000_000, with_file: 1, analysed: 1 },
        { source: 'UNAVAILABLE', tracks: 1, bytes: 0, with_file: 0, analysed: 0 },
      ]),
      objects: { objects: 2, bytes: 12, uploaded: 2, verified: 0, served: 1, failing: 0 },
      failures: [
        expect.objectContaining({
          command: 'upload-local',
          code: 'file.missing',
          items: 1,
          retry: 'autodj upload-local --retry-failed',
        }),
      ],
      working: [expect.objectContaining({ command: 'analyze', claims: 1 })],
      queues: ['fetch', 'upload', 'analyze'].map(kind =>
        expect.objectContaining({ kind, queued: 0, given_up: 0 }),
      ),
      jobs: [],
    }),
  ])
})

test('--check is one line, with exit code 4 for a threshold that is passed', async () => {
  const failing = await status('--check')
  expect(failing.exitCode).toBe(4)
  expect(failing.stdout).toMatch(
    /^AUTODJ WARNING: .*verify was killed.*1 item failed or skipped.* \| s3=2 .*\n$/,
  )
  const json = await status('--check', '--json')
  expect(json.messages).toMatchObject([{ message_type: 'summary', ok: false }])
})

test('--watch tells it again and again, until it is stopped', async () => {
  let stop = () => {}
  let clock = 0
  const { exitCode, stdout } = await statusWith(['--watch', '--interval', '1ms'], {
    withSignals: send => {
      stop = () => send('SIGINT')
    },
    // Asked for the time at least once each time round.
    now: () => {
      if (++clock === 20) stop()
      return new Date()
    },
  })
  expect(stdout.match(/^Tracks: 5$/gm)?.length).toBeGreaterThan(1)
  expect(exitCode).toBe(0)
})

/** A bucket with three objects; what the program needs to reach it. */
async function bucketOfThree() {
  const s3 = await testServer()
  const store = s3.open()
  const put = (key: string, size: number, storageClass?: string) =>
    store.put(key, Buffer.alloc(size), {
      headers: { contentType: 'audio/mpeg', ...(storageClass && { storageClass }) },
      checksums: {},
    })
  await put('audio/1.mp3', 1024)
  await put('audio/2.mp3', 2048, 'STANDARD_IA')
  await put('quarantine/x/3.mp3', 7)
  return {
    store,
    env: s3.settings,
    async [Symbol.asyncDispose]() {
      store.close()
      await s3.close()
    },
  }
}

test('what is in the bucket is counted by a listing, kept, and told later with its age', async () => {
  {
    await using bucket = await bucketOfThree()
    const counted = await statusWith(['--storage', 'listing'], { env: bucket.env })
    expect(counted.exitCode, counted.stderr).toBe(0)
  }
  const later = await status()
  expect(later.stdout).toMatch(/^In the bucket, by a listing (just now|\d+s ago):$/m)
  expect(later.stdout).toMatch(/^ {2}STANDARD_IA +1 +2\.0 KiB$/m)
  expect(later.stdout).toMatch(/^ {2}audio\/ +2 +3\.0 KiB$/m)
  expect(later.stdout).toMatch(/^ {2}quarantine\/ +1 +7 B$/m)
})

test.each(['CSV', 'Parquet'] as const)('by an S3 Inventory in %s', async format => {
  await using bucket = await bucketOfThree()
  const { store, env } = bucket
  const manifest = await putInventory(store, format)
  const key = manifest.slice('s3://music/'.length)
  for (const night of ['2026-11-26T01-00Z', '2026-11-27T01-00Z'])
    await store.copy(key, `dated/${night}/manifest.json`)
  // The newest is not finished.
  await store.copy(key, 'dated/2026-11-28T01-00Z/manifest.checksum')
  await store.copy(key, 'dated/hive/dt=2026-11-29-01-00/symlink.txt')
  for (const url of format === 'CSV' ? [manifest, 's3://music/dated/'] : [manifest]) {
    const { exitCode, stdout, stderr } = await statusWith(['--storage', url], { env })
    expect([url, exitCode, stderr]).toEqual([url, 0, ''])
    expect(stdout).toMatch(/^In the bucket, by an S3 Inventory (just now|\d+s ago):$/m)
    // Parquet here has no column of classes.
    if (format === 'CSV') expect(stdout).toMatch(/^ {2}STANDARD_IA +1 +2\.0 KiB$/m)
    const { messages } = await statusWith(['--json'], { env })
    expect(messages.at(-1)).toMatchObject({
      storage: { source: 'inventory', prefixes: [{ name: 'audio/', objects: 2, bytes: 3072 }] },
    })
  }
  // The other commands tell of the same counts; one that comes to nothing takes nothing away.
  expect((await statusWith(['--storage', 's3://music/none/'], { env })).exitCode).not.toBe(0)
  const settings = { cwd: folder, env: { ...env, DATABASE_URL: place.url } }
  const { stdout } = await cli(['cost'], settings)
  expect(stdout).toMatch(/^Storage: 3\.0 KiB, counted by an S3 Inventory on \d{4}-/m)
  await cli(['report', '--output', 'report.html'], settings)
  expect(readFileSync(path.join(folder, 'report.html'), 'utf8')).toMatch(
    /Counted by an S3 Inventory (just now|\d+s ago)/,
  )
})

test('a source of counts that cannot be is refused, and the counts from before stay', async () => {
  await using bucket = await bucketOfThree()
  await statusWith(['--storage', 'listing'], { env: bucket.env })
  for (const [source, message] of [
    ['s3://music/none/', /there is no inventory in s3:\/\/music\/none\//],
    ['s3://music/none/manifest.json', /there is no inventory at s3:\/\/music\/none\/manifest\.json/],
    ['yesterday', /--storage: "yesterday" is not listing, cloudwatch, or the URL of an S3 Inventory/],
    ['cloudwatch', /CloudWatch has no figures for buckets at http:/],
  ] as const) {
    const { exitCode, stderr } = await statusWith(['--storage', source], { env: bucket.env })
    expect([source, exitCode]).toEqual([source, 2])
    expect(stderr).toMatch(message)
  }
  expect((await status()).stdout).toMatch(/^In the bucket, by a listing/m)
})

/** As Amazon's server answers GetMetricData; the SDK takes JSON. */
async function cloudWatch(results: object[]) {
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      response.setHeader('content-type', 'application/x-amz-json-1.0')
      response.end(JSON.stringify({ MetricDataResults: results, Messages: [] }))
    })
  })
  await listening(server)
  const port = portOf(server)
  return {
    env: {
      AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'AKIATESTTESTTEST',
      AWS_SECRET_ACCESS_KEY: 'hush-hush-hush-hush',
    },
    async [Symbol.asyncDispose]() {
      end(server)
    },
  }
}

test('by CloudWatch: the newest day of each class, and how old that is', async () => {
  const midnight = Math.floor(Date.now() / 86_400_000) * 86_400
  // Newest first, as they were asked for; of the other classes there is nothing.
  await using aws = await cloudWatch([
    {
      Id: 'c0',
      Timestamps: [midnight - 86_400, midnight - 172_800],
      Values: [10_035.2, 7_000],
      StatusCode: 'Complete',
    },
    { Id: 'c1', Timestamps: [midnight - 86_400], Values: [5 * 1024 ** 3], StatusCode: 'Complete' },
    { Id: 'c2', Timestamps: [], Values: [], StatusCode: 'Complete' },
  ])
  const { exitCode, stdout, stderr } = await statusWith(['--storage', 'cloudwatch'], { env: aws.env })
  expect([exitCode, stderr]).toEqual([0, ''])
  expect(stdout).toMatch(/^In the bucket, by CloudWatch 1d( \d+h)? ago:$/m)
  expect(stdout).toMatch(/^ {2}STANDARD +9\.8 KiB$/m)
  expect(stdout).toMatch(/^ {2}STANDARD_IA +5\.0 GiB$/m)

  await using empty = await cloudWatch([{ Id: 'c0', Timestamps: [], Values: [], StatusCode: 'Complete' }])
  const none = await statusWith(['--storage', 'cloudwatch'], { env: empty.env })
  expect(none.exitCode).toBe(0)
  expect(none.stderr).toMatch(/CloudWatch has no figures for this bucket/)
  // What was known before stays.
  expect(none.stdout).toMatch(/^ {2}STANDARD_IA +5\.0 GiB$/m)
})
