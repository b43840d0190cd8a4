import type { Knex } from 'knex'

/**
 * The application's own schema as its Alembic revision a312ec46df43 has it, names of constraints and indexes
 * included, so that the application's `alembic upgrade head` goes on from there.
 */
export const createStatements: readonly string[] = [
  `create type public.filesource as enum ('LOCAL', 'YOUTUBE', 'UNAVAILABLE', 'S3')`,
  `create type public.jobstatus as enum ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED')`,
  `create table public.alembic_version (
  version_num character varying(32) not null,
  constraint alembic_version_pkc primary key (version_num)
)`,
  `create table public.analysis_jobs (
  id uuid not null,
  playlist_url character varying not null,
  playlist_id character varying,
  playlist_name character varying,
  status public.jobstatus,
  total_tracks integer,
  analyzed_tracks integer,
  downloaded_tracks integer,
  failed_tracks integer,
  error_message text,
  error_details json,
  result json,
  options json,
  created_at timestamp with time zone default now(),
  updated_at timestamp with time zone,
  started_at timestamp with time zone,
  completed_at timestamp with time zone,
  constraint analysis_jobs_pkey primary key (id)
)`,
  'create index ix_analysis_jobs_status on public.analysis_jobs using btree (status)',
  `create table public.tracks (
  id uuid not null,
  spotify_id character varying not null,
  title character varying not null,
  artist character varying not null,
  album character varying,
  duration double precision,
  duration_ms double precision,
  popularity double precision,
  preview_url character varying,
  file_path character varying,
  file_source public.filesource,
  file_size double precision,
  bpm double precision,
  key character varying,
  energy double precision,
  danceability double precision,
  valence double precision,
  acousticness double precision,
  instrumentalness double precision,
  liveness double precision,
  speechiness double precision,
  loudness double precision,
  analysis_version character varying,
  analyzed_at timestamp with time zone,
  analysis_error text,
  created_at timestamp with time zone default now(),
  updated_at timestamp with time zone,
  beat_timestamps json,
  beat_intervals json,
  beat_confidence double precision,
  beat_confidence_scores json,
  beat_regularity double precision,
  average_beat_interval double precision,
  dominant_style character varying,
  style_scores json,
  style_confidence double precision,
  mix_in_point double precision,
  mix_out_point double precision,
  mixable_sections json,
  intro_end double precision,
  outro_start double precision,
  intro_energy double precision,
  outro_energy double precision,
  energy_profile json,
  vocal_sections json,
  instrumental_sections json,
  s3_object_key character varying,
  constraint tracks_pkey primary key (id)
)`,
  'create unique index ix_tracks_spotify_id on public.tracks using btree (spotify_id)',
  `create table public.mix_transitions (
  id uuid not null,
  job_id uuid not null,
  "position" integer not null,
  track_a_id uuid not null,
  track_b_id uuid not null,
  transition_start double precision not null,
  transition_duration double precision not null,
  technique character varying,
  bpm_adjustment double precision,
  bpm_compatibility double precision,
  key_compatibility double precision,
  energy_compatibility double precision,
  overall_score double precision,
  mix_metadata json,
  created_at timestamp with time zone default now(),
  constraint mix_transitions_pkey primary key (id),
  constraint mix_transitions_job_id_fkey foreign key (job_id) references public.analysis_jobs(id),
  constraint mix_transitions_track_a_id_fkey foreign key (track_a_id) references public.tracks(id),
  constraint mix_transitions_track_b_id_fkey foreign key (track_b_id) references public.tracks(id)
)`,
  `insert into public.alembic_version (version_num) values ('a312ec46df43')`,
]

export async function up(knex: Knex): Promise<void> {
  for (const statement of createStatements) await knex.raw(statement)
}

export async function down(_knex: Knex): Promise<void> {}
