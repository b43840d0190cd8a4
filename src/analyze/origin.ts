/** Where objects are downloaded from: the bucket itself, or the CDN in front of it. */
import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import type { UrlSigner } from '../cdn/sign.ts'
import { type CdnDomain, cdnUrl } from '../core/cdn-url.ts'
import { systemErrorCode, toError } from '../errors.ts'
import { type ObjectStore, StoreError, type StoreErrorKind } from '../storage/store.ts'
import type { Throttle } from '../throttle.ts'

export interface OriginContent {
  /** Bytes of the whole object, also if the content begins further on. */
  readonly size: number
  /** Without quotes; empty if there is none. */
  readonly etag: string
  /** Lower-case hex, from the object's metadata. */
  readonly sha256: string | undefined
  /** Base64 of 4 bytes. */
  readonly crc32: string | undefined
  /** Must be consumed or destroyed. Throws StoreError. */
  readonly body: AsyncIterable<Uint8Array> & { destroy(error?: Error): void }
}

export interface Origin {
  readonly name: 's3' | 'cdn'
  /**
   * The object from `start` on. @returns undefined when there is none
   * @throws StoreError; kind `precondition` when it is no longer the one with that ETag
   */
  open(
    key: string,
    options: { start: number; etag: string | undefined; signal: AbortSignal },
  ): Promise<OriginContent | undefined>
  /** One cheap request. @throws StoreError while the origin is away */
  probe(signal: AbortSignal): Promise<void>
  close(): void
}

const sha256Hex = /^[0-9a-f]{64}$/

export function s3Origin(store: ObjectStore): Origin {
  return {
    name: 's3',
    async open(key, { start, etag, signal }) {
      const content = await store.get(key, {
        ...(start > 0 && { range: { start } }),
        ...(etag && { ifMatch: etag }),
        signal,
      })
      if (content === undefined) return undefined
      const { size, etag: found, metadata, checksums } = content.head
      const sha256 = metadata['sha256']
      return {
        size,
        etag: found,
        sha256: sha256 !== undefined && sha256Hex.test(sha256) ? sha256 : undefined,
        crc32: checksums.crc32,
        body: content.body,
      }
    },
    probe: signal => store.checkBucket(signal),
    close() {},
  }
}

/** How long a URL signed for one download is good for, milliseconds: CloudFront looks when it begins. */
const signedFor = 10 * 60_000
/** Without a byte for this many milliseconds a connection is given up. */
const idleTimeout = 30_000

export function cdnOrigin(options: {
  domain: CdnDomain
  signer: UrlSigner | undefined
  sockets: number
  throttle: Throttle
  now: () => Date
}): Origin {
  const { domain, signer, throttle, now } = options
  const { request, Agent } = domain.tls ? https : http
  const agent = new Agent({ keepAlive: true, maxSockets: options.sockets })

  const send = (path: string, headers: Record<string, string>, signal: AbortSignal) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      // Not through `new URL`: it would rewrite some paths.
      const { hostname, port } = new URL(domain.origin)
      const outgoing = request({
        agent,
        host: hostname.replace(/^\[(.*)\]$/, '$1'),
        port: port || (domain.tls ? 443 : 80),
        path,
        headers: { 'user-agent': 'autodj-analyze', 'accept-encoding': 'identity', ...headers },
        timeout: idleTimeout,
        signal,
      })
      outgoing.on('timeout', () =>
        outgoing.destroy(Object.assign(new Error('no data in time'), { code: 'ETIMEDOUT' })),
      )
      outgoing.on('error', reject)
      outgoing.on('response', resolve)
      outgoing.end()
    })

  const broken = (thrown: unknown, signal: AbortSignal): StoreError => {
    signal.throwIfAborted()
    const error = toError(thrown)
    const kind = systemErrorCode(error) === 'ETIMEDOUT' ? 'timeout' : 'network'
    return new StoreError(kind, `${domain.hostname}: ${error.message}`, { cause: error })
  }

  async function get(key: string, headers: Record<string, string>, signal: AbortSignal) {
    const plain = cdnUrl(domain, key)
    const url = signer ? signer.sign(plain, new Date(now().getTime() + signedFor)) : plain
    try {
      return await send(url.slice(domain.origin.length), headers, signal)
    } catch (error) {
      throw broken(error, signal)
    }
  }

  return {
    name: 'cdn',
    async open(key, { start, etag, signal }) {
      const answer = await get(
        key,
        start > 0 ? { range: `bytes=${start}-`, ...(etag && { 'if-range': `"${etag}"` }) } : {},
        signal,
      )
      const { statusCode: status = 0, headers } = answer
      const [, from, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers['content-range'] ?? '') ?? []
      const whole = status === 200 && start === 0
      if (!whole && !(status === 206 && Number(from) === start)) {
        answer.destroy()
        if (status === 404) return undefined
        throw refusal(status, domain, key)
      }
      const sha256 = headers['x-amz-meta-sha256']
      const crc32 = headers['x-amz-checksum-crc32']
      return {
        size: whole ? Number(headers['content-length']) : Number(total),
        etag: (headers.etag ?? '').replace(/^W\//, '').replaceAll('"', ''),
        sha256: typeof sha256 === 'string' && sha256Hex.test(sha256) ? sha256 : undefined,
        crc32: typeof crc32 === 'string' && /^[A-Za-z0-9+/]{6}==$/.test(crc32) ? crc32 : undefined,
        body: {
          destroy: error => void answer.destroy(error),
          async *[Symbol.asyncIterator]() {
            try {
              yield* throttle.through(answer, signal)
            } catch (error) {
              throw broken(error, signal)
            }
          },
        },
      }
    },
    async probe(signal) {
      const answer = await get('autodj-probe', { range: 'bytes=0-0' }, signal)
      answer.destroy()
      if ((answer.statusCode ?? 0) >= 500) throw refusal(answer.statusCode ?? 0, domain, 'autodj-probe')
    },
    close: () => agent.destroy(),
  }
}

function refusal(status: number, domain: CdnDomain, key: string): StoreError {
  const kind: StoreErrorKind =
    status === 200
      ? 'precondition'
      : status === 429
        ? 'throttled'
        : status >= 500
          ? 'unavailable'
          : status === 401 || status === 403
            ? 'denied'
            : 'invalid'
  return new StoreError(kind, `${domain.hostname} answered ${status} for ${key}`, {
    status,
    cure: '`autodj verify` names the cause.',
    details: { key, status },
  })
}
