/**
 * From what S3, the SDK and the network say went wrong to a {@link StoreError}: one cause line that names
 * operation, key, bucket and endpoint, and one cure line.
 *
 * The one place that knows S3's error codes; the lean put path and the SDK's exceptions both come through here.
 */
import { networkFault } from '../core/diagnosis/network-fault.ts'
import { describeProxy } from '../core/proxy.ts'
import { systemErrorCode } from '../errors.ts'
import { StoreError, type StoreErrorKind } from './store.ts'

/** What was being done, and where. */
export interface RequestContext {
  /** in the imperative, for "cannot …": `put`, `list` */
  operation: string
  bucket: string
  key?: string
  endpoint: string
  /** what named the endpoint: a variable, or a profile */
  endpointFrom?: string
  region: string
  /** the profile that credentials are taken from; undefined: keys, or the whole chain */
  profile?: string
  /** the profiles there are, if one was asked for */
  profiles?: readonly string[]
  /** the proxy that requests go through */
  proxy?: string
  /** Which condition a 412 answers. */
  condition?: 'if-none-match' | 'if-match'
  signal?: AbortSignal
  /** Set once the store was closed: what fails then was aborted. */
  closed?: boolean
}

/** A failure in S3's words, wherever it came from. */
export interface S3Failure {
  /** S3's error code, or Node.js's (`ECONNRESET`), or the SDK's error name */
  code?: string
  message?: string
  status?: number
  /** what the answer itself said, where the SDK makes another status of it: an error in the body of a 200 */
  answered?: number
  requestId?: string
  /** the region the bucket is in, where the answer tells */
  bucketRegion?: string
  /** the server's `Date`, ms since the epoch */
  serverTime?: number
  cause?: unknown
}

const kindByCode: Readonly<Record<string, StoreErrorKind>> = {
  NoSuchBucket: 'no-bucket',
  NoSuchUpload: 'no-upload',
  NoSuchKey: 'missing',
  NoSuchVersion: 'missing',
  NotFound: 'missing',
  AccessDenied: 'denied',
  AllAccessDisabled: 'denied',
  AccountProblem: 'denied',
  InvalidObjectState: 'archived',
  'KMS.DisabledException': 'denied',
  CredentialsProviderError: 'no-credentials',
  TokenProviderError: 'no-credentials',
  InvalidAccessKeyId: 'credentials',
  InvalidClientTokenId: 'credentials',
  InvalidToken: 'credentials',
  NotSignedUp: 'credentials',
  SignatureDoesNotMatch: 'credentials',
  ExpiredToken: 'expired-token',
  ExpiredTokenException: 'expired-token',
  TokenRefreshRequired: 'expired-token',
  RequestExpired: 'clock-skew',
  RequestInTheFuture: 'clock-skew',
  RequestTimeTooSkewed: 'clock-skew',
  AuthorizationHeaderMalformed: 'wrong-region',
  IllegalLocationConstraintException: 'wrong-region',
  PermanentRedirect: 'wrong-region',
  TemporaryRedirect: 'wrong-region',
  BadDigest: 'bad-digest',
  IncompleteBody: 'bad-digest',
  InvalidDigest: 'bad-digest',
  XAmzContentChecksumMismatch: 'bad-digest',
  XAmzContentSHA256Mismatch: 'bad-digest',
  BandwidthLimitExceeded: 'throttled',
  RequestLimitExceeded: 'throttled',
  RequestThrottled: 'throttled',
  SlowDown: 'throttled',
  Throttling: 'throttled',
  ThrottlingException: 'throttled',
  TooManyRequests: 'throttled',
  RequestTimeout: 'timeout',
  TimeoutError: 'timeout',
  ETIMEDOUT: 'timeout',
  AbortError: 'aborted',
  ConditionalRequestConflict: 'conflict',
  OperationAborted: 'conflict',
  MethodNotAllowed: 'unsupported',
  NotImplemented: 'unsupported',
  XNotImplemented: 'unsupported',
  InternalError: 'unavailable',
  ServiceUnavailable: 'unavailable',
}

const networkCode =
  /^(ECONN|EPIPE|ENOTFOUND|EAI_|EHOST|ENET|EADDR|EPROTO|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL|HPE_)/

/** What a store says of a checksum that is not that of the bytes. Ours are well-formed: they are never anything else. */
const checksumRefused =
  /x-amz-checksum-\w+ header is invalid|(checksum|digest|content-md5)\b.{0,80}\b(mismatch|(did|do|does) not match)/i

/** S3 refuses a request signed more than this far from its own clock. ms */
const maximumClockSkew = 15 * 60_000

