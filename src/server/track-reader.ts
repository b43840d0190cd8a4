/** What the tracks API reads from the database. Every column is named: a table with more columns leaks none of them. */
import type { Knex } from 'knex'
import type { AudioLocation } from '../core/audio-source.ts'
import { batched } from './batch.ts'

/** Columns of a track in a list: those that are one value. */
export const plainColumns = [
  'id',
  'spotify_id',
  'title',
  'artist',
  'album',
  'duration',
  'duration_ms',
  'popularity',
  'preview_url',
  'file_size',
  's3_object_key',
  'bpm',
  'key',
  'energy',
  'danceability',
  'valence',
  'acousticness',
  'instrumentalness',
  'liveness',
  'speechiness',
  'loudness',
  'beat_confidence',
  'beat_regularity',
  'average_beat_interval',
  'dominant_style',
  'style_confidence',
  'mix_in_point',
  'mix_out_point',
  'intro_end',
  'outro_start',
  'intro_energy',
  'outro_energy',
  'analysis_version',
  'analysis_error',
  'analyzed_at',
  'created_at',
  'updated_at',
] as const

/** JSON, up to some hundred kilobytes of it; in lists too, where the application's mix page reads it. */
export const jsonColumns = [
  'beat_timestamps',
  'beat_intervals',
  'beat_confidence_scores',
  'style_scores',
  'mixable_sections',
  'energy_profile',
  'vocal_sections',
  'instrumental_sections',
] as const

/** A row as the API answers it. */
type TrackRow = Record<string, unknown>

export interface LocatedTrack extends AudioLocation {
  readonly title: string
  readonly artist: string
}

interface TrackStats {
  total_tracks: number
  analyzed_tracks: number
  analysis_percentage: number
  file_source_counts: Record<string, number>
  bpm_stats: { min: number | null; max: number | null; avg: number | null }
  key_distribution: Record<string, number>
}

export interface TrackReader {
  /** where the audio of a track is right now; look-ups under load share queries */
  locate(id: string): Promise<LocatedTrack | undefined>
  byId(id: string): Promise<TrackRow | undefined>
  bySpotifyId(spotifyId: string): Promise<TrackRow | undefined>
  list(page: { skip: number; limit: number; hasAnalysis?: boolean; hasFile?: boolean }): Promise<TrackRow[]>
  /** by title or artist, any case */
  search(text: string, limit: number): Promise<TrackRow[]>
  stats(): Promise<TrackStats>
  /** one round trip */
  ping(): Promise<void>
}

const hasFile = `coalesce(file_path is not null or (file_source = 'S3' and s3_object_key is not null), false)`
const computed = [`file_source::text as file_source`, `${hasFile} as has_file`]

export function createTrackReader(knex: Knex): TrackReader {
  const table = () => knex('tracks')
  const summaries = () =>
    table().select(...plainColumns, ...jsonColumns, ...computed.map(one => knex.raw(one)))
  const details = () => summaries().select('file_path')

  const locate = batched<string, LocatedTrack>({
    maxInFlight: 3,
    maxBatch: 256,
    async load(ids) {
      const { rows } = await knex.raw<{ rows: (LocatedTrack & { id: string })[] }>(
        `select id, title, artist, file_source as "fileSource", s3_object_key as "s3ObjectKey", file_path as "filePath"
         from tracks where id = any(?::uuid[])`,
        [[...ids]],
      )
      return new Map(rows.map(row => [row.id, row]))
    },
  })

  return {
    locate: id => locate(id.toLowerCase()),
    byId: id => details().where({ id }).first(),
    bySpotifyId: spotifyId => details().where({ spotify_id: spotifyId }).first(),

    list({ skip, limit, hasAnalysis, hasFile: wanted }) {
      const query = summaries()
      if (hasAnalysis === true) query.whereNotNull('analyzed_at')
      if (hasAnalysis === false) query.whereNull('analyzed_at')
      if (wanted !== undefined) query.whereRaw(wanted ? hasFile : `not ${hasFile}`)
      return query.orderByRaw('created_at desc nulls last, id').offset(skip).limit(limit)
    },

    search(text, limit) {
      const pattern = `%${text.replace(/[\\%_]/g, '\\$&')}%`
      return summaries()
        .where(either => either.whereILike('title', pattern).orWhereILike('artist', pattern))
        .orderByRaw('created_at desc nulls last, id')
        .limit(limit)
    },

    async stats() {
      const [totals, sources, keys] = await Promise.all([
        table().first(
          knex.raw('count(*)::float8 as total'),
          knex.raw('count(analyzed_at)::float8 as analyzed'),
          knex.raw('min(bpm) as min, max(bpm) as max, avg(bpm) as avg'),
        ),
        table()
          .select(knex.raw(`coalesce(file_source::text, 'unknown') as name, count(*)::float8 as count`))
          .groupByRaw('1')
          .orderByRaw('1'),
        table()
          .select(knex.raw('key as name, count(*)::float8 as count'))
          .whereNotNull('key')
          .groupByRaw('1')
          .orderByRaw('1'),
      ])
      const { total, analyzed, min, max, avg } = totals as unknown as Record<string, number>
      return {
        total_tracks: total!,
        analyzed_tracks: analyzed!,
        analysis_percentage: total! > 0 ? round1((analyzed! / total!) * 100) : 0,
        file_source_counts: counts(sources),
        bpm_stats: { min: min ?? null, max: max ?? null, avg: avg === null ? null : round1(avg!) },
        key_distribution: counts(keys),
      }
    },

    async ping() {
      await knex.raw('select 1')
    },
  }
}

function counts(rows: unknown): Record<string, number> {
  return Object.fromEntries(
    (rows as { name: string; count: number }[]).map(({ name, count }) => [name, count]),
  )
}

function round1(value: number): number {
  return Math.round(value * 10) / 10
}
