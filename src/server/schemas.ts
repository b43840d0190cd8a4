/** Shapes of requests and answers: what Fastify checks, what it serialises, and what the OpenAPI document says. */
import { type Static, Type } from 'typebox'
import { jsonColumns, plainColumns } from './track-reader.ts'

const nullable = <T>(type: string, more: Record<string, unknown> = {}) =>
  Type.Unsafe<T | null>({ type: [type, 'null'], ...more })

const texts = new Set<string>([
  'album',
  'preview_url',
  's3_object_key',
  'key',
  'dominant_style',
  'analysis_version',
  'analysis_error',
])
const times = new Set<string>(['analyzed_at', 'created_at', 'updated_at'])

function column(name: string) {
  if (name === 'id') return Type.String({ format: 'uuid' })
  if (name === 'spotify_id' || name === 'title' || name === 'artist') return Type.String()
  if (texts.has(name)) return nullable<string>('string')
  if (times.has(name)) return nullable<string>('string', { format: 'date-time' })
  return nullable<number>('number')
}

const summaryProperties = {
  ...Object.fromEntries(plainColumns.map(name => [name, column(name)])),
  ...Object.fromEntries(
    jsonColumns.map(name => [name, Type.Unknown({ description: 'as the analysis wrote it' })]),
  ),
  file_source: nullable<string>('string', {
    enum: ['LOCAL', 'YOUTUBE', 'S3', 'UNAVAILABLE', null],
    description: 'where the audio is',
  }),
  has_file: Type.Boolean({ description: 'there is audio, in S3 or in a local file' }),
}

const TrackSummary = Type.Object(summaryProperties, {
  $id: 'TrackSummary',
  description: 'A track as it is in lists',
})

const Track = Type.Object(
  {
    ...summaryProperties,
    file_path: nullable<string>('string', {
      description: "as the row says it, from the application's folder",
    }),
  },
  { $id: 'Track' },
)

const AudioUrl = Type.Object(
  {
    url: Type.String({
      description: 'CDN URL; for a local file where this API has it, relative unless --public-url is given',
    }),
    source: Type.Union([Type.Literal('s3'), Type.Literal('local')]),
    cache_control: Type.String({ description: 'how long the audio behind the URL may be kept' }),
    expires_at: Type.Optional(
      Type.String({ format: 'date-time', description: 'only where the URL is signed: it works until then' }),
    ),
  },
  { $id: 'AudioUrl' },
)
export type AudioUrl = Static<typeof AudioUrl>

const Stats = Type.Object(
  {
    total_tracks: Type.Number(),
    analyzed_tracks: Type.Number(),
    analysis_percentage: Type.Number({ minimum: 0, maximum: 100 }),
    file_source_counts: Type.Record(Type.String(), Type.Number()),
    bpm_stats: Type.Object({
      min: nullable<number>('number'),
      max: nullable<number>('number'),
      avg: nullable<number>('number'),
    }),
    key_distribution: Type.Record(Type.String(), Type.Number()),
  },
  { $id: 'Stats' },
)

const Check = Type.Object({
  status: Type.Union([Type.Literal('ok'), Type.Literal('failed'), Type.Literal('not configured')]),
  error: Type.Optional(Type.String({ description: 'stable code, such as db.unreachable' })),
})

const Health = Type.Object(
  {
    status: Type.Union([Type.Literal('ok'), Type.Literal('degraded'), Type.Literal('down')], {
      description: 'degraded: redirects still work, but the bucket cannot be reached from here',
    }),
    database: Check,
    bucket: Check,
  },
  { $id: 'Health' },
)
export type Health = Static<typeof Health>

/** As the application words its errors. */
const Problem = Type.Object({ detail: Type.String() }, { $id: 'Problem' })

const InvalidInput = Type.Object(
  {
    detail: Type.Array(
      Type.Object({
        loc: Type.Array(Type.String(), { description: 'where: query, limit' }),
        msg: Type.String(),
        type: Type.String(),
      }),
    ),
  },
  { $id: 'InvalidInput' },
)

/** What answers refer to by name, here and in the OpenAPI document. */
export const schemas = { AudioUrl, Health, InvalidInput, Problem, Stats, Track, TrackSummary }
export type SchemaName = keyof typeof schemas

/** What FastAPI takes for a truth value: `1`, `yes`, `on`, in any case. */
const trueWords = ['1', 'true', 't', 'yes', 'y', 'on']
const falseWords = ['0', 'false', 'f', 'no', 'n', 'off']

function truth(description: string) {
  const anyCase = (word: string): string =>
    word.replace(/[a-z]/g, letter => `[${letter}${letter.toUpperCase()}]`)
  return Type.String({
    pattern: `^(${[...trueWords, ...falseWords].map(anyCase).join('|')})$`,
    description,
  })
}

/** A value that passed {@link truth}. */
export function isTrue(text: string | undefined): boolean | undefined {
  return text === undefined ? undefined : trueWords.includes(text.toLowerCase())
}

export const TrackId = Type.Object({ id: Type.String({ format: 'uuid' }) })
export const SpotifyId = Type.Object({ spotify_id: Type.String({ minLength: 1, maxLength: 200 }) })
export const ListQuery = Type.Object({
  skip: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, default: 0 }),
  limit: Type.Integer({ minimum: 0, maximum: 10_000, default: 100 }),
  has_analysis: Type.Optional(truth('the track has been analysed')),
  has_file: Type.Optional(truth('there is audio; a track in S3 counts as having it')),
})
export const SearchQuery = Type.Object({
  q: Type.String({ maxLength: 200, description: 'part of a title or an artist; at least 2 characters' }),
  limit: Type.Integer({ minimum: 0, maximum: 10_000, default: 20 }),
})
