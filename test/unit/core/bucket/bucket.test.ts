import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { assessAccessKey, awsHost } from '../../../../src/core/bucket/access-key.ts'
import {
  type Observed,
  type ObservedBucket,
  ourRules,
  type SettingCheck,
  type Wishes,
} from '../../../../src/core/bucket/assessment.ts'
import { assessBucket } from '../../../../src/core/bucket/bucket.ts'
import {
  answersTo,
  assessDistribution,
  behaviourPath,
  managed,
  type ObservedDistribution,
} from '../../../../src/core/bucket/distribution.ts'
import { tieringCost } from '../../../../src/core/bucket/lifecycle.ts'
import {
  type BucketSetting,
  differences,
  type Json,
  type JsonObject,
  parseSettingsPlan,
  type SettingChange,
  type SettingsPlan,
  sameDocument,
  undoPlan,
  valueAt,
  withValueAt,
} from '../../../../src/core/bucket/plan.ts'
import { wishes } from '../../../support/bucket-wishes.ts'
import { distributionArn, distributionId, oldDistribution } from '../../../support/cloudfront.ts'

const set = (value: JsonObject) => ({ state: 'set', value }) as const
const unset = { state: 'unset' } as const
const untold = { state: 'unknown', reason: 'denied' } as const
/** A rule for uploads that nobody ends. */
const aborting = (
  ID: string,
  DaysAfterInitiation: number,
  more: JsonObject = { Filter: {} },
): JsonObject => ({
  ID,
  Status: 'Enabled',
  ...more,
  AbortIncompleteMultipartUpload: { DaysAfterInitiation },
})
const allBlocked = {
  BlockPublicAcls: true,
  IgnorePublicAcls: true,
  BlockPublicPolicy: true,
  RestrictPublicBuckets: true,
}

/** A bucket with nothing to find fault with. */
const good: ObservedBucket = {
  'public-access-block': set(allBlocked),
  'object-ownership': set({ Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] }),
  encryption: set({ Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] }),
  versioning: set({ Status: 'Enabled' }),
  cors: unset,
  lifecycle: set({
    Rules: [
      aborting('a', 3),
      { ID: 'b', Status: 'Enabled', Filter: { Prefix: 'quarantine/' }, Expiration: { Days: 14 } },
      { ID: 'c', Status: 'Enabled', Filter: {}, NoncurrentVersionExpiration: { NoncurrentDays: 7 } },
    ],
  }),
  'access-logging': set({ LoggingEnabled: { TargetBucket: 'logs', TargetPrefix: '' } }),
  'bucket-policy': unset,
}

const faultsOf = (observed: ObservedBucket, more: Partial<Wishes> = {}) => {
  const { checks, changes } = assessBucket(observed, { ...wishes, ...more })
  return {
    states: Object.fromEntries(
      checks
        .filter(({ state }) => state !== 'ok' && state !== 'skipped')
        .map(({ setting, state }) => [setting, state]),
    ),
    changes: Object.fromEntries(
      changes.map(change => [change.setting, change.target === 'bucket' ? change.becomes : null]),
    ),
  }
}