function classify(failure: S3Failure, context: RequestContext): StoreErrorKind {
  const { code, status, serverTime } = failure
  if (context.closed || context.signal?.aborted) return 'aborted'
  if (status === 412 || code === 'PreconditionFailed') {
    return context.condition === 'if-none-match' ? 'exists' : 'precondition'
  }
  if (code !== undefined) {
    const known = kindByCode[code]
    // The chain's own word for a session of `aws sso login` that is over, and the portal's for one that ended early.
    if (
      known === 'no-credentials' &&
      /expired|session token not found or invalid/i.test(failure.message ?? '')
    )
      return 'expired-token'
    if (known !== undefined) return known
    if (networkCode.test(code)) return 'network'
  }
  if (status === undefined) return code?.startsWith('ERR_INVALID') ? 'invalid' : 'network'
  if (status === 301 || status === 307) return 'wrong-region'
  if (failure.bucketRegion !== undefined && failure.bucketRegion !== context.region) return 'wrong-region'
  // Compatible stores have codes of their own for it: `BadRequest` (S3Mock), `InvalidRequest`.
  if (status === 400 && checksumRefused.test(failure.message ?? '')) return 'bad-digest'
  // Proxy Authentication Required: the store was never asked.
  if (status === 407) return 'network'
  if (status === 401) return 'credentials'
  if (status === 403) {
    const skewed = serverTime !== undefined && Math.abs(serverTime - Date.now()) > maximumClockSkew
    return skewed ? 'clock-skew' : 'denied'
  }
  if (status === 404) return 'missing'
  if (status === 408) return 'timeout'
  if (status === 409) return 'conflict'
  if (status === 429) return 'throttled'
  if (status === 405 || status === 501) return 'unsupported'
  return status >= 500 ? 'unavailable' : 'invalid'
}

/** Cause in words; S3's own message is added if it says more. */
const causes: Readonly<Record<StoreErrorKind, string>> = {
  exists: 'there is already an object at this key',
  precondition: 'the object has been replaced',
  conflict: 'another request for the same key got in the way',
  missing: 'there is no such object',
  archived: 'the object is in an archive storage class and must be restored before it can be read',
  'no-bucket': 'there is no such bucket',
  'no-upload': 'the multipart upload is gone: completed, aborted or expired',
  denied: 'access denied',
  credentials: 'the credentials were refused',
  'no-credentials':
    'no AWS credentials were found: not in the environment or .env, not in a profile, not from a role',
  'expired-token': 'the credentials have expired, and no newer ones were found',
  'clock-skew': "this machine's clock is wrong",
  'wrong-region': 'the bucket is in another region',
  'bad-digest': 'the bytes did not arrive as they were sent',
  throttled: 'the store asked to slow down',
  unavailable: 'the store had an internal failure',
  network: 'the connection failed',
  timeout: 'no data moved within the time limit',
  aborted: 'stopped on request',
  unsupported: 'this store cannot do that',
  invalid: 'the request was refused',
}

/** What a refusal of credentials means, if the store says more than that. */
const refusals: Readonly<Record<string, string>> = {
  InvalidAccessKeyId: 'the store does not know the access key',
  InvalidClientTokenId: 'the store does not know the access key',
  InvalidToken: 'the session token does not belong to these keys',
  SignatureDoesNotMatch: 'the secret does not belong to the access key',
}

/** @returns the cause in words, and what the chain says beyond that it found nothing */
function missingCredentials({ message }: S3Failure, { profile }: RequestContext): string {
  const said = oneLine(message).replace(/^Could not load credentials from any providers\.?$/, '')
  const cause =
    profile === undefined ? causes['no-credentials'] : `the AWS profile "${profile}" has no credentials`
  return said === '' ? cause : `${cause}: ${said}`
}

/**
 * What is wrong with credentials, or with the clock that their signatures hold, whatever was asked for with them.
 *
 * @returns undefined if that is not what is wrong
 */
export function credentialsError(
  thrown: unknown,
  doing?: string,
  access: Pick<RequestContext, 'profile' | 'profiles'> = {},
): StoreError | undefined {
  const context = { operation: '', bucket: '', endpoint: 'AWS', region: '', ...access }
  const failure = failureOf(thrown)
  const kind = classify(failure, context)
  if (!['no-credentials', 'credentials', 'expired-token', 'clock-skew'].includes(kind)) return undefined
  const why = whyOf(kind, failure, context)
  return new StoreError(kind, doing === undefined ? why : `cannot ${doing}: ${why}`, {
    cure: cureOf(kind, failure, context),
    cause: thrown,
  })
}

/** How stores say that a version may not go yet: S3 and versitygw, Ceph RGW, MinIO. */
const saysLocked = /object[ -]?lock|\bWORM\b/i

