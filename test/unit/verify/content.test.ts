/** What the content pass meets when the CDN or S3 misbehave only there, by a server that answers as it is told. */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openProber, type ProberOptions } from '../../../src/cdn/probe.ts'
import { parseCdnDomain } from '../../../src/core/cdn-url.ts'
import type { ObjectStore } from '../../../src/storage/store.ts'
import { steadily } from '../../../src/verify/steadily.ts'
import type { TrackResult, VerifyOptions } from '../../../src/verify/track-result.ts'
import { verify } from '../../../src/verify/verify.ts'

const content = Buffer.from('0123456789'.repeat(100))
const slowDown = '<Error><Code>SlowDown</Code><Message>x</Message><RequestId>1</RequestId></Error>'
const headers = {
  'x-amz-cf-pop': 'FRA56-P2',
  'content-type': 'audio/mpeg',
  'cache-control': 'public, max-age=31536000, immutable',
}

/** What answers the requests after the first, which is the one-byte probe. */
type Answer = (response: http.ServerResponse, range: [number, number] | undefined) => void
let answers: Answer[] = []
let requests = 0
let total = `${content.length}`
let served = content

const serve: Answer = (response, range) => {
  if (range === undefined) return void response.writeHead(200, headers).end(served)
  const bytes = served.subarray(range[0], range[1] + 1)
  response
    .writeHead(206, {
      ...headers,
      'content-range': `bytes ${range[0]}-${range[0] + bytes.length - 1}/${total}`,
    })
    .end(bytes)
}
const refuse: Answer = response => response.writeHead(503, { server: 'AmazonS3' }).end(slowDown)
const breakOff: Answer = response => {
  response.writeHead(200, { ...headers, 'content-length': 1_000 })
  response.write('0123456789', () => response.destroy())
}
const drip: Answer = response => {
  response.writeHead(200, headers)
  const timer = setInterval(() => response.write('0'), 5)
  response.on('close', () => clearInterval(timer))
}

