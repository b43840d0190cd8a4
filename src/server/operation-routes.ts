/** For whoever operates the server: health, metrics. */
import { AppError } from '../errors.ts'
import { type Api, type ApiOptions, failures, ref } from './answers.ts'
import type { Health } from './schemas.ts'

/** For how long a health check's look at the bucket holds: `/health` is not a way to send us to S3. */
const bucketCheckMs = 10_000

export function operationRoutes(app: Api, options: ApiOptions): void {
  const { reader, metrics } = options
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
          ...failures,
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
          ...failures,
        },
      },
    },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()),
  )
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
