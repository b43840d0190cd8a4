/**
 * AWS Signature Version 4 for S3, header form, synchronous: the part of a put that the SDK spends most of its
 * JavaScript on. Source: "Create a signed AWS API request" in the IAM user guide. `test/unit/sigv4.test.ts` holds
 * it to AWS's published S3 examples and, by property, to `@smithy/signature-v4`.
 */
import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto'

export interface SigningCredentials {
  accessKeyId: string
  secretAccessKey: string
  sessionToken?: string
}

export interface SignableRequest {
  method: string
  /** As on the wire: percent-encoded once, without the query. */
  path: string
  /** Decoded names and values. */
  query?: Readonly<Record<string, string>>
  /** Lower-case names, `host` among them. All of them are signed. Values are ASCII. */
  headers: Record<string, string>
  /** Hex SHA-256 of the body, or `UNSIGNED-PAYLOAD`. */
  payloadHash: string
}

export const unsignedPayload = 'UNSIGNED-PAYLOAD'

/** RFC 3986: all but unreserved characters, bytes of UTF-8. Throws URIError on a lone surrogate. */
export function encodeRfc3986(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/** A key as a URL path: `/` stays, all else is encoded, nothing is normalised (`.`, `..` and `//` are kept). */
export function encodeKey(key: string): string {
  return encodeRfc3986(key).replaceAll('%2F', '/')
}

/** The query as it is sent and signed: sorted by encoded name. */
export function canonicalQuery(query: Readonly<Record<string, string>>): string {
  return Object.entries(query)
    .map(([name, value]): [string, string] => [encodeRfc3986(name), encodeRfc3986(value)])
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

export type Signer = (request: SignableRequest, credentials: SigningCredentials, now: Date) => void

/** A signer for one region; it adds `x-amz-date`, `x-amz-security-token`, `x-amz-content-sha256`, `authorization`. */
export function createSigner(region: string, service = 's3'): Signer {
  let cachedFor = ''
  let cachedKey: KeyObject | undefined

  /**
   * The derived key holds for a day, a region and a secret: four HMACs saved on every request but the first. As a
   * KeyObject, because making one of a Buffer costs six times as much as the HMAC itself.
   */
  function signingKey(secret: string, day: string): KeyObject {
    const wanted = `${day} ${secret}`
    if (cachedKey === undefined || cachedFor !== wanted) {
      const derived = hmac(hmac(hmac(hmac(`AWS4${secret}`, day), region), service), 'aws4_request')
      cachedKey = createSecretKey(derived)
      cachedFor = wanted
    }
    return cachedKey
  }

  return ({ method, path, query, headers, payloadHash }, credentials, now) => {
    const timestamp = now.toISOString().replace(/[-:]|\.\d{3}/g, '')
    const day = timestamp.slice(0, 8)
    headers['x-amz-date'] = timestamp
    headers['x-amz-content-sha256'] = payloadHash
    if (credentials.sessionToken !== undefined) headers['x-amz-security-token'] = credentials.sessionToken
    const names = Object.keys(headers).sort()
    const signedHeaders = names.join(';')
    let canonical = `${method}\n${path}\n${query ? canonicalQuery(query) : ''}\n`
    for (const name of names) canonical += `${name}:${headers[name]!.trim().replace(/[ \t]+/g, ' ')}\n`
    canonical += `\n${signedHeaders}\n${payloadHash}`
    const scope = `${day}/${region}/${service}/aws4_request`
    const toSign = `AWS4-HMAC-SHA256\n${timestamp}\n${scope}\n${hash('sha256', canonical, 'hex')}`
    const signature = hmac(signingKey(credentials.secretAccessKey, day), toSign).toString('hex')
    headers['authorization'] =
      `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${signedHeaders}, Signature=${signature}`
  }
}

function hmac(key: string | Buffer | KeyObject, data: string): Buffer {
  return createHmac('sha256', key).update(data, 'utf8').digest()
}
