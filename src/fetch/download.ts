/** A download over HTTP as one stream of bytes, however many connections it takes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { fullJitter } from '../core/retry.ts'
import { systemErrorCode, toError } from '../errors.ts'
import { FetchProblem } from './problem.ts'

export interface DownloadOptions {
  /** more than this is refused, bytes */
  readonly maxBytes: number
  /** without a byte for so long a connection is given up, milliseconds */
  readonly stallMs?: number
  /** connections in a row that brought nothing new before the download is given up */
  readonly maxAttempts?: number
  readonly signal: AbortSignal
  readonly random?: () => number
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
  { maxBytes, stallMs = 30_000, maxAttempts = 4, signal, random = Math.random }: DownloadOptions,
): AsyncGenerator<Uint8Array, void> {
  const address = URL.parse(url)
  if (!address || !/^https?:$/.test(address.protocol))
    throw new FetchProblem('fetch.url', `"${url.slice(0, 200)}" is not an http(s) URL`)
  const tooLarge = () =>
    new FetchProblem('fetch.too-large', `${address.host} has more than ${maxBytes} bytes`, {
      cure: 'Raise --max-size if it is right.',
    })
  let received = 0
  let validator: string | undefined
  let total: number | undefined

  for (let attempt = 1; ; attempt++) {
    const stall = new AbortController()
    let timer = setTimeout(() => stall.abort(), stallMs)
    const before = received
    try {
      const response = await fetch(address, {
        signal: AbortSignal.any([signal, stall.signal]),
        headers: {
          'accept-encoding': 'identity',
          ...(received > 0 ? { range: `bytes=${received}-`, 'if-range': validator as string } : {}),
        },
      })
      if (!response.ok || !response.body) {
        await response.body?.cancel()
        throw new FetchProblem(
          `fetch.http-${response.status}`,
          `${address.host} answered ${response.status}`,
          {
            passing: passingStatus.has(response.status),
          },
        )
      }
      if (received > 0 && response.status !== 206) {
        await response.body.cancel()
        throw new FetchProblem('fetch.changed', `${address.host} has another file by now, or cannot resume`, {
          passing: true,
        })
      }
      if (received === 0) {
        const etag = response.headers.get('etag')
        validator =
          etag && !etag.startsWith('W/') ? etag : (response.headers.get('last-modified') ?? undefined)
        const length = Number(response.headers.get('content-length') ?? Number.NaN)
        total = Number.isNaN(length) || response.headers.has('content-encoding') ? undefined : length
        if (total !== undefined && total > maxBytes) {
          await response.body.cancel()
          throw tooLarge()
        }
      }
      for await (const chunk of response.body) {
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
      if (thrown instanceof FetchProblem && !thrown.passing) throw thrown
      if (received > before) attempt = 1
      const resumable = received === 0 || validator !== undefined
      const changed = thrown instanceof FetchProblem && thrown.code === 'fetch.changed'
      if (!resumable || changed || attempt >= maxAttempts) {
        if (thrown instanceof FetchProblem) throw thrown
        const error = toError(thrown)
        const why = stall.signal.aborted
          ? `nothing came for ${stallMs / 1_000} s`
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
