/** Behind a company's proxy, to a store whose name only the proxy knows and whose certificate a private authority signed. */
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:https'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Proxies } from '../../src/core/proxy.ts'
import { previewGuard } from '../../src/fetch/public-address.ts'
import { download } from '../../src/fetch/url-download.ts'
import { enterNetwork, plainNetwork } from '../../src/network.ts'
import { createS3Store } from '../../src/storage/s3.ts'
import { fakeAudio } from '../support/bed.ts'
import { selfSigned } from '../support/certificate.ts'
import { cli } from '../support/cli.ts'
import { end, listening, portOf } from '../support/listening.ts'
import { startProxy, type TestProxy } from '../support/proxy.ts'
import { accessKey, type TestServer, testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const host = 'store.corp.example'
const { key, cert } = selfSigned([host, 'music.corp.example'])
let dir: string
let s3: TestServer
let proxies: TestProxy[]

beforeAll(async () => {
  dir = temporaryFolder('network')
  await writeFile(path.join(dir, 'ca.pem'), cert)
  await mkdir(path.join(dir, 'audio'))
  s3 = await testServer({ tls: { key, cert } })
  proxies = []
  await cli(['migrate'], { cwd: dir })
})
afterEach(async () => {
  for (const proxy of proxies.splice(0)) await proxy.close()
})
afterAll(async () => {
  await enterNetwork(plainNetwork)
  await s3.close()
})

async function proxyTo(names: Record<string, number>, login?: string): Promise<TestProxy> {
  const proxy = await startProxy(names, login)
  proxies.push(proxy)
  return proxy
}

const settings = (more: Record<string, string>) => ({
  S3_BUCKET_NAME: 'music',
  S3_ENDPOINT: `https://${host}`,
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: accessKey.accessKeyId,
  AWS_SECRET_ACCESS_KEY: accessKey.secretAccessKey,
  ...more,
})

const file = (set: Record<string, string>) =>
  writeFile(
    path.join(dir, '.env'),
    Object.entries(set)
      .map(([name, value]) => `${name}="${value}"\n`)
      .join(''),
  )

test('without the authority: said, with the variable that names it', async () => {
  const proxy = await proxyTo({ [host]: s3.port })
  await file(settings({ HTTPS_PROXY: proxy.url }))
  const { exitCode, stderr } = await cli(['reconcile'], { cwd: dir })
  expect(exitCode).toBe(5)
  expect(stderr).toContain(`cannot use bucket music at https://${host}`)
  expect(stderr).toMatch(/AWS_CA_BUNDLE .*NODE_EXTRA_CA_CERTS/)
})

test('a file of certificates that is none', async () => {
  await writeFile(path.join(dir, 'none.pem'), 'hello')
  await file(settings({ AWS_CA_BUNDLE: 'none.pem' }))
  const none = await cli(['reconcile'], { cwd: dir })
  expect([none.exitCode, none.stderr]).toEqual([
    2,
    expect.stringContaining('contains no certificate in PEM form'),
  ])
  await file(settings({ AWS_CA_BUNDLE: 'gone.pem' }))
  const gone = await cli(['reconcile'], { cwd: dir })
  expect([gone.exitCode, gone.stderr]).toEqual([2, expect.stringContaining('AWS_CA_BUNDLE names')])
})

test('from .env: proxy with a login, private authority; every request of a store goes through', async () => {
  const proxy = await proxyTo({ [host]: s3.port }, 'dj:pass word')
  const login = proxy.url.replace('pass word', 'pass%20word')
  await file(settings({ HTTPS_PROXY: login, AWS_CA_BUNDLE: 'ca.pem' }))
  await writeFile(path.join(dir, 'audio', 'small.flac'), fakeAudio(70_000, 1))
  await writeFile(path.join(dir, 'audio', 'large.flac'), fakeAudio(17 * 1024 * 1024, 2))
  for (const command of [['import'], ['upload-local'], ['reconcile']]) {
    const { exitCode, stderr } = await cli(command, { cwd: dir })
    expect([command, exitCode, stderr]).toEqual([command, 0, expect.any(String)])
  }
  const doctor = await cli(['doctor'], { cwd: dir })
  expect(doctor.stdout).toMatch(/ok +bucket/)
  expect(new Set(proxy.asked)).toEqual(new Set([`CONNECT ${host}:443`]))
})

test('NO_PROXY: asked without', async () => {
  const proxy = await proxyTo({ [host]: s3.port })
  const store = createS3Store({
    bucket: 'music',
    endpoint: `https://127.0.0.1:${s3.port}`,
    credentials: { ...accessKey },
    network: { proxies: { https: proxy.url, except: '127.0.0.0/8' }, certificates: [] },
  })
  await store.checkBucket()
  store.close()
  expect(proxy.asked).toEqual([])
})

test('a proxy that refuses is named, a login is not', async () => {
  const proxy = await proxyTo({ [host]: s3.port }, 'dj:secret-word')
  await file(
    settings({ HTTPS_PROXY: proxy.url.replace('secret-word', 'wrong-word'), AWS_CA_BUNDLE: 'ca.pem' }),
  )
  const { exitCode, stderr } = await cli(['reconcile'], { cwd: dir })
  expect(exitCode).toBe(5)
  expect(stderr).toContain('407')
  expect(stderr).toMatch(/Check the proxy http:\/\/127\.0\.0\.1:\d+ \(HTTPS_PROXY/)
  expect(stderr).not.toContain('-word')
})

test('http:// addresses are relayed, puts too', async () => {
  await using plain = await testServer()
  const proxy = await proxyTo({ 'plain.corp.example': plain.port }, 'dj:word')
  const store = createS3Store({
    bucket: 'music',
    endpoint: 'http://plain.corp.example',
    credentials: { ...accessKey },
    network: { proxies: { http: proxy.url }, certificates: [] },
  })
  const body = Buffer.from('through a relay')
  await store.put('a b.mp3', body, {
    headers: { contentType: 'audio/mpeg' },
    checksums: {},
    ifNoneMatch: true,
  })
  expect((await store.head('a b.mp3'))?.size).toBe(body.length)
  store.close()
  expect(proxy.asked).toContain('PUT http://plain.corp.example/music/a%20b.mp3')
})

describe('downloads of fetch', () => {
  const music = createServer({ key, cert }, (request, response) => {
    if (request.url === '/moved')
      return void response.writeHead(302, { location: 'https://inside.lan/x' }).end()
    response.end('music')
  })
  const names = async (login?: string) => {
    const port = portOf(music)
    return proxyTo({ 'store.corp.example': port, 'inside.lan': port, localhost: port }, login)
  }
  const get = async (url: string, proxies: Proxies, isAllowed?: (address: string) => boolean) => {
    const body = download(url, {
      maxBytes: 1e6,
      maxAttempts: 1,
      signal: new AbortController().signal,
      network: { proxies, certificates: [] },
      isAllowed,
    })
    return Buffer.concat(await Array.fromAsync(body)).toString()
  }
  beforeAll(async () => {
    await enterNetwork({
      ...plainNetwork,
      certificates: [{ variable: 'AWS_CA_BUNDLE', path: path.join(dir, 'ca.pem') }],
    })
    await listening(music)
  })
  afterAll(() => end(music))

  test('go through the proxy, by the name that only it knows', async () => {
    const proxy = await names()
    expect(await get(`https://${host}/a.mp3`, { https: proxy.url }, previewGuard(undefined))).toBe('music')
    expect(proxy.asked).toEqual([`CONNECT ${host}:443`])
  })
  test('http:// too', async () => {
    const plain = await listening(createHttpServer((_, response) => response.end('plain')))
    const proxy = await proxyTo({ [host]: portOf(plain) })
    expect(await get(`http://${host}/a.mp3`, { http: proxy.url }, previewGuard(undefined))).toBe('plain')
    expect(proxy.asked).toEqual([`GET http://${host}/a.mp3`])
    plain.close()
  })
  test('not where NO_PROXY names the host', async () => {
    const proxy = await names()
    const port = portOf(music)
    expect(await get(`https://127.0.0.1:${port}/a.mp3`, { https: proxy.url, except: '127.0.0.1' })).toBe(
      'music',
    )
    expect(proxy.asked).toEqual([])
  })
  test.each([
    ['an address', 'https://10.0.0.1/a.mp3'],
    ['a name that leads inside', 'https://localhost/a.mp3'],
    ['a name of networks only', 'https://inside.lan/a.mp3'],
    ['a name without a dot', 'https://intranet/a.mp3'],
    ['a redirect', `https://${host}/moved`],
  ])('what leads inside is not asked of the proxy: %s', async (_, url) => {
    const proxy = await names()
    await expect(get(url, { https: proxy.url }, previewGuard(undefined))).rejects.toMatchObject({
      code: 'fetch.private-address',
    })
    expect(proxy.asked.filter(line => !line.includes(host))).toEqual([])
  })
  test('a proxy that wants a login is named', async () => {
    const proxy = await names('dj:hush')
    const bare = proxy.url.replace('dj:hush@', '')
    await expect(get(`https://${host}/a.mp3`, { https: bare })).rejects.toMatchObject({
      code: 'fetch.proxy',
      message: expect.stringMatching(/the proxy http:\/\/127\.0\.0\.1:\d+ wants a login/),
    })
    expect(await get(`https://${host}/a.mp3`, { https: proxy.url })).toBe('music')
  })
})

test('a health check goes through, also where a setting is wrong', async () => {
  const seen: string[] = []
  const service = createHttpServer((request, response) => {
    seen.push(request.url ?? '')
    response.end('OK')
  })
  await listening(service)
  const proxy = await proxyTo({ 'health.corp.example': portOf(service) })
  const more = { HTTP_PROXY: proxy.url, AUTODJ_HEALTHCHECK: 'http://health.corp.example/ping' }
  await file(settings(more))
  await cli(['import'], { cwd: dir })
  expect(seen).toEqual(['/ping/start', '/ping/0'])
  await enterNetwork(plainNetwork)
  await file(settings({ ...more, S3_ADDRESSING: 'sideways' }))
  await cli(['import'], { cwd: dir })
  expect(seen.at(-1)).toBe('/ping/2')
  expect(proxy.asked.every(line => line.includes('health.corp.example'))).toBe(true)
  end(service)
})

test('fetch goes through, and no more once there is no proxy', async () => {
  const music = await listening(createServer({ key, cert }, (_, response) => response.end('music')))
  const proxy = await proxyTo({ 'music.corp.example': portOf(music) })
  await enterNetwork({
    proxies: { https: proxy.url },
    certificates: [{ variable: 'AWS_CA_BUNDLE', path: path.join(dir, 'ca.pem') }],
  })
  expect(await (await fetch('https://music.corp.example/a.mp3')).text()).toBe('music')
  expect(proxy.asked).toEqual(['CONNECT music.corp.example:443'])
  await enterNetwork(plainNetwork)
  await expect(fetch('https://music.corp.example/a.mp3')).rejects.toThrow('fetch failed')
  expect(proxy.asked).toHaveLength(1)
  end(music)
})
