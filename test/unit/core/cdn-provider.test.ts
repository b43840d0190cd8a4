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
  [{ age: '0' }, 'miss'],
  [{}, undefined],
])('%o says %s', (headers, outcome) => {
  expect(cacheOutcome(headers)).toBe(outcome)
  expect(isCacheHit(headers)).toBe(outcome === 'hit')
})
