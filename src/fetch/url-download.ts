/** A download over HTTP as one stream of bytes, however many connections it takes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { describeProxy, proxyFor } from '../core/proxy.ts'
import { redactUrl } from '../core/redact.ts'
import { fullJitter } from '../core/retry.ts'
import { printable } from '../core/units.ts'
import { systemErrorCode, toError } from '../errors.ts'
import type { Network } from '../network.ts'
import { httpGet } from './http-get.ts'
import { FetchProblem } from './problem.ts'
import { PrivateAddress } from './public-address.ts'

export interface DownloadOptions {
  /** more than this is refused, bytes */
  readonly maxBytes: number
  /** without a byte for so long a connection is given up, milliseconds */
  readonly stallMs?: number
  /** connections in a row that brought nothing new before the download is given up */
  readonly maxAttempts?: number
  readonly signal: AbortSignal
  readonly random?: () => number
  /** which addresses may be connected to; default: any */
  readonly isAllowed?: ((address: string) => boolean) | undefined
  /** the way out of this machine; default: no proxy */
  readonly network?: Network | undefined
}

/** Statuses after which another try may succeed: RFC 9110 and 6585. */
const passingStatus = new Set([408, 425, 429, 500, 502, 503, 504])

/**
 * The bytes behind a URL. A connection that breaks is taken up again where it broke (`Range` with `If-Range`), as
 * long as the server says that it is still the same file; one that cannot say so is asked from the start, and what
 * was handed on already is compared by length only when nothing else is known: then the download fails instead.
 *
 * @throws FetchProblem
 */
export async function* download(
  url: string,
  {
    maxBytes,
    stallMs = 30_000,
    maxAttempts = 4,
    signal,
    random = Math.random,
    isAllowed,
    network,
  }: DownloadOptions,
): AsyncGenerator<Uint8Array, void> {
  const address = URL.parse(url)
  if (!address || !/^https?:$/.test(address.protocol))
    throw new FetchProblem('fetch.url', `"${redactUrl(url)}" is not an http(s) URL`)
  const tooLarge = () =>
    new FetchProblem('fetch.too-large', `${address.host} has more than ${maxBytes} bytes`)
  let received = 0
  let validator: string | undefined
  let total: number | undefined

  for (let attempt = 1; ; attempt++) {
    const stall = new AbortController()
    let timer = setTimeout(() => stall.abort(), stallMs)
    const before = received
    try {
      const response = await httpGet(address, {
        signal: AbortSignal.any([signal, stall.signal]),
        headers: {
          'accept-encoding': 'identity',
          ...(received > 0 ? { range: `bytes=${received}-`, 'if-range': validator as string } : {}),
        },
        isAllowed,
        network,
      })
      const { status, headers } = response
      if (status < 200 || status > 299) {
        response.body.destroy()
        const proxy = network && proxyFor(response.url.href, network.proxies)
        if (status === 407 && proxy !== undefined) {
          throw new FetchProblem('fetch.proxy', `the proxy ${describeProxy(proxy)} wants a login`)
        }
        throw new FetchProblem(`fetch.http-${status}`, `${response.url.host} answered ${status}`, {
          passing: passingStatus.has(status),
        })
      }
      if (received > 0 && !(status === 206 && continues(headers['content-range'], received, total))) {
        response.body.destroy()
        throw new FetchProblem(
          'fetch.changed',
          `${address.host} now has a different file, or cannot resume`,
          {
            passing: true,
          },
        )
      }
      if (received === 0 && status === 206 && !isWhole(headers['content-range'])) {
        response.body.destroy()
        throw new FetchProblem(
          'fetch.changed',
          `${response.url.host} sent a part of the file, which was not asked for (206, content-range: ${printable(headers['content-range'] ?? 'none')})`,
        )
      }
      if (received === 0) {
        const { etag } = headers
        // Ranges count the bytes as they are sent, which encoded ones are not.
        validator = response.isEncoded
          ? undefined
          : etag && !etag.startsWith('W/')
            ? etag
            : headers['last-modified']
        const length = Number(headers['content-length'] ?? Number.NaN)
        total = Number.isNaN(length) || response.isEncoded ? undefined : length
        if (total !== undefined && total > maxBytes) {
          response.body.destroy()
          throw tooLarge()
        }
      }
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        clearTimeout(timer)
        received += chunk.byteLength
        if (received > maxBytes) throw tooLarge()
        yield chunk
        timer = setTimeout(() => stall.abort(), stallMs)
      }
      if (total !== undefined && received < total) throw new Error('the connection ended early')
      if (received === 0) throw new FetchProblem('fetch.empty', `${address.host} answered with 0 bytes`)
      return
    } catch (thrown) {
      signal.throwIfAborted()
      if (thrown instanceof PrivateAddress) {
        throw new FetchProblem(
          'fetch.private-address',
          `${address.host}: ${thrown.message}`,
          isAllowed === undefined
            ? { cure: 'It redirects there: name that address in --url itself, if it is right.' }
            : {},
        )
      }
      if (thrown instanceof FetchProblem && !thrown.passing) throw thrown
      if (received > before) attempt = 1
      const resumable = received === 0 || validator !== undefined
      const changed = thrown instanceof FetchProblem && thrown.code === 'fetch.changed'
      if (!resumable || changed || attempt >= maxAttempts) {
        if (thrown instanceof FetchProblem) throw thrown
        const error = toError(thrown)
        const why = stall.signal.aborted
          ? `no data for ${stallMs / 1_000} s`
          : (systemErrorCode(error.cause) ?? systemErrorCode(error) ?? error.message)
        throw new FetchProblem('fetch.network', `download from ${address.host} failed: ${why}`, {
          passing: true,
          cause: thrown,
        })
      }
      await sleep(fullJitter(attempt, random(), { base: 500, cap: 10_000 }), undefined, { signal })
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Whether a part is all of it, as some servers send it to whoever asks for no range. */
function isWhole(contentRange: string | undefined): boolean {
  const [, start, end, size] = /^bytes (\d+)-(\d+)\/(\d+)$/i.exec(contentRange ?? '') ?? []
  return Number(start) === 0 && Number(end) + 1 === Number(size)
}

/** Whether a part begins where the bytes end that are there, and is one of the same whole: RFC 9110, section 14.4. */
function continues(contentRange: string | undefined, received: number, total: number | undefined): boolean {
  const [, start, size] = /^bytes (\d+)-\d+\/(\d+|\*)$/i.exec(contentRange ?? '') ?? []
  return Number(start) === received && (size === '*' || total === undefined || Number(size) === total)
}
