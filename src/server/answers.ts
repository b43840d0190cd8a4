/** What routes have in common: their options, how they refuse, and how the document describes it. */
import { hostname } from 'node:os'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyRequest,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify'
import { Type } from 'typebox'
import type { ServedFile } from './audio-file.ts'
import type { ObjectUrls } from './audio-url.ts'
import type { Metrics } from './metrics.ts'
import type { SchemaName } from './schemas.ts'
import type { TrackReader } from './track-reader.ts'

export const tracksPath = '/api/v1/tracks'

export interface ApiOptions {
  readonly reader: TrackReader
  /** undefined: no CDN is configured, tracks in S3 cannot be played from here */
  readonly objectUrls: ObjectUrls | undefined
  readonly openFile: (filePath: string) => Promise<ServedFile>
  /** undefined: no bucket is configured */
  readonly checkBucket: (() => Promise<void>) | undefined
  readonly metrics: Metrics
  readonly now: () => Date
  /** origins that browsers may ask from; `*` is any */
  readonly corsOrigins: readonly string[]
  /** how the outside reaches this server; undefined: as the request names it */
  readonly publicUrl: string | undefined
  /** behind a proxy whose `X-Forwarded-*` may be believed */
  readonly trustProxy: boolean
  /** a request that failed on our side; `error` may hold paths, the client never sees it */
  readonly onFailure: (what: { route: string; trackId?: string; error: Error }) => void
}

export type Api = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

/**
 * Where this server is asked: as it was told; else as the request says, if that is this machine as far as it knows
 * itself. A `Host` header is anyone's word, and whoever follows it goes there: for any other the URL is relative.
 */
export function baseUrl(request: FastifyRequest, { publicUrl, trustProxy }: ApiOptions): string {
  if (publicUrl !== undefined) return publicUrl
  const { localAddress, localPort } = request.raw.socket
  const asked = URL.parse(`${request.protocol}://${request.host}`)
  const host = asked?.hostname.replace(/^\[(.*)\]$/, '$1')
  const isOwn =
    (host === 'localhost' || host === hostname() || host === localAddress?.replace(/^::ffff:/, '')) &&
    Number(asked?.port || (request.protocol === 'https' ? 443 : 80)) === localPort
  return asked !== null && (trustProxy || isOwn) ? asked.origin : ''
}

/** An answer that is not the one hoped for: thrown in a route, worded as the application words it. */
export class Refusal extends Error {
  readonly statusCode: number
  /** for the metrics */
  readonly reason: string

  constructor(statusCode: number, detail: string, reason: string) {
    super(detail)
    this.statusCode = statusCode
    this.reason = reason
  }
}

export const trackNotFound = () => new Refusal(404, 'Track not found', 'track-not-found')

/** A schema by name, as an answer of a route. */
export const ref = (name: SchemaName, description: string) =>
  Type.Unsafe<unknown>({ $ref: `${name}#`, description })

/** What any route may answer. */
export const failures = { 500: ref('Problem', 'A failure on our side') }
/** What a route with inputs may answer. */
export const invalid = { 422: ref('InvalidInput', 'The input is wrong') }
/** What a route that asks the database may answer. */
export const unavailable = { 503: ref('Problem', 'The database cannot be reached') }
