/** Causes and cures where the CDN is not CloudFront. Pages are in the words that each CDN documents or was seen to send. */
import { describe, expect, test } from 'vitest'
import { type CdnProvider, cdnProviders } from '../../../../src/core/cdn-provider.ts'
import { type Cause, causes, finding } from '../../../../src/core/diagnosis/causes.ts'
import { diagnose } from '../../../../src/core/diagnosis/diagnose.ts'
import { diagnoseProvider } from '../../../../src/core/diagnosis/domain.ts'
import type { HttpAnswer, ProbeObservation } from '../../../../src/core/diagnosis/observation.ts'
import { worded } from '../../../../src/core/diagnosis/other-cdns.ts'
import { type OtherCdn, otherCdnHeaders } from '../../../support/other-cdns.ts'

const key = 'audio/a_1.mp3'
const size = 5_000
const at = new Date('2026-03-01T12:00:00Z')
const page = 'https://autodj.example'
const present = { state: 'present', size, lastModified: new Date('2026-02-01T00:00:00Z') } as const
const s3Error = (code: string, message: string) =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`
const fastlyPage = (status: number, reason: string) =>
  `<?xml version="1.0" encoding="utf-8"?><html><head><title>${status} ${reason}</title></head><body><h1>Error ${status} ${reason}</h1><p>${reason}</p><h3>Error 54113</h3><p>Details: cache-dub4332-DUB 1762300851 2174292692</p><hr><p>Varnish cache server</p></body></html>`
const nginxPage = (title: string) =>
  `<html>\r\n<head><title>${title}</title></head>\r\n<body>\r\n<center><h1>${title}</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n`

function seen(provider: OtherCdn, answer: Partial<HttpAnswer>, more: Partial<ProbeObservation> = {}) {
  const headers = { ...otherCdnHeaders[provider](false), ...answer.headers }
  return diagnose({
    key,
    url: `https://cdn.example.com/${key}`,
    range: { start: 0, end: 0 },
    signed: false,
    expectedSize: size,
    answer: { status: 206, body: '', length: answer.body?.length ?? 1, at, ...answer, headers },
    ...more,
  })
}

const audio = {
  'content-type': 'audio/mpeg',
  'content-range': `bytes 0-0/${size}`,
  'cache-control': 'public, max-age=31536000, immutable',
}

test.each(Object.keys(otherCdnHeaders) as OtherCdn[])('what %s serves rightly has no finding', provider => {
  expect(seen(provider, { headers: audio })).toEqual([])
})

const pages: [OtherCdn, number, string, Cause, RegExp, Record<string, string>?][] = [
  ['cloudflare', 522, 'error code: 522', 'origin-unreachable', /firewall/],
  ['cloudflare', 521, '', 'origin-unreachable', /firewall/],
  ['cloudflare', 525, '', 'origin-tls', /SSL\/TLS/],
  ['cloudflare', 526, '', 'origin-tls', /SSL\/TLS/],
  ['cloudflare', 530, 'error code: 1016', 'origin-dns', /zone/],
  ['cloudflare', 530, 'error code: 1033', 'origin-unreachable', /zone/],
  ['cloudflare', 403, 'error code: 1020', 'waf-blocked', /Security/],
  [
    'cloudflare',
    403,
    '<title>Attention Required!</title>Sorry, you have been blocked',
    'waf-blocked',
    /Security/,
  ],
  ['cloudflare', 403, 'error code: 1009', 'geo-blocked', /country/],
  ['cloudflare', 429, 'error code: 1015', 'cdn-throttled', /rate limiting/],
  ['cloudflare', 403, 'error code: 1014', 'alias-unknown', /another account/],
  ['cloudflare', 403, '', 'bot-challenge', /WAF rule/, { 'cf-mitigated': 'challenge' }],
  ['cloudflare', 503, '<title>Just a moment...</title>', 'bot-challenge', /WAF rule/],
  ['cloudflare', 500, 'error code: 1101', 'edge-function', /script/],
  [
    'fastly',
    500,
    'Fastly error: unknown domain: cdn.example.com. Please check that this domain has been added to a service.',
    'alias-unknown',
    /activate/,
  ],
  ['fastly', 503, fastlyPage(503, 'first byte timeout'), 'origin-unreachable', /backend/],
  ['fastly', 503, fastlyPage(503, 'backend read error'), 'origin-unreachable', /backend/],
  ['fastly', 503, fastlyPage(503, 'certificate has expired'), 'origin-tls', /SNI/],
  ['fastly', 503, fastlyPage(503, "hostname doesn't match against certificate"), 'origin-tls', /SNI/],
  ['fastly', 503, fastlyPage(503, 'Response object too large'), 'object-too-large', /segmented/],
  ['fastly', 503, fastlyPage(503, 'Backend.max_conn reached'), 'cdn-throttled', /concurrency/],
  ['fastly', 403, fastlyPage(403, 'URL blocked'), 'viewer-refused', /access rules/],
  ['bunny', 403, '', 'viewer-refused', /token authentication/, { 'cdn-requestpullcode': '' }],
  ['bunny', 404, '<h1>Domain suspended or not configured</h1>', 'alias-unknown', /suspended/],
  ['bunny', 502, '', 'origin-unreachable', /Origin Errors/],
  ['bunny', 504, '', 'origin-unreachable', /Origin Errors/],
  ['nginx', 502, nginxPage('502 Bad Gateway'), 'origin-unreachable', /error\.log/],
  ['nginx', 504, nginxPage('504 Gateway Time-out'), 'origin-unreachable', /error\.log/],
  ['nginx', 503, nginxPage('503 Service Temporarily Unavailable'), 'cdn-throttled', /limit_req/],
  ['nginx', 403, nginxPage('403 Forbidden'), 'viewer-refused', /secure_link/],
]

