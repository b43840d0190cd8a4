/** What the content pass meets when the CDN or S3 misbehave only there, by a server that answers as it is told. */
import http from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { openProber, type ProberOptions } from '../../../src/cdn/probe.ts'
import type { CdnProvider } from '../../../src/core/cdn-provider.ts'
import { parseCdnDomain } from '../../../src/core/cdn-url.ts'
import { finding } from '../../../src/core/diagnosis/causes.ts'
import { worded } from '../../../src/core/diagnosis/other-cdns.ts'
import type { ObjectStore } from '../../../src/storage/store.ts'
import { steadily } from '../../../src/verify/steadily.ts'
import type { TrackResult, VerifyOptions } from '../../../src/verify/track-result.ts'
import { verify } from '../../../src/verify/verify.ts'
import { end, listening, urlOf } from '../../support/listening.ts'
import { sha256 } from '../../support/sums.ts'

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
/** what answers the probe */
let first: Answer
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
  const answer = requests++ === 0 ? first : (answers.shift() ?? serve)
  answer(response, range)
})
let origin = ''
beforeAll(async () => {
  await listening(server)
  origin = urlOf(server)
})
afterAll(() => end(server))
beforeEach(() => {
  first = serve
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
  {
    size = null,
    probe = {},
    key = 'a',
    sha256 = null,
  }: { size?: number | null; probe?: Partial<ProberOptions>; key?: string; sha256?: string | null } = {},
) {
  const results: TrackResult[] = []
  const prober = openProber({ concurrency: 2, ...probe })
  try {
    const summary = await verify({
      tracks: (async function* () {
        yield { id: '1', key, size, etag: null, sha256 }
      })(),
      prober,
      domain: parseCdnDomain(origin),
      store: storeOf(content),
      concurrency: 1,
      record: async batch => void results.push(...batch),
      now: () => new Date(),
      random: () => 0.5,
      stopping: live,
      signal: live,
      retryPausesMs: [1, 1],
      ...options,
    })
    return { summary, causes: results.flatMap(({ findings }) => findings.map(({ cause }) => cause)), results }
  } finally {
    prober.close()
  }
}
const live = new AbortController().signal
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
  test.each<[string, Answer, string[], number]>([
    ['S3 refuses', status(403, { 'x-amz-request-id': '1' }), [], 1],
    ['a proxy refuses', status(403, { server: 'squid' }), ['direct-unknown'], 1],
    ['another region is named', status(301, { 'x-amz-request-id': '1' }), ['direct-unknown'], 1],
    ['the connection breaks', breakOff, ['direct-unknown'], 3],
    ['an outage', status(503, { 'x-amz-request-id': '1' }), ['direct-unknown'], 3],
    ['an error', status(500, { 'x-amz-request-id': '1' }), ['direct-unknown'], 3],
    ['too many requests', status(429, { 'x-amz-request-id': '1' }), ['direct-unknown'], 3],
    ['an upload that is slow', status(408, { 'x-amz-request-id': '1' }), ['direct-unknown'], 3],
    ['another refusal', status(499, { 'x-amz-request-id': '1' }), ['direct-unknown'], 1],
    ['it is served', serve, ['public-object'], 1],
  ])('%s', async (_, answer, expected, times) => {
    answers = [answer, answer, answer]
    const { causes, summary } = await verifyOne({ directUrl: () => `${origin}/direct` })
    expect(causes).toEqual(expected)
    expect(3 - answers.length).toBe(times)
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

test.each<[string, boolean, Partial<VerifyOptions>, CdnProvider]>([
  ['that answered', true, {}, 'cloudfront'],
  ['that answered, whatever was expected', true, { provider: 'bunny' }, 'cloudfront'],
  ['that was expected, where nothing says who answered', false, { provider: 'cloudfront' }, 'cloudfront'],
  ['that nobody knows', false, {}, 'other'],
])('what differs is told in the words of the CDN %s', async (_, tells, options, provider) => {
  const { 'x-amz-cf-pop': pop, ...plain } = headers
  const of = tells ? { ...plain, 'x-amz-cf-pop': pop } : plain
  first = response => void response.writeHead(206, { ...of, 'content-range': 'bytes 0-0/1000' }).end('0')
  answers = [response => void response.writeHead(200, of).end(Buffer.alloc(1_000, 'x'))]
  const { results } = await verifyOne({ full: true, ...options })
  const [found] = results.flatMap(({ findings }) => findings)
  expect(found?.cause).toBe('content-differs')
  expect(found?.cure).toBe(worded(finding('content-differs', []), provider).cure)
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
    await expect(
      Array.fromAsync(steadily(body, { deadlineMs: 50, leastRate: 1e9, signal: live })),
    ).rejects.toThrow(/only \d+ bytes arrived in time/)
    const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }
    await expect(Array.fromAsync(steadily(never, { deadlineMs: 20, signal: live }))).rejects.toThrow(
      'only 0 bytes',
    )
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

describe('what cannot be compared is said to be so, with the reason', () => {
  /** The causes, and what they rest on. */
  const found = async (...of: Parameters<typeof verifyOne>) => {
    const { results, summary } = await verifyOne(...of)
    expect(summary.checked).toEqual(nothingCompared)
    return results.flatMap(({ findings }) => findings.map(({ cause, evidence }) => [cause, ...evidence]))
  }
  const without = { store: undefined } as Partial<VerifyOptions>
  const sum = sha256(content)

  test('without S3', async () => {
    expect(await found({ ...without, bytes: 10 })).toEqual([['not-compared', 'S3 is not configured']])
    requests = 0
    expect(await found({ ...without, full: true })).toEqual([
      ['not-compared', 'S3 is not configured, and the database has no checksum'],
    ])
    requests = 0
    expect(await verifyOne({ ...without, full: true }, { sha256: sum })).toMatchObject({
      causes: [],
      summary: { checked: { full: 1 } },
    })
  })

  test('where nobody tells the size', async () => {
    total = '*'
    expect(await found({ ...without, full: true })).toEqual([
      ['not-compared', 'neither the CDN, the database nor S3 gives its size'],
    ])
    const store = { head: () => Promise.reject(new Error('no entry')) } as unknown as ObjectStore
    for (const check of [{ bytes: 10 }, { full: true }]) {
      requests = 0
      expect(await found({ store, ...check })).toEqual([['not-compared', 'S3: no entry']])
    }
    requests = 0
    let asked = 0
    const late = {
      ...storeOf(content),
      head: async () => {
        if (++asked < 3) throw new Error('busy')
        return { size: content.length }
      },
    } as unknown as ObjectStore
    expect(await verifyOne({ store: late, full: true })).toMatchObject({ causes: [] })
    expect(asked).toBe(3)
  })

  test('where S3 has it no longer', async () => {
    const get = vi.fn(async () => undefined)
    const store = { get } as unknown as ObjectStore
    for (const check of [{ bytes: 10 }, { full: true }]) {
      requests = 0
      get.mockClear()
      expect(await found({ store, ...check })).toEqual([
        ['object-missing', 'not in S3, but still served by the CDN'],
      ])
      expect(get).toHaveBeenCalledTimes(1)
    }
  })

  test('of an object without bytes', async () => {
    total = '*'
    expect(await found({ bytes: 10 }, { size: 0 })).toEqual([['empty-object', '0 bytes']])
  })

  test('where more or less comes than was asked for', async () => {
    const range = (bytes: number): Answer => {
      return (response, asked) =>
        response
          .writeHead(206, { ...headers, 'content-range': `bytes ${asked?.[0]}-${asked?.[1]}/1000` })
          .end(Buffer.alloc(bytes))
    }
    for (const bytes of [9, 11]) {
      requests = 0
      answers = [range(bytes), range(bytes), range(bytes)]
      const [[cause, ...evidence]] = (await found({ bytes: 10 })) as [string[]]
      expect([cause, evidence.join()]).toEqual(['range-wrong', expect.stringMatching(/bytes=495-504/)])
    }
    requests = 0
    answers = [response => void response.writeHead(204, headers).end()]
    const [[cause, ...evidence]] = (await found({ full: true })) as [string[]]
    expect(cause).not.toBe('content-differs')
    expect(evidence.length).toBeGreaterThan(0)
  })

  test('where a part comes although all of it was asked for', async () => {
    const part: Answer = response =>
      response.writeHead(206, { ...headers, 'content-range': 'bytes 0-999/1000' }).end(content)
    answers = [part, part, part]
    const [[cause, ...evidence]] = (await found({ full: true })) as [string[]]
    expect([cause, evidence.join()]).toEqual([
      'unexplained',
      'requested the whole object,status 206, 1000 bytes',
    ])
  })

  test('where all of it comes although a part was asked for', async () => {
    const whole: Answer = response => response.writeHead(200, headers).end(content)
    answers = [whole, whole, whole]
    const [[cause, ...evidence]] = (await found({ bytes: 10 })) as [string[]]
    expect([cause, evidence.join()]).toEqual(['range-ignored', expect.stringMatching(/bytes=495-504/)])
  })

  test('of a key that no URL can hold', async () => {
    const { results, summary } = await verifyOne({}, { key: 'a\ud800' })
    expect(summary).toMatchObject({ served: 0, failed: 1 })
    expect(results[0]?.findings).toMatchObject([
      { cause: 'key-unaddressable', evidence: [expect.stringMatching(/./)] },
    ])
    expect(requests).toBe(0)
  })
})

describe('a cached answer without the CORS header', () => {
  const page = 'https://player.example.com'
  const cached: Answer = (response, range) => {
    const bytes = content.subarray(range?.[0], (range?.[1] ?? 0) + 1)
    response
      .writeHead(206, { ...headers, 'x-cache': 'Hit from cloudfront', 'content-range': `bytes 0-0/1000` })
      .end(bytes)
  }
  const fresh =
    (status: number, more: http.OutgoingHttpHeaders): Answer =>
    response =>
      void response.writeHead(status, { ...headers, 'x-cache': 'Miss from cloudfront', ...more }).end('0')
  const allowed = { 'access-control-allow-origin': '*' }
  test.each<[string, Answer, string]>([
    ['would have it past the cache', fresh(206, allowed), 'cors-stale'],
    ['would have it past the cache, whole', fresh(200, allowed), 'cors-stale'],
    ['would not have it there either', fresh(206, {}), 'cors-missing'],
    ['is refused past the cache', fresh(403, allowed), 'cors-missing'],
    [
      'comes from the cache there, too',
      fresh(206, { ...allowed, 'x-cache': 'Hit from cloudfront' }),
      'cors-missing',
    ],
    ['cannot be asked for there', breakOff, 'cors-missing'],
  ])('%s', async (_, answer, cause) => {
    first = cached
    answers = [answer]
    const { causes } = await verifyOne({ origin: page, cors: 'failure' })
    expect(causes).toContain(cause)
    expect(causes).toHaveLength(1)
    expect(requests).toBe(2)
    // Nothing may be added to a URL that is signed.
    requests = 0
    const signer = { sign: (url: string) => url } as unknown as VerifyOptions['signer']
    expect((await verifyOne({ origin: page, cors: 'failure', signer })).causes).toEqual(['cors-missing'])
    expect(requests).toBe(1)
  })

  test('is asked for past the cache once a run', async () => {
    first = cached
    answers = [fresh(206, allowed), cached, cached]
    const { causes } = await verifyOne({
      origin: page,
      cors: 'failure',
      tracks: (async function* () {
        for (const id of ['1', '2', '3']) yield { id, key: 'a', size: null, etag: null, sha256: null }
      })(),
    })
    expect(causes).toEqual(['cors-stale', 'cors-stale', 'cors-stale'])
    expect(requests).toBe(4)
  })
})

test('a URL is signed for each request, and good for ten minutes from then', async () => {
  let time = 1_000
  const signed: number[] = []
  const signer = {
    sign(url: string, until: Date) {
      signed.push(until.getTime())
      return url
    },
  } as unknown as VerifyOptions['signer']
  await verifyOne({ bytes: 10, signer, now: () => new Date(time++) })
  expect(signed).toEqual([601_000, 601_001])
})

test('what is compared is paid for before it is asked: as many bytes as that is', async () => {
  const paid: number[] = []
  const throttle = {
    pass: async (bytes: number) => void paid.push(bytes),
  } as unknown as VerifyOptions['throttle']
  await verifyOne({ bytes: 10, random: () => 0.9, throttle })
  requests = 0
  await verifyOne({ full: true, throttle })
  expect(paid).toEqual([10, 1_000])
})

const tooMany: Answer = response => response.writeHead(429, headers).end('too many requests')
test.each([
  ['S3 behind it', refuse],
  ['it itself', tooMany],
])(
  'a CDN that asks to slow down, %s, is given a rest by all, not by the one track that it told',
  async (_, ask) => {
    let between = 0
    let isResting = false
    first = serve
    const tracks = (async function* () {
      for (let id = 0; id < 60; id++)
        yield { id: `${id}`, key: `a${id}`, size: null, etag: null, sha256: null }
    })()
    answers = [
      response => {
        isResting = true
        setTimeout(() => {
          isResting = false
        }, 250)
        ask(response, undefined)
      },
      ...Array.from(
        { length: 58 },
        (): Answer => (response, range) => {
          if (isResting) between++
          serve(response, range)
        },
      ),
    ]
    const { summary } = await verifyOne({ tracks, concurrency: 2, retryPausesMs: [300, 300] })
    expect(summary).toMatchObject({ tracks: 60, failed: 0 })
    // One may have been on its way.
    expect(between).toBeLessThanOrEqual(2)
  },
)
