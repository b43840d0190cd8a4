/** Which proxy a request goes through, by the variables that curl, Python and the AWS CLI read too. */

export interface Proxies {
  /** URL of the proxy for https:// addresses; undefined: none */
  readonly https?: string
  /** of the proxy for http:// addresses */
  readonly http?: string
  /** NO_PROXY: hosts that are asked without, separated by commas or blanks */
  readonly except?: string
}

/**
 * @param read a variable's value; upper and lower case are asked for, as programs differ
 */
export function readProxies(read: (variable: string) => string | undefined): Proxies {
  const either = (variable: string) => read(variable.toLowerCase()) ?? read(variable)
  const all = either('ALL_PROXY')
  const https = either('HTTPS_PROXY') ?? all
  const http = either('HTTP_PROXY') ?? all
  const except = either('NO_PROXY')
  return {
    ...(https !== undefined && { https: withScheme(https) }),
    ...(http !== undefined && { http: withScheme(http) }),
    ...(except !== undefined && { except }),
  }
}

/** `proxy:3128` is what people write. */
function withScheme(proxy: string): string {
  return proxy.includes('://') ? proxy : `http://${proxy}`
}

/**
 * The proxy for an absolute URL. A name in NO_PROXY is that host and all below it (`example.com`, `.example.com` and
 * `*.example.com` alike), `*` is every host, `host:port` that port only, `10.0.0.0/8` a range of IPv4 addresses. What
 * hands out credentials on the machine itself (169.254.169.254 and the like) is never asked through a proxy.
 *
 * @returns undefined if none is to be used
 */
export function proxyFor(url: string, { https, http, except = '' }: Proxies): string | undefined {
  if (!https && !http) return undefined
  const { protocol, hostname, port } = new URL(url)
  const proxy = protocol === 'https:' ? https : http
  if (proxy === undefined || proxy === '') return undefined
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  if (host.startsWith('169.254.') || host === 'fd00:ec2::254') return undefined
  const at = port === '' ? (protocol === 'https:' ? '443' : '80') : port
  const spared = except
    .split(/[\s,]+/)
    .filter(Boolean)
    .some(entry => covers(entry.toLowerCase(), host, at))
  return spared ? undefined : proxy
}

function covers(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true
  const [, network, bits] = /^(\d+\.\d+\.\d+\.\d+)\/(\d+)$/.exec(entry) ?? []
  if (network !== undefined) return isWithin(host, network, Number(bits))
  const [, name = entry, only] = /^(\[[^\]]+\]|[^:]+):(\d+)$/.exec(entry) ?? []
  if (only !== undefined && only !== port) return false
  const bare = name.replace(/^\*?\./, '').replace(/^\[|\]$/g, '')
  return host === bare || host.endsWith(`.${bare}`)
}

function isWithin(host: string, network: string, bits: number): boolean {
  const [a, b] = [ipv4(host), ipv4(network)]
  if (a === undefined || b === undefined) return false
  const size = 2 ** (32 - bits)
  return Math.floor(a / size) === Math.floor(b / size)
}

function ipv4(address: string): number | undefined {
  const parts = address.split('.').map(Number)
  if (parts.length !== 4 || parts.some(part => !Number.isInteger(part) || part < 0 || part > 255))
    return undefined
  return parts.reduce((sum, part) => sum * 256 + part, 0)
}

/** A proxy's URL as it may be shown: without its password. */
export function describeProxy(proxy: string): string {
  const url = URL.parse(proxy)
  return url === null ? 'the proxy' : `${url.protocol}//${url.host}`
}
