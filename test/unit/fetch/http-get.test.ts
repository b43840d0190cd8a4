/** One GET: which redirects are followed and what is said on the way, encodings, and connections that break or are let go. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { httpGet } from '../../../src/fetch/http-get.ts'
import { enterNetwork } from '../../../src/network.ts'
import { selfSigned } from '../../support/certificate.ts'
import { end, portOf } from '../../support/listening.ts'
import { startProxy, type TestProxy } from '../../support/proxy.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

let handler: Handler
let asked: string[]
const servers: (http.Server | https.Server)[] = []
let proxy: TestProxy
/** Two of HTTP, so two origins, and one of HTTPS. */
let [here, there, safe] = ['', '', '']

async function listen(server: http.Server | https.Server, scheme: string): Promise<string> {
  servers.push(server)
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  return `${scheme}://127.0.0.1:${portOf(server)}`
}
beforeAll(async () => {
  const certificate = selfSigned(['localhost', 'safe.example'])
  const file = path.join(tmpdir(), 'http-get.pem')
  writeFileSync(file, certificate.cert)
  await enterNetwork({ proxies: {}, certificates: [{ variable: 'AWS_CA_BUNDLE', path: file }] })
  const answer: Handler = (request, response) => {
    const { authorization = '' } = request.headers
    asked.push(`${request.url} ${Buffer.from(authorization.replace('Basic ', ''), 'base64')}`.trim())
    handler(request, response)
  }
  here = await listen(http.createServer(answer), 'http')
  there = await listen(http.createServer(answer), 'http')
  safe = await listen(https.createServer(certificate, answer), 'https')
  proxy = await startProxy({
    'music.example': Number(new URL(here).port),
    'safe.example': Number(new URL(safe).port),
  })
})
afterAll(async () => {
  for (const server of servers) {
    end(server)
  }
  await proxy.close()
})
beforeEach(() => {
  asked = []
  ;(proxy.asked as string[]).length = 0
})

const get = (url: string, options: Partial<Parameters<typeof httpGet>[1]> = {}) =>
  httpGet(new URL(url), { headers: {}, signal: new AbortController().signal, ...options })
async function text(url: string): Promise<string> {
  const { body } = await get(url)
  return Buffer.concat(await Array.fromAsync(body as AsyncIterable<Buffer>)).toString()
}
/** From `/` to that place, from everywhere else nowhere. */
const redirects =
  (location: string | undefined, status = 302): Handler =>
  (request, response) => {
    if (request.url !== '/') return void response.end('there')
    response.writeHead(status, location === undefined ? {} : { location }).end('moved')
  }

describe('redirects', () => {
  test.each([301, 302, 303, 307, 308])('%d is followed', async status => {
    handler = redirects('next', status)
    const answer = await get(`${here}/`)
    expect([answer.status, answer.url.href, asked]).toEqual([200, `${here}/next`, ['/', '/next']])
    answer.body.destroy()
  })

  test.each([
    [200, 'next'],
    [300, 'next'],
    [304, 'next'],
    [302, undefined],
  ])('%d to %s is an answer', async (status, location) => {
    handler = redirects(location, status)
    const answer = await get(`${here}/`)
    expect([answer.status, answer.url.href, asked]).toEqual([status, `${here}/`, ['/']])
    answer.body.destroy()
  })

  test('who asks is told to the same server again, and to no other', async () => {
    const withLogin = here.replace('//', '//user:word@')
    handler = redirects('/next')
    expect(await text(`${withLogin}/`)).toBe('there')
    handler = redirects(`${there}/other`)
    await text(`${withLogin}/`)
    handler = redirects(`${there.replace('//', '//its:own@')}/other`)
    await text(`${withLogin}/`)
    expect(asked).toEqual([
      '/ user:word',
      '/next user:word',
      '/ user:word',
      '/other',
      '/ user:word',
      '/other',
    ])
  })

  test('ten are followed, and no more', async () => {
    handler = (request, response) => {
      const number = Number(request.url?.slice(1))
      if (number === 0) response.end('arrived')
      else response.writeHead(302, { location: `/${number - 1}` }).end()
    }
    expect(await text(`${here}/10`)).toBe('arrived')
    await expect(get(`${here}/11`)).rejects.toThrow('more than 10 redirects')
    expect(asked).toHaveLength(22)
  })

  test.each([
    ['ftp://127.0.0.1/a', 'something other than an http(s) URL'],
    ['http://', 'something other than an http(s) URL'],
    ['xhttp://127.0.0.1/', 'something other than an http(s) URL'],
    ['httpx://127.0.0.1/', 'something other than an http(s) URL'],
  ])('to %s is refused', async (location, message) => {
    handler = redirects(location)
    await expect(get(`${here}/`)).rejects.toThrow(message)
  })

  test('to HTTPS is followed, and never back to HTTP', async () => {
    handler = redirects(`${safe}/next`)
    expect(await text(`${here}/`)).toBe('there')
    handler = redirects('/next')
    expect(await text(`${safe}/`)).toBe('there')
    handler = redirects(`${here}/next`)
    await expect(get(`${safe}/`)).rejects.toThrow('a redirect from HTTPS to HTTP')
  })
})

