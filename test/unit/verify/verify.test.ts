/** The engine against a scripted server in this process; the commands run against the embedded CDN in e2e. */
import http from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openProber } from '../../../src/cdn/probe.ts'
import { decodeKeyPath, parseCdnDomain } from '../../../src/core/cdn-url.ts'
import type { ObjectHead, ObjectStore } from '../../../src/storage/store.ts'
import type { TrackResult, VerifyOptions, VerifyTrack } from '../../../src/verify/track-result.ts'
import { verify } from '../../../src/verify/verify.ts'
import { end, listening, urlOf } from '../../support/listening.ts'
import { sha256 } from '../../support/sums.ts'

const content = Buffer.from('0123456789'.repeat(100))

interface Script {
  /** what S3 holds; absent: not there */
  stored?: Buffer
  /** what the CDN serves; default: what is stored */
  cdn?: Buffer
  /** answers of the CDN before it serves: status and body */
  first?: [status: number, body: string][]
  etag?: string
  lastModified?: Date
}

let scripts = new Map<string, Script>()
let requests: string[] = []
let inFlight = 0
let peak = 0
let delayMs = 0
const denied =
  '<Error><Code>AccessDenied</Code><Message>Access Denied</Message><RequestId>1</RequestId></Error>'

const server = http.createServer(async (request, response) => {
  peak = Math.max(peak, ++inFlight)
  response.on('close', () => inFlight--)
  if (delayMs > 0) await new Promise(done => setTimeout(done, delayMs))
  const key = decodeKeyPath(request.url!.replace(/^\/direct/, '').replace(/\?.*/, ''))!
  requests.push(key)
  const script = scripts.get(key)
  const edge = {
    'x-amz-cf-pop': 'FRA56-P2',
    'x-cache': key.includes('hit') ? 'Hit from cloudfront' : 'Miss from cloudfront',
  }
  const [status, body] = script?.first?.shift() ?? []
  if (status !== undefined) {
    response.writeHead(status, { ...edge, server: 'AmazonS3' }).end(body)
    return
  }
  const bytes = script?.cdn ?? script?.stored
  if (bytes === undefined) {
    response.writeHead(403, { ...edge, server: 'AmazonS3' }).end(denied)
    return
  }
  const headers = {
    ...edge,
    'content-type': 'audio/mpeg',
    'accept-ranges': 'bytes',
    'cache-control': 'public, max-age=31536000, immutable',
    etag: `"${script?.etag ?? 'e'}"`,
  }
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
  if (from === undefined) {
    response.writeHead(200, headers).end(bytes)
    return
  }
  const end = Math.min(Number(to), bytes.length - 1)
  response
    .writeHead(206, { ...headers, 'content-range': `bytes ${from}-${end}/${bytes.length}` })
    .end(bytes.subarray(Number(from), end + 1))
})

let origin = ''
const real = openProber({ concurrency: 8 })
beforeAll(async () => {
  await listening(server)
  origin = urlOf(server)
})
afterAll(() => {
  real.close()
  end(server)
})
beforeEach(() => {
  scripts = new Map()
  requests = []
  peak = 0
  delayMs = 0
})

const store = {
  async head(key: string): Promise<Partial<ObjectHead> | undefined> {
    const script = scripts.get(key)
    return (
      script?.stored && {
        size: script.stored.length,
        etag: script.etag ?? 'e',
        lastModified: script.lastModified,
      }
    )
  },
  async get(key: string, { range }: { range?: { start: number; end: number } } = {}) {
    const bytes = scripts.get(key)?.stored
    return (
      bytes && {
        body: (async function* () {
          yield range ? bytes.subarray(range.start, range.end + 1) : bytes
        })(),
      }
    )
  },
} as unknown as ObjectStore

const live = new AbortController().signal
let trackId = 0
const track = (key: string | null, more: Partial<VerifyTrack> = {}): VerifyTrack => ({
  id: `${++trackId}`,
  key,
  size: content.length,
  etag: null,
  sha256: null,
  ...more,
})

async function run(tracks: Iterable<VerifyTrack>, more: Partial<VerifyOptions> = {}) {
  const results: TrackResult[] = []
  const batches: number[] = []
  const prober = openProber({ concurrency: 8 })
  try {
    const summary = await verify({
      tracks: (async function* () {
        yield* tracks
      })(),
      prober,
      domain: parseCdnDomain(origin),
      store,
      concurrency: 8,
      async record(batch) {
        batches.push(batch.length)
        results.push(...batch)
      },
      now: () => new Date(),
      random: () => 0.5,
      stopping: live,
      signal: live,
      retryPausesMs: [1, 1],
      ...more,
    })
    const causes = Object.fromEntries(
      results.map(({ track: { key }, findings }) => [key, findings.map(({ cause }) => cause)]),
    )
    return { summary, results, batches, causes }
  } finally {
    prober.close()
  }
}

