import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { observeDomain } from '../../../src/cdn/domain.ts'
import { openProber, type ProberOptions } from '../../../src/cdn/probe.ts'
import { cdnUrl, parseCdnDomain } from '../../../src/core/cdn-url.ts'
import { diagnose } from '../../../src/core/diagnosis/diagnose.ts'
import { diagnoseDomain } from '../../../src/core/diagnosis/domain.ts'
import { selfSigned } from '../../support/certificate.ts'
import { listening, portOf } from '../../support/listening.ts'
import { startProxy } from '../../support/proxy.ts'
import { sha256 } from '../../support/sums.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function listen(server: net.Server): Promise<number> {
  await listening(server)
  closing.push(() => new Promise(done => server.close(done)))
  if (server instanceof http.Server || server instanceof https.Server) {
    closing.push(() => server.closeAllConnections())
  }
  return portOf(server)
}

function prober(options: Partial<ProberOptions> = {}) {
  const opened = openProber({ concurrency: 8, ...options })
  closing.push(() => opened.close())
  return opened
}

describe('a request', () => {
  test('goes out with the path as it is, dots, slashes and all, on one kept connection', async () => {
    const seen: string[] = []
    let connections = 0
    const server = http.createServer((request, response) => {
      seen.push(request.url!)
      response.writeHead(206, { 'content-range': 'bytes 0-0/9' }).end('x')
    })
    server.on('connection', () => connections++)
    const domain = parseCdnDomain(`http://127.0.0.1:${await listen(server)}`)
    const { request } = prober()
    for (const key of ['a/../b', 'a//b', 'a+b#c?d', '%25/🎧', './x']) {
      expect(await request({ url: cdnUrl(domain, key), range: { start: 0, end: 0 } })).toMatchObject({
        answer: { status: 206, length: 1, headers: { 'content-range': 'bytes 0-0/9' } },
      })
    }
    expect(seen).toEqual(['/a/../b', '/a//b', '/a%2Bb%23c%3Fd', '/%2525/%F0%9F%8E%A7', '/./x'])
    expect(connections).toBe(1)
  })

  test('sends range, origin and what browsers accept; keeps the first kilobyte of an error', async () => {
    let headers: http.IncomingHttpHeaders = {}
    const server = http.createServer((request, response) => {
      headers = request.headers
      response.writeHead(403).end('e'.repeat(1_000))
    })
    const url = `http://127.0.0.1:${await listen(server)}/a`
    const result = await prober().request({ url, range: { start: 5, end: 9 }, origin: 'https://a.example' })
    expect(result).toMatchObject({ answer: { status: 403, body: 'e'.repeat(1_000), length: 1_000 } })
    expect(headers).toMatchObject({
      range: 'bytes=5-9',
      origin: 'https://a.example',
      'accept-encoding': expect.stringContaining('gzip'),
    })
  })

  test('a whole file where one byte was asked for is not downloaded', async () => {
    let closedEarly = false
    const server = http.createServer((_, response) => {
      response.writeHead(200, { 'content-length': String(1 << 30) })
      response.write(Buffer.alloc(64 * 1024))
      response.on('close', () => {
        closedEarly = !response.writableFinished
      })
    })
    const url = `http://127.0.0.1:${await listen(server)}/a`
    const result = await prober().request({ url, range: { start: 0, end: 0 } })
    expect(result).toMatchObject({ answer: { status: 200 } })
    await expect.poll(() => closedEarly).toBe(true)
  })

  test('hashes a body of any length', async () => {
    const body = Buffer.alloc(3_000_000, 'audio')
    const server = http.createServer((_, response) => response.end(body))
    const url = `http://127.0.0.1:${await listen(server)}/a`
    expect(await prober().request({ url, hash: true })).toMatchObject({
      sha256: sha256(body),
      answer: { length: body.length, body: '' },
    })
  })

  test('what is longer than was asked for, and whole in one packet, is told once', async () => {
    const server = http.createServer((_, response) => response.writeHead(206).end('longer than that'))
    const url = `http://127.0.0.1:${await listen(server)}/a`
    expect(await prober().request({ url, range: { start: 0, end: 3 }, hash: true })).toMatchObject({
      sha256: sha256('longer than that'),
      answer: { status: 206, length: 16 },
    })
    // Its end comes after the answer: what it throws has nobody to catch it.
    await new Promise(resolve => setImmediate(resolve))
  })
})

test('how long the first byte takes is told, not when it came', async () => {
  const port = await listen(http.createServer((_, response) => void response.end('x')))
  const startedAt = performance.now()
  const result = await prober().request({ url: `http://127.0.0.1:${port}/a` })
  const took = performance.now() - startedAt
  expect('latencyMs' in result && result.latencyMs).toBeGreaterThan(0)
  expect('latencyMs' in result && result.latencyMs).toBeLessThanOrEqual(took)
})

