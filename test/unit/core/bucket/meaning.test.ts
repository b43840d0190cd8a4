import { expect, test } from 'vitest'
import { sameSetting } from '../../../../src/core/bucket/meaning.ts'
import type { BucketSetting, Json } from '../../../../src/core/bucket/plan.ts'

const rule = (ID: string, more: { [name: string]: Json } = {}): Json => ({
  ID,
  Status: 'Enabled',
  Filter: { Prefix: 'audio/' },
  Expiration: { Days: 30 },
  ...more,
})

test.for<[what: string, setting: BucketSetting, a: Json, b: Json]>([
  [
    'the default that AWS adds',
    'lifecycle',
    { Rules: [rule('a')] },
    { Rules: [rule('a')], TransitionDefaultMinimumObjectSize: 'all_storage_classes_128K' },
  ],
  ['rules that AWS sorts', 'lifecycle', { Rules: [rule('b'), rule('a')] }, { Rules: [rule('a'), rule('b')] }],
  [
    'Prefix for Filter.Prefix',
    'lifecycle',
    { Rules: [rule('a')] },
    { Rules: [{ ID: 'a', Status: 'Enabled', Prefix: 'audio/', Expiration: { Days: 30 } }] },
  ],
  [
    'a filter for everything',
    'lifecycle',
    { Rules: [rule('a', { Filter: { Prefix: '' } })] },
    {
      Rules: [
        {
          ID: 'a',
          Status: 'Enabled',
          Filter: {},
          Expiration: { Days: 30, ExpiredObjectDeleteMarker: false },
        },
      ],
    },
  ],
  [
    'And of one prefix',
    'lifecycle',
    { Rules: [rule('a')] },
    { Rules: [rule('a', { Filter: { And: { Prefix: 'audio/' } } })] },
  ],
  [
    'one tag, or a list of it',
    'lifecycle',
    { Rules: [rule('a', { Filter: { Tag: { Key: 'k', Value: 'v' } } })] },
    { Rules: [rule('a', { Filter: { And: { Tags: [{ Key: 'k', Value: 'v' }] } } })] },
  ],
  [
    'dates',
    'lifecycle',
    { Rules: [rule('a', { Expiration: { Date: '2027-01-01T00:00:00.000Z' } })] },
    { Rules: [rule('a', { Expiration: { Date: '2027-01-01T00:00:00Z' } })] },
  ],
  [
    'the default of encryption',
    'encryption',
    { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] },
    { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' }, BucketKeyEnabled: false }] },
  ],
  [
    'members left out',
    'public-access-block',
    { BlockPublicAcls: true },
    { BlockPublicAcls: true, IgnorePublicAcls: false },
  ],
  [
    'the order of methods, the case of headers',
    'cors',
    { CORSRules: [{ AllowedMethods: ['GET', 'HEAD'], AllowedHeaders: ['Range'] }] },
    { CORSRules: [{ AllowedMethods: ['HEAD', 'GET'], AllowedHeaders: ['range'] }] },
  ],
  [
    'the plain key format',
    'access-logging',
    { LoggingEnabled: { TargetBucket: 'logs', TargetPrefix: '' } },
    { LoggingEnabled: { TargetBucket: 'logs', TargetObjectKeyFormat: { SimplePrefix: {} } } },
  ],
  [
    'words for lists of one, truth as text, everybody',
    'bucket-policy',
    {
      Statement: [
        {
          Effect: 'Deny',
          Principal: '*',
          Action: 's3:*',
          Resource: ['b', 'a'],
          Condition: { Bool: { 'aws:SecureTransport': false } },
        },
      ],
    },
    {
      Statement: [
        {
          Effect: 'Deny',
          Principal: { AWS: '*' },
          Action: ['s3:*'],
          Resource: ['a', 'b'],
          Condition: { Bool: { 'aws:SecureTransport': 'false' } },
        },
      ],
    },
  ],
  [
    'MFA delete that is off',
    'versioning',
    { Status: 'Enabled' },
    { Status: 'Enabled', MFADelete: 'Disabled' },
  ],
  [
    'flags that are off',
    'public-access-block',
    {},
    {
      BlockPublicAcls: false,
      IgnorePublicAcls: false,
      BlockPublicPolicy: false,
      RestrictPublicBuckets: false,
    },
  ],
  ['members that are null', 'public-access-block', { BlockPublicAcls: null }, {}],
  [
    'a prefix that is null',
    'access-logging',
    { LoggingEnabled: { TargetBucket: 'l', TargetPrefix: null } },
    { LoggingEnabled: { TargetBucket: 'l', TargetPrefix: '' } },
  ],
  [
    'rules without an expiration',
    'lifecycle',
    {
      Rules: [
        {
          ID: 'a',
          Status: 'Enabled',
          Prefix: '',
          AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
        },
      ],
    },
    {
      Rules: [
        {
          ID: 'a',
          Status: 'Enabled',
          Filter: {},
          Expiration: null,
          AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
        },
      ],
    },
  ],
  [
    'the order of transitions and tags',
    'lifecycle',
    {
      Rules: [
        rule('a', {
          Transitions: [
            { Days: 30, StorageClass: 'STANDARD_IA' },
            { Days: 90, StorageClass: 'GLACIER' },
          ],
          Filter: {
            And: {
              Tags: [
                { Key: 'k', Value: 'v' },
                { Key: 'l', Value: 'w' },
              ],
            },
          },
        }),
      ],
    },
    {
      Rules: [
        rule('a', {
          Transitions: [
            { StorageClass: 'GLACIER', Days: 90 },
            { Days: 30, StorageClass: 'STANDARD_IA' },
          ],
          Filter: {
            And: {
              Tags: [
                { Key: 'l', Value: 'w' },
                { Value: 'v', Key: 'k' },
              ],
            },
          },
        }),
      ],
    },
  ],
  [
    'dates to the second',
    'lifecycle',
    { Rules: [rule('a', { Transitions: [{ Date: '2027-01-01T00:00:00.750Z', StorageClass: 'GLACIER' }] })] },
    { Rules: [rule('a', { Transitions: [{ Date: '2027-01-01T00:00:00Z', StorageClass: 'GLACIER' }] })] },
  ],
  ['no rules', 'lifecycle', { Rules: [] }, {}],
  [
    'a CORS rule without headers',
    'cors',
    { CORSRules: [{ AllowedMethods: ['GET'] }] },
    { CORSRules: [{ AllowedMethods: ['GET'], AllowedHeaders: null }] },
  ],
  ['no logging', 'access-logging', {}, { LoggingEnabled: null }],
  [
    'everything it does not do',
    'bucket-policy',
    { Statement: { NotPrincipal: { AWS: 'a' }, NotAction: 's3:*', NotResource: ['b'] } },
    {
      Version: '2012-10-17',
      Statement: [{ NotPrincipal: { AWS: ['a'] }, NotAction: ['s3:*'], NotResource: 'b' }],
    },
  ],
  [
    'members of a statement that are null',
    'bucket-policy',
    { Statement: [{ Principal: null, Condition: null }] },
    { Statement: [{}] },
  ],
  [
    'ownership',
    'object-ownership',
    { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
    { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
  ],
])('the same: %s (%s)', ([, setting, a, b]) => {
  expect(sameSetting(setting, a, b)).toBe(true)
  expect(sameSetting(setting, b, a)).toBe(true)
})

test.for<[what: string, setting: BucketSetting, a: Json, b: Json]>([
  [
    'another prefix',
    'lifecycle',
    { Rules: [rule('a')] },
    { Rules: [rule('a', { Filter: { Prefix: 'x/' } })] },
  ],
  ['another age', 'lifecycle', { Rules: [rule('a')] }, { Rules: [rule('a', { Expiration: { Days: 31 } })] }],
  ['a rule more', 'lifecycle', { Rules: [rule('a')] }, { Rules: [rule('a'), rule('b')] }],
  ['disabled', 'lifecycle', { Rules: [rule('a')] }, { Rules: [rule('a', { Status: 'Disabled' })] }],
  [
    'small objects too',
    'lifecycle',
    { Rules: [rule('a')] },
    { Rules: [rule('a')], TransitionDefaultMinimumObjectSize: 'varies_by_storage_class' },
  ],
  [
    'a tag more',
    'lifecycle',
    { Rules: [rule('a')] },
    { Rules: [rule('a', { Filter: { And: { Prefix: 'audio/', Tags: [{ Key: 'k', Value: 'v' }] } } })] },
  ],
  [
    'a bucket key',
    'encryption',
    { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' } }] },
    { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' }, BucketKeyEnabled: true }] },
  ],
  [
    'the order of CORS rules',
    'cors',
    { CORSRules: [{ ID: 'a' }, { ID: 'b' }] },
    { CORSRules: [{ ID: 'b' }, { ID: 'a' }] },
  ],
  ['nothing at all', 'bucket-policy', null, { Statement: [] }],
  [
    'another action',
    'bucket-policy',
    { Statement: [{ Action: 's3:Get*' }] },
    { Statement: [{ Action: 's3:*' }] },
  ],
  ['a flag', 'public-access-block', { BlockPublicPolicy: true }, {}],
  ['suspended', 'versioning', { Status: 'Enabled' }, { Status: 'Suspended' }],
  ['MFA delete', 'versioning', { Status: 'Enabled', MFADelete: 'Enabled' }, { Status: 'Enabled' }],
  [
    'who owns',
    'object-ownership',
    { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
    { Rules: [{ ObjectOwnership: 'ObjectWriter' }] },
  ],
  [
    'another algorithm',
    'encryption',
    { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' } }] },
    { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] },
  ],
  [
    'another log bucket',
    'access-logging',
    { LoggingEnabled: { TargetBucket: 'a' } },
    { LoggingEnabled: { TargetBucket: 'b' } },
  ],
  [
    'another log prefix',
    'access-logging',
    { LoggingEnabled: { TargetBucket: 'a', TargetPrefix: 'x/' } },
    { LoggingEnabled: { TargetBucket: 'a' } },
  ],
  [
    'logs by date',
    'access-logging',
    {
      LoggingEnabled: {
        TargetBucket: 'a',
        TargetObjectKeyFormat: { PartitionedPrefix: { PartitionDateSource: 'EventTime' } },
      },
    },
    { LoggingEnabled: { TargetBucket: 'a' } },
  ],
  ['no logs', 'access-logging', { LoggingEnabled: null }, { LoggingEnabled: { TargetBucket: 'a' } }],
  [
    'a transition more',
    'lifecycle',
    { Rules: [rule('a', { Transitions: [{ Days: 30, StorageClass: 'STANDARD_IA' }] })] },
    { Rules: [rule('a', { Transitions: [{ Days: 31, StorageClass: 'STANDARD_IA' }] })] },
  ],
  [
    'another date',
    'lifecycle',
    { Rules: [rule('a', { Expiration: { Date: '2027-01-01T00:00:00Z' } })] },
    { Rules: [rule('a', { Expiration: { Date: '2027-01-01T00:00:01Z' } })] },
  ],
  [
    'a date that is none',
    'lifecycle',
    { Rules: [rule('a', { Expiration: { Date: 'soon' } })] },
    { Rules: [rule('a', { Expiration: { Date: 'late' } })] },
  ],
  [
    'markers, too',
    'lifecycle',
    { Rules: [rule('a', { Expiration: { ExpiredObjectDeleteMarker: true } })] },
    { Rules: [rule('a', { Expiration: { ExpiredObjectDeleteMarker: false } })] },
  ],
  [
    'a size',
    'lifecycle',
    { Rules: [rule('a', { Filter: { ObjectSizeGreaterThan: 1 } })] },
    { Rules: [rule('a', { Filter: {} })] },
  ],
  [
    'a size beside a prefix',
    'lifecycle',
    { Rules: [rule('a', { Filter: { And: { Prefix: 'audio/', ObjectSizeGreaterThan: 1 } } })] },
    { Rules: [rule('a')] },
  ],
  [
    'another tag',
    'lifecycle',
    { Rules: [rule('a', { Filter: { Tag: { Key: 'k', Value: 'v' } } })] },
    { Rules: [rule('a', { Filter: { Tag: { Key: 'k', Value: 'w' } } })] },
  ],
  [
    'another origin',
    'cors',
    { CORSRules: [{ AllowedOrigins: ['https://a'] }] },
    { CORSRules: [{ AllowedOrigins: ['https://b'] }] },
  ],
  [
    'another header',
    'cors',
    { CORSRules: [{ AllowedHeaders: ['a'] }] },
    { CORSRules: [{ AllowedHeaders: ['b'] }] },
  ],
  ...['Action', 'NotAction', 'Resource', 'NotResource', 'Effect'].map(
    (name): [string, BucketSetting, Json, Json] => [
      `another ${name}`,
      'bucket-policy',
      { Statement: [{ [name]: ['a'] }] },
      { Statement: [{ [name]: ['b'] }] },
    ],
  ),
  ...['Principal', 'NotPrincipal'].map((name): [string, BucketSetting, Json, Json] => [
    `another ${name}`,
    'bucket-policy',
    { Statement: [{ [name]: { AWS: 'a' } }] },
    { Statement: [{ [name]: { AWS: ['b'] } }] },
  ]),
  [
    'one, not everybody',
    'bucket-policy',
    { Statement: [{ Principal: '*' }] },
    { Statement: [{ Principal: { AWS: 'a' } }] },
  ],
  [
    'a service, not an account',
    'bucket-policy',
    { Statement: [{ Principal: { AWS: 'a' } }] },
    { Statement: [{ Principal: { Service: 'a' } }] },
  ],
  [
    'another value of a condition',
    'bucket-policy',
    { Statement: [{ Condition: { Bool: { x: 'true' } } }] },
    { Statement: [{ Condition: { Bool: { x: 'false' } } }] },
  ],
  [
    'another test of a condition',
    'bucket-policy',
    { Statement: [{ Condition: { StringLike: { x: 'a' } } }] },
    { Statement: [{ Condition: { StringEquals: { x: 'a' } } }] },
  ],
  // Whatever a store answers with is compared, not read.
  ...(['encryption', 'lifecycle', 'cors', 'bucket-policy', 'access-logging'] as const).map(
    (setting): [string, BucketSetting, Json, Json] => {
      const member = {
        encryption: 'Rules',
        lifecycle: 'Rules',
        cors: 'CORSRules',
        'bucket-policy': 'Statement',
        'access-logging': 'LoggingEnabled',
      }[setting]
      return ['what is no rule', setting, { [member]: ['x', null] }, { [member]: ['y', null] }]
    },
  ),
])('not the same: %s (%s)', ([, setting, a, b]) => {
  expect(sameSetting(setting, a, b)).toBe(false)
})
