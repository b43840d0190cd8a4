/** One GET over HTTP, redirects followed. Node's own client: `fetch` cannot be told which addresses it may connect to. */
import http from 'node:http'
import https from 'node:https'
import type { Readable } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import { proxyFor } from '../core/proxy.ts'
import { type Network, openAgents, plainNetwork } from '../network.ts'
import { guardedLookup, isPublicAddress, refuseInside, refuseLiteral } from './public-address.ts'

interface HttpAnswer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  /** decoded */
  readonly body: Readable
  /** the body was encoded: its bytes are not those that `Content-Length` and ranges count */
  readonly isEncoded: boolean
  /** where it came from after redirects */
  readonly url: URL
}

interface HttpGetOptions {
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
  /** which addresses may be connected to, also after a redirect; default: any */
  readonly isAllowed?: ((address: string) => boolean) | undefined
  /** which addresses are the internet's; default: as IANA has them */
  readonly isPublic?: (address: string) => boolean
  /** the way out of this machine; default: no proxy */
  readonly network?: Network | undefined
}

const mostRedirects = 10

/**
 * Without `isAllowed` the first address may be any, since whoever runs autodj has named it. Where it leads from the
 * internet on is for others to say, so that must not be inside.
 *
 * @throws PrivateAddress, or what the network does; the reason of the signal
 */
export async function httpGet(from: URL, options: HttpGetOptions): Promise<HttpAnswer> {
  const { isPublic = isPublicAddress } = options
  let { isAllowed } = options
  let url = from
  for (let redirects = 0; ; redirects++) {
    const incoming = await send(url, { ...options, isAllowed })
    const { statusCode: status = 0 } = incoming
    const next = location(incoming, url)
    if (next === undefined) return { status, headers: incoming.headers, url, ...decoded(incoming) }
    if (isAllowed === undefined && (await isOutside(incoming, url, { ...options, isPublic })))
      isAllowed = isPublic
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

/** Whether an answer came from the internet, as far as this machine knows: behind a proxy only the name is known. */
async function isOutside(
  { socket }: http.IncomingMessage,
  url: URL,
  { isPublic, network = plainNetwork }: HttpGetOptions & Required<Pick<HttpGetOptions, 'isPublic'>>,
): Promise<boolean> {
  if (proxyFor(url.href, network.proxies) === undefined) return isPublic(socket.remoteAddress ?? '')
  return refuseInside(url.hostname, isPublic).then(
    () => true,
    () => false,
  )
}

function location({ statusCode = 0, headers }: http.IncomingMessage, base: URL): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(statusCode) || headers.location === undefined) return undefined
  const next = URL.parse(headers.location, base.href)
  if (next === null || !/^https?:$/.test(next.protocol))
    throw new Error('a redirect to something other than an http(s) URL')
  if (base.protocol === 'https:' && next.protocol === 'http:')
    throw new Error('a redirect from HTTPS to HTTP')
  return next
}

async function send(
  url: URL,
  { headers, signal, isAllowed, network = plainNetwork }: HttpGetOptions,
): Promise<http.IncomingMessage> {
  if (isAllowed !== undefined) refuseLiteral(url.hostname, isAllowed)
  const secure = url.protocol === 'https:'
  const options = { headers: { 'user-agent': 'autodj', accept: '*/*', ...headers }, signal }
  let way: https.RequestOptions = { agent: false }
  if (proxyFor(url.href, network.proxies) !== undefined) {
    // The proxy looks the name up and connects: what is known of the name here is looked at before it is asked.
    if (isAllowed !== undefined) await refuseInside(url.hostname, isAllowed)
    const agents = await openAgents(network, { keepAlive: false })
    way = { agent: secure ? agents.https : agents.http }
  } else if (isAllowed !== undefined) {
    way = { agent: false, lookup: guardedLookup(isAllowed) }
  }
  return new Promise((resolve, reject) => {
    const request = (secure ? https : http).get(url, { ...options, ...way })
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
