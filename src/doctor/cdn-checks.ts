/** The object through the CDN. */
import { createHash } from 'node:crypto'
import { observeDomain } from '../cdn/domain.ts'
import { cdnNames, edgeOf, providerOf } from '../core/cdn-provider.ts'
import { cdnUrl, encodeKeyPath } from '../core/cdn-url.ts'
import { diagnose, diagnoseContent } from '../core/diagnosis/diagnose.ts'
import { describeDomain, diagnoseDomain, diagnoseProvider } from '../core/diagnosis/domain.ts'
import { type Check, failure, ok, skipped, warning } from './check.ts'
import { type DoctorState, probeSize } from './state.ts'

const whole = { start: 0, end: probeSize - 1 }

export function cdnChecks(state: DoctorState): Check[] {
  const { probe } = state
  const { prober, now } = state.resources
  const { cdn } = state.resources.config
  return [
    {
      name: 'cdn-domain',
      async run() {
        if (cdn === undefined) return skipped('CLOUDFRONT_DOMAIN is not set: CDN steps are skipped')
        const seen = {
          ...(await observeDomain(cdn.domain, encodeKeyPath(probe.key), prober)),
          provider: cdn.provider,
        }
        const findings = diagnoseDomain(seen, now())
        if (findings.length > 0) {
          return warning(
            findings.map(({ title, evidence }) => `${title} (${evidence.join('; ')})`).join('; '),
            findings.map(({ cure }) => cure).join(' '),
          )
        }
        const described = describeDomain(seen, now())
        return ok(`${cdn.domain.hostname}${described === undefined ? '' : `: ${described}`}`)
      },
    },
    {
      name: 'cdn-fetch',
      needs: ['put', 'cdn-domain'],
      timeoutMs: 8_000,
      async run() {
        if (cdn === undefined) return skipped('no CDN')
        if (cdn.signer !== undefined && state.signer === undefined) return skipped('needs "signing-key"')
        const plain = cdnUrl(cdn.domain, probe.key)
        const url =
          state.signer === undefined ? plain : state.signer.sign(plain, new Date(now().getTime() + 60_000))
        const result = await prober.request({ url, range: whole, hash: true })
        const findings = diagnose({
          key: probe.key,
          url,
          range: whole,
          signed: state.signer !== undefined,
          provider: cdn.provider,
          origin: cdn.pageOrigin.origin,
          cors: cdn.pageOrigin.isDefault ? 'ignored' : 'warning',
          expectedSize: probeSize,
          expectedEtag: probe.put?.etag,
          s3: { state: 'present', size: probeSize, etag: probe.put?.etag, lastModified: now() },
          ...result,
        })
        if (findings.length === 0 && 'sha256' in result) {
          const stored = createHash('sha256').update(probe.body).digest('hex')
          findings.push(...diagnoseContent('SHA-256', result.sha256 ?? '', stored))
        }
        if (!findings.some(({ severity }) => severity === 'failure') && 'answer' in result) {
          const seen = providerOf(result.answer.headers, cdn.provider) ?? 'none'
          findings.unshift(...diagnoseProvider(cdn.provider, { [seen]: 1 }))
        }
        const [first] = findings
        if (first === undefined && 'answer' in result) {
          const { answer, latencyMs } = result
          const seen = providerOf(answer.headers, cdn.provider)
          const edge = edgeOf(answer.headers)
          const through = seen === undefined ? 'the CDN' : cdnNames[seen]
          return ok(
            `the object just uploaded, through ${through}${edge === undefined || edge === through || seen === 'other' ? '' : ` (${edge})`}: first byte after ` +
              `${Math.round(latencyMs)} ms, every byte as uploaded`,
          )
        }
        const cause = `${first!.title} (${first!.evidence.join('; ')})`
        return first!.severity === 'failure' ? failure(cause, first!.cure) : warning(cause, first!.cure)
      },
    },
    {
      name: 'signed-url',
      needs: ['cdn-fetch'],
      async run() {
        if (cdn === undefined || state.signer === undefined) return skipped('no signed URLs configured')
        const url = cdnUrl(cdn.domain, probe.key)
        const range = { start: 0, end: 0 }
        const result = await prober.request({ url, range })
        if ('answer' in result && (result.answer.status === 200 || result.answer.status === 206)) {
          return warning(
            'the CDN serves the object without a signature too',
            'Turn on "Restrict viewer access" for the cache behaviour, with the key group of this key.',
          )
        }
        const [found] = diagnose({
          key: probe.key,
          url,
          range,
          signed: false,
          provider: cdn.provider,
          ...result,
        })
        if (found?.cause === 'signature-missing') return ok('served with a signature, refused without')
        return warning(
          `served with a signature; without one the answer is not a refusal by CloudFront: ${found?.title} ` +
            `(${found?.evidence.join('; ')})`,
          found?.cure ?? '',
        )
      },
    },
  ]
}