describe('what goes wrong is a result', () => {
  const causeOf = async (url: string, options: Partial<ProberOptions> = {}) => {
    const result = await prober(options).request({ url, range: { start: 0, end: 0 } })
    return diagnose({ key: 'a', url, range: { start: 0, end: 0 }, signed: false, ...result })[0]?.cause
  }

  test('nothing listens', async () => {
    const port = await listen(net.createServer())
    await closing.shift()!()
    expect(await causeOf(`http://127.0.0.1:${port}/a`)).toBe('refused')
  })

  test('the connection is reset', async () => {
    const port = await listen(net.createServer(socket => socket.once('data', () => socket.resetAndDestroy())))
    expect(await causeOf(`http://127.0.0.1:${port}/a`)).toBe('reset')
  })

  test('the body ends early', async () => {
    const server = net.createServer(socket =>
      socket.once('data', () => socket.end('HTTP/1.1 206 Partial Content\r\ncontent-length: 9\r\n\r\nx')),
    )
    expect(await causeOf(`http://127.0.0.1:${await listen(server)}/a`)).toBe('reset')
  })

  test('no answer comes', async () => {
    const sockets = new Set<net.Socket>()
    const port = await listen(net.createServer(socket => sockets.add(socket)))
    closing.push(() => {
      for (const socket of sockets) socket.destroy()
    })
    expect(await causeOf(`http://127.0.0.1:${port}/a`, { idleTimeoutMs: 50 })).toBe('timeout')
  })

  test('the body drips', async () => {
    const server = http.createServer((_, response) => {
      response.writeHead(403)
      const drip = setInterval(() => response.write('.'), 10)
      response.on('close', () => clearInterval(drip))
    })
    expect(await causeOf(`http://127.0.0.1:${await listen(server)}/a`, { deadlineMs: 100 })).toBe('timeout')
  })

  test('a certificate that nobody signed, of another name, or expired', async () => {
    const serve = async (certificate: { key: string; cert: string }) =>
      `https://127.0.0.1:${await listen(https.createServer(certificate, (_, response) => response.end()))}/a`
    expect(await causeOf(await serve(selfSigned(['localhost'])))).toBe('tls-certificate')
    const other = selfSigned(['cdn.example.com'])
    const url = (await serve(other)).replace('127.0.0.1', 'localhost')
    expect(await causeOf(url, { ca: other.cert })).toBe('tls-certificate')
    const expired = selfSigned(['localhost'], { to: new Date(Date.now() - 3_600_000) })
    expect(await causeOf(await serve(expired), { ca: expired.cert })).toBe('tls-certificate')
    const good = selfSigned(['localhost'])
    expect(await causeOf(await serve(good), { ca: good.cert })).not.toBe('tls-certificate')
  })

  test('plain HTTP where TLS is spoken', async () => {
    const port = await listen(http.createServer((_, response) => response.end()))
    expect(await causeOf(`https://127.0.0.1:${port}/a`)).toBe('tls-handshake')
  })
})

/** A kept connection that the server has just closed is no fault of the object; whatever else breaks is told. */
test.each<[string, number, string, number, object]>([
  ['as it is used again', 2, '', 3, { answer: { status: 206 } }],
  [
    'in the middle of an answer',
    2,
    'HTTP/1.1 206 Partial Content\r\ncontent-length: 9\r\n\r\nx',
    2,
    { error: {} },
  ],
  ['when it is new', 1, '', 2, { error: {} }],
  ['with garbage', 2, 'garbage', 2, { error: {} }],
])('a connection that breaks %s', async (_, broken, answer, asked, second) => {
  let served = 0
  const server = net.createServer(socket => {
    socket.on('data', () => {
      if (++served !== broken) socket.write('HTTP/1.1 206 Partial Content\r\ncontent-length: 1\r\n\r\nx')
      else if (answer === '') socket.resetAndDestroy()
      else socket.write(answer, () => socket.resetAndDestroy())
    })
  })
  const url = `http://127.0.0.1:${await listen(server)}/a`
  const { request } = prober({ concurrency: 1 })
  const results = [await request({ url }), await request({ url })]
  expect(results[broken - 1]).toMatchObject(second)
  expect(served).toBe(asked)
})

test('what has not come in time is told by how much of it has', async () => {
  const server = http.createServer((request, response) => {
    if (request.url === '/none') return
    response.writeHead(403)
    const drip = setInterval(() => response.write('.'), 10)
    response.on('close', () => clearInterval(drip))
  })
  const origin = `http://127.0.0.1:${await listen(server)}`
  const why = async (path: string, deadlineMs: number) => {
    const result = await prober({ deadlineMs }).request({ url: `${origin}${path}` })
    return 'error' in result ? `${result.error.code} ${result.error.message}` : 'answered'
  }
  expect(await why('/none', 50)).toBe('ETIMEDOUT no answer in time')
  expect(await why('/drips', 2_000)).toMatch(/^ETIMEDOUT only [1-9]\d* bytes arrived in time$/)
})

test('a prober that is closed keeps no connection open', async () => {
  let open = 0
  const server = http.createServer((_, response) => void response.end('x'))
  server.on('connection', socket => {
    open++
    socket.on('close', () => open--)
  })
  const opened = prober()
  await opened.request({ url: `http://127.0.0.1:${await listen(server)}/a` })
  expect(open).toBe(1)
  opened.close()
  await expect.poll(() => open).toBe(0)
})

