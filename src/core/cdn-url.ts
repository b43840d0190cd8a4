/**
 * URLs of objects behind the CDN. Pure: used wherever a URL is printed, redirected to or probed.
 *
 * A key is a string of bytes; its URL path is those bytes with every `/`-separated segment percent-encoded on its
 * own. `encodeURI` and `new URL` will not do: they leave `+ # ?` alone, and S3 reads a `+` as a space.
 */
import { UsageError } from '../errors.ts'
import { maxKeyBytes } from './keys.ts'
import { isLoopback } from './loopback.ts'
import { hidePassword } from './redact.ts'
import { printable } from './units.ts'

/** Where the CDN answers. Made by {@link parseCdnDomain} only. */
export interface CdnDomain {
  /** `https://host`, or `http(s)://loopback:port` for a stand-in; no slash at the end */
  readonly origin: string
  /** host name as in the TLS handshake: lower case, international names in Punycode */
  readonly hostname: string
  readonly tls: boolean
}

const cure = 'Set CLOUDFRONT_DOMAIN to the bare host name, such as d123.cloudfront.net or cdn.example.com.'

/**
 * The value of `CLOUDFRONT_DOMAIN`: a bare domain. The application makes `https://{CLOUDFRONT_DOMAIN}/{key}` of it, so a
 * scheme or a slash that is pasted around one is refused; capitals, a dot at the end and an international name are
 * not. Scheme and port are for a stand-in on the loopback interface only.
 *
 * @param anyPort takes `host:port`, as the application does; CloudFront has no other port than 443
 * @throws UsageError `cdn.domain` when it is not a domain
 */
