/**
 * Reads HTTP/1.1 answers (RFC 9112) out of bytes that have arrived so far. For answers that are small and wanted
 * whole, as S3's to a put are: nothing is kept between calls but the bytes.
 */

/** A header section longer than this is no answer of S3's, bytes. */
const maximumHeadBytes = 64 * 1024
/** Nor is a body: an error page of something in between, bytes. */
const maximumBodyBytes = 1024 * 1024

export interface HttpAnswer {
  /** 100 to 999; below 200 it is not the last one */
  readonly status: number
  /** lower-case names; a repeated header's values are joined by `, ` */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** whether another request may follow on the connection */
  readonly keepAlive: boolean
  /** bytes that the answer took */
  readonly length: number
}

export class HttpAnswerError extends Error {
  readonly code = 'ERR_HTTP_ANSWER'
}

/**
 * @param bytes all that came since the last answer ended
 * @param ended whether the other side has closed its end: then an answer without a length is whole
 * @param toHead it answers HEAD, so no body follows, whatever length it says
 * @returns undefined while the answer is not whole
 * @throws HttpAnswerError for what is no HTTP/1.x answer, or larger than any of S3's
 */
export function parseHttpAnswer(bytes: Buffer, ended: boolean, toHead = false): HttpAnswer | undefined {
  const head = parseHttpHead(bytes)
  if (!head) return undefined
  const { status, headers, mayFollow, length: bodyStart } = head
  if (status < 200) return { status, headers, body: '', keepAlive: true, length: bodyStart }
  if (toHead) return { status, headers, body: '', keepAlive: mayFollow, length: bodyStart }
  const end = bodyOf(bytes, bodyStart, status, headers, ended)
  if (end === undefined) return undefined
  return { status, headers, body: end.body, keepAlive: mayFollow && end.delimited, length: end.length }
}

export interface HttpHead extends Pick<HttpAnswer, 'status' | 'headers'> {
  /** whether another request may follow on the connection once the body is through */
  readonly mayFollow: boolean
  /** bytes that the head took */
  readonly length: number
}

/**
 * The head alone, for an answer whose body is too large to be kept here.
 *
 * @returns undefined while it is not whole
 * @throws HttpAnswerError as {@link parseHttpAnswer} does
 */
export function parseHttpHead(bytes: Buffer): HttpHead | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) {
    const start = bytes.toString('latin1', 0, Math.min(bytes.length, 5))
    if (!'HTTP/'.startsWith(start)) throw new HttpAnswerError('the answer is not HTTP')
    if (bytes.length > maximumHeadBytes) throw new HttpAnswerError('the headers of the answer are too long')
    return undefined
  }
  const lines = bytes.toString('latin1', 0, headEnd).split('\r\n')
  const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: |$)/.exec(lines[0] as string)
  if (!statusLine) throw new HttpAnswerError('the answer is not HTTP/1.1')
  const headers = parseHeaders(lines)
  const connection = headers['connection']?.toLowerCase()
  return {
    status: Number(statusLine[2]),
    headers,
    mayFollow: statusLine[1] === '1' ? connection !== 'close' : connection === 'keep-alive',
    length: headEnd + 4,
  }
}

/** Bytes of a body that comes whole and unchunked; undefined if its length is not said so. */
export function plainLength(headers: HttpAnswer['headers']): number | undefined {
  const said = headers['content-length']
  if (said === undefined || headers['transfer-encoding'] !== undefined) return undefined
  if (!/^\d{1,15}$/.test(said)) throw new HttpAnswerError(`the answer's Content-Length is "${said}"`)
  return Number(said)
}

function parseHeaders(lines: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = Object.create(null)
  for (let index = 1; index < lines.length; index++) {
    const line = lines[index] as string
    const colon = line.indexOf(':')
    if (colon < 1) throw new HttpAnswerError('a header of the answer has no name')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    const before = headers[name]
    headers[name] = before === undefined ? value : `${before}, ${value}`
  }
  return headers
}

interface Body {
  readonly body: string
  readonly length: number
  /** false: the end of the connection was its end */
  readonly delimited: boolean
}

function bodyOf(
  bytes: Buffer,
  start: number,
  status: number,
  headers: Readonly<Record<string, string>>,
  ended: boolean,
): Body | undefined {
  if (status === 204 || status === 304) return { body: '', length: start, delimited: true }
  if (/\bchunked\b/i.test(headers['transfer-encoding'] ?? '')) return chunkedBody(bytes, start)
  const length = plainLength(headers)
  if (length !== undefined) {
    insistOnSize(length)
    if (bytes.length < start + length) return undefined
    return { body: bytes.toString('utf8', start, start + length), length: start + length, delimited: true }
  }
  insistOnSize(bytes.length - start)
  return ended ? { body: bytes.toString('utf8', start), length: bytes.length, delimited: false } : undefined
}

/** RFC 9112, 7.1. Extensions and trailers are read over. */
function chunkedBody(bytes: Buffer, start: number): Body | undefined {
  const chunks: Buffer[] = []
  let size = 0
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) {
      if (bytes.length - at > maximumHeadBytes) throw new HttpAnswerError('a chunk lacks its size')
      return undefined
    }
    const digits = /^[0-9a-f]{1,8}(?=$|[;\s])/i.exec(bytes.toString('latin1', at, lineEnd))
    if (!digits) throw new HttpAnswerError('a chunk of the answer lacks its size')
    const length = Number.parseInt(digits[0], 16)
    at = lineEnd + 2
    if (length === 0) {
      // Trailers, and the empty line that ends them.
      for (;;) {
        const trailerEnd = bytes.indexOf('\r\n', at)
        if (trailerEnd < 0) return undefined
        const empty = trailerEnd === at
        at = trailerEnd + 2
        if (empty) return { body: Buffer.concat(chunks).toString('utf8'), length: at, delimited: true }
      }
    }
    size += length
    insistOnSize(size)
    // One that is not whole yet lacks the line behind it, too.
    chunks.push(bytes.subarray(at, at + length))
    at += length + 2
  }
}

function insistOnSize(bytes: number): void {
  if (bytes > maximumBodyBytes) throw new HttpAnswerError(`an answer of ${bytes} bytes or more`)
}
