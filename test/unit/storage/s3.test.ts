/**
 * What the S3 store makes of answers a healthy server never gives. Each test scripts a raw HTTP server; the contract
 * (test/contract) covers what servers do when all is well.
 */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createRawServer } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { plainNetwork } from '../../../src/network.ts'
import { createS3Store } from '../../../src/storage/s3.ts'
import type { S3StoreOptions } from '../../../src/storage/s3-connection.ts'
import { type ObjectStore, StoreError, type StoreErrorKind } from '../../../src/storage/store.ts'
import { listening, urlOf } from '../../support/listening.ts'
import { crc32Text } from '../../support/sums.ts'

interface Received {
  method: string
  url: string
  headers: IncomingMessage['headers']
  body: Buffer
}

type Handler = (request: Received, response: ServerResponse, count: number) => void

const opened: (() => void)[] = []
afterEach(() => {
  for (const close of opened.splice(0)) close()
})

/** A server that reads each request whole and leaves the answer to `handle`; `count` starts at 1. */
async function scripted(
  handle: Handler,
  { mostConnections = Number.POSITIVE_INFINITY } = {},
): Promise<{ endpoint: string; received: Received[] }> {
  const received: Received[] = []
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = []
    incoming.on('data', chunk => chunks.push(chunk))
    incoming.on('error', () => undefined)
    incoming.on('end', () => {
      const { method = '', url = '', headers } = incoming
      const request = { method, url, headers, body: Buffer.concat(chunks) }
      received.push(request)
      handle(request, response, received.length)
    })
  })
  let connections = 0
  server.on('connection', socket => {
    if (++connections > mostConnections) socket.resetAndDestroy()
    socket.once('close', () => connections--)
  })
  await listening(server)
  opened.push(() => {
    server.close()
    server.closeAllConnections()
  })
  return { endpoint: urlOf(server), received }
}

const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'very-secret-indeed' }

function open(endpoint: string, options: Partial<S3StoreOptions> = {}): ObjectStore {
  const store = createS3Store({ bucket: 'music', endpoint, region: 'eu-west-1', credentials, ...options })
  opened.push(() => store.close())
  return store
}

const body = Buffer.from('the bytes of a track')
const headers = { contentType: 'audio/mpeg' }
const options = { headers, checksums: { crc32: crc32Text(body) } }
const key = 'audio/Björk/Jóga_1a2b3c4d.flac'