describe('bucket', () => {
  test('one that is as it should be has nothing to change', () => {
    expect(faultsOf(good)).toEqual({ states: {}, changes: {} })
  })

  const rule = (more: JsonObject): JsonObject => ({ ID: 'x', Status: 'Enabled', ...more })
  const cases: [
    string,
    Partial<ObservedBucket>,
    Partial<Wishes>,
    Record<string, string>,
    Record<string, unknown>,
  ][] = [
    [
      'no public access block',
      { 'public-access-block': unset },
      {},
      { 'public-access-block': 'failure' },
      { 'public-access-block': allBlocked },
    ],
    [
      'half a public access block',
      { 'public-access-block': set({ ...allBlocked, RestrictPublicBuckets: false }) },
      {},
      { 'public-access-block': 'failure' },
      { 'public-access-block': allBlocked },
    ],
    [
      'ACLs',
      { 'object-ownership': unset },
      {},
      { 'object-ownership': 'warning' },
      { 'object-ownership': { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] } },
    ],
    [
      'no encryption',
      { encryption: unset },
      {},
      { encryption: 'failure' },
      { encryption: { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] } },
    ],
    [
      'an encryption rule without a default',
      { encryption: set({ Rules: [{ BucketKeyEnabled: true }] }) },
      {},
      { encryption: 'failure' },
      { encryption: { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] } },
    ],
    [
      'KMS with a bucket key',
      {
        encryption: set({
          Rules: [
            { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' }, BucketKeyEnabled: true },
          ],
        }),
      },
      {},
      {},
      {},
    ],
    [
      'KMS without a bucket key',
      {
        encryption: set({
          Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: 'k' } }],
        }),
      },
      {},
      { encryption: 'warning' },
      {
        encryption: {
          Rules: [
            {
              ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: 'k' },
              BucketKeyEnabled: true,
            },
          ],
        },
      },
    ],
    ['versioning off, not asked for', { versioning: unset }, {}, { versioning: 'warning' }, {}],
    [
      'versioning suspended, asked for',
      { versioning: set({ Status: 'Suspended' }) },
      { versioning: true },
      { versioning: 'failure' },
      { versioning: { Status: 'Enabled' } },
    ],
    ['logging off, not asked for', { 'access-logging': unset }, {}, { 'access-logging': 'warning' }, {}],
    [
      'logging off, asked for',
      { 'access-logging': unset },
      { logBucket: 'logs' },
      { 'access-logging': 'failure' },
      { 'access-logging': { LoggingEnabled: { TargetBucket: 'logs', TargetPrefix: 's3/music/' } } },
    ],
    [
      'CORS missing',
      {},
      { origins: ['https://a.example'] },
      { cors: 'failure' },
      {
        cors: {
          CORSRules: [
            {
              ID: ourRules.cors,
              AllowedOrigins: ['https://a.example'],
              AllowedMethods: ['GET', 'HEAD'],
              AllowedHeaders: ['*'],
              ExposeHeaders: ['Content-Length', 'Content-Range', 'ETag', 'Accept-Ranges'],
              MaxAgeSeconds: 86_400,
            },
          ],
        },
      },
    ],
    [
      'CORS by a pattern of somebody else',
      {
        cors: set({
          CORSRules: [{ AllowedOrigins: ['https://*.example'], AllowedMethods: ['GET', 'HEAD'] }],
        }),
      },
      { origins: ['https://a.example'] },
      {},
      {},
    ],
    ...(
      [
        ['*', false],
        ['https://a.example', false],
        ['https://a*', false],
        ['https://*a.example', false],
        ['https://a.example*', false],
        ['*.example', false],
        ['https://b*', true],
        ['https://*b.example', true],
        ['http://*.example', true],
        ['https://a.example.org', true],
        // Longer than what it is to match, though both its ends do.
        ['https://a.exam*xample', true],
      ] as const
    ).map(([pattern, isMissing]): (typeof cases)[number] => [
      `CORS for ${pattern}`,
      { cors: set({ CORSRules: [{ AllowedOrigins: [pattern], AllowedMethods: ['GET', 'HEAD'] }] }) },
      { origins: ['https://a.example'] },
      isMissing ? { cors: 'failure' } : {},
      isMissing ? { cors: expect.anything() } : {},
    ]),
    [
      'audio archived by a rule of somebody else',
      {
        lifecycle: set({
          Rules: [
            ...(good.lifecycle as unknown as { value: { Rules: JsonObject[] } }).value.Rules,
            rule({ Filter: { Prefix: '' }, Transitions: [{ Days: 90, StorageClass: 'GLACIER' }] }),
          ],
        }),
      },
      {},
      { 'lifecycle-archive': 'failure' },
      {},
    ],
    [
      'no lifecycle at all',
      { lifecycle: unset, versioning: untold },
      { tiering: { storageClass: 'INTELLIGENT_TIERING', days: 0 } },
      { 'lifecycle-uploads': 'warning', 'lifecycle-quarantine': 'warning', 'lifecycle-tiering': 'failure' },
      {
        lifecycle: {
          Rules: [
            aborting(ourRules.abort, 7, { Filter: { Prefix: '' } }),
            {
              ID: ourRules.quarantine,
              Status: 'Enabled',
              Filter: { Prefix: 'quarantine/' },
              Expiration: { Days: 30 },
            },
            {
              ID: ourRules.tiering,
              Status: 'Enabled',
              Filter: { Prefix: 'audio/' },
              Transitions: [{ Days: 0, StorageClass: 'INTELLIGENT_TIERING' }],
            },
          ],
        },
      },
    ],
    [
      'without days for the quarantine no rule is asked for, and one that deletes without a look is warned of',
      {
        versioning: untold,
        lifecycle: set({
          Rules: [
            aborting('a', 3),
            { ID: 'b', Status: 'Enabled', Filter: { Prefix: 'quarantine/' }, Expiration: { Days: 14 } },
          ],
        }),
      },
      { quarantine: { prefix: 'quarantine/', days: undefined } },
      { 'lifecycle-quarantine': 'warning' },
      {},
    ],
    [
      'nor where there is none',
      {
        versioning: untold,
        lifecycle: set({
          Rules: [
            aborting('a', 3),
            { ID: 'b', Status: 'Disabled', Filter: { Prefix: 'quarantine/' }, Expiration: { Days: 14 } },
            { ID: 'c', Status: 'Enabled', Filter: { Prefix: 'quarantines/' }, Expiration: { Days: 14 } },
          ],
        }),
      },
      { quarantine: { prefix: 'quarantine/', days: undefined } },
      {},
      {},
    ],
    [
      'rules of the old kind are added to in kind, and disabled ones do not count',
      {
        versioning: untold,
        lifecycle: set({
          Rules: [
            { ID: 'old', Status: 'Enabled', Prefix: 'logs/', Expiration: { Days: 3 } },
            aborting('off', 1, { Prefix: '', Status: 'Disabled' }),
            { ID: 'q', Status: 'Enabled', Prefix: 'quarantine/', Expiration: { Days: 5 } },
          ],
        }),
      },
      {},
      { 'lifecycle-uploads': 'warning' },
      {
        lifecycle: {
          Rules: [
            { ID: 'old', Status: 'Enabled', Prefix: 'logs/', Expiration: { Days: 3 } },
            aborting('off', 1, { Prefix: '', Status: 'Disabled' }),
            { ID: 'q', Status: 'Enabled', Prefix: 'quarantine/', Expiration: { Days: 5 } },
            aborting(ourRules.abort, 7, { Prefix: '' }),
          ],
        },
      },
    ],
  ]
  test.each(cases)('%s', (_, change, more, states, changes) => {
    expect(faultsOf({ ...good, ...change }, more)).toEqual({ states, changes })
  })

  const corsRules = (...CORSRules: JsonObject[]) => set({ CORSRules })
  const getOnly = { AllowedOrigins: ['*'], AllowedMethods: ['GET'] }
  const origins = ['https://a.example']
  test.each<[setting: BucketSetting, Observed, Partial<Wishes>, found: string, changes: number]>([
    [
      'public-access-block',
      set({}),
      {},
      `failure: public access is possible: ${Object.keys(allBlocked).join(', ')} off`,
      1,
    ],
    ['public-access-block', set(allBlocked), {}, 'ok: all public access is blocked', 0],
    ['object-ownership', unset, {}, 'warning: ObjectWriter: ACLs can grant access', 1],
    ['object-ownership', set({ Rules: [] }), {}, 'warning: ObjectWriter: ACLs can grant access', 1],
    [
      'object-ownership',
      set({ Rules: [{ ObjectOwnership: 'BucketOwnerPreferred' }] }),
      {},
      'warning: BucketOwnerPreferred: ACLs can grant access',
      1,
    ],
    ['encryption', set({ Rules: [] }), {}, 'failure: no default encryption', 1],
    ['versioning', unset, {}, 'warning: off: whatever is deleted or overwritten is gone', 0],
    [
      'versioning',
      set({ Status: 'Suspended' }),
      { versioning: true },
      'failure: suspended: whatever is deleted or overwritten is gone',
      1,
    ],
    ['cors', unset, {}, 'skipped: 0 rules; pass --origin to check them for the pages that play the audio', 0],
    [
      'cors',
      corsRules(getOnly),
      {},
      'skipped: 1 rules; pass --origin to check them for the pages that play the audio',
      0,
    ],
    ['cors', corsRules(getOnly), { origins }, 'failure: no rule allows https://a.example', 1],
    [
      'cors',
      corsRules({ ...getOnly, AllowedMethods: ['PUT', 'HEAD'] }),
      { origins },
      'failure: no rule allows https://a.example',
      1,
    ],
    // S3 takes a hundred rules; ours is replaced.
    [
      'cors',
      corsRules(...Array(99).fill(getOnly)),
      { origins },
      'failure: no rule allows https://a.example',
      1,
    ],
    [
      'cors',
      corsRules(...Array(100).fill(getOnly)),
      { origins },
      'failure: no rule allows https://a.example',
      0,
    ],
    [
      'cors',
      corsRules(...Array(99).fill(getOnly), { ...getOnly, ID: ourRules.cors }),
      { origins },
      'failure: no rule allows https://a.example',
      1,
    ],
    ['access-logging', unset, {}, 'warning: off: reads and deletions are not recorded', 0],
    ['access-logging', set({ LoggingEnabled: { TargetBucket: 'logs' } }), {}, 'ok: to logs/', 0],
    [
      'access-logging',
      set({ LoggingEnabled: { TargetBucket: 'logs', TargetPrefix: 's3/' } }),
      {},
      'ok: to logs/s3/',
      0,
    ],
    ['access-logging', untold, {}, 'skipped: could not be read: denied', 0],
  ])('%s, %j, %j: %s', (setting, document, more, found, count) => {
    const { checks, changes } = assessBucket({ ...good, [setting]: document }, { ...wishes, ...more })
    const check = checks.find(one => one.setting === setting) as SettingCheck
    expect(`${check.state}: ${check.found}`).toBe(found)
    expect(changes.filter(change => change.setting === setting).length).toBe(count)
    // What is not right has a cure; where there is a change, the one that makes it.
    expect(Object.keys(check).includes('cure')).toBe(['warning', 'failure'].includes(check.state))
    expect(check.cure?.includes('`autodj bucket apply` makes it') ?? false).toBe(count > 0)
  })

  test('our own CORS rule takes the new origins on; rules of others stay as they are', () => {
    const theirs = { ID: 'theirs', AllowedOrigins: ['https://b.example'], AllowedMethods: ['GET'] }
    const ours = { ID: ourRules.cors, AllowedOrigins: ['https://old.example'], AllowedMethods: ['GET'] }
    const { changes } = faultsOf({ ...good, cors: corsRules(ours, theirs) }, { origins })
    expect((changes['cors'] as JsonObject)['CORSRules']).toMatchObject([
      theirs,
      {
        ID: ourRules.cors,
        AllowedOrigins: ['https://old.example', 'https://a.example'],
        AllowedMethods: ['GET', 'HEAD'],
      },
    ])
  })

  test('what could not be read is skipped, and nothing is changed blindly', () => {
    const unknown = { state: 'unknown', reason: 'access denied' } as const
    const blind = Object.fromEntries(
      Object.keys(good).map(name => [name, unknown]),
    ) as unknown as ObservedBucket
    const { checks, changes } = assessBucket(blind, {
      ...wishes,
      versioning: true,
      origins: ['https://a.example'],
      logBucket: 'l',
    })
    expect(checks.every(({ state }) => state === 'skipped')).toBe(true)
    expect(changes).toEqual([])
  })

  test('public access is taken away last', () => {
    const { changes } = assessBucket(
      { ...good, 'public-access-block': unset, encryption: unset, lifecycle: unset },
      wishes,
    )
    expect(changes.at(-1)!.setting).toBe('public-access-block')
  })

  test('rules that are not ours are kept as they are, in their order, whatever they are; and a second look is content', () => {
    const anyRule = fc.record(
      {
        ID: fc.oneof(fc.constantFrom(...Object.values(ourRules)), fc.string()),
        Status: fc.constantFrom('Enabled', 'Disabled'),
        Filter: fc.oneof(
          fc.constant({}),
          fc.record({ Prefix: fc.constantFrom('', 'audio/', 'quarantine/', 'x/') }),
        ),
        Expiration: fc.record({ Days: fc.integer({ min: 1, max: 100 }) }),
        NoncurrentVersionExpiration: fc.record({ NoncurrentDays: fc.nat() }),
        AbortIncompleteMultipartUpload: fc.record({ DaysAfterInitiation: fc.integer({ min: 1, max: 20 }) }),
      },
      { requiredKeys: ['Status', 'Filter'] },
    )
    const anyCors = fc.record(
      {
        ID: fc.oneof(fc.constant(ourRules.cors), fc.string()),
        AllowedOrigins: fc.array(
          fc.constantFrom('*', 'https://a.example', 'https://b.example', 'https://*.example'),
        ),
        AllowedMethods: fc.subarray(['GET', 'HEAD', 'PUT']),
      },
      { requiredKeys: ['AllowedOrigins', 'AllowedMethods'] },
    )
    fc.assert(
      fc.property(
        fc.array(anyRule, { maxLength: 5 }),
        fc.array(anyCors, { maxLength: 5 }),
        (rules, corsRules) => {
          const observed: ObservedBucket = {
            ...good,
            lifecycle: rules.length === 0 ? unset : set({ Rules: rules as unknown as Json }),
            cors: corsRules.length === 0 ? unset : set({ CORSRules: corsRules as unknown as Json }),
          }
          const more = {
            ...wishes,
            origins: ['https://a.example', 'https://c.test'],
            tiering: { storageClass: 'STANDARD_IA', days: 30 } as const,
          }
          const { changes } = assessBucket(observed, more)
          const ours: readonly unknown[] = Object.values(ourRules)
          for (const change of changes as Extract<SettingChange, { target: 'bucket' }>[]) {
            const member = change.setting === 'cors' ? 'CORSRules' : 'Rules'
            const others = (document: Json) =>
              ((valueAt(document, [member]) ?? []) as JsonObject[]).filter(one => !ours.includes(one['ID']))
            expect(others(change.becomes)).toEqual(others(change.was))
          }
          const after = { ...observed }
          for (const change of changes as Extract<SettingChange, { target: 'bucket' }>[]) {
            Object.assign(after, { [change.setting]: set(change.becomes as JsonObject) })
          }
          expect(assessBucket(after, more).changes).toEqual([])
        },
      ),
    )
  })

  /** As the S3 API Reference has it: NoncurrentVersionExpiration, and Expiration with nothing but the marker. */
  const versionRule = (ID: string, Prefix: string) => ({
    ID,
    Status: 'Enabled',
    Filter: { Prefix },
    NoncurrentVersionExpiration: { NoncurrentDays: 7 },
    Expiration: { ExpiredObjectDeleteMarker: true },
  })
  const bothOldVersions = [
    versionRule(ourRules.stagingVersions, 'audio/.incoming/'),
    versionRule(ourRules.quarantineVersions, 'quarantine/'),
  ]
  const rulesOf = ({ changes }: ReturnType<typeof faultsOf>) =>
    ((changes['lifecycle'] as JsonObject | undefined)?.['Rules'] ?? []) as JsonObject[]
  const lifecycleOf = (...rules: JsonObject[]) =>
    set({
      Rules: [
        ...(good.lifecycle as unknown as { value: { Rules: JsonObject[] } }).value.Rules.slice(0, 2),
        ...rules,
      ],
    })

  test('where versions are kept, were kept or are wished for, old ones expire at our own prefixes, nowhere else', () => {
    const lifecycle = lifecycleOf()
    for (const [versioning, more] of [
      [set({ Status: 'Enabled' }), {}],
      [set({ Status: 'Suspended' }), {}],
      [unset, { versioning: true }],
    ] as const) {
      const faults = faultsOf({ ...good, lifecycle, versioning }, more)
      expect(faults.states).toMatchObject({
        'lifecycle-staging-versions': 'warning',
        'lifecycle-quarantine-versions': 'warning',
      })
      expect(rulesOf(faults).slice(2)).toEqual(bothOldVersions)
    }
    expect(faultsOf({ ...good, lifecycle, versioning: unset }).changes['lifecycle']).toBeUndefined()
    expect(faultsOf({ ...good, lifecycle: lifecycleOf(...bothOldVersions) }).changes).toEqual({})
  })

  test.each([
    ['too many days', { NoncurrentVersionExpiration: { NoncurrentDays: 8 } }],
    [
      'all but the newest few',
      { NoncurrentVersionExpiration: { NoncurrentDays: 1, NewerNoncurrentVersions: 3 } },
    ],
    ['audio only', { Filter: { Prefix: 'audio/a' }, NoncurrentVersionExpiration: { NoncurrentDays: 1 } }],
    ['by size', { Filter: { ObjectSizeGreaterThan: 9 }, NoncurrentVersionExpiration: { NoncurrentDays: 1 } }],
  ])('old versions: a rule of somebody else does not do: %s', (_, more) => {
    const lifecycle = lifecycleOf({ ID: 'theirs', Status: 'Enabled', Filter: {}, ...more })
    expect(rulesOf(faultsOf({ ...good, lifecycle })).slice(3)).toEqual(bothOldVersions)
  })

  test('the cost of a storage class is spelt out, for this library where its size is known', () => {
    const library = { objects: 50_000, bytes: 400 * 1024 ** 3 }
    expect(tieringCost('INTELLIGENT_TIERING', library)).toBe(
      'what nobody has read for 30 days costs $0.0125 instead of $0.023 a GB-month (saves up to $4.20 a month), ' +
        'reading is free; monitoring fee $0.0025 a month per 1,000 objects ($0.13 a month), moving $0.01 once per ' +
        '1,000 objects ($0.50); worth it for rarely played files over 0.25 MB; objects under 128 KB are left alone; ' +
        'prices of us-east-1, for 50,000 objects of 400 GiB',
    )
    expect(tieringCost('STANDARD_IA', library)).toBe(
      'storing costs $0.0125 instead of $0.023 a GB-month (saves $4.20 a month), but each GB that the CDN ' +
        'fetches $0.01 ($4.00 each time all of it is fetched), moving $0.01 once per 1,000 objects ($0.50); each ' +
        'object is charged for at least 30 days and 128 KB; worth it while the CDN fetches less than all of it once a ' +
        'month; prices of us-east-1, for 50,000 objects of 400 GiB',
    )
    expect(tieringCost('STANDARD_IA', { objects: 1, bytes: 1024 })).toContain('(saves under $0.01 a month)')
    expect(tieringCost('STANDARD_IA', { objects: 1_000, bytes: 0 })).toMatch(
      /saves \$0 a month.*objects \(\$0\.01\)/,
    )
    expect(tieringCost('STANDARD_IA', undefined)).not.toContain('(')
  })
})

