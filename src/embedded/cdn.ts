/**
 * A stand-in for CloudFront, for the demo and the tests: signs to its origin as an origin access control does, takes
 * nothing but GET, HEAD and OPTIONS from viewers, caches, answers ranges, and can be told to misbehave.
 *
 * Kept as CloudFront has it: the cache is keyed by the path as it was sent (and `Origin`, where a viewer sends one),
 * errors are cached for 10 s, `Via`, `X-Amz-Cf-Pop`, `X-Amz-Cf-Id`, `X-Cache` and `Age` say who answered, and the
 * error pages have CloudFront's words. An object too large for the cache is passed through and stays a Miss.
 */

import { createPublicKey, randomBytes } from 'node:crypto'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import { parseRange } from '../core/http-range.ts'
import { createSigner, type SigningCredentials } from '../storage/sigv4.ts'
import type { CdnAnswer } from './cdn-answer.ts'
import { signatureFault, withoutSignature } from './cdn-signature.ts'
import { listen } from './listen.ts'

interface CdnOrigin {
  /** of the S3 server, without a slash at the end */
  url: string
  region: string
  bucket: string
  credentials: SigningCredentials
  /** PEM of a certificate to trust, for an origin with TLS of its own */
  ca?: string
}

/** What a viewer asked for, as the rules see it. */
interface ViewerRequest {
  method: string
  /** as on the wire, without the query */
  path: string
  /** percent-decoded, without the leading slash */
  key: string
  range: string | undefined
  origin: string | undefined
}

type CdnMisbehaviour =
  /** Answers this instead of asking anybody. `code`-less bodies are CloudFront's HTML page. */
  | { answer: { status: number; headers?: Record<string, string>; body?: string | Buffer } }
  /** Changes the answer on its way out. Bodies over `maxObjectBytes` are passed through and cannot be changed. */
  | { mangle: (answer: CdnAnswer, request: ViewerRequest) => CdnAnswer | undefined }
  /** Asks the origin for another key: a wrong origin path, a `+` read twice. */
  | { rewriteKey: (key: string) => string }
  /** Signs to the origin with a wrong secret: the origin access control is broken. */
  | { originDenied: true }
  /** The origin's addressing is wrong: signs for another region. */
  | { originRegion: string }
  /** Drops the connection: at once, or after so many bytes of the body. */
  | { reset: true; afterBytes?: number }
  /** Says nothing, for ms or for ever. */
  | { stall: number | 'forever' }
  /** Ignores `Range`. */
  | { ignoreRange: true }
  /** Never answers from the cache, never fills it. */
  | { bypassCache: true }

export interface CdnRule {
  match?: { key?: string | RegExp; method?: string }
  /** How often it strikes; unlimited when left out. */
  times?: number
  misbehave: CdnMisbehaviour
}

export interface CdnOptions {
  origin: CdnOrigin
  /** 0 (default) for a free one */
  port?: number
  host?: string
  tls?: { key: string; cert: string }
  /** What plain HTTP meets: `https-only` 403, `redirect-to-https` 301. Needs no TLS here: it tells by the socket. */
  viewerProtocol?: 'allow-all' | 'https-only' | 'redirect-to-https'
  /** Viewers must sign: public keys (PEM) by key pair id. */
  trustedKeys?: Record<string, string>
  /** bytes of bodies kept; 64 MiB */
  cacheBytes?: number
  /** bytes; larger objects are passed through uncached. 8 MiB */
  maxObjectBytes?: number
  /** seconds a fresh answer is kept when the object has no Cache-Control; 86,400 as CloudFront's default TTL */
  defaultTtl?: number
  /** s; 10 as CloudFront's default error caching minimum TTL */
  errorTtl?: number
  /** ms since the epoch */
  clock?: () => number
  rules?: CdnRule[]
}

interface CdnRecord {
  method: string
  path: string
  key: string
  range: string | undefined
  status: number
  cache: string
  /** the rule that struck */
  misbehaviour?: CdnMisbehaviour
}

