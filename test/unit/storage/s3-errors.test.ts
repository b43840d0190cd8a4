/** What stores, the SDK and the network say, as kinds, causes and cures. */
import { describe, expect, test } from 'vitest'
import {
  credentialsError,
  isObjectLocked,
  parseErrorXml,
  type RequestContext,
  type S3Failure,
  storeErrorOf,
  toStoreError,
} from '../../../src/storage/s3-errors.ts'
import { StoreError, type StoreErrorKind } from '../../../src/storage/store.ts'

const context: RequestContext = {
  operation: 'put',
  bucket: 'music',
  key: 'audio/a.mp3',
  endpoint: 'https://s3.example',
  region: 'eu-central-1',
}
const told = (failure: S3Failure, more: Partial<RequestContext> = {}) =>
  storeErrorOf(failure, { ...context, ...more })
const minutes = 60_000

test.each<[StoreErrorKind, string]>([
  ['no-bucket', 'NoSuchBucket'],
  ['no-upload', 'NoSuchUpload'],
  ['missing', 'NoSuchKey NoSuchVersion NotFound'],
  ['denied', 'AccessDenied AllAccessDisabled AccountProblem KMS.DisabledException'],
  ['archived', 'InvalidObjectState'],
  ['no-credentials', 'CredentialsProviderError TokenProviderError'],
  ['credentials', 'InvalidAccessKeyId InvalidClientTokenId InvalidToken NotSignedUp SignatureDoesNotMatch'],
  ['expired-token', 'ExpiredToken ExpiredTokenException TokenRefreshRequired'],
  ['clock-skew', 'RequestExpired RequestInTheFuture RequestTimeTooSkewed'],
  [
    'wrong-region',
    'AuthorizationHeaderMalformed IllegalLocationConstraintException PermanentRedirect TemporaryRedirect',
  ],
  [
    'bad-digest',
    'BadDigest IncompleteBody InvalidDigest XAmzContentChecksumMismatch XAmzContentSHA256Mismatch',
  ],
  [
    'throttled',
    'BandwidthLimitExceeded RequestLimitExceeded RequestThrottled SlowDown Throttling ThrottlingException TooManyRequests',
  ],
  ['timeout', 'RequestTimeout TimeoutError ETIMEDOUT'],
  ['aborted', 'AbortError'],
  ['conflict', 'ConditionalRequestConflict OperationAborted'],
  ['unsupported', 'MethodNotAllowed NotImplemented XNotImplemented'],
  ['unavailable', 'InternalError ServiceUnavailable'],
  ['network', 'ECONNRESET EPIPE ENOTFOUND EAI_AGAIN EHOSTUNREACH CERT_HAS_EXPIRED SELF_SIGNED_CERT_IN_CHAIN'],
  [
    'network',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE DEPTH_ZERO_SELF_SIGNED_CERT ERR_TLS_CERT_ALTNAME_INVALID HPE_INVALID',
  ],
  ['invalid', 'ERR_INVALID_URL'],
])('%s: %s', (kind, codes) => {
  for (const code of codes.split(' ')) expect([code, told({ code }).kind]).toEqual([code, kind])
})

test.each<[S3Failure & { minutesAway?: number }, StoreErrorKind]>([
  [{ status: 301 }, 'wrong-region'],
  [{ status: 307 }, 'wrong-region'],
  [{ status: 400 }, 'invalid'],
  [{ status: 400, bucketRegion: 'us-east-1' }, 'wrong-region'],
  [{ status: 400, bucketRegion: 'eu-central-1' }, 'invalid'],
  [{ status: 400, message: 'x-amz-checksum-crc32 header is invalid' }, 'bad-digest'],
  [{ status: 400, message: 'the Content-MD5 you specified did not match what we received' }, 'bad-digest'],
  [{ status: 500, message: 'checksum mismatch' }, 'unavailable'],
  [{ status: 401 }, 'credentials'],
  [{ status: 403 }, 'denied'],
  [{ status: 403, minutesAway: 0 }, 'denied'],
  [{ status: 403, minutesAway: -14 }, 'denied'],
  [{ status: 403, minutesAway: -16 }, 'clock-skew'],
  [{ status: 403, minutesAway: 16 }, 'clock-skew'],
  [{ status: 404 }, 'missing'],
  [{ status: 405 }, 'unsupported'],
  [{ status: 407 }, 'network'],
  [{ status: 408 }, 'timeout'],
  [{ status: 409 }, 'conflict'],
  [{ status: 412 }, 'precondition'],
  [{ status: 413 }, 'invalid'],
  [{ status: 429 }, 'throttled'],
  [{ status: 500 }, 'unavailable'],
  [{ status: 501 }, 'unsupported'],
  [{ status: 503 }, 'unavailable'],
  [{ code: 'Odd', status: 404 }, 'missing'],
  [{}, 'network'],
  [{ code: 'Odd' }, 'network'],
  [{ code: 'CredentialsProviderError', message: 'Token is expired' }, 'expired-token'],
  [{ code: 'CredentialsProviderError', message: 'Session token not found or invalid' }, 'expired-token'],
  [{ code: 'AccessDenied', message: 'Token is expired' }, 'denied'],
])('%j is %s', ({ minutesAway, ...failure }, kind) => {
  const serverTime = minutesAway === undefined ? undefined : Date.now() + minutesAway * minutes
  expect(told({ ...failure, serverTime } as S3Failure).kind).toBe(kind)
})

