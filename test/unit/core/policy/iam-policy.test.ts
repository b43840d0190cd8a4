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
    expect(actionsOf('serve', { kmsKey })).toEqual(['s3:ListBucket'])
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

  const statements = (command: string | string[], more = {}) =>
    Object.fromEntries(
      iamPolicy(command, { ...place, ...more }).policy.Statement.map(({ Sid, Action, Resource }) => [
        Sid,
        [Action.join(), Resource.join()],
      ]),
    )

  test('tags and ACLs are of what uploads, not of what fetches or reads', () => {
    const all = { tags: true, acl: true }
    expect(actionsOf('upload-local', { tags: true })).not.toContain('s3:PutObjectAcl')
    expect(actionsOf('upload-local', { acl: true })).not.toContain('s3:PutObjectTagging')
    for (const command of ['fetch', 'analyze', 'restore'])
      expect(actionsOf(command, all)).toEqual(actionsOf(command))
  })

  test('a key is named once, for what reads or writes objects', () => {
    const kmsKey = 'arn:aws:kms:eu-central-1:1:key/x'
    expect(statements('doctor', { kmsKey })['Key']).toEqual(['kms:Decrypt,kms:GenerateDataKey', kmsKey])
    expect(statements('verify', { kmsKey })['Key']).toEqual(['kms:Decrypt', kmsKey])
    expect(statements(['verify', 'analyze'], { kmsKey })['Key']).toEqual(['kms:Decrypt', kmsKey])
    expect(statements(['verify', 'apply'], { kmsKey })['Key']).toEqual([
      'kms:Decrypt,kms:GenerateDataKey',
      kmsKey,
    ])
    for (const command of ['bucket check', 'init', 'serve'])
      expect(statements(command, { kmsKey })['Key']).toBeUndefined()
    expect(statements('verify')['Key']).toBeUndefined()
  })

  test('an inventory is read where its reports lie, by reconcile alone', () => {
    const read = (inventory: string, command: string | string[] = 'reconcile') =>
      statements(command, { inventory })['Inventory']
    expect(read('s3://logs/inventory/music/all/2026-01-01T00-00Z/manifest.json')).toEqual([
      's3:GetObject',
      'arn:aws:s3:::logs/inventory/music/all/*',
    ])
    expect(read('s3://logs/2026-01-01T00-00Z/manifest.json')).toEqual(['s3:GetObject', 'arn:aws:s3:::logs/*'])
    expect(read('s3://logs/a/b/manifest.json', ['verify', 'reconcile'])?.[1]).toBe('arn:aws:s3:::logs/a/*')
    expect(read('s3://logs/a/b/manifest.json', 'verify')).toBeUndefined()
    for (const none of ['/tmp/manifest.json', 's3://logs/', 'xs3://logs/a/b', 's3:///a/b'])
      expect(read(none)).toBeUndefined()
    expect(statements('reconcile')['Inventory']).toBeUndefined()
  })

  test('each kind of place has its resource', () => {
    expect(statements('fetch')).toMatchObject({
      Objects: ['s3:GetObject', 'arn:aws:s3:::music/*'],
      Staging: ['s3:DeleteObject', 'arn:aws:s3:::music/audio/.incoming/*'],
    })
    expect(statements('cleanup')['Quarantine']).toEqual([
      's3:DeleteObject',
      'arn:aws:s3:::music/quarantine/*',
    ])
    expect(statements('doctor')['ProbeObject']?.[1]).toBe('arn:aws:s3:::music/audio/.autodj-doctor/*')
    expect(statements('bucket check')).toMatchObject({
      Distribution: ['cloudfront:GetDistribution', 'arn:aws:cloudfront::*:distribution/E1'],
      CloudFront: ['cloudfront:GetCachePolicy,cloudfront:GetOriginAccessControl', '*'],
      OwnAccessKeys: ['iam:ListAccessKeys', `arn:aws:iam::*:user/\${aws:username}`],
    })
    expect(iamPolicy('import', place).policy.Statement).toEqual([])
  })

  test('what should be known is said once, of those that need something', () => {
    const note = (command: string | string[]) => iamPolicy(command, place).note
    expect(note('analyze')).toBeUndefined()
    expect(note('import')).toBe('makes no AWS request that needs a permission')
    expect(note('serve')).toMatch(/\/health alone/)
    expect(note(['import', 'analyze'])).toBeUndefined()
    expect(note(['upload-local', 'fetch', 'import'])).toBe(note('upload-local'))
    expect(note(['verify', 'undo'])).toBe(`${note('verify')}; ${note('undo')}`)
  })

  test('nobody deletes objects but those whose work it is', () => {
    const deleting = policyCommands.filter(command =>
      actionsOf(command).some(action => action.startsWith('s3:DeleteObject')),
    )
    expect(deleting).toEqual(['doctor', 'fetch', 'apply', 'undo', 'cleanup', 'worker', 'run'])
  })
})

test('a command that is none', () => {
  // The words of JavaScript that every object has a member of are none either.
  for (const word of ['constructor', 'toString', '__proto__'])
    expect(() => iamPolicy(word, place)).toThrow(`no policy exists for "${word}"`)
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
    expect(commandsNamed(['fetch', 'bucket', 'check'])).toEqual(['fetch', 'bucket check'])
    expect(commandsNamed(['bucket'])).toEqual(['bucket'])
    expect(commandsNamed([])).toEqual([])
    expect(() => iamPolicy(commandsNamed(['upload-local', 'nonsense']), place)).toThrow(
      'no policy exists for "nonsense"',
    )
  })
})
