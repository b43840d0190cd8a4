/**
 * From what was observed when a track was asked for through the CDN, to what is wrong and what to change. Pure.
 *
 * The signatures are CloudFront's and S3's documented answers:
 * https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/troubleshooting-response-errors.html
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 * The rules are tried in order and the first that fits names the failure; what no rule knows is called
 * `unexplained`, with the evidence, and never something it might be.
 */
import { type CdnProvider, providerOfHost } from '../cdn-provider.ts'
import { unaddressable } from '../cdn-url.ts'
import { type Cause, type Finding, finding } from './causes.ts'
import { networkFault } from './network-fault.ts'
import {
  bodyEvidence,
  element,
  type Facts,
  factsOf,
  type HttpAnswer,
  type ProbeObservation,
  withoutQuery,
} from './observation.ts'
import { worded } from './other-cdns.ts'
import { refusedRules } from './refused.ts'
import { servedRules, warnings } from './served.ts'

/**
 * What is wrong with one probe: at most one failure, first, then warnings. Empty: it is served as it should be.
 *
 * A failure that S3 could explain (`needsS3`) is named better when `observation.s3` is given.
 */
export function diagnose(observation: ProbeObservation): Finding[] {
  const { answer, error } = observation
  const expected = observation.provider ?? providerOfHost(URL.parse(observation.url)?.hostname ?? '')
  if (answer === undefined)
    return [worded(transportFinding(observation, error, expected), expected ?? 'other')]
  const facts = factsOf({ ...observation, provider: expected }, answer)
  return findings(facts).map(found => worded(found, facts.seenProvider ?? expected ?? 'other'))
}

function findings(facts: Facts): Finding[] {
  const { answer } = facts
  const why = unaddressable(facts.key)
  if (why !== undefined) return [finding('key-unaddressable', [why, ...facts.evidence])]
  const served = answer.status === 200 || answer.status === 206
  for (const rule of served ? servedRules : refusedRules) {
    const found = rule(facts)
    // Headers of a page that stands in for the object say nothing about the object.
    if (found !== undefined) {
      return [found, ...(served && found.cause !== 'custom-error-page' ? warnings(facts) : [])]
    }
  }
  return served ? warnings(facts) : [finding('unexplained', [...facts.evidence, ...bodyEvidence(facts)])]
}

const s3Decides: ReadonlySet<Cause> = new Set<Cause>([
  'origin-denied',
  'empty-object',
  'object-missing',
  'size-mismatch',
  'etag-mismatch',
  'compressed',
  'wrong-bucket',
  'unexplained',
])

/** Whether asking once past the cache could say more of it: a cached answer lacks a CORS header. */
export function needsPastCache(found: Finding): boolean {
  return found.cause === 'cors-missing'
}

/** Whether asking S3 about the key could change the name of this failure. */
export function needsS3(found: Finding): boolean {
  return s3Decides.has(found.cause)
}

const transportCauses: readonly (readonly [RegExp, Cause])[] = [
  [/^(ENOTFOUND|EAI_AGAIN|EAI_NODATA|EAI_NONAME)$/, 'dns'],
  [/^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL)$/, 'refused'],
  [/TIMEOUT|ETIMEDOUT/, 'timeout'],
  [/^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_TLS_CERT)/, 'tls-certificate'],
  [/^(EPROTO|ERR_SSL_|ERR_TLS_)/, 'tls-handshake'],
  [/^(ECONNRESET|EPIPE|ECONNABORTED|UND_ERR_SOCKET|HPE_|ERR_STREAM_PREMATURE_CLOSE)/, 'reset'],
]

function transportFinding(
  { url }: ProbeObservation,
  error: ProbeObservation['error'],
  provider: CdnProvider | undefined,
): Finding {
  const { code = 'no answer', message = '' } = error ?? {}
  const cause = transportCauses.find(([pattern]) => pattern.test(code))?.[1] ?? 'unexplained'
  const cures = provider === 'cloudfront' ? certificateCures : otherCertificateCures
  const cure = cures.find(([pattern]) => pattern.test(code))?.[1]
  // The other titles say already what the code means.
  const said = /^tls-/.test(cause)
    ? networkFault({ code, message })
    : message === ''
      ? code
      : `${code}: ${message}`
  return finding(cause, [said, withoutQuery(url)], cure)
}

/** Of `tls-certificate`: what to do about it differs by what is wrong with it. */
const certificateCures: readonly (readonly [RegExp, string])[] = [
  [/^CERT_HAS_EXPIRED/, 'Renew it: ACM does so by itself while the validation record is in DNS.'],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID/,
    'Attach an ACM certificate (us-east-1) that covers the alias to the distribution.',
  ],
  [
    /^(DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/,
    'No authority known here issued it: attach an ACM certificate; if a proxy of yours intercepts TLS, name its ' +
      'certificate in NODE_EXTRA_CA_CERTS.',
  ],
]

/** Where the CDN is another one; what is missing here has the cure of its cause. */
const otherCertificateCures: readonly (readonly [RegExp, string])[] = [
  [/^CERT_HAS_EXPIRED/, 'Renew it, and see why the CDN has not done so by itself.'],
  [
    /^(DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/,
    'No authority known here issued it: give the CDN one of a public authority, with its whole chain; if the authority ' +
      'is yours, or a proxy of yours intercepts TLS, name its certificate in NODE_EXTRA_CA_CERTS.',
  ],
]

/** Whether S3 answers the same object to anyone. `answer` is to an unsigned request straight to the bucket. */
export function diagnoseDirect(url: string, answer: HttpAnswer): Finding[] {
  if (answer.status !== 200 && answer.status !== 206) return []
  return [finding('public-object', [`${withoutQuery(url)} answered ${answer.status} without credentials`])]
}

/**
 * Whether S3 itself refused to serve the object without credentials: an error of S3's, and not one of a proxy, an
 * outage, or another bucket.
 */
export function refusesAnyone({ status, headers, body }: HttpAnswer): boolean {
  const fromS3 = headers['x-amz-request-id'] !== undefined || element(body, 'Code') !== undefined
  // 400: an anonymous request for an object encrypted with KMS.
  return fromS3 && (status === 400 || status === 401 || status === 403)
}

/** Bytes through the CDN against bytes in S3 (`what`: a range, or "SHA-256"); values are digests in hex. */
export function diagnoseContent(what: string, cdn: string, s3: string): Finding[] {
  return cdn === s3 ? [] : [finding('content-differs', [`${what}: ${cdn} through the CDN, ${s3} in S3`])]
}
