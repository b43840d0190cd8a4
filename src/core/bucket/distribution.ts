/**
 * The settings of a CloudFront distribution in front of a bucket of audio, and the bucket policy that binds the two.
 * Pure. Ids of managed policies:
 * https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html
 * https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-response-headers-policies.html
 */
import {
  type Assessment,
  fine,
  type Observed,
  planCure,
  type SettingState,
  together,
  told,
  type Wishes,
} from './assessment.ts'
import { policyOfBucket } from './bucket-policy.ts'
import {
  type ConfigEdit,
  type Json,
  type JsonObject,
  listOf,
  newOac,
  type SettingChange,
  valueAt,
} from './plan.ts'
import { matchesWildcards } from './wildcards.ts'

/** What CloudFront said of the distribution. */
export interface ObservedDistribution {
  id: string
  arn: string
  /** `Deployed` or `InProgress` */
  status: string
  config: JsonObject
  /** origin access controls by id, those that the origins name */
  oacs: Readonly<Record<string, JsonObject>>
  /** cache policies by id, those that the behaviours name; unset if it could not be read */
  cachePolicies: Readonly<Record<string, JsonObject>>
}

export const managed = {
  cachingOptimized: '658327ea-f89d-4fab-a63d-7e88639e58f6',
  cachingOptimizedForUncompressedObjects: 'b2884449-e4de-46a7-ac36-70bc7f1ddd6d',
  cachingDisabled: '4135ea2d-6df8-44a3-9df3-4b5a84be39ad',
  simpleCors: '60669652-455b-4ae9-85a4-c4c02393f86c',
} as const

/** Security policies that refuse TLS 1.1 and older, the newest last. */
const modernTls = ['TLSv1.2_2018', 'TLSv1.2_2019', 'TLSv1.2_2021', 'TLSv1.2_2025', 'TLSv1.3_2025']
const wantedTls = 'TLSv1.2_2021'
type Path = readonly (string | number)[]

/** Checks and changes of the distribution, and of the bucket policy that lets it read. */
export function assessDistribution(
  seen: ObservedDistribution,
  bucketPolicy: Observed,
  wishes: Wishes,
): Assessment {
  const origin = originOf(seen.config, wishes.bucket)
  if (origin === undefined) {
    return told(
      'origin',
      'failure',
      `no origin of ${seen.id} is the bucket ${wishes.bucket}`,
      'Correct CLOUDFRONT_DISTRIBUTION_ID, or make an origin BUCKET.s3.REGION.amazonaws.com in it.',
    )
  }
  const behaviour = behaviourPath(seen.config, wishes.keyPrefix)
  const parts: Assessment[] = [
    originEndpoint(seen, origin),
    // The bucket lets the distribution in before the distribution comes by that door.
    policyOfBucket(seen, bucketPolicy, wishes.bucket),
    originAccessControl(seen, origin),
    viewerProtocol(seen, behaviour),
    tls(seen),
    caching(seen, behaviour),
    compression(seen, behaviour),
    corsHeaders(seen, behaviour, wishes),
    logs(seen, wishes),
  ]
  if (seen.config['Enabled'] === false) {
    parts.unshift(told('distribution', 'failure', `${seen.id} is disabled`, 'Enable it in CloudFront.'))
  }
  return together(parts)
}

/** Whether one of the names is this host's; `*.example.com` stands for one label, as in a certificate. */
export function answersTo(names: readonly string[], hostname: string): boolean {
  const host = hostname.toLowerCase()
  const parent = host.slice(host.indexOf('.') + 1)
  return names.some(name => name.toLowerCase() === host || name.toLowerCase() === `*.${parent}`)
}

/** The origin that is the bucket: its index, and how it is addressed. */
function originOf(
  config: JsonObject,
  bucket: string,
): { index: number; value: JsonObject; website: boolean } | undefined {
  const origins = listOf(valueAt(config, ['Origins', 'Items'])) as readonly JsonObject[]
  for (const [index, value] of origins.entries()) {
    const domain = String(value['DomainName'])
    if (!domain.startsWith(`${bucket}.`)) continue
    const rest = domain.slice(bucket.length + 1)
    if (/^s3[.-][a-z0-9.-]*amazonaws\.com(\.cn)?$/.test(rest)) {
      return { index, value, website: rest.startsWith('s3-website') }
    }
  }
  return undefined
}

/** Where in the configuration the behaviour is that serves the audio: the first whose pattern fits, else the default. */
export function behaviourPath(config: JsonObject, keyPrefix: string): Path {
  const behaviours = listOf(valueAt(config, ['CacheBehaviors', 'Items'])) as readonly JsonObject[]
  const index = behaviours.findIndex(behaviour =>
    matchesPattern(String(behaviour['PathPattern']), `/${keyPrefix}artist/title.mp3`),
  )
  return index === -1 ? ['DefaultCacheBehavior'] : ['CacheBehaviors', 'Items', index]
}

