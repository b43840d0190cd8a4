/** Analyses in the database: the application's columns of `tracks`, and the ledger's table beside them. */
import type { Knex } from 'knex'
import type { TrackAnalysis } from '../core/audio/analysis.ts'
import { type BulkColumn, unnest } from './bulk.ts'
import { type ChangeOutcome, existingTracks } from './tracks.ts'

/** What of a row an analysis begins with. */
export interface AnalysisPlan {
  readonly trackId: string
  /** Changes whenever the analysis, the audio or `updated_at` of the row does. */
  readonly fingerprint: string
  /** What an earlier analysis found. */
  readonly bpm: number | null
}

/** Text, because a JavaScript Date has no microseconds. */
const rowFingerprint = `row(analysis_version, analyzed_at, updated_at, file_source, s3_object_key, file_path)::text`

/** What is to be known of these rows before their audio is looked at, by track id. */
export async function planAnalyses(knex: Knex, ids: readonly string[]): Promise<Map<string, AnalysisPlan>> {
  const { rows } = await knex.raw<{ rows: AnalysisPlan[] }>(
    `select id as "trackId", ${rowFingerprint} as fingerprint, bpm from tracks where id = any(?::uuid[])`,
    [[...ids]],
  )
  return new Map(rows.map(row => [row.trackId, row]))
}

/** An analysis to be written, or why there is none. */
export interface AnalysisRecord {
  readonly planned: AnalysisPlan
  readonly analyzedAt: Date
  /** Undefined if there is none: the row's old values stay. */
  readonly analysis: TrackAnalysis | undefined
  /** For `analysis_error`; null if all is well. */
  readonly error: string | null
  /** Sentences about a damaged file. */
  readonly problems: readonly string[]
}

type Analyzed = AnalysisRecord & { readonly analysis: TrackAnalysis }

const json = (value: unknown): string => JSON.stringify(value)

/** The application's columns that the analyser measures; the others keep what they have. */
const rowColumns: readonly BulkColumn<Analyzed>[] = [
  ['bpm', 'float8', ({ analysis }) => analysis.bpm],
  ['key', 'text', ({ analysis }) => analysis.key],
  ['energy', 'float8', ({ analysis }) => analysis.energy],
  ['danceability', 'float8', ({ analysis }) => analysis.danceability],
  ['loudness', 'float8', ({ analysis }) => analysis.loudness],
  ['beat_timestamps', 'json', ({ analysis }) => json(analysis.beatTimestamps)],
  ['beat_intervals', 'json', ({ analysis }) => json(analysis.beatIntervals)],
  ['beat_confidence', 'float8', ({ analysis }) => analysis.beatConfidence],
  ['beat_confidence_scores', 'json', ({ analysis }) => json(analysis.beatConfidenceScores)],
  ['beat_regularity', 'float8', ({ analysis }) => analysis.beatRegularity],
  ['average_beat_interval', 'float8', ({ analysis }) => analysis.averageBeatInterval],
  ['intro_end', 'float8', ({ analysis }) => analysis.introEnd],
  ['outro_start', 'float8', ({ analysis }) => analysis.outroStart],
  ['intro_energy', 'float8', ({ analysis }) => analysis.introEnergy],
  ['outro_energy', 'float8', ({ analysis }) => analysis.outroEnergy],
  ['energy_profile', 'json', ({ analysis }) => json(analysis.energyProfile)],
  ['mix_in_point', 'float8', ({ analysis }) => analysis.mixInPoint],
  ['mix_out_point', 'float8', ({ analysis }) => analysis.mixOutPoint],
  [
    'mixable_sections',
    'json',
    // They begin and end on bar lines, which is what the application's page asks for.
    ({ analysis }) => json(analysis.mixableSections.map(section => ({ ...section, beats_aligned: true }))),
  ],
  ['vocal_sections', 'json', ({ analysis }) => json(analysis.voice?.vocalSections ?? [])],
  ['instrumental_sections', 'json', ({ analysis }) => json(analysis.voice?.instrumentalSections ?? [])],
  ['instrumentalness', 'float8', ({ analysis }) => analysis.voice?.instrumentalness],
  ['analysis_version', 'text', ({ analysis }) => analysis.analysisVersion],
  ['analyzed_at', 'timestamptz', ({ analyzedAt }) => analyzedAt],
  ['analysis_error', 'text', ({ error }) => error],
]

