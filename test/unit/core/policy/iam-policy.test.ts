import { describe, expect, test } from 'vitest'
import { commands } from '../../../../src/commands.ts'
import { commandsNamed, iamPolicy, policyCommands } from '../../../../src/core/policy/iam-policy.ts'
import { UsageError } from '../../../../src/errors.ts'

const place = { bucket: 'music', keyPrefix: 'audio/', distributionId: 'E1' }
const actionsOf = (command: string, more = {}) =>
  iamPolicy(command, { ...place, ...more }).policy.Statement.flatMap(({ Action }) => Action)

test('there is one for every command that could need one', () => {
  const without = ['demo', 'policy']
  const missing = commands
    .map(({ name }) => name)
    .filter(name => ![...policyCommands, ...without].includes(name))
  expect(missing).toEqual([])
})

test('upload-local, as it is pasted into IAM', () => {
  expect(iamPolicy('upload-local', place).policy).toEqual({
    Version: '2012-10-17',
    Statement: [
      {
        Sid: 'Bucket',
        Effect: 'Allow',
        Action: ['s3:ListBucket', 's3:ListBucketMultipartUploads'],
        Resource: ['arn:aws:s3:::music'],
      },
      {
        Sid: 'NewObjects',
        Effect: 'Allow',
        Action: ['s3:AbortMultipartUpload', 's3:GetObject', 's3:ListMultipartUploadParts', 's3:PutObject'],
        Resource: ['arn:aws:s3:::music/audio/*'],
      },
    ],
  })
})

test.each(policyCommands)('%s: no wildcard action, no foreign bucket, Sids that IAM takes', command => {
  const { policy } = iamPolicy(command, place)
  for (const { Sid, Action, Resource } of policy.Statement) {
    expect(Sid).toMatch(/^[A-Za-z0-9]+$/)
    expect(Action.length).toBeGreaterThan(0)
    for (const action of Action) expect(action).toMatch(/^(s3|cloudfront|cloudwatch|iam):[A-Za-z]+$/)
    for (const resource of Resource) {
      if (resource === '*') expect(Action.every(action => /^cloud(front|watch):/.test(action))).toBe(true)
      else
        expect(resource).toMatch(
          /^arn:aws:(s3:::music(\/|$)|cloudfront::\*:distribution\/E1$|iam::\*:user\/\$\{aws:username\}$)/,
        )
    }
  }
  const sids = policy.Statement.map(({ Sid }) => Sid)
  expect(new Set(sids).size).toBe(sids.length)
})

describe('more only where asked for', () => {
  test('KMS: decrypt to read, a data key to write', () => {
    const kmsKey = 'arn:aws:kms:eu-central-1:1:key/x'
    expect(actionsOf('upload-local', { kmsKey })).toEqual(
      expect.arrayContaining(['kms:Decrypt', 'kms:GenerateDataKey']),
    )
    expect(actionsOf('restore', { kmsKey })).toContain('kms:Decrypt')
    expect(actionsOf('restore', { kmsKey })).not.toContain('kms:GenerateDataKey')
    expect(actionsOf('serve', { kmsKey })).toEqual([])
  })

  test('tags and ACLs', () => {
    expect(actionsOf('upload-local')).not.toContain('s3:PutObjectTagging')
    expect(actionsOf('upload-local', { tags: true, acl: true })).toEqual(
      expect.arrayContaining(['s3:PutObjectTagging', 's3:PutObjectAcl']),
    )
  })

  test('CloudFront only with a distribution; another partition in every ARN', () => {
    expect(
      actionsOf('bucket check', { distributionId: undefined }).some(action =>
        action.startsWith('cloudfront:'),
      ),
    ).toBe(false)
    const china = iamPolicy('bucket apply', { ...place, partition: 'aws-cn' }).policy
    for (const { Resource } of china.Statement) {
      for (const resource of Resource)
        expect(resource === '*' || resource.startsWith('arn:aws-cn:')).toBe(true)
    }
  })

  test('nobody deletes objects but those whose work it is', () => {
    const deleting = policyCommands.filter(command =>
      actionsOf(command).some(action => action.startsWith('s3:DeleteObject')),
    )
    expect(deleting).toEqual(['doctor', 'fetch', 'apply', 'undo', 'cleanup', 'worker', 'run'])
  })
})

test('a command that is none', () => {
  expect(() => iamPolicy('rm -rf', place)).toThrow(UsageError)
})

describe('several commands', () => {
  test('are one policy that allows what each of them needs, and no action twice', () => {
    const names = ['upload-local', 'verify', 'cleanup']
    const { Statement } = iamPolicy(names, place).policy
    const allows = (action: string, resource: string) =>
      Statement.some(
        one =>
          one.Action.includes(action) &&
          one.Resource.some(pattern => new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(resource)),
      )
    for (const name of names) {
      for (const { Action, Resource } of iamPolicy(name, place).policy.Statement) {
        for (const action of Action)
          for (const resource of Resource)
            expect(allows(action, resource.replaceAll('*', 'x')), `${name}: ${action}`).toBe(true)
      }
    }
    const objects = Statement.filter(one => one.Sid !== 'Bucket').flatMap(one => one.Action)
    expect(new Set(objects).size).toBe(objects.length)
  })

  test('run needs what its steps need; words are commands of one word or two', () => {
    expect(iamPolicy('run', place).policy).toEqual(
      iamPolicy(['upload-local', 'fetch', 'analyze', 'verify', 'reconcile', 'cleanup'], place).policy,
    )
    expect(commandsNamed(['bucket', 'apply', 'upload-local'])).toEqual(['bucket apply', 'upload-local'])
    expect(() => iamPolicy(commandsNamed(['upload-local', 'nonsense']), place)).toThrow(
      'no policy exists for "nonsense"',
    )
  })
})