export function parseCdnDomain(text: string, { anyPort = false } = {}): CdnDomain {
  const refuse = (why: string) =>
    new UsageError(`"${shown(hidePassword(text))}" is not a CDN domain: ${why}`, { code: 'cdn.domain', cure })
  const given = text.trim()
  if (given === '') throw refuse('it is empty')
  const [, scheme = 'https', rest = ''] = /^(?:([A-Za-z][A-Za-z0-9+.-]*):\/\/)?(.*)/s.exec(given)!
  const authority = rest.endsWith('/') ? rest.slice(0, -1) : rest
  if (/[/\\?#]/.test(authority)) throw refuse('it has a path; objects are addressed by their whole key')
  if (authority.includes('@')) throw refuse('it has a user name in it')
  if (/[\s%*]/.test(authority)) throw refuse('it contains a character not allowed in a host name')
  const protocol = `${scheme.toLowerCase()}:`
  if (protocol !== 'https:' && protocol !== 'http:') throw refuse(`${scheme} is not https`)
  const url = URL.parse(`${protocol}//${authority}`)
  if (url === null || url.hostname === '') throw refuse('it is not a valid host name')
  const hostname = url.hostname.replace(/\.$/, '')
  const local = isLoopback(hostname)
  if (!local) {
    if (protocol === 'http:') throw refuse('tracks are served over HTTPS only')
    if (given !== authority) {
      throw refuse(
        `the application makes https://{CLOUDFRONT_DOMAIN}/{key} of it, so it must not have a ${rest === given ? 'slash' : 'scheme'}`,
      )
    }
    if (url.port !== '' && !anyPort)
      throw refuse('CloudFront answers on port 443 only; of another CDN say which in CDN_PROVIDER')
    if (!/^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$/.test(hostname)) {
      throw refuse('it is not a fully qualified host name')
    }
  }
  return {
    origin: `${protocol}//${hostname}${url.port === '' ? '' : `:${url.port}`}`,
    hostname,
    tls: protocol === 'https:',
  }
}

/**
 * The path part of an object's URL, with its leading slash: each segment through `encodeURIComponent`. What is left
 * unencoded (`A-Z a-z 0-9 - _ . ! ~ * ' ( )`) no server between here and S3 rewrites. Empty segments stay.
 *
 * @throws UsageError `cdn.key` for an empty key, or one with half a surrogate pair (no UTF-8 bytes exist for it)
 */
export function encodeKeyPath(key: string): string {
  if (key === '' || !key.isWellFormed()) {
    throw new UsageError(`"${shown(key)}" cannot be an object's key`, { code: 'cdn.key' })
  }
  return `/${key.split('/').map(encodeURIComponent).join('/')}`
}

/** The inverse of {@link encodeKeyPath}, as S3 decodes a path; `undefined` where the path is not valid UTF-8. */
export function decodeKeyPath(path: string): string | undefined {
  try {
    return decodeURIComponent(path.startsWith('/') ? path.slice(1) : path)
  } catch {
    return undefined
  }
}

/**
 * The public URL of an object.
 * @throws UsageError `cdn.key`, see {@link encodeKeyPath}
 */
export function cdnUrl(domain: CdnDomain, key: string): string {
  return domain.origin + encodeKeyPath(key)
}

/** Host of S3 in a region; China has a domain of its own. */
export function s3Host(region = 'us-east-1'): string {
  return `s3.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`
}

interface BucketPlace {
  bucket: string
  region?: string
  /** of an S3-compatible store */
  endpoint?: string
  /** where the bucket's name goes; `auto`: into the path at an endpoint, before the host at AWS */
  addressing?: 'path' | 'virtual' | 'auto'
}

/** URL of a bucket, without a slash at the end. Buckets with dots have no certificate of their own: path style. */
export function bucketUrl({ bucket, region, endpoint, addressing = 'auto' }: BucketPlace): string {
  if (endpoint !== undefined) {
    return addressing === 'virtual' ? endpoint.replace('://', `://${bucket}.`) : `${endpoint}/${bucket}`
  }
  const host = s3Host(region)
  return bucket.includes('.') || addressing === 'path'
    ? `https://${host}/${bucket}`
    : `https://${bucket}.${host}`
}

/** URL of an object at S3 itself, past the CDN. */
export function directUrl(place: BucketPlace, key: string): string {
  return bucketUrl(place) + encodeKeyPath(key)
}

/**
 * Why a browser cannot ask for this key even though its URL is right: URL parsers resolve the segments `.` and `..`,
 * percent-encoded or not (WHATWG URL, "single-dot" and "double-dot URL path segment"). `undefined` when it can.
 */
export function unaddressable(key: string): string | undefined {
  const dots = key.split('/').find(segment => segment === '.' || segment === '..')
  return dots === undefined
    ? undefined
    : `its segment "${dots}" is removed by every URL parser before the request is sent`
}

/**
 * The keys that a mistake somewhere in the chain turns this one into (or made it from), most frequent first, without
 * the key itself: where S3 does not have an object under its key, one of these shows why.
 */
export function mistakenKeys(key: string): readonly { key: string; mistake: KeyMistake }[] {
  // No object has such a key; and to normalise a long run of marks takes the square of its length.
  if (Buffer.byteLength(key) > 3 * maxKeyBytes) return []
  const candidates: { key: string; mistake: KeyMistake }[] = [
    { key: key.normalize('NFC'), mistake: 'normalisation' },
    { key: key.normalize('NFD'), mistake: 'normalisation' },
    { key: key.replaceAll('+', ' '), mistake: 'plus' },
    { key: key.replaceAll(' ', '+'), mistake: 'plus' },
    { key: encodeKeyPath(key).slice(1), mistake: 'encoding' },
    { key: decodeKeyPath(`/${key}`) ?? key, mistake: 'encoding' },
    { key: key.replace(/^\/+/, ''), mistake: 'slash' },
    { key: `/${key}`, mistake: 'slash' },
  ]
  const seen = new Set([key, ''])
  return candidates.filter(candidate => {
    if (seen.has(candidate.key)) return false
    seen.add(candidate.key)
    return true
  })
}

/**
 * `normalisation`: NFC against NFD · `plus`: `+` against space · `encoding`: percent-encoded once too often or too
 * seldom · `slash`: a slash in front.
 */
export type KeyMistake = 'normalisation' | 'plus' | 'encoding' | 'slash'

/** How two keys that should be one differ, if it is a known mistake. */
export function keyMistake(expected: string, actual: string): KeyMistake | undefined {
  return mistakenKeys(expected).find(candidate => candidate.key === actual)?.mistake
}

function shown(text: string): string {
  return printable(text.length > 200 ? `${text.slice(0, 200)}…` : text)
}
