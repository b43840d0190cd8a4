/**
 * Requests through the CDN, as many a second as the machine gives: Node's own `http`/`https` with kept-alive
 * connections. `fetch` and `new URL` would normalise the path, so the path goes out as it is.
 */
import { createHash } from 'node:crypto'
import http from 'node:http'
import https from 'node:https'
import type { HttpAnswer } from '../core/diagnosis/observation.ts'
import { systemErrorCode, toError } from '../errors.ts'
import { type Network, openAgents, plainNetwork } from '../network.ts'

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
  /** with `hash`: no more of the body is read than this, and one chunk, bytes; default: the length of the range */
  maxBytes?: number
  /** abandons this request; it throws the reason */
  signal?: AbortSignal
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
  /** ms for a request, besides what its body takes at the least rate: a body that drips must not hold its place for ever */
  deadlineMs?: number
  /** bytes a second, on average, below which a body is given up */
  leastRate?: number
  /** abandons what is in flight */
  signal?: AbortSignal
  /** sent as `Origin` if a request names none */
  origin?: string
  /** the way out of this machine; default: no proxy */
  network?: Network
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
  leastRate = 2_048,
  signal,
  origin: usualOrigin,
  network = plainNetwork,
  ca,
}: ProberOptions): Prober {
  const agentOptions = { keepAlive: true, maxSockets: concurrency, scheduling: 'lifo' as const }
  const opening = openAgents(network, { ...agentOptions, ca })
  // One listener a signal, not a request: that would cost more than the request.
  const inFlight = new Map<AbortSignal | undefined, Set<http.ClientRequest>>()
  const closing: (() => void)[] = []
  function requestsOf(one: AbortSignal | undefined): Set<http.ClientRequest> {
    const known = inFlight.get(one)
    if (known !== undefined) return known
    const requests = new Set<http.ClientRequest>()
    inFlight.set(one, requests)
    const abandon = () => {
      for (const request of requests) request.destroy(toError(one?.reason))
    }
    one?.addEventListener('abort', abandon)
    closing.push(() => {
      one?.removeEventListener('abort', abandon)
      abandon()
    })
    return requests
  }
  const ofSignal = requestsOf(signal)

  async function send(request: ProbeRequest): Promise<ProbeResult & { staleSocket?: boolean }> {
    const agents = await opening
    const { secure, ...target } = targetOf({ ...request, origin: request.origin ?? usualOrigin })

    return new Promise(resolve => {
      const startedAt = performance.now()
      const outgoing = (secure ? https : http).request({
        agent: secure ? agents.https : agents.http,
        ...target,
        timeout: idleTimeoutMs,
      })
      const group = [ofSignal, requestsOf(request.signal)]
      for (const requests of group) requests.add(outgoing)
      const most =
        request.maxBytes ??
        (request.range ? request.range.end - request.range.start + 1 : Number.POSITIVE_INFINITY)
      let length = 0
      let answering = false
      let settled = false
      const settle = (result: ProbeResult & { staleSocket?: boolean }) => {
        if (settled) return
        settled = true
        clearTimeout(deadline)
        for (const requests of group) requests.delete(outgoing)
        resolve(result)
      }
      const timedOut = (why: string) => outgoing.destroy(Object.assign(new Error(why), { code: 'ETIMEDOUT' }))
      // What has come prolongs it, so that a large body has the time it needs and one that drips has not.
      const checkRate = () => {
        const left = startedAt + deadlineMs + (length / leastRate) * 1_000 - performance.now()
        if (left > 0) deadline = setTimeout(checkRate, Math.ceil(left))
        else timedOut(length === 0 ? 'no answer in time' : `only ${length} bytes arrived in time`)
      }
      let deadline = setTimeout(checkRate, deadlineMs)
      const fail = (thrown: unknown) => {
        const error = toError(thrown)
        const code = systemErrorCode(error) ?? error.name
        const staleSocket = !answering && outgoing.reusedSocket && (code === 'ECONNRESET' || code === 'EPIPE')
        settle({ error: { code, message: error.message }, staleSocket })
      }
      outgoing.on('timeout', () => timedOut('no answer in time'))
      outgoing.on('error', fail)
      outgoing.on('response', incoming => {
        answering = true
        const latencyMs = performance.now() - startedAt
        // Of a refusal its words are wanted, not their hash.
        const served = incoming.statusCode === 200 || incoming.statusCode === 206
        const hash = request.hash && served ? createHash('sha256') : undefined
        const kept: Buffer[] = []
        const finish = () => {
          // Once: what is cut off may have come to its end already.
          if (settled) return
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
            if (length > most) {
              // Longer than what was asked for, perhaps without end.
              finish()
              outgoing.destroy()
            }
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
      const throwIfAborted = () => {
        signal?.throwIfAborted()
        request.signal?.throwIfAborted()
      }
      throwIfAborted()
      let result = await send(request)
      // A server may close a kept connection just as it is used again; that says nothing about the object.
      if (result.staleSocket) {
        throwIfAborted()
        result = await send(request)
      }
      throwIfAborted()
      return 'answer' in result ? result : { error: result.error }
    },
    close() {
      for (const one of closing) one()
      void opening.then(agents => {
        agents.http.destroy()
        agents.https.destroy()
      })
    },
  }
}

function targetOf({ url, range, origin }: ProbeRequest) {
  const parts = /^(https?):\/\/\[?([^/?#\]]+?)\]?(?::(\d+))?([/?].*)?$/s.exec(url)
  if (parts === null) throw new TypeError(`not an absolute URL: ${url}`)
  const [, scheme, host, port, path = '/'] = parts
  const secure = scheme === 'https'
  const headers: Record<string, string> = {
    'user-agent': 'autodj-verify',
    accept: '*/*',
    // As a browser's fetch() sends it: a CDN that compresses audio must show it.
    'accept-encoding': 'gzip, deflate, br',
  }
  if (range) headers['range'] = `bytes=${range.start}-${range.end}`
  if (origin) headers['origin'] = origin
  return {
    secure,
    host,
    port: port ?? (secure ? 443 : 80),
    path,
    headers,
  }
}