/** CloudFront's path patterns: a slash in front may be left out. */
function matchesPattern(pattern: string, path: string): boolean {
  return matchesWildcards(pattern.startsWith('/') ? pattern : `/${pattern}`, path)
}

function edit(config: JsonObject, path: Path, becomes: Json): ConfigEdit {
  return { path, was: valueAt(config, path), becomes }
}

function wrong(
  setting: string,
  state: SettingState,
  found: string,
  change: Omit<Extract<SettingChange, { target: 'distribution' }>, 'target' | 'setting'>,
): Assessment {
  return told(setting, state, found, planCure, [{ target: 'distribution', setting, ...change }])
}

type Origin = NonNullable<ReturnType<typeof originOf>>

function originEndpoint(_: ObservedDistribution, { value, website }: Origin): Assessment {
  const setting = 'origin'
  const domain = String(value['DomainName'])
  if (website) {
    return told(
      setting,
      'failure',
      `${domain} is the website endpoint: no TLS, no access control, public objects`,
      'Make the origin the REST endpoint BUCKET.s3.REGION.amazonaws.com.',
    )
  }
  const path = String(value['OriginPath'] ?? '')
  if (path !== '') {
    return told(
      setting,
      'failure',
      `the origin path ${path} is put before every key`,
      'Empty the origin path: keys are whole, prefix included.',
    )
  }
  return fine(setting, domain)
}

function originAccessControl(seen: ObservedDistribution, { index, value, website }: Origin): Assessment {
  const setting = 'origin-access-control'
  if (website) {
    return told(setting, 'skipped', 'a website endpoint takes none')
  }
  const id = String(value['OriginAccessControlId'] ?? '')
  const oac = seen.oacs[id]
  if (id !== '' && oac === undefined) return fine(setting, `${id} (its settings could not be read)`)
  if (oac !== undefined && oac['SigningBehavior'] === 'always' && oac['SigningProtocol'] === 'sigv4') {
    return fine(setting, `${id}: always signs, SigV4`)
  }
  const identity = String(valueAt(value, ['S3OriginConfig', 'OriginAccessIdentity']) ?? '')
  const at = ['Origins', 'Items', index] as const
  return wrong(
    setting,
    'failure',
    oac !== undefined
      ? `${id} signs "${oac['SigningBehavior']}": S3 cannot tell CloudFront from anyone`
      : identity === ''
        ? 'none: the bucket would have to be public'
        : 'an origin access identity, which cannot read SSE-KMS objects or newer regions',
    {
      create: {
        Name: `autodj-${seen.id}`,
        Description: 'Signs requests for audio, made by autodj',
        OriginAccessControlOriginType: 's3',
        SigningBehavior: 'always',
        SigningProtocol: 'sigv4',
      },
      edits: [
        // The index is only right while the same origin is there.
        edit(seen.config, [...at, 'Id'], value['Id'] ?? null),
        edit(seen.config, [...at, 'OriginAccessControlId'], newOac),
        ...(identity === ''
          ? []
          : [edit(seen.config, [...at, 'S3OriginConfig', 'OriginAccessIdentity'], '')]),
      ],
      why: 'CloudFront signs every request to S3, so the bucket can refuse everyone else',
    },
  )
}

function viewerProtocol({ config }: ObservedDistribution, behaviour: Path): Assessment {
  const setting = 'viewer-protocol'
  const path = [...behaviour, 'ViewerProtocolPolicy']
  const value = valueAt(config, path)
  if (value === 'redirect-to-https' || value === 'https-only') return fine(setting, String(value))
  return wrong(setting, 'failure', `${value}: audio is served over plain HTTP too`, {
    edits: [edit(config, path, 'redirect-to-https')],
    why: 'viewers come over HTTPS, old links are redirected',
  })
}

function tls({ config }: ObservedDistribution): Assessment {
  const setting = 'minimum-tls'
  const certificate = valueAt(config, ['ViewerCertificate']) as JsonObject | null
  if (certificate === null || certificate['CloudFrontDefaultCertificate'] === true) {
    return fine(
      setting,
      'set by CloudFront for its own domain; an alias with a certificate can ask for TLS 1.2',
    )
  }
  const path = ['ViewerCertificate', 'MinimumProtocolVersion']
  const value = String(certificate['MinimumProtocolVersion'])
  if (modernTls.includes(value)) return fine(setting, value)
  return wrong(setting, 'failure', `${value}: TLS 1.1 and older are accepted`, {
    edits: [edit(config, path, wantedTls)],
    why: 'TLS 1.0 and 1.1 are broken; every browser since 2014 has 1.2',
  })
}

