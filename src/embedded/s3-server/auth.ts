/**
 * AWS Signature Version 4 for S3, the server's end: in headers, and of bodies that come as they are. Presigned URLs and
 * signed chunks are refused. Written apart from the client's (`storage/sigv4.ts`), so that neither is checked against
 * itself. "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference.
 */
import { createHash, createHmac, hash, timingSafeEqual } from 'node:crypto'
import { S3Error } from './xml.ts'

export interface Credential {
  accessKeyId: string
  secretAccessKey: string
  /** When set, requests must carry it in `x-amz-security-token`. */
  sessionToken?: string
}

/** A request as signed: path decoded, query decoded pair by pair, every value of every header. */
interface SignedRequest {
  method: string
  path: string
  query: readonly (readonly [string, string])[]
  /** Lower-case names. */
  headers: Readonly<Record<string, readonly string[] | undefined>>
}

export interface Authenticated {
  region: string
  /** of the body, hex; undefined if it is not signed */
  sha256: string | undefined
}

const maxSkewMs = 15 * 60 * 1000
const signatureAlgorithm = 'AWS4-HMAC-SHA256'

/** RFC 3986: everything but unreserved characters, in upper-case hex. */
function awsEncode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

const encodePath = (path: string): string => path.split('/').map(awsEncode).join('/')

/** Header bytes are Latin-1 in Node.js: the string goes back to the bytes that were on the wire. */
const hexSha256 = (text: string): string =>
  /^[\x00-\x7f]*$/.test(text)
    ? hash('sha256', text)
    : createHash('sha256').update(Buffer.from(text, 'latin1')).digest('hex')

const hmac = (key: Buffer | string, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const hmacHex = (key: Buffer, text: string): string => createHmac('sha256', key).update(text).digest('hex')

const signingKeys = new Map<string, Buffer>()

function signingKey(secret: string, day: string, region: string): Buffer {
  const id = `${day}/${region}/${secret}`
  let key = signingKeys.get(id)
  if (!key) {
    key = hmac(hmac(hmac(hmac(`AWS4${secret}`, day), region), 's3'), 'aws4_request')
    if (signingKeys.size > 100) signingKeys.clear()
    signingKeys.set(id, key)
  }
  return key
}

function canonicalRequest(request: SignedRequest, signedHeaders: string[], payloadHash: string): string {
  const query = request.query
    .map(([name, value]) => [awsEncode(name), awsEncode(value)] as const)
    .sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x < y ? -1 : x > y ? 1 : 0))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
  let headers = ''
  for (const name of signedHeaders) {
    const values = request.headers[name] ?? []
    headers += `${name}:${values.map(v => v.trim().replace(/ {2,}/g, ' ')).join(',')}\n`
  }
  return `${request.method}\n${encodePath(request.path)}\n${query}\n${headers}\n${signedHeaders.join(';')}\n${payloadHash}`
}

const stringToSign = (date: string, scope: string, canonical: string): string =>
  `${signatureAlgorithm}\n${date}\n${scope}\n${hexSha256(canonical)}`

/** `20260102T030405Z` as ms since the epoch, or undefined. */
function parseAmzDate(text: string): number | undefined {
  const m = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text)
  return m ? Date.UTC(+m[1]!, +m[2]! - 1, +m[3]!, +m[4]!, +m[5]!, +m[6]!) : undefined
}

const amzDate = (now: number): string => `${new Date(now).toISOString().replace(/[-:]/g, '').slice(0, 15)}Z`

function sha256Of(value: string): string | undefined {
  if (value === 'UNSIGNED-PAYLOAD') return undefined
  if (/^[0-9a-f]{64}$/.test(value)) return value
  if (value.startsWith('STREAMING-'))
    throw new S3Error(501, 'NotImplemented', 'Chunks are not implemented here.')
  throw new S3Error(
    400,
    'InvalidArgument',
    'x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a valid sha256 value.',
    { ArgumentName: 'x-amz-content-sha256', ArgumentValue: value },
  )
}

interface Claim {
  accessKeyId: string
  day: string
  region: string
  date: string
  signedHeaders: string[]
  signature: string
  token: string | undefined
  payloadHash: string
}

const malformed = (message: string) => new S3Error(400, 'AuthorizationHeaderMalformed', message)

function scopeOf(credential: string): [accessKeyId: string, day: string, region: string] {
  const parts = credential.split('/')
  if (parts.length < 5) {
    throw malformed(
      'The authorization header is malformed; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
    )
  }
  const [day, region, service, terminator] = parts.slice(-4) as [string, string, string, string]
  if (service !== 's3') throw malformed(`incorrect service "${service}". This endpoint belongs to "s3".`)
  if (terminator !== 'aws4_request') throw malformed(`incorrect terminal "${terminator}".`)
  return [parts.slice(0, -4).join('/'), day, region]
}

