/** One GET over HTTP, redirects followed. Node's own client: `fetch` cannot be told which addresses it may connect to. */
import http from 'node:http'
import https from 'node:https'
import type { Readable } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import { guardedLookup, refuseLiteral } from './public-address.ts'

export interface HttpAnswer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  /** decoded */
  readonly body: Readable
  /** the body was encoded: its bytes are not those that `Content-Length` and ranges count */
  readonly isEncoded: boolean
  /** where it came from after redirects */
  readonly url: URL
}

export interface HttpGetOptions {
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
  /** which addresses may be connected to, also after a redirect; default: any */
  readonly isAllowed?: ((address: string) => boolean) | undefined
}

const mostRedirects = 10

/** @throws PrivateAddress, or what the network does; the reason of the signal */
export async function httpGet(
  from: URL,
  { headers, signal, isAllowed }: HttpGetOptions,
): Promise<HttpAnswer> {
  let url = from
  for (let redirects = 0; ; redirects++) {
    const incoming = await send(url, headers, signal, isAllowed)
    const { statusCode: status = 0 } = incoming
    const next = location(incoming, url)
    if (next === undefined) return { status, headers: incoming.headers, url, ...decoded(incoming) }
    incoming.destroy()
    if (redirects === mostRedirects) throw new Error(`more than ${mostRedirects} redirects`)
    // What is said to one server is no other's business.
    if (next.origin !== url.origin) {
      next.username = ''
      next.password = ''
    }
    url = next
  }
}

function location({ statusCode = 0, headers }: http.IncomingMessage, base: URL): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(statusCode) || headers.location === undefined) return undefined
  const next = URL.parse(headers.location, base.href)
  if (next === null || !/^https?:$/.test(next.protocol)) throw new Error('a redirect to no http(s) URL')
  if (base.protocol === 'https:' && next.protocol === 'http:')
    throw new Error('a redirect from HTTPS to HTTP')
  return next
}

function send(
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
  isAllowed: HttpGetOptions['isAllowed'],
): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    if (isAllowed !== undefined) refuseLiteral(url.hostname, isAllowed)
    const options = {
      headers: { 'user-agent': 'autodj', accept: '*/*', ...headers },
      signal,
      agent: false,
      ...(isAllowed === undefined ? {} : { lookup: guardedLookup(isAllowed) }),
    } as const
    const request = (url.protocol === 'https:' ? https : http).get(url, options)
    request.once('response', resolve)
    request.on('error', reject)
  })
}

function decoded(incoming: http.IncomingMessage): Pick<HttpAnswer, 'body' | 'isEncoded'> {
  const encoding = incoming.headers['content-encoding']?.trim().toLowerCase()
  const decoder =
    encoding === 'gzip' || encoding === 'x-gzip'
      ? createGunzip()
      : encoding === 'br'
        ? createBrotliDecompress()
        : encoding === 'deflate'
          ? createInflate()
          : undefined
  if (decoder === undefined) return { body: incoming, isEncoded: false }
  incoming.on('error', error => decoder.destroy(error))
  decoder.on('close', () => incoming.destroy())
  return { body: incoming.pipe(decoder), isEncoded: true }
}
