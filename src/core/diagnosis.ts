/**
 * From what was observed when a track was asked for through the CDN, to what is wrong and what to change. Pure.
 *
 * The signatures are CloudFront's and S3's documented answers:
 * https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/troubleshooting-response-errors.html
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 * The rules are tried in order and the first that fits names the failure; what no rule knows is called
 * `unexplained`, with the evidence, and never something it might be.
 */
import { type Cause, clean, type Finding, finding } from './causes.ts'
import { type KeyMistake, keyMistake, unaddressable } from './cdn-url.ts'
import { networkFault } from './network-fault.ts'

/** One HTTP answer. */
export interface HttpAnswer {
  status: number
  /** names in lower case */
  headers: Readonly<Record<string, string | undefined>>
  /** first 1,024 bytes at most, as text; empty for audio */
  body: string
  /** bytes of body that arrived */
  length: number
  /** when it arrived */
  at: Date
}

/** What S3 itself says about the key, asked with credentials. */
export type S3Answer =
  | {
      state: 'present'
      size: number
      etag?: string
      lastModified?: Date
      contentEncoding?: string
      encryption?: 'AES256' | 'aws:kms'
    }
  | { state: 'absent' /** it is there under this other key */; foundAs?: string }
  | { state: 'unknown' /** why S3 could not say */; reason: string }

export interface ProbeObservation {
  key: string
  /** as requested; signatures in it are never repeated in the evidence */
  url: string
  /** inclusive range that was asked for */
  range: { start: number; end: number }
  /** the `Origin` header sent, where CORS is to be checked */
  origin?: string
  signed: boolean
  /** no whole answer came: a Node.js error code */
  error?: { code: string; message: string }
  answer?: HttpAnswer
  /** bytes, what the ledger (or the row) says; `undefined` when nobody knows */
  expectedSize?: number
  /** S3's ETag as the ledger has it: CloudFront passes it through, so it proves at no cost which object it is */
  expectedEtag?: string
  /** `undefined` when S3 was not asked */
  s3?: S3Answer
}

/** What a rule looks at, worked out once. */
interface Facts extends ProbeObservation {
  answer: HttpAnswer
  header(name: string): string | undefined
  /** the XML error's elements, where the body is one */
  xml: { code?: string; message?: string; key?: string; bucket?: string; endpoint?: string }
  /** who made the error: S3's have a request id of S3, CloudFront's have none */
  from: 's3' | 's3-website' | 'cloudfront' | 'other'
  /** the edge fetched this answer before then; only where it was served from its cache */
  fetchedBefore?: Date
  evidence: string[]
}

type Rule = (facts: Facts) => Finding | undefined

/**
 * What is wrong with one probe: at most one failure, first, then warnings. Empty: it is served as it should be.
 *
 * A failure that S3 could explain (`needsS3`) is named better when `observation.s3` is given.
 */
export function diagnose(observation: ProbeObservation): Finding[] {
  const { answer, error } = observation
  if (answer === undefined) return [transportFinding(observation, error)]
  const facts = factsOf(observation, answer)
  const why = unaddressable(observation.key)
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
  'object-missing',
  'size-mismatch',
  'etag-mismatch',
  'compressed',
  'wrong-bucket',
  'unexplained',
])

/** Whether asking S3 about the key could change the name of this failure. */
export function needsS3(found: Finding): boolean {
  return s3Decides.has(found.cause)
}