test('412 answers the condition that was set; what was stopped is that, whatever it says', () => {
  expect(told({ status: 412 }, { condition: 'if-none-match' }).kind).toBe('exists')
  expect(told({ status: 412 }, { condition: 'if-match' }).kind).toBe('precondition')
  expect(told({ code: 'PreconditionFailed' }, { condition: 'if-none-match' }).kind).toBe('exists')
  expect(told({ status: 500 }, { closed: true }).kind).toBe('aborted')
  expect(told({ status: 500 }, { signal: AbortSignal.abort() }).kind).toBe('aborted')
  expect(told({ status: 500 }, { signal: new AbortController().signal }).kind).toBe('unavailable')
})

test.each<[S3Failure, Partial<RequestContext>, string]>([
  [
    { code: 'AccessDenied', status: 403, message: 'not\n  allowed' },
    {},
    'cannot put "audio/a.mp3" in bucket music at https://s3.example: access denied (AccessDenied, HTTP 403): not allowed',
  ],
  [{ status: 503 }, {}, 'the store had an internal failure (HTTP 503)'],
  [{ code: 'SlowDown', message: 'SlowDown' }, {}, 'the store asked to slow down (SlowDown)'],
  [{ code: 'AbortError', message: 'was aborted' }, {}, 'stopped on request (AbortError)'],
  [
    { code: 'InvalidAccessKeyId', status: 403 },
    {},
    'the store does not know the access key (InvalidAccessKeyId, HTTP 403)',
  ],
  [
    { code: 'SignatureDoesNotMatch', status: 403 },
    {},
    'the secret does not belong to the access key (SignatureDoesNotMatch, HTTP 403)',
  ],
  [{ code: 'ECONNRESET', message: 'x' }, {}, 'the connection failed: the connection was closed (ECONNRESET)'],
  [{ code: 'ECONNRESET', status: 407, message: 'x' }, {}, 'the connection failed (ECONNRESET, HTTP 407): x'],
  [{ code: 'ETIMEDOUT', message: 'x' }, {}, 'no data moved within the time limit (ETIMEDOUT): x'],
  [{ code: 'NotSignedUp', status: 403 }, {}, 'the credentials were refused (NotSignedUp, HTTP 403)'],
  [
    { code: 'CredentialsProviderError', message: 'Could not load credentials from any providers' },
    {},
    'no AWS credentials were found: not in the environment or .env, not in a profile, not from a role',
  ],
  [
    { code: 'CredentialsProviderError', message: 'Could not load credentials from any providers.' },
    { profile: 'dj' },
    'the AWS profile "dj" has no credentials',
  ],
  [
    { code: 'CredentialsProviderError', message: 'role is gone' },
    { profile: 'dj' },
    'the AWS profile "dj" has no credentials: role is gone',
  ],
])('%j, %j: in words', (failure, more, words) => {
  const { message } = told(failure, more)
  expect(message.endsWith(words)).toBe(true)
  expect(message.startsWith('cannot put "audio/a.mp3" in bucket music at https://s3.example: ')).toBe(true)
})