/** Whether a version was not deleted since its retention, or a legal hold, is in force. */
export function isObjectLocked(error: unknown): boolean {
  return error instanceof StoreError && error.kind === 'denied' && saysLocked.test(error.message)
}

/** What makes an archived object readable again. */
export const archiveCure =
  'Restore it (`aws s3api restore-object`, minutes to 48 hours), or copy it to a storage class that can be read at once, then run it again.'

function hasPath(endpoint: string): boolean {
  return URL.canParse(endpoint) && new URL(endpoint).pathname !== '/'
}

/** A cure that knows more than the usual one of the kind. */
function cureOf(kind: StoreErrorKind, failure: S3Failure, context: RequestContext): string | undefined {
  switch (kind) {
    case 'archived':
      return archiveCure
    case 'no-bucket':
      return `Create the bucket, or correct S3_BUCKET_NAME (now ${context.bucket}).`
    case 'denied':
      if (saysLocked.test(failure.message ?? ''))
        return "The bucket's Object Lock holds this version: wait until its retention ends; nothing that autodj could be granted ends it sooner."
      if (failure.code?.startsWith('KMS.'))
        return 'Enable the KMS key of the object again, or upload it again with another key.'
      return undefined
    case 'credentials':
      if (failure.code === 'InvalidToken')
        return 'Check AWS_SESSION_TOKEN: it comes with its keys, and permanent keys have none.'
      // Seen with `rclone serve s3 --baseurl`, and with proxies that rewrite the path.
      if (failure.code === 'SignatureDoesNotMatch' && hasPath(context.endpoint))
        return `Check the keys; if they are right, something takes the path off ${context.endpoint} before the store checks the signature, which covers it: use an endpoint without a path.`
      return undefined
    case 'no-credentials':
      return context.profile === undefined
        ? 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (`aws sso login`), or attach a role.'
        : context.profiles?.includes(context.profile) === false
          ? `Correct AWS_PROFILE: ~/.aws/config and ~/.aws/credentials have ${context.profiles.length === 0 ? 'no profiles' : `only ${context.profiles.join(', ')}`}.`
          : 'Log in (`aws sso login`), or look at the profile in ~/.aws/config and ~/.aws/credentials.'
    case 'wrong-region':
      return failure.bucketRegion === undefined
        ? `Set AWS_REGION to the bucket's region (now ${context.region}).`
        : `Set AWS_REGION=${failure.bucketRegion} (now ${context.region}).`
    case 'network':
      if (/^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(failure.code ?? '')) {
        return 'If a private authority or a company proxy signed it, set AWS_CA_BUNDLE (or NODE_EXTRA_CA_CERTS) to its certificate, a PEM file.'
      }
      if (context.proxy !== undefined) {
        return `Check the proxy ${describeProxy(context.proxy)} (HTTPS_PROXY, HTTP_PROXY), or name the host in NO_PROXY.`
      }
      if (/^(ENOTFOUND|EAI_)/.test(failure.code ?? '') && context.endpointFrom !== undefined) {
        return `Check how ${context.endpointFrom} spells the host, then network and DNS.`
      }
      if (/^(ENOTFOUND|EAI_)/.test(failure.code ?? '') && context.endpoint.endsWith('.amazonaws.com')) {
        return `Check AWS_REGION (now ${context.region}): there may be no such region. Otherwise check network and DNS.`
      }
      return `Check that ${context.endpoint}${context.endpointFrom === undefined ? '' : ` (${context.endpointFrom})`} can be reached from here (network, DNS, TLS; HTTPS_PROXY if it takes a proxy), then run it again.`
    case 'invalid':
      if (failure.status === 413)
        return 'Raise the limit of the proxy in front of the store, which refuses a body of that size (nginx: client_max_body_size 0).'
      if (/form of Server Side Encryption/.test(failure.message ?? ''))
        return 'It was stored with a key that only its uploader has (SSE-C): copy it with that key to an object without one.'
      return undefined
    default:
      return undefined
  }
}

/** Any thrown value or S3 failure as a {@link StoreError}; a StoreError passes through. */
export function toStoreError(thrown: unknown, context: RequestContext): StoreError {
  if (thrown instanceof StoreError) return thrown
  const unreadable = unreadableAnswer(thrown)
  if (unreadable !== undefined) return storeErrorOf(unreadable, context)
  // A mistake in a program, ours or a library's, must not pass for a broken network and be tried again.
  if (thrown instanceof TypeError && systemErrorCode(thrown) === undefined) throw thrown
  return storeErrorOf(failureOf(thrown), context)
}

