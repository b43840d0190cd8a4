/** What is said of each setting of a distribution, and what is changed of it. */
import { describe, expect, test } from 'vitest'
import type { Observed, Wishes } from '../../../../src/core/bucket/assessment.ts'
import {
  assessDistribution,
  behaviourPath,
  managed,
  type ObservedDistribution,
} from '../../../../src/core/bucket/distribution.ts'
import { type Json, type JsonObject, withValueAt } from '../../../../src/core/bucket/plan.ts'
import { wishes } from '../../../support/bucket-wishes.ts'
import { distributionArn, distributionId, oldDistribution } from '../../../support/cloudfront.ts'

type Path = (string | number)[]
const origin = (name: string): Path => ['Origins', 'Items', 1, name]
const audio = (name: string): Path => ['CacheBehaviors', 'Items', 1, name]
const policy: Observed = { state: 'unset' }

/** An old distribution with some values replaced. */
function seen(
  values: readonly (readonly [Path, Json])[],
  more: Partial<ObservedDistribution> = {},
): ObservedDistribution {
  const config = JSON.parse(JSON.stringify(oldDistribution('music'))) as JsonObject
  return {
    id: distributionId,
    arn: distributionArn,
    status: 'Deployed',
    config: values.reduce<Json>((at, [path, value]) => withValueAt(at, path, value), config) as JsonObject,
    oacs: {},
    cachePolicies: {},
    ...more,
  }
}

function look(setting: string, observed: ObservedDistribution, more: Partial<Wishes> = {}) {
  const { checks, changes } = assessDistribution(observed, policy, { ...wishes, ...more })
  return {
    said: checks.filter(check => check.setting === setting).map(({ state, found }) => `${state}: ${found}`),
    edits: changes.flatMap(change =>
      change.target === 'distribution' && change.setting === setting
        ? change.edits.map(({ path, was, becomes }) => [path.slice(-1)[0], was, becomes])
        : [],
    ),
    changed: changes.some(change => change.setting === setting),
  }
}

const custom = (QueryStringBehavior: string | null, CookieBehavior: string | null): ObservedDistribution =>
  seen([[audio('CachePolicyId'), 'custom']], {
    cachePolicies: {
      custom: {
        CachePolicyConfig: {
          ParametersInCacheKeyAndForwardedToOrigin: {
            QueryStringsConfig: { QueryStringBehavior },
            CookiesConfig: { CookieBehavior },
          },
        },
      },
    },
  })
const oac = (values: JsonObject) => seen([[origin('OriginAccessControlId'), 'E1']], { oacs: { E1: values } })
const signing = { SigningBehavior: 'always', SigningProtocol: 'sigv4' }
const forwarded = (QueryString: boolean, Forward: string) =>
  seen([[audio('ForwardedValues'), { QueryString, Cookies: { Forward } }]])
const identity: Path = [...origin('S3OriginConfig'), 'OriginAccessIdentity']
const legacy = 'warning: legacy settings cache a copy for each query string or cookie'