describe('distribution', () => {
  const old = (): ObservedDistribution => ({
    id: distributionId,
    arn: distributionArn,
    status: 'Deployed',
    config: JSON.parse(JSON.stringify(oldDistribution('music'))) as JsonObject,
    oacs: {},
    cachePolicies: {},
  })
  const audio = ['CacheBehaviors', 'Items', 1] as const
  const assess = (
    seen: ObservedDistribution,
    policy = unset as Parameters<typeof assessDistribution>[1],
    more: Partial<Wishes> = {},
  ) => assessDistribution(seen, policy, { ...wishes, ...more })
  const stateOf = (
    seen: ObservedDistribution,
    setting: string,
    policy?: Parameters<typeof assessDistribution>[1],
    more?: Partial<Wishes>,
  ) => assess(seen, policy, more).checks.find(check => check.setting === setting)?.state
  const changedAt = (path: readonly (string | number)[], value: Json): ObservedDistribution => {
    const seen = old()
    return { ...seen, config: withValueAt(seen.config, path, value) as JsonObject }
  }

  test('an old one: every fault found, in the behaviour that serves the audio', () => {
    const { checks, changes } = assess(old(), unset, { origins: ['https://a.example'], logBucket: 'logs' })
    expect(Object.fromEntries(checks.map(({ setting, state }) => [setting, state]))).toEqual({
      origin: 'ok',
      'origin-access-control': 'failure',
      'bucket-policy': 'failure',
      'viewer-protocol': 'failure',
      'minimum-tls': 'failure',
      'cache-policy': 'warning',
      compression: 'warning',
      'response-headers': 'failure',
      'cdn-logging': 'failure',
    })
    const edits = changes.flatMap(change => (change.target === 'distribution' ? change.edits : []))
    expect(edits).toContainEqual({
      path: [...audio, 'ViewerProtocolPolicy'],
      was: 'allow-all',
      becomes: 'redirect-to-https',
    })
    expect(edits).toContainEqual({
      path: [...audio, 'ForwardedValues'],
      was: expect.anything(),
      becomes: null,
    })
    expect(edits.filter(({ path }) => path[0] === 'DefaultCacheBehavior' || path[2] === 0)).toEqual([])
  })

  test('what it makes of the old one, it is content with', () => {
    const seen = old()
    const { changes } = assess(seen, unset, { origins: ['https://a.example'], logBucket: 'logs' })
    let config: Json = seen.config
    let policy: Parameters<typeof assessDistribution>[1] = unset
    const oacs: Record<string, JsonObject> = {}
    for (const change of changes) {
      if (change.target === 'bucket') policy = set(change.becomes as JsonObject)
      else {
        if (change.create) oacs['EOAC'] = { ...change.create }
        for (const { path, becomes } of change.edits) {
          config = withValueAt(config, path, becomes === '$new-origin-access-control' ? 'EOAC' : becomes)
        }
      }
    }
    const again = assess({ ...seen, config: config as JsonObject, oacs }, policy, {
      origins: ['https://a.example'],
    })
    expect(again.checks.filter(({ state }) => state !== 'ok')).toEqual([])
    expect(again.changes).toEqual([])
  })

  test.each([
    ['audio/', ['CacheBehaviors', 'Items', 1]],
    ['images/', ['CacheBehaviors', 'Items', 0]],
    ['elsewhere/', ['DefaultCacheBehavior']],
    ['', ['DefaultCacheBehavior']],
  ])('the behaviour for the prefix %j', (prefix, path) => {
    expect(behaviourPath(old().config, prefix)).toEqual(path)
  })

  const origin = ['Origins', 'Items', 1] as const
  test.each([
    [
      'another bucket',
      'origin',
      'failure',
      changedAt([...origin, 'DomainName'], 'music-2.s3.eu-central-1.amazonaws.com'),
    ],
    [
      'the website endpoint',
      'origin',
      'failure',
      changedAt([...origin, 'DomainName'], 'music.s3-website.eu-central-1.amazonaws.com'),
    ],
    ['an origin path', 'origin', 'failure', changedAt([...origin, 'OriginPath'], '/audio')],
    ['disabled', 'distribution', 'failure', changedAt(['Enabled'], false)],
    ['the global endpoint', 'origin', 'ok', changedAt([...origin, 'DomainName'], 'music.s3.amazonaws.com')],
    [
      'its own certificate',
      'minimum-tls',
      'ok',
      changedAt(['ViewerCertificate'], { CloudFrontDefaultCertificate: true }),
    ],
    [
      'TLS 1.2',
      'minimum-tls',
      'ok',
      changedAt(['ViewerCertificate', 'MinimumProtocolVersion'], 'TLSv1.2_2021'),
    ],
    [
      'TLS 1.1',
      'minimum-tls',
      'failure',
      changedAt(['ViewerCertificate', 'MinimumProtocolVersion'], 'TLSv1.1_2016'),
    ],
    [
      'no caching',
      'cache-policy',
      'failure',
      changedAt([...audio, 'CachePolicyId'], managed.cachingDisabled),
    ],
    [
      'managed caching',
      'cache-policy',
      'ok',
      changedAt([...audio, 'CachePolicyId'], managed.cachingOptimized),
    ],
    [
      'a policy that may not be read',
      'cache-policy',
      'skipped',
      changedAt([...audio, 'CachePolicyId'], 'unread'),
    ],
    [
      'legacy settings that are right',
      'cache-policy',
      'ok',
      changedAt([...audio, 'ForwardedValues'], { QueryString: false, Cookies: { Forward: 'none' } }),
    ],
    ['HTTPS only', 'viewer-protocol', 'ok', changedAt([...audio, 'ViewerProtocolPolicy'], 'https-only')],
  ])('%s: %s is %s', (_, setting, state, seen) => {
    expect(stateOf(seen, setting)).toBe(state)
  })

  test('an origin access control that does not always sign is none', () => {
    const seen = changedAt([...origin, 'OriginAccessControlId'], 'E1')
    const oac = { SigningBehavior: 'always', SigningProtocol: 'sigv4' }
    expect(stateOf({ ...seen, oacs: { E1: oac } }, 'origin-access-control')).toBe('ok')
    expect(
      stateOf({ ...seen, oacs: { E1: { ...oac, SigningBehavior: 'never' } } }, 'origin-access-control'),
    ).toBe('failure')
  })

  test('a policy keyed by query strings is found, one keyed by nothing is fine', () => {
    const seen = changedAt([...audio, 'CachePolicyId'], 'custom')
    const custom = (QueryStringBehavior: string) => ({
      custom: {
        CachePolicyConfig: {
          ParametersInCacheKeyAndForwardedToOrigin: {
            QueryStringsConfig: { QueryStringBehavior },
            CookiesConfig: { CookieBehavior: 'none' },
          },
        },
      },
    })
    expect(stateOf({ ...seen, cachePolicies: custom('all') }, 'cache-policy')).toBe('warning')
    expect(stateOf({ ...seen, cachePolicies: custom('none') }, 'cache-policy')).toBe('ok')
  })

  describe('bucket policy', () => {
    const allow = (SourceArn: string) => ({
      Sid: 'theirs',
      Effect: 'Allow',
      Principal: { Service: ['cloudfront.amazonaws.com'] },
      Action: ['s3:GetObject', 's3:ListBucket'],
      Resource: 'arn:aws:s3:::music/*',
      Condition: { StringEquals: { 'aws:SourceArn': [SourceArn] } },
    })
    const policy = (...statements: JsonObject[]) =>
      set({ Version: '2012-10-17', Id: 'keep', Statement: statements })

    test('a statement of somebody else that lets this distribution read is good enough', () => {
      expect(stateOf(old(), 'bucket-policy', policy(allow(distributionArn)))).toBe('ok')
    })

    test('one for another distribution is not; it is kept, and ours is added', () => {
      const theirs = policy(allow(`${distributionArn}2`))
      const change = assess(old(), theirs).changes.find(({ setting }) => setting === 'bucket-policy')
      expect(change).toMatchObject({
        was: theirs.value,
        becomes: {
          Version: '2012-10-17',
          Id: 'keep',
          Statement: [
            allow(`${distributionArn}2`),
            {
              Effect: 'Allow',
              Principal: { Service: 'cloudfront.amazonaws.com' },
              Action: 's3:GetObject',
              Resource: 'arn:aws:s3:::music/*',
              Condition: { StringEquals: { 'AWS:SourceArn': distributionArn } },
            },
          ],
        },
      })
    })

    test('a statement that allows anyone to read is named, and left to its owner', () => {
      const open = {
        Sid: 'PublicRead',
        Effect: 'Allow',
        Principal: '*',
        Action: 's3:GetObject',
        Resource: 'arn:aws:s3:::music/*',
      }
      expect(stateOf(old(), 'bucket-policy-public', policy(open, allow(distributionArn)))).toBe('failure')
      const denied = { ...open, Effect: 'Deny' }
      expect(stateOf(old(), 'bucket-policy-public', policy(denied))).toBeUndefined()
    })
  })
})

