/**
 * The lean way to send a body: node:http(s), a keep-alive agent and SigV4, nothing else. PutObject and UploadPart go
 * through here, because the SDK's middleware costs about half a millisecond of CPU a request, which is most of what
 * a small file takes. Everything else goes through the SDK. See docs/decisions/0014-lean-put-path.md.
 */
import { hash } from 'node:crypto'
import { type Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { type Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { systemErrorCode } from '../errors.ts'
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
export interface PutTarget {
  protocol: 'http:' | 'https:'
  hostname: string
  port?: number
  /** what comes before the encoded key; ends with `/` */
  basePath: string
  signingRegion: string
  userAgent: string
}

export interface PutPathOptions {
  target: () => Promise<PutTarget>
  agents: { http: HttpAgent; https: HttpsAgent }
  /** `fresh` asks the provider chain again, past its cache. */
  credentials: (fresh: boolean) => Promise<SigningCredentials & { expiration?: Date }>
  /** Sign the SHA-256 of every body. Default: over plain HTTP only. */
  signPayload?: boolean
  timeouts: { connectMs: number; idleMs: number }
  /** Correction of this machine's clock, ms, shared with the SDK's client. */
  clock: { offset: number }
}

export interface PutRequest {
  key: string
  query?: Readonly<Record<string, string>>
  /** lower-case names, without host and content-length */
  headers: Readonly<Record<string, string>>
  body: Uint8Array
  /** base64 SHA-256 of the body where the caller has it, so that signing need not compute it again */
  sha256?: string
}

export interface PutResponse {
  headers: IncomingHttpHeaders
}

export type PutPath = (request: PutRequest, context: RequestContext) => Promise<PutResponse>

/** Provider chains refresh in the background from five minutes before expiry; from then on each request asks. */
const refreshMargin = 5 * 60_000
/** Bodies are written in slices of this size, so that a slow link is seen to move and TLS does not copy them whole. */
const sliceBytes = 512 * 1024
/** How long to wait for `100 Continue` before sending anyway, ms; not every server knows it. */
const continueWait = 1000
/** An answer to a put is small; a longer one is an error page of something in between. */
const maximumAnswerBytes = 1024 * 1024

/**
 * Sends one PUT and resolves with the headers of its 200, or throws a {@link StoreError}. Retries once and only
 * what a retry is known to cure: an expired token where the chain has a newer one, a skewed clock once corrected,
 * and a connection reset without an answer. It may have been idle too long, or the server refused early and hung up,
 * and its answer was lost with the connection: so the second time asks first (`Expect: 100-continue`) and hears why.
 * (The first may have been stored; then If-None-Match says `exists`.) Other retries are the caller's.
 */
export function createPutPath(options: PutPathOptions): PutPath {
  const { agents, timeouts, clock } = options
  let signer: Signer | undefined
  let target: PutTarget | undefined
  let known: (SigningCredentials & { expiration?: Date }) | undefined

  async function credentials(): Promise<SigningCredentials> {
    const stale = known?.expiration !== undefined && known.expiration.getTime() - Date.now() < refreshMargin
    if (known === undefined || stale) known = await options.credentials(false)
    return known
  }

  return async function put(request, context) {
    const retried = { connection: false, token: false, clock: false }
    try {
      context.signal?.throwIfAborted()
      target ??= await options.target()
      signer ??= createSigner(target.signingRegion)
      for (;;) {
        const used = await credentials()
        const answer = await exchange(target, signer, used, request, retried.connection, context.signal)
        if ('headers' in answer && answer.status === 200) return { headers: answer.headers }
        const failure = 'headers' in answer ? failureOfAnswer(answer) : answer
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

  function exchange(
    to: PutTarget,
    sign: Signer,
    used: SigningCredentials,
    request: PutRequest,
    askFirst: boolean,
    signal: AbortSignal | undefined,
  ): Promise<Answer | (S3Failure & { brokenOff: boolean })> {
    const secure = to.protocol === 'https:'
    const path = to.basePath + encodeKey(request.key)
    const usualPort = to.port === undefined || to.port === (secure ? 443 : 80)
    const headers: Record<string, string> = {
      ...request.headers,
      host: usualPort ? to.hostname : `${to.hostname}:${to.port}`,
    }
    sign(
      {
        method: 'PUT',
        path,
        query: request.query,
        headers,
        payloadHash: (options.signPayload ?? !secure) ? hexSha256(request) : unsignedPayload,
      },
      used,
      new Date(Date.now() + clock.offset),
    )
    headers['content-length'] = String(request.body.byteLength)
    headers['user-agent'] = to.userAgent
    if (askFirst) headers['expect'] = '100-continue'

    return new Promise((resolve, reject) => {
      const outgoing = (secure ? httpsRequest : httpRequest)({
        agent: secure ? agents.https : agents.http,
        host: to.hostname.replace(/^\[|\]$/g, ''),
        port: to.port,
        method: 'PUT',
        path: request.query ? `${path}?${canonicalQuery(request.query)}` : path,
        headers,
      })
      let answered = false
      let connecting: NodeJS.Timeout | undefined
      /** Why we broke off ourselves; what the socket reports afterwards is only a consequence. */
      let stopped: Error | undefined
      const stop = (code: string, message: string) => {
        stopped = Object.assign(new Error(message), { code })
        outgoing.destroy(stopped)
      }
      const onAbort = () => stop('AbortError', 'aborted')
      signal?.addEventListener('abort', onAbort, { once: true })
      const settled = () => {
        clearTimeout(connecting)
        signal?.removeEventListener('abort', onAbort)
      }

      outgoing.on('socket', socket => {
        if (!socket.connecting) return
        connecting = setTimeout(
          () => stop('TimeoutError', `no connection within ${timeouts.connectMs} ms`),
          timeouts.connectMs,
        )
        socket.once(secure ? 'secureConnect' : 'connect', () => clearTimeout(connecting))
      })
      outgoing.setTimeout(timeouts.idleMs, () =>
        stop('TimeoutError', `nothing moved for ${timeouts.idleMs} ms`),
      )
      const fail = (error: Error) => {
        settled()
        const cause = stopped ?? error
        resolve({
          code: systemErrorCode(cause),
          message: cause.message,
          cause,
          brokenOff: !answered && isReset(cause),
        })
      }
      outgoing.on('error', fail)
      outgoing.on('response', incoming => {
        answered = true
        const chunks: Buffer[] = []
        let bytes = 0
        incoming.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (bytes <= maximumAnswerBytes) chunks.push(chunk)
        })
        incoming.on('error', fail)
        incoming.on('end', () => {
          settled()
          // Refused before the body was through: what is left of it must not be taken for the next request.
          if (!outgoing.writableFinished) outgoing.destroy()
          const status = incoming.statusCode ?? 0
          resolve({ status, headers: incoming.headers, body: Buffer.concat(chunks).toString('utf8') })
        })
      })

      writeBody().catch(error => {
        settled()
        reject(error)
      })

      async function writeBody(): Promise<void> {
        const { body } = request
        let at = 0
        if (askFirst) {
          outgoing.flushHeaders()
          await one(['continue', 'response', 'close'], continueWait)
          if (answered || outgoing.destroyed) return
        }
        for (; at + sliceBytes < body.byteLength; at += sliceBytes) {
          const more = outgoing.write(body.subarray(at, at + sliceBytes))
          // Also when there is nothing to wait for any more: answered early, or broken off.
          if (!more) await one(['drain', 'response', 'close'])
          if (answered || outgoing.destroyed) return
        }
        outgoing.end(body.subarray(at))
      }

      /** Resolves with the first of these events, or after `ms`. */
      function one(events: readonly string[], ms?: number): Promise<void> {
        return new Promise(go => {
          const timer = ms === undefined ? undefined : setTimeout(done, ms)
          function done() {
            clearTimeout(timer)
            for (const event of events) outgoing.off(event, done)
            go()
          }
          for (const event of events) outgoing.on(event, done)
        })
      }
    })
  }
}

interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

function failureOfAnswer({ status, headers, body }: Answer): S3Failure {
  const { code, message, region } = parseErrorXml(body)
  const serverTime = Date.parse(headers.date ?? '')
  return {
    code,
    message,
    status,
    requestId: header(headers, 'x-amz-request-id'),
    bucketRegion: header(headers, 'x-amz-bucket-region') ?? region,
    serverTime: Number.isNaN(serverTime) ? undefined : serverTime,
  }
}

export function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}

function hexSha256({ body, sha256 }: PutRequest): string {
  return sha256 === undefined ? hash('sha256', body, 'hex') : Buffer.from(sha256, 'base64').toString('hex')
}

function isReset(error: Error): boolean {
  const code = systemErrorCode(error)
  return code === 'ECONNRESET' || code === 'EPIPE'
}

function sameCredentials(a: SigningCredentials, b: SigningCredentials): boolean {
  return a.accessKeyId === b.accessKeyId && a.sessionToken === b.sessionToken
}