describe('what is said', () => {
  test.each<[string, ObservedDistribution, string[]]>([
    ['origin', seen([]), ['ok: music.s3.eu-central-1.amazonaws.com']],
    ['origin', seen([[['Origins'], null]]), ['failure: no origin of EDFDVBD6EXAMPLE is the bucket music']],
    ['origin', seen([[origin('OriginPath'), null]]), ['ok: music.s3.eu-central-1.amazonaws.com']],
    ['origin', seen([[origin('OriginPath'), '/a']]), ['failure: the origin path /a is put before every key']],
    [
      'origin-access-control',
      seen([]),
      ['failure: an origin access identity, which cannot read SSE-KMS objects or newer regions'],
    ],
    ['origin-access-control', seen([[identity, '']]), ['failure: none: the bucket would have to be public']],
    [
      'origin-access-control',
      seen([[origin('S3OriginConfig'), null]]),
      ['failure: none: the bucket would have to be public'],
    ],
    [
      'origin-access-control',
      seen([
        [origin('OriginAccessControlId'), null],
        [identity, ''],
      ]),
      ['failure: none: the bucket would have to be public'],
    ],
    [
      'origin-access-control',
      seen([[origin('OriginAccessControlId'), 'E1']]),
      ['ok: E1 (its settings could not be read)'],
    ],
    ['origin-access-control', oac(signing), ['ok: E1: always signs, SigV4']],
    [
      'origin-access-control',
      oac({ ...signing, SigningBehavior: 'no-override' }),
      ['failure: E1 signs "no-override": S3 cannot tell CloudFront from anyone'],
    ],
    [
      'origin-access-control',
      oac({ ...signing, SigningProtocol: 'sigv5' }),
      ['failure: E1 signs "always": S3 cannot tell CloudFront from anyone'],
    ],
    [
      'origin-access-control',
      seen([[origin('DomainName'), 'music.s3-website.eu-central-1.amazonaws.com']]),
      ['skipped: a website endpoint takes none'],
    ],
    ['viewer-protocol', seen([]), ['failure: allow-all: audio is served over plain HTTP too']],
    [
      'viewer-protocol',
      seen([[audio('ViewerProtocolPolicy'), 'redirect-to-https']]),
      ['ok: redirect-to-https'],
    ],
    [
      'minimum-tls',
      seen([[['ViewerCertificate'], null]]),
      ['ok: set by CloudFront for its own domain; an alias with a certificate can ask for TLS 1.2'],
    ],
    ['minimum-tls', seen([]), ['failure: TLSv1: TLS 1.1 and older are accepted']],
    ...['TLSv1.2_2018', 'TLSv1.2_2019', 'TLSv1.2_2021', 'TLSv1.2_2025', 'TLSv1.3_2025'].map(
      (name): [string, ObservedDistribution, string[]] => [
        'minimum-tls',
        seen([[['ViewerCertificate', 'MinimumProtocolVersion'], name]]),
        [`ok: ${name}`],
      ],
    ),
    ['cache-policy', seen([]), [legacy]],
    ['cache-policy', forwarded(true, 'none'), [legacy]],
    ['cache-policy', forwarded(false, 'all'), [legacy]],
    ['cache-policy', forwarded(false, 'none'), ['ok: legacy settings: neither query strings nor cookies']],
    ['cache-policy', seen([[audio('ForwardedValues'), null]]), [legacy]],
    ['cache-policy', seen([[audio('CachePolicyId'), '']]), [legacy]],
    [
      'cache-policy',
      seen([[audio('CachePolicyId'), managed.cachingOptimizedForUncompressedObjects]]),
      ['ok: managed CachingOptimized'],
    ],
    [
      'cache-policy',
      seen([[audio('CachePolicyId'), 'unread']]),
      ['skipped: policy unread could not be read'],
    ],
    ['cache-policy', custom('none', 'none'), ['ok: policy custom: neither query strings nor cookies']],
    ['cache-policy', custom(null, null), ['ok: policy custom: neither query strings nor cookies']],
    [
      'cache-policy',
      custom('all', 'none'),
      ['warning: policy custom caches a copy for each of the query strings'],
    ],
    [
      'cache-policy',
      custom('none', 'whitelist'),
      ['warning: policy custom caches a copy for each of the cookies'],
    ],
    [
      'cache-policy',
      custom('all', 'all'),
      ['warning: policy custom caches a copy for each of the query strings and cookies'],
    ],
    ['compression', seen([[audio('Compress'), false]]), ['ok: off: byte ranges stay what they are']],
    ['compression', seen([[audio('Compress'), null]]), ['ok: off: byte ranges stay what they are']],
    ['response-headers', seen([]), []],
    [
      'cdn-logging',
      seen([]),
      ['warning: off here (standard logging v2, which is set up elsewhere, is not seen)'],
    ],
    [
      'cdn-logging',
      seen([[['Logging'], null]]),
      ['warning: off here (standard logging v2, which is set up elsewhere, is not seen)'],
    ],
    ['cdn-logging', seen([[['Logging'], { Enabled: true, Bucket: 'b' }]]), ['ok: to b/']],
    ['cdn-logging', seen([[['Logging'], { Enabled: true, Bucket: 'b', Prefix: 'cdn/' }]]), ['ok: to b/cdn/']],
    ['distribution', seen([]), []],
    ['distribution', seen([[['Enabled'], false]]), ['failure: EDFDVBD6EXAMPLE is disabled']],
  ])('%s: %#', (setting, observed, expected) => {
    expect(look(setting, observed).said).toEqual(expected)
  })

  const origins = ['https://a.example']
  test.each<[Json, string]>([
    [null, 'failure: no response headers policy: the CORS answer to the first client is cached for all'],
    ['', 'failure: no response headers policy: the CORS answer to the first client is cached for all'],
    ['p', 'ok: response headers policy p'],
  ])('of the response headers policy %j, where there are pages', (id, expected) => {
    expect(
      look('response-headers', seen([[audio('ResponseHeadersPolicyId'), id]]), { origins }).said,
    ).toEqual([expected])
  })

  test.each([
    ['music.s3.amazonaws.com', true],
    ['music.s3.eu-central-1.amazonaws.com', true],
    ['music.s3-eu-west-1.amazonaws.com', true],
    ['music.s3.dualstack.eu-west-1.amazonaws.com', true],
    ['music.s3.cn-north-1.amazonaws.com.cn', true],
    ['my.music.s3.amazonaws.com', false],
    ['music.old.s3.amazonaws.com', false],
    ['other.s3.amazonaws.com', false],
    ['music.s3x.amazonaws.com', false],
    ['music.s3.example.com', false],
    ['music.s3.amazonaws.com.example.com', false],
  ])('the bucket is the origin %s: %s', (domain, isOrigin) => {
    expect(look('origin', seen([[origin('DomainName'), domain]])).said).toEqual([
      isOrigin ? `ok: ${domain}` : 'failure: no origin of EDFDVBD6EXAMPLE is the bucket music',
    ])
  })
})

