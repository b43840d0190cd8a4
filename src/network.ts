/** How connections leave this machine: through which proxy, and which certificates they trust beside the usual ones. */
import type { AgentOptions, ClientRequest, Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent, type AgentOptions as HttpsAgentOptions } from 'node:https'
import { syncBuiltinESMExports } from 'node:module'
import type { Socket } from 'node:net'
import tls from 'node:tls'
import type { Dispatcher } from 'undici'
import { describeProxy, type Proxies, proxyFor } from './core/proxy.ts'
import { systemErrorReason, UsageError } from './errors.ts'
import { readNamedFile } from './named-files.ts'

/** What the settings say about the way out. */
export interface Network {
  readonly proxies: Proxies
  /** files with certificates (PEM) to trust as well, by the variable that names them */
  readonly certificates: readonly { readonly variable: string; readonly path: string }[]
}

export const plainNetwork: Network = { proxies: {}, certificates: [] }

/** Node.js 22.19 and 24.5 have them. */
interface Trust {
  setDefaultCACertificates?(certificates: readonly string[]): void
  getCACertificates?(type: 'default'): string[]
}

/** Certificates that {@link trustWithoutDefaults} has made every connection trust. */
const alsoTrusted = new Set<string>()

/**
 * What older versions of Node.js offer: each connection that names no authorities of its own asks `tls` for a context, and
 * gets one that trusts these as well.
 */
function trustWithoutDefaults(extra: readonly string[]): void {
  const isWrapped = alsoTrusted.size > 0
  for (const certificate of extra) alsoTrusted.add(certificate)
  if (isWrapped) return
  const { createSecureContext } = tls
  tls.createSecureContext = options => {
    const made = createSecureContext(options)
    if (options?.ca !== undefined) return made
    const context = made.context as { addCACert(certificate: string): void }
    for (const certificate of alsoTrusted) context.addCACert(certificate)
    return made
  }
  // What was imported by name follows.
  syncBuiltinESMExports()
}

/**
 * Makes the whole process trust these certificates beside those that it trusts anyway: databases, stores, CDN, AWS.
 * @throws UsageError if a file cannot be read or holds no certificate
 */
function trustCertificates({ certificates }: Network): void {
  if (certificates.length === 0) return
  const extra = certificates.flatMap(({ variable, path }) => {
    let text: string
    try {
      text = readNamedFile(path).toString()
    } catch (error) {
      throw new UsageError(`${variable} names ${path}, which cannot be read: ${systemErrorReason(error)}`, {
        code: 'config.certificates',
      })
    }
    const found = text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g)
    if (found !== null) return found
    throw new UsageError(`${variable} names ${path}, which contains no certificate in PEM form`, {
      code: 'config.certificates',
      cure: 'Convert it (openssl x509 -inform der -in FILE -out FILE.pem), or unset it.',
    })
  })
  const { setDefaultCACertificates, getCACertificates } = tls as Trust
  if (setDefaultCACertificates === undefined || getCACertificates === undefined) trustWithoutDefaults(extra)
  else setDefaultCACertificates([...new Set([...getCACertificates('default'), ...extra])])
}

export interface Agents {
  readonly http: HttpAgent
  readonly https: HttpsAgent
}