/** The numbers that each documents. */
const documented: [OtherCdn, Cause, number[], string][] = [
  ['cloudflare', 'origin-unreachable', [520, 521, 522, 523, 524, 530, 502, 504], ''],
  ['cloudflare', 'origin-tls', [525, 526], ''],
  ['cloudflare', 'unexplained', [418, 500, 527], ''],
  ['cloudflare', 'bot-challenge', [403, 429, 503], 'challenge-platform'],
  ['bunny', 'origin-unreachable', [502, 504, 508], ''],
  ['bunny', 'viewer-refused', [401, 403], ''],
  ['bunny', 'unexplained', [402, 500], ''],
  ['fastly', 'origin-unreachable', [500, 502, 503], fastlyPage(503, 'backend read error')],
  ['fastly', 'viewer-refused', [401, 403], fastlyPage(403, 'Forbidden')],
  ['fastly', 'unexplained', [402, 410], ''],
  ['nginx', 'origin-unreachable', [502, 504], ''],
  ['nginx', 'viewer-refused', [401, 403], nginxPage('Forbidden')],
  ['nginx', 'unexplained', [402, 500, 503], ''],
]
test.each(
  documented.flatMap(([provider, cause, statuses, body]) =>
    statuses.map(status => [provider, status, cause, body] as const),
  ),
)('%s %i: %s', (provider, status, cause, body) => {
  expect(seen(provider, { status, body })[0]).toMatchObject({ cause })
})
test.each(
  (
    [
      ['cdn-throttled', [1015]],
      ['geo-blocked', [1009]],
      ['waf-blocked', [1006, 1007, 1008, 1010, 1012, 1020, 1106]],
      ['alias-unknown', [1000, 1001, 1002, 1003, 1014, 1018, 1023, 1034]],
      ['origin-dns', [1016]],
      ['edge-function', [1101, 1102]],
      ['unexplained', [1011, 10_150]],
    ] as [Cause, number[]][]
  ).flatMap(([cause, codes]) =>
    codes.flatMap(code =>
      ['error code: ', 'Error ', 'error code:'].map(said => [`${said}${code}`, cause] as const),
    ),
  ),
)('cloudflare says "%s": %s', (body, cause) => {
  expect(seen('cloudflare', { status: 409, body })[0]).toMatchObject({ cause })
})