test('served tracks are recorded with edge, cache and latency, and counted', async () => {
  for (const key of ['audio/hit/a', 'audio/hit/b+c', 'audio/hit/é', 'audio/miss/d#e?f'])
    scripts.set(key, { stored: content })
  const { summary, results } = await run([...scripts.keys()].map(key => track(key)))
  expect(summary).toMatchObject({
    tracks: 4,
    served: 4,
    failed: 0,
    hitRatio: 0.75,
    failures: [],
    warnings: [],
  })
  expect(summary.p95!).toBeGreaterThanOrEqual(summary.p50!)
  expect(results.find(({ track: { key } }) => key === 'audio/hit/a')).toMatchObject({
    served: true,
    findings: [],
    edge: 'FRA56-P2',
    cacheHit: true,
    size: content.length,
    latencyMs: expect.any(Number),
  })
})

test('what S3 says names what the CDN does not tell', async () => {
  scripts.set('denied', {
    stored: content,
    first: [
      [403, denied],
      [403, denied],
    ],
  })
  scripts.set('e\u0301', { stored: content })
  scripts.set('resized', { stored: content.subarray(1) })
  scripts.set('stale', { stored: content, cdn: content.subarray(1) })
  scripts.set('same-size', { stored: content, etag: '2' })
  const { summary, causes, results } = await run([
    track('denied'),
    track('gone'),
    track('\u00e9'),
    track('resized'),
    track('stale'),
    track('same-size', { etag: '1' }),
    track(null),
  ])
  expect(causes).toEqual({
    denied: ['oac-missing'],
    gone: ['object-missing'],
    '\u00e9': ['key-normalisation'],
    resized: ['object-replaced'],
    stale: ['stale-object'],
    'same-size': ['object-replaced'],
    null: ['row-without-key'],
  })
  expect(summary).toMatchObject({ tracks: 7, served: 0, failed: 7, hitRatio: undefined, p50: undefined })
  // Nothing was compared, and the row is named by its id where it has nothing else.
  expect(results.flatMap(({ checked = [] }) => checked)).toEqual([])
  const keyless = results.find(({ track }) => track.key === null)
  expect(keyless?.findings[0]?.evidence).toEqual([`track ${keyless?.track.id}`])
  expect(summary.failures[0]).toMatchObject({
    cause: 'object-replaced',
    count: 2,
    examples: ['resized', 'same-size'],
  })
})

test('without S3, or one that cannot be asked, nothing is claimed that only S3 knows', async () => {
  const { causes } = await run([track('gone')], { store: undefined })
  expect(causes).toEqual({ gone: ['origin-denied'] })
  const away = { head: () => Promise.reject(new Error('no credentials')) } as unknown as ObjectStore
  const { results } = await run([track('gone')], { store: away })
  expect(results[0]?.findings).toMatchObject([{ cause: 'origin-denied' }])
  expect(results[0]?.findings[0]?.evidence).toContain('S3 could not be checked: no credentials')
})

test('what may pass by itself is asked again, what may not is not', async () => {
  const slowDown = '<Error><Code>SlowDown</Code><Message>x</Message><RequestId>1</RequestId></Error>'
  scripts.set('once', { stored: content, first: [[503, slowDown]] })
  scripts.set('always', {
    stored: content,
    first: [
      [503, slowDown],
      [503, slowDown],
      [503, slowDown],
    ],
  })
  scripts.set('never', { stored: content, first: [[403, denied]] })
  const { causes } = await run([track('once'), track('always'), track('never')])
  expect(causes).toEqual({ once: [], always: ['origin-throttled'], never: ['oac-missing'] })
  expect(requests.filter(key => key === 'once').length).toBe(2)
  expect(requests.filter(key => key === 'always').length).toBe(3)
  expect(requests.filter(key => key === 'never').length).toBe(1)
})

