/** The age of the key in use, asked of IAM. The answers have the shapes of the IAM API Reference, not recorded ones. */
import { expect, test } from 'vitest'
import { accessKeyFacts } from '../../../../src/bucket/access-key.ts'
import { loadConfig } from '../../../../src/config.ts'
import { assessAccessKey } from '../../../../src/core/bucket/access-key.ts'
import { awsStandIn } from '../../../support/aws-stand-in.ts'

const inUse = 'AKIAIOSFODNN7EXAMPLE'
const config = (more: Record<string, string> = {}) =>
  loadConfig({
    env: { AWS_ACCESS_KEY_ID: inUse, AWS_SECRET_ACCESS_KEY: 'hush', AWS_REGION: 'eu-central-1', ...more },
    cwd: '/nonexistent',
    envFile: null,
  })

const iam = awsStandIn()

const keys = (...members: [id: string, created: string][]): [number, string] => [
  200,
  `<ListAccessKeysResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListAccessKeysResult>
    <UserName>dj</UserName><AccessKeyMetadata>${members
      .map(
        ([id, created]) =>
          `<member><UserName>dj</UserName><AccessKeyId>${id}</AccessKeyId><Status>Active</Status><CreateDate>${created}</CreateDate></member>`,
      )
      .join('')}</AccessKeyMetadata><IsTruncated>false</IsTruncated></ListAccessKeysResult>
    <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></ListAccessKeysResponse>`,
]

async function facts(more?: Record<string, string>) {
  const details: string[] = []
  const found = await accessKeyFacts(config(more), {
    signal: new AbortController().signal,
    detail: text => void details.push(text),
    endpoint: iam.endpoint,
  })
  return { found, details }
}

test('of the two keys of a user, the age is that of the one in use', async () => {
  iam.answer = keys(['AKIAI44QH8DHBEXAMPLE', '2026-02-20T00:00:00Z'], [inUse, '2025-10-01T12:00:00Z'])
  const { found } = await facts()
  expect(found).toMatchObject({
    accessKeyId: inUse,
    temporary: false,
    createdAt: new Date('2025-10-01T12:00:00Z'),
  })
  expect(iam.asked.at(-1)).toMatch(/Action=ListAccessKeys/)
  expect(iam.asked.at(-1)).not.toContain('UserName')
  expect(assessAccessKey(found, new Date('2026-03-01T12:00:00Z'))).toMatchObject({
    state: 'failure',
    found: expect.stringMatching(/^AKIA…MPLE is 151 days old/),
  })
})

test('IAM may not be asked: the age is unknown, said under --verbose, without the secret', async () => {
  iam.answer = [
    403,
    '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to perform: iam:ListAccessKeys</Message></Error><RequestId>r</RequestId></ErrorResponse>',
  ]
  const { found, details } = await facts()
  expect(found.createdAt).toBeUndefined()
  expect(details.join()).toMatch(/age of the access key is unknown: AccessDenied.*iam:ListAccessKeys/)
  expect(details.join()).not.toContain('hush')
  expect(assessAccessKey(found, new Date()).state).toBe('warning')
})

test('a key that is not among those of the user has no age', async () => {
  iam.answer = keys(['AKIAI44QH8DHBEXAMPLE', '2026-02-20T00:00:00Z'])
  expect((await facts()).found.createdAt).toBeUndefined()
})

test('temporary credentials are fine as they are, and IAM is not asked', async () => {
  const before = iam.asked.length
  const { found } = await facts({ AWS_SESSION_TOKEN: 'token' })
  expect(found.temporary).toBe(true)
  expect(iam.asked.length).toBe(before)
  expect(assessAccessKey(found, new Date()).state).toBe('ok')
})