function claimFromHeader(authorization: string, request: SignedRequest): Claim {
  if (!authorization.startsWith(signatureAlgorithm)) {
    if (authorization.startsWith('AWS4-ECDSA')) {
      throw new S3Error(501, 'NotImplemented', 'SigV4A is not implemented here.')
    }
    throw new S3Error(
      400,
      authorization.startsWith('AWS ') ? 'InvalidRequest' : 'InvalidArgument',
      'The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.',
    )
  }
  const fields = new Map<string, string>()
  for (const field of authorization.slice(signatureAlgorithm.length).split(',')) {
    const at = field.indexOf('=')
    if (at > 0) fields.set(field.slice(0, at).trim(), field.slice(at + 1).trim())
  }
  const credential = fields.get('Credential')
  const signedHeaders = fields.get('SignedHeaders')
  const signature = fields.get('Signature')
  if (!credential || !signedHeaders || !signature) {
    throw malformed(
      'The authorization header is malformed; it needs Credential, SignedHeaders and Signature.',
    )
  }
  const [accessKeyId, day, region] = scopeOf(credential)
  let date = request.headers['x-amz-date']?.[0]
  if (date === undefined) {
    const http = Date.parse(request.headers['date']?.[0] ?? '')
    if (!Number.isNaN(http)) date = amzDate(http)
  }
  if (date === undefined || parseAmzDate(date) === undefined) {
    throw new S3Error(403, 'AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header')
  }
  const payloadHash = request.headers['x-amz-content-sha256']?.[0]
  if (payloadHash === undefined) {
    throw new S3Error(400, 'InvalidRequest', 'Missing required header for this request: x-amz-content-sha256')
  }
  return {
    accessKeyId,
    day,
    region,
    date,
    signedHeaders: signedHeaders.split(';'),
    signature,
    token: request.headers['x-amz-security-token']?.[0],
    payloadHash,
  }
}

/**
 * Who sent the request, or an {@link S3Error}. The region in the credential scope is taken as it is: whether it is
 * the right one is for the caller, who knows the bucket.
 * @param now ms since the epoch, by the server's clock
 */
export function authenticate(
  request: SignedRequest,
  credentials: readonly Credential[],
  now: number,
): Authenticated {
  const authorization = request.headers['authorization']?.[0]
  if (authorization === undefined) throw new S3Error(403, 'AccessDenied', 'Access Denied')
  const claim = claimFromHeader(authorization, request)
  const credential = credentials.find(c => c.accessKeyId === claim.accessKeyId)
  if (!credential) {
    throw new S3Error(
      403,
      'InvalidAccessKeyId',
      'The AWS Access Key Id you provided does not exist in our records.',
      { AWSAccessKeyId: claim.accessKeyId },
    )
  }
  const signedAt = parseAmzDate(claim.date)!
  if (Math.abs(now - signedAt) > maxSkewMs) {
    throw new S3Error(
      403,
      'RequestTimeTooSkewed',
      'The difference between the request time and the current time is too large.',
      {
        RequestTime: claim.date,
        ServerTime: new Date(now).toISOString(),
        MaxAllowedSkewMilliseconds: String(maxSkewMs),
      },
    )
  }
  if (claim.token !== credential.sessionToken) {
    throw new S3Error(400, 'InvalidToken', 'The provided token is malformed or otherwise invalid.')
  }

  const unsigned = Object.keys(request.headers).filter(
    name => (name === 'host' || name.startsWith('x-amz-')) && !claim.signedHeaders.includes(name),
  )
  if (unsigned.length > 0) {
    throw new S3Error(
      403,
      'AccessDenied',
      'There were headers present in the request which were not signed',
      { HeadersNotSigned: unsigned.join(', ') },
    )
  }

  const scope = `${claim.day}/${claim.region}/s3/aws4_request`
  const canonical = canonicalRequest(request, claim.signedHeaders, claim.payloadHash)
  const toSign = stringToSign(claim.date, scope, canonical)
  const key = signingKey(credential.secretAccessKey, claim.day, claim.region)
  const expected = hmacHex(key, toSign)
  if (
    claim.day !== claim.date.slice(0, 8) ||
    expected.length !== claim.signature.length ||
    !timingSafeEqual(Buffer.from(expected), Buffer.from(claim.signature, 'latin1'))
  ) {
    throw new S3Error(
      403,
      'SignatureDoesNotMatch',
      'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
      {
        AWSAccessKeyId: claim.accessKeyId,
        StringToSign: toSign,
        SignatureProvided: claim.signature,
        CanonicalRequest: canonical,
      },
    )
  }
  return { region: claim.region, sha256: sha256Of(claim.payloadHash) }
}
