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
])('not the same: %s (%s)', ([, setting, a, b]) => {
  expect(sameSetting(setting, a, b)).toBe(false)
})