test.each([
  ['http://cdn.example/a?b', 'GET http://cdn.example/a?b'],
  ['http://cdn.example', 'GET http://cdn.example/'],
  ['http://cdn.example:8080/a', 'GET http://cdn.example:8080/a'],
  ['https://cdn.example/a', 'CONNECT cdn.example:443'],
  ['https://cdn.example:8443/a', 'CONNECT cdn.example:8443'],
  ['https://[2001:db8::1]:8443/a', 'CONNECT [2001:db8::1]:8443'],
])('%s is asked for through a proxy as %s', async (url, asked) => {
  const port = await listen(http.createServer((_, response) => void response.end('x')))
  const proxy = await startProxy({ 'cdn.example': port, '[2001:db8::1]': port })
  closing.push(() => proxy.close())
  await prober({ network: { proxies: { http: proxy.url, https: proxy.url }, certificates: [] } }).request({
    url,
  })
  expect(proxy.asked).toEqual([asked])
})

test.each(['cdn.example/a', 'ftp://cdn.example/a', 'http:///a', 'xhttp://cdn.example/a'])(
  '%s is no URL to ask',
  async url => {
    await expect(prober().request({ url })).rejects.toThrow(`not an absolute URL: ${url}`)
  },
)

describe('a signal', () => {
  /** Answers nothing but what is asked as /b. */
  const silent = async () => {
    let asked = 0
    const server = http.createServer((request, response) => {
      asked++
      if (request.url === '/b') response.end('x')
    })
    const origin = `http://127.0.0.1:${await listen(server)}`
    return { origin, waitFor: (count: number) => expect.poll(() => asked).toBe(count) }
  }

  test('of all requests abandons what is in flight, and is what each throws', async () => {
    const { origin, waitFor } = await silent()
    const abort = new AbortController()
    const { request } = prober({ signal: abort.signal })
    const asking = [{}, { signal: new AbortController().signal }].map(more =>
      request({ url: `${origin}/a`, ...more }),
    )
    const ends = Promise.allSettled(asking)
    await waitFor(2)
    abort.abort(new Error('enough'))
    expect((await ends).map(end => end.status === 'rejected' && end.reason.message)).toEqual([
      'enough',
      'enough',
    ])
    await expect(request({ url: `${origin}/b` })).rejects.toThrow('enough')
    await waitFor(2)
  })

  test('of one request abandons that one', async () => {
    const { origin, waitFor } = await silent()
    const abort = new AbortController()
    const { request } = prober()
    const ends = Promise.allSettled([request({ url: `${origin}/a`, signal: abort.signal })])
    await waitFor(1)
    abort.abort(new Error('enough'))
    expect(await ends).toMatchObject([{ status: 'rejected', reason: { message: 'enough' } }])
    expect(await request({ url: `${origin}/b` })).toMatchObject({ answer: { status: 200 } })
    await expect(request({ url: `${origin}/b`, signal: abort.signal })).rejects.toThrow('enough')
    await waitFor(2)
  })

  test('is not needed: what is in flight ends when the prober is closed', async () => {
    const { origin, waitFor } = await silent()
    const opened = prober()
    const asking = opened.request({ url: `${origin}/a` })
    await waitFor(1)
    opened.close()
    expect(await asking).toMatchObject({ error: {} })
  })
})

describe('the domain', () => {
  const at = new Date()
  const observe = async (
    tlsOptions: https.ServerOptions,
    plain: http.RequestListener,
    certificate = selfSigned(['localhost']),
  ) => {
    const port = await listen(https.createServer({ ...certificate, ...tlsOptions }))
    const httpPort = await listen(http.createServer(plain))
    return observeDomain(parseCdnDomain(`https://127.0.0.1:${port}`), '/a', prober(), { httpPort })
  }

  test('that redirects to HTTPS and takes TLS 1.2 and later', async () => {
    const seen = await observe({ minVersion: 'TLSv1.2' }, (_, response) =>
      response.writeHead(301, { location: 'https://x/a' }).end(),
    )
    expect(seen).toMatchObject({ http: { status: 301 }, tlsVersions: ['TLSv1.2', 'TLSv1.3'] })
    expect(diagnoseDomain(seen, at)).toEqual([])
  })

  test('that does neither, with a certificate that runs out', async () => {
    const soon = selfSigned(['localhost'], { to: new Date(at.getTime() + 5 * 86_400_000) })
    const seen = await observe(
      { minVersion: 'TLSv1', ciphers: 'DEFAULT:@SECLEVEL=0' },
      (_, response) => response.end('x'),
      soon,
    )
    expect(seen.tlsVersions).toEqual(['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'])
    expect(diagnoseDomain(seen, at).map(({ cause }) => cause)).toEqual([
      'http-open',
      'tls-old',
      'certificate-expiring',
    ])
  })

  test('a stand-in without TLS is not asked', async () => {
    const seen = await observeDomain(parseCdnDomain('http://127.0.0.1:9'), '/a', prober())
    expect(seen).toEqual({ hostname: '127.0.0.1', tlsVersions: [] })
  })
})