export interface Cdn {
  readonly url: string
  readonly port: number
  /** `host:port`, what stands for the CloudFront domain */
  readonly domain: string
  /** The last requests, oldest first. */
  readonly requests: CdnRecord[]
  /** @returns takes the rule back */
  addRule(rule: CdnRule): () => void
  clearRules(): void
  /** Forgets what is cached; one key, or everything. */
  invalidate(key?: string): void
  /** bytes of bodies held */
  readonly cachedBytes: number
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

interface Cached {
  status: number
  headers: Record<string, string>
  body: Buffer
  storedAt: number
  /** ms since the epoch */
  freshUntil: number
}

interface OriginAnswer {
  status: number
  headers: http.IncomingHttpHeaders
  stream: IncomingMessage
}

const LOG_LIMIT = 20_000
/** Headers of the origin that viewers never see. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'date'])

function errorPage(title: string, text: string, id: string): Buffer {
  return Buffer.from(
    `<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN" "http://www.w3.org/TR/html4/loose.dtd">
<HTML><HEAD><META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=iso-8859-1">
<TITLE>ERROR: The request could not be satisfied</TITLE>
</HEAD><BODY>
<H1>${title}</H1>
<H2>The request could not be satisfied.</H2>
<HR noshade size="1px">
${text}
<PRE>
Generated by cloudfront (CloudFront)
Request ID: ${id}
</PRE>
</BODY></HTML>`,
  )
}

/** Starts the CDN. @throws Error EADDRINUSE and the like */
export async function startCdn(options: CdnOptions): Promise<Cdn> {
  const { origin, host = '127.0.0.1', clock = Date.now } = options
  const viewerProtocol = options.viewerProtocol ?? 'allow-all'
  const cacheLimit = options.cacheBytes ?? 64 << 20
  const maxObject = Math.min(options.maxObjectBytes ?? 8 << 20, cacheLimit)
  const defaultTtl = options.defaultTtl ?? 86_400
  const errorTtl = options.errorTtl ?? 10
  const keys = new Map(
    Object.entries(options.trustedKeys ?? {}).map(([id, pem]) => [id, createPublicKey(pem)]),
  )
  const node = `${randomBytes(16).toString('hex')}.cloudfront.net`
  const originUrl = new URL(origin.url)
  const transport = originUrl.protocol === 'https:' ? https : http
  const agent = new transport.Agent({ keepAlive: true, maxSockets: 64, ...(origin.ca && { ca: origin.ca }) })
  const requests: CdnRecord[] = []
  /** Insertion order is the order of use: the first is the one longest unused. */
  const cache = new Map<string, Cached>()
  let cachedBytes = 0
  let planted: { rule: CdnRule; struck: number }[] = (options.rules ?? []).map(rule => ({ rule, struck: 0 }))
  const signers = new Map<string, ReturnType<typeof createSigner>>()

  function forget(id: string): void {
    const entry = cache.get(id)
    if (!entry) return
    cache.delete(id)
    cachedBytes -= entry.body.length
  }

  function remember(id: string, entry: Cached): void {
    forget(id)
    cache.set(id, entry)
    cachedBytes += entry.body.length
    for (const oldest of cache.keys()) {
      if (cachedBytes <= cacheLimit && cache.size <= 100_000) break
      forget(oldest)
    }
  }

  function strike(request: ViewerRequest): CdnMisbehaviour | undefined {
    for (const one of planted) {
      const { match, times } = one.rule
      if (times !== undefined && one.struck >= times) continue
      if (match?.method !== undefined && match.method !== request.method) continue
      const { key } = match ?? {}
      if (typeof key === 'string' ? key !== request.key : key && request.key.search(key) === -1) continue
      one.struck++
      return one.rule.misbehave
    }
    return undefined
  }

  /** Asks the origin, signed; what the viewer sent goes along only as far as CloudFront would pass it on. */
  function fetchOrigin(
    method: string,
    rawPath: string,
    headers: Record<string, string>,
    misbehaviour: CdnMisbehaviour | undefined,
  ): Promise<OriginAnswer> {
    let path = rawPath
    if (misbehaviour && 'rewriteKey' in misbehaviour) {
      const key = decodePath(rawPath).slice(1)
      path = `/${misbehaviour.rewriteKey(key).split('/').map(encodeURIComponent).join('/')}`
    }
    const region = misbehaviour && 'originRegion' in misbehaviour ? misbehaviour.originRegion : origin.region
    let credentials = origin.credentials
    if (misbehaviour && 'originDenied' in misbehaviour) {
      credentials = { ...credentials, secretAccessKey: `not ${credentials.secretAccessKey}` }
    }
    let signer = signers.get(region)
    if (!signer) {
      signer = createSigner(region)
      signers.set(region, signer)
    }
    const signed: Record<string, string> = { host: originUrl.host, ...headers }
    const wire = `/${origin.bucket}${path}`
    // The origin reads the path percent-decoded, `+` as a space, and checks the signature of that.
    const canonical = decodePath(wire)
      .split('/')
      .map(part =>
        encodeURIComponent(part).replace(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`),
      )
      .join('/')
    signer(
      { method, path: canonical, headers: signed, payloadHash: 'UNSIGNED-PAYLOAD' },
      credentials,
      new Date(clock()),
    )
    return new Promise((resolve, reject) => {
      const outgoing = transport.request(
        { host: originUrl.hostname, port: originUrl.port, method, path: wire, headers: signed, agent },
        stream => resolve({ status: stream.statusCode ?? 502, headers: stream.headers, stream }),
      )
      outgoing.on('error', reject)
      outgoing.end()
    })
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? '/'
    const at = url.indexOf('?')
    const path = at === -1 ? url : url.slice(0, at)
    const rawQuery = at === -1 ? '' : url.slice(at + 1)
    const id = randomBytes(42).toString('base64').replace(/[+/]/g, '_')
    const method = request.method ?? 'GET'
    const viewer: ViewerRequest = {
      method,
      path,
      key: decodePath(path).slice(1),
      range: request.headers.range,
      origin: request.headers.origin,
    }
    const record: CdnRecord = { method, path, key: viewer.key, range: viewer.range, status: 0, cache: '' }
    requests.push(record)
    if (requests.length > LOG_LIMIT * 1.1) requests.splice(0, requests.length - LOG_LIMIT)
    const misbehaviour = strike(viewer)
    if (misbehaviour) record.misbehaviour = misbehaviour

    const stamp = (headers: Record<string, string>): Record<string, string> => ({
      ...headers,
      via: `1.1 ${node} (CloudFront)`,
      'x-amz-cf-pop': 'FRA56-P1',
      'x-amz-cf-id': id,
    })
    const finish = (answer: CdnAnswer) => {
      let out = { ...answer, headers: stamp(answer.headers) }
      if (misbehaviour && 'mangle' in misbehaviour) out = misbehaviour.mangle(out, viewer) ?? out
      record.status = out.status
      record.cache = out.headers['x-cache'] ?? ''
      if (out.status !== 304 && out.status !== 204) out.headers['content-length'] ??= String(out.body.length)
      response.writeHead(out.status, out.headers)
      if (misbehaviour && 'reset' in misbehaviour && misbehaviour.afterBytes !== undefined) {
        response.write(out.body.subarray(0, misbehaviour.afterBytes), () => request.socket.resetAndDestroy())
      } else if (method === 'HEAD' || out.status === 304) response.end()
      else response.end(out.body)
    }
    const refuse = (status: number, title: string, text: string, headers: Record<string, string> = {}) =>
      finish({
        status,
        headers: { 'content-type': 'text/html', 'x-cache': 'Error from cloudfront', ...headers },
        body: errorPage(title, text, id),
      })

    if (misbehaviour && 'reset' in misbehaviour && misbehaviour.afterBytes === undefined) {
      request.socket.resetAndDestroy()
      return
    }
    if (misbehaviour && 'stall' in misbehaviour) {
      if (misbehaviour.stall === 'forever') return
      await new Promise(resolve => setTimeout(resolve, misbehaviour.stall as number).unref())
    }
    if (misbehaviour && 'answer' in misbehaviour) {
      const { status, headers = {}, body } = misbehaviour.answer
      if (body === undefined)
        refuse(status, `${status} ERROR`, 'The request could not be satisfied.', headers)
      else finish({ status, headers, body: Buffer.from(body) })
      return
    }
    const secure = 'encrypted' in request.socket
    if (!secure && viewerProtocol === 'https-only') {
      refuse(
        403,
        '403 ERROR',
        "Bad request.\nWe can't connect to the server for this app or website at this time.",
      )
      return
    }
    if (!secure && viewerProtocol === 'redirect-to-https') {
      finish({
        status: 301,
        headers: {
          location: `https://${request.headers.host ?? ''}${url}`,
          'content-type': 'text/html',
          'x-cache': 'Redirect from cloudfront',
        },
        body: Buffer.from('<html><head><title>301 Moved Permanently</title></head></html>'),
      })
      return
    }
    if (!['GET', 'HEAD', 'OPTIONS'].includes(method)) {
      refuse(
        403,
        '403 ERROR',
        'This distribution is not configured to allow the HTTP request method that was used for this request. The distribution supports only cachable requests.',
      )
      return
    }
    if (keys.size > 0 && method !== 'OPTIONS') {
      const rest = withoutSignature(rawQuery)
      const scheme = secure ? 'https' : 'http'
      const resource = `${scheme}://${request.headers.host ?? ''}${path}${rest === '' ? '' : `?${rest}`}`
      const fault = signatureFault(new URLSearchParams(rawQuery), resource, keys, clock())
      if (fault) {
        finish(fault)
        return
      }
    }

