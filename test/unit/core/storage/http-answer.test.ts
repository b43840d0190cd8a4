import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type HttpAnswer,
  HttpAnswerError,
  parseHttpAnswer,
  plainLength,
} from '../../../../src/core/storage/http-answer.ts'

const parse = (text: string, ended = false) => parseHttpAnswer(Buffer.from(text, 'latin1'), ended)

describe('answers to HEAD', () => {
  const head = 'HTTP/1.1 200 OK\r\nETag: "abc"\r\nContent-Length: 1234567890\r\n'
  test.each([
    ['with the length of what GET would bring', `${head}\r\n`, true],
    ['in chunks that do not come', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', true],
    ['of no length', 'HTTP/1.1 404 Not Found\r\n\r\n', true],
    ['that ends the connection', `${head}Connection: close\r\n\r\n`, false],
  ])('%s: whole with its head', (_name, text, keepAlive) => {
    for (let length = 0; length < text.length; length++)
      expect(parseHttpAnswer(Buffer.from(text.slice(0, length)), false, true)).toBeUndefined()
    for (const rest of ['', 'HTTP/1.1 200']) {
      const answer = parseHttpAnswer(Buffer.from(text + rest), false, true)
      expect(answer).toMatchObject({ body: '', keepAlive, length: text.length })
    }
  })

  test('what comes before it is not it', () => {
    const answer = parseHttpAnswer(Buffer.from(`HTTP/1.1 103 Early Hints\r\n\r\n${head}\r\n`), false, true)
    expect(answer).toMatchObject({ status: 103, keepAlive: true, length: 28 })
  })
})

describe('answers', () => {
  test.each<[string, string, Partial<HttpAnswer>]>([
    [
      'without a body',
      'HTTP/1.1 200 OK\r\nETag: "abc"\r\nContent-Length: 0\r\n\r\n',
      { status: 200, headers: { etag: '"abc"', 'content-length': '0' }, body: '', keepAlive: true },
    ],
    [
      'with a body of known length, and what follows it',
      'HTTP/1.1 403 Forbidden\r\ncontent-length:5\r\n\r\n<E/>\nrest',
      { status: 403, body: '<E/>\n', keepAlive: true, length: 49 },
    ],
    [
      'in chunks, with an extension and a trailer',
      'HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\n<Err\r\n3\r\nor>\r\n0\r\nT: x\r\n\r\n',
      { status: 500, body: '<Error>', keepAlive: true, length: 78 },
    ],
    [
      'that ends the connection',
      'HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n',
      { keepAlive: false },
    ],
    ['of an old server', 'HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n', { keepAlive: false }],
    [
      'of an old server that keeps the connection',
      'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n',
      { keepAlive: true },
    ],
    ['without a reason', 'HTTP/1.1 204\r\n\r\n', { status: 204, body: '', keepAlive: true, length: 16 }],
    [
      'that is not the last',
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200',
      { status: 100, body: '', keepAlive: true, length: 25 },
    ],
    [
      'of what has not changed, which says how long that is',
      'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n',
      { status: 304, body: '', keepAlive: true, length: 48 },
    ],
    [
      'in chunks of hexadecimal digits, with spaces behind them',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\nA \r\n0123456789\r\n0\r\n\r\n',
      { body: '0123456789' },
    ],
    [
      'with a header twice',
      'HTTP/1.1 204 \r\nA: 1\r\nB:  2 \r\na: 3\r\n__proto__: x\r\n\r\n',
      { headers: { a: '1, 3', b: '2', ['__proto__']: 'x' } },
    ],
  ])('%s', (_what, text, expected) => {
    const answer = parse(text)
    for (const [name, value] of Object.entries(expected)) {
      const found = answer?.[name as keyof HttpAnswer]
      if (name === 'headers') expect(Object.entries(found as object)).toEqual(Object.entries(value as object))
      else expect(found).toEqual(value)
    }
  })

  test('without a length last until the connection ends, and are its last', () => {
    const text = 'HTTP/1.1 502 Bad Gateway\r\n\r\n<html>'
    expect(parse(text)).toBeUndefined()
    expect(parse(text, true)).toMatchObject({ status: 502, body: '<html>', keepAlive: false })
  })

  test('cut short by the end of the connection are not answers', () => {
    expect(parse('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc', true)).toBeUndefined()
    expect(parse('HTTP/1.1 200 O', true)).toBeUndefined()
  })

  test.each([
    ['another protocol', 'SSH-2.0-OpenSSH\r\n'],
    ['TLS', '\x15\x03\x01\x00\x02'],
    ['HTTP/2', 'HTTP/2 200\r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 99\r\n\r\n'],
    ['headers alone', '\r\n\r\n'],
    ['something before HTTP', 'xHTTP/1.1 200 OK\r\n\r\n'],
    [
      'a chunk whose size has something before it',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx5\r\n',
    ],
    [
      'a chunk whose size has something behind it',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5x\r\n',
    ],
    ['a header without a name', 'HTTP/1.1 200 OK\r\nno colon\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n'],
    ['a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n'],
    ['a length that no answer has', 'HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n'],
    ['a chunk without a size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'],
    ['a chunk that no answer has', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n'],
    ['headers without end', `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(20_000)}`],
    ['a body without end', `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(1024 * 1024 + 1)}`],
  ])('that are %s are refused', (_what, text) => {
    expect(() => parse(text)).toThrow(HttpAnswerError)
  })

  test('that are as long as an answer may be are waited for, and no longer', () => {
    const most = 64 * 1024
    const begun = 'HTTP/1.1 200 OK\r\n'
    expect(parse(begun + 'a'.repeat(most - begun.length))).toBeUndefined()
    expect(() => parse(begun + 'a'.repeat(most - begun.length + 1))).toThrow(HttpAnswerError)
    const chunked = `${begun}Transfer-Encoding: chunked\r\n\r\n`
    expect(parse(chunked + '1'.repeat(most))).toBeUndefined()
    expect(() => parse(chunked + '1'.repeat(most + 1))).toThrow(HttpAnswerError)
    const sized = `${begun}Content-Length: ${2 ** 20}\r\n\r\n`
    expect(parse(sized)).toBeUndefined()
    expect(parse(sized + 'x'.repeat(2 ** 20))?.body).toHaveLength(2 ** 20)
    expect(parse(`${begun}\r\n${'x'.repeat(2 ** 20)}`, true)?.body).toHaveLength(2 ** 20)
    const chunk = `100000\r\n${'x'.repeat(2 ** 20)}\r\n`
    expect(parse(`${chunked}${chunk}0\r\n\r\n`)?.body).toHaveLength(2 ** 20)
    expect(() => parse(`${chunked}${chunk}1\r\nx\r\n0\r\n\r\n`)).toThrow(HttpAnswerError)
  })

  test.each<[Record<string, string>, number | undefined]>([
    [{ 'content-length': '0' }, 0],
    [{ 'content-length': '5' }, 5],
    [{}, undefined],
    [{ 'transfer-encoding': 'chunked' }, undefined],
    // RFC 9112, 6.3: the encoding decides.
    [{ 'content-length': '5', 'transfer-encoding': 'chunked' }, undefined],
  ])('%j: a body of %j bytes', (headers, length) => {
    expect(plainLength(headers)).toBe(length)
  })

  test.each(['', '5, 5', '-1', '1e3', '0x10', ' 5', '9'.repeat(16)])('a length of %j is none', said => {
    expect(() => plainLength({ 'content-length': said })).toThrow(HttpAnswerError)
  })

  test('come out the same however the bytes arrive, and never before they are whole', () => {
    const name = fc
      .stringMatching(/^[a-z][a-z0-9-]{0,8}$/)
      .filter(one => !/^(content-length|transfer-encoding|connection)$/.test(one))
    const answers = fc.record({
      status: fc.integer({ min: 200, max: 599 }).filter(status => status !== 204 && status !== 304),
      headers: fc.uniqueArray(fc.tuple(name, fc.stringMatching(/^[!-~]{0,12}$/)), {
        selector: ([key]) => key,
        maxLength: 5,
      }),
      chunks: fc.array(fc.stringMatching(/^[ -~]{1,30}$/), { maxLength: 4 }),
      chunked: fc.boolean(),
    })
    fc.assert(
      fc.property(answers, fc.string(), ({ status, headers, chunks, chunked }, rest) => {
        const body = chunks.join('')
        const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`
        const wire = chunked
          ? `${chunks.map(chunk => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')}0\r\n\r\n`
          : body
        const lines = headers.map(([key, value]) => `${key}: ${value}\r\n`).join('')
        const whole = Buffer.from(`HTTP/1.1 ${status} Any\r\n${lines}${framing}\r\n\r\n${wire}`, 'latin1')
        for (let length = 0; length < whole.length; length++)
          expect(parseHttpAnswer(whole.subarray(0, length), false)).toBeUndefined()
        const answer = parseHttpAnswer(Buffer.concat([whole, Buffer.from(rest)]), false)
        expect(answer).toMatchObject({ status, body, keepAlive: true, length: whole.length })
        for (const [key, value] of headers) expect(answer?.headers[key]).toBe(value)
      }),
    )
  })
})