test.each(pages)('%s %i %j: %s', (provider, status, body, cause, cure, headers = {}) => {
  const [found, ...more] = seen(provider, { status, body, headers })
  expect(found).toMatchObject({ cause, severity: 'failure' })
  expect(found!.cure).toMatch(cure)
  expect(found!.title).not.toMatch(/CloudFront|distribution/)
  expect(found!.evidence[0]).toBe(`status ${status}`)
  if (body !== '') expect(found!.evidence.at(-1)).toMatch(/^"/)
  expect(more).toEqual([])
})

describe("the store's own errors, through another CDN", () => {
  test.each([
    ['nginx', 'AccessDenied', 403, 'oac-missing', /nginx, which does not sign/],
    ['cloudflare', 'AccessDenied', 403, 'oac-missing', /Worker/],
    ['bunny', 'AccessDenied', 403, 'oac-missing', /S3 authentication/],
    ['fastly', 'AccessDenied', 403, 'oac-missing', /Let Fastly sign/],
    ['nginx', 'NoSuchKey', 404, 'wrong-bucket', /rule rewrites/],
    ['nginx', 'SignatureDoesNotMatch', 403, 'origin-signature', /forward fewer/],
  ] as [OtherCdn, string, number, Cause, RegExp][])('%s, %s', (provider, code, status, cause, cure) => {
    // Of some stores without a request id.
    const [found] = seen(provider, { status, body: s3Error(code, 'x') }, { s3: present })
    expect(found).toMatchObject({ cause })
    expect(found!.cure).toMatch(cure)
  })

  test('a cached error is named also where the CDN does not tell its age', () => {
    const hit = otherCdnHeaders.nginx(true)
    const answer = { status: 404, body: s3Error('NoSuchKey', 'x'), headers: hit }
    expect(seen('nginx', answer, { s3: present })[0]).toMatchObject({ cause: 'stale-error' })
  })
})

test('what a CDN says it never keeps is a warning with its cure', () => {
  const [found] = seen('cloudflare', { headers: { ...audio, 'cf-cache-status': 'DYNAMIC' } })
  expect(found).toMatchObject({ cause: 'not-cached', severity: 'warning' })
  expect(found!.cure).toMatch(/m4a, opus/)
})

describe('CORS and the cache', () => {
  const asked = { origin: page }
  const cached = (provider: OtherCdn, more: Partial<ProbeObservation> = {}) =>
    seen(provider, { headers: { ...audio, ...otherCdnHeaders[provider](true) } }, { ...asked, ...more })[0]

  test('missing from a miss: the policy', () => {
    const [found] = seen('nginx', { headers: audio }, asked)
    expect(found).toMatchObject({ cause: 'cors-missing' })
    expect(found!.cure).not.toMatch(/then/)
  })
  test('missing from a hit, and past the cache too: the policy, then what is cached', () => {
    for (const pastCache of [undefined, { allowedOrigin: undefined }]) {
      const found = cached('nginx', { pastCache })
      expect(found).toMatchObject({ cause: 'cors-missing' })
      expect(found!.cure).toMatch(/add_header .*; then empty the cache folder/)
    }
    expect(cached('cloudflare')!.cure).toMatch(/then purge everything/)
  })
  test('missing from a hit, there past the cache: what is cached only', () => {
    for (const allowedOrigin of ['*', page]) {
      const found = cached('bunny', { pastCache: { allowedOrigin } })
      expect(found).toMatchObject({ cause: 'cors-stale', cure: 'Purge the pull zone.' })
      expect(found!.evidence.join()).toContain(
        `past the cache: access-control-allow-origin: ${allowedOrigin}`,
      )
    }
  })
  test('a warning, or nothing, where nobody asked for it', () => {
    expect(cached('nginx', { cors: 'warning' })).toMatchObject({ cause: 'cors-missing', severity: 'warning' })
    expect(cached('nginx', { cors: 'ignored' })).toBeUndefined()
  })
})

describe('the CDN that is there and the one that is expected', () => {
  test.each([
    [undefined, { none: 3 }, 'no-cdn'],
    [undefined, { other: 3 }, undefined],
    [undefined, { nginx: 3 }, undefined],
    ['nginx', { nginx: 3 }, undefined],
    ['other', { none: 3 }, undefined],
    ['cloudfront', { none: 3 }, 'not-cloudfront'],
    ['cloudfront', { nginx: 1, cloudfront: 2 }, 'not-cloudfront'],
    ['bunny', { cloudflare: 3 }, 'other-cdn'],
    ['bunny', {}, undefined],
  ] as [CdnProvider | undefined, Record<string, number>, Cause | undefined][])(
    '%s expected, %o seen: %s',
    (expected, counts, cause) => {
      const found = diagnoseProvider(expected, counts)
      expect(found.map(one => one.cause)).toEqual(cause === undefined ? [] : [cause])
    },
  )

  test('the evidence counts', () => {
    expect(diagnoseProvider('cloudfront', { nginx: 1, none: 1, cloudfront: 2 })[0]!.evidence).toEqual([
      '1 of 4 answers: headers of nginx',
      '1 of 4 answers: no header of any CDN',
    ])
  })
})

test('no cause names what only CloudFront has where the CDN is another one', () => {
  const only =
    /CloudFront|distribution|\bACM\b|origin access|Lambda|response headers policy|cache behaviour|invalidation|AWS WAF|CORS-S3Origin|X-Amz-Cf/
  const aboutIt: Cause[] = ['not-cloudfront', 'other-cdn', 'no-cdn']
  const left = (Object.keys(causes) as Cause[])
    .filter(cause => !aboutIt.includes(cause))
    .flatMap(cause =>
      cdnProviders
        .filter(provider => provider !== 'cloudfront')
        .map(provider => worded(finding(cause, []), provider))
        .filter(({ title, cure }) => only.test(title) || only.test(cure.replace(/for CloudFront only/, ''))),
    )
  expect(left).toEqual([])
})

test('a cure of the finding itself is left alone', () => {
  expect(worded(finding('compressed', [], 'of its own'), 'bunny').cure).toBe('of its own')
  expect(worded(finding('compressed', []), 'cloudfront')).toEqual(finding('compressed', []))
})