describe('contents', () => {
  const wrong = Buffer.from(content)
  wrong[500] = 0

  test('--bytes compares a range at a random offset with S3', async () => {
    scripts.set('same', { stored: content })
    scripts.set('differs', { stored: content, cdn: wrong })
    const { causes } = await run([track('same'), track('differs')], { bytes: 100 })
    expect(causes).toEqual({ same: [], differs: ['content-differs'] })
    const missed = await run([track('differs')], { bytes: 100, random: () => 0 })
    expect(missed.causes).toEqual({ differs: [] })
  })

  test('--bytes longer than the object compares all of it', async () => {
    scripts.set('differs', { stored: content, cdn: wrong })
    const { causes } = await run([track('differs')], { bytes: 1_000_000 })
    expect(causes).toEqual({ differs: ['content-differs'] })
  })

  test('--full compares the checksum of the ledger, or that of S3 where the ledger has none', async () => {
    scripts.set('same', { stored: content })
    scripts.set('ledger', { stored: wrong })
    scripts.set('s3', { stored: content, cdn: wrong })
    const { causes } = await run(
      [track('same', { sha256: sha256(content) }), track('ledger', { sha256: sha256(content) }), track('s3')],
      { full: true },
    )
    expect(causes).toEqual({ same: [], ledger: ['content-differs'], s3: ['content-differs'] })
  })

  test('--full names a refusal of the whole object as what it is', async () => {
    const archived =
      '<Error><Code>InvalidObjectState</Code><Message>x</Message><RequestId>1</RequestId></Error>'
    const script: Script = { stored: content }
    scripts.set('archived since', script)
    const { causes } = await run([track('archived since')], {
      full: true,
      prober: {
        close() {},
        request(request) {
          if (request.hash) script.first = [[403, archived]]
          return real.request(request)
        },
      },
    })
    expect(causes).toEqual({ 'archived since': ['object-archived'] })
  })

  test('an S3 that cannot be read is said so, not taken for agreement', async () => {
    scripts.set('a', { stored: content })
    const broken = { get: () => Promise.reject(new Error('no credentials')) } as unknown as ObjectStore
    const { causes } = await run([track('a')], { bytes: 10, store: broken })
    expect(causes).toEqual({ a: ['not-compared'] })
  })

  test('--direct finds a bucket that answers anyone', async () => {
    scripts.set('open', { stored: content })
    const { causes } = await run([track('open')], { directUrl: key => `${origin}/direct/${key}` })
    expect(causes).toEqual({ open: ['public-object'] })
  })
})

test('thousands of tracks: never more requests at a time than allowed, batches of 500, few tracks read ahead', async () => {
  scripts.set('a', { stored: content })
  let read = 0
  let done = 0
  let ahead = 0
  const { summary, batches } = await run(
    (function* () {
      for (; read < 2_000; read++) {
        ahead = Math.max(ahead, read - done)
        yield track('a')
      }
    })(),
    { onResult: () => done++ },
  )
  expect(summary.served).toBe(2_000)
  expect(batches).toEqual([500, 500, 500, 500])
  expect(peak).toBeLessThanOrEqual(8)
  expect(ahead).toBeLessThanOrEqual(8)
})

describe('stopping', () => {
  test('takes nothing new, finishes and records what is in flight', async () => {
    scripts.set('a', { stored: content })
    const stop = new AbortController()
    let seen = 0
    const { summary, results } = await run(
      Array.from({ length: 100 }, () => track('a')),
      {
        stopping: stop.signal,
        onResult() {
          if (++seen === 10) stop.abort()
        },
      },
    )
    expect(summary.tracks).toBeGreaterThanOrEqual(10)
    expect(summary.tracks).toBeLessThan(20)
    expect(results.length).toBe(summary.tracks)
  })

  test('before it began: nothing is asked', async () => {
    scripts.set('a', { stored: content })
    const { summary } = await run([track('a')], { stopping: AbortSignal.abort() })
    expect([summary.tracks, requests]).toEqual([0, []])
  })

  test('a ledger that fails in the end, of tracks that nobody has to be told are over', async () => {
    scripts.set('a', { stored: content })
    const tracks = {
      [Symbol.asyncIterator]: () => {
        const left = [track('a'), track('a')]
        return {
          async next() {
            const value = left.shift()
            return value === undefined ? { done: true as const, value } : { done: false as const, value }
          },
        }
      },
    }
    expect((await run([], { tracks })).summary.served).toBe(2)
    const failing = run([], { tracks, record: () => Promise.reject(new Error('database away')) })
    await expect(failing).rejects.toThrow('database away')
  })

  test('a ledger that fails ends the run with its error', async () => {
    scripts.set('a', { stored: content })
    await expect(
      run(
        Array.from({ length: 600 }, () => track('a')),
        { record: () => Promise.reject(new Error('database away')) },
      ),
    ).rejects.toThrow('database away')
    expect(requests.length).toBeLessThan(520)
  })

  test('an aborted signal records what was done and throws its reason', async () => {
    scripts.set('a', { stored: content })
    delayMs = 5
    const abort = new AbortController()
    const recorded: TrackResult[] = []
    let seen = 0
    await expect(
      run(
        Array.from({ length: 200 }, () => track('a')),
        {
          signal: abort.signal,
          async record(batch) {
            recorded.push(...batch)
          },
          onResult() {
            if (++seen === 20) abort.abort(new Error('second signal'))
          },
        },
      ),
    ).rejects.toThrow('second signal')
    expect(recorded.length).toBeGreaterThanOrEqual(20)
    expect(recorded.length).toBeLessThan(40)
  })
})