describe('plans', () => {
  const plan = (changes: SettingChange[]): SettingsPlan => ({
    type: 'autodj-settings-plan',
    schema: 1,
    bucket: 'music',
    distribution: distributionId,
    createdAt: '2026-03-01T00:00:00.000Z',
    changes,
  })
  const now = new Date('2026-03-02T00:00:00Z')

  test('taken back and taken back again is the plan, its reasons apart', () => {
    const { changes } = assessBucket({ ...good, encryption: unset, lifecycle: unset }, wishes)
    const twice = undoPlan(undoPlan(plan([...changes]), now), now)
    expect(twice.changes.map(change => ({ ...change, why: '', cost: '' }))).toEqual(
      changes.map(change => ({ ...change, why: '', cost: '' })),
    )
  })

  test('versioning is taken back to suspended: S3 knows no way to off', () => {
    const { changes } = assessBucket({ ...good, versioning: unset }, { ...wishes, versioning: true })
    expect(undoPlan(plan([...changes]), now).changes).toMatchObject([
      { setting: 'versioning', was: { Status: 'Enabled' }, becomes: { Status: 'Suspended' } },
    ])
    const suspends: SettingChange = {
      target: 'bucket',
      setting: 'versioning',
      was: { Status: 'Enabled' },
      becomes: { Status: 'Suspended' },
      why: '',
    }
    expect(undoPlan(plan([suspends]), now).changes).toMatchObject([
      { was: { Status: 'Suspended' }, becomes: { Status: 'Enabled' } },
    ])
  })

  test('is read back as it was written', () => {
    const changes: SettingChange[] = [
      { target: 'bucket', setting: 'versioning', was: null, becomes: { Status: 'Enabled' }, why: 'w' },
      { target: 'bucket', setting: 'cors', was: { CORSRules: [] }, becomes: null, why: 'w' },
      {
        target: 'distribution',
        setting: 'compression',
        edits: [{ path: ['a', 0], was: 1, becomes: null }],
        why: 'w',
      },
      { target: 'distribution', setting: 'tls', edits: [], why: 'w' },
    ]
    expect(parseSettingsPlan(JSON.stringify(plan(changes)))).toEqual(plan(changes))
  })

  const bad = (more: object) => JSON.stringify({ ...plan([]), ...more })
  const change = { target: 'bucket', setting: 'cors', was: null, becomes: null, why: '' }
  const edit = { target: 'distribution', setting: 'x', edits: [], why: '' }
  test.each([
    ['{', 'it is not JSON'],
    ['null', 'it has another type'],
    ['[]', 'it has another type'],
    [bad({ type: 'autodj-plan' }), 'it has another type'],
    [bad({ schema: 2 }), 'it has schema 2, this version of autodj reads schema 1'],
    [bad({ bucket: 1 }), 'parts of it are missing'],
    [bad({ bucket: undefined }), 'parts of it are missing'],
    [bad({ changes: undefined }), 'parts of it are missing'],
    [bad({ changes: {} }), 'parts of it are missing'],
    [
      bad({ changes: [change, { ...change, setting: 'tags' }] }),
      'it has an unknown change: {"target":"bucket","setting":"tags"',
    ],
    [
      bad({ changes: [{ ...change, was: undefined }] }),
      'it has an unknown change: {"target":"bucket","setting":"cors","becomes":null',
    ],
    [
      bad({ changes: [{ ...change, becomes: undefined }] }),
      'it has an unknown change: {"target":"bucket","setting":"cors","was":null',
    ],
    [bad({ changes: [{ ...edit, edits: {} }] }), 'it has an unknown change: {"target":"distribution"'],
    [bad({ changes: [{ ...edit, edits: undefined }] }), 'it has an unknown change: {"target":"distribution"'],
    [bad({ changes: [{ ...edit, target: 'cdn' }] }), 'it has an unknown change: {"target":"cdn"'],
    [
      bad({ changes: [{ ...change, target: 'distribution' }] }),
      'it has an unknown change: {"target":"distribution"',
    ],
    [bad({ changes: [{ ...edit, target: 'bucket' }] }), 'it has an unknown change: {"target":"bucket"'],
    [
      bad({ changes: [{ ...edit, target: 'x'.repeat(500) }] }),
      `it has an unknown change: {"target":"${'x'.repeat(89)}`,
    ],
  ])('%s is no plan', (text, how) => {
    const start = `this is not a plan made by \`autodj bucket plan\`: ${how}`
    expect(() => parseSettingsPlan(text)).toThrow(
      expect.objectContaining({ code: 'plan.damaged', message: expect.stringContaining(start) }),
    )
    // A change is shown in part: it may be as long as a file.
    expect(() => parseSettingsPlan(text)).not.toThrow('x'.repeat(101))
  })

  test('a distribution is taken back edit by edit, last first', () => {
    const edits = [
      { path: ['a'], was: 1, becomes: 2 },
      { path: ['b'], was: null, becomes: 'x' },
    ]
    const create = { Name: 'n' } as never
    const there: SettingChange = { target: 'distribution', setting: 's', edits, create, cost: 'c', why: 'so' }
    const bucket: SettingChange = { target: 'bucket', setting: 'cors', was: null, becomes: {}, why: 'as' }
    expect(undoPlan(plan([there, bucket]), now)).toEqual({
      ...plan([
        { target: 'bucket', setting: 'cors', was: {}, becomes: null, why: 'takes back: as' },
        {
          target: 'distribution',
          setting: 's',
          edits: [
            { path: ['b'], was: 'x', becomes: null },
            { path: ['a'], was: 2, becomes: 1 },
          ],
          why: 'takes back: so',
        },
      ]),
      createdAt: now.toISOString(),
    })
  })

  test.each<[Json, (string | number)[], Json, Json]>([
    [{ a: 1, b: 2 }, ['a'], null, { b: 2 }],
    [{ a: { b: 1, c: 2 } }, ['a', 'b'], null, { a: { c: 2 } }],
    [{ a: 1 }, [], 'x', 'x'],
    [null, ['a', 'b'], 1, { a: { b: 1 } }],
    ['text', ['a'], 1, { a: 1 }],
    [['x', 'y'], [1], 'z', ['x', 'z']],
    [[{ a: 1 }, { a: 2 }], [0, 'a'], null, [{}, { a: 2 }]],
  ])('%j with %j set to %j is %j', (document, path, value, expected) => {
    expect(withValueAt(document, path, value)).toEqual(expected)
  })

  test.each<[Json, (string | number)[], Json]>([
    [{ a: [1, { b: 2 }] }, ['a', 1, 'b'], 2],
    [{ a: 0 }, ['a'], 0],
    [{ a: null }, ['a', 'b'], null],
    ['text', ['length'], null],
    [null, [], null],
  ])('of %j at %j is %j', (document, path, expected) => {
    expect(valueAt(document, path)).toBe(expected)
  })

  test.each<[Json | undefined, Json | undefined, boolean]>([
    [{ a: null, b: { c: null } }, { b: {} }, true],
    [{ b: 1, a: 2 }, { a: 2, b: 1 }, true],
    [[{ a: null }], [{}], true],
    [undefined, null, true],
    [null, {}, false],
    [[], {}, false],
    [['a'], { 0: 'a' }, false],
    [[null], [], false],
    [[1, 2], [2, 1], false],
    ['1', 1, false],
  ])('%j and %j are one document: %s', (a, b, expected) => {
    expect(sameDocument(a, b)).toBe(expected)
    expect(sameDocument(b, a)).toBe(expected)
  })

  test('values in documents: what is put somewhere is there, and the rest is as it was', () => {
    const document = fc.letrec<{ value: Json }>(tie => ({
      value: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom<Json>('a', 1, true),
        fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('value')),
        fc.array(tie('value'), { maxLength: 3 }),
      ),
    })).value
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('a', 'b', 'c'), document),
        fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 }),
        (whole, path) => {
          const before = valueAt(whole, path)
          const changed = withValueAt(whole, path, 'new')
          // A path through a number or an array's missing member cannot be made.
          if (valueAt(changed, path) !== 'new') return
          if (before !== null) expect(sameDocument(withValueAt(changed, path, before), whole)).toBe(true)
          expect(valueAt(withValueAt(changed, path, null), path)).toBeNull()
        },
      ),
    )
    expect(sameDocument({ a: null, b: 1 }, { b: 1 })).toBe(true)
    expect(sameDocument({ b: 1 }, { b: 2 })).toBe(false)
  })
})