function factsOf(observation: ProbeObservation, answer: HttpAnswer): Facts {
  const header = (name: string) => answer.headers[name] || undefined
  const xml = /^\s*(<\?xml[^>]*>\s*)?<Error>/.test(answer.body)
    ? {
        code: element(answer.body, 'Code'),
        message: element(answer.body, 'Message'),
        key: element(answer.body, 'Key'),
        bucket: element(answer.body, 'BucketName') ?? element(answer.body, 'Bucket'),
        endpoint: element(answer.body, 'Endpoint'),
      }
    : {}
  const server = header('server') ?? ''
  const html = /<html|<!doctype html/i.test(answer.body)
  const from =
    xml.code !== undefined
      ? /<RequestId>/.test(answer.body) ||
        /AmazonS3/i.test(server) ||
        header('x-amz-request-id') !== undefined
        ? 's3'
        : 'cloudfront'
      : html && /<li>Code: \w+<\/li>/.test(answer.body)
        ? 's3-website'
        : /^CloudFront$/i.test(server) || /Generated by cloudfront/i.test(answer.body)
          ? 'cloudfront'
          : 'other'
  const age = Number(header('age'))
  const evidence = [`status ${answer.status}`]
  for (const name of ['server', 'x-cache', 'age', 'location'] as const) {
    const value = header(name)
    if (value !== undefined) evidence.push(`${name}: ${withoutQuery(value)}`)
  }
  return {
    ...observation,
    answer,
    header,
    xml,
    from,
    ...(header('age') !== undefined && age >= 0
      ? { fetchedBefore: new Date(answer.at.getTime() - age * 1000) }
      : {}),
    evidence,
  }
}

// ---------------------------------------------------------------------------------------------------------------
// no answer

const transportCauses: readonly (readonly [RegExp, Cause])[] = [
  [/^(ENOTFOUND|EAI_AGAIN|EAI_NODATA|EAI_NONAME)$/, 'dns'],
  [/^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL)$/, 'refused'],
  [/TIMEOUT|ETIMEDOUT/, 'timeout'],
  [/^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_TLS_CERT)/, 'tls-certificate'],
  [/^(EPROTO|ERR_SSL_|ERR_TLS_)/, 'tls-handshake'],
  [/^(ECONNRESET|EPIPE|ECONNABORTED|UND_ERR_SOCKET|HPE_|ERR_STREAM_PREMATURE_CLOSE)/, 'reset'],
]

function transportFinding({ url }: ProbeObservation, error: ProbeObservation['error']): Finding {
  const { code = 'no answer', message = '' } = error ?? {}
  const cause = transportCauses.find(([pattern]) => pattern.test(code))?.[1] ?? 'unexplained'
  const cure = certificateCures.find(([pattern]) => pattern.test(code))?.[1]
  return finding(cause, [networkFault({ code, message }), withoutQuery(url)], cure)
}

/** Of `tls-certificate`: what to do about it differs by what is wrong with it. */
const certificateCures: readonly (readonly [RegExp, string])[] = [
  [/^CERT_HAS_EXPIRED/, 'renew it: ACM does so by itself while the validation record is in DNS'],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID/,
    'attach an ACM certificate (us-east-1) that covers the alias to the distribution',
  ],
  [
    /^(DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/,
    'nobody known here issued it: attach an ACM certificate; where a proxy of yours intercepts TLS, name its ' +
      'certificate in NODE_EXTRA_CA_CERTS',
  ],
]

// ---------------------------------------------------------------------------------------------------------------
// an answer that is not the audio

