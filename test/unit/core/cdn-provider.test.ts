import { expect, test } from 'vitest'
import {
  cacheOutcome,
  edgeOf,
  isCacheHit,
  providerOf,
  providerOfHost,
} from '../../../src/core/cdn-provider.ts'
import { type OtherCdn, otherCdnHeaders } from '../../support/other-cdns.ts'

const cloudfront = { via: '1.1 6b9b2f3a.cloudfront.net (CloudFront)', 'x-amz-cf-pop': 'FRA56-P2' }

test.each([
  ['cloudflare', 'FRA'],
  ['fastly', 'FRA'],
  ['bunny', 'DE1-864'],
  ['nginx', 'nginx'],
] as [OtherCdn, string][])('%s is known by its headers', (provider, edge) => {
  for (const cached of [true, false]) {
    const headers = otherCdnHeaders[provider](cached)
    expect(providerOf(headers)).toBe(provider)
    expect(edgeOf(headers)).toBe(edge)
    expect(cacheOutcome(headers)).toBe(cached ? 'hit' : 'miss')
  }
})

test.each([
  [cloudfront, 'cloudfront', 'FRA56-P2'],
  [{ via: '1.1 x (CloudFront)' }, 'cloudfront', 'CloudFront'],
  [{ server: 'CloudFront' }, 'cloudfront', 'CloudFront'],
  [{ server: 'openresty/1.25.3.1' }, 'nginx', 'nginx'],
  [{ server: 'nginx' }, 'nginx', 'nginx'],
  [{ server: 'Angie/1.7' }, 'nginx', 'nginx'],
  [{ server: 'Tengine' }, 'nginx', 'nginx'],
  [{ server: 'nginxy' }, undefined, undefined],
  [{ server: 'my-nginx' }, undefined, undefined],
  [{ 'cf-ray': '8c1-FRA' }, 'cloudflare', 'FRA'],
  [{ 'cf-ray': '8c1-FRAX' }, 'cloudflare', 'Cloudflare'],
  [{ 'cf-ray': '8c1-FRA-1' }, 'cloudflare', 'Cloudflare'],
  [{ server: 'cloudflare' }, 'cloudflare', 'Cloudflare'],
  [{ server: 'cloudflare-like' }, undefined, undefined],
  [{ server: 'not cloudflare' }, undefined, undefined],
  [{ 'x-amz-cf-id': 'x' }, 'cloudfront', 'CloudFront'],
  [{ via: '1.1 CloudFront' }, 'other', 'CDN'],
  [{ server: 'CloudFront2' }, undefined, undefined],
  [{ server: 'A CloudFront' }, undefined, undefined],
  [{ 'cdn-pullzone': '1' }, 'bunny', 'Bunny'],
  [{ server: 'BunnyCDN-DE1-864' }, 'bunny', 'DE1-864'],
  [{ server: 'BunnyCDN' }, 'bunny', 'Bunny'],
  [{ server: 'a BunnyCDN-DE1' }, undefined, undefined],
  [{ 'x-served-by': 'cache-ams1-AMS, cache-fra2-FRA' }, 'fastly', 'FRA'],
  [{ 'x-served-by': 'cache-ams1' }, 'fastly', 'Fastly'],
  [{ 'x-served-by': 'mycache-x' }, undefined, undefined],
  [{ 'x-served-by': 'cachex' }, undefined, undefined],
  [{ 'x-fastly-request-id': '1' }, 'fastly', 'Fastly'],
  ...['via', 'age', 'x-cache', 'x-cache-status', 'x-proxy-cache', 'cache-status', 'x-varnish'].flatMap(
    (name): [Record<string, string>, string | undefined, string | undefined][] => [
      [{ [name]: '0' }, 'other', 'CDN'],
      [{ [name]: '' }, undefined, undefined],
    ],
  ),
  [{ via: '1.1 varnish' }, 'other', 'CDN'],
  [{ 'cache-status': 'ExampleCache; hit' }, 'other', 'CDN'],
  [{ server: 'AmazonS3', 'x-amz-request-id': 'TX0' }, undefined, undefined],
  [{ server: 'MinIO' }, undefined, undefined],
  [{}, undefined, undefined],
])('%o is of %s', (headers, provider, edge) => {
  expect(providerOf(headers)).toBe(provider)
  expect(edgeOf(headers)).toBe(edge)
})