test.each([
  ['temporary', { temporary: true }, 'ok'],
  ['young', { temporary: false, createdAt: new Date('2026-02-01') }, 'warning'],
  ['old', { temporary: false, createdAt: new Date('2025-11-01') }, 'failure'],
  ['of unknown age', { temporary: false }, 'warning'],
])('an access key that is %s', (_, facts, state) => {
  const check = assessAccessKey({ accessKeyId: 'AKIAIOSFODNN7EXAMPLE', ...facts }, new Date('2026-03-01'))
  expect(check.state).toBe(state)
  if (state !== 'ok') expect(check.cure).toMatch(/role/i)
})

test.each([
  ['2025-12-01', undefined, 'warning', 'AKIA…MPLE: a long-term key, 90 days old', /on disk\.$/],
  [
    '2025-11-30',
    undefined,
    'failure',
    'AKIA…MPLE is 91 days old, 90 at most are good practice',
    /on disk\. Until then, make a new key and delete this one\.$/,
  ],
  [
    '2025-11-30',
    'ec2',
    'failure',
    'AKIA…MPLE is 91 days old, 90 at most are good practice; on this EC2 instance a role would do',
    /^Attach an instance profile to it, and take the key out of \.env\.$/,
  ],
] as const)('a key of %s, host %s', (created, host, state, found, cure) => {
  const facts = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', temporary: false, createdAt: new Date(created) }
  const check = assessAccessKey({ ...facts, ...(host && { host }) }, new Date('2026-03-01'))
  expect(check).toMatchObject({ state, found, cure: expect.stringMatching(cure) })
})