const server = http.createServer((request, response) => {
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
  const range: [number, number] | undefined = from === undefined ? undefined : [Number(from), Number(to)]
  const answer = requests++ === 0 ? serve : (answers.shift() ?? serve)
  answer(response, range)
})
let origin = ''
beforeAll(async () => {
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(() => {
  answers = []
  requests = 0
  total = `${content.length}`
  served = content
})

let reads = 0
/** S3 with these bytes, after it failed so many times. */
function storeOf(bytes: Buffer, failures = 0): ObjectStore {
  reads = 0
  return {
    head: async () => ({ size: bytes.length, etag: 'e' }),
    async get(_key: string, { range }: { range?: { start: number; end: number } } = {}) {
      if (reads++ < failures) throw new Error('503 SlowDown')
      return {
        body: (async function* () {
          yield range ? bytes.subarray(range.start, range.end + 1) : bytes
        })(),
      }
    },
  } as unknown as ObjectStore
}

async function verifyOne(
  options: Partial<VerifyOptions>,
  { size = null, probe = {} }: { size?: number | null; probe?: Partial<ProberOptions> } = {},
) {
  const results: TrackResult[] = []
  const prober = openProber({ concurrency: 2, ...probe })
  try {
    const summary = await verify({
      tracks: (async function* () {
        yield { id: '1', key: 'a', size, etag: null, sha256: null }
      })(),
      prober,
      domain: parseCdnDomain(origin),
      store: storeOf(content),
      concurrency: 1,
      record: async batch => void results.push(...batch),
      now: () => new Date(),
      random: () => 0.5,
      retryPausesMs: [1, 1],
      ...options,
    })
    return { summary, causes: results.flatMap(({ findings }) => findings.map(({ cause }) => cause)), results }
  } finally {
    prober.close()
  }
}
const nothingCompared = { bytes: 0, full: 0, direct: 0 }

describe('what may pass by itself is asked again in the content pass too', () => {
  const direct = { directUrl: () => `${origin}/direct` }
  const denied: Answer = response =>
    response.writeHead(403, { 'x-amz-request-id': '1' }).end('<Error><Code>AccessDenied</Code></Error>')
  test.each<[string, Partial<VerifyOptions>, Answer[], keyof typeof nothingCompared]>([
    ['a 503 for a range', { bytes: 10 }, [refuse, refuse], 'bytes'],
    ['a broken connection for a range', { bytes: 10 }, [breakOff], 'bytes'],
    ['a 503 for the whole', { full: true }, [refuse], 'full'],
    ['a broken connection for the whole', { full: true }, [breakOff, breakOff], 'full'],
    ['a broken connection past the CDN', direct, [breakOff, refuse, denied], 'direct'],
  ])('%s', async (_, options, script, check) => {
    answers = script
    const { causes, summary } = await verifyOne(options)
    expect(causes).toEqual([])
    expect(summary.checked).toEqual({ ...nothingCompared, [check]: 1 })
    expect(answers).toEqual([])
  })

  test('and an S3 that fails for a moment', async () => {
    const { causes, summary } = await verifyOne({ full: true, store: storeOf(content, 2) })
    expect(causes).toEqual([])
    expect(summary.checked.full).toBe(1)
    expect((await verifyOne({ full: true, store: storeOf(content, 3) })).causes).toEqual(['not-compared'])
  })

  test('what stays is named as what it is', async () => {
    answers = [refuse, refuse, refuse]
    expect((await verifyOne({ full: true })).causes).toEqual(['origin-throttled'])
    requests = 0
    answers = [breakOff, breakOff, breakOff]
    expect((await verifyOne({ full: true })).causes).toEqual(['reset'])
  })
})

describe('past the CDN', () => {
  const status = (code: number, more: http.OutgoingHttpHeaders = {}): Answer => {
    return response => response.writeHead(code, more).end('no')
  }
  test.each<[string, Answer, string[]]>([
    ['S3 refuses', status(403, { 'x-amz-request-id': '1' }), []],
    ['a proxy refuses', status(403, { server: 'squid' }), ['direct-unknown']],
    ['another region is named', status(301, { 'x-amz-request-id': '1' }), ['direct-unknown']],
    ['the connection breaks', breakOff, ['direct-unknown']],
    ['an outage', status(503, { 'x-amz-request-id': '1' }), ['direct-unknown']],
    ['it is served', serve, ['public-object']],
  ])('%s', async (_, answer, expected) => {
    answers = [answer, answer, answer]
    const { causes, summary } = await verifyOne({ directUrl: () => `${origin}/direct` })
    expect(causes).toEqual(expected)
    expect(summary.checked.direct).toBe(expected.length === 0 ? 1 : 0)
  })
})

describe('a CDN that does not tell the size (Content-Range: bytes a-b/*)', () => {
  beforeEach(() => {
    total = '*'
  })
  test('has its bytes compared none the less', async () => {
    expect(await verifyOne({ bytes: 10 }, { size: 1_000 })).toMatchObject({
      causes: [],
      summary: { checked: { bytes: 1 } },
    })
    // Nor does the database: S3 does.
    expect(await verifyOne({ bytes: 10 })).toMatchObject({ causes: [], summary: { checked: { bytes: 1 } } })
  })
  test('and differing ones found', async () => {
    served = Buffer.alloc(1_000, 'x')
    expect((await verifyOne({ bytes: 10 }, { size: 1_000 })).causes).toEqual(['content-differs'])
    requests = 0
    expect((await verifyOne({ full: true }, { size: 1_000 })).causes).toEqual(['content-differs'])
  })
  test('or it is said that nothing was compared', async () => {
    const unknowing = {
      ...storeOf(content),
      head: async () => undefined,
    } as unknown as ObjectStore
    expect(await verifyOne({ bytes: 10, store: unknowing })).toMatchObject({
      causes: ['not-compared'],
      summary: { checked: nothingCompared },
    })
  })
})

describe('for ever', () => {
  const impatient = { probe: { deadlineMs: 100, leastRate: 1_000_000 } }

  test('a body that drips is given up', async () => {
    answers = [drip, drip, drip]
    expect((await verifyOne({ full: true }, impatient)).causes).toEqual(['timeout'])
  })

  test('a body that comes at the least rate is not, however long it takes', async () => {
    served = Buffer.alloc(400_000, 'x')
    total = '400000'
    answers = [
      response => {
        response.writeHead(200, headers)
        let sent = 0
        const timer = setInterval(() => {
          sent += 20_000
          if (sent > 400_000) {
            clearInterval(timer)
            response.end()
          } else response.write(served.subarray(0, 20_000))
        }, 15)
      },
    ]
    const { causes } = await verifyOne(
      { full: true, store: storeOf(served) },
      { probe: { deadlineMs: 100, leastRate: 400_000 } },
    )
    expect(causes).toEqual([])
  })

  test('a body without end is read no further than the object is long', async () => {
    let written = 0
    let closed = false
    answers = [
      response => {
        response.writeHead(200, headers)
        const more = () => {
          while (!response.destroyed && written < 1e9) {
            written += 65_536
            if (!response.write(Buffer.alloc(65_536))) return
          }
        }
        response.on('drain', more)
        response.on('close', () => {
          closed = true
        })
        more()
      },
    ]
    expect((await verifyOne({ full: true })).causes).toEqual(['content-differs'])
    await expect.poll(() => closed).toBe(true)
    expect(written).toBeLessThan(100e6)
  })

  test('S3 dripping is given up', async () => {
    const slow = {
      async get() {
        return {
          body: (async function* () {
            for (;;) {
              await new Promise(done => setTimeout(done, 5))
              yield Buffer.from('0')
            }
          })(),
        }
      },
    }
    const { body } = await slow.get()
    await expect(Array.fromAsync(steadily(body, { deadlineMs: 50, leastRate: 1e9 }))).rejects.toThrow(
      /only \d+ bytes arrived in time/,
    )
    const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }
    await expect(Array.fromAsync(steadily(never, { deadlineMs: 20 }))).rejects.toThrow('only 0 bytes')
    const abort = new AbortController()
    const reading = Array.fromAsync(steadily(never, { signal: abort.signal }))
    abort.abort(new Error('enough'))
    await expect(reading).rejects.toThrow('enough')
  })

  test('a run told to stop leaves alone what does not end by itself, and counts it as not reached', async () => {
    answers = [drip]
    const stopping = new AbortController()
    const stopped = verifyOne({ full: true, stopping: stopping.signal, stopGraceMs: 50 })
    await expect.poll(() => requests).toBe(2)
    stopping.abort()
    const { summary, results } = await stopped
    expect(summary.tracks).toBe(0)
    expect(results).toEqual([])
  })
})
