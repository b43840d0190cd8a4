/** An answer that looks like the audio, and may not be. */
import { cacheOutcome } from '../cdn-provider.ts'
import { type Finding, finding } from './causes.ts'
import { contentRange, type Facts, type Rule, s3Evidence } from './observation.ts'
import { policyAndPurgeCure, purgeCureOf } from './other-cdns.ts'

/** A page that stands in for the object. */
const page: Rule = facts => {
  const type = mediaType(facts)
  if (type !== 'text/html' && type !== 'application/xhtml+xml') return undefined
  return finding('custom-error-page', [...facts.evidence, `content-type: ${type}`])
}

/** Ranges of what was compressed are not ranges of the audio. */
const compressed: Rule = facts => {
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
      : 'The object is stored with a Content-Encoding: copy it onto itself without one (`autodj reconcile`).',
  )
}

/** The whole object where a part was asked for. */
const rangeIgnored: Rule = facts =>
  facts.answer.status === 200
    ? finding('range-ignored', [
        ...facts.evidence,
        `requested: bytes=${facts.range.start}-${facts.range.end}`,
      ])
    : undefined

/** Another object, or other bytes, than were asked for. */
const otherObject: Rule = facts => {
  const value = facts.header('content-range')
  const range = contentRange(value)
  if (range?.total !== undefined && facts.expectedSize !== undefined && range.total !== facts.expectedSize) {
    return sizeFinding(facts, range.total, [...facts.evidence, ...s3Evidence(facts)])
  }
  const etag = bareEtag(facts.header('etag'))
  const { expectedEtag } = facts
  // One that the CDN made itself tells of no object; whether it is the same its bytes tell (`--bytes`, `--full`).
  const isItsOwn = etag !== undefined && s3Etag.test(expectedEtag ?? '') && !s3Etag.test(etag)
  if (expectedEtag !== undefined && etag !== undefined && etag !== expectedEtag && !isItsOwn) {
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
    `requested bytes=${facts.range.start}-${facts.range.end}`,
    `content-range: ${value ?? 'none'}, ${facts.answer.length} bytes arrived`,
  ])
}

/** A type that no player takes. */
const notAudio: Rule = facts => {
  const type = mediaType(facts)
  return type === undefined || isAudio(type) || isGeneric(type)
    ? undefined
    : finding('content-type', [...facts.evidence, `content-type: ${type}`])
}

/** Pages may not read it. */
function corsFinding(facts: Facts): Finding | undefined {
  const { origin, pastCache } = facts
  if (origin === undefined) return undefined
  const allows = (allowed: string | undefined) => allowed === '*' || allowed === origin
  const allowed = facts.header('access-control-allow-origin')
  if (allows(allowed)) return undefined
  const evidence = [...facts.evidence, `asked with origin: ${origin}`]
  if (allowed !== undefined)
    return finding('cors-other-origin', [...evidence, `access-control-allow-origin: ${allowed}`])
  if (!facts.isHit) return finding('cors-missing', evidence)
  const provider = facts.seenProvider ?? facts.provider ?? 'other'
  if (pastCache !== undefined) {
    evidence.push(`past the cache: access-control-allow-origin: ${pastCache.allowedOrigin ?? 'none'}`)
    if (allows(pastCache.allowedOrigin)) return finding('cors-stale', evidence, purgeCureOf(provider))
  }
  return finding('cors-missing', evidence, policyAndPurgeCure(provider))
}

const cors: Rule = facts => ((facts.cors ?? 'failure') === 'failure' ? corsFinding(facts) : undefined)

/** In the order in which they are tried. */
export const servedRules: readonly Rule[] = [page, compressed, rangeIgnored, otherObject, notAudio, cors]

/** What works, and could be better. */
export function warnings(facts: Facts): Finding[] {
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
  if (cacheOutcome(facts.answer.headers) === 'uncached') found.push(finding('not-cached', facts.evidence))
  const unread = facts.cors === 'warning' ? corsFinding(facts) : undefined
  if (unread !== undefined) found.push({ ...unread, severity: 'warning' })
  return found
}

/** Another size than the database has: who is right, as far as S3 was asked. */
export function sizeFinding(facts: Facts, total: number | undefined, evidence: readonly string[]): Finding {
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

/** An ETag as S3 makes it, of an object that was sent as a whole, or in parts. */
const s3Etag = /^[0-9a-f]{32}(?:-\d+)?$/i

/** An ETag without quotes and without the mark of a weak one, which CloudFront adds where it compresses. */
function bareEtag(value: string | undefined): string | undefined {
  return value?.replace(/^W\//, '').replaceAll('"', '') || undefined
}

function mediaType(facts: Facts): string | undefined {
  return facts.header('content-type')?.replace(/;.*/s, '').trim().toLowerCase() || undefined
}

function isAudio(type: string): boolean {
  return type.startsWith('audio/') || /^(application\/ogg|video\/(mp4|webm|ogg|quicktime))$/.test(type)
}

function isGeneric(type: string): boolean {
  return type === 'application/octet-stream' || type === 'binary/octet-stream'
}