test.each([
  [{ GITHUB_ACTIONS: 'true' }, undefined, /GitHub Actions job a role would do/, /OIDC/],
  [
    { ECS_CONTAINER_METADATA_URI_V4: 'http://169.254.170.2/v4/x' },
    'i-0abc',
    /ECS task a role would do/,
    /task role/,
  ],
  [{ KUBERNETES_SERVICE_HOST: '10.0.0.1' }, 'i-0abc', /pod a role would do/, /service account/],
  [{}, 'i-0123456789abcdef0\n', /EC2 instance a role would do/, /instance profile/],
  [{}, 'Not Specified\n', /days old$/, /Roles Anywhere/],
  [{}, 'xi-0abc', /days old$/, /Roles Anywhere/],
  [{}, 'i-0abc of a rack', /days old$/, /Roles Anywhere/],
  [{ GITHUB_ACTIONS: 'false' }, undefined, /days old$/, /Roles Anywhere/],
  [{}, undefined, /days old$/, /Roles Anywhere/],
])('whether a role would do where it runs: %o, asset tag %s', (env, assetTag, found, cure) => {
  const check = assessAccessKey(
    {
      accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
      temporary: false,
      createdAt: new Date('2026-02-27'),
      host: awsHost(env, assetTag),
    },
    new Date('2026-03-01'),
  )
  expect(check.found).toMatch(found)
  expect(check.cure).toMatch(cure)
})

