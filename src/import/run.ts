/** What `autodj import` does with its arguments, and how it tells what came of it. */

import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { requireFiles } from '../audio-files/mounted.ts'
import { describeSurvey, type PathSurvey, surveyPaths } from '../audio-files/path-survey.ts'
import { openAudioFolder } from '../audio-files/walk.ts'
import type { Context } from '../context.ts'
import { pathSelector } from '../core/path-selector.ts'
import { isSelecting } from '../core/selection.ts'
import { formatBytes, formatCount, plural, printable } from '../core/units.ts'
import { lockedLine } from '../db/locked-rows.ts'
import { requireSchema } from '../db/require-schema.ts'
import { ExitCode } from '../errors.ts'
import type { Summary } from '../report/reporter.ts'
import { type RecordedRun, recordRun } from '../runs/recorded-run.ts'
import { type ImportSummary, importFolder } from './import.ts'
import { retagRows } from './retag.ts'

/** A disk reads a few files at a time well, and many badly. */
const defaultConcurrency = 4

interface ImportRequest {
  /** as given; relative to the working folder */
  dir: string | undefined
  dryRun: boolean
  concurrency: number | undefined
  /** milliseconds */
  minAge: number | undefined
  /** how long locked rows are waited for, milliseconds */
  lockWait?: number
  /** the audio folder is as empty as it looks */
  force?: boolean
}

/** Imports, reports, and records the run in the ledger; a dry run leaves no trace there. */
export async function runImport(context: Context, request: ImportRequest): Promise<ExitCode> {
  const { config, report } = context
  const start = request.dir === undefined ? config.audioRoot : path.resolve(context.cwd, request.dir)
  await openAudioFolder(config.audioRoot, start)
  const database = await context.database()
  await requireSchema(database, 'files.ctime_ns')
  await requireFiles(database, config.audioFolder, { force: request.force === true, living: true })

  const work = async (run: RecordedRun | undefined) => {
    const result = await importFolder({
      knex: database.knex,
      folder: config.audioFolder,
      start,
      dryRun: request.dryRun,
      ...(isSelecting(context.selection) ? { isSelected: pathSelector(context.selection) } : {}),
      concurrency: request.concurrency ?? defaultConcurrency,
      ...(request.minAge !== undefined && { minAge: request.minAge }),
      lockWait: request.lockWait,
      runId: run?.id,
      stopping: run ? AbortSignal.any([context.stopping, run.lost]) : context.stopping,
      signal: context.signal,
      report,
      newId: randomUUID,
    })
    const survey = request.dryRun
      ? await surveyPaths(database.knex, config.audioFolder, context.signal)
      : undefined
    const summary = summariseImport(result, start, request.dryRun, survey)
    report.summary(summary)
    if (context.stopExitCode() === undefined) run?.lost.throwIfAborted()
    const left =
      result.failed > 0 ? ExitCode.someFailed : result.locked > 0 ? ExitCode.temporary : ExitCode.ok
    const exitCode = context.stopExitCode() ?? left
    return { exitCode, summary: summary.fields }
  }
  if (request.dryRun) return (await work(undefined)).exitCode
  return recordRun(context, database, work)
}

