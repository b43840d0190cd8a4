/**
 * The application's own schema, as each revision of its Alembic history leaves it. Facts about the past: nothing here
 * changes any longer, except that later revisions may be added.
 */

export interface Column {
  name: string
  /** As `format_type` writes it, with its schema if that is not pg_catalog. */
  type: string
  nullable: boolean
  /** As `pg_get_expr` writes it. */
  default: string | null
}

export interface Constraint {
  name: string
  /** As `pg_get_constraintdef` writes it. */
  definition: string
}

interface Index {
  name: string
  unique: boolean
  /** As `pg_get_indexdef` writes it, without the name. */
  definition: string
}

export interface Table {
  columns: readonly Column[]
  constraints: readonly Constraint[]
  /** Those that back no constraint. */
  indexes: readonly Index[]
}

export interface Schema {
  /** Values by name of the type. */
  enums: Readonly<Record<string, readonly string[]>>
  tables: Readonly<Record<string, Table>>
}

/** The revision that autodj brings a database to: `s3_object_key` and the enum value S3. */
export const head = 'a312ec46df43'

/** Oldest first. The last one repeats the enum value of the one before and changes nothing. */
export const knownRevisions = ['d787594d0323', 'f2ff23da73e9', 'd586b7432ebd', head, 'c16dd5ffbdbd'] as const

export type Revision = (typeof knownRevisions)[number]

export function isRevision(text: string): text is Revision {
  return (knownRevisions as readonly string[]).includes(text)
}

const required = (type: string, ...names: string[]): Column[] =>
  names.map(name => ({ name, type, nullable: false, default: null }))
const optional = (type: string, ...names: string[]): Column[] =>
  names.map(name => ({ name, type, nullable: true, default: null }))

const textType = 'character varying'
const number = 'double precision'
const time = 'timestamp with time zone'
const createdAt: Column = { name: 'created_at', type: time, nullable: true, default: 'now()' }

/** Columns that each revision brought to `tracks`. */
const trackColumns: Readonly<Record<Revision, readonly Column[]>> = {
  d787594d0323: [
    ...required('uuid', 'id'),
    ...required(textType, 'spotify_id', 'title', 'artist'),
    ...optional(textType, 'album'),
    ...optional(number, 'duration', 'duration_ms', 'popularity'),
    ...optional(textType, 'preview_url', 'file_path'),
    ...optional('public.filesource', 'file_source'),
    ...optional(number, 'file_size', 'bpm'),
    ...optional(textType, 'key'),
    ...optional(number, 'energy', 'danceability', 'valence', 'acousticness', 'instrumentalness', 'liveness'),
    ...optional(number, 'speechiness', 'loudness'),
    ...optional(textType, 'analysis_version'),
    ...optional(time, 'analyzed_at'),
    ...optional('text', 'analysis_error'),
    createdAt,
    ...optional(time, 'updated_at'),
  ],
  f2ff23da73e9: [
    ...optional('json', 'beat_timestamps', 'beat_intervals'),
    ...optional(number, 'beat_confidence'),
    ...optional('json', 'beat_confidence_scores'),
    ...optional(number, 'beat_regularity', 'average_beat_interval'),
  ],
  d586b7432ebd: [
    ...optional(textType, 'dominant_style'),
    ...optional('json', 'style_scores'),
    ...optional(number, 'style_confidence', 'mix_in_point', 'mix_out_point'),
    ...optional('json', 'mixable_sections'),
    ...optional(number, 'intro_end', 'outro_start', 'intro_energy', 'outro_energy'),
    ...optional('json', 'energy_profile', 'vocal_sections', 'instrumental_sections'),
  ],
  a312ec46df43: optional(textType, 's3_object_key'),
  c16dd5ffbdbd: [],
}

const analysisJobs: Table = {
  columns: [
    ...required('uuid', 'id'),
    ...required(textType, 'playlist_url'),
    ...optional(textType, 'playlist_id', 'playlist_name'),
    ...optional('public.jobstatus', 'status'),
    ...optional('integer', 'total_tracks', 'analyzed_tracks', 'downloaded_tracks', 'failed_tracks'),
    ...optional('text', 'error_message'),
    ...optional('json', 'error_details', 'result', 'options'),
    createdAt,
    ...optional(time, 'updated_at', 'started_at', 'completed_at'),
  ],
  constraints: [{ name: 'analysis_jobs_pkey', definition: 'PRIMARY KEY (id)' }],
  indexes: [
    {
      name: 'ix_analysis_jobs_status',
      unique: false,
      definition: 'CREATE INDEX ON public.analysis_jobs USING btree (status)',
    },
  ],
}

const mixTransitions: Table = {
  columns: [
    ...required('uuid', 'id', 'job_id'),
    ...required('integer', 'position'),
    ...required('uuid', 'track_a_id', 'track_b_id'),
    ...required(number, 'transition_start', 'transition_duration'),
    ...optional(textType, 'technique'),
    ...optional(number, 'bpm_adjustment', 'bpm_compatibility', 'key_compatibility', 'energy_compatibility'),
    ...optional(number, 'overall_score'),
    ...optional('json', 'mix_metadata'),
    createdAt,
  ],
  constraints: [
    { name: 'mix_transitions_pkey', definition: 'PRIMARY KEY (id)' },
    {
      name: 'mix_transitions_job_id_fkey',
      definition: 'FOREIGN KEY (job_id) REFERENCES public.analysis_jobs(id)',
    },
    {
      name: 'mix_transitions_track_a_id_fkey',
      definition: 'FOREIGN KEY (track_a_id) REFERENCES public.tracks(id)',
    },
    {
      name: 'mix_transitions_track_b_id_fkey',
      definition: 'FOREIGN KEY (track_b_id) REFERENCES public.tracks(id)',
    },
  ],
  indexes: [],
}

const alembicVersion: Table = {
  columns: required('character varying(32)', 'version_num'),
  constraints: [{ name: 'alembic_version_pkc', definition: 'PRIMARY KEY (version_num)' }],
  indexes: [],
}

/** What a database at that revision holds. Tables in an order in which they can be made. */
export function schemaAt(revision: Revision): Schema {
  const past = knownRevisions.slice(0, knownRevisions.indexOf(revision) + 1)
  return {
    enums: {
      filesource: ['LOCAL', 'YOUTUBE', 'UNAVAILABLE', ...(past.includes(head) ? ['S3'] : [])],
      jobstatus: ['PENDING', 'PROCESSING', 'COMPLETED', 'FAILED'],
    },
    tables: {
      alembic_version: alembicVersion,
      analysis_jobs: analysisJobs,
      tracks: {
        columns: past.flatMap(each => trackColumns[each]),
        constraints: [{ name: 'tracks_pkey', definition: 'PRIMARY KEY (id)' }],
        indexes: [
          {
            name: 'ix_tracks_spotify_id',
            unique: true,
            definition: 'CREATE UNIQUE INDEX ON public.tracks USING btree (spotify_id)',
          },
        ],
      },
      mix_transitions: mixTransitions,
    },
  }
}
