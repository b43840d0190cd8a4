/** An answer that is not the audio. */
import type { CdnProvider } from '../cdn-provider.ts'
import { type KeyMistake, keyMistake } from '../cdn-url.ts'
import { type Cause, clean, finding } from './causes.ts'
import { bodyEvidence, contentRange, element, type Rule, s3Evidence, withoutQuery } from './observation.ts'
import { sizeFinding } from './served.ts'

/** CloudFront about the viewer: signed URLs. */
const viewerRefused: Rule = facts => {
  if (facts.from !== 'cloudfront' || facts.answer.status !== 403) return undefined
  const said = `${facts.xml.code ?? ''} ${facts.xml.message ?? ''}`
  const evidence = [...facts.evidence, ...bodyEvidence(facts)]
  if (/MissingKey|Missing Key-Pair-Id/i.test(said)) {
    return facts.signed
      ? finding(
          'signature-missing',
          [...evidence, 'the URL was signed, but its query was lost on the way'],
          'Let nothing in front of CloudFront drop the query string.',
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
}

/** CloudFront's own pages: the viewer's country, the web ACL, HTTPS, aliases; its origin out of reach. */
const errorPage: Rule = facts => {
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
    // "wasn't able to connect" is said of a port nobody listens at, a name of nobody and a handshake alike.
    says(
      /able to connect to the origin|attempted to establish a connection with the origin|origin closed the connection/i,
      'origin-unreachable',
    ) ??
    (status === 502 ? says(/\b(SSL|TLS|certificate|handshake|cipher)/i, 'origin-tls') : undefined) ??
    (status === 502 || status === 504
      ? finding('origin-unreachable', [...facts.evidence, ...bodyEvidence(facts)])
      : undefined) ??
    (status === 503 ? finding('cdn-throttled', [...facts.evidence, ...bodyEvidence(facts)]) : undefined)
  )
}

/** Pages of the other CDNs: the statuses and words that each documents, or was seen to send. */
const otherPages: Readonly<
  Partial<Record<CdnProvider, readonly (readonly [status: RegExp, text: RegExp, cause: Cause])[]>>
> = {
  // https://developers.cloudflare.com/support/troubleshooting/http-status-codes/
  cloudflare: [
    [/403|429|503/, /Just a moment|challenge-platform|cf-mitigated/i, 'bot-challenge'],
    [/./, /error (code: ?)?(1015)\b/i, 'cdn-throttled'],
    [/./, /error (code: ?)?(1009)\b/i, 'geo-blocked'],
    [/./, /error (code: ?)?(1006|1007|1008|1010|1012|1020|1106)\b|you have been blocked/i, 'waf-blocked'],
    [/./, /error (code: ?)?(1000|1001|1002|1003|1014|1018|1023|1034)\b/i, 'alias-unknown'],
    [/./, /error (code: ?)?(1016)\b/i, 'origin-dns'],
    [/./, /error (code: ?)?(1101|1102)\b/i, 'edge-function'],
    [/52[56]/, /^/, 'origin-tls'],
    [/52[0-4]|530|502|504/, /^/, 'origin-unreachable'],
  ],
  // https://www.fastly.com/documentation/guides/vcl/errors/
  fastly: [
    [/./, /unknown domain/i, 'alias-unknown'],
    [/5../, /object too large/i, 'object-too-large'],
    [/5../, /max_conn/i, 'cdn-throttled'],
    [/5../, /certificate|SSL|doesn't match/i, 'origin-tls'],
    [/5../, /Varnish cache server|Error 54113/i, 'origin-unreachable'],
    [/40[13]/, /Varnish cache server|Error 54113/i, 'viewer-refused'],
  ],
  // https://docs.bunny.net/cdn/logging/origin-errors
  bunny: [
    [/./, /suspended or not configured/i, 'alias-unknown'],
    [/502|504|508/, /^/, 'origin-unreachable'],
    [/40[13]/, /^/, 'viewer-refused'],
  ],
  nginx: [
    [/502|504/, /^/, 'origin-unreachable'],
    [/503/, /<center>(nginx|openresty)/i, 'cdn-throttled'],
    [/40[13]/, /<center>(nginx|openresty)/i, 'viewer-refused'],
  ],
  other: [[/502|504/, /^/, 'origin-unreachable']],
}

const otherPage: Rule = facts => {
  const { seenProvider, answer } = facts
  if (seenProvider === undefined || facts.from !== 'other') return undefined
  // What the origin answered is no word of the CDN's.
  if (seenProvider === 'bunny' && facts.header('cdn-requestpullcode') === String(answer.status))
    return undefined
  const text = facts.header('cf-mitigated') === 'challenge' ? 'cf-mitigated' : answer.body
  const row = otherPages[seenProvider]?.find(
    ([statuses, texts]) => statuses.test(String(answer.status)) && texts.test(text),
  )
  return row && finding(row[2], [...facts.evidence, ...bodyEvidence(facts)])
}

/** The error is older than the object. */
const staleError: Rule = facts => {
  const { s3, fetchedBefore } = facts
  if (s3?.state !== 'present') return undefined
  if (facts.answer.status !== 403 && facts.answer.status !== 404) return undefined
  if (fetchedBefore === undefined) {
    // nginx does not tell the age of what it has.
    return facts.isHit
      ? finding('stale-error', [...facts.evidence, ...s3Evidence(facts), 'the error came out of the cache'])
      : undefined
  }
  if (s3.lastModified === undefined || fetchedBefore >= s3.lastModified) return undefined
  return finding('stale-error', [
    ...facts.evidence,
    `the error was fetched ${fetchedBefore.toISOString()}, the object stored ${s3.lastModified.toISOString()}`,
  ])
}

/** S3 about CloudFront, as a website. */
const websiteEndpoint: Rule = facts => {
  if (facts.from !== 's3-website') return undefined
  return finding('website-endpoint', [
    ...facts.evidence,
    `an HTML error page of S3: ${/<li>Code: \w+<\/li>/.exec(facts.answer.body)?.[0].slice(4, -5)}`,
  ])
}

/** S3 about CloudFront. */
const originRefused: Rule = facts => {
  const { code = '', message = '', endpoint, bucket } = facts.xml
  if (facts.from !== 's3') return undefined
  const evidence = [...facts.evidence, ...bodyEvidence(facts), ...s3Evidence(facts)]
  if (code === 'PermanentRedirect' || code === 'TemporaryRedirect' || /region .* is wrong/i.test(message)) {
    return finding(
      'wrong-region-endpoint',
      evidence,
      endpoint === undefined ? undefined : `Set the origin's address to ${clean(endpoint)}.`,
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
}

const objectElsewhere: Rule = facts => {
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
        'The path is rewritten between the viewer and S3: look at edge functions and proxies.',
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
}

/** A range that the object does not have. */
const rangeRefused: Rule = facts => {
  if (facts.answer.status !== 416) return undefined
  const evidence = [...facts.evidence, ...s3Evidence(facts)]
  const total = contentRange(facts.header('content-range'))?.total ?? actualSize(facts.answer.body)
  if (total !== undefined) evidence.push(`the object has ${total} bytes`)
  // What the edge calls empty need not be: it may have kept an answer of its own.
  if (facts.s3?.state === 'present' && facts.s3.size > 0) return sizeFinding(facts, total ?? 0, evidence)
  if (facts.range.start === 0 || total === 0) return finding('empty-object', evidence)
  return sizeFinding(facts, total, evidence)
}

/** Redirects, and a request to slow down whoever it is from. */
const redirected: Rule = facts => {
  const { status } = facts.answer
  if (status >= 300 && status < 400 && status !== 304) {
    return /\.s3[.-]/.test(facts.header('location') ?? '')
      ? finding('wrong-region-endpoint', facts.evidence)
      : finding('redirected', facts.evidence)
  }
  if (status === 429) return finding('cdn-throttled', facts.evidence)
  return undefined
}

const mistakeCause: Readonly<Record<KeyMistake, Cause>> = {
  normalisation: 'key-normalisation',
  plus: 'key-plus',
  encoding: 'key-encoding',
  slash: 'key-slash',
}

function actualSize(body: string): number | undefined {
  const size = element(body, 'ActualObjectSize')
  return size === undefined ? undefined : Number(size)
}

/** In the order in which they are tried. */
export const refusedRules: readonly Rule[] = [
  viewerRefused,
  errorPage,
  otherPage,
  staleError,
  websiteEndpoint,
  originRefused,
  objectElsewhere,
  rangeRefused,
  redirected,
]