    const cacheId = `${viewer.origin ?? ''} ${path}`
    const bypass = method === 'OPTIONS' || (misbehaviour !== undefined && !('mangle' in misbehaviour))
    const hit = bypass ? undefined : cache.get(cacheId)
    if (hit && clock() < hit.freshUntil) {
      cache.delete(cacheId)
      cache.set(cacheId, hit)
      const age = String(Math.floor((clock() - hit.storedAt) / 1000))
      const cacheWord = hit.status < 400 ? 'Hit from cloudfront' : 'Error from cloudfront'
      finish(
        select({ ...hit, headers: { ...hit.headers, 'x-cache': cacheWord, age } }, request, misbehaviour),
      )
      return
    }

    const forwarded: Record<string, string> = {}
    for (const name of ['origin', 'access-control-request-method', 'access-control-request-headers']) {
      const value = request.headers[name]
      if (typeof value === 'string') forwarded[name] = value
    }
    let fromOrigin: OriginAnswer
    try {
      fromOrigin = await fetchOrigin(method === 'HEAD' ? 'GET' : method, path, forwarded, misbehaviour)
    } catch {
      refuse(502, '502 ERROR', "CloudFront wasn't able to connect to the origin.")
      return
    }
    const { stream } = fromOrigin
    const headers: Record<string, string> = {}
    for (const [name, value] of Object.entries(fromOrigin.headers)) {
      if (typeof value === 'string' && !HOP_BY_HOP.has(name)) headers[name] = value
    }
    headers['x-cache'] = fromOrigin.status < 400 ? 'Miss from cloudfront' : 'Error from cloudfront'
    const size = Number(fromOrigin.headers['content-length'] ?? 0)
    try {
      if (size > maxObject && fromOrigin.status === 200) {
        await passThrough(request, response, stream, headers, size, stamp, record, misbehaviour)
        return
      }
      const pieces: Buffer[] = []
      for await (const piece of stream) pieces.push(piece)
      const body = Buffer.concat(pieces)
      const whole: CdnAnswer = { status: fromOrigin.status, headers, body }
      if (!bypass) store(cacheId, whole)
      finish(select(whole, request, misbehaviour))
    } catch {
      if (response.headersSent) request.socket.destroy()
      else refuse(502, '502 ERROR', 'The origin closed the connection.')
    }
  }

  function store(cacheId: string, { status, headers, body }: CdnAnswer): void {
    const now = clock()
    let ttl = errorTtl
    if (status < 400) {
      const control = headers['cache-control'] ?? ''
      const age =
        /(?:^|[,\s])s-maxage=(\d+)/.exec(control)?.[1] ?? /(?:^|[,\s])max-age=(\d+)/.exec(control)?.[1]
      ttl = /no-store|no-cache|private/.test(control) ? 0 : age === undefined ? defaultTtl : Number(age)
    }
    if (ttl > 0) remember(cacheId, { status, headers, body, storedAt: now, freshUntil: now + ttl * 1000 })
  }

  /** A body too large to keep: fetched again with the viewer's range would be another request; it is cut here. */
  async function passThrough(
    request: IncomingMessage,
    response: ServerResponse,
    stream: IncomingMessage,
    headers: Record<string, string>,
    size: number,
    stamp: (headers: Record<string, string>) => Record<string, string>,
    record: CdnRecord,
    misbehaviour: CdnMisbehaviour | undefined,
  ): Promise<void> {
    const ignore = misbehaviour !== undefined && 'ignoreRange' in misbehaviour
    const range = parseRange(ignore ? undefined : request.headers.range, size)
    const [start, end] = range.kind === 'part' ? [range.start, range.end + 1] : [0, size]
    record.status = { whole: 200, part: 206, unsatisfiable: 416 }[range.kind]
    record.cache = headers['x-cache'] ?? ''
    const out = stamp({ ...headers, 'accept-ranges': 'bytes' })
    if (range.kind === 'unsatisfiable' || request.method === 'HEAD') {
      stream.destroy()
      out['content-length'] = range.kind === 'unsatisfiable' ? '0' : String(end - start)
      if (range.kind === 'unsatisfiable') out['content-range'] = `bytes */${size}`
      response.writeHead(record.status, out).end()
      return
    }
    out['content-length'] = String(end - start)
    if (range.kind === 'part') out['content-range'] = `bytes ${start}-${end - 1}/${size}`
    response.writeHead(record.status, out)
    let position = 0
    for await (const piece of stream as AsyncIterable<Buffer>) {
      const from = Math.max(0, start - position)
      const to = Math.min(piece.length, end - position)
      position += piece.length
      if (from < to && !response.write(piece.subarray(from, to))) {
        await new Promise<void>(resolve => {
          response.once('drain', resolve)
          response.once('close', resolve)
        })
      }
      if (position >= end || response.destroyed) break
    }
    response.end()
  }

  const serverOptions = { noDelay: true, requestTimeout: 0, keepAliveTimeout: 60_000 }
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    response.on('error', () => {})
    handle(request, response).catch(() => request.socket.destroy())
  }
  const server = options.tls
    ? https.createServer({ ...serverOptions, ...options.tls }, onRequest)
    : http.createServer(serverOptions, onRequest)
  const port = await listen(server, options.port ?? 0, host)
  let closed: Promise<void> | undefined
  const close = () => {
    closed ??= new Promise<void>(resolve => {
      server.close(() => resolve())
      server.closeAllConnections()
      agent.destroy()
    })
    return closed
  }
  return {
    url: `${options.tls ? 'https' : 'http'}://${host}:${port}`,
    port,
    domain: `${host}:${port}`,
    requests,
    addRule(rule) {
      const one = { rule, struck: 0 }
      planted.push(one)
      return () => {
        planted = planted.filter(p => p !== one)
      }
    },
    clearRules() {
      planted = []
    },
    invalidate(key) {
      for (const id of [...cache.keys()]) {
        const path = id.slice(id.indexOf(' ') + 1)
        if (key === undefined || decodePath(path).slice(1) === key) forget(id)
      }
    },
    get cachedBytes() {
      return cachedBytes
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** As S3 reads it: percent-decoded, `+` a space; what does not decode stays as it is. */
function decodePath(path: string): string {
  try {
    return decodeURIComponent(path.replace(/\+/g, ' '))
  } catch {
    return path
  }
}

/** The part of a whole answer that the viewer asked for: conditions and ranges are answered at the edge. */
function select(
  whole: CdnAnswer,
  request: IncomingMessage,
  misbehaviour: CdnMisbehaviour | undefined,
): CdnAnswer {
  if (whole.status !== 200 || (request.method !== 'GET' && request.method !== 'HEAD')) {
    return { ...whole, headers: { ...whole.headers } }
  }
  const headers: Record<string, string> = { ...whole.headers, 'accept-ranges': 'bytes' }
  const ifNoneMatch = request.headers['if-none-match']
  if (ifNoneMatch?.split(',').some(tag => tag.trim() === headers['etag'])) {
    delete headers['content-length']
    return { status: 304, headers, body: Buffer.alloc(0) }
  }
  const size = whole.body.length
  const ignore = misbehaviour !== undefined && 'ignoreRange' in misbehaviour
  const range = parseRange(ignore ? undefined : request.headers.range, size)
  if (range.kind === 'whole') return { status: 200, headers, body: whole.body }
  if (range.kind === 'unsatisfiable') {
    return {
      status: 416,
      headers: { ...headers, 'content-range': `bytes */${size}`, 'content-length': '0' },
      body: Buffer.alloc(0),
    }
  }
  const body = whole.body.subarray(range.start, range.end + 1)
  return {
    status: 206,
    headers: {
      ...headers,
      'content-range': `bytes ${range.start}-${range.end}/${size}`,
      'content-length': String(body.length),
    },
    body,
  }
}
