/** What `analyze` does with each of its tracks, for a run and for a job of the queue. */
import type { Knex } from 'knex'
import type { Context } from '../context.ts'
import { printable } from '../core/units.ts'
import { type AnalysisRecord, planAnalyses, recordAnalyses } from '../db/analyses.ts'
import type { Database } from '../db/database.ts'
import { objectsByKey, rememberedByPath } from '../db/ledger.ts'
import type { ChangeOutcome, Track } from '../db/tracks.ts'
import type { RecordedRun } from '../runs/recorded-run.ts'
import {
  type Done,
  isRowProblem,
  type RowProblem,
  type TrackProblem,
  type TrackWork,
} from '../runs/track-work.ts'
import type { AnalysisOutcome, AnalysisTask, Analyzer } from './analyzer.ts'

export const analyzeCommand = 'analyze'
/** `--check` changes no row and keeps its own failures. */
export const checkCommand = 'analyze --check'

const damageCode = 'audio.damaged'
const damageCure = 'Replace the file with an intact copy, then `autodj analyze --failed`.'

export interface AnalyzeTotals {
  analysed: number
  checked: number
  /** of those, files with something missing or broken */
  damaged: number
  failed: number
  interrupted: number
  /** rows that changed or went in the meantime */
  changed: number
  /** seconds of audio */
  audioSeconds: number
  /** of the threads, without child processes */
  cpuSeconds: number
}

export class AnalyzeWork implements TrackWork<AnalysisTask, AnalysisOutcome> {
  readonly command: string
  readonly claim: string
  readonly settles: readonly string[]
  readonly setBack = {
    reason: 'its row lost the analysis each time it was written',
    cure: 'Find out what overwrites the analysis columns (a trigger, an older application), then run it again.',
  }
  readonly totals: AnalyzeTotals = {
    analysed: 0,
    checked: 0,
    damaged: 0,
    failed: 0,
    interrupted: 0,
    changed: 0,
    audioSeconds: 0,
    cpuSeconds: 0,
  }
  readonly #context: Context
  readonly #database: Database
  readonly #analyzer: Analyzer
  readonly #runId: string
  readonly #check: boolean

  /** @param check decode only, and change no row */
  constructor(context: Context, database: Database, analyzer: Analyzer, run: RecordedRun, check: boolean) {
    this.#context = context
    this.#database = database
    this.#analyzer = analyzer
    this.#runId = run.id
    this.#check = check
    this.command = check ? checkCommand : analyzeCommand
    this.claim = this.command
    this.settles = [this.command]
  }

  async prepare(tracks: readonly Track[]): Promise<AnalysisTask[]> {
    const { knex } = this.#database
    const { bucket } = this.#context.config.s3
    const named = <K extends 's3ObjectKey' | 'filePath'>(column: K): string[] =>
      tracks.flatMap(track => track[column] ?? [])
    const [plans, objects, files] = [
      await planAnalyses(
        knex,
        tracks.map(track => track.id),
      ),
      bucket === undefined ? undefined : await objectsByKey(knex, bucket, named('s3ObjectKey')),
      await rememberedByPath(knex, named('filePath'), this.#context.config.audioFolder),
    ]
    return tracks.flatMap(track => {
      const planned = plans.get(track.id)
      if (planned === undefined) return []
      return {
        track,
        planned,
        object: track.s3ObjectKey === null ? undefined : objects?.get(track.s3ObjectKey),
        remembered: track.filePath === null ? undefined : files.get(track.filePath),
      }
    })
  }

  async take(task: AnalysisTask): Promise<AnalysisOutcome> {
    return this.#analyzer.take(task, this.#check ? 'check' : 'analyse')
  }

  async commit(trx: Knex, batch: readonly Done<AnalysisTask, AnalysisOutcome>[]) {
    const now = this.#context.now()
    const records: AnalysisRecord[] = []
    const rows = new Map<string, ChangeOutcome | 'locked'>()
    for (const { task, outcome } of batch) {
      const { planned } = task
      if (outcome.state === 'analysed') {
        const { analysis, problems, damage } = outcome
        const error = damage === undefined ? null : printable(damage)
        records.push({ planned, analyzedAt: now, analysis, error, problems: problems.map(printable) })
      } else if (outcome.state === 'failed' && outcome.about !== 'access' && !this.#check) {
        const error = printable(outcome.reason)
        records.push({ planned, analyzedAt: now, analysis: undefined, error, problems: [] })
      } else rows.set(task.track.id, 'done')
    }
    if (records.length > 0)
      for (const [id, row] of await recordAnalyses(trx, { runId: this.#runId, records })) rows.set(id, row)
    return rows
  }

  /** `skipped` is what no later run need try before the file changes, or someone asks with `--failed`. */
  problemOf(outcome: AnalysisOutcome): TrackProblem | undefined {
    if (outcome.state === 'failed') {
      const { code, reason, cure, about } = outcome
      return { state: about === 'content' ? 'skipped' : 'failed', code, reason, cure }
    }
    const damage = damageOf(outcome)
    return damage === undefined
      ? undefined
      : { state: 'skipped', code: damageCode, reason: damage, cure: damageCure }
  }

  tell({ track }: AnalysisTask, end: AnalysisOutcome | RowProblem): void {
    const { report } = this.#context
    const { totals } = this
    const subject = track.s3ObjectKey ?? track.filePath ?? track.id
    const fields = { track_id: track.id, artist: track.artist, title: track.title }
    if (end.state === 'failed') {
      const { code, reason, cure } = end
      if (isRowProblem(end)) totals.changed++
      else totals.failed++
      report.item({
        subject,
        state: 'failed',
        fields: { ...fields, code },
        reason,
        cure,
      })
      return
    }
    totals[end.state]++
    if (end.state === 'interrupted') return
    const seconds = end.state === 'analysed' ? end.analysis.duration : end.duration
    totals.audioSeconds += seconds
    totals.cpuSeconds += end.cpuSeconds
    const measured =
      end.state === 'analysed'
        ? {
            bpm: end.analysis.bpm,
            key: end.analysis.key,
            camelot: end.analysis.camelot,
            loudness: end.analysis.loudness,
            energy: end.analysis.energy,
          }
        : {}
    const result = { ...fields, ...measured, seconds, problems: end.problems }
    const damage = damageOf(end)
    if (damage === undefined) report.item({ subject, state: end.state, fields: result })
    else {
      totals.damaged++
      report.item({ subject, state: 'damaged', fields: result, reason: damage, cure: damageCure })
    }
  }
}

/** What is missing or broken of a file that could be decoded. */
function damageOf(outcome: AnalysisOutcome): string | undefined {
  return outcome.state === 'analysed' || outcome.state === 'checked' ? outcome.damage : undefined
}
