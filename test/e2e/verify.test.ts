/** The command from flags to exit code, on an embedded database and a scripted CDN. */
import http from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { decodeKeyPath } from '../../src/core/cdn-url.ts'
import { recentRuns } from '../../src/db/ledger.ts'
import { migrateUp } from '../../src/db/migrate.ts'
import { cli } from '../support/cli.ts'
import { pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { end, listening, urlOf } from '../support/listening.ts'

const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
const keys = ['audio/AC+DC/T.N.T_1.mp3', 'audio/Beyonce\u0301/50% #1?_2.flac', 'audio/🎧/..x_3.ogg']
const served = new Set<string>()
let requests = 0

/** The bucket's own address: nobody is served there without credentials. */
const bucket = http.createServer((_, response) => {
  const body =
    '<Error><Code>AccessDenied</Code><Message>Access Denied</Message><RequestId>1</RequestId></Error>'
  response.writeHead(403, { 'x-amz-request-id': '1', 'content-type': 'application/xml' }).end(body)
})

const server = http.createServer((request, response) => {
  requests++
  const edge = { 'x-amz-cf-pop': 'FRA56-P2', 'x-cache': 'Hit from cloudfront' }
  if (!served.has(decodeKeyPath(request.url!)!)) {
    const body = '<Error><Code>NoSuchKey</Code><Message>x</Message><RequestId>1</RequestId></Error>'
    response.writeHead(404, { ...edge, server: 'AmazonS3' }).end(body)
    return
  }
  response
    .writeHead(206, {
      ...edge,
      'content-range': 'bytes 0-0/1000',
      'content-type': 'audio/mpeg',
      'accept-ranges': 'bytes',
      'cache-control': 'public, max-age=31536000',
      'access-control-allow-origin': 'https://autodj.example',
    })
    .end('x')
})

let place: TestDatabase
let env: Record<string, string>
beforeAll(async () => {
  await listening(server)
  place = await pgliteTestDatabase()
  env = {
    DATABASE_URL: place.url,
    S3_BUCKET_NAME: 'music',
    // Nothing answers there: verify needs the CDN only.
    S3_ENDPOINT: 'http://127.0.0.1:9',
    AWS_ACCESS_KEY_ID: 'a',
    AWS_SECRET_ACCESS_KEY: 'b',
    CLOUDFRONT_DOMAIN: urlOf(server),
  }
  const db = await place.open()
  await migrateUp(db)
  await db.knex('tracks').insert(
    keys.map((key, n) => ({
      id: id(n),
      spotify_id: `s${n}`,
      title: 't',
      artist: 'a',
      file_source: 'S3',
      file_size: 1_000,
      s3_object_key: key,
    })),
  )
  await db.close()
})
afterAll(async () => {
  end(server)
  await place?.drop()
})
beforeEach(() => {
  served.clear()
  for (const key of keys) served.add(key)
  requests = 0
})

const verify = (...flags: string[]) => cli(['verify', ...flags], { env })

test('all served: exit code 0, and the run is in the ledger', async () => {
  const { exitCode, stdout } = await verify('--origin', 'https://autodj.example')
  expect(exitCode).toBe(0)
  expect(stdout).toContain('3 tracks are served through 127.0.0.1')
  expect(stdout).toMatch(/edge cache 100 % hits, first byte p50 \d+ ms, p95 \d+ ms/)
  const db = await place.open()
  const [run] = await recentRuns(db.knex, { limit: 1 })
  await db.close()
  expect(run).toMatchObject({
    command: 'verify',
    state: 'done',
    exitCode: 0,
    summary: { tracks: 3, served: 3 },
  })
})

test('one missing: exit code 4, cause and cure; --retry-failed takes that one', async () => {
  served.delete(keys[1]!)
  const { exitCode, stdout, stderr } = await verify()
  expect(exitCode).toBe(4)
  expect(stderr).toContain(`failed ${keys[1]}: the object is not in the bucket`)
  expect(stdout).toContain('1 of 3 tracks is not served')
  expect(stdout).toContain(`1 × the object is not in the bucket (object-missing), such as ${keys[1]}`)
  expect(stdout).toContain('next: ')

  requests = 0
  served.add(keys[1]!)
  const again = await verify('--retry-failed')
  expect(again.exitCode).toBe(0)
  expect(requests).toBe(1)
  const nothing = await verify('--retry-failed')
  expect(nothing.stdout).toContain('no track failed the last time it was verified')
  expect(nothing.stdout).not.toContain('upload-local')
})

test('what is compared is said, and the next step has the same flags', async () => {
  served.delete(keys[1]!)
  const { stdout } = await verify('--origin', 'https://autodj.example', '--direct')
  expect(stdout).toContain('checked: status, size, type and caching headers of each')
  expect(stdout).toContain('serves the object, bypassing the CDN (direct-unknown)')
  expect(stdout).toContain('checked: pages of https://autodj.example may read 2 of the 3 (CORS)')
  expect(stdout).toContain('`autodj verify --retry-failed --origin https://autodj.example --direct`')
  // What nobody tells is not claimed.
  const resize = async (size: number | null): Promise<void> => {
    const db = await place.open()
    await db.knex('tracks').where({ s3_object_key: keys[0] }).update({ file_size: size })
    await db.knex('autodj_ledger.objects').where({ key: keys[0] }).delete()
    await db.close()
  }
  await resize(null)
  const { stdout: unsized } = await verify()
  await resize(1_000)
  expect(unsized).toContain('checked: status, type and caching headers of each, the size of 1 of the 3;')
})

test('that the bucket serves nobody past the CDN is said only if the bucket said so', async () => {
  await listening(bucket)
  const endpoint = urlOf(bucket)
  const asked = await cli(['verify', '--direct'], { env: { ...env, S3_ENDPOINT: endpoint } })
  end(bucket)
  expect(asked.stdout).toContain('checked: the bucket serves none of them directly')
  const unasked = await verify('--direct', '--json')
  expect(unasked.exitCode).toBe(0)
  const summary = unasked.messages.find(message => message['message_type'] === 'summary')
  expect(summary).toMatchObject({
    served: 3,
    checked: { direct: 0 },
    warnings: [{ cause: 'direct-unknown', count: 3 }],
  })
  expect((await verify('--direct')).stdout).not.toContain('serves none')
})

test('stopped before the first: how many were not reached, and no word of there being none', async () => {
  const { exitCode, stdout } = await cli(['verify'], { env, withSignals: send => send('SIGINT') })
  expect(exitCode).toBe(130)
  expect(stdout).toBe('no track was verified\nnot reached before the run was stopped: 3\n')
})

test('--json: an item for each track, and a summary', async () => {
  served.delete(keys[0]!)
  const { messages, exitCode } = await verify('--json')
  expect(exitCode).toBe(4)
  const items = messages.filter(({ message_type }) => message_type === 'item')
  expect(items.length).toBe(3)
  expect(items.find(({ subject }) => subject === keys[0])).toMatchObject({
    state: 'failed',
    track_id: id(0),
    cause: 'object-missing',
    evidence: expect.arrayContaining(['status 404']),
  })
  expect(items.find(({ subject }) => subject === keys[2])).toMatchObject({
    state: 'served',
    edge: 'FRA56-P2',
    cache_hit: true,
    warnings: [],
  })
  expect(messages.find(({ message_type }) => message_type === 'summary')).toMatchObject({
    tracks: 3,
    served: 2,
    failed: 1,
    hit_ratio: 1,
    failures: [{ cause: 'object-missing', count: 1, examples: [keys[0]] }],
  })
})

test('CORS is checked for the origin given', async () => {
  const { stdout, exitCode } = await verify('--origin', 'https://other.example')
  expect(exitCode).toBe(4)
  expect(stdout).toContain('3 × the CORS header names another origin')
})

describe('selections', () => {
  test('a limit on a sample, and what changed since', async () => {
    for (const [flags, expected] of [
      [['--sample', '2', '--limit', '1'], 1],
      [['--since', '2099-01-01'], 0],
    ] as const) {
      requests = 0
      expect((await verify(...flags)).exitCode).toBe(0)
      expect(requests).toBe(expected)
    }
  })

  test('two at once are refused', async () => {
    const { exitCode, stderr } = await verify('--sample', '2', '--rolling', '30d')
    expect(exitCode).toBe(2)
    expect(stderr).toContain('use only one of them')
  })

  test.each([
    ['--rolling', '3h'],
    ['--since', 'yesterday'],
    ['--origin', 'autodj.example'],
    ['--origin', 'https://autodj.example/path'],
    ['--bytes', '1G'],
  ])('%s %s is refused', async (flag, value) => {
    expect((await verify(flag, value)).exitCode).toBe(2)
  })
})

test('without a CDN: which setting is missing', async () => {
  const { CLOUDFRONT_DOMAIN: _, ...without } = env
  const { exitCode, stderr } = await cli(['verify'], { env: without })
  expect(exitCode).toBe(2)
  expect(stderr).toContain('CLOUDFRONT_DOMAIN is not set')
})

test('a signing key that cannot be used stops it before the first request', async () => {
  const { exitCode, stderr } = await cli(['verify'], {
    env: { ...env, CLOUDFRONT_KEY_PAIR_ID: 'K1', CLOUDFRONT_PRIVATE_KEY_PATH: './missing.pem' },
  })
  expect(exitCode).toBe(2)
  expect(stderr).toContain('missing.pem cannot be read: no such file or directory')
  expect(requests).toBe(0)
})
