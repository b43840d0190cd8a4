/**
 * `bucket` against the settings documents of the embedded S3 server. CloudFront is the in-memory one of
 * test/support/cloudfront.ts, whose answers follow the documentation; STS and IAM are not asked.
 */

import { readdir, readFile, writeFile } from 'node:fs/promises'
import http from 'node:http'
import path from 'node:path'
import {
  PutBucketCorsCommand,
  PutBucketLifecycleConfigurationCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { BucketFlags } from '../../src/bucket/flags.ts'
import { runBucketApply, runBucketCheck, runBucketPlan } from '../../src/bucket/run.ts'
import { observeBucket } from '../../src/bucket/s3-settings.ts'
import { defineCommand } from '../../src/cli/command.ts'
import { iamPolicy } from '../../src/core/policy/iam-policy.ts'
import { cli } from '../support/cli.ts'
import {
  distributionId,
  type FakeCloudFront,
  fakeCloudFront,
  oldDistribution,
} from '../support/cloudfront.ts'
import { end, listening, urlOf } from '../support/listening.ts'
import { sdk, type TestServer, testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let cwd: string
let s3: TestServer
let client: S3Client
let env: Record<string, string>

beforeEach(async () => {
  cwd = temporaryFolder('bucket')
  s3 = await testServer()
  client = sdk(s3)
  env = {
    ...s3.settings,
    DATABASE_URL: `pglite:${path.join(cwd, 'none')}`,
  }
})
afterEach(async () => {
  client.destroy()
  await s3.close()
})

const bucket = (...argv: string[]) => cli(['bucket', ...argv], { env, cwd })
const writes = () => s3.requests.filter(({ method }) => method !== 'GET' && method !== 'HEAD')

test('check reads, names what is wrong with its cure, and changes nothing', async () => {
  const { exitCode, stdout } = await bucket('check', '--origin', 'https://autodj.example')
  expect(exitCode).toBe(4)
  expect(stdout).toMatch(/^ok {7}public-access-block/m)
  expect(stdout).toMatch(/^failure {2}cors .*https:\/\/autodj\.example/m)
  expect(stdout).toMatch(/^warning {2}lifecycle-uploads/m)
  expect(stdout).toMatch(/^skipped {2}distribution .*CLOUDFRONT_DISTRIBUTION_ID is not set/m)
  expect(writes()).toEqual([])
})

test('plan, apply, content, take it back: the bucket is as it was, and rules of others never moved', async () => {
  const theirs = {
    ID: 'theirs',
    Status: 'Enabled' as const,
    Filter: { Prefix: 'logs/' },
    Expiration: { Days: 3 },
  }
  await client.send(
    new PutBucketLifecycleConfigurationCommand({
      Bucket: 'music',
      LifecycleConfiguration: { Rules: [theirs] },
    }),
  )
  await client.send(
    new PutBucketCorsCommand({
      Bucket: 'music',
      CORSConfiguration: {
        CORSRules: [{ AllowedOrigins: ['https://theirs.example'], AllowedMethods: ['PUT'] }],
      },
    }),
  )
  const before = await observeBucket(client, 'music')
  const wishes = ['--origin', 'https://autodj.example', '--tiering', 'INTELLIGENT_TIERING']
  s3.requests.length = 0

  const planned = await bucket('plan', ...wishes, '--output', 'plan.json')
  expect(planned.exitCode).toBe(0)
  expect(planned.stdout).toMatch(/^ {2}cost: what nobody has read for 30 days costs \$0\.0125 instead of/m)
  expect(planned.stdout).toMatch(/^ {4}CORSRules: 1 kept as it is$/m)
  expect(writes()).toEqual([])

  const applied = await bucket('apply', 'plan.json')
  expect(applied.exitCode).toBe(0)
  expect(applied.stdout).toContain('2 settings changed')
  expect(new Set(writes().map(({ operation }) => operation))).toEqual(
    new Set(['PutBucketCors', 'PutBucketLifecycleConfiguration']),
  )
  const after = await observeBucket(client, 'music')
  expect(after.lifecycle).toMatchObject({
    value: {
      Rules: [
        // S3 sorts them.
        { ID: 'autodj-abort-incomplete-uploads' },
        { ID: 'autodj-tiering', Transitions: [{ Days: 0, StorageClass: 'INTELLIGENT_TIERING' }] },
        { ID: 'theirs', Expiration: { Days: 3 } },
      ],
    },
  })
  expect((await bucket('check', ...wishes)).exitCode).toBe(0)
  expect((await bucket('plan', ...wishes)).stdout).toContain('nothing to change')

  const [undo] = (await readdir(cwd)).filter(name => name.startsWith('autodj-bucket-undo-'))
  expect(applied.stdout).toContain(`autodj bucket apply ${undo}`)
  expect((await bucket('apply', undo!)).exitCode).toBe(0)
  expect(await observeBucket(client, 'music')).toEqual(before)
})

test('applied twice changes once; the second finds everything done', async () => {
  await bucket('plan', '--origin', 'https://autodj.example', '--output', 'plan.json')
  await bucket('apply', 'plan.json')
  s3.requests.length = 0
  const again = await bucket('apply', 'plan.json')
  expect(again.stdout).toContain('everything was already as planned')
  expect(writes()).toEqual([])
})

test('what changed since the plan was made stops all of it before anything is changed', async () => {
  await bucket('plan', '--origin', 'https://autodj.example', '--output', 'plan.json')
  await client.send(
    new PutBucketCorsCommand({
      Bucket: 'music',
      CORSConfiguration: {
        CORSRules: [{ AllowedOrigins: ['https://new.example'], AllowedMethods: ['GET'] }],
      },
    }),
  )
  const before = await observeBucket(client, 'music')
  const { exitCode, stderr } = await bucket('apply', 'plan.json')
  expect(exitCode).toBe(1)
  expect(stderr).toContain('cors has changed since the plan was made; nothing was changed')
  expect(await observeBucket(client, 'music')).toEqual(before)
})

test('a change that fails half way leaves a plan that takes back what was done', async () => {
  await bucket('plan', '--origin', 'https://autodj.example', '--output', 'plan.json')
  const before = await observeBucket(client, 'music')
  s3.faults.add({
    match: { operation: 'PutBucketLifecycleConfiguration' },
    fault: { status: 403, code: 'AccessDenied' },
  })
  const { exitCode, stderr } = await bucket('apply', 'plan.json', '--undo-file', 'undo.json')
  expect(exitCode).toBe(1)
  expect(stderr).toContain('cannot change lifecycle of music: AccessDenied')
  expect(stderr).toContain('autodj policy "bucket apply"')
  expect((await observeBucket(client, 'music')).cors.state).toBe('set')
  s3.faults.clear()
  expect((await bucket('apply', 'undo.json')).exitCode).toBe(0)
  expect(await observeBucket(client, 'music')).toEqual(before)
})

test('without a saved plan it wants --yes', async () => {
  const refused = await bucket('apply', '--origin', 'https://autodj.example')
  expect(refused.exitCode).toBe(2)
  expect(refused.stderr).toContain('2 changes, none made')
  expect(writes()).toEqual([])
  expect((await bucket('apply', '--origin', 'https://autodj.example', '--yes')).exitCode).toBe(0)
})

test.each([
  ['no plan', 'hello', /not a plan/],
  [
    'a plan for another bucket',
    '{"type":"autodj-settings-plan","schema":1,"bucket":"other","changes":[]}',
    /for the bucket other/,
  ],
])('%s is refused', async (_, text, message) => {
  await writeFile(path.join(cwd, 'x.json'), text)
  const { exitCode, stderr } = await bucket('apply', 'x.json')
  expect(exitCode).not.toBe(0)
  expect(stderr).toMatch(message)
})

test('settings that may not be read are skipped, with what to grant', async () => {
  s3.faults.add({
    match: { operation: 'GetBucketLifecycleConfiguration' },
    fault: { status: 403, code: 'AccessDenied' },
  })
  const { stdout } = await bucket('check')
  expect(stdout).toMatch(/^skipped {2}lifecycle .*access denied \(`autodj policy "bucket check"`\)/m)
})

test('every setting can be written and taken away again', async () => {
  const { writeSetting } = await import('../../src/bucket/s3-settings.ts')
  const documents = {
    'public-access-block': {
      BlockPublicAcls: true,
      IgnorePublicAcls: false,
      BlockPublicPolicy: true,
      RestrictPublicBuckets: false,
    },
    'object-ownership': { Rules: [{ ObjectOwnership: 'BucketOwnerPreferred' }] },
    cors: { CORSRules: [{ AllowedOrigins: ['*'], AllowedMethods: ['GET'] }] },
    lifecycle: {
      Rules: [
        {
          ID: 'd',
          Status: 'Enabled',
          Filter: { Prefix: '' },
          Expiration: { Date: '2030-01-01T00:00:00.000Z' },
        },
      ],
    },
    'access-logging': { LoggingEnabled: { TargetBucket: 'music', TargetPrefix: 'l/' } },
    'bucket-policy': {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Deny', Principal: '*', Action: 's3:*', Resource: 'arn:aws:s3:::music/*' }],
    },
  } as const
  for (const [setting, document] of Object.entries(documents)) {
    const name = setting as keyof typeof documents
    await writeSetting(client, 'music', name, document as never)
    expect((await observeBucket(client, 'music'))[name]).toMatchObject({ state: 'set', value: document })
    await writeSetting(client, 'music', name, null)
    expect((await observeBucket(client, 'music'))[name].state).toBe('unset')
  }
  await expect(writeSetting(client, 'music', 'versioning', null)).rejects.toThrow('cannot be removed')
})

test('a setting that the store lacks does not block the others, and one can be left out', async () => {
  s3.faults.add({
    match: { operation: ['PutBucketLifecycleConfiguration', 'PutBucketLifecycle'] },
    fault: { status: 501, code: 'NotImplemented' },
  })
  s3.faults.add({ match: { operation: 'GetBucketLogging' }, fault: { status: 400, code: 'InvalidArgument' } })
  expect((await bucket('check')).exitCode).toBe(0)
  const all = ['--yes', '--origin', 'https://autodj.example', '--versioning']
  const applied = await bucket('apply', ...all, '--skip', 'versioning')
  expect(applied.exitCode).toBe(3)
  expect(applied.stdout).toMatch(/unsupported lifecycle: this store does not have it/)
  const now = await observeBucket(client, 'music')
  expect([now.cors.state, now.lifecycle.state, now.versioning.state]).toEqual(['set', 'unset', 'unset'])
  // What was changed can be taken back, and names nothing that was not.
  const [undo] = (await readdir(cwd)).filter(name => name.startsWith('autodj-bucket-undo-'))
  expect((await bucket('apply', undo!)).exitCode).toBe(0)
  expect((await observeBucket(client, 'music')).cors.state).toBe('unset')
})

test('check survives answers that are no XML', async () => {
  const server = await listening(http.createServer((_, response) => response.end('Hello, this is <not XML')))
  env['S3_ENDPOINT'] = urlOf(server)
  const { exitCode, stdout, stderr } = await bucket('check')
  end(server)
  expect(stderr).not.toContain('bug in autodj')
  expect([exitCode, stdout]).toEqual([expect.any(Number), expect.stringContaining('lifecycle')])
})

describe('with a distribution', () => {
  let fake: FakeCloudFront
  const flags: BucketFlags = {
    origin: ['https://autodj.example'],
    versioning: false,
    tiering: undefined,
    tieringDays: undefined,
    quarantineDays: 30,
    logBucket: undefined,
  }
  beforeEach(() => {
    fake = fakeCloudFront(oldDistribution('music'))
    env['CLOUDFRONT_DOMAIN'] = 'd111111abcdef8.cloudfront.net'
    env['CLOUDFRONT_DISTRIBUTION_ID'] = distributionId
  })
  const withFake = (what: 'check' | 'plan' | 'apply', file?: string) => {
    const clients = { s3: client, cloudFront: fake.client, accessKey: undefined }
    const command = defineCommand({
      name: 'x',
      summary: 'x',
      flags: {},
      run: context => {
        if (what === 'check') return runBucketCheck(context, flags, clients)
        if (what === 'plan') return runBucketPlan(context, flags, file, clients)
        return runBucketApply(
          context,
          flags,
          { plan: file, yes: true, undoFile: 'undo.json', skip: [] },
          clients,
        )
      },
    })
    return cli(['x'], { env, cwd, commands: [command] })
  }

  test('an old one is made right, and taken back to what it was', async () => {
    const before = structuredClone(fake.config)
    expect((await withFake('check')).exitCode).toBe(4)
    expect(fake.calls.filter(name => !name.startsWith('Get'))).toEqual([])
    await withFake('plan', 'plan.json')

    const applied = await withFake('apply', 'plan.json')
    expect(applied.stderr).toBe('')
    expect(applied.exitCode).toBe(0)
    const [origin] = fake.config.Origins!.Items!.slice(1)
    expect(origin).toMatchObject({
      OriginAccessControlId: 'EOAC1',
      S3OriginConfig: { OriginAccessIdentity: '' },
    })
    expect(fake.oacs.get('EOAC1')).toMatchObject({ SigningBehavior: 'always', SigningProtocol: 'sigv4' })
    const [images, audio] = fake.config.CacheBehaviors!.Items!
    expect(audio).toMatchObject({ ViewerProtocolPolicy: 'redirect-to-https', Compress: false })
    expect(audio!.ForwardedValues).toBeUndefined()
    expect(images).toEqual(before.CacheBehaviors!.Items![0])
    expect(fake.config.DefaultCacheBehavior).toEqual(before.DefaultCacheBehavior)
    expect((await observeBucket(client, 'music'))['bucket-policy']).toMatchObject({
      value: { Statement: [{ Principal: { Service: 'cloudfront.amazonaws.com' }, Action: 's3:GetObject' }] },
    })
    expect((await withFake('check')).exitCode).toBe(0)
    expect((await withFake('plan')).stdout).toContain('nothing to change')

    expect((await withFake('apply', 'undo.json')).exitCode).toBe(0)
    expect(fake.config).toEqual(before)
    expect((await observeBucket(client, 'music'))['bucket-policy'].state).toBe('unset')
  })

  test('the policy of each command has the calls to CloudFront that it makes, and no other', async () => {
    const made: Record<string, Set<string>> = {}
    const run = async (what: 'check' | 'plan' | 'apply', file?: string) => {
      fake.calls.length = 0
      await withFake(what, file)
      made[what] = new Set([...(made[what] ?? []), ...fake.calls.map(name => `cloudfront:${name}`)])
    }
    // Before and after: a cache policy can only be looked up where there is one, an access control likewise.
    fake.config.CacheBehaviors!.Items![1]!.CachePolicyId = '11111111-2222-3333-4444-555555555555'
    for (const what of ['check', 'plan', 'apply', 'check', 'plan', 'apply'] as const) await run(what)
    await run('apply', 'undo.json')
    for (const [what, calls] of Object.entries(made)) {
      const { policy } = iamPolicy(`bucket ${what}`, { bucket: 'music', keyPrefix: 'audio/', distributionId })
      const allowed = policy.Statement.flatMap(({ Action }) => Action).filter(action =>
        /^cloudfront:/.test(action),
      )
      expect([what, [...calls].sort()]).toEqual([what, allowed.sort()])
    }
  })

  test('a distribution that changed meanwhile is not touched', async () => {
    await withFake('plan', 'plan.json')
    fake.config.CacheBehaviors!.Items![1]!.ViewerProtocolPolicy = 'https-only'
    const { exitCode, stderr } = await withFake('apply', 'plan.json')
    expect(exitCode).toBe(1)
    expect(stderr).toContain('viewer-protocol has changed since')
    expect(fake.calls).not.toContain('UpdateDistribution')
  })

  test('an origin access control that an interrupted run made is taken up, not made twice', async () => {
    await withFake('plan', 'plan.json')
    fake.oacs.set('EOLD', {
      Name: `autodj-${distributionId}`,
      SigningBehavior: 'always',
      SigningProtocol: 'sigv4',
    })
    await withFake('apply', 'plan.json')
    expect(fake.oacs.size).toBe(1)
    expect(fake.config.Origins!.Items![1]!.OriginAccessControlId).toBe('EOLD')
  })

  test('the undo plan names the real origin access control', async () => {
    await withFake('apply')
    expect(await readFile(path.join(cwd, 'undo.json'), 'utf8')).toContain('"was": "EOAC1"')
  })
})