const refusedRules: readonly Rule[] = [
  // CloudFront about the viewer
  facts => {
    if (facts.from !== 'cloudfront' || facts.answer.status !== 403) return undefined
    const said = `${facts.xml.code ?? ''} ${facts.xml.message ?? ''}`
    const evidence = [...facts.evidence, ...bodyEvidence(facts)]
    if (/MissingKey|Missing Key-Pair-Id/i.test(said)) {
      return facts.signed
        ? finding(
            'signature-missing',
            [...evidence, 'the URL was signed: its query was lost on the way'],
            'let nothing in front of CloudFront drop the query string',
          )
        : finding('signature-missing', evidence)
    }
    if (/InvalidKey|Unknown Key/i.test(said)) return finding('signature-unknown-key', evidence)
    if (facts.xml.code === undefined) return undefined
    const expires = Number(/[?&]Expires=(\d+)/.exec(facts.url)?.[1]) * 1000
    const now = Date.parse(facts.header('date') ?? '') || facts.answer.at.getTime()
    if (facts.signed && expires <= now) {
      return finding('signature-expired', [
        ...evidence,
        `expired ${new Date(expires).toISOString()}, the edge's clock said ${new Date(now).toISOString()}`,
      ])
    }
    if (facts.signed || /Malformed|InvalidSignature|Could not unencode/i.test(said)) {
      return finding('signature-rejected', evidence)
    }
    return undefined
  },
  facts => {
    if (facts.from !== 'cloudfront') return undefined
    const { status, body } = facts.answer
    const says = (pattern: RegExp, cause: Cause) =>
      pattern.test(body) ? finding(cause, [...facts.evidence, ...bodyEvidence(facts)]) : undefined
    if (status === 403) {
      return (
        says(/block access from your country/i, 'geo-blocked') ??
        says(/Request blocked/i, 'waf-blocked') ??
        (/Bad request/i.test(body)
          ? finding(facts.url.startsWith('http:') ? 'https-only' : 'alias-unknown', [
              ...facts.evidence,
              ...bodyEvidence(facts),
              `asked for ${withoutQuery(facts.url)}`,
            ])
          : undefined)
      )
    }
    if (status === 429) return finding('cdn-throttled', facts.evidence)
    if (status < 500) return undefined
    return (
      says(/resolve the origin domain name/i, 'origin-dns') ??
      says(/Lambda function|CloudFront function/i, 'edge-function') ??
      says(
        /attempted to establish a connection with the origin|origin closed the connection/i,
        'origin-unreachable',
      ) ??
      (status === 502 ? finding('origin-tls', [...facts.evidence, ...bodyEvidence(facts)]) : undefined) ??
      (status === 504
        ? finding('origin-unreachable', [...facts.evidence, ...bodyEvidence(facts)])
        : undefined) ??
      (status === 503 ? finding('cdn-throttled', [...facts.evidence, ...bodyEvidence(facts)]) : undefined)
    )
  },

  // the error is older than the object
  facts => {
    const { s3, fetchedBefore } = facts
    if (s3?.state !== 'present' || s3.lastModified === undefined || fetchedBefore === undefined)
      return undefined
    if (facts.answer.status !== 403 && facts.answer.status !== 404) return undefined
    if (fetchedBefore >= s3.lastModified) return undefined
    return finding('stale-error', [
      ...facts.evidence,
      `the error was fetched ${fetchedBefore.toISOString()}, the object stored ${s3.lastModified.toISOString()}`,
    ])
  },

  // S3 about CloudFront
  facts => {
    if (facts.from !== 's3-website') return undefined
    return finding('website-endpoint', [
      ...facts.evidence,
      `an HTML error page of S3: ${/<li>Code: \w+<\/li>/.exec(facts.answer.body)?.[0].slice(4, -5)}`,
    ])
  },
  facts => {
    const { code = '', message = '', endpoint, bucket } = facts.xml
    if (facts.from !== 's3') return undefined
    const evidence = [...facts.evidence, ...bodyEvidence(facts), ...s3Evidence(facts)]
    if (code === 'PermanentRedirect' || code === 'TemporaryRedirect' || /region .* is wrong/i.test(message)) {
      return finding(
        'wrong-region-endpoint',
        evidence,
        endpoint === undefined
          ? undefined
          : `set the origin domain of the distribution to ${clean(endpoint)}`,
      )
    }
    if (code === 'NoSuchBucket') {
      const host = URL.parse(facts.url)?.hostname
      return finding(bucket !== undefined && bucket === host ? 'host-forwarded' : 'bucket-missing', evidence)
    }
    if (code === 'InvalidObjectState') return finding('object-archived', evidence)
    if (code === 'SignatureDoesNotMatch') return finding('origin-signature', evidence)
    if (code === 'SlowDown' || code === 'ServiceUnavailable' || facts.answer.status === 503) {
      return finding('origin-throttled', evidence)
    }
    if (facts.answer.status >= 500) return finding('origin-error', evidence)
    if (/Only one auth mechanism allowed|Query-string authentication/i.test(message)) {
      return finding('auth-forwarded', evidence)
    }
    if (/require AWS Signature Version 4|Please use AWS4-HMAC-SHA256/i.test(message)) {
      return finding('oac-sigv4', evidence)
    }
    if (/^KMS\.|\bkms\b/i.test(`${code} ${message}`)) return finding('kms-denied', evidence)
    return undefined
  },

  // where the object is
  facts => {
    const { s3 } = facts
    const { status } = facts.answer
    if (status !== 403 && status !== 404) return undefined
    if (facts.from === 'cloudfront') return undefined
    const evidence = [...facts.evidence, ...bodyEvidence(facts), ...s3Evidence(facts)]
    const asked = facts.xml.key
    if (s3?.state !== 'absent' && asked !== undefined && asked !== facts.key) {
      const mistake = keyMistake(facts.key, asked)
      evidence.push(`S3 was asked for "${asked}"`)
      if (mistake !== undefined) {
        return finding(
          mistakeCause[mistake],
          evidence,
          'the path is rewritten between the viewer and S3: look at edge functions and proxies',
        )
      }
      if (asked.endsWith(`/${facts.key}`) || facts.key.endsWith(`/${asked}`))
        return finding('origin-path', evidence)
    }
    if (s3?.state === 'absent') {
      const mistake = s3.foundAs === undefined ? undefined : keyMistake(facts.key, s3.foundAs)
      if (mistake !== undefined) return finding(mistakeCause[mistake], evidence)
      return finding('object-missing', [
        ...evidence,
        ...(status === 403 ? ['403 and not 404: the CDN has no s3:ListBucket, as it should be'] : []),
      ])
    }
    if (status === 404) {
      if (facts.xml.code !== 'NoSuchKey' && facts.from !== 'other') return undefined
      return s3?.state === 'present' ? finding('wrong-bucket', evidence) : finding('object-missing', evidence)
    }
    if (facts.from !== 's3') return undefined
    if (s3?.state === 'present')
      return finding(s3.encryption === 'aws:kms' ? 'kms-denied' : 'oac-missing', evidence)
    return finding('origin-denied', evidence)
  },
  facts => {
    if (facts.answer.status !== 416) return undefined
    const evidence = [...facts.evidence, ...s3Evidence(facts)]
    const total = contentRange(facts.header('content-range'))?.total ?? actualSize(facts.answer.body)
    if (total !== undefined) evidence.push(`the object has ${total} bytes`)
    if (facts.range.start === 0 || total === 0) return finding('empty-object', evidence)
    return sizeFinding(facts, total, evidence)
  },

  // anything else with a meaning
  facts => {
    const { status } = facts.answer
    if (status >= 300 && status < 400 && status !== 304) {
      return /\.s3[.-]/.test(facts.header('location') ?? '')
        ? finding('wrong-region-endpoint', facts.evidence)
        : finding('redirected', facts.evidence)
    }
    if (status === 429) return finding('cdn-throttled', facts.evidence)
    return undefined
  },
]

