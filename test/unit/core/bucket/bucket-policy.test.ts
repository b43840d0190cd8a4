/** Statements are written as the IAM User Guide has them ("Grammar of the IAM JSON policy language"). */
import { describe, expect, test } from 'vitest'
import type { Observed } from '../../../../src/core/bucket/assessment.ts'
import { policyOfBucket } from '../../../../src/core/bucket/bucket-policy.ts'
import type { Json, JsonObject } from '../../../../src/core/bucket/plan.ts'

const arn = 'arn:aws:cloudfront::123456789012:distribution/E1'
const look = (observed: Observed, of = arn) => policyOfBucket({ id: 'E1', arn: of }, observed, 'music')
const policy = (...statements: JsonObject[]): Observed => ({
  state: 'set',
  value: { Version: '2008-10-17', Id: 'keep', Statement: statements },
})
const said = (observed: Observed, of?: string) =>
  look(observed, of).checks.map(({ setting, state, found }) => `${setting} ${state}: ${found}`)
const ours: JsonObject = {
  Sid: 'AutodjAllowCloudFrontRead',
  Effect: 'Allow',
  Principal: { Service: 'cloudfront.amazonaws.com' },
  Action: 's3:GetObject',
  Resource: 'arn:aws:s3:::music/*',
  Condition: { StringEquals: { 'AWS:SourceArn': arn } },
}

describe('whether the distribution may read', () => {
  const other = 'arn:aws:cloudfront::123456789012:distribution/E2'
  test.each<[string, JsonObject, boolean]>([
    ['ours', ours, true],
    [
      'lists for words',
      {
        ...ours,
        Principal: { Service: ['x', 'cloudfront.amazonaws.com'] },
        Action: ['s3:ListBucket', 's3:GetObject'],
      },
      true,
    ],
    [
      'of several distributions',
      { ...ours, Condition: { StringEquals: { 'aws:sourcearn': [other, arn] } } },
      true,
    ],
    ...['StringEquals', 'ArnEquals', 'StringLike', 'ArnLike'].map(
      (operator): [string, JsonObject, boolean] => [
        `by ${operator}`,
        { ...ours, Condition: { [operator]: { 'aws:SourceArn': arn } } },
        true,
      ],
    ),
    ...['*', 's3:*', 's3:Get*', 'S3:GetObject', 's3:GetObject*', 's3:Get?bject'].map(
      (Action): [string, JsonObject, boolean] => [`by ${Action}`, { ...ours, Action }, true],
    ),
    ...['s3:GetObjectAcl', 'xs3:GetObject', 's3:PutObject', 's3:List*', 'kms:*'].map(
      (Action): [string, JsonObject, boolean] => [`by ${Action} alone`, { ...ours, Action }, false],
    ),
    ['denied', { ...ours, Effect: 'Deny' }, false],
    ['another service', { ...ours, Principal: { Service: 's3.amazonaws.com' } }, false],
    [
      'no principal',
      { Effect: 'Allow', Action: 's3:GetObject', Condition: ours['Condition'] as Json },
      false,
    ],
    ['without a condition', { ...ours, Condition: null }, false],
    ['another distribution', { ...ours, Condition: { StringEquals: { 'AWS:SourceArn': other } } }, false],
    ['unless it is this one', { ...ours, Condition: { StringNotEquals: { 'AWS:SourceArn': arn } } }, false],
    ['another condition', { ...ours, Condition: { StringEquals: { 'AWS:PrincipalArn': arn } } }, false],
  ])('%s', (_, statement, allowed) => {
    const { checks, changes } = look(policy({ Sid: 'first', Effect: 'Deny' }, statement))
    expect(checks.map(({ setting, state }) => [setting, state])).toEqual([
      ['bucket-policy', allowed ? 'ok' : 'failure'],
    ])
    expect(changes.length).toBe(allowed ? 0 : 1)
  })

  test('a policy of one statement need not be a list', () => {
    expect(said({ state: 'set', value: { Statement: ours } })).toEqual([
      'bucket-policy ok: allows E1 to read',
    ])
  })

  test('ours for another distribution is replaced, what others wrote stays', () => {
    const theirs = { ...ours, Sid: 'theirs', Principal: { AWS: 'arn:aws:iam::123456789012:root' } }
    const old = { ...ours, Condition: { StringEquals: { 'AWS:SourceArn': other } } }
    const { checks, changes } = look(policy(old, theirs))
    expect(checks[0]?.found).toBe('allows another distribution to read, not this one')
    expect(changes).toMatchObject([
      { becomes: { Version: '2008-10-17', Id: 'keep', Statement: [theirs, ours] } },
    ])
    expect((changes[0] as { becomes: JsonObject }).becomes['Statement']).toHaveLength(2)
    expect(said(policy(theirs))).toEqual(['bucket-policy failure: does not allow E1 to read'])
  })

  test('where there is none, ours is the whole; in China it is of that partition', () => {
    expect(look({ state: 'unset' }).changes).toMatchObject([
      {
        target: 'bucket',
        setting: 'bucket-policy',
        was: null,
        becomes: { Version: '2012-10-17', Statement: [ours] },
      },
    ])
    const china = arn.replace('arn:aws:', 'arn:aws-cn:')
    expect(look({ state: 'unset' }, china).changes).toMatchObject([
      { becomes: { Statement: [{ Resource: 'arn:aws-cn:s3:::music/*' }] } },
    ])
  })

  test('what may not be read is left alone', () => {
    expect(said({ state: 'unknown', reason: 'denied' })).toEqual([
      'bucket-policy skipped: could not be read: denied',
    ])
  })
})

describe('whether anyone may read', () => {
  const open = { Sid: 'Public', Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: 'x' }
  test.each<[string, JsonObject, boolean]>([
    ['a star', open, true],
    ['any account', { ...open, Principal: { AWS: '*' } }, true],
    ['any account among others', { ...open, Principal: { AWS: ['123456789012', '*'] } }, true],
    ...['*', 's3:*', 's3:Get*', 'S3:GETOBJECT', 's3:GetObject*', 's3:?etObject'].map(
      (Action): [string, JsonObject, boolean] => [`by ${Action}`, { ...open, Action }, true],
    ),
    ['by one of several actions', { ...open, Action: ['s3:ListBucket', 's3:GetObject'] }, true],
    ['by other actions', { ...open, Action: ['s3:ListBucket', 's3:GetObjectAcl', 'xs3:GetObject'] }, false],
    ['denied', { ...open, Effect: 'Deny' }, false],
    ['on a condition', { ...open, Condition: { StringEquals: { 'aws:SourceVpc': 'vpc-1' } } }, false],
    ['one account', { ...open, Principal: { AWS: '123456789012' } }, false],
    ['a service', { ...open, Principal: { Service: '*' } }, false],
    ['nobody', { ...open, Principal: null }, false],
    ['no principal', { Effect: 'Allow', Action: '*' }, false],
  ])('%s', (_, statement, isOpen) => {
    const found = said(policy(ours, statement)).slice(1)
    expect(found).toEqual(
      isOpen ? ['bucket-policy-public failure: statement Public allows anyone to read'] : [],
    )
  })

  test('it is said beside what has to be changed, and of a statement without a name', () => {
    const { Sid: _, ...nameless } = open
    expect(said(policy(nameless))).toEqual([
      'bucket-policy failure: does not allow E1 to read',
      'bucket-policy-public failure: statement (no Sid) allows anyone to read',
    ])
  })
})