test('of several in a row the one that is expected is named', () => {
  const both = { ...cloudfront, ...otherCdnHeaders.cloudflare(true) }
  expect(providerOf(both)).toBe('cloudflare')
  expect(providerOf(both, 'cloudfront')).toBe('cloudfront')
  expect(providerOf(both, 'bunny')).toBe('cloudflare')
})

test.each([
  ['d111111abcdef8.cloudfront.net', 'cloudfront'],
  ['pub-1.r2.dev', 'cloudflare'],
  ['music.b-cdn.net', 'bunny'],
  ['music.global.ssl.fastly.net', 'fastly'],
  ['cdn.example.com', undefined],
  ...[
    ['cloudfront.net', 'cloudfront'],
    ['r2.dev', 'cloudflare'],
    ['workers.dev', 'cloudflare'],
    ['pages.dev', 'cloudflare'],
    ['fastly.net', 'fastly'],
    ['fastlylb.net', 'fastly'],
    ['edgecompute.app', 'fastly'],
    ['b-cdn.net', 'bunny'],
  ].flatMap(([name, provider]): [string, string | undefined][] => [
    [`a.${name}`, provider],
    [`a-${name}`, undefined],
    [`a.${name}.example`, undefined],
    [`a.${name?.replace('.', 'x')}`, undefined],
  ]),
])('%s is a domain of %s', (host, provider) => {
  expect(providerOfHost(host)).toBe(provider)
})

test.each([
  [{ 'x-cache': 'RefreshHit from cloudfront' }, 'hit'],
  [{ 'x-cache': 'Miss from cloudfront' }, 'miss'],
  [{ 'cf-cache-status': 'REVALIDATED' }, 'hit'],
  [{ 'cf-cache-status': 'STALE' }, 'hit'],
  [{ 'cf-cache-status': 'EXPIRED' }, 'miss'],
  [{ 'cf-cache-status': 'DYNAMIC' }, 'uncached'],
  [{ 'cf-cache-status': 'BYPASS' }, 'uncached'],
  [{ 'x-cache': 'HIT, MISS' }, 'miss'],
  [{ 'cdn-cache': 'EXPIRED' }, 'miss'],
  [{ 'x-cache-status': 'UPDATING' }, 'hit'],
  [{ 'cache-status': 'Origin; hit, Edge; fwd=miss' }, 'miss'],
  [{ 'cache-status': 'Edge; hit; ttl=30' }, 'hit'],
  [{ age: '12' }, 'hit'],
  [{ age: 'x' }, 'miss'],
  [{ 'x-cache': 'Hit' }, 'hit'],
  [{ 'x-cache': 'hits' }, 'miss'],
  [{ 'x-cache': 'TCP_HIT' }, 'miss'],
  [{ 'x-cache': 'a refreshhit' }, 'miss'],
  [{ 'x-cache': 'MISS, HIT ' }, 'hit'],
  [{ 'x-cache-status': 'STALE' }, 'hit'],
  [{ 'x-cache-status': 'REVALIDATED' }, 'hit'],
  [{ 'x-cache-status': 'not stale' }, 'miss'],
  [{ 'x-cache-status': 'staler' }, 'miss'],
  [{ 'cf-cache-status': 'NONE' }, 'uncached'],
  [{ 'cf-cache-status': 'UNKNOWN/UNKNOWN' }, 'uncached'],
  [{ 'cf-cache-status': 'dynamical' }, 'miss'],
  [{ 'cf-cache-status': 'not dynamic' }, 'miss'],
  [{ 'x-proxy-cache': 'HIT' }, 'hit'],
  [{ 'cf-cache-status': 'MISS', 'cdn-cache': 'HIT', 'x-cache': 'HIT' }, 'miss'],
  [{ 'cf-cache-status': '', 'x-cache': 'HIT' }, 'hit'],
  [{ 'x-cache': 'MISS', 'cache-status': 'a; hit', age: '9' }, 'miss'],
  [{ 'cache-status': 'Edge;hit' }, 'hit'],
  [{ 'cache-status': 'Edge;  hit' }, 'hit'],
  [{ 'cache-status': 'hit' }, 'miss'],
  [{ 'cache-status': 'Edge; hits' }, 'miss'],
  [{ 'cache-status': 'Edge; fwd=miss', age: '9' }, 'miss'],
  [{ age: '0' }, 'miss'],
  [{}, undefined],
])('%o says %s', (headers, outcome) => {
  expect(cacheOutcome(headers)).toBe(outcome)
  expect(isCacheHit(headers)).toBe(outcome === 'hit')
})