test.each([
  [['d1.cloudfront.net'], 'D1.cloudfront.net', true],
  [['d1.cloudfront.net', 'cdn.example.com'], 'cdn.example.com', true],
  [['d1.cloudfront.net', '*.example.com'], 'cdn.example.com', true],
  [['d1.cloudfront.net', '*.example.com'], 'a.cdn.example.com', false],
  [['d1.cloudfront.net', '*.example.com'], 'example.com', false],
  [['d1.cloudfront.net'], 'd2.cloudfront.net', false],
])('names %j answer to %s: %s', (names, hostname, expected) => {
  expect(answersTo(names, hostname)).toBe(expected)
})

describe('what changes from one document to another', () => {
  const rule = (ID: string, more: JsonObject = {}): JsonObject => ({ ID, Status: 'Enabled', ...more })
  test.each<[string, Json, Json, ReturnType<typeof differences>]>([
    ['nothing', { Rules: [rule('a')] }, { Rules: [rule('a')] }, []],
    ['members that are null or missing are alike', { Status: null }, {}, []],
    [
      'a rule more, the others stay',
      { Rules: [rule('a'), rule('b')] },
      { Rules: [rule('a'), rule('b'), rule('c')] },
      [{ member: 'Rules', removed: [], added: [rule('c')], kept: 2 }],
    ],
    [
      'a rule replaced',
      { Rules: [rule('a'), rule('b', { Days: 1 })] },
      { Rules: [rule('a'), rule('b', { Days: 2 })] },
      [{ member: 'Rules', removed: [rule('b', { Days: 1 })], added: [rule('b', { Days: 2 })], kept: 1 }],
    ],
    [
      'a first document',
      null,
      { Status: 'Enabled' },
      [{ member: 'Status', removed: [], added: ['Enabled'], kept: 0 }],
    ],
    [
      'none any more',
      { Status: 'Enabled' },
      null,
      [{ member: 'Status', removed: ['Enabled'], added: [], kept: 0 }],
    ],
    [
      'one member of two',
      { a: [1], b: { c: 1 } },
      { a: [1], b: { c: 2 } },
      [{ member: 'b', removed: [{ c: 1 }], added: [{ c: 2 }], kept: 0 }],
    ],
    [
      'a word made a list, and a list a word',
      { a: 'x', b: ['x', 'y'] },
      { a: ['x', 'y'], b: 'y' },
      [
        { member: 'a', removed: [], added: ['y'], kept: 1 },
        { member: 'b', removed: ['x'], added: [], kept: 1 },
      ],
    ],
    ['no document at all', 'x', { a: 1 }, [{ member: '', removed: ['x'], added: [{ a: 1 }], kept: 0 }]],
    ['a list for a document', { a: 1 }, [1], [{ member: '', removed: [{ a: 1 }], added: [[1]], kept: 0 }]],
    ['a word that stays', 'x', 'x', []],
    [
      'a flag',
      { BlockPublicAcls: false },
      { BlockPublicAcls: true },
      [{ member: 'BlockPublicAcls', removed: [false], added: [true], kept: 0 }],
    ],
  ])('%s', (_, was, becomes, expected) => {
    expect(differences(was, becomes)).toEqual(expected)
  })

  test('no change goes unsaid, and nothing is said of what stays', () => {
    const value = fc.dictionary(
      fc.constantFrom('a', 'b', 'c'),
      fc.oneof(fc.integer(), fc.boolean(), fc.array(fc.integer({ max: 3, min: 0 }), { maxLength: 4 })),
    ) as fc.Arbitrary<JsonObject>
    fc.assert(
      fc.property(value, value, (was, becomes) => {
        const found = differences(was, becomes)
        for (const { removed, added } of found) {
          for (const one of added) expect(removed.some(other => sameDocument(one, other))).toBe(false)
        }
        expect(differences(was, was)).toEqual([])
        if (sameDocument(was, becomes)) expect(found).toEqual([])
        else expect(found.length).toBeGreaterThan(0)
      }),
    )
  })
})
