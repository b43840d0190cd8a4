import http from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type DownloadOptions, download } from '../../../src/fetch/url-download.ts'

const content = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 251))
type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => void

let server: http.Server
let url: string
let handlers: Handler[]
let ranges: (string | undefined)[]

beforeAll(async () => {
  server = http.createServer((request, response) => {
    ranges.push(request.headers.range)
    ;(handlers.length > 1 ? (handlers.shift() as Handler) : (handlers[0] as Handler))(request, response)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as { port: number }).port}/a`
})
afterAll(() => void server.close())
beforeEach(() => {
  ranges = []
})

const etag = '"v1"'
const whole: Handler = (_request, response) =>
  void response.writeHead(200, { etag, 'content-length': content.length }).end(content)
/** Gives so many bytes and breaks the connection. */
const broken =
  (bytes: number, headers: http.OutgoingHttpHeaders = { etag }): Handler =>
  (_request, response) => {
    response.writeHead(200, { ...headers, 'content-length': content.length })
    response.write(content.subarray(0, bytes), () => setTimeout(() => response.destroy(), 20))
  }
const rest: Handler = (request, response) => {
  const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1])
  expect(request.headers['if-range']).toBe(etag)
  const range = `bytes ${start}-${content.length - 1}/${content.length}`
  response.writeHead(206, { etag, 'content-range': range }).end(content.subarray(start))
}
const status =
  (code: number): Handler =>
  (_request, response) =>
    void response.writeHead(code).end('no')

async function get(options: Partial<DownloadOptions> = {}, from = url): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  const settings = { maxBytes: 1e6, signal: new AbortController().signal, random: () => 0, ...options }
  for await (const chunk of download(from, settings)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

describe('download', () => {
  test('whole', async () => {
    handlers = [whole]
    expect((await get()).equals(content)).toBe(true)
  })

  test('broken twice, taken up where it broke', async () => {
    const brokenRest: Handler = (request, response) => {
      const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1])
      const range = `bytes ${start}-${content.length - 1}/${content.length}`
      response.writeHead(206, { etag, 'content-range': range, 'content-length': content.length - start })
      response.write(content.subarray(start, start + 50_000), () => setTimeout(() => response.destroy(), 20))
    }
    handlers = [broken(100_000), brokenRest, rest]
    expect((await get()).equals(content)).toBe(true)
    expect(ranges[0]).toBeUndefined()
    expect(ranges).toHaveLength(3)
  })

  test('another file by now: no mixture of two', async () => {
    handlers = [broken(100_000), whole]
    await expect(get()).rejects.toMatchObject({ code: 'fetch.changed', passing: true })
  })

  test('nothing to tell the file by: not resumed', async () => {
    handlers = [broken(100_000, {}), whole]
    await expect(get()).rejects.toMatchObject({ code: 'fetch.network', passing: true })
    expect(ranges).toHaveLength(1)
  })

  test('busy at first', async () => {
    handlers = [status(503), status(429), whole]
    expect((await get()).equals(content)).toBe(true)
  })

  test('busy for ever', async () => {
    handlers = [status(503)]
    await expect(get()).rejects.toMatchObject({ code: 'fetch.http-503', passing: true })
    expect(ranges).toHaveLength(4)
  })

  test('not there', async () => {
    handlers = [status(404)]
    await expect(get()).rejects.toMatchObject({ code: 'fetch.http-404', passing: false })
    expect(ranges).toHaveLength(1)
  })

  test('too large, announced or not', async () => {
    handlers = [whole]
    await expect(get({ maxBytes: 299_999 })).rejects.toMatchObject({
      code: 'fetch.too-large',
      passing: false,
    })
    handlers = [(_request, response) => void response.end(content)]
    await expect(get({ maxBytes: 299_999 })).rejects.toMatchObject({ code: 'fetch.too-large' })
  })

  test('nothing at all, and nothing more', async () => {
    handlers = [(_request, response) => void response.end()]
    await expect(get()).rejects.toMatchObject({ code: 'fetch.empty' })
    handlers = [(_request, response) => void response.writeHead(200, { etag }).write('x')]
    await expect(get({ stallMs: 50, maxAttempts: 2 })).rejects.toMatchObject({ passing: true })
  })

  test('only http', async () => {
    await expect(get({}, 'file:///etc/passwd')).rejects.toMatchObject({ code: 'fetch.url' })
    await expect(get({}, 'nonsense')).rejects.toMatchObject({ code: 'fetch.url' })
  })

  test('aborted', async () => {
    handlers = [(_request, response) => void response.writeHead(200, { etag }).write('x')]
    await expect(get({ signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ name: 'TimeoutError' })
  })
})