/** Agents for `node:http` and `node:https` that go through the proxies; loads what that takes only if there are some. */
export async function openAgents(
  { proxies }: Network,
  options: AgentOptions & HttpsAgentOptions,
): Promise<Agents> {
  const direct: Agents = {
    http: new (process.getBuiltinModule('node:http').Agent)(options),
    https: new HttpsAgent(options),
  }
  if (proxies.https === undefined && proxies.http === undefined) return direct
  const [{ Agent }, { HttpProxyAgent }, { HttpsProxyAgent }, { SocksProxyAgent }] = await Promise.all([
    import('agent-base'),
    import('http-proxy-agent'),
    import('https-proxy-agent'),
    import('socks-proxy-agent'),
  ])
  const byProxy = new Map<string, HttpAgent>()
  const open = (proxy: string, isSecure: boolean): HttpAgent => {
    if (/^socks/i.test(proxy)) return new SocksProxyAgent(proxy, options)
    return isSecure ? new HttpsProxyAgent(proxy, options) : new HttpProxyAgent(proxy, options)
  }
  const agent = new (class extends Agent {
    override connect(request: ClientRequest, { secureEndpoint }: { secureEndpoint: boolean }): HttpAgent {
      const scheme = secureEndpoint ? 'https' : 'http'
      const proxy = proxyFor(new URL(request.path, `${scheme}://${request.getHeader('host')}`).href, proxies)
      if (proxy === undefined) return direct[scheme]
      const way = `${scheme} ${proxy}`
      const known = byProxy.get(way) ?? open(proxy, secureEndpoint)
      byProxy.set(way, known)
      return known
    }
    override destroy(): void {
      for (const one of [direct.http, direct.https, ...byProxy.values()]) one.destroy()
      super.destroy()
    }
  })(options)
  return { http: agent, https: agent as unknown as HttpsAgent }
}

/** What `fetch` used before a proxy was put before it. */
let usual: Dispatcher | undefined

/**
 * Makes the whole process go out as the settings say: `fetch` through the proxies, and every connection with the
 * certificates. What has agents of its own takes them from {@link openAgents}.
 * @throws UsageError if a file of certificates cannot be used
 */
export async function enterNetwork(network: Network): Promise<void> {
  trustCertificates(network)
  const { proxies } = network
  const proxied = proxies.https !== undefined || proxies.http !== undefined
  if (!proxied && usual === undefined) return
  const { Agent, Dispatcher, ProxyAgent, getGlobalDispatcher, setGlobalDispatcher } = await import('undici')
  usual ??= getGlobalDispatcher()
  if (!proxied) return setGlobalDispatcher(usual)
  const direct = new Agent()
  const byProxy = new Map<string, Dispatcher>()
  const ways = () => [direct, ...byProxy.values()]
  setGlobalDispatcher(
    new (class extends Dispatcher {
      override dispatch(...[options, handler]: Parameters<Dispatcher['dispatch']>): boolean {
        const proxy = proxyFor(String(options.origin), proxies)
        if (proxy === undefined) return direct.dispatch(options, handler)
        const known = byProxy.get(proxy) ?? new ProxyAgent(proxy)
        byProxy.set(proxy, known)
        return known.dispatch(options, handler)
      }
      override async close(): Promise<void> {
        await Promise.all(ways().map(way => way.close()))
      }
      override async destroy(): Promise<void> {
        await Promise.all(ways().map(way => way.destroy()))
      }
    })() as Dispatcher,
  )
}

/**
 * A tunnel through a proxy to `HOST:PORT`, by CONNECT (RFC 9110, section 9.3.6).
 * @param limit ms
 * @throws Error with a `code`: of the network to the proxy, `TimeoutError`, or `PROXY_REFUSED`
 */
export function openTunnel(proxy: string, authority: string, limit: number): Promise<Socket> {
  const { protocol, hostname, port, username, password } = new URL(proxy)
  const { request } = process.getBuiltinModule(protocol === 'https:' ? 'node:https' : 'node:http')
  const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return new Promise((resolve, reject) => {
    const asking = request({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? (protocol === 'https:' ? 443 : 80) : port,
      method: 'CONNECT',
      path: authority,
      agent: false,
      timeout: limit,
      headers: {
        host: authority,
        ...(username !== '' && { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` }),
      },
    })
    asking.on('connect', ({ statusCode = 0 }, socket) => {
      socket.setTimeout(0)
      if (statusCode >= 200 && statusCode < 300) return resolve(socket as Socket)
      socket.destroy()
      const message = `the proxy ${describeProxy(proxy)} answers ${statusCode} to CONNECT ${authority}`
      reject(Object.assign(new Error(message), { code: 'PROXY_REFUSED' }))
    })
    asking.on('timeout', () => {
      asking.destroy(Object.assign(new Error('no answer from the proxy'), { code: 'TimeoutError' }))
    })
    asking.on('error', reject)
    asking.end()
  })
}
