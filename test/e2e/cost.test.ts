/** `autodj cost`: access logs in a bucket, CloudWatch's answers as AWS documents them, prices of one's own. */
import { writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { upsertObjects } from '../../src/db/ledger.ts'
import { cloudWatchTraffic } from '../../src/status/cost/cloudwatch.ts'
import { cli } from '../support/cli.ts'
import { migrated, pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { listening, urlOf } from '../support/listening.ts'
import { type TestServer, testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let folder: string
let place: TestDatabase
let s3: TestServer
let env: Record<string, string>

beforeAll(async () => {
  folder = temporaryFolder('cost')
  s3 = await testServer({ buckets: ['music', 'logs'] })
  place = await migrated(await pgliteTestDatabase())
  const database = await place.open()
  await upsertObjects(database.knex, [{ bucket: 'music', key: 'audio/1.mp3', size: 100 * 1024 ** 3 }])
  await database.close()
  env = {
    DATABASE_URL: place.url,
    ...s3.settings,
  }
  const store = s3.open('logs')
  const today = new Date().toISOString().slice(0, 10)
  const log = (count: number, result: string, status: number) =>
    `#Version: 1.0\n#Fields: date time sc-bytes sc-status x-edge-result-type\n${`${today}\t23:59:59\t1048576\t${status}\t${result}\n`.repeat(count)}`
  const put = (key: string, body: Uint8Array) =>
    store.put(key, body, { headers: { contentType: 'application/gzip' }, checksums: {} })
  await put('cdn/E1.2026-01-31-01.a.gz', gzipSync(log(30, 'Hit', 206)))
  await put('cdn/E1.2026-01-31-02.b.gz', gzipSync(log(9, 'Miss', 200)))
  await put('cdn/E1.2026-01-31-03.c', Buffer.from(log(1, 'Error', 403)))
  await put('cdn/damaged.gz', Buffer.from('this is not gzip'))
  await put('elsewhere/x.gz', gzipSync(log(500, 'Hit', 200)))
  store.close()
})
afterAll(async () => {
  await place?.drop()
  await s3?.close()
})

test('logs are counted, damaged ones told, and both ways priced', async () => {
  await writeFile(
    path.join(folder, 'eu.json'),
    JSON.stringify({ region: 'eu-central-1', storagePerGBMonth: { STANDARD: 0.0245 } }),
  )
  const { exitCode, stdout, stderr } = await cli(
    ['cost', '--logs', 's3://logs/cdn/', '--prices', 'eu.json'],
    { env, cwd: folder },
  )
  expect(exitCode, stderr).toBe(0)
  expect(stdout).toMatch(/^Storage: 100(\.0)? GiB, as recorded in the ledger/m)
  expect(stdout).toMatch(/as it is now +\$2\.45 a month/)
  expect(stdout).toMatch(/^Delivered in 30 days: 40 requests, 40\.0 MiB$/m)
  expect(stdout).toMatch(/75\.0 % answered from the edge cache, 1 4xx \(2\.5 %\), 0 5xx/)
  expect(stdout).toMatch(/through the CDN .* a month, straight from S3 /)
  expect(stdout).toMatch(/List prices of eu-central-1/)
  expect(stderr).toMatch(/cdn\/damaged\.gz: /)
})

test.each([
  ['{"putPer1000": "free"}', /putPer1000 is wrong/],
  ['{"nonsense": 1}', /"nonsense" is not a price/],
  ['not json', /is not JSON/],
])('prices that are none: %s', async (text, message) => {
  await writeFile(path.join(folder, 'wrong.json'), text)
  const { exitCode, stderr } = await cli(['cost', '--prices', 'wrong.json'], { env, cwd: folder })
  expect(exitCode).toBe(2)
  expect(stderr).toMatch(message)
})

/** GetMetricData's answer as the query protocol of CloudWatch gives it, by metric. */
async function cloudWatch(
  values: Record<string, number[]>,
): Promise<{ url: string; server: Server; bodies: string[] }> {
  const bodies: string[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', chunk => {
      body += chunk
    })
    request.on('end', () => {
      bodies.push(body)
      const at = [1_769_817_600, 1_769_731_200]
      const MetricDataResults = Object.entries(values).map(([Id, Values]) => ({
        Id,
        Label: Id,
        StatusCode: 'Complete',
        Timestamps: at.slice(0, Values.length),
        Values,
      }))
      // The SDK asks in the JSON or the CBOR protocol; JSON is answered to both askers of this test.
      response.setHeader('content-type', 'application/x-amz-json-1.0')
      response.end(JSON.stringify({ MetricDataResults, Messages: [] }))
    })
  })
  await listening(server)
  return { url: urlOf(server), server, bodies }
}

test('CloudWatch: rates weigh as much as their day had requests; no hit rate is no hit rate', async () => {
  const { url, server } = await cloudWatch({
    requests: [900, 100],
    bytes: [1_000, 1_000],
    clientErrors: [1, 10],
    serverErrors: [0, 0],
    hits: [],
  })
  try {
    const config = loadConfig({ env, cwd: folder })
    const seen = await cloudWatchTraffic(config, 'E1', {
      since: new Date('2026-01-01'),
      now: new Date('2026-01-31'),
      signal: AbortSignal.timeout(30_000),
      endpoint: url,
    })
    expect(seen).toEqual({
      requests: 1_000,
      bytes: 2_000,
      clientErrors: 19,
      serverErrors: 0,
      hits: undefined,
    })
  } finally {
    server.close()
  }
})