describe('what is sent', () => {
  const encodings: [string | undefined, (bytes: Buffer) => Buffer, boolean][] = [
    [undefined, bytes => bytes, false],
    ['identity', bytes => bytes, false],
    ['gzip', gzipSync, true],
    [' GZIP', gzipSync, true],
    ['x-gzip', gzipSync, true],
    ['br', brotliCompressSync, true],
    ['deflate', deflateSync, true],
  ]
  test.each(encodings)('as %s is decoded', async (encoding, encode, isEncoded) => {
    const content = Buffer.from('audio '.repeat(1_000))
    handler = (request, response) => {
      expect(request.headers).toMatchObject({ 'user-agent': 'autodj', accept: '*/*', range: 'bytes=0-' })
      response.writeHead(200, encoding === undefined ? {} : { 'content-encoding': encoding })
      response.end(encode(content))
    }
    const answer = await get(`${here}/`, { headers: { range: 'bytes=0-' } })
    expect(answer.isEncoded).toBe(isEncoded)
    expect(Buffer.concat(await Array.fromAsync(answer.body as AsyncIterable<Buffer>)).equals(content)).toBe(
      true,
    )
  })

  test('and breaks in the middle of an encoding is an error, not a shorter file', async () => {
    const encoded = gzipSync(Buffer.from(Array.from({ length: 50_000 }, (_, index) => (index * index) % 251)))
    handler = (_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': encoded.length })
      response.write(encoded.subarray(0, encoded.length / 2), () => setImmediate(() => response.destroy()))
    }
    const { body } = await get(`${here}/`)
    await expect(Array.fromAsync(body)).rejects.toMatchObject({ code: 'ECONNRESET' })
  })

  test('and is not wanted any longer lets the connection go', async () => {
    const { promise: gone, resolve } = Promise.withResolvers<void>()
    handler = (_request, response) => {
      response.on('close', resolve)
      response.writeHead(200, { 'content-encoding': 'gzip' })
      response.write(gzipSync('audio').subarray(0, 12))
    }
    const { body } = await get(`${here}/`)
    body.destroy()
    await gone
  })
})

test('an address that is not allowed is not connected to, by its name, by a redirect, or through a proxy', async () => {
  handler = redirects(`${there}/next`)
  const { port } = new URL(there)
  const isAllowed = () => false
  await expect(get(`${here}/`, { isAllowed })).rejects.toMatchObject({ address: '127.0.0.1' })
  await expect(get(`http://localhost:${port}/`, { isAllowed })).rejects.toMatchObject({ code: 'EPRIVATE' })
  expect(asked).toEqual([])
  let looks = 0
  const first = () => ++looks === 1
  await expect(get(`${here}/`, { isAllowed: first })).rejects.toMatchObject({ address: '127.0.0.1' })
  expect(asked).toEqual(['/'])
  asked = []
  await expect(
    get(`http://localhost:${port}/`, { isAllowed, network: through(proxy.url) }),
  ).rejects.toMatchObject({ code: 'EPRIVATE' })
  expect([asked, proxy.asked]).toEqual([[], []])
})

