/** The audio of a track: a redirect to the CDN for an object in S3, ranges of a local file; and where to find either. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { LocalFileError } from '../audio-files/source.ts'
import { audioSource } from '../core/audio-source.ts'
import { answerFileRequest } from '../core/http-range.ts'
import { inlineDisposition } from '../core/server/content-disposition.ts'
import {
  type Api,
  type ApiOptions,
  baseUrl,
  failures,
  invalid,
  Refusal,
  ref,
  trackNotFound,
  tracksPath,
  unavailable,
} from './answers.ts'
import type { ServedFile } from './audio-file.ts'
import { type AudioUrl, TrackId } from './schemas.ts'
import type { LocatedTrack } from './track-reader.ts'

const objectCaching = 'public, max-age=31536000'
const fileCaching = 'public, max-age=3600'

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
    ...invalid,
    ...failures,
    ...unavailable,
  },
}

export function audioRoutes(app: Api, options: ApiOptions): void {
  const { metrics } = options

  async function locate(id: string): Promise<LocatedTrack> {
    const track = await options.reader.locate(id)
    if (!track) throw trackNotFound()
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
      const detail =
        error.problem === 'missing'
          ? 'Audio file not found on disk'
          : 'Audio file not available for this track'
      throw new Refusal(404, detail, `file-${error.problem}`)
    }
  }

  const noAudio = () => new Refusal(404, 'Audio file not available for this track', 'no-audio')

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
        return sendFile(
          options,
          request,
          reply,
          method,
          file,
          source.source,
          `${track.artist} - ${track.title}`,
        )
      },
    })
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
          ...invalid,
          ...failures,
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
      return {
        url: `${baseUrl(request, options)}${tracksPath}/${id}/audio`,
        source: 'local',
        cache_control: fileCaching,
      }
    },
  )
}

async function sendFile(
  { metrics, now }: ApiOptions,
  request: FastifyRequest,
  reply: FastifyReply,
  method: 'GET' | 'HEAD',
  file: ServedFile,
  source: 'local' | 'youtube',
  name: string,
) {
  let streaming = false
  try {
    // As the application's answer has it for whoever names no origin; for one that does, the origin is named.
    if (request.headers.origin === undefined) reply.header('access-control-allow-origin', '*')
    const answer = answerFileRequest(method, request.headers, { ...file, now: now() })
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