function caching({ config, cachePolicies }: ObservedDistribution, behaviour: Path): Assessment {
  const setting = 'cache-policy'
  const id = valueAt(config, [...behaviour, 'CachePolicyId']) as string | null
  const change = {
    edits: [
      edit(config, [...behaviour, 'CachePolicyId'], managed.cachingOptimizedForUncompressedObjects),
      // The settings of the time before cache policies exclude one.
      ...['ForwardedValues', 'MinTTL', 'DefaultTTL', 'MaxTTL']
        .map(name => edit(config, [...behaviour, name], null))
        .filter(({ was }) => was !== null),
    ],
    why: 'one copy of each object at the edge whatever the query string, ranges served from it, kept for a day or as Cache-Control says',
    cost: 'saves requests to S3',
  }
  if (id === managed.cachingOptimizedForUncompressedObjects || id === managed.cachingOptimized) {
    return fine(setting, 'managed CachingOptimized')
  }
  if (id === managed.cachingDisabled) {
    return wrong(setting, 'failure', 'CachingDisabled: every request goes to S3', change)
  }
  if (id) {
    const policy = cachePolicies[id]
    if (policy === undefined) {
      return told(setting, 'skipped', `policy ${id} could not be read`)
    }
    const parameters = valueAt(policy, ['CachePolicyConfig', 'ParametersInCacheKeyAndForwardedToOrigin'])
    const faults = [
      ['query strings', valueAt(parameters, ['QueryStringsConfig', 'QueryStringBehavior'])],
      ['cookies', valueAt(parameters, ['CookiesConfig', 'CookieBehavior'])],
    ].filter(([, value]) => value !== 'none' && value !== null)
    if (faults.length === 0) return fine(setting, `policy ${id}: neither query strings nor cookies`)
    const names = faults.map(([name]) => name).join(' and ')
    return wrong(setting, 'warning', `policy ${id} caches a copy for each of the ${names}`, change)
  }
  const forwarded = valueAt(config, [...behaviour, 'ForwardedValues'])
  if (valueAt(forwarded, ['QueryString']) !== true && valueAt(forwarded, ['Cookies', 'Forward']) === 'none') {
    return fine(setting, 'legacy settings: neither query strings nor cookies')
  }
  return wrong(setting, 'warning', 'legacy settings cache a copy for each query string or cookie', change)
}

function compression({ config }: ObservedDistribution, behaviour: Path): Assessment {
  const setting = 'compression'
  const path = [...behaviour, 'Compress']
  if (valueAt(config, path) !== true) return fine(setting, 'off: byte ranges stay what they are')
  return wrong(setting, 'warning', 'on: wasted on audio, and breaks ranges of what it does compress', {
    edits: [edit(config, path, false)],
    why: 'audio is compressed already; byte ranges must be those of the object',
  })
}

function corsHeaders({ config }: ObservedDistribution, behaviour: Path, { origins }: Wishes): Assessment {
  const setting = 'response-headers'
  if (origins.length === 0) return together([])
  const path = [...behaviour, 'ResponseHeadersPolicyId']
  const id = valueAt(config, path)
  if (id) return fine(setting, `response headers policy ${id}`)
  return wrong(
    setting,
    'failure',
    'no response headers policy: the CORS answer to the first client is cached for all',
    {
      edits: [edit(config, path, managed.simpleCors)],
      why: 'the CDN adds the CORS header itself (managed SimpleCORS), whoever asks first',
    },
  )
}

function logs({ config }: ObservedDistribution, { logBucket }: Wishes): Assessment {
  const setting = 'cdn-logging'
  const logging = valueAt(config, ['Logging']) as JsonObject | null
  if (logging?.['Enabled'] === true)
    return fine(setting, `to ${logging['Bucket']}/${logging['Prefix'] ?? ''}`)
  const found = 'off here (standard logging v2, which is set up elsewhere, is not seen)'
  if (logBucket === undefined) {
    return told(setting, 'warning', found, 'Pass --log-bucket to turn it on.')
  }
  return wrong(setting, 'failure', found, {
    edits: [
      edit(config, ['Logging'], {
        Enabled: true,
        IncludeCookies: false,
        Bucket: `${logBucket}.s3.amazonaws.com`,
        Prefix: 'cloudfront/',
      }),
    ],
    why: 'hits, misses and errors of every request can be looked up; the log bucket must allow ACLs',
    cost: 'storage of the logs',
  })
}