const mistakeCause: Readonly<Record<KeyMistake, Cause>> = {
  normalisation: 'key-normalisation',
  plus: 'key-plus',
  encoding: 'key-encoding',
  slash: 'key-slash',
}

// ---------------------------------------------------------------------------------------------------------------
// an answer that looks like the audio

const servedRules: readonly Rule[] = [
  facts => {
    const type = mediaType(facts)
    if (type !== 'text/html' && type !== 'application/xhtml+xml') return undefined
    return finding('custom-error-page', [...facts.evidence, `content-type: ${type}`])
  },
  facts => {
    const encoding = facts.header('content-encoding')
    if (encoding === undefined || encoding === 'identity') return undefined
    const stored = facts.s3?.state === 'present' ? facts.s3.contentEncoding : undefined
    return finding(
      'compressed',
      [
        ...facts.evidence,
        `content-encoding: ${encoding}`,
        ...(stored === undefined ? [] : [`stored with it in S3`]),
      ],
      stored === undefined
        ? undefined
        : 'the object is stored with a Content-Encoding: copy it over itself without one (`autodj reconcile`)',
    )
  },
  facts =>
    facts.answer.status === 200
      ? finding('range-ignored', [
          ...facts.evidence,
          `range asked for: bytes=${facts.range.start}-${facts.range.end}`,
        ])
      : undefined,
  facts => {
    const value = facts.header('content-range')
    const range = contentRange(value)
    if (
      range?.total !== undefined &&
      facts.expectedSize !== undefined &&
      range.total !== facts.expectedSize
    ) {
      return sizeFinding(facts, range.total, [...facts.evidence, ...s3Evidence(facts)])
    }
    const etag = bareEtag(facts.header('etag'))
    if (facts.expectedEtag !== undefined && etag !== undefined && etag !== facts.expectedEtag) {
      return etagFinding(facts, etag)
    }
    const end = Math.min(facts.range.end, (range?.total ?? Number.POSITIVE_INFINITY) - 1)
    const wrong =
      range === undefined ||
      range.start !== facts.range.start ||
      range.end !== end ||
      facts.answer.length !== end - facts.range.start + 1
    if (!wrong) return undefined
    return finding('range-wrong', [
      ...facts.evidence,
      `asked for bytes=${facts.range.start}-${facts.range.end}`,
      `content-range: ${value ?? 'none'}, ${facts.answer.length} bytes came`,
    ])
  },
  facts => {
    const type = mediaType(facts)
    return type === undefined || isAudio(type) || isGeneric(type)
      ? undefined
      : finding('content-type', [...facts.evidence, `content-type: ${type}`])
  },
  facts => {
    if (facts.origin === undefined) return undefined
    const allowed = facts.header('access-control-allow-origin')
    if (allowed === '*' || allowed === facts.origin) return undefined
    return allowed === undefined
      ? finding('cors-missing', [...facts.evidence, `asked with origin: ${facts.origin}`])
      : finding('cors-other-origin', [
          ...facts.evidence,
          `asked with origin: ${facts.origin}`,
          `access-control-allow-origin: ${allowed}`,
        ])
  },
]

