/**
 * `analyze`: claims tracks, keeps the analyser's threads fed, and commits rows and ledger in batches. Any number of
 * runs share the work; any of them may be killed.
 */

import type { Context } from '../context.ts'
import type { AudioFolder } from '../core/audio-path.ts'
import { printable } from '../core/units.ts'
import { type AnalysisRecord, planAnalyses, recordAnalyses } from '../db/analyses.ts'
import type { Database } from '../db/database.ts'
import {
  abandonDeadRuns,
  clearItems,
  type FailedItem,
  objectsByKey,
  recordItems,
  releaseClaims,
  rememberedByPath,
} from '../db/ledger.ts'
import {
  type ChangeOutcome,
  claimTracks,
  countTracks,
  type Track,
  type TrackFilter,
  trackPage,
} from '../db/tracks.ts'
import { ExitCode, toError } from '../errors.ts'
import type { Progress } from '../report/reporter.ts'
import { Committer } from '../runs/committer.ts'
import { Passes, rowsKeepComing, setBackCode } from '../runs/passes.ts'
import { isProcessAlive, machineName, type RecordedRun } from '../runs/recorded-run.ts'
import { RunHalted } from '../storage/resilience.ts'
import type { AnalysedTrack, AnalysisOutcome, AnalysisTask, Analyzer, FailedTrack } from './analyzer.ts'

export const analyzeCommand = 'analyze'
/** `--check` changes no row and keeps its own failures. */
export const checkCommand = 'analyze --check'

/** Tracks in hand for each thread: one that it works on, and downloads that wait for it. */
const inHandPerWorker = 4
/** Tracks claimed at a time: few enough that several runs share a small library. */
const claimSize = 32
/** An analysis costs seconds: it is committed soon, in batches of so many or after so many milliseconds. */
const commitLimits = { size: 50, interval: 1_000 }

/** Of a row, not of its audio. */
type RowFailure = FailedTrack & { readonly code: 'row.changed' | 'row.deleted' | typeof setBackCode }

/** What became of a track in the end: as it was analysed, or that its row could not take it. */
export type TrackResult = AnalysisOutcome | RowFailure

/* ── Single tracks ────────────────────────────────────────────────────────────────────────────────────────────── */