test('a redirect of `--url` leads from the internet into this network', async () => {
  handler = redirects('http://127.0.0.2/')
  const isPublic = (address: string) => address === '127.0.0.1'
  await expect(get(`${here}/`, { isPublic })).rejects.toMatchObject({ address: '127.0.0.2' })
  expect(asked).toEqual(['/'])
})

describe('a URL that whoever runs autodj has named', () => {
  // Another address of this machine stands for one inside.
  const isPublic = (address: string) => address === '127.0.0.1'
  const port = () => new URL(there).port

  test.each([
    ['an address inside', () => `http://127.0.0.2:${port()}/`],
    ['one of IPv6', () => `http://[::1]:${port()}/`],
    ['one of IPv4 in IPv6', () => `http://[::ffff:127.0.0.2]:${port()}/`],
    ['a number', () => `http://2130706434:${port()}/`],
    ['a cloud with its secrets', () => 'http://169.254.169.254/latest/meta-data/'],
  ])('is not followed from the internet to %s', async (_, to) => {
    handler = redirects(to())
    await expect(get(`${here}/`, { isPublic })).rejects.toMatchObject({ code: 'EPRIVATE' })
    expect(asked).toEqual(['/'])
  })

  test('nor by a name, nor after many steps', async () => {
    const isNone = (address: string) => address === '127.0.0.1' && asked.length < 3
    handler = (request, response) => {
      const step = Number(request.url?.slice(1))
      const location = step === 2 ? `http://localhost:${port()}/3` : `/${step + 1}`
      response.writeHead(302, { location }).end()
    }
    await expect(get(`${here}/0`, { isPublic: isNone })).rejects.toMatchObject({ code: 'EPRIVATE' })
    expect(asked).toEqual(['/0', '/1', '/2'])
  })

  test('nor through a proxy', async () => {
    const network = through(proxy.url)
    for (const to of ['http://127.0.0.2/', 'http://nas/', 'http://nas.local/']) {
      handler = redirects(to)
      await expect(get('http://music.example/', { network, isPublic })).rejects.toMatchObject({
        code: 'EPRIVATE',
      })
    }
    expect(asked).toEqual(['/', '/', '/'])
  })

  test('is followed inside from one that is inside itself, and on the internet', async () => {
    handler = redirects(`http://127.0.0.2:${port()}/next`)
    const answer = await get(`${here}/`, { isPublic: () => false })
    expect(answer.url.pathname).toBe('/next')
    answer.body.destroy()
    handler = redirects(`${there}/next`)
    const other = await get(`${here}/`, { isPublic })
    expect(other.url.pathname).toBe('/next')
    other.body.destroy()
  })
})

test('a name is looked up as ever where any address may be connected to', async () => {
  handler = (_request, response) => void response.end('there')
  for (const isAllowed of [undefined, () => true]) {
    const { body } = await get(here.replace('127.0.0.1', 'localhost'), { isAllowed })
    expect(Buffer.concat(await Array.fromAsync(body as AsyncIterable<Buffer>)).toString()).toBe('there')
  }
})

const through = (url: string) => ({ proxies: { http: url, https: url }, certificates: [] })

test('a proxy is asked for what it is there for, and what it knows is looked up by nobody else', async () => {
  handler = (_request, response) => void response.end('there')
  const network = through(proxy.url)
  for (const [url, isAllowed] of [
    ['http://music.example/', undefined],
    ['http://music.example/', () => true],
    ['https://safe.example/', undefined],
  ] as const) {
    const { body } = await get(url, { network, isAllowed })
    expect(Buffer.concat(await Array.fromAsync(body as AsyncIterable<Buffer>)).toString()).toBe('there')
  }
  expect(proxy.asked).toEqual([
    'GET http://music.example/',
    'GET http://music.example/',
    'CONNECT safe.example:443',
  ])
})
