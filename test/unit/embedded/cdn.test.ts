import { generateKeyPairSync } from 'node:crypto'
import { getSignedUrl } from '@aws-sdk/cloudfront-signer'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cdn, type CdnOptions, startCdn } from '../../support/cdn/cdn.ts'
import { accessKey, exchange, raw, type TestServer, testServer } from '../../support/s3-server.ts'

let server: TestServer
let now = Date.now()
const cors =
  '<CORSConfiguration><CORSRule><AllowedOrigin>https://app.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>*</AllowedHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>'

beforeAll(async () => {
  server = await testServer({ buckets: [{ name: 'music', documents: { cors } }] })
  const headers = { 'content-type': 'audio/mpeg', 'cache-control': 'public, max-age=100' }
  for (const path of ['/music/a', '/music/a%2Bb', '/music/a%20b']) {
    await raw(server, { method: 'PUT', path, body: `0123456789${path}`, headers })
  }
})

afterAll(() => server.close())

const cdn = (more: Partial<CdnOptions> = {}): Promise<Cdn> =>
  startCdn({
    origin: server.origin,
    clock: () => now,
    ...more,
  })

const get = (edge: Cdn, path: string, headers: Record<string, string> = {}, method = 'GET') =>
  exchange(edge, { method, path, headers: { host: edge.domain, ...headers } })

test('an object comes through unsigned, first as a miss, then as a hit', async () => {
  await using edge = await cdn()
  const first = await get(edge, '/a')
  expect(first.text).toBe('0123456789/music/a')
  expect(first.headers).toMatchObject({
    via: expect.stringMatching(/^1\.1 \w+\.cloudfront\.net \(CloudFront\)$/),
    'x-amz-cf-pop': expect.any(String),
    'x-amz-cf-id': expect.any(String),
    'x-cache': 'Miss from cloudfront',
    'content-type': 'audio/mpeg',
    'cache-control': 'public, max-age=100',
    etag: expect.stringMatching(/^"\w{32}"$/),
    'x-amz-server-side-encryption': 'AES256',
  })
  now += 7000
  const asked = server.requests.length
  const second = await get(edge, '/a', { range: 'bytes=0-0' })
  expect([second.status, second.text]).toEqual([206, '0'])
  expect(second.headers).toMatchObject({
    'x-cache': 'Hit from cloudfront',
    age: '7',
    'content-range': 'bytes 0-0/18',
    'accept-ranges': 'bytes',
    'content-length': '1',
  })
  expect(server.requests.length).toBe(asked)
  now += 100_000
  expect((await get(edge, '/a')).headers['x-cache']).toBe('Miss from cloudfront')
  const head = await get(edge, '/a', {}, 'HEAD')
  expect([head.status, head.body.length, head.headers['content-length']]).toEqual([200, 0, '18'])
  expect((await get(edge, '/a', { range: 'bytes=18-' })).status).toBe(416)
  expect((await get(edge, '/a', { 'if-none-match': head.headers.etag! })).status).toBe(304)
})

test('a plus in the path is a space to S3', async () => {
  await using edge = await cdn()
  expect((await get(edge, '/a%2Bb')).text).toContain('a%2Bb')
  expect((await get(edge, '/a+b')).text).toContain('a%20b')
})

test('errors are cached for ten seconds', async () => {
  await using edge = await cdn()
  const missing = await get(edge, '/late')
  expect([missing.status, missing.code, missing.headers['x-cache']]).toEqual([
    404,
    'NoSuchKey',
    'Error from cloudfront',
  ])
  await raw(server, { method: 'PUT', path: '/music/late', body: 'x' })
  now += 9000
  expect((await get(edge, '/late')).status).toBe(404)
  now += 1000
  expect((await get(edge, '/late')).status).toBe(200)
})

test('CORS is the bucket’s', async () => {
  await using edge = await cdn()
  const origin = 'https://app.example'
  expect((await get(edge, '/a')).headers['access-control-allow-origin']).toBeUndefined()
  expect((await get(edge, '/a', { origin })).headers['access-control-allow-origin']).toBe(origin)
  expect(
    (await get(edge, '/a', { origin: 'https://b.example' })).headers['access-control-allow-origin'],
  ).toBeUndefined()
  const preflight = await get(
    edge,
    '/a',
    { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'range' },
    'OPTIONS',
  )
  expect([preflight.status, preflight.headers['access-control-max-age']]).toEqual([200, '60'])
})