function warnings(facts: Facts): Finding[] {
  const found: Finding[] = []
  const type = mediaType(facts)
  if (type === undefined || isGeneric(type)) {
    found.push(finding('content-type-generic', [`content-type: ${type ?? 'none'}`]))
  }
  // A 206 without the header is complete (RFC 9110, section 14.3); one that denies what it does is not.
  if (/^none$/i.test(facts.header('accept-ranges') ?? '')) {
    found.push(finding('accept-ranges-none', ['accept-ranges: none']))
  }
  const caching = facts.header('cache-control')
  const keeps =
    caching === undefined
      ? facts.header('expires') !== undefined
      : !/\b(no-store|no-cache|private)\b/i.test(caching) && !/\bmax-age=0\b/i.test(caching)
  if (!keeps) found.push(finding('caching-headers', [`cache-control: ${caching ?? 'none'}`]))
  if (edgeOf(facts.answer.headers) === undefined) {
    found.push(
      finding('not-cloudfront', [
        'no Via: … (CloudFront), X-Amz-Cf-Pop or X-Amz-Cf-Id header',
        ...facts.evidence,
      ]),
    )
  }
  return found
}

function sizeFinding(facts: Facts, total: number | undefined, evidence: readonly string[]): Finding {
  const all = [
    ...evidence,
    `database: ${facts.expectedSize ?? 'no size'} bytes, CDN: ${total ?? 'unknown'} bytes`,
  ]
  if (facts.s3?.state !== 'present') return finding('size-mismatch', all)
  if (facts.s3.size === facts.expectedSize) return finding('stale-object', all)
  if (facts.s3.size === total) return finding('object-replaced', all)
  return finding('size-mismatch', all)
}

function etagFinding(facts: Facts, etag: string): Finding {
  const evidence = [
    ...facts.evidence,
    ...s3Evidence(facts),
    `ETag in the database: ${facts.expectedEtag}, through the CDN: ${etag}`,
  ]
  if (facts.s3?.state !== 'present') return finding('etag-mismatch', evidence)
  if (facts.s3.etag === facts.expectedEtag) return finding('stale-object', evidence)
  return finding(facts.s3.etag === etag ? 'object-replaced' : 'etag-mismatch', evidence)
}

