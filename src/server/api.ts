/**
 * The tracks API over HTTP: routes, checks of what comes in, and the OpenAPI document made from the same schemas.
 * Decisions are in `core/`, reading is in the reader and the file opener; this is where they meet a request.
 */
import cors from '@fastify/cors'
import swagger from '@fastify/swagger'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import packageJson from '../../package.json' with { type: 'json' }
import { audioSource } from '../core/audio-source.ts'
import { inlineDisposition } from '../core/content-disposition.ts'
import { answerFileRequest } from '../core/http-range.ts'
import { AppError, toError } from '../errors.ts'
import { LocalFileError } from '../upload/source.ts'
import type { ServedFile } from './audio-file.ts'
import type { ObjectUrls } from './audio-url.ts'
import type { Metrics } from './metrics.ts'
import {
  type AudioUrl,
  type Health,
  ListQuery,
  type SchemaName,
  SearchQuery,
  SpotifyId,
  schemas,
  TrackId,
} from './schemas.ts'
import type { LocatedTrack, TrackReader } from './track-reader.ts'

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

/** For how long a health check's look at the bucket holds: `/health` is not a way to send us to S3. */
const bucketCheckMs = 10_000
const objectCaching = 'public, max-age=31536000'
const fileCaching = 'public, max-age=3600'

/** An answer that is not the one hoped for: thrown in a route, worded as the application words it. */
class Refusal extends Error {
  readonly statusCode: number
  readonly reason: string
  constructor(statusCode: number, detail: string, reason: string) {
    super(detail)
    this.statusCode = statusCode
    this.reason = reason
  }
}

const notFound = () => new Refusal(404, 'Track not found', 'track-not-found')

