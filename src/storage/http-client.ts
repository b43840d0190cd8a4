/**
 * The lean way to a store: a connection, SigV4, nothing else. What is asked once or more for every object goes through here
 * (PutObject, UploadPart, GetObject into memory, HeadObject), because the SDK's middleware costs about half a millisecond
 * of CPU a request, which is most of what a small file takes. Everything else goes through the SDK. See
 * docs/decisions/0014-lean-put-path.md.
 */
import { hash } from 'node:crypto'
import type { SecureContext } from 'node:tls'
import type { HttpAnswer } from '../core/storage/http-answer.ts'
import { type ConnectionAnswer, Connections } from './http-connections.ts'
import {
  parseErrorXml,
  type RequestContext,
  type S3Failure,
  storeErrorOf,
  toStoreError,
} from './s3-errors.ts'
import {
  canonicalQuery,
  createSigner,
  encodeKey,
  type Signer,
  type SigningCredentials,
  unsignedPayload,
} from './sigv4.ts'

/** Where a bucket's objects are, as the SDK resolved it. */
export interface HttpTarget {
  protocol: 'http:' | 'https:'
  hostname: string
  port?: number
  /** what comes before the encoded key; ends with `/` */
  basePath: string
  signingRegion: string
  userAgent: string
}

interface HttpClientOptions {
  target: () => Promise<HttpTarget>
  /** connections at most */
  maxSockets: number
  secureContext: () => SecureContext
  /** `fresh` asks the provider chain again, past its cache. */
  credentials: (fresh: boolean) => Promise<SigningCredentials & { expiration?: Date }>
  /**
   * Sign the SHA-256 of every body. Otherwise, over plain HTTP, of those alone whose SHA-256 is known or that have no
   * checksum in their headers, which are signed.
   */
  signPayload: boolean
  /** sent with every request; lower-case names */
  extraHeaders: Readonly<Record<string, string>>
  /** URL of the proxy that leads to a URL; undefined: none */
  proxyFor: (url: string) => string | undefined
  timeouts: { connectMs: number; idleMs: number }
  /** Correction of this machine's clock, ms, shared with the SDK's client. */
  clock: { offset: number }
  /** A request got no answer: the store may take no more connections. */
  onUnanswered: () => void
}

interface PutRequest {
  key: string
  query?: Readonly<Record<string, string>>
  /** lower-case names, without host and content-length */
  headers: Readonly<Record<string, string>>
  body: Uint8Array
  /** base64 SHA-256 of the body if the caller has it, so that signing need not compute it again */
  sha256?: string
}

/** What each kind of request comes to. */
type LeanRequest = PutRequest &
  Partial<Pick<GetRequest, 'into'>> & { readonly method: 'PUT' | 'GET' | 'HEAD' }

const nothing = new Uint8Array()

interface GetRequest {
  key: string
  query?: Readonly<Record<string, string>>
  /** lower-case names, without host */
  headers: Readonly<Record<string, string>>
  /** takes the body, whole: ask for a range that fits */
  into: Uint8Array
}

interface GetResponse extends PutResponse {
  status: number
  /** bytes of `into` that were filled */
  received: number
}

interface PutResponse {
  /** lower-case names */
  headers: HttpAnswer['headers']
}

export interface HttpClient {
  put(request: PutRequest, context: RequestContext): Promise<PutResponse>
  /** One GET into memory, with the status 200 or 206. Retries what `put` retries. */
  get(request: GetRequest, context: RequestContext): Promise<GetResponse>
  /** One HEAD. Retries what `put` retries; a refusal comes without S3's reason. */
  head(request: Omit<GetRequest, 'into'>, context: RequestContext): Promise<PutResponse>
  /** Lets the connections go that nobody uses now. */
  closeIdle(): void
  /** Lets its connections go. */
  destroy(): void
}

/** Provider chains refresh in the background from five minutes before expiry; from then on each request asks. */
const refreshMargin = 5 * 60_000
/** What HTTP lets a header hold (RFC 9110, 5.5): no control characters, which could end it. */
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/

