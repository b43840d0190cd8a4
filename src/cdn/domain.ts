/** What the CDN's domain itself does, whatever the object: plain HTTP, TLS versions, certificate. */
import tls from 'node:tls'
import type { CdnDomain } from '../core/cdn-url.ts'
import type { DomainObservation } from '../core/diagnosis/domain.ts'
import type { Prober } from './probe.ts'

const tlsVersions = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const
const handshakeTimeoutMs = 10_000

/**
 * Looks at the domain, once per run. Nothing is asked of a stand-in without TLS.
 * @param path of some object, encoded, with its slash
 */
export async function observeDomain(
  domain: CdnDomain,
  path: string,
  prober: Prober,
  { httpPort, ca }: { httpPort?: number; ca?: string } = {},
): Promise<DomainObservation> {
  const { hostname, origin } = domain
  if (!domain.tls) return { hostname, tlsVersions: [] }
  const port = Number(URL.parse(origin)?.port) || 443
  // A stand-in on a port of its own has no plain HTTP beside it; CloudFront always has.
  const plainPort = httpPort ?? (port === 443 ? 80 : undefined)
  const [plain, ...handshakes] = await Promise.all([
    plainPort === undefined
      ? undefined
      : prober.request({ url: `http://${hostname}:${plainPort}${path}`, range: { start: 0, end: 0 } }),
    ...tlsVersions.map(version => handshake(hostname, port, version, ca)),
  ])
  const answered = plain !== undefined && 'answer' in plain ? plain.answer : undefined
  const certificate = handshakes.find(one => one?.certificate !== undefined)?.certificate
  return {
    hostname,
    ...(answered === undefined
      ? {}
      : { http: { status: answered.status, location: answered.headers['location'] } }),
    tlsVersions: handshakes.flatMap(one => (one === undefined ? [] : [one.version])),
    ...(certificate === undefined ? {} : { certificate }),
  }
}

interface Handshake {
  version: string
  certificate?: { validTo: Date; issuer: string }
}

/** One handshake with exactly this version; `undefined` when the domain does not take it. */
function handshake(
  hostname: string,
  port: number,
  version: (typeof tlsVersions)[number],
  ca: string | undefined,
): Promise<Handshake | undefined> {
  return new Promise(resolve => {
    const socket = tls.connect({
      host: hostname,
      port,
      servername: /^[\d.]+$|:/.test(hostname) ? '' : hostname,
      minVersion: version,
      maxVersion: version,
      // Nothing is sent: the certificate's faults are for the probes to name, this asks what the server takes.
      rejectUnauthorized: false,
      ...(ca === undefined ? {} : { ca }),
      // OpenSSL 3 offers TLS 1.0 and 1.1 at security level 0 only.
      ...(version < 'TLSv1.2' ? { ciphers: 'DEFAULT:@SECLEVEL=0' } : {}),
      timeout: handshakeTimeoutMs,
    })
    const done = (result: Handshake | undefined) => {
      socket.destroy()
      resolve(result)
    }
    socket.once('secureConnect', () => {
      const { valid_to, issuer } = socket.getPeerCertificate()
      done({
        version,
        ...(valid_to === undefined
          ? {}
          : {
              certificate: {
                validTo: new Date(valid_to),
                issuer: String(issuer?.CN ?? issuer?.O ?? 'unknown'),
              },
            }),
      })
    })
    socket.once('error', () => done(undefined))
    socket.once('timeout', () => done(undefined))
  })
}