export function storeErrorOf(failure: S3Failure, context: RequestContext): StoreError {
  const kind = classify(failure, context)
  const { bucket, key, endpoint, operation } = context
  const what = key === undefined ? `bucket ${bucket}` : `${JSON.stringify(key)} in bucket ${bucket}`
  const message = `cannot ${operation} ${what} at ${endpoint}: ${whyOf(kind, failure, context)}`
  return new StoreError(kind, message, {
    cure: cureOf(kind, failure, context),
    status: failure.status,
    requestId: failure.requestId,
    details: {
      bucket,
      endpoint,
      ...(key !== undefined && { key }),
      ...(failure.code !== undefined && { s3Code: failure.code }),
      ...(failure.bucketRegion !== undefined && { bucketRegion: failure.bucketRegion }),
    },
    cause: failure.cause,
  })
}

function whyOf(kind: StoreErrorKind, failure: S3Failure, context: RequestContext): string {
  if (kind === 'no-credentials') return missingCredentials(failure, context)
  if (kind === 'network' && failure.code !== undefined && failure.status === undefined) {
    return `${causes.network}: ${networkFault({ code: failure.code, message: oneLine(failure.message) })}`
  }
  const said = oneLine(failure.message)
  const status = failure.answered ?? failure.status
  const words = [failure.code, status === undefined ? undefined : `HTTP ${status}`].filter(Boolean)
  const aside = words.length > 0 ? ` (${words.join(', ')})` : ''
  const own = said === '' || said === failure.code || kind === 'aborted' ? '' : `: ${said}`
  return `${refusals[failure.code ?? ''] ?? causes[kind]}${aside}${own}`
}

/** What the SDK found no sense in, of an answer that says it went well: XML that was cut, a date that is none. */
function unreadableAnswer(thrown: unknown): S3Failure | undefined {
  if (!(thrown instanceof Error)) return undefined
  const { $response } = thrown as Error & { $response?: { statusCode?: number } }
  const status = $response?.statusCode
  const [said, hint] = thrown.message.split(/\s*Deserialization error: to see/)
  if (hint === undefined || status === undefined || status < 200 || status > 299) return undefined
  const message = `the answer cannot be read, as if something other than S3 were between here and the store: ${said}`
  return { code: 'ServiceUnavailable', message, status, cause: thrown }
}

const answeredStatus = new WeakMap<object, number>()

/** The SDK calls the error in the body of a 200 a 503, to try it again; whoever reads of it looks for what was answered. */
export function noteAnswered(response: { readonly statusCode: number }): void {
  answeredStatus.set(response, response.statusCode)
}

/** Reads what an SDK exception or a Node.js error tells. */
function failureOf(thrown: unknown): S3Failure {
  if (!(thrown instanceof Error)) return { message: String(thrown), cause: thrown }
  const error = thrown as Error & {
    code?: unknown
    Code?: unknown
    Region?: unknown
    $metadata?: { httpStatusCode?: number; requestId?: string }
    $response?: { statusCode?: number; headers?: Record<string, string> }
  }
  const headers = error.$response?.headers ?? {}
  const status = error.$metadata?.httpStatusCode ?? error.$response?.statusCode
  const date = Date.parse(headers['date'] ?? '')
  const answered = error.$response && answeredStatus.get(error.$response)
  return {
    code: codeOf(error),
    message: error.message,
    status,
    ...(answered === undefined ? {} : { answered }),
    requestId: error.$metadata?.requestId ?? headers['x-amz-request-id'],
    bucketRegion: text(headers['x-amz-bucket-region']) ?? text(error.Region),
    serverTime: Number.isNaN(date) ? undefined : date,
    cause: thrown,
  }
}

/** The SDK names an exception after S3's code; a bodyless answer leaves a placeholder, which is no code at all. */
function codeOf(error: Error & { code?: unknown; Code?: unknown }): string | undefined {
  const code = text(error.Code) ?? text(error.code)
  if (code !== undefined) return code
  return /^(Error|TypeError|UnknownError|Unknown|\d+)$/.test(error.name) ? undefined : error.name
}

/** Reads S3's error document. Answers that are none (a proxy's HTML) give no code. */
export function parseErrorXml(body: string): { code?: string; message?: string; region?: string } {
  return { code: element(body, 'Code'), message: element(body, 'Message'), region: element(body, 'Region') }
}

/** S3's error documents are flat, and nothing but these three texts is taken from them: no need for a parser. */
function element(xml: string, name: string): string | undefined {
  const found = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]
  if (found === undefined) return undefined
  const entities: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }
  return found.replace(/&(lt|gt|quot|apos|amp);/g, (_, entity: string) => entities[entity]!)
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function oneLine(message: string | undefined): string {
  return (message ?? '').replace(/\s+/g, ' ').trim().slice(0, 300)
}
