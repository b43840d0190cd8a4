/** Behind a company's proxy, to a store whose name only the proxy knows and whose certificate a private authority signed. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { enterNetwork, plainNetwork } from '../../src/network.ts'
import { createS3Store } from '../../src/storage/s3.ts'
import { fakeAudio } from '../support/bed.ts'
import { selfSigned } from '../support/certificate.ts'
import { cli } from '../support/cli.ts'
import { startProxy, type TestProxy } from '../support/proxy.ts'
import { KEY, type TestServer, testServer } from '../support/s3-server.ts'

const host = 'store.corp.example'
const { key, cert } = selfSigned([host, 'music.corp.example'])
let dir: string
let s3: TestServer
let proxies: TestProxy[]

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'autodj-network-'))
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
  await rm(dir, { recursive: true, force: true })
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
  AWS_ACCESS_KEY_ID: KEY.accessKeyId,
  AWS_SECRET_ACCESS_KEY: KEY.secretAccessKey,
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
    expect.stringContaining('holds no certificate in PEM form'),
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
    credentials: { ...KEY },
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
  expect(stderr).toMatch(/check the proxy http:\/\/127\.0\.0\.1:\d+ \(HTTPS_PROXY/)
  expect(stderr).not.toContain('-word')
})

test('http:// addresses are relayed, puts too', async () => {
  await using plain = await testServer()
  const proxy = await proxyTo({ 'plain.corp.example': plain.port }, 'dj:word')
  const store = createS3Store({
    bucket: 'music',
    endpoint: 'http://plain.corp.example',
    credentials: { ...KEY },
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

test('fetch goes through, and no more once there is no proxy', async () => {
  const music = createServer({ key, cert }, (_, response) => response.end('music'))
  await new Promise<void>(done => music.listen(0, '127.0.0.1', done))
  const proxy = await proxyTo({ 'music.corp.example': (music.address() as AddressInfo).port })
  await enterNetwork({
    proxies: { https: proxy.url },
    certificates: [{ variable: 'AWS_CA_BUNDLE', path: path.join(dir, 'ca.pem') }],
  })
  expect(await (await fetch('https://music.corp.example/a.mp3')).text()).toBe('music')
  expect(proxy.asked).toEqual(['CONNECT music.corp.example:443'])
  await enterNetwork(plainNetwork)
  await expect(fetch('https://music.corp.example/a.mp3')).rejects.toThrow('fetch failed')
  expect(proxy.asked).toHaveLength(1)
  music.closeAllConnections()
  music.close()
})
