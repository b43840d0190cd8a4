/**
 * Headers of CDNs other than CloudFront, in the shape that each documents and answers of theirs were seen to have; ids
 * are made up. `cached` is by what word each says where the answer came from.
 */
import type { CdnProvider } from '../../src/core/cdn-provider.ts'
import type { CdnAnswer } from '../../src/embedded/cdn-answer.ts'

export type OtherCdn = Exclude<CdnProvider, 'cloudfront' | 'other'>

export const otherCdnHeaders: Readonly<Record<OtherCdn, (cached: boolean) => Record<string, string>>> = {
  cloudflare: cached => ({
    server: 'cloudflare',
    'cf-ray': '8f1a2b3c4d5e6f70-FRA',
    'cf-cache-status': cached ? 'HIT' : 'MISS',
    ...(cached && { age: '120' }),
    'alt-svc': 'h3=":443"; ma=86400',
  }),
  fastly: cached => ({
    via: '1.1 varnish, 1.1 varnish',
    'x-served-by': 'cache-iad-kiad7000073-IAD, cache-fra-eddf8230047-FRA',
    'x-cache': cached ? 'MISS, HIT' : 'MISS, MISS',
    'x-cache-hits': cached ? '0, 1' : '0, 0',
    'x-timer': 'S1700000000.123456,VS0,VE95',
    age: cached ? '120' : '0',
  }),
  bunny: cached => ({
    server: 'BunnyCDN-DE1-864',
    'cdn-pullzone': '93447',
    'cdn-uid': '00000000-0000-4000-8000-000000000001',
    'cdn-requestcountrycode': 'DE',
    'cdn-proxyver': '1.06',
    'cdn-requestpullsuccess': 'True',
    'cdn-requestpullcode': '206',
    'cdn-edgestorageid': '1055',
    'cdn-status': '200',
    'cdn-requestid': '00000000000000000000000000000001',
    'cdn-cache': cached ? 'HIT' : 'MISS',
  }),
  nginx: cached => ({ server: 'nginx/1.22.1', 'x-cache-status': cached ? 'HIT' : 'MISS' }),
}

const cloudFrontOnly = ['via', 'x-amz-cf-pop', 'x-amz-cf-id', 'x-cache', 'age', 'server']

/** The same answer as another CDN would have sent it. */
export function dressedAs(provider: OtherCdn, answer: CdnAnswer): CdnAnswer {
  const cached = /^(Refresh)?Hit/.test(answer.headers['x-cache'] ?? '')
  const kept = Object.entries(answer.headers).filter(([name]) => !cloudFrontOnly.includes(name))
  return { ...answer, headers: { ...Object.fromEntries(kept), ...otherCdnHeaders[provider](cached) } }
}