describe('what is changed', () => {
  test.each<[string, ObservedDistribution, Partial<Wishes>, Json[]]>([
    [
      'origin-access-control',
      seen([]),
      {},
      [
        ['Id', 'S3-music', 'S3-music'],
        ['OriginAccessControlId', '', '$new-origin-access-control'],
        ['OriginAccessIdentity', 'origin-access-identity/cloudfront/E127EXAMPLE51Z', ''],
      ],
    ],
    [
      'origin-access-control',
      seen([
        [identity, ''],
        [origin('Id'), null],
      ]),
      {},
      [
        ['Id', null, null],
        ['OriginAccessControlId', '', '$new-origin-access-control'],
      ],
    ],
    ['viewer-protocol', seen([]), {}, [['ViewerProtocolPolicy', 'allow-all', 'redirect-to-https']]],
    ['minimum-tls', seen([]), {}, [['MinimumProtocolVersion', 'TLSv1', 'TLSv1.2_2021']]],
    [
      'cache-policy',
      seen([[audio('MaxTTL'), null]]),
      {},
      [
        ['CachePolicyId', null, managed.cachingOptimizedForUncompressedObjects],
        ['ForwardedValues', { QueryString: true, Cookies: { Forward: 'all' } }, null],
        ['MinTTL', 0, null],
        ['DefaultTTL', 86_400, null],
      ],
    ],
    ['compression', seen([]), {}, [['Compress', true, false]]],
    [
      'response-headers',
      seen([]),
      { origins: ['https://a.example'] },
      [['ResponseHeadersPolicyId', null, managed.simpleCors]],
    ],
    ['response-headers', seen([]), {}, []],
    ['cdn-logging', seen([]), {}, []],
    [
      'cdn-logging',
      seen([]),
      { logBucket: 'logs' },
      [
        [
          'Logging',
          { Enabled: false, IncludeCookies: false, Bucket: '', Prefix: '' },
          { Enabled: true, IncludeCookies: false, Bucket: 'logs.s3.amazonaws.com', Prefix: 'cloudfront/' },
        ],
      ],
    ],
  ])('of %s: %#', (setting, observed, more, edits) => {
    const found = look(setting, observed, more)
    expect(found.edits).toEqual(edits)
    expect(found.changed).toBe(edits.length > 0)
  })

  test('of a distribution that has no such origin, and of a website, nothing that could not be meant', () => {
    expect(assessDistribution(seen([[['Origins'], null]]), policy, wishes).changes).toEqual([])
    const website = seen([[origin('DomainName'), 'music.s3-website.eu-central-1.amazonaws.com']])
    expect(look('origin-access-control', website).changed).toBe(false)
  })
})

test.each<[Json, string, Path]>([
  [null, 'audio/', ['DefaultCacheBehavior']],
  [[], 'audio/', ['DefaultCacheBehavior']],
  [['audio/*'], 'audio/', ['CacheBehaviors', 'Items', 0]],
  [['/audio/*'], 'audio/', ['CacheBehaviors', 'Items', 0]],
  [['*.mp3'], 'audio/', ['CacheBehaviors', 'Items', 0]],
  [['video/*', '*', 'audio/*'], 'audio/', ['CacheBehaviors', 'Items', 1]],
  [['audio'], 'audio/', ['DefaultCacheBehavior']],
  [['udio/*'], 'audio/', ['DefaultCacheBehavior']],
])('of the patterns %j the one for %s is at %j', (patterns, prefix, path) => {
  const Items = (patterns as string[] | null)?.map(PathPattern => ({ PathPattern }))
  expect(behaviourPath(Items === undefined ? {} : { CacheBehaviors: { Items } }, prefix)).toEqual(path)
})