/**
 * `put` sends one PUT and resolves with the headers of its 200, or throws a {@link StoreError}. Retries once and only
 * what a retry is known to cure: an expired token if the chain has a newer one, a skewed clock once corrected,
 * and a connection reset without an answer. It may have been idle too long, or the server refused early and hung up,
 * and its answer was lost with the connection: so the second time asks first (`Expect: 100-continue`) and hears why.
 * (The first may have been stored; then If-None-Match says `exists`.) Other retries are the caller's.
 */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const { clock } = options
  let connections: Connections | undefined
  let signer: Signer | undefined
  let target: HttpTarget | undefined
  let known: (SigningCredentials & { expiration?: Date }) | undefined

  async function credentials(): Promise<SigningCredentials> {
    const stale = known?.expiration !== undefined && known.expiration.getTime() - Date.now() < refreshMargin
    if (known === undefined || stale) known = await options.credentials(false)
    return known
  }

  return {
    put: async (request, context) => send({ method: 'PUT', ...request }, context),
    async get(request, context) {
      const {
        status,
        headers,
        received = 0,
      } = await send({ method: 'GET', body: nothing, ...request }, context)
      return { status, headers, received }
    },
    head: async (request, context) => send({ method: 'HEAD', body: nothing, ...request }, context),
    closeIdle: () => connections?.closeIdle(),
    destroy: () => connections?.destroy(),
  }

  async function send(request: LeanRequest, context: RequestContext): Promise<ConnectionAnswer> {
    const retried = { connection: false, token: false, clock: false }
    try {
      context.signal?.throwIfAborted()
      const found = await options.target()
      if (found !== target) {
        connections?.destroy()
        connections = undefined
        target = found
        signer = createSigner(found.signingRegion)
      }
      for (;;) {
        const used = await credentials()
        const answer = await exchange(found, signer!, used, request, retried.connection, context.signal)
        if ('headers' in answer && isDone(request, answer)) return answer
        if (!('headers' in answer)) options.onUnanswered()
        const failure: S3Failure = 'headers' in answer ? failureOfAnswer(answer) : answer
        const error = storeErrorOf(failure, context)
        if ('brokenOff' in answer && answer.brokenOff && !retried.connection) {
          if (error.kind === 'aborted') throw error
          retried.connection = true
        } else if (error.kind === 'expired-token' && !retried.token) {
          retried.token = true
          // Another request may have refreshed them while this one was under way.
          if (known === used) known = await options.credentials(true)
          if (known !== undefined && sameCredentials(known, used)) throw error
        } else if (error.kind === 'clock-skew' && failure.serverTime !== undefined && !retried.clock) {
          retried.clock = true
          clock.offset = failure.serverTime - Date.now()
        } else throw error
      }
    } catch (thrown) {
      throw toStoreError(thrown, context)
    }
  }

  function signsPayload({ sha256, headers }: LeanRequest, secure: boolean): boolean {
    if (options.signPayload || secure) return options.signPayload
    return sha256 !== undefined || headers['x-amz-checksum-crc32'] === undefined
  }

  async function exchange(
    to: HttpTarget,
    sign: Signer,
    used: SigningCredentials,
    request: LeanRequest,
    askFirst: boolean,
    signal: AbortSignal | undefined,
  ) {
    const secure = to.protocol === 'https:'
    const path = to.basePath + encodeKey(request.key)
    const usualPort = secure ? 443 : 80
    const port = to.port ?? usualPort
    const headers: Record<string, string> = {
      ...request.headers,
      ...options.extraHeaders,
      host: port === usualPort ? to.hostname : `${to.hostname}:${port}`,
    }
    sign(
      {
        method: request.method,
        path,
        query: request.query,
        headers,
        payloadHash: signsPayload(request, secure) ? hexSha256(request) : unsignedPayload,
      },
      used,
      new Date(Date.now() + clock.offset),
    )
    if (request.method === 'PUT') headers['content-length'] = String(request.body.byteLength)
    headers['user-agent'] = to.userAgent
    if (askFirst && request.method === 'PUT') headers['expect'] = '100-continue'
    const proxy = options.proxyFor(`${to.protocol}//${headers['host']}/`)
    // A proxy is told the whole URL of what is plain, and gives a tunnel to what is secure.
    const relayed = proxy !== undefined && !secure ? new URL(proxy) : undefined
    const origin = relayed === undefined ? '' : `http://${headers['host']}`
    if (relayed !== undefined && relayed.username !== '') {
      const user = `${decodeURIComponent(relayed.username)}:${decodeURIComponent(relayed.password)}`
      headers['proxy-authorization'] = `Basic ${Buffer.from(user).toString('base64')}`
    }
    const query = request.query ? `?${canonicalQuery(request.query)}` : ''
    let head = `${request.method} ${origin}${path}${query} HTTP/1.1\r\n`
    for (const name in headers) {
      const value = headers[name] as string
      if (!headerValue.test(value)) {
        const message = `header value of ${name} is not printable`
        return { code: 'ERR_INVALID_CHAR', message, brokenOff: false }
      }
      head += `${name}: ${value}\r\n`
    }
    const { maxSockets, timeouts, secureContext } = options
    connections ??= new Connections({
      secure,
      host: (relayed?.hostname ?? to.hostname).replace(/^\[|\]$/g, ''),
      port: relayed === undefined ? port : Number(relayed.port || 80),
      maxSockets,
      timeouts,
      secureContext,
      proxy,
    })
    return connections.send({
      head: `${head}connection: keep-alive\r\n\r\n`,
      body: request.body,
      into: request.into,
      isHead: request.method === 'HEAD',
      askFirst: askFirst && request.method === 'PUT',
      signal,
    })
  }
}

function failureOfAnswer({ status, headers, body }: HttpAnswer): S3Failure {
  const { code, message, region } = parseErrorXml(body)
  const serverTime = Date.parse(headers['date'] ?? '')
  return {
    code,
    message,
    status,
    requestId: headers['x-amz-request-id'],
    bucketRegion: headers['x-amz-bucket-region'] ?? region,
    serverTime: Number.isNaN(serverTime) ? undefined : serverTime,
  }
}

function isDone({ into }: LeanRequest, { status }: HttpAnswer): boolean {
  return status === 200 || (into !== undefined && status === 206)
}

function hexSha256({ body, sha256 }: LeanRequest): string {
  return sha256 === undefined ? hash('sha256', body, 'hex') : Buffer.from(sha256, 'base64').toString('hex')
}

function sameCredentials(a: SigningCredentials, b: SigningCredentials): boolean {
  return a.accessKeyId === b.accessKeyId && a.sessionToken === b.sessionToken
}
