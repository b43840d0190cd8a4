/**
 * Requests through the CDN, as many a second as the machine gives: Node's own `http`/`https` with kept-alive
 * connections. `fetch` and `new URL` would normalise the path, so the path goes out as it is.
 */
import { createHash } from 'node:crypto'
import http from 'node:http'
import https from 'node:https'
import type { HttpAnswer } from '../core/diagnosis/observation.ts'
import { systemErrorCode, toError } from '../errors.ts'

/** Body kept as text, bytes: enough for every error page and XML error. */
const keptBody = 1_024

interface ProbeRequest {
  url: string
  /** inclusive */
  range?: { start: number; end: number }
  /** sent as `Origin`, for CORS */
  origin?: string
  /** of what is served: SHA-256 of the whole body instead of its first kilobyte as text */
  hash?: boolean
}

/** An answer, or why there was none. Refusals by the server are answers. */
export type ProbeResult =
  | {
      answer: HttpAnswer
      /** from sending the request to its first header, ms */
      latencyMs: number
      /** lower-case hex, where `hash` was asked for and something was served */
      sha256?: string
    }
  | { error: { code: string; message: string } }

export interface ProberOptions {
  /** connections at most */
  concurrency: number
  /** ms without a byte after which a request is given up */
  idleTimeoutMs?: number
  /** ms for a whole request that is not hashed; a body that drips must not hold its place for ever */
  deadlineMs?: number
  /** abandons what is in flight */
  signal?: AbortSignal
  /** more certificates to trust, PEM (tests) */
  ca?: string
}

export interface Prober {
  /** Never throws for what a server or network does; throws the reason of an aborted signal. */
  request(request: ProbeRequest): Promise<ProbeResult>
  close(): void
}

/** Opens a pool of connections to the CDN. */
export function openProber({
  concurrency,
  idleTimeoutMs = 15_000,
  deadlineMs = 30_000,
  signal,
  ca,
}: ProberOptions): Prober {
  const agentOptions = { keepAlive: true, maxSockets: concurrency, scheduling: 'lifo' as const }
  const agents = {
    http: new http.Agent(agentOptions),
    https: new https.Agent({ ...agentOptions, ...(ca === undefined ? {} : { ca }) }),
  }
  // One listener for all requests: a listener each would cost more than the request.
  const inFlight = new Set<http.ClientRequest>()
  const abandon = () => {
    for (const request of inFlight) request.destroy(toError(signal?.reason))
  }
  signal?.addEventListener('abort', abandon, { once: true })

  function send(request: ProbeRequest): Promise<ProbeResult & { staleSocket?: boolean }> {
    const [, scheme, authority, path] = /^(https?):\/\/([^/?#]+)([/?].*)?$/s.exec(request.url) ?? []
    if (authority === undefined) throw new TypeError(`not an absolute URL: ${request.url}`)
    const secure = scheme === 'https'
    const [, host = authority, port] = /^(.*?)(?::(\d+))?$/.exec(authority) ?? []
    const headers: Record<string, string> = {
      'user-agent': 'autodj-verify',
      accept: '*/*',
      // As a browser's fetch() sends it: a CDN that compresses audio must show it.
      'accept-encoding': 'gzip, deflate, br',
    }
    if (request.range) headers['range'] = `bytes=${request.range.start}-${request.range.end}`
    if (request.origin) headers['origin'] = request.origin

    return new Promise(resolve => {
      const startedAt = performance.now()
      const outgoing = (secure ? https : http).request({
        agent: secure ? agents.https : agents.http,
        host: host.replace(/^\[(.*)\]$/, '$1'),
        port: port ?? (secure ? 443 : 80),
        path: path ?? '/',
        headers,
        timeout: idleTimeoutMs,
      })
      inFlight.add(outgoing)
      let settled = false
      const settle = (result: ProbeResult & { staleSocket?: boolean }) => {
        if (settled) return
        settled = true
        clearTimeout(deadline)
        inFlight.delete(outgoing)
        resolve(result)
      }
      const timedOut = () =>
        outgoing.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' }))
      const deadline = request.hash ? undefined : setTimeout(timedOut, deadlineMs)
      const fail = (thrown: unknown) => {
        const error = toError(thrown)
        const code = systemErrorCode(error) ?? error.name
        const staleSocket = outgoing.reusedSocket && (code === 'ECONNRESET' || code === 'EPIPE')
        settle({ error: { code, message: error.message }, staleSocket })
      }
      outgoing.on('timeout', timedOut)
      outgoing.on('error', fail)
      outgoing.on('response', incoming => {
        const latencyMs = performance.now() - startedAt
        // Of a refusal its words are wanted, not their hash.
        const served = incoming.statusCode === 200 || incoming.statusCode === 206
        const hash = request.hash && served ? createHash('sha256') : undefined
        const kept: Buffer[] = []
        let length = 0
        const finish = () => {
          settle({
            answer: {
              status: incoming.statusCode ?? 0,
              headers: incoming.headers as Record<string, string | undefined>,
              body: Buffer.concat(kept).subarray(0, keptBody).toString('utf8'),
              length,
              at: new Date(),
            },
            latencyMs,
            ...(hash === undefined ? {} : { sha256: hash.digest('hex') }),
          })
        }
        incoming.on('data', (chunk: Buffer) => {
          length += chunk.length
          if (hash !== undefined) {
            hash.update(chunk)
            return
          }
          kept.push(chunk)
          if (length > keptBody) {
            // A whole file where one byte was asked for: what came says enough.
            finish()
            outgoing.destroy()
          }
        })
        incoming.on('end', finish)
        incoming.on('error', fail)
      })
      outgoing.end()
    })
  }

  return {
    async request(request) {
      signal?.throwIfAborted()
      let result = await send(request)
      // A server may close a kept connection just as it is used again; that says nothing about the object.
      if (result.staleSocket) result = await send(request)
      signal?.throwIfAborted()
      return 'answer' in result ? result : { error: result.error }
    },
    close() {
      signal?.removeEventListener('abort', abandon)
      abandon()
      agents.http.destroy()
      agents.https.destroy()
    },
  }
}
