/**
 * Which CDN answered, where, and whether out of its cache: from response headers alone. The headers are those that each
 * of them documents, and were seen to send:
 * https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/understanding-response-headers-policies.html
 * https://developers.cloudflare.com/cache/concepts/cache-responses/
 * https://www.fastly.com/documentation/reference/http/http-headers/X-Cache/
 * https://docs.bunny.net/cdn/troubleshooting/run-traceroute
 * https://nginx.org/en/docs/http/ngx_http_upstream_module.html#var_upstream_cache_status
 */

/** Names in lower case. */
type ResponseHeaders = Readonly<Record<string, string | undefined>>

/** The values of `CDN_PROVIDER`. `other`: something that caches, of a kind that is not known here. */
export const cdnProviders = ['cloudfront', 'cloudflare', 'fastly', 'bunny', 'nginx', 'other'] as const

export type CdnProvider = (typeof cdnProviders)[number]

/** What each is called in a sentence. */
export const cdnNames: Readonly<Record<CdnProvider, string>> = {
  cloudfront: 'CloudFront',
  cloudflare: 'Cloudflare',
  fastly: 'Fastly',
  bunny: 'Bunny',
  nginx: 'nginx',
  other: 'the CDN',
}

/** How each is recognised, the one nearest to the viewer first where several stand in a row, as far as can be told. */
const marks: readonly (readonly [CdnProvider, (headers: ResponseHeaders) => boolean])[] = [
  ['cloudflare', h => Boolean(h['cf-ray']) || /^cloudflare$/i.test(h['server'] ?? '')],
  [
    'cloudfront',
    h =>
      Boolean(h['x-amz-cf-pop'] || h['x-amz-cf-id']) ||
      /\(CloudFront\)/i.test(h['via'] ?? '') ||
      /^CloudFront$/i.test(h['server'] ?? ''),
  ],
  ['bunny', h => Boolean(h['cdn-pullzone']) || /^BunnyCDN/i.test(h['server'] ?? '')],
  ['fastly', h => /\bcache-\w+/.test(h['x-served-by'] ?? '') || Boolean(h['x-fastly-request-id'])],
  ['nginx', h => /^(nginx|openresty|angie|tengine)\b/i.test(h['server'] ?? '')],
  [
    'other',
    h =>
      ['via', 'age', 'x-cache', 'x-cache-status', 'x-proxy-cache', 'cache-status', 'x-varnish'].some(name =>
        Boolean(h[name]),
      ),
  ],
]

/**
 * Who answered; undefined when nothing says that anything stands before the store.
 * @param expected the one to name where several stand in a row and it is among them
 */
export function providerOf(headers: ResponseHeaders, expected?: CdnProvider): CdnProvider | undefined {
  const seen = marks.filter(([, marked]) => marked(headers)).map(([provider]) => provider)
  return expected !== undefined && seen.includes(expected) ? expected : seen[0]
}

/** Whose domain a host name is, if that says it. */
export function providerOfHost(hostname: string): CdnProvider | undefined {
  return hosts.find(([pattern]) => pattern.test(hostname))?.[1]
}

const hosts: readonly (readonly [RegExp, CdnProvider])[] = [
  [/\.cloudfront\.net$/, 'cloudfront'],
  [/\.(r2|workers|pages)\.dev$/, 'cloudflare'],
  [/\.(fastly\.net|fastlylb\.net|edgecompute\.app)$/, 'fastly'],
  [/\.b-cdn\.net$/, 'bunny'],
]

/** Where the answer came from, as its CDN says it: `FRA56-P2`, `FRA` (Cloudflare, Fastly), `DE1-864` (Bunny), `nginx`. */
export function edgeOf(headers: ResponseHeaders): string | undefined {
  const provider = providerOf(headers)
  switch (provider) {
    case undefined:
      return undefined
    case 'cloudfront':
      return headers['x-amz-cf-pop'] || cdnNames.cloudfront
    case 'cloudflare':
      return /-([A-Z]{3})$/.exec(headers['cf-ray'] ?? '')?.[1] ?? cdnNames.cloudflare
    case 'fastly':
      return /-([A-Z]{3})$/.exec(headers['x-served-by'] ?? '')?.[1] ?? cdnNames.fastly
    case 'bunny':
      return /^BunnyCDN-(.+)$/i.exec(headers['server'] ?? '')?.[1] ?? cdnNames.bunny
    case 'nginx':
      return 'nginx'
    case 'other':
      return 'CDN'
  }
}

/** `hit`: out of the cache, fresh or not · `miss`: fetched for this request · `uncached`: never kept, by its own word. */
type CacheOutcome = 'hit' | 'miss' | 'uncached'

/** What the headers say of the cache; undefined when they say nothing. */
export function cacheOutcome(headers: ResponseHeaders): CacheOutcome | undefined {
  // Of servers in a row the last is nearest to the viewer (Fastly with shielding, RFC 9211).
  const word = ['cf-cache-status', 'cdn-cache', 'x-cache-status', 'x-proxy-cache', 'x-cache']
    .map(name => headers[name])
    .find(Boolean)
    ?.split(',')
    .at(-1)
    ?.trim()
  if (word !== undefined) {
    if (/^(refresh)?hit\b|^(stale|updating|revalidated)\b/i.test(word)) return 'hit'
    if (/^(dynamic|bypass|none|unknown)\b/i.test(word)) return 'uncached'
    return 'miss'
  }
  const last = headers['cache-status']?.split(',').at(-1)
  if (last !== undefined) return /;\s*hit\b/i.test(last) ? 'hit' : 'miss'
  const age = headers['age']
  return age === undefined ? undefined : Number(age) > 0 ? 'hit' : 'miss'
}

/** Whether the edge had it. */
export function isCacheHit(headers: ResponseHeaders): boolean {
  return cacheOutcome(headers) === 'hit'
}
