/** CORS: the rules of a bucket, and what they answer a browser. */
import type { IncomingMessage } from 'node:http'
import type { XmlElement } from '@rgrove/parse-xml'
import { matchesWildcards } from '../../../src/core/bucket/wildcards.ts'
import { noSuchBucket, type Reply } from '../../../src/embedded/s3-server/call.ts'
import type { Bucket, Disk } from '../../../src/embedded/s3-server/disk.ts'
import type { Target } from '../../../src/embedded/s3-server/routing.ts'
import {
  children,
  childText,
  malformedXml,
  parseDocument,
  S3Error,
} from '../../../src/embedded/s3-server/xml.ts'

interface CorsRule {
  origins: string[]
  methods: string[]
  headers: string[]
  expose: string[]
  maxAge: string | undefined
}

const corsMethods = new Set(['GET', 'PUT', 'POST', 'DELETE', 'HEAD'])

/** The rules of a CORSConfiguration. @throws S3Error MalformedXML, InvalidRequest */
export function readCors(root: XmlElement): CorsRule[] {
  const texts = (rule: XmlElement, name: string) => children(rule, name).map(e => e.text.trim())
  const rules = children(root, 'CORSRule').map(rule => ({
    origins: texts(rule, 'AllowedOrigin'),
    methods: texts(rule, 'AllowedMethod'),
    headers: texts(rule, 'AllowedHeader').map(h => h.toLowerCase()),
    expose: texts(rule, 'ExposeHeader'),
    maxAge: childText(rule, 'MaxAgeSeconds'),
  }))
  if (rules.length === 0 || rules.some(r => r.origins.length === 0 || r.methods.length === 0)) {
    throw malformedXml()
  }
  for (const method of rules.flatMap(r => r.methods)) {
    if (!corsMethods.has(method)) {
      throw new S3Error(
        400,
        'InvalidRequest',
        `Found unsupported HTTP method in CORS config. Unsupported method is ${method}`,
      )
    }
  }
  return rules
}

const corsRules = new WeakMap<Bucket, { document: string; rules: CorsRule[] }>()

function rulesOf(bucket: Bucket): CorsRule[] {
  const document = bucket.documents.get('cors')
  if (document === undefined) return []
  const known = corsRules.get(bucket)
  if (known?.document === document) return known.rules
  const rules = readCors(parseDocument(Buffer.from(document), 'CORSConfiguration'))
  corsRules.set(bucket, { document, rules })
  return rules
}

/** CORS headers for a request from `origin`, or undefined when no rule of the bucket allows it. */
export function corsHeaders(
  bucket: Bucket,
  origin: string,
  method: string,
  requestHeaders: string[],
): Record<string, string> | undefined {
  for (const rule of rulesOf(bucket)) {
    const allowed = rule.origins.find(o => matchesWildcards(o, origin))
    if (allowed === undefined || !rule.methods.includes(method)) continue
    if (!requestHeaders.every(h => rule.headers.some(a => matchesWildcards(a, h.toLowerCase())))) continue
    return {
      'access-control-allow-origin': allowed === '*' ? '*' : origin,
      'access-control-allow-methods': rule.methods.join(', '),
      ...(allowed !== '*' && { 'access-control-allow-credentials': 'true' }),
      ...(requestHeaders.length > 0 && { 'access-control-allow-headers': requestHeaders.join(', ') }),
      ...(rule.expose.length > 0 && { 'access-control-expose-headers': rule.expose.join(', ') }),
      ...(rule.maxAge !== undefined && { 'access-control-max-age': rule.maxAge }),
      vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method',
    }
  }
  return undefined
}

/**
 * Answers a preflight request (OPTIONS).
 * @throws S3Error BadRequest, NoSuchBucket, AccessForbidden
 */
export function preflight(request: IncomingMessage, disk: Disk, target: Target): Reply {
  const origin = request.headers.origin
  const method = request.headers['access-control-request-method']
  if (origin === undefined || method === undefined) {
    throw new S3Error(400, 'BadRequest', 'Insufficient information. Origin request header needed.')
  }
  const bucket = disk.buckets.get(target.bucket)
  if (!bucket) throw noSuchBucket(target.bucket)
  const asked = (request.headers['access-control-request-headers'] ?? '')
    .split(',')
    .map(h => h.trim())
    .filter(h => h !== '')
  const headers = corsHeaders(bucket, origin, method, asked)
  if (!headers) {
    throw new S3Error(
      403,
      'AccessForbidden',
      bucket.documents.has('cors')
        ? "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
        : 'CORSResponse: CORS is not enabled for this bucket.',
      { Method: method, ResourceType: target.key === '' ? 'BUCKET' : 'OBJECT' },
    )
  }
  return { status: 200, headers }
}
