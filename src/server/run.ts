/** `autodj serve`: opens what the API needs, listens, and drains when it is told to stop. */

import { once } from 'node:events'
import { openSigner } from '../cdn/served.ts'
import type { Context } from '../context.ts'
import { formatDuration, printable } from '../core/units.ts'
import { requireSchema } from '../db/require-schema.ts'
import { FatalError, systemErrorReason } from '../errors.ts'
import { createApi } from './api.ts'
import { createFileOpener } from './audio-file.ts'
import { createObjectUrls } from './audio-url.ts'
import type { ServeFlags } from './flags.ts'
import { createMetrics } from './metrics.ts'
import { createTrackReader } from './track-reader.ts'

/**
 * Serves until the context is told to stop, then lets answers under way finish for `drainTimeout`.
 * @throws FatalError when the address cannot be listened on; what opening database or signer throws
 */
export async function runServer(context: Context, flags: ServeFlags): Promise<void> {
  const { config, report } = context
  const signer = await openSigner(config)
  const database = await context.database()
  await requireSchema(database)
  const { bucket } = config.s3
  if (!config.cdn)
    report.warn(
      'CLOUDFRONT_DOMAIN is not set: requests for tracks in S3 are answered with 404; local ones play',
    )

  const app = await createApi({
    reader: createTrackReader(database.knex),
    objectUrls:
      config.cdn &&
      createObjectUrls({ ...config.cdn, signer, lifetimeMs: flags.urlLifetime, now: context.now }),
    openFile: createFileOpener(config.audioFolder),
    checkBucket:
      bucket === undefined
        ? undefined
        : async () => (await context.store()).checkBucket(AbortSignal.timeout(5_000)),
    metrics: createMetrics({ process: true }),
    now: context.now,
    corsOrigins: flags.corsOrigin.length > 0 ? flags.corsOrigin : (config.corsOrigins ?? ['*']),
    publicUrl: flags.publicUrl,
    trustProxy: flags.trustProxy,
    onFailure({ route, trackId, error }) {
      const about = trackId === undefined ? route : `track ${trackId}`
      report.warn(`${about}: ${printable(error.message)}`, { route, track_id: trackId })
      if (report.verbose && error.stack) report.detail(error.stack)
    },
  })
  context.onRelease(() => app.close())

  let address: string
  try {
    address = await app.listen({ host: flags.host, port: flags.port })
  } catch (error) {
    throw new FatalError(`cannot listen on ${flags.host}:${flags.port}: ${systemErrorReason(error)}`, {
      code: 'serve.listen',
      cause: error,
    })
  }
  report.data(`Serving on ${address}/api/v1/tracks`, { message_type: 'status', state: 'listening', address })
  const started = context.now().getTime()
  if (!context.stopping.aborted) await once(context.stopping, 'abort')

  // Idle connections go at once; a stream that outlasts the limit is cut, as is everything on a second signal.
  const cut = () => app.server.closeAllConnections()
  const limit = setTimeout(cut, flags.drainTimeout)
  context.signal.addEventListener('abort', cut, { once: true })
  try {
    await app.close()
  } finally {
    clearTimeout(limit)
    context.signal.removeEventListener('abort', cut)
  }
  const ran = context.now().getTime() - started
  report.summary({ lines: [`Stopped after ${formatDuration(ran)}.`], fields: { seconds: ran / 1_000 } })
}
