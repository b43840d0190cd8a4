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

const newestFirst = 'created_at desc nulls last, id'

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
      // Rows are passed over by their ids alone: with the index of `migrate --indexes`, without a look at them.
      const page = table().select('id')
      if (hasAnalysis === true) page.whereNotNull('analyzed_at')
      if (hasAnalysis === false) page.whereNull('analyzed_at')
      if (wanted !== undefined) page.whereRaw(wanted ? hasFile : `not ${hasFile}`)
      page.orderByRaw(newestFirst).offset(skip).limit(limit)
      return summaries().whereIn('id', page).orderByRaw(newestFirst)
    },

    search(text, limit) {
      const pattern = `%${text.replace(/[\\%_]/g, '\\$&')}%`
      return summaries()
        .where(either => either.whereILike('title', pattern).orWhereILike('artist', pattern))
        .orderByRaw(newestFirst)
        .limit(limit)
    },

    async stats() {
      // One scan: by source and key, which are few, and then added up.
      const { rows } = await knex.raw<{ rows: StatsGroup[] }>(
        `select coalesce(file_source::text, 'unknown') as source, key, count(*)::float8 as total,
           count(analyzed_at)::float8 as analyzed, min(bpm) as min, max(bpm) as max,
           coalesce(sum(bpm), 0) as sum, count(bpm)::float8 as counted
         from tracks group by 1, 2 order by 1, 2`,
      )
      const sumOf = (field: 'total' | 'analyzed' | 'sum' | 'counted'): number =>
        rows.reduce((sum, group) => sum + group[field], 0)
      const [total, analyzed, counted] = [sumOf('total'), sumOf('analyzed'), sumOf('counted')]
      const bpms = rows.filter(group => group.counted > 0)
      return {
        total_tracks: total,
        analyzed_tracks: analyzed,
        analysis_percentage: total > 0 ? round1((analyzed / total) * 100) : 0,
        file_source_counts: counts(rows.map(({ source, total: count }) => [source, count])),
        bpm_stats:
          counted === 0
            ? { min: null, max: null, avg: null }
            : {
                min: Math.min(...bpms.map(({ min }) => min as number)),
                max: Math.max(...bpms.map(({ max }) => max as number)),
                avg: round1(sumOf('sum') / counted),
              },
        key_distribution: counts(
          rows.flatMap(({ key, total: count }) => (key === null ? [] : [[key, count] as const])),
        ),
      }
    },

    async ping() {
      await knex.raw('select 1')
    },
  }
}

/** Tracks of one source and key. */
interface StatsGroup {
  source: string
  key: string | null
  total: number
  analyzed: number
  min: number | null
  max: number | null
  sum: number
  counted: number
}

/** Added up by name, in the order of the names. */
function counts(groups: readonly (readonly [name: string, count: number])[]): Record<string, number> {
  const sums = new Map<string, number>()
  for (const [name, count] of groups) sums.set(name, (sums.get(name) ?? 0) + count)
  return Object.fromEntries([...sums].sort(([a], [b]) => (a < b ? -1 : 1)))
}

function round1(value: number): number {
  return Math.round(value * 10) / 10
}
