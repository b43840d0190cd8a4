import http from 'node:http'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type DownloadOptions, download } from '../../../src/fetch/url-download.ts'
import { listening, urlOf } from '../../support/listening.ts'

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
  await listening(server)
  url = `${urlOf(server)}/a`
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

  const part =
    (start: number, end: number, size: number | '*' = content.length): Handler =>
    (_request, response) => {
      const range = `bytes ${start}-${end}/${size}`
      response.writeHead(206, { etag, 'content-range': range }).end(content.subarray(start, end + 1))
    }
  const last = content.length - 1

  test('a part that is all of it', async () => {
    handlers = [part(0, last)]
    expect((await get()).equals(content)).toBe(true)
  })

  test.each<[string, Handler]>([
    ['the beginning', part(0, 999)],
    ['the end', part(100, last)],
    ['of a size that is not said', part(0, last, '*')],
    ['that does not say which', (_, response) => void response.writeHead(206, { etag }).end(content)],
  ])('a part that nobody asked for is not the file: %s', async (_, handler) => {
    handlers = [handler]
    await expect(get()).rejects.toMatchObject({
      code: 'fetch.changed',
      message: expect.stringContaining('a part of the file'),
    })
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

  test.each([
    ['from the start', `bytes 0-${content.length - 1}/${content.length}`],
    ['from one byte further on', `bytes 100001-${content.length - 1}/${content.length}`],
    ['of another size', `bytes 100000-${content.length - 1}/${content.length + 1}`],
    ['that it does not name', undefined],
    ['of other units', `lines 100000-${content.length - 1}/${content.length}`],
  ])('a part %s is none that continues: no mixture of two', async (_, range) => {
    handlers = [
      broken(100_000),
      (_request, response) => {
        response.writeHead(206, { etag, ...(range !== undefined && { 'content-range': range }) })
        response.end(content.subarray(100_000))
      },
    ]
    await expect(get()).rejects.toMatchObject({ code: 'fetch.changed', passing: true })
    expect(ranges).toHaveLength(2)
  })

  test('parts of a whole whose size nobody told, and one of its beginning only', async () => {
    const part =
      (start: number, end: number, size: number | '*'): Handler =>
      (request, response) => {
        expect(request.headers.range).toBe(`bytes=${start}-`)
        response.writeHead(206, { etag, 'content-range': `bytes ${start}-${end - 1}/${size}` })
        response.end(content.subarray(start, end))
      }
    handlers = [broken(100_000), part(100_000, 200_000, '*'), part(200_000, 300_000, 300_000)]
    expect((await get()).equals(content)).toBe(true)
    handlers = [
      (_request, response) => {
        // Chunked: its end is all that tells its size.
        response.writeHead(200, { etag })
        response.write(content.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 20))
      },
      part(100_000, 300_000, 300_000),
    ]
    expect((await get()).equals(content)).toBe(true)
  })

  test('a weak validator tells no file; a date does', async () => {
    for (const [headers, isResumed] of [
      [{ etag: 'W/"v1"' }, false],
      [{ etag: 'W/"v1"', 'last-modified': 'Sun, 29 Nov 2026 12:00:00 GMT' }, true],
      [{ 'last-modified': 'Sun, 29 Nov 2026 12:00:00 GMT' }, true],
      [{ etag, 'last-modified': 'Sun, 29 Nov 2026 12:00:00 GMT' }, true],
    ] as const) {
      ranges = []
      handlers = [
        broken(100_000, headers),
        (request, response) => {
          const last = 'last-modified' in headers ? headers['last-modified'] : undefined
          expect(request.headers['if-range']).toBe('etag' in headers && headers.etag === etag ? etag : last)
          response.writeHead(206, { 'content-range': `bytes 100000-299999/300000` })
          response.end(content.subarray(100_000))
        },
      ]
      if (isResumed) expect((await get()).equals(content)).toBe(true)
      else await expect(get()).rejects.toMatchObject({ code: 'fetch.network' })
      expect(ranges).toHaveLength(isResumed ? 2 : 1)
    }
  })

  test('encoded: whole, and neither resumed nor measured by what was announced', async () => {
    const encoded = gzipSync(content)
    const headers = { etag, 'content-encoding': 'gzip', 'content-length': encoded.length }
    handlers = [(_request, response) => void response.writeHead(200, headers).end(encoded)]
    expect((await get()).equals(content)).toBe(true)
    // Its own size is below the limit, and what it holds is above.
    await expect(get({ maxBytes: 299_999 })).rejects.toMatchObject({ code: 'fetch.too-large' })
    expect(encoded.length).toBeLessThan(299_999)
    ranges = []
    let open: http.ServerResponse | undefined
    handlers = [
      (_request, response) => {
        open = response.writeHead(200, headers)
        response.write(encoded.subarray(0, encoded.length - 20))
      },
    ]
    const settings = { maxBytes: 1e6, signal: new AbortController().signal, random: () => 0 }
    // Broken once something of it was handed on.
    const taken = async () => {
      for await (const _ of download(url, settings)) open?.destroy()
    }
    await expect(taken()).rejects.toMatchObject({ code: 'fetch.network', passing: true })
    expect(ranges).toHaveLength(1)
  })

  test('exactly as large as is allowed', async () => {
    handlers = [whole]
    expect((await get({ maxBytes: 300_000 })).equals(content)).toBe(true)
  })

  test.each([
    [408, true],
    [425, true],
    [429, true],
    [500, true],
    [502, true],
    [504, true],
    [400, false],
    [401, false],
    [407, false],
    [410, false],
    [501, false],
    [300, false],
    [304, false],
  ])('%d: another time it may be there: %s', async (code, passing) => {
    handlers = [status(code)]
    await expect(get({ maxAttempts: 2 })).rejects.toMatchObject({ code: `fetch.http-${code}`, passing })
    expect(ranges).toHaveLength(passing ? 2 : 1)
  })

  test('tries in a row that bring nothing are counted, not those that brought something', async () => {
    const trickle: Handler = (request, response) => {
      const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
      const headers = { etag, 'content-length': content.length - start }
      if (start === 0) response.writeHead(200, headers)
      else
        response.writeHead(206, {
          ...headers,
          'content-range': `bytes ${start}-${content.length - 1}/${content.length}`,
        })
      response.write(content.subarray(start, start + 50_000), () => setTimeout(() => response.destroy(), 20))
    }
    handlers = [trickle, trickle, trickle, trickle, rest]
    expect((await get({ maxAttempts: 3 })).equals(content)).toBe(true)
    ranges = []
    handlers = [broken(100_000), (request, _response) => void request.socket.destroy()]
    await expect(get({ maxAttempts: 3 })).rejects.toMatchObject({
      code: 'fetch.network',
      message: expect.stringMatching(/^download from 127\.0\.0\.1:\d+ failed: ECONNRESET$/),
    })
    expect(ranges).toEqual([undefined, 'bytes=100000-', 'bytes=100000-'])
  })

  test('without a byte for too long is given up, and the time begins anew with each', async () => {
    handlers = [(_request, response) => void response.writeHead(200, { etag }).write('x')]
    await expect(get({ stallMs: 50, maxAttempts: 1 })).rejects.toMatchObject({
      code: 'fetch.network',
      message: expect.stringMatching(/ failed: no data for 0\.05 s$/),
    })
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
    const settings = { maxBytes: 299_999, signal: new AbortController().signal }
    // Of what is announced as too large nothing is taken.
    await expect(download(url, settings).next()).rejects.toMatchObject({
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