/** Reads names anew, reports, and records the run in the ledger; a dry run leaves no trace there. */
export async function runRetag(
  context: Context,
  { dryRun, lockWait, force = false }: Pick<ImportRequest, 'dryRun' | 'lockWait' | 'force'>,
): Promise<ExitCode> {
  const { config, report } = context
  await openAudioFolder(config.audioRoot, config.audioRoot)
  const database = await context.database()
  await requireSchema(database)
  await requireFiles(database, config.audioFolder, { force, living: true })
  const work = async (run: RecordedRun | undefined) => {
    const result = await retagRows({
      knex: database.knex,
      folder: config.audioFolder,
      dryRun,
      lockWait,
      stopping: run ? AbortSignal.any([context.stopping, run.lost]) : context.stopping,
      signal: context.signal,
      report,
    })
    const { looked, retagged, absent, changed, locked = 0, refused, stopped } = result
    const summary: Summary = {
      lines: [
        `${stopped ? 'Stopped early: ' : ''}${dryRun ? 'would correct' : 'corrected'} ${plural(retagged, 'name')} of ${plural(looked, 'row')} that import made`,
        ...(absent > 0 ? [`${plural(absent, 'row')} not looked at: the file is not here`] : []),
        ...(changed > 0 ? [`${plural(changed, 'row')} left alone because they changed in the meantime`] : []),
        ...(locked > 0 ? [lockedLine(locked)] : []),
        ...(refused > 0 ? [`${plural(refused, 'row')} refused by the database, named above`] : []),
      ],
      ...(dryRun && retagged > 0 ? { next: 'autodj import --retag' } : {}),
      fields: { looked, retagged, absent, changed, rows_locked: locked, refused, dry_run: dryRun, stopped },
    }
    report.summary(summary)
    if (context.stopExitCode() === undefined) run?.lost.throwIfAborted()
    const left = changed + refused > 0 ? ExitCode.someFailed : locked > 0 ? ExitCode.temporary : ExitCode.ok
    const exitCode = context.stopExitCode() ?? left
    return { exitCode, summary: summary.fields }
  }
  if (dryRun) return (await work(undefined)).exitCode
  return recordRun(context, database, work)
}

function summariseImport(
  result: ImportSummary,
  start: string,
  dryRun: boolean,
  survey: PathSurvey | undefined,
): Summary {
  const { found, bytes, hashed, failed, locked, untagged, stopped } = result
  const counts = [
    `${dryRun ? 'would create' : 'created'} ${plural(result.new, 'new row')}`,
    `${formatCount(result.relinked)} relinked`,
    `${formatCount(result.known)} already known`,
    plural(result.duplicates, 'duplicate'),
    ...(result.earlier > 0 ? [plural(result.earlier, 'earlier version')] : []),
  ]
  const passedOver = (
    [
      [result.notAudio, 'not audio'],
      [result.hidden, 'hidden'],
      [result.ignored, 'ignored'],
      [result.young, 'still growing or too recent'],
      [
        result.links,
        result.links === 1 ? 'link to a file already counted' : 'links to files already counted',
      ],
      [result.skipped, 'links and special files not followed'],
    ] as const
  )
    .filter(([count]) => count > 0)
    .map(([count, what]) => `${formatCount(count)} ${what}`)
  const lines = [
    `${stopped ? 'Stopped early: ' : ''}${counts.join(', ')}`,
    `${plural(found, 'audio file')} (${formatBytes(bytes)}) in ${printable(start)}, ${formatCount(hashed)} of them read`,
    ...(passedOver.length > 0 ? [`skipped: ${passedOver.join(', ')}`] : []),
    ...(survey === undefined ? [] : [`Rows now: ${describeSurvey(survey)}`]),
    ...(untagged > 0
      ? [
          `${plural(untagged, 'file')} without tags, named after ${untagged === 1 ? 'its path' : 'their paths'}`,
        ]
      : []),
    ...(failed > 0 ? [`${plural(failed, 'failure')}, named above`] : []),
    ...(locked > 0 ? [lockedLine(locked)] : []),
  ]
  const toUpload = result.new + result.relinked > 0
  return {
    lines,
    ...(dryRun
      ? toUpload
        ? { next: 'autodj import' }
        : {}
      : stopped
        ? { next: 'autodj import resumes where this run stopped' }
        : toUpload
          ? { next: 'autodj upload-local --dry-run' }
          : {}),
    fields: {
      found,
      bytes,
      hashed,
      new: result.new,
      relinked: result.relinked,
      known: result.known,
      duplicates: result.duplicates,
      earlier: result.earlier,
      not_audio: result.notAudio,
      hidden: result.hidden,
      ignored: result.ignored,
      young: result.young,
      links: result.links,
      skipped: result.skipped,
      failed,
      rows_locked: locked,
      untagged,
      stopped,
      dry_run: dryRun,
      ...(survey === undefined ? {} : { paths: survey }),
    },
  }
}