/** An ETag without quotes and without the mark of a weak one, which CloudFront adds where it compresses. */
function bareEtag(value: string | undefined): string | undefined {
  return value?.replace(/^W\//, '').replaceAll('"', '') || undefined
}

// ---------------------------------------------------------------------------------------------------------------
// the other questions

/** Whether S3 answers the same object to anyone. `answer` is to an unsigned request straight to the bucket. */
export function diagnoseDirect(url: string, answer: HttpAnswer): Finding[] {
  if (answer.status !== 200 && answer.status !== 206) return []
  return [finding('public-object', [`${withoutQuery(url)} answered ${answer.status} without credentials`])]
}

/** Bytes through the CDN against bytes in S3 (`what`: a range, or "SHA-256"); values are digests in hex. */
export function diagnoseContent(what: string, cdn: string, s3: string): Finding[] {
  return cdn === s3 ? [] : [finding('content-differs', [`${what}: ${cdn} through the CDN, ${s3} in S3`])]
}

/** What was seen of the domain itself, once per run. */
export interface DomainObservation {
  hostname: string
  /** answer to plain HTTP, where there was one */
  http?: { status: number; location?: string }
  /** protocol versions that a handshake succeeded with, such as `TLSv1.3`, `TLSv1.1` */
  tlsVersions: readonly string[]
  certificate?: { validTo: Date; issuer: string }
}

const dayMs = 86_400_000

/** Days before its end at which a certificate is called expiring. ACM renews 60 days before, so 21 means it did not. */
export const certificateWarningDays = 21

/** Redirect from HTTP, TLS version and certificate of the domain. */
export function diagnoseDomain(seen: DomainObservation, now: Date): Finding[] {
  const found: Finding[] = []
  const { http } = seen
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
  return found
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

/** Which edge answered (`FRA56-P2`), from the headers; `undefined` when it was not CloudFront. */
export function edgeOf(headers: HttpAnswer['headers']): string | undefined {
  const pop = headers['x-amz-cf-pop']
  if (pop) return pop
  if (headers['x-amz-cf-id'] || /\(CloudFront\)/i.test(headers['via'] ?? '')) return 'CloudFront'
  return undefined
}

/** Whether the edge had it: `X-Cache: Hit from cloudfront` or `RefreshHit from cloudfront`. */
export function isCacheHit(headers: HttpAnswer['headers']): boolean {
  return /^(Refresh)?Hit\b/i.test(headers['x-cache'] ?? '')
}

/** `Content-Range`, parsed; `undefined` when it is none, or no valid one. `*` as total gives none. */
export function contentRange(
  value: string | undefined,
): { start?: number; end?: number; total?: number } | undefined {
  const match = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/i.exec(value?.trim() ?? '')
  if (match === null) return undefined
  const [, start, end, total] = match
  return {
    ...(start === undefined ? {} : { start: Number(start), end: Number(end) }),
    ...(total === '*' ? {} : { total: Number(total) }),
  }
}

function mediaType(facts: Facts): string | undefined {
  return facts.header('content-type')?.replace(/;.*$/s, '').trim().toLowerCase() || undefined
}

function isAudio(type: string): boolean {
  return type.startsWith('audio/') || /^(application\/ogg|video\/(mp4|webm|ogg|quicktime))$/.test(type)
}

function isGeneric(type: string): boolean {
  return type === 'application/octet-stream' || type === 'binary/octet-stream'
}

function element(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]
  return text
    ?.replace(/&#x([0-9a-f]+);/gi, (_, hex: string) => character(Number.parseInt(hex, 16)))
    .replace(/&#(\d+);/g, (_, decimal: string) => character(Number(decimal)))
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&')
}

function character(codePoint: number): string {
  return codePoint <= 0x10ffff ? String.fromCodePoint(codePoint) : '\ufffd'
}

function actualSize(body: string): number | undefined {
  const size = element(body, 'ActualObjectSize')
  return size === undefined ? undefined : Number(size)
}

function bodyEvidence(facts: Facts): string[] {
  const { code, message } = facts.xml
  if (code !== undefined) return [`${code}: ${message ?? ''}`]
  const text = facts.answer.body
    .replace(/<(style|script|head)\b[^>]*>.*?<\/\1>/gis, ' ')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
  return text === '' ? [] : [`"${text.slice(0, 160)}"`]
}

function s3Evidence({ s3 }: Facts): string[] {
  if (s3 === undefined) return []
  if (s3.state === 'unknown') return [`S3 could not be asked: ${s3.reason}`]
  if (s3.state === 'present') {
    return [`in S3: ${s3.size} bytes${s3.encryption === 'aws:kms' ? ', encrypted with KMS' : ''}`]
  }
  return [s3.foundAs === undefined ? 'not in S3' : `in S3 only as "${s3.foundAs}"`]
}

function withoutQuery(url: string): string {
  return url.replace(/\?.*$/s, '')
}
