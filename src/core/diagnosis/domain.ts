/** What the CDN's domain does, whatever the object. */
import { type CdnProvider, cdnNames } from '../cdn-provider.ts'
import { formatCount } from '../units.ts'
import { type Finding, finding } from './causes.ts'
import { worded } from './other-cdns.ts'

/** What was seen of the domain itself, once per run. */
export interface DomainObservation {
  hostname: string
  /** which CDN serves it, as far as is known */
  provider?: CdnProvider
  /** answer to plain HTTP, if there was one */
  http?: { status: number; location?: string }
  /** protocol versions that a handshake succeeded with, such as `TLSv1.3`, `TLSv1.1` */
  tlsVersions: readonly string[]
  certificate?: { validTo: Date; issuer: string }
}

const dayMs = 86_400_000

/** Days before its end at which a certificate is called expiring. ACM renews 60 days before, so 21 means it did not. */
const certificateWarningDays = 21

/** Redirect from HTTP, TLS version and certificate of the domain. */
export function diagnoseDomain(seen: DomainObservation, now: Date): Finding[] {
  const found: Finding[] = []
  const { http, provider = 'other' } = seen
  if (http !== undefined && http.status >= 200 && http.status < 300) {
    found.push(finding('http-open', [`http://${seen.hostname} answered ${http.status}`]))
  }
  const old = seen.tlsVersions.filter(version => version === 'TLSv1' || version === 'TLSv1.1')
  if (old.length > 0) found.push(finding('tls-old', [`${seen.hostname} accepts ${old.join(', ')}`]))
  if (seen.certificate !== undefined) {
    const days = (seen.certificate.validTo.getTime() - now.getTime()) / dayMs
    if (days < certificateWarningDays) {
      found.push(
        finding('certificate-expiring', [
          `valid to ${seen.certificate.validTo.toISOString().slice(0, 10)} (${Math.floor(days)} days), issued by ${seen.certificate.issuer}`,
        ]),
      )
    }
  }
  return found.map(one => worded(one, provider))
}

/** How many answers came from which CDN; `none`: nothing in them says that there is one. */
export type ProviderCounts = Readonly<Partial<Record<CdnProvider | 'none', number>>>

/**
 * Whether answers came through the CDN that is expected: said once, not of each track.
 * @param expected what the settings or the domain say; undefined: any will do
 */
export function diagnoseProvider(expected: CdnProvider | undefined, seen: ProviderCounts): Finding[] {
  const counts = Object.entries(seen) as [CdnProvider | 'none', number][]
  const strange = counts.filter(([provider]) =>
    expected === undefined ? provider === 'none' : expected !== 'other' && provider !== expected,
  )
  if (strange.length === 0) return []
  const total = counts.reduce((sum, [, count]) => sum + count, 0)
  const evidence = strange.map(
    ([provider, count]) =>
      `${formatCount(count)} of ${formatCount(total)} answers: ` +
      (provider === 'none'
        ? 'no header of any CDN'
        : `headers of ${provider === 'other' ? 'a cache of unknown kind' : cdnNames[provider]}`),
  )
  if (expected === undefined) return [finding('no-cdn', evidence)]
  return [finding(expected === 'cloudfront' ? 'not-cloudfront' : 'other-cdn', evidence)]
}

/** What was seen of the domain, in one line; undefined for a stand-in without TLS, of which nothing is asked. */
export function describeDomain(
  { http, tlsVersions, certificate }: DomainObservation,
  now: Date,
): string | undefined {
  if (tlsVersions.length === 0) return undefined
  const days = certificate && Math.floor((certificate.validTo.getTime() - now.getTime()) / dayMs)
  return [
    `TLS ${tlsVersions.map(version => version.replace(/^TLSv(1)$/, '1.0').replace('TLSv', '')).join(', ')}`,
    ...(certificate === undefined
      ? []
      : [`certificate valid to ${certificate.validTo.toISOString().slice(0, 10)} (${days} days)`]),
    http === undefined
      ? 'no answer to plain HTTP'
      : http.status >= 300 && http.status < 400
        ? 'plain HTTP is redirected'
        : http.status < 300
          ? 'plain HTTP is served'
          : 'plain HTTP is refused',
  ].join(', ')
}