const ledgerColumns: readonly BulkColumn<Analyzed>[] = [
  ['track_id', 'uuid', ({ planned }) => planned.trackId],
  ['analysis_version', 'text', ({ analysis }) => analysis.analysisVersion],
  ['analyzed_at', 'timestamptz', ({ analyzedAt }) => analyzedAt],
  ['duration', 'float8', ({ analysis }) => analysis.duration],
  ['bpm_confidence', 'real', ({ analysis }) => analysis.bpmConfidence],
  ['bpm_alternatives', 'jsonb', ({ analysis }) => json(analysis.bpmAlternatives)],
  ['constant_tempo', 'bool', ({ analysis }) => analysis.constantTempo],
  ['tempo_changes', 'jsonb', ({ analysis }) => json(analysis.tempoChanges)],
  ['tempo_parts', 'jsonb', ({ analysis }) => json(analysis.tempoParts)],
  ['phase_confidence', 'real', ({ analysis }) => analysis.phaseConfidence],
  ['beats_per_bar', 'int', ({ analysis }) => analysis.beatsPerBar],
  ['first_downbeat', 'float8', ({ analysis }) => analysis.firstDownbeat],
  ['downbeats', 'jsonb', ({ analysis }) => json(analysis.downbeats)],
  ['downbeat_confidence', 'real', ({ analysis }) => analysis.downbeatConfidence],
  ['key_confidence', 'real', ({ analysis }) => analysis.keyConfidence],
  ['camelot', 'text', ({ analysis }) => analysis.camelot],
  ['key_profile', 'jsonb', ({ analysis }) => json(analysis.keyProfile)],
  ['tuning', 'real', ({ analysis }) => analysis.tuning],
  ['loudness_range', 'real', ({ analysis }) => analysis.loudnessRange],
  ['true_peak', 'real', ({ analysis }) => analysis.truePeak],
  ['sections', 'jsonb', ({ analysis }) => json(analysis.sections)],
  // A view of the worker's buffer; the drivers want a Buffer.
  ['waveform', 'bytea', ({ analysis }) => Buffer.from(analysis.waveform.bytes)],
  ['problems', 'jsonb', ({ problems }) => json(problems)],
]

const ledgerNames = ledgerColumns.map(([name]) => name).join(', ')

const failure: readonly BulkColumn<AnalysisRecord>[] = [
  ['id', 'uuid', ({ planned }) => planned.trackId],
  ['analysis_error', 'text', ({ error }) => error],
]

/**
 * Writes analyses and failures, each only if its row still is what was planned, in one transaction. Rows are locked in
 * the order of their ids; one that another transaction has locked is left as it is.
 *
 * @returns the outcome for each track id
 */
export async function recordAnalyses(
  knex: Knex,
  batch: { runId: string; records: readonly AnalysisRecord[] },
): Promise<Map<string, ChangeOutcome | 'locked'>> {
  const { runId, records } = batch
  const ids = records.map(({ planned }) => planned.trackId)
  return knex.transaction(async trx => {
    const { rows } = await trx.raw<{ rows: { id: string; fingerprint: string }[] }>(
      `select id, ${rowFingerprint} as fingerprint from tracks where id = any(?::uuid[])
       order by id for no key update skip locked`,
      [ids],
    )
    const current = new Map(rows.map(row => [row.id, row.fingerprint]))
    const locked = await existingTracks(
      trx,
      ids.filter(id => !current.has(id)),
    )
    const outcomes = new Map<string, ChangeOutcome | 'locked'>()
    for (const { planned } of records) {
      const { trackId } = planned
      const fingerprint = current.get(trackId)
      if (fingerprint === undefined) outcomes.set(trackId, locked.has(trackId) ? 'locked' : 'deleted')
      else outcomes.set(trackId, fingerprint === planned.fingerprint ? 'done' : 'changed')
    }
    const due = records.filter(({ planned }) => outcomes.get(planned.trackId) === 'done')
    const analysed = due.filter((record): record is Analyzed => record.analysis !== undefined)
    const failed = due.filter(record => record.analysis === undefined)
    if (analysed.length > 0) {
      const { sql, bindings } = unnest(
        'u',
        [['id', 'uuid', ({ planned }) => planned.trackId], ...rowColumns],
        analysed,
      )
      const { rows: written } = await trx.raw<{ rows: { id: string; isKept: boolean }[] }>(
        `update tracks as t set ${rowColumns.map(([name]) => `${name} = u.${name}`).join(', ')}, updated_at = now()
         from ${sql} where t.id = u.id
         returning t.id, t.analyzed_at is not null as "isKept"`,
        bindings,
      )
      const kept = new Set(written.flatMap(({ id, isKept }) => (isKept ? [id] : [])))
      for (const { planned } of analysed)
        if (!kept.has(planned.trackId)) outcomes.set(planned.trackId, 'set-back')
      const ledger = unnest('u', ledgerColumns, analysed)
      await trx.raw(
        `insert into autodj_ledger.analyses as a (${ledgerNames}, run_id)
         select ${ledgerNames}, ?::uuid from ${ledger.sql} order by track_id
         on conflict (track_id) do update set
           ${ledgerColumns.map(([name]) => `${name} = excluded.${name}`).join(', ')}, run_id = excluded.run_id`,
        [runId, ...ledger.bindings],
      )
    }
    if (failed.length > 0) {
      const { sql, bindings } = unnest('u', failure, failed)
      await trx.raw(
        `update tracks as t set analysis_error = u.analysis_error, updated_at = now() from ${sql}
         where t.id = u.id`,
        bindings,
      )
    }
    return outcomes
  })
}