test.each(['rsa', 'ec'] as const)('signed URLs with an %s key', async kind => {
  const pair =
    kind === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const privateKey = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  await using edge = await cdn({
    trustedKeys: { K1: pair.publicKey.export({ type: 'spki', format: 'pem' }) as string },
  })
  const sign = (path: string, more: object = {}) => {
    const url = getSignedUrl({
      url: `${edge.url}${path}`,
      keyPairId: 'K1',
      privateKey,
      dateLessThan: new Date(now + 60_000).toISOString(),
      ...more,
    })
    return url.slice(edge.url.length)
  }
  expect((await get(edge, sign('/a'))).status).toBe(200)
  expect((await get(edge, sign('/a', { hashAlgorithm: 'SHA256' }))).status).toBe(200)
  expect((await get(edge, '/a')).code).toBe('MissingKey')
  expect((await get(edge, sign('/a', { keyPairId: 'K2' }))).code).toBe('InvalidKey')
  expect((await get(edge, sign('/a').replace('/a?', '/late?'))).code).toBe('AccessDenied')
  expect((await get(edge, sign('/a', { dateLessThan: new Date(now - 1000).toISOString() }))).code).toBe(
    'AccessDenied',
  )
})

test('plain HTTP on an HTTPS-only behaviour', async () => {
  await using only = await cdn({ viewerProtocol: 'https-only' })
  const refused = await get(only, '/a')
  expect(refused.status).toBe(403)
  expect(refused.text).toContain('Bad request')
  await using redirecting = await cdn({ viewerProtocol: 'redirect-to-https' })
  const redirected = await get(redirecting, '/a?x=1')
  expect([redirected.status, redirected.headers.location]).toEqual([
    301,
    `https://${redirecting.domain}/a?x=1`,
  ])
})

test('misbehaviour by rule', async () => {
  await using edge = await cdn()
  const during = async <T>(misbehave: Parameters<Cdn['addRule']>[0]['misbehave'], work: () => Promise<T>) => {
    const remove = edge.addRule({ match: { key: 'a' }, misbehave })
    try {
      return await work()
    } finally {
      remove()
    }
  }
  const ask = () => get(edge, '/a', { range: 'bytes=0-0' })
  const answered = await during({ answer: { status: 504 } }, ask)
  expect([answered.status, answered.headers['x-cache']]).toEqual([504, 'Error from cloudfront'])
  const mangled = await during(
    {
      mangle: answer => {
        delete answer.headers['via']
        answer.body = Buffer.from('!')
        return answer
      },
    },
    ask,
  )
  expect([mangled.status, mangled.text, mangled.headers.via]).toEqual([206, '!', undefined])
  expect((await during({ originDenied: true }, ask)).code).toBe('SignatureDoesNotMatch')
  expect((await during({ originRegion: 'eu-west-1' }, ask)).code).toBe('AuthorizationHeaderMalformed')
  expect((await during({ rewriteKey: key => `wrong/${key}` }, ask)).code).toBe('NoSuchKey')
  expect((await during({ ignoreRange: true }, ask)).status).toBe(200)
  expect((await during({ bypassCache: true }, ask)).headers['x-cache']).toBe('Miss from cloudfront')
  await expect(during({ reset: true }, ask)).rejects.toThrow()
  await expect(during({ reset: true, afterBytes: 3 }, () => get(edge, '/a'))).rejects.toThrow()
  expect((await ask()).text).toBe('0')
  expect((await get(edge, '/a', {}, 'POST')).status).toBe(403)
})

test('the cache is bounded, and large objects pass through', async () => {
  await using edge = await cdn({ cacheBytes: 40, maxObjectBytes: 30 })
  for (const path of ['/a', '/a%2Bb', '/a%20b', '/a']) await get(edge, path)
  expect(edge.cachedBytes).toBeLessThanOrEqual(40)
  const big = Buffer.alloc(100_000, 'abcdefghij')
  await raw(server, { method: 'PUT', path: '/music/big', body: big })
  expect((await get(edge, '/big')).body).toEqual(big)
  const ranged = await get(edge, '/big', { range: 'bytes=70001-70005' })
  expect([ranged.status, ranged.text, ranged.headers['content-range']]).toEqual([
    206,
    'bcdef',
    'bytes 70001-70005/100000',
  ])
  expect(ranged.headers['x-cache']).toBe('Miss from cloudfront')
})

test('an origin that is away is a 502', async () => {
  await using edge = await cdn({
    origin: { url: 'http://127.0.0.1:1', region: 'us-east-1', bucket: 'music', credentials: accessKey },
  })
  const answer = await get(edge, '/a')
  expect([answer.status, answer.headers['x-cache']]).toEqual([502, 'Error from cloudfront'])
})
