/** No credentials, wrong ones, expired ones: told apart in one line, each with what to do. */
import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { end, listening, urlOf } from '../support/listening.ts'
import { start } from '../support/process.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const startUrl = 'https://example.awsapps.com/start'
let home: string
let s3: Server
let answer = 'InvalidAccessKeyId'
let env: Record<string, string>

beforeAll(async () => {
  home = temporaryFolder('credentials')
  await mkdir(path.join(home, '.aws/sso/cache'), { recursive: true })
  await writeFile(
    path.join(home, '.aws/config'),
    `[profile sso]\nsso_account_id = 1\nsso_role_name = r\nsso_region = us-east-1\nsso_start_url = ${startUrl}\n`,
  )
  const cached = { startUrl, region: 'us-east-1', accessToken: 'a', expiresAt: '2020-01-01T00:00:00Z' }
  const name = createHash('sha1').update(startUrl).digest('hex')
  await writeFile(path.join(home, `.aws/sso/cache/${name}.json`), JSON.stringify(cached))
  s3 = createServer((_, response) => {
    response.writeHead(answer === 'ExpiredToken' ? 400 : 403, { 'content-type': 'application/xml' })
    response.end(`<Error><Code>${answer}</Code><Message>no</Message></Error>`)
  })
  await listening(s3)
  env = {
    HOME: home,
    S3_BUCKET_NAME: 'music',
    AWS_REGION: 'us-east-1',
    S3_ENDPOINT: urlOf(s3),
    // What is wrong with the bucket is said first: no database is needed.
    DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none',
    // Nobody is asked for the role of a machine.
    AWS_EC2_METADATA_DISABLED: 'true',
  }
})
afterAll(() => end(s3))

const keys = { AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE', AWS_SECRET_ACCESS_KEY: 'hush' }

const cases: [
  what: string,
  set: Record<string, string>,
  said: string,
  code: number,
  cause: RegExp,
  cure: RegExp,
][] = [
  [
    'none',
    {},
    '',
    1,
    /no AWS credentials were found: not in the environment or \.env, not in a profile, not from a role$/,
    /Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE/,
  ],
  [
    'a profile that is not there',
    { AWS_PROFILE: 'elsewhere' },
    '',
    1,
    /the AWS profile "elsewhere" has no credentials$/,
    /Correct AWS_PROFILE: ~\/.aws\/config .* have only sso\.$/,
  ],
  ['an SSO session that is over', { AWS_PROFILE: 'sso' }, '', 5, /credentials have expired/, /aws sso login/],
  [
    'a key that nobody knows',
    keys,
    'InvalidAccessKeyId',
    1,
    /the store does not know the access key/,
    /Check AWS_ACCESS_KEY_ID/,
  ],
  [
    'a wrong secret',
    keys,
    'SignatureDoesNotMatch',
    1,
    /the secret does not belong to the access key/,
    /AWS_SECRET_ACCESS_KEY/,
  ],
  [
    'a token of other keys',
    keys,
    'InvalidToken',
    1,
    /the session token does not belong/,
    /AWS_SESSION_TOKEN/,
  ],
  ['an expired token', keys, 'ExpiredToken', 5, /credentials have expired/, /aws sso login/],
]

describe.each(cases)('%s', (_, set, said, code, cause, cure) => {
  test.each([[['upload-local']], [['bucket', 'check']]])('%j', async argv => {
    answer = said
    const { code: exitCode, stderr } = await start(argv, { ...env, ...set }).finished
    const [first, second, ...more] = stderr.trimEnd().split('\n')
    expect(first).toMatch(/^[\d-]{10}T[\d:]{8}Z error: cannot .*music.*: /)
    expect(first).toMatch(cause)
    expect(second).toMatch(cure)
    expect(more).toEqual([])
    expect(exitCode).toBe(code)
  })
})

test('a wrong signature at an endpoint with a path may be the path', async () => {
  answer = 'SignatureDoesNotMatch'
  const endpoint = `${env['S3_ENDPOINT']}/storage/v1/s3`
  const { code, stderr } = await start(['upload-local'], { ...env, ...keys, S3_ENDPOINT: endpoint }).finished
  expect(stderr).toContain(`something takes the path off ${endpoint} before the store checks the signature`)
  expect(code).toBe(1)
})