test.each<[S3Failure, Partial<RequestContext>, RegExp]>([
  [{ code: 'InvalidObjectState' }, {}, /restore-object/],
  [{ code: 'NoSuchBucket' }, {}, /S3_BUCKET_NAME \(now music\)/],
  [{ code: 'AccessDenied', message: 'Object Locked: WORM protected' }, {}, /Object Lock holds/],
  [{ code: 'KMS.DisabledException', status: 400, message: 'key is disabled' }, {}, /^Enable the KMS key/],
  [
    { code: 'InvalidRequest', status: 400, message: 'stored using a form of Server Side Encryption.' },
    {},
    /SSE-C/,
  ],
  [{ code: 'AccessDenied', message: 'no' }, {}, /autodj policy/],
  [{ code: 'InvalidToken' }, {}, /AWS_SESSION_TOKEN/],
  [{ code: 'SignatureDoesNotMatch' }, { endpoint: 'https://s3.example/base' }, /takes the path off/],
  [{ code: 'SignatureDoesNotMatch' }, {}, /^(?!.*takes the path off)/],
  [{ code: 'InvalidAccessKeyId' }, { endpoint: 'https://s3.example/base' }, /^(?!.*takes the path off)/],
  [{ code: 'CredentialsProviderError' }, {}, /^Set AWS_ACCESS_KEY_ID/],
  [{ code: 'CredentialsProviderError' }, { profile: 'dj' }, /^Log in/],
  [{ code: 'CredentialsProviderError' }, { profile: 'dj', profiles: ['dj'] }, /^Log in/],
  [{ code: 'CredentialsProviderError' }, { profile: 'dj', profiles: ['a', 'b'] }, /have only a, b\.$/],
  [{ code: 'CredentialsProviderError' }, { profile: 'dj', profiles: [] }, /have no profiles\.$/],
  [{ status: 301 }, {}, /^Set AWS_REGION to the bucket's region \(now eu-central-1\)/],
  [{ status: 301, bucketRegion: 'us-east-1' }, {}, /^Set AWS_REGION=us-east-1 \(now eu-central-1\)/],
  [{ code: 'CERT_HAS_EXPIRED' }, {}, /AWS_CA_BUNDLE/],
  [{ code: 'SELF_SIGNED_CERT_IN_CHAIN' }, { proxy: 'http://proxy:3128' }, /AWS_CA_BUNDLE/],
  [{ code: 'ECONNREFUSED' }, { proxy: 'http://proxy:3128' }, /^Check the proxy .*proxy:3128/],
  [{ code: 'ENOTFOUND' }, { endpointFrom: 'S3_ENDPOINT' }, /^Check how S3_ENDPOINT spells the host/],
  [
    { code: 'ECONNREFUSED' },
    { endpointFrom: 'S3_ENDPOINT' },
    /^Check that https:\/\/s3\.example \(S3_ENDPOINT\)/,
  ],
  [
    { code: 'EAI_AGAIN' },
    { endpoint: 'https://s3.eu-x-1.amazonaws.com' },
    /^Check AWS_REGION \(now eu-central-1\)/,
  ],
  [{ code: 'ECONNRESET' }, { endpoint: 'https://s3.eu-x-1.amazonaws.com' }, /^Check that https/],
  [{ code: 'ENOTFOUND' }, {}, /^Check that https:\/\/s3\.example can be reached/],
  [{ status: 413 }, {}, /client_max_body_size/],
  [{ status: 400 }, {}, /^(?!.*client_max_body_size)/],
])('%j, %j: what to do', (failure, more, cure) => {
  expect(told(failure, more).cure).toMatch(cure)
})

test('what an error carries for programs', () => {
  const whole = told({ code: 'SlowDown', status: 503, requestId: 'R1', bucketRegion: 'eu-central-1' })
  expect(whole).toMatchObject({ status: 503, requestId: 'R1' })
  expect(whole.details).toEqual({
    bucket: 'music',
    endpoint: 'https://s3.example',
    key: 'audio/a.mp3',
    s3Code: 'SlowDown',
    bucketRegion: 'eu-central-1',
  })
  const { key: _, ...ofBucket } = context
  expect(storeErrorOf({ status: 503 }, ofBucket).details).toEqual({
    bucket: 'music',
    endpoint: 'https://s3.example',
  })
  expect(storeErrorOf({ status: 503 }, ofBucket).message).toMatch(/^cannot put bucket music at /)
})

describe('what is thrown', () => {
  const sdk = (name: string, more: object = {}) => Object.assign(new Error('said'), { name, ...more })

  test('a StoreError passes, a mistake in a program is thrown on, all else is read', () => {
    const own = new StoreError('missing', 'x')
    expect(toStoreError(own, context)).toBe(own)
    const mistake = new TypeError('x is not a function')
    expect(() => toStoreError(mistake, context)).toThrow(mistake)
    const refused = Object.assign(new TypeError('fetch failed'), { code: 'ECONNREFUSED' })
    expect(toStoreError(refused, context)).toMatchObject({ kind: 'network', cause: refused })
    expect(toStoreError('odd', context)).toMatchObject({ kind: 'network', cause: 'odd' })
  })

  test.each<[string, object, Partial<StoreError>]>([
    [
      'NoSuchKey',
      { $metadata: { httpStatusCode: 404, requestId: 'M' } },
      { kind: 'missing', status: 404, requestId: 'M' },
    ],
    ['404', { $metadata: { httpStatusCode: 404 } }, { kind: 'missing' }],
    ['UnknownError', { $response: { statusCode: 403 } }, { kind: 'denied', status: 403 }],
    ['Error', { Code: 'SlowDown', code: 'Odd' }, { kind: 'throttled' }],
    ['Error', { Code: '', code: 'ETIMEDOUT' }, { kind: 'timeout' }],
    ['TimeoutError', {}, { kind: 'timeout' }],
    [
      'Unknown',
      {
        $response: {
          statusCode: 400,
          headers: { 'x-amz-bucket-region': 'us-east-1', 'x-amz-request-id': 'H' },
        },
      },
      { kind: 'wrong-region', requestId: 'H' },
    ],
    ['Unknown', { Region: 'us-east-1', $response: { statusCode: 400 } }, { kind: 'wrong-region' }],
    [
      'Unknown',
      { $response: { statusCode: 403, headers: { date: 'Tue, 01 Jan 2030 00:00:00 GMT' } } },
      { kind: 'clock-skew' },
    ],
    ['Unknown', { $response: { statusCode: 403, headers: { date: 'no date' } } }, { kind: 'denied' }],
  ])('%s %j', (name, more, expected) => {
    expect(toStoreError(sdk(name, more), context)).toMatchObject(expected)
  })

  test.each([
    ...['Error', 'TypeError', 'UnknownError', 'Unknown', '404', '5'].map(name => [name, undefined] as const),
    ...['SlowDown', 'AnError', 'Errors', 'X404', '404X'].map(name => [name, name] as const),
  ])('the code that the name %s is: %s', (name, code) => {
    const error = toStoreError(sdk(name, { $metadata: { httpStatusCode: 503 } }), context)
    expect(error.details?.['s3Code']).toBe(code)
  })

  test('what is wrong with credentials, whatever was asked for with them', () => {
    expect(credentialsError(sdk('AccessDenied'))).toBeUndefined()
    for (const name of ['CredentialsProviderError', 'InvalidToken', 'ExpiredToken', 'RequestTimeTooSkewed'])
      expect(credentialsError(sdk(name))).toBeInstanceOf(StoreError)
    const alone = credentialsError(sdk('InvalidClientTokenId'))
    expect(alone?.message).toBe('the store does not know the access key (InvalidClientTokenId): said')
    expect(credentialsError(sdk('InvalidClientTokenId'), 'assume the role')?.message).toBe(
      'cannot assume the role: the store does not know the access key (InvalidClientTokenId): said',
    )
    expect(
      credentialsError(sdk('TokenProviderError'), undefined, { profile: 'dj', profiles: [] })?.cure,
    ).toMatch(/no profiles/)
  })
})

test.each<[unknown, boolean]>([
  [new StoreError('denied', 'Access Denied because object protected by object lock.'), true],
  [new StoreError('denied', 'object is WORM protected'), true],
  [new StoreError('denied', 'forbidden by ObjectLock'), true],
  [new StoreError('denied', 'access denied'), false],
  [new StoreError('invalid', 'object lock'), false],
  [new Error('object lock'), false],
])('%s: held by Object Lock is %s', (error, expected) => expect(isObjectLocked(error)).toBe(expected))

test('three texts of an error document; of anything else none', () => {
  expect(
    parseErrorXml(
      '<Error><Code>NoSuchKey</Code><Message>a &lt;b&gt; &amp;amp; &quot;c&quot; &apos;d&apos;</Message><Region>eu</Region></Error>',
    ),
  ).toEqual({ code: 'NoSuchKey', message: `a <b> &amp; "c" 'd'`, region: 'eu' })
  expect(parseErrorXml('<html><title>Bad Gateway</title></html>')).toEqual({
    code: undefined,
    message: undefined,
    region: undefined,
  })
})