/** @returns the server, ready to listen; closing it waits for answers under way */
export async function createApi(options: ApiOptions): Promise<FastifyInstance> {
  const { reader, metrics } = options
  const app = fastify({
    logger: false,
    trustProxy: options.trustProxy,
    // Nothing here takes a body; a little is read so that a client that sends one gets an answer.
    bodyLimit: 1_024,
    routerOptions: { maxParamLength: 500, ignoreTrailingSlash: true, caseSensitive: true },
    // Long enough for a slow client's headers, short enough that a thousand silent ones go away.
    requestTimeout: 15_000,
    connectionTimeout: 0,
    keepAliveTimeout: 72_000,
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    exposeHeadRoutes: false,
    http: { maxHeaderSize: 16_384, headersTimeout: 10_000 },
  }).withTypeProvider<TypeBoxTypeProvider>()

  let closing = false
  app.addHook('preClose', async () => {
    closing = true
  })
  app.addHook('onResponse', async (request, reply) => {
    // Only connections that are idle when the server closes are closed then; this one has become idle now.
    if (closing) request.raw.socket.end()
    const route = request.routeOptions.url ?? 'unknown'
    metrics.request(route, request.method, reply.statusCode, reply.elapsedTime / 1_000)
  })
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ detail: 'Not Found' }))
  app.setErrorHandler((thrown, request, reply) => answerError(thrown, request, reply))

  await app.register(cors, {
    origin: options.corsOrigins.includes('*') ? '*' : [...options.corsOrigins],
    methods: ['GET', 'HEAD', 'OPTIONS'],
    allowedHeaders: [
      'Range',
      'If-Range',
      'If-None-Match',
      'If-Modified-Since',
      'Content-Type',
      'Authorization',
    ],
    exposedHeaders: ['Accept-Ranges', 'Content-Disposition', 'Content-Length', 'Content-Range', 'ETag'],
    maxAge: 86_400,
    strictPreflight: false,
  })
  await app.register(swagger, {
    exposeHeadRoutes: true,
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Auto-DJ tracks',
        version: packageJson.version,
        description: 'Tracks and their audio: redirects to the CDN for objects in S3, ranges of local files.',
      },
      tags: [{ name: 'tracks' }, { name: 'operation' }],
    },
    refResolver: { buildLocalReference: (json, _base, _fragment, i) => String(json['$id'] ?? `schema-${i}`) },
  })
  for (const schema of Object.values(schemas)) app.addSchema(schema)

  const ref = (name: SchemaName, description: string) =>
    Type.Unsafe<unknown>({ $ref: `${name}#`, description })
  const answers = {
    422: ref('InvalidInput', 'The input is wrong'),
    500: ref('Problem', 'A failure on our side'),
  }
  const unavailable = { 503: ref('Problem', 'The database cannot be reached') }

  async function locate(id: string): Promise<LocatedTrack> {
    const track = await reader.locate(id)
    if (!track) throw notFound()
    return track
  }

  function objectUrl(key: string) {
    if (!options.objectUrls) {
      throw new Refusal(404, 'Audio file not available for this track', 'no-cdn')
    }
    return options.objectUrls(key)
  }

  async function openTrackFile(id: string, filePath: string): Promise<ServedFile> {
    try {
      return await options.openFile(filePath)
    } catch (error) {
      if (!(error instanceof LocalFileError)) throw error
      options.onFailure({ route: `${tracksPath}/:id/audio`, trackId: id, error })
      throw new Refusal(404, 'Audio file not available for this track', `file-${error.problem}`)
    }
  }

  const noAudio = () => new Refusal(404, 'Audio file not available for this track', 'no-audio')

  const binary = (description: string, headers: readonly string[]) => ({
    description,
    headers: Object.fromEntries(headers.map(name => [name, { schema: { type: 'string' } }])),
    content: { 'audio/*': { schema: { type: 'string', format: 'binary' } } },
  })
  const empty = (description: string, headers: readonly string[] = []) => ({
    type: 'null',
    description,
    headers: Object.fromEntries(headers.map(name => [name, { type: 'string' }])),
  })

  const audioSchema = {
    tags: ['tracks'],
    params: TrackId,
    headers: Type.Object({
      range: Type.Optional(Type.String({ maxLength: 500, description: 'bytes=0-499 or bytes=-500' })),
      'if-range': Type.Optional(Type.String({ maxLength: 500 })),
      'if-none-match': Type.Optional(Type.String({ maxLength: 2_000 })),
      'if-modified-since': Type.Optional(Type.String({ maxLength: 100 })),
    }),
    response: {
      200: binary('The whole file', ['ETag', 'Last-Modified', 'Accept-Ranges', 'Content-Disposition']),
      206: binary('The part asked for', ['Content-Range', 'ETag', 'Last-Modified', 'Accept-Ranges']),
      302: empty('The audio is an object in S3: where the CDN serves it', ['Location']),
      304: empty('What the client has is still right', ['ETag']),
      412: ref('Problem', 'If-Match or If-Unmodified-Since do not hold'),
      416: ref('Problem', 'No such range in the file'),
      404: ref('Problem', 'No such track, or no audio for it'),
      ...answers,
      ...unavailable,
    },
  }
  for (const method of ['GET', 'HEAD'] as const) {
    app.route({
      method,
      url: `${tracksPath}/:id/audio`,
      schema: {
        ...audioSchema,
        operationId: method === 'GET' ? 'getAudio' : 'headAudio',
        summary: method === 'GET' ? 'The audio of a track' : 'What GET would answer, without the audio',
      },
      handler: async (request, reply) => {
        const { id } = request.params
        const track = await locate(id)
        const source = audioSource(track)
        if (source.kind === 'none') throw noAudio()
        if (source.kind === 's3') {
          const { url } = objectUrl(source.key)
          metrics.redirect('s3')
          // The row may change any time; what must be cached is the object behind the URL.
          return reply.header('cache-control', 'no-store').redirect(url, 302)
        }
        const file = await openTrackFile(id, source.filePath)
        return sendFile(request, reply, method, file, source.source, `${track.artist} - ${track.title}`)
      },
    })
  }

  async function sendFile(
    request: FastifyRequest,
    reply: FastifyReply,
    method: 'GET' | 'HEAD',
    file: ServedFile,
    source: 'local' | 'youtube',
    name: string,
  ) {
    let streaming = false
    try {
      const answer = answerFileRequest(method, request.headers, { ...file, now: options.now() })
      reply.headers({
        'accept-ranges': 'bytes',
        'cache-control': fileCaching,
        etag: file.etag,
        'last-modified': file.lastModified.toUTCString(),
      })
      if (answer.status === 304) return reply.code(304).send()
      if (answer.status === 412) return reply.code(412).send({ detail: 'The file is another one by now' })
      if (answer.status === 416) {
        return reply
          .code(416)
          .header('content-range', `bytes */${file.size}`)
          .header('cache-control', 'no-store')
          .send({ detail: 'Requested range is not satisfiable' })
      }
      const [start, end] = answer.status === 206 ? [answer.start, answer.end] : [0, file.size - 1]
      if (answer.status === 206) reply.header('content-range', `bytes ${start}-${end}/${file.size}`)
      reply.code(answer.status).headers({
        'content-type': file.contentType,
        'content-length': end - start + 1,
        'content-disposition': inlineDisposition(name, file.extension),
        // Content-Type comes from the bytes already; a browser must not see a page in an odd audio file.
        'x-content-type-options': 'nosniff',
      })
      if (method === 'HEAD') return reply.send()
      metrics.audio(source, end - start + 1)
      streaming = true
      return reply.send(file.stream(start, end))
    } finally {
      if (!streaming) await file.close()
    }
  }

  app.get(
    `${tracksPath}/:id/audio/url`,
    {
      schema: {
        operationId: 'getAudioUrl',
        summary: 'Where a player gets the audio of a track',
        tags: ['tracks'],
        params: TrackId,
        response: {
          200: ref('AudioUrl', 'The URL'),
          404: ref('Problem', 'No such track, or no audio for it'),
          ...answers,
          ...unavailable,
        },
      },
    },
    async (request, reply): Promise<AudioUrl> => {
      const { id } = request.params
      const source = audioSource(await locate(id))
      if (source.kind === 'none') throw noAudio()
      reply.header('cache-control', 'no-store')
      if (source.kind === 's3') {
        const { url, expiresAt } = objectUrl(source.key)
        return {
          url,
          source: 's3',
          cache_control: objectCaching,
          ...(expiresAt === undefined ? {} : { expires_at: expiresAt.toISOString() }),
        }
      }
      const file = await openTrackFile(id, source.filePath)
      await file.close()
      const base = options.publicUrl ?? `${request.protocol}://${request.host}`
      return { url: `${base}${tracksPath}/${id}/audio`, source: 'local', cache_control: fileCaching }
    },
  )

  app.get(
    `${tracksPath}/`,
    {
      schema: {
        operationId: 'listTracks',
        summary: 'Tracks, newest first',
        tags: ['tracks'],
        querystring: ListQuery,
        response: {
          200: { type: 'array', description: 'A page of tracks', items: { $ref: 'TrackSummary#' } },
          ...answers,
          ...unavailable,
        },
      },
    },
    request => {
      const { skip, limit, has_analysis: hasAnalysis, has_file: hasFile } = request.query
      return reader.list({ skip, limit, hasAnalysis, hasFile })
    },
  )

  app.get(
    `${tracksPath}/search/`,
    {
      schema: {
        operationId: 'searchTracks',
        summary: 'Tracks by title or artist',
        tags: ['tracks'],
        querystring: SearchQuery,
        response: {
          200: { type: 'array', description: 'Tracks found', items: { $ref: 'TrackSummary#' } },
          400: ref('Problem', 'Too little to search for'),
          ...answers,
          ...unavailable,
        },
      },
    },
    request => {
      const text = request.query.q.trim()
      if ([...text].length < 2 || text.includes('\0'))
        throw new Refusal(400, 'Search query must be at least 2 characters', 'search-too-short')
      return reader.search(text, request.query.limit)
    },
  )

  app.get(
    `${tracksPath}/stats/`,
    {
      schema: {
        operationId: 'getStats',
        summary: 'The library in numbers',
        tags: ['tracks'],
        response: { 200: ref('Stats', 'Counts'), 500: answers[500], ...unavailable },
      },
    },
    () => reader.stats(),
  )

  const oneTrack = {
    200: ref('Track', 'The track'),
    404: ref('Problem', 'No such track'),
    ...answers,
    ...unavailable,
  }
  app.get(
    `${tracksPath}/spotify/:spotify_id`,
    {
      schema: {
        operationId: 'getTrackBySpotifyId',
        summary: 'A track by its Spotify id',
        tags: ['tracks'],
        params: SpotifyId,
        response: oneTrack,
      },
    },
    async request => (await reader.bySpotifyId(request.params.spotify_id)) ?? Promise.reject(notFound()),
  )
  app.get(
    `${tracksPath}/:id`,
    {
      schema: {
        operationId: 'getTrack',
        summary: 'A track with its whole analysis',
        tags: ['tracks'],
        params: TrackId,
        response: oneTrack,
      },
    },
    async request => (await reader.byId(request.params.id)) ?? Promise.reject(notFound()),
  )

  const checkBucket = heldFor(
    bucketCheckMs,
    () => options.now().getTime(),
    () => check(options.checkBucket),
  )
  app.get(
    '/health',
    {
      schema: {
        operationId: 'getHealth',
        summary: 'Whether database and bucket can be reached',
        tags: ['operation'],
        response: {
          200: ref('Health', 'Requests are answered'),
          503: ref('Health', 'The database cannot be reached'),
          500: answers[500],
        },
      },
    },
    async (_request, reply): Promise<Health> => {
      const [database, bucket] = await Promise.all([check(() => reader.ping()), checkBucket()])
      const status = database.status !== 'ok' ? 'down' : bucket.status === 'failed' ? 'degraded' : 'ok'
      reply.code(status === 'down' ? 503 : 200).header('cache-control', 'no-store')
      return { status, database, bucket }
    },
  )

  app.get(
    '/metrics',
    {
      schema: {
        operationId: 'getMetrics',
        summary: 'For Prometheus',
        tags: ['operation'],
        response: {
          200: {
            description: 'Text exposition format',
            content: { 'text/plain': { schema: { type: 'string' } } },
          },
          500: answers[500],
        },
      },
    },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()),
  )

  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())

  function answerError(thrown: unknown, request: FastifyRequest, reply: FastifyReply) {
    const error = toError(thrown) as Error & {
      validation?: readonly { instancePath?: string; message?: string; keyword?: string; params?: object }[]
      validationContext?: string
      statusCode?: number
    }
    if (error.validation) {
      metrics.failure('invalid-input')
      const where =
        error.validationContext === 'querystring' ? 'query' : (error.validationContext ?? 'request')
      return reply.code(422).send({
        detail: error.validation.map(({ instancePath = '', message = 'is wrong', keyword = 'invalid' }) => ({
          loc: [where, ...instancePath.split('/').filter(part => part !== '')],
          msg: message,
          type: keyword,
        })),
      })
    }
    if (error instanceof Refusal) {
      metrics.failure(error.reason)
      return reply.code(error.statusCode).header('cache-control', 'no-store').send({ detail: error.message })
    }
    if (error.statusCode !== undefined && error.statusCode < 500) {
      metrics.failure('bad-request')
      return reply.code(error.statusCode).send({ detail: 'Bad request' })
    }
    const away = error instanceof AppError && error.code.startsWith('db.')
    metrics.failure(error instanceof AppError ? error.code : 'internal')
    options.onFailure({ route: request.routeOptions.url ?? request.method, error })
    return away
      ? reply.code(503).header('retry-after', '5').send({ detail: 'The database cannot be reached' })
      : reply.code(500).send({ detail: 'Internal error' })
  }

  return app as unknown as FastifyInstance
}

async function check(test: (() => Promise<void>) | undefined): Promise<Health['database']> {
  if (!test) return { status: 'not configured' }
  try {
    await test()
    return { status: 'ok' }
  } catch (error) {
    return { status: 'failed', error: error instanceof AppError ? error.code : 'unknown' }
  }
}

/** The result of `work`, asked for again only when the last one is older than `milliseconds`. */
function heldFor<T>(milliseconds: number, now: () => number, work: () => Promise<T>): () => Promise<T> {
  let held: { at: number; result: Promise<T> } | undefined
  return () => {
    if (!held || now() - held.at >= milliseconds) held = { at: now(), result: work() }
    return held.result
  }
}
