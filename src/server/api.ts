/**
 * The tracks API over HTTP: the server, its limits, how it refuses, and the OpenAPI document made from the schemas of its
 * routes. Decisions are in `core/`, reading is in the reader and the file opener.
 */
import cors from '@fastify/cors'
import swagger from '@fastify/swagger'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import packageJson from '../../package.json' with { type: 'json' }
import { AppError, toError } from '../errors.ts'
import { type ApiOptions, baseUrl, Refusal, tracksPath } from './answers.ts'
import { audioRoutes } from './audio-routes.ts'
import { operationRoutes } from './operation-routes.ts'
import { schemas } from './schemas.ts'
import { trackRoutes } from './track-routes.ts'

/** A path of one track with a slash too many at its end. */
const oneTrack = new RegExp(`^${tracksPath}/(?!search/|stats/)(?:spotify/)?[^/]+(?:/audio(?:/url)?)?/+$`)

/** @returns the server, ready to listen; closing it waits for answers under way */
export async function createApi(options: ApiOptions): Promise<FastifyInstance> {
  const { metrics } = options
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

  /** Methods of each route, by what its paths look like. */
  const routes = new Map<RegExp, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const source = url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:[a-z_]+/g, '[^/]+')
    routes.set(new RegExp(`^${source.replace(/\/$/, '')}/?$`), new Set([method].flat()))
  })

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
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? ''
    const others = [...routes]
      .filter(([pattern]) => pattern.test(path))
      .flatMap(([, methods]) => [...methods])
    if (others.length === 0) return reply.code(404).send({ detail: 'Not Found' })
    return reply
      .code(405)
      .header('allow', [...new Set(others)].sort().join(', '))
      .send({ detail: 'Method Not Allowed' })
  })
  // The list ends in a slash there, everything else of a track does not: FastAPI leads whoever has it wrong.
  app.addHook('onRequest', async (request, reply) => {
    const [path = '', query] = request.raw.url?.split('?', 2) ?? []
    const right =
      path === tracksPath ? `${tracksPath}/` : oneTrack.test(path) ? path.replace(/\/+$/, '') : path
    if (right === path) return
    return reply.redirect(
      `${baseUrl(request, options)}${right}${query === undefined ? '' : `?${query}`}`,
      307,
    )
  })
  app.setErrorHandler((thrown, request, reply) => answerError(options, thrown, request, reply))

  await app.register(cors, {
    // Its pages send credentials along, so the answer has to name the origin.
    origin: options.corsOrigins.includes('*') ? true : [...options.corsOrigins],
    credentials: true,
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

  audioRoutes(app, options)
  trackRoutes(app, options)
  operationRoutes(app, options)
  for (const url of ['/openapi.json', '/api/v1/openapi.json']) {
    app.get(url, { schema: { hide: true } }, () => app.swagger())
  }
  return app as unknown as FastifyInstance
}

/** What went wrong, as the client may know it: never a path, never a message of ours. */
function answerError(
  { metrics, onFailure }: ApiOptions,
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
) {
  const error = toError(thrown) as Error & {
    validation?: readonly { instancePath?: string; message?: string; keyword?: string; params?: object }[]
    validationContext?: string
    statusCode?: number
  }
  if (error.validation) {
    metrics.failure('invalid-input')
    const where = error.validationContext === 'querystring' ? 'query' : (error.validationContext ?? 'request')
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
  onFailure({ route: request.routeOptions.url ?? request.method, error })
  return away
    ? reply.code(503).header('retry-after', '5').send({ detail: 'The database cannot be reached' })
    : reply.code(500).send({ detail: 'Internal error' })
}