/** What the analyser needs to know of these tracks, in their order. */
async function gatherTasks(
  { knex }: Database,
  bucket: string | undefined,
  tracks: readonly Track[],
  audioFolder: AudioFolder,
): Promise<AnalysisTask[]> {
  const named = <K extends 's3ObjectKey' | 'filePath'>(column: K): string[] =>
    tracks.flatMap(track => track[column] ?? [])
  const [plans, objects, files] = [
    await planAnalyses(
      knex,
      tracks.map(track => track.id),
    ),
    bucket === undefined ? undefined : await objectsByKey(knex, bucket, named('s3ObjectKey')),
    await rememberedByPath(knex, named('filePath'), audioFolder),
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

interface Done {
  readonly task: AnalysisTask
  readonly outcome: AnalysedTrack | FailedTrack
}

/** Writes rows and ledger. @returns what became of each track, by its id */
async function commitResults(
  { knex }: Database,
  batch: { results: readonly Done[]; runId: string; claimed: string | undefined; now: Date },
): Promise<Map<string, TrackResult>> {
  const { results, runId, claimed, now } = batch
  const command = analyzeCommand
  const records: AnalysisRecord[] = []
  for (const { task, outcome } of results) {
    const { planned } = task
    if (outcome.state === 'analysed') {
      const { analysis, problems, damage } = outcome
      const error = damage === undefined ? null : printable(damage)
      records.push({ planned, analyzedAt: now, analysis, error, problems: problems.map(printable) })
    } else if (outcome.about !== 'access') {
      const error = printable(outcome.reason)
      records.push({ planned, analyzedAt: now, analysis: undefined, error, problems: [] })
    }
  }
  const outcomes =
    records.length === 0
      ? new Map<string, ChangeOutcome>()
      : await recordAnalyses(knex, { command, claimed, runId, records })
  const ended = new Map<string, TrackResult>()
  const items: FailedItem[] = []
  for (const { task, outcome } of results) {
    const { id } = task.track
    const row = outcomes.get(id)
    const result = row === 'changed' || row === 'deleted' ? rowFailure(row) : outcome
    ended.set(id, result)
    if (row !== 'deleted') items.push(...itemsOf(command, runId, id, result))
  }
  if (items.length > 0) await recordItems(knex, items)
  return ended
}

const rowFailure = (row: 'changed' | 'deleted'): RowFailure => ({
  state: 'failed',
  code: `row.${row}`,
  reason:
    row === 'deleted'
      ? 'the row was deleted while the track was analysed'
      : 'the row changed meanwhile and was left alone',
  cure: row === 'deleted' ? undefined : 'Run it again.',
  about: 'source',
})

const setBack: RowFailure = {
  state: 'failed',
  code: setBackCode,
  reason: 'its row lost the analysis after it was written, again and again',
  cure: 'Find what writes to the columns of the analysis (a trigger, an older application), then run it again.',
  about: 'source',
}

/** Ledger items: `skipped` is what no later run need try before the file changes, or someone asks with `--failed`. */
function itemsOf(command: string, runId: string, id: string, outcome: TrackResult): FailedItem[] {
  const common = { command, subject: id, trackId: id, runId }
  if (outcome.state === 'failed') {
    const { code: errorCode, reason, cure, about } = outcome
    const state = about === 'content' ? 'skipped' : 'failed'
    return [{ ...common, state, errorCode, error: printable(reason), cure: cure ?? null }]
  }
  const damage =
    outcome.state === 'analysed'
      ? outcome.damage
      : outcome.state === 'checked'
        ? outcome.problems[0]
        : undefined
  if (damage === undefined) return []
  return [
    {
      ...common,
      state: 'skipped',
      errorCode: damageCode,
      error: printable(damage),
      cure: damageCure,
    },
  ]
}

const damageCode = 'audio.damaged'
const damageCure = 'Replace the file by a sound copy, then `autodj analyze --failed`.'

/**
 * Analyses these tracks now, whatever their rows say of an earlier analysis, and writes what comes of it, row by row
 * only where nobody changed it meanwhile: for a queue worker, whose jobs name tracks. Ids without a row are left out.
 *
 * @param work.claimed the kind of claim that the run holds on the tracks, where it does
 * @returns what became of each track; `interrupted` where the analyser was told to stop
 * @throws what ends a run: credentials, a full disk, an outage too long
 */
export async function analyzeTracks(
  database: Database,
  analyzer: Analyzer,
  work: {
    ids: readonly string[]
    runId: string
    bucket: string | undefined
    now: () => Date
    claimed?: string
  },
): Promise<Map<string, TrackResult>> {
  const { ids, runId, bucket, now, claimed } = work
  const tracks = await trackPage(database.knex, { limit: ids.length, filter: { ids } })
  const results: Done[] = []
  const ended = new Map<string, TrackResult>()
  await Promise.all(
    (await gatherTasks(database, bucket, tracks, analyzer.audioFolder)).map(async task => {
      const outcome = await analyzer.take(task, 'analyse')
      if (outcome.state === 'analysed' || outcome.state === 'failed') results.push({ task, outcome })
      else ended.set(task.track.id, outcome)
    }),
  )
  for (const [id, result] of await commitResults(database, { results, runId, claimed, now: now() }))
    ended.set(id, result)
  return ended
}

/* ── A run ────────────────────────────────────────────────────────────────────────────────────────────────────── */

export interface AnalyzeOptions {
  readonly filter: TrackFilter
  readonly check: boolean
  readonly limit: number | undefined
  readonly bucket: string | undefined
}

export interface AnalyzeTotals {
  analysed: number
  checked: number
  /** of those, files with something missing or broken */
  damaged: number
  failed: number
  interrupted: number
  /** rows that changed or went meanwhile */
  changed: number
  /** seconds of audio */
  audioSeconds: number
  /** of the threads, without child processes */
  cpuSeconds: number
}

/** @returns exit code, totals, and seconds of wall clock; whatever happens, what was analysed is committed */
export async function analyze(
  context: Context,
  database: Database,
  analyzer: Analyzer,
  run: RecordedRun,
  /** aborted when nothing new is to be begun; aborting it here ends the run from within */
  halt: AbortController,
  options: AnalyzeOptions,
): Promise<{ exitCode: ExitCode; totals: AnalyzeTotals; seconds: number }> {
  const work = new AnalyzeRun(context, database, analyzer, run, halt, options)
  const startedAt = performance.now()
  const exitCode = await work.run()
  return { exitCode, totals: work.totals, seconds: (performance.now() - startedAt) / 1_000 }
}

class AnalyzeRun {
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
  readonly #run: RecordedRun
  readonly #halt: AbortController
  readonly #options: AnalyzeOptions
  readonly #command: string
  readonly #stopping: AbortSignal
  readonly #progress: Progress
  readonly #committer: Committer<Done>
  readonly #startedAt = performance.now()
  #taken = 0
  #failure: Error | undefined

  constructor(
    context: Context,
    database: Database,
    analyzer: Analyzer,
    run: RecordedRun,
    halt: AbortController,
    options: AnalyzeOptions,
  ) {
    this.#context = context
    this.#database = database
    this.#analyzer = analyzer
    this.#run = run
    this.#halt = halt
    this.#options = options
    this.#command = options.check ? checkCommand : analyzeCommand
    this.#stopping = AbortSignal.any([context.stopping, context.signal, run.lost, halt.signal])
    this.#progress = context.report.progress({
      label: options.check ? 'checking' : 'analysing',
      unit: 'tracks',
    })
    this.#committer = new Committer<Done>(results => this.#commit(results), commitLimits)
  }

  async run(): Promise<ExitCode> {
    const { knex } = this.#database
    const { filter, limit, check } = this.#options
    try {
      const { tracks } = await countTracks(knex, filter)
      this.#progress.total({ items: Math.min(tracks, limit ?? tracks) })
      const passes = new Passes()
      while (!this.#stopping.aborted && passes.begin()) {
        if ((await this.#pass(passes)) === 0) break
        await this.#committer.flush()
        await abandonDeadRuns(knex, { host: machineName(), isAlive: isProcessAlive })
        // It leaves no mark on a row, so it goes over them once.
        if (check) break
      }
      if (passes.isFull) this.#context.report.warn(rowsKeepComing)
      await this.#committer.flush()
    } catch (error) {
      this.#failure ??= toError(error)
    } finally {
      this.#progress.done()
    }
    if (this.#failure) throw this.#failure
    const stopped = this.#context.stopExitCode()
    if (stopped !== undefined) return stopped
    this.#run.lost.throwIfAborted()
    const { failed, damaged, changed } = this.totals
    return failed + damaged + changed > 0 ? ExitCode.someFailed : ExitCode.ok
  }

  async #pass(passes: Passes): Promise<number> {
    const { knex } = this.#database
    const { limit, bucket } = this.#options
    const running = new Set<Promise<void>>()
    const before = this.#taken
    const inHand = this.#analyzer.workers * inHandPerWorker
    const filter = {
      ...this.#options.filter,
      notRecordedBy: { command: this.#command, runId: this.#run.id },
    }
    let afterId: string | undefined
    try {
      while (!this.#stopping.aborted) {
        const left = limit === undefined ? claimSize : Math.min(claimSize, limit - this.#taken)
        if (left <= 0) break
        const page = await claimTracks(knex, {
          kind: this.#command,
          runId: this.#run.id,
          afterId,
          limit: left,
          filter,
        })
        for (const task of await gatherTasks(
          this.#database,
          bucket,
          page.tracks,
          this.#analyzer.audioFolder,
        )) {
          while (running.size >= inHand && !this.#stopping.aborted) await Promise.race(running)
          if (this.#stopping.aborted) break
          if (!passes.isDue(task.track.id)) {
            await recordItems(knex, itemsOf(this.#command, this.#run.id, task.track.id, setBack))
            this.#tell(task, setBack)
            continue
          }
          this.#taken++
          const one = this.#take(task).finally(() => running.delete(one))
          running.add(one)
        }
        if (page.nextAfterId === null) break
        afterId = page.nextAfterId
      }
    } finally {
      await Promise.all(running)
    }
    return this.#taken - before
  }

  async #take(task: AnalysisTask): Promise<void> {
    try {
      const outcome = await this.#analyzer.take(task, this.#options.check ? 'check' : 'analyse')
      if (outcome.state === 'interrupted') {
        this.totals.interrupted++
        return
      }
      if (!this.#options.check && outcome.state !== 'checked') await this.#committer.add({ task, outcome })
      else await this.#recordCheck(task, outcome)
    } catch (error) {
      // Nothing that follows would fare better: let what is in flight finish, and end.
      this.#failure ??= error instanceof RunHalted ? error.cause : toError(error)
      this.#halt.abort(this.#failure)
    }
  }

  async #recordCheck(task: AnalysisTask, outcome: TrackResult): Promise<void> {
    const { knex } = this.#database
    const { id } = task.track
    const items = itemsOf(this.#command, this.#run.id, id, outcome)
    if (items.length > 0) await recordItems(knex, items)
    else await clearItems(knex, this.#command, [id])
    await releaseClaims(knex, { kind: this.#command, runId: this.#run.id, trackIds: [id] })
    this.#tell(task, outcome)
  }

  async #commit(results: readonly Done[]): Promise<void> {
    const ended = await commitResults(this.#database, {
      results,
      runId: this.#run.id,
      claimed: this.#command,
      now: this.#context.now(),
    })
    for (const { task, outcome } of results) this.#tell(task, ended.get(task.track.id) ?? outcome)
  }

  #tell({ track }: AnalysisTask, outcome: TrackResult): void {
    const { report } = this.#context
    const { totals } = this
    const subject = track.s3ObjectKey ?? track.filePath ?? track.id
    const fields = { track_id: track.id, artist: track.artist, title: track.title }
    this.#progress.advance({ items: 1 })
    if (outcome.state === 'failed') {
      const { code, reason, cure } = outcome
      if (code.startsWith('row.')) totals.changed++
      else totals.failed++
      report.item({ subject, state: 'failed', fields: { ...fields, code }, reason, cure })
      return
    }
    if (outcome.state === 'interrupted') return
    const { problems, cpuSeconds } = outcome
    const seconds = outcome.state === 'analysed' ? outcome.analysis.duration : outcome.duration
    totals.audioSeconds += seconds
    totals.cpuSeconds += cpuSeconds
    totals[outcome.state]++
    const elapsed = (performance.now() - this.#startedAt) / 1_000
    this.#progress.note(`${(totals.audioSeconds / elapsed).toFixed(0)}x realtime`)
    const damage = outcome.state === 'analysed' ? outcome.damage : problems[0]
    if (damage !== undefined) totals.damaged++
    const measured =
      outcome.state === 'analysed'
        ? {
            bpm: outcome.analysis.bpm,
            key: outcome.analysis.key,
            camelot: outcome.analysis.camelot,
            loudness: outcome.analysis.loudness,
            energy: outcome.analysis.energy,
          }
        : {}
    const result = { ...fields, ...measured, seconds, problems }
    if (damage === undefined) report.item({ subject, state: outcome.state, fields: result })
    else {
      report.item({ subject, state: 'damaged', fields: result, reason: damage, cure: damageCure })
    }
  }
}
