/** Who the credentials belong to. The answers have the shapes that the STS API Reference documents, not recorded ones. */
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config.ts'
import { checkClock } from '../../../src/doctor/machine.ts'
import { AppError } from '../../../src/errors.ts'
import { identify } from '../../../src/storage/identity.ts'
import { awsStandIn } from '../../support/aws-stand-in.ts'

const config = loadConfig({
  env: { AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE', AWS_SECRET_ACCESS_KEY: 'hush' },
  cwd: '/nonexistent',
  envFile: null,
})
const sts = awsStandIn()

const ask = () => identify(config, 'eu-central-1', new AbortController().signal, sts.endpoint)
const refusal = (code: string): [number, string] => [
  403,
  `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${code}</Code><Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>`,
]

test('is told by ARN and account', async () => {
  sts.answer = [
    200,
    `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
      <Arn>arn:aws:iam::123456789012:user/dj</Arn><UserId>AIDA</UserId><Account>123456789012</Account>
    </GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>`,
  ]
  expect(await ask()).toEqual({ arn: 'arn:aws:iam::123456789012:user/dj', account: '123456789012' })
})

test.each([
  ['InvalidClientTokenId', /does not know this access key/, /AWS_ACCESS_KEY_ID/],
  ['SignatureDoesNotMatch', /secret does not belong/, /AWS_SECRET_ACCESS_KEY/],
  ['ExpiredToken', /has expired/, /aws sso login/],
])('%s is put into words, without the secret', async (code, cause, cure) => {
  sts.answer = refusal(code)
  const error = await ask().catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(AppError)
  expect((error as AppError).message).toMatch(cause)
  expect((error as AppError).cure).toMatch(cure)
  expect((error as AppError).message).not.toContain('hush')
})

describe('the clock', () => {
  const now = new Date('2026-03-01T12:00:00Z')
  test.each([
    ['Sun, 01 Mar 2026 12:00:00 GMT', 'ok', /agree/],
    ['Sun, 01 Mar 2026 11:59:40 GMT', 'ok', /agree/],
    ['Sun, 01 Mar 2026 11:58:00 GMT', 'warning', /2m fast/],
    ['Sun, 01 Mar 2026 12:20:00 GMT', 'failure', /20m slow: S3 will refuse/],
    [undefined, 'ok', /does not report/],
  ])('%s: %s', (date, state, cause) => {
    const verdict = checkClock(date, now)
    expect(verdict.state).toBe(state)
    expect(verdict.cause).toMatch(cause)
  })
})