function refuse(
  response: ServerResponse,
  status: number,
  code: string,
  more: { headers?: Record<string, string>; xml?: string } = {},
) {
  response.writeHead(status, {
    'content-type': 'application/xml',
    'x-amz-request-id': 'REQ1',
    ...more.headers,
  })
  response.end(
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>S3 says ${code} &amp; more</Message>${more.xml ?? ''}</Error>`,
  )
}

function accept(response: ServerResponse, headers: Record<string, string> = {}) {
  response.writeHead(200, { etag: '"9dd4e461268c8034f5c8564e155c67a6"', ...headers })
  response.end()
}

async function refusal(promise: Promise<unknown>): Promise<StoreError> {
  const thrown = await promise.then(
    () => undefined,
    error => error,
  )
  expect(thrown).toBeInstanceOf(StoreError)
  return thrown
}

describe('a refused put and a refused listing are the same kind of error', () => {
  test.for<[number, string, StoreErrorKind, boolean]>([
    [403, 'AccessDenied', 'denied', false],
    [403, 'InvalidAccessKeyId', 'credentials', false],
    [403, 'SignatureDoesNotMatch', 'credentials', false],
    [404, 'NoSuchBucket', 'no-bucket', false],
    [400, 'BadDigest', 'bad-digest', true],
    [503, 'SlowDown', 'throttled', true],
    [429, 'TooManyRequests', 'throttled', true],
    [500, 'InternalError', 'unavailable', true],
    [502, 'SomethingElse', 'unavailable', true],
    [409, 'ConditionalRequestConflict', 'conflict', true],
    [400, 'RequestTimeout', 'timeout', true],
    [501, 'NotImplemented', 'unsupported', false],
    [400, 'InvalidArgument', 'invalid', false],
    [418, 'ATeapot', 'invalid', false],
  ])('%i %s: %s', async ([status, code, kind, retryable]) => {
    const { endpoint, received } = await scripted((_, response) => refuse(response, status, code))
    const store = open(endpoint, { readAttempts: 1 })
    const put = await refusal(store.put(key, body, options))
    expect(put).toMatchObject({ kind, status, retryable, requestId: 'REQ1' })
    // "A header you provided implies functionality that is not implemented": once more, without the checksum.
    expect(received).toHaveLength(status === 501 ? 2 : 1)
    const listed = await refusal(drain(store.list()))
    expect(listed).toMatchObject({ kind, status, retryable })
    for (const error of [put, listed]) {
      expect(error.message).toContain('music')
      expect(error.message).toContain(endpoint)
      expect(error.message).toContain(`S3 says ${code} & more`)
      expect(error.message).not.toContain('\n')
      expect(error.cure).toMatch(/^[^\n]+$/)
      expect(JSON.stringify([error.message, error.cure, error.details])).not.toContain('very-secret')
    }
    expect(put.message).toContain(JSON.stringify(key))
  })
})

async function drain<T>(pages: AsyncIterable<T[]>): Promise<T[]> {
  const all: T[] = []
  for await (const page of pages) all.push(...page)
  return all
}

describe('on the wire', () => {
  test('a put is one plain request: length, checksum and signature in headers, no Expect, no chunks', async () => {
    const { endpoint, received } = await scripted(({ method }, response) =>
      method === 'PUT' ? accept(response) : refuse(response, 404, 'NoSuchKey'),
    )
    await open(endpoint).put(key, body, { ...options, ifNoneMatch: true })
    const request = received.find(({ method }) => method === 'PUT')
    expect(request).toMatchObject({
      method: 'PUT',
      url: '/music/audio/Bj%C3%B6rk/J%C3%B3ga_1a2b3c4d.flac',
      body,
    })
    expect(request!.headers).toMatchObject({
      'content-length': String(body.length),
      'content-type': 'audio/mpeg',
      'x-amz-checksum-crc32': crc32Text(body),
      'if-none-match': '*',
    })
    for (const name of ['expect', 'transfer-encoding', 'content-encoding', 'x-amz-trailer']) {
      expect(request!.headers[name], name).toBeUndefined()
    }
    expect(request!.headers['user-agent']).toMatch(/autodj/)
  })

  test('the payload stays unsigned when told so', async () => {
    const { endpoint, received } = await scripted((_, response) => accept(response))
    await open(endpoint, { signPayload: false }).put(key, body, options)
    expect(received[0]!.headers['x-amz-content-sha256']).toBe('UNSIGNED-PAYLOAD')
  })

  const sha256 = createHash('sha256').update(body).digest('base64')
  const hex = Buffer.from(sha256, 'base64').toString('hex')
  test.each([
    ['to another machine', { signPayload: true }, { crc32: crc32Text(body) }, hex],
    ['on this machine, with a checksum', {}, { crc32: crc32Text(body) }, 'UNSIGNED-PAYLOAD'],
    ['on this machine, whose SHA-256 is known', {}, { crc32: crc32Text(body), sha256 }, hex],
  ])('a part %s', async (_, settings, checksums, signed) => {
    const { endpoint, received } = await scripted((_, response) => accept(response))
    await open(endpoint, settings).uploadPart(key, 'id', 1, body, checksums)
    const [request] = received
    expect(request!.headers['x-amz-content-sha256']).toBe(signed)
    // What is not signed itself is held to a checksum that is.
    expect(request!.headers['x-amz-checksum-crc32']).toBe(crc32Text(body))
    expect(request!.headers['authorization']).toMatch(/SignedHeaders=[^,]*x-amz-checksum-crc32/)
  })

  test('a part whose checksum the store refuses is signed', async () => {
    const { endpoint, received } = await scripted(({ headers }, response) => {
      if (headers['x-amz-checksum-crc32'] === undefined) return accept(response)
      response.writeHead(501).end('<Error><Code>NotImplemented</Code><Message>A header</Message></Error>')
    })
    await open(endpoint).uploadPart(key, 'id', 1, body, { crc32: crc32Text(body) })
    expect(received.map(one => one.headers['x-amz-content-sha256'])).toEqual(['UNSIGNED-PAYLOAD', hex])
  })

  test.each([
    ['https://store.example', {}, false],
    ['http://store.example', {}, true],
    ['http://10.0.0.7:9000', {}, true],
    ['http://localhost:9000', {}, false],
    ['http://[::1]:9000', {}, false],
    ['http://127.0.0.1:9000', { http: 'http://proxy.example' }, true],
    ['http://127.0.0.1:9000', { http: 'http://proxy.example', except: '127.0.0.1' }, false],
  ])('bodies to %s with the proxies %o are signed: %s', (endpoint, proxies, expected) => {
    expect(open(endpoint, { network: { ...plainNetwork, proxies } }).signsPayload).toBe(expected)
  })

  test('one connection serves many puts, large ones too', async () => {
    const ports = new Set<number | undefined>()
    const { endpoint } = await scripted((_, response) => {
      ports.add(response.socket?.remotePort)
      accept(response)
    })
    const store = open(endpoint, { maxSockets: 1 })
    const large = Buffer.alloc(3 * 1024 * 1024)
    for (let i = 0; i < 5; i++) await store.put(`${key}${i}`, large, { headers, checksums: {} })
    expect(ports.size).toBe(1)
  })
})

test('what the server computed is compared with ours', async () => {
  const { endpoint } = await scripted((_, response) =>
    accept(response, { 'x-amz-checksum-crc32': crc32Text(Buffer.from('other bytes')) }),
  )
  const error = await refusal(open(endpoint).put(key, body, options))
  expect(error.kind).toBe('bad-digest')
})

describe('region', () => {
  test('a redirect tells the right region', async () => {
    const { endpoint } = await scripted((_, response) =>
      refuse(response, 301, 'PermanentRedirect', { headers: { 'x-amz-bucket-region': 'ap-south-1' } }),
    )
    const store = open(endpoint)
    for (const attempt of [
      () => store.put(key, body, options),
      () => store.checkBucket(),
      () => store.head(key),
    ]) {
      const error = await refusal(attempt())
      expect(error.kind).toBe('wrong-region')
      expect(error.cure).toContain('AWS_REGION=ap-south-1')
      expect(error.details['bucketRegion']).toBe('ap-south-1')
    }
  })

  test('so does a malformed authorization header', async () => {
    const { endpoint } = await scripted((_, response) =>
      refuse(response, 400, 'AuthorizationHeaderMalformed', { xml: '<Region>us-west-2</Region>' }),
    )
    const store = open(endpoint)
    for (const attempt of [() => store.put(key, body, options), () => store.checkBucket()]) {
      const error = await refusal(attempt())
      expect(error.kind).toBe('wrong-region')
      expect(error.cure).toContain('AWS_REGION=us-west-2')
    }
  })
})

describe('tokens', () => {
  /** Accepts only the second token. */
  const expiring: Handler = (request, response) => {
    if (request.headers['x-amz-security-token'] !== 'token-2') {
      if (request.method === 'HEAD') response.writeHead(400).end()
      else refuse(response, 400, 'ExpiredToken')
    } else if (request.method === 'HEAD')
      response.writeHead(200, { 'content-length': '5', etag: '"e"' }).end()
    else if (request.method === 'GET' && request.url.includes('list-type')) {
      response.end('<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>')
    } else accept(response)
  }
  function provider() {
    let asked = 0
    return { provide: async () => ({ ...credentials, sessionToken: `token-${++asked}` }), asked: () => asked }
  }

  for (const [name, act] of Object.entries({
    put: (store: ObjectStore) => store.put(key, body, options),
    list: (store: ObjectStore) => drain(store.list()),
    head: (store: ObjectStore) => store.head(key),
  })) {
    test(`${name}: an expired one is renewed through the provider once`, async () => {
      const { endpoint } = await scripted(expiring)
      const { provide, asked } = provider()
      await act(open(endpoint, { credentials: provide }))
      expect(asked()).toBe(2)
    })

    test(`${name}: where there is no newer one, that is the error`, async () => {
      const { endpoint } = await scripted(expiring)
      const error = await refusal(
        act(open(endpoint, { credentials: { ...credentials, sessionToken: 'old' } })),
      )
      expect(error.kind).toBe('expired-token')
      expect(error.exitCode).toBe(5)
    })
  }

  test('puts under way together renew it once', async () => {
    const { endpoint } = await scripted(expiring)
    const { provide, asked } = provider()
    const store = open(endpoint, { credentials: provide })
    await Promise.all(Array.from({ length: 10 }, (_, i) => store.put(`${key}${i}`, body, options)))
    expect(asked()).toBe(2)
  })
})

describe('clock', () => {
  const hour = 3_600_000
  const skewed =
    (patience: number): Handler =>
    (request, response, count) => {
      const now = Date.now() + hour
      const stamp = String(request.headers['x-amz-date']).replace(
        /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/,
        '$1-$2-$3T$4:$5:$6Z',
      )
      const date = new Date(now).toUTCString()
      if (count > patience || Math.abs(Date.parse(stamp) - now) > 15 * 60_000) {
        refuse(response, 403, 'RequestTimeTooSkewed', { headers: { date } })
      } else accept(response, { date })
    }

  test('a put corrects it once and goes on', async () => {
    const { endpoint, received } = await scripted(skewed(99))
    const store = open(endpoint)
    await store.put(key, body, options)
    await store.put(key, body, options)
    expect(received).toHaveLength(3)
  })

  test('where that does not help, the clock is the error', async () => {
    const { endpoint } = await scripted(skewed(0))
    const error = await refusal(open(endpoint).put(key, body, options))
    expect(error.kind).toBe('clock-skew')
    expect(error.cure).toContain('NTP')
  })
})

describe('network', () => {
  test('nothing listens', async () => {
    const { endpoint } = await scripted((_, response) => accept(response))
    opened.splice(0)[0]!()
    const store = open(endpoint)
    for (const attempt of [() => store.put(key, body, options), () => store.head(key)]) {
      const error = await refusal(attempt())
      expect(error).toMatchObject({ kind: 'network', retryable: true, exitCode: 5 })
      expect(error.message).toMatch(/the connection failed: nothing is listening there \(ECONNREFUSED\)$/)
    }
  })

  test('a server that says nothing is a timeout, for put, head and a body that stops', async () => {
    const { endpoint } = await scripted((request, response) => {
      if (request.method !== 'GET') return
      response.writeHead(200, { 'content-length': '1000', etag: '"e"' })
      response.write('half of it')
    })
    const store = open(endpoint, { timeouts: { idleMs: 100 } })
    expect((await refusal(store.put(key, body, options))).kind).toBe('timeout')
    expect((await refusal(store.createUpload(key, { headers }))).kind).toBe('timeout')
    const content = await store.get(key)
    expect((await refusal(drainBody(content!.body))).retryable).toBe(true)
  })

  test('an answer that drips is a timeout too: a listing, an object, an object into a buffer', {
    timeout: 30_000,
  }, async () => {
    const drips: NodeJS.Timeout[] = []
    const { endpoint } = await scripted((request, response) => {
      const isListing = request.url.includes('list-type')
      response.writeHead(200, isListing ? {} : { 'content-length': '100000', etag: '"e"' })
      response.write(isListing ? '<?xml version="1.0"?><ListBucketResult>' : 'x')
      drips.push(setInterval(() => response.write(' '), 60))
    })
    try {
      const store = open(endpoint, { timeouts: { idleMs: 100 }, readAttempts: 1 })
      const listed = await refusal(Array.fromAsync(store.list()))
      expect(listed).toMatchObject({ kind: 'timeout', retryable: true })
      expect(listed.message).toMatch(/only \d+ bytes of the answer came in/)
      const content = await store.get(key)
      expect((await refusal(drainBody(content!.body))).kind).toBe('timeout')
      expect((await refusal(store.getInto(key, Buffer.alloc(100_000)))).kind).toBe('timeout')
    } finally {
      for (const drip of drips) clearInterval(drip)
    }
  })

  test.each([
    ['is cut', '<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a'],
    [
      'has a date that is none',
      '<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>1</Size><LastModified>never</LastModified></Contents></ListBucketResult>',
    ],
    ['is no XML', 'oops'],
  ])('a listing that %s is no bug of ours, and may be another answer next time', async (_, answer) => {
    const { endpoint } = await scripted((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/xml' })
      response.end(`<?xml version="1.0" encoding="UTF-8"?>${answer}`)
    })
    const error = await refusal(Array.fromAsync(open(endpoint, { readAttempts: 1 }).list()))
    expect(error).toMatchObject({ exitCode: 5, retryable: true })
    expect(error.message).toContain('other than S3')
  })

  test('a reset is tried once more, asking first, and then is the error', async () => {
    const { endpoint, received } = await scripted((_, response) => response.socket?.resetAndDestroy())
    const error = await refusal(open(endpoint).put(key, body, options))
    expect(error).toMatchObject({ kind: 'network', retryable: true })
    expect(received.map(request => request.headers.expect)).toEqual([undefined, '100-continue'])
  })

  test('a kept connection that the server has closed costs nothing', async () => {
    const { endpoint, received } = await scripted((_, response, count) => {
      if (count === 2) response.socket?.resetAndDestroy()
      else accept(response)
    })
    const store = open(endpoint)
    await store.put(key, body, options)
    await store.put(key, body, options)
    expect(received).toHaveLength(3)
  })

  test('a lost response to a conditional put ends as "exists", for the caller to compare', async () => {
    const stored = new Set<string>()
    const { endpoint } = await scripted((request, response) => {
      if (request.method === 'HEAD') refuse(response, 404, 'NoSuchKey')
      else if (stored.has(request.url)) refuse(response, 412, 'PreconditionFailed')
      else {
        stored.add(request.url)
        response.socket?.resetAndDestroy()
      }
    })
    const error = await refusal(open(endpoint).put(key, body, { ...options, ifNoneMatch: true }))
    expect(error.kind).toBe('exists')
  })

  test('a large body refused early: the reason is heard', async () => {
    const server = createServer((incoming, response) => {
      if (incoming.headers.expect === undefined) return void incoming.socket.resetAndDestroy()
      refuse(response, 403, 'AccessDenied')
    })
    // Without a listener Node.js would say 100 Continue by itself.
    server.on('checkContinue', (_, response) => refuse(response, 403, 'AccessDenied'))
    await listening(server)
    opened.push(() => server.close().closeAllConnections())
    const store = open(urlOf(server))
    const error = await refusal(store.put(key, Buffer.alloc(8 * 1024 * 1024), { headers, checksums: {} }))
    expect(error.kind).toBe('denied')
  })

  test('closing the store aborts what is in flight', async () => {
    const { endpoint, received } = await scripted(() => undefined)
    const store = open(endpoint)
    const putting = refusal(store.put(key, body, options))
    while (received.length === 0) await new Promise(setImmediate)
    store.close()
    expect((await putting).kind).toBe('aborted')
  })
})

async function drainBody(body: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0
  for await (const chunk of body) bytes += chunk.byteLength
  return bytes
}

describe('a body that is not what was stored', () => {
  test('cut short', async () => {
    const { endpoint } = await scripted((_, response) => {
      response.writeHead(200, { 'content-length': '1000', etag: '"e"' })
      response.write('half of it', () => response.socket?.destroy())
    })
    const content = await open(endpoint).get(key)
    expect(content?.head.size).toBe(1000)
    expect((await refusal(drainBody(content!.body))).kind).toBe('network')
  })

  test('other bytes', async () => {
    const { endpoint } = await scripted((_, response) => {
      response.writeHead(200, {
        'content-length': String(body.length),
        etag: '"e"',
        'x-amz-checksum-crc32': crc32Text(body),
      })
      response.end(Buffer.from(body).fill('x', 0, 1))
    })
    const content = await open(endpoint).get(key)
    expect((await refusal(drainBody(content!.body))).kind).toBe('bad-digest')
  })

  test('into memory: cut short, without a length, longer than asked for, and on a connection used again', async () => {
    const object = { etag: '"e"', 'last-modified': 'Sat, 28 Nov 2026 20:00:00 GMT' }
    const ports = new Set<number | undefined>()
    const { endpoint } = await scripted((_request, response, count) => {
      ports.add(response.socket?.remotePort)
      if (count === 1) {
        response.writeHead(206, { ...object, 'content-length': '30', 'content-range': 'bytes 0-29/30' })
        response.write(body)
        setImmediate(() => response.destroy())
      } else if (count === 2 || count === 3) {
        // Chunked; the second request is the ordinary way, which takes that.
        response.writeHead(206, { ...object, 'content-range': `bytes 0-${body.length - 1}/${body.length}` })
        response.end(body)
      } else {
        response.writeHead(200, { ...object, 'content-length': String(body.length) })
        response.end(body)
      }
    })
    const store = open(endpoint, { maxSockets: 1, readAttempts: 1 })
    const whole = Buffer.alloc(body.length)
    const cut = await refusal(store.getInto(key, Buffer.alloc(30)))
    expect(cut.kind).toBe('network')
    expect(await store.getInto(key, whole)).toMatchObject({ bytes: body.length, head: { size: body.length } })
    expect(whole.equals(body)).toBe(true)
    ports.clear()
    for (let i = 0; i < 3; i++) {
      whole.fill(0)
      expect((await store.getInto(key, whole))?.bytes).toBe(body.length)
      expect(whole.equals(body)).toBe(true)
    }
    expect(ports.size).toBe(1)
    const start = Buffer.alloc(4)
    expect(await store.getInto(key, start, { start: 0 })).toMatchObject({
      bytes: 4,
      head: { size: body.length },
    })
    expect(start.equals(body.subarray(0, 4))).toBe(true)
    await expect(store.getInto(key, start, { start: 4 })).rejects.toThrow(/byte ranges are ignored/)
  })

  test('a composite checksum is not taken for one of the whole', async () => {
    const { endpoint } = await scripted((_, response) => {
      response.writeHead(200, {
        'content-length': String(body.length),
        etag: '"0123-2"',
        'x-amz-checksum-crc32': `${crc32Text(Buffer.from('part sums'))}-2`,
        'x-amz-checksum-type': 'COMPOSITE',
      })
      response.end(body)
    })
    const content = await open(endpoint).get(key)
    expect(content?.head).toMatchObject({ checksums: {} })
    expect(await drainBody(content!.body)).toBe(body.length)
  })
})

describe('listings are complete or an error', () => {
  const entry = (name: string) =>
    `<Contents><Key>${encodeURIComponent(name)}</Key><Size>1</Size><ETag>"e"</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>`
  const page = (keys: string[], more: { truncated?: boolean; token?: string } = {}) =>
    `<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>${more.truncated ?? more.token !== undefined}</IsTruncated>${keys.map(entry).join('')}${more.token ? `<NextContinuationToken>${more.token}</NextContinuationToken>` : ''}</ListBucketResult>`

  async function listing(pages: ((response: ServerResponse) => void)[]) {
    const { endpoint, received } = await scripted((request, response) => {
      const token = new URL(request.url, 'http://x').searchParams.get('continuation-token') ?? '0'
      pages[Number(token)]!(response)
    })
    return { store: open(endpoint), received }
  }
  const answer =
    (xml: string) =>
    (response: ServerResponse): void => {
      response.end(xml)
    }
  const healthy = (count: number) =>
    Array.from({ length: count }, (_, i) =>
      answer(page([`k${i}a`, `k${i}b`], i < count - 1 ? { token: String(i + 1) } : {})),
    )

  test('eight pages', async () => {
    const { store } = await listing(healthy(8))
    expect((await drain(store.list())).length).toBe(16)
  })

  test.each([
    ['plain', '<Key>a%2Fb+c</Key>'],
    ['in CDATA', '<Key><![CDATA[a%2Fb+c]]></Key>'],
  ])('an object whose key is %s', async (_, key) => {
    const one = entry('').replace('<Key></Key>', key).replace('"e"', '&quot;e&quot;')
    const { store } = await listing([answer(page([]).replace('</List', `${one}</List`))])
    expect(await drain(store.list())).toEqual([
      {
        key: 'a/b c',
        size: 1,
        etag: 'e',
        lastModified: new Date('2026-01-01T00:00:00Z'),
        storageClass: undefined,
      },
    ])
  })

  test('page 7 fails for good: an error after six pages', async () => {
    const pages = healthy(8)
    pages[6] = response => refuse(response, 403, 'AccessDenied')
    const { store } = await listing(pages)
    let seen = 0
    const error = await refusal(
      (async () => {
        for await (const page of store.list()) seen += page.length
      })(),
    )
    expect(error.kind).toBe('denied')
    expect(seen).toBe(12)
  })

  test('page 7 fails once: tried again, and complete', async () => {
    const pages = healthy(8)
    let failures = 1
    const good = pages[6]!
    pages[6] = response => (failures-- > 0 ? refuse(response, 503, 'SlowDown') : good(response))
    const { store, received } = await listing(pages)
    expect((await drain(store.list())).length).toBe(16)
    expect(received).toHaveLength(9)
  })

  test.for<[string, ((response: ServerResponse) => void)[], RegExp]>([
    ['truncated without a token', [answer(page(['a'], { truncated: true }))], /more follows/],
    [
      'a token that leads back',
      [answer(page([], { token: '1' })), answer(page([], { token: '1' }))],
      /same continuation/,
    ],
    ['keys out of order', [answer(page(['b', 'a']))], /out of order/],
    ['a key twice', [answer(page(['a'], { token: '1' })), answer(page(['a']))], /out of order/],
    ['UTF-16 order where UTF-8 order is due', [answer(page(['\u{1F3A7}', '\uFF21']))], /out of order/],
  ])('%s', async ([, pages, message]) => {
    const { store } = await listing(pages)
    const error = await refusal(drain(store.list()))
    expect(error.kind).toBe('invalid')
    expect(error.message).toMatch(message)
  })

  test('a key outside the prefix', async () => {
    const { store } = await listing([answer(page(['audio/a', 'video/b']))])
    expect((await refusal(drain(store.list({ prefix: 'audio/' })))).message).toMatch(/outside the prefix/)
  })

  test('a connection that breaks in the middle of a page', async () => {
    const { endpoint } = await scripted((_, response) => {
      response.writeHead(200, { 'content-length': '5000' })
      response.write(page(['a']).slice(0, 60), () => response.socket?.destroy())
    })
    expect((await refusal(drain(open(endpoint).list()))).retryable).toBe(true)
  })
})

describe('deletes', () => {
  test('one refused key among others is a value', async () => {
    const { endpoint } = await scripted((_, response) =>
      response.end(
        '<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>',
      ),
    )
    const outcomes = await open(endpoint).delete([{ key: 'a' }, { key: 'b' }, { key: 'c' }])
    expect(outcomes.map(outcome => outcome.error?.kind)).toEqual([undefined, 'denied', 'unavailable'])
  })

  test('a batch is one request, which names keys and versions; markers are told of what was hidden, not of what went', async () => {
    let body = ''
    let requests = 0
    const server = createServer((incoming, response) => {
      requests++
      incoming.on('data', chunk => {
        body += chunk
      })
      incoming.on('end', () =>
        response.end(
          '<DeleteResult><Deleted><Key>a</Key><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>m1</DeleteMarkerVersionId></Deleted>' +
            '<Deleted><Key>b</Key><VersionId>v2</VersionId><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>v2</DeleteMarkerVersionId></Deleted></DeleteResult>',
        ),
      )
    })
    await listening(server)
    try {
      const store = open(urlOf(server))
      expect(await store.delete([{ key: 'a' }, { key: 'b', versionId: 'v2' }])).toEqual([
        { key: 'a', deleteMarkerVersionId: 'm1' },
        { key: 'b', versionId: 'v2' },
      ])
    } finally {
      server.close()
      server.closeAllConnections()
    }
    expect(requests).toBe(1)
    expect([...body.matchAll(/<Object>(.*?)<\/Object>/g)].map(([, inside]) => inside)).toEqual([
      '<Key>a</Key>',
      '<Key>b</Key><VersionId>v2</VersionId>',
    ])
  })

  test('a batch that fails fails each of its keys', async () => {
    const { endpoint } = await scripted((_, response) => refuse(response, 403, 'AccessDenied'))
    const outcomes = await open(endpoint).delete([{ key: 'a' }, { key: 'b' }])
    expect(outcomes.map(outcome => outcome.error?.kind)).toEqual(['denied', 'denied'])
  })

  test('keys that XML cannot hold go one by one', async () => {
    const { endpoint, received } = await scripted((_, response) => response.writeHead(204).end())
    const outcomes = await open(endpoint).delete([{ key: 'bell\u0007' }])
    expect(outcomes).toEqual([{ key: 'bell\u0007' }])
    expect(received[0]).toMatchObject({ method: 'DELETE' })
    expect(received[0]!.url).toMatch(/^\/music\/bell%07/)
  })
})

test('a HEAD refused without a body is asked again as a GET, for the reason', async () => {
  const { endpoint } = await scripted((request, response) =>
    request.method === 'HEAD'
      ? response.writeHead(400).end()
      : refuse(response, 400, 'KMS.DisabledException'),
  )
  expect((await refusal(open(endpoint).head(key))).kind).toBe('denied')
})

describe('a HEAD', () => {
  const found = {
    'content-length': '1234567',
    'x-amz-version-id': 'v1',
    'last-modified': new Date(0).toUTCString(),
  }

  test('is one plain request, and its connection serves the next', async () => {
    const ports = new Set<number | undefined>()
    const { endpoint, received } = await scripted((_, response) => {
      ports.add(response.socket?.remotePort)
      accept(response, found)
    })
    const store = open(endpoint)
    for (const versionId of [undefined, 'v/1 &']) {
      const head = await store.head(key, versionId === undefined ? {} : { versionId })
      expect(head).toMatchObject({
        key,
        size: 1_234_567,
        etag: '9dd4e461268c8034f5c8564e155c67a6',
        versionId: 'v1',
      })
    }
    expect(ports.size).toBe(1)
    expect(received.map(({ method }) => method)).toEqual(['HEAD', 'HEAD'])
    expect(received[0]!.url).toBe('/music/audio/Bj%C3%B6rk/J%C3%B3ga_1a2b3c4d.flac')
    expect(received[1]!.url).toBe(`${received[0]!.url}?versionId=v%2F1%20%26`)
    const { headers } = received[0]!
    expect(headers).toMatchObject({ 'x-amz-checksum-mode': 'ENABLED' })
    expect(headers['authorization']).toContain('x-amz-checksum-mode')
    expect(headers['content-length'] ?? headers['transfer-encoding'] ?? headers['expect']).toBeUndefined()
  })

  test('that is answered with a body all the same leaves nothing for the next', async () => {
    const server = createRawServer(socket => {
      socket.once('data', () =>
        socket.write('HTTP/1.1 200 OK\r\nETag: "abc"\r\nContent-Length: 4\r\n\r\nbody'),
      )
    })
    await listening(server)
    const store = open(urlOf(server))
    for (let turn = 0; turn < 3; turn++) expect(await store.head(key)).toMatchObject({ etag: 'abc', size: 4 })
    server.close()
  })

  test.each([
    ['what may pass is asked again', 503, 3, 4],
    ['not more often than is allowed', 503, 4, 4],
    ['what does not pass is not', 403, 1, 1],
    ['nor is what is not there', 404, 1, 1],
  ])('%s: HTTP %i, %i times', async (_name, status, times, asked) => {
    let left = times
    const { endpoint, received } = await scripted((_, response) =>
      left-- > 0 ? response.writeHead(status).end() : accept(response, found),
    )
    const looked = open(endpoint).head(key)
    if (status === 404) expect(await looked).toBeUndefined()
    else if (times === 3) expect(await looked).toMatchObject({ size: 1_234_567 })
    else expect((await refusal(looked)).status).toBe(status)
    expect(received).toHaveLength(asked)
  })

  test('corrects the clock, although no body says that it is wrong', async () => {
    const serverTime = Date.now() - 3_600_000
    const { endpoint, received } = await scripted((request, response) => {
      const stamp = String(request.headers['x-amz-date'])
      const signed = Date.parse(stamp.replace(/(....)(..)(..)T(..)(..)(..)Z/, '$1-$2-$3T$4:$5:$6Z'))
      const isRight = Math.abs(signed - serverTime) < 60_000
      const date = new Date(serverTime).toUTCString()
      if (isRight) accept(response, { ...found, date })
      else response.writeHead(403, { date }).end()
    })
    expect(await open(endpoint).head(key)).toMatchObject({ size: 1_234_567 })
    expect(received).toHaveLength(2)
  })

  test.each([
    ['an empty object', (response: ServerResponse) => refuse(response, 416, 'InvalidRange')],
    [
      'no ranges',
      (response: ServerResponse) =>
        response.writeHead(200, { 'content-length': '7' }).end('all of it'.slice(0, 7)),
    ],
  ])('a 400 that the GET does not explain (%s): looked at once more', async (_name, answer) => {
    let isFirst = true
    const { endpoint } = await scripted((request, response) => {
      if (request.method === 'GET') answer(response)
      else if (isFirst) response.writeHead(400).end()
      else accept(response, found)
      isFirst = false
    })
    expect(await open(endpoint).head(key)).toMatchObject({ size: 1_234_567 })
  })
})

test('a store that takes few connections: whoever gets none takes those that lie idle', async () => {
  const { endpoint } = await scripted(
    (request, response) => {
      if (request.method === 'HEAD') accept(response, { 'content-length': '1' })
      else
        response.writeHead(200).end('<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>')
    },
    { mostConnections: 3 },
  )
  const store = open(endpoint)
  const looks = () => Promise.all(['a', 'b', 'c'].map(one => store.head(one)))
  const lists = () => Promise.all(['a', 'b', 'c'].map(prefix => drain(store.list({ prefix }))))
  // Each takes all there are, and leaves them idle, for a minute.
  for (let turn = 0; turn < 3; turn++) {
    expect((await looks()).map(head => head?.size)).toEqual([1, 1, 1])
    expect(await lists()).toEqual([[], [], []])
  }
})

test('puts wait for a socket rather than opening more than their share', async () => {
  const ports = new Set<number | undefined>()
  const { endpoint } = await scripted((_, response) => {
    ports.add(response.socket?.remotePort)
    setImmediate(() => accept(response))
  })
  const store = open(endpoint, { maxSockets: 2 })
  await Promise.all(Array.from({ length: 20 }, (_, i) => store.put(`${key}${i}`, body, options)))
  expect(ports.size).toBe(2)
})

test('an answer that is not S3 (a hotel wifi, say) is never taken for success', async () => {
  const { endpoint } = await scripted((request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' })
    response.end(request.method === 'HEAD' ? undefined : '<html><body>Welcome!</body></html>')
  })
  const store = open(endpoint)
  for (const attempt of [
    () => drain(store.list()),
    () => drain(store.listUploads()),
    () => store.checkBucket(),
    () => store.put(key, body, options),
    () => store.uploadPart(key, 'u', 1, body, { crc32: crc32Text(body) }),
    () => store.listParts(key, 'u'),
    () => store.createUpload(key, { headers }),
    () => store.completeUpload(key, 'u', [], { checksums: {}, size: 0 }),
    () => store.head(key),
    () => store.get(key),
  ]) {
    expect((await refusal(attempt())).kind).toMatch(/^(invalid|unavailable)$/)
  }
})
