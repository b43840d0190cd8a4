/** `autodj status`: what the database knows, for people and for programs. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Context } from '../context.ts'
import { formatAge, formatBytes, formatCount, formatDuration, plural, printable } from '../core/units.ts'
import type { Database } from '../db/database.ts'
import { requireSchema } from '../db/require-schema.ts'
import { ExitCode, exitCodeOutcome } from '../errors.ts'
import { commandOf, type JobKind } from '../queue/names.ts'
import { recordRun } from '../runs/recorded-run.ts'
import { makeTempFolder } from '../runs/temp-folders.ts'
import { checkStatus } from './check.ts'
import type { StatusFlags } from './flags.ts'
import {
  type AnalysisCount,
  nextStep,
  type QueueStatus,
  readQueues,
  readStatus,
  type SourceCount,
  type Status,
  type WorkingRun,
} from './status.ts'
import {
  cloudWatchStorage,
  countedBy,
  inventoryStorage,
  lastStorage,
  listStorage,
  type StorageSource,
  type StorageTotals,
  storageCommand,
  storageFields,
} from './storage.ts'

const meaning: Readonly<Record<string, string>> = {
  S3: 'in S3',
  LOCAL: 'local',
  YOUTUBE: 'local, from YouTube',
  UNAVAILABLE: 'without audio',
}

const retry: Readonly<Record<string, string>> = {
  'upload-local': 'autodj upload-local --retry-failed',
  fetch: 'autodj fetch --retry-failed',
  analyze: 'autodj analyze --failed',
  'analyze --check': 'autodj analyze --check --failed',
}

/** @returns 4 with --check if a threshold is passed */
export async function runStatus(context: Context, flags: StatusFlags): Promise<ExitCode> {
  const database = await context.database()
  await requireSchema(database, flags.queues ? 'job_tracks' : 'files')
  if (flags.storage !== undefined) await countStorage(context, database, flags.storage)
  if (!flags.watch) return tellStatus(context, database, flags)
  const isTerminal = process.stdout.isTTY === true && !context.report.json
  let exitCode: ExitCode = ExitCode.ok
  while (!context.stopping.aborted) {
    if (isTerminal) process.stdout.write('\u001b[H\u001b[2J')
    exitCode = await tellStatus(context, database, flags)
    await sleep(flags.interval, undefined, { signal: context.stopping }).catch(() => {})
  }
  // Watching is over when whoever watches says so.
  return context.stopExitCode() === ExitCode.sigint ? exitCode : (context.stopExitCode() ?? exitCode)
}

async function tellStatus(context: Context, database: Database, flags: StatusFlags): Promise<ExitCode> {
  const { report, config } = context
  const now = context.now()
  const status = await readStatus(database.knex, config.s3.bucket)
  if (flags.check) {
    const { problems, line } = checkStatus(status, flags, now)
    report.summary({ isAnswer: true, lines: [line], fields: { ok: problems.length === 0, problems } })
    return problems.length === 0 ? ExitCode.ok : ExitCode.drift
  }
  const queue = flags.queues ? await readQueues(database.knex) : undefined
  const storage = await lastStorage(database.knex)
  report.summary({
    isAnswer: true,
    lines: [
      ...trackLines(status, report.style),
      ...paceLines(status, now),
      ...storageLines(storage, now, report.style),
      ...(queue ? queueLines(queue, status.working, now, report.style) : []),
      ...runLines(status, now, report.style),
      ...failureLines(status, report.style),
      ...leaseLines(status, now, report.style),
    ],
    next: nextStep(status, config.cdn !== undefined),
    fields: {
      database: database.where,
      bucket: config.s3.bucket ?? null,
      ...asFields(status, queue),
      storage: storage === undefined ? null : storageFields(storage),
    },
  })
  return ExitCode.ok
}

/** Counts what is in the bucket and keeps it in the ledger, for a later status. */
async function countStorage(context: Context, database: Database, source: StorageSource): Promise<void> {
  const { report, config, signal, stopping } = context
  const named = { ...context, invocation: { ...context.invocation, command: storageCommand } }
  await recordRun(named, database, async run => {
    const now = context.now()
    const ending = AbortSignal.any([signal, stopping])
    let totals: StorageTotals | undefined
    if (source === 'cloudwatch') totals = await cloudWatchStorage(config, { now, signal })
    else {
      const label = source === 'listing' ? 'listing' : 'reading the inventory'
      const progress = report.progress({ label, unit: 'objects', showBytes: true })
      const options = { keyPrefix: config.s3.keyPrefix, progress, signal: ending }
      try {
        if (source === 'listing') totals = await listStorage(await context.store(), { ...options, now })
        else {
          const temp = await makeTempFolder(run.id)
          const counting = inventoryStorage(config, source, { ...options, tempFolder: temp.path })
          totals = await counting.finally(temp.remove)
        }
      } finally {
        progress.done()
      }
    }
    if (totals === undefined)
      report.warn(
        'CloudWatch has no figures for this bucket: they come once a day; --storage listing counts now',
      )
    return {
      exitCode: ExitCode.ok,
      summary: totals === undefined ? {} : { storage: storageFields(totals) },
    }
  })
}

/** How fast it went in the last day, and when it will be done at that pace. */
function paceLines({ objects, tracks }: Status, now: Date): string[] {
  const { lastDay = 0, lastDayBytes = 0 } = objects
  const left = tracks
    .filter(({ source }) => source === 'LOCAL' || source === 'YOUTUBE' || source === null)
    .reduce((sum, { withFile }) => sum + withFile, 0)
  const { copies, bytes } = reclaimable(tracks)
  const lines: string[] = []
  if (lastDay > 0) {
    const end = new Date(now.getTime() + (left / lastDay) * 86_400_000)
    const when =
      left === 0 ? '' : `; at that pace the last one is uploaded on ${end.toISOString().slice(0, 10)}`
    lines.push(
      `  ${plural(lastDay, 'track')} (${formatBytes(lastDayBytes)}) uploaded in the last 24 h${when}`,
    )
  }
  if (copies > 0) {
    lines.push(
      `  ${formatBytes(bytes)} in ${plural(copies, 'local copy', 'local copies')} of tracks in S3 could be freed (\`autodj cleanup\`)`,
    )
  }
  return lines
}

function storageLines(storage: StorageTotals | undefined, now: Date, style: Style): string[] {
  if (storage === undefined) return []
  const row = ({ name, objects, bytes }: { name: string; objects: number | null; bytes: number }): string =>
    `  ${column(printable(name === '' ? '(no prefix)' : name), 36)} ${column(objects === null ? '' : formatCount(objects), 10, true)} ${column(formatBytes(bytes), 10, true)}`
  return [
    style.bold(`In the bucket, ${countedBy[storage.source]} ${ago(storage.takenAt, now)}:`),
    ...storage.classes.map(row),
    ...(storage.prefixes.length > 1 ? storage.prefixes.map(row) : []),
  ]
}

type Style = Context['report']['style']

function trackLines({ tracks, objects, analyses = [] }: Status, style: Style): string[] {
  const total = tracks.reduce((sum, one) => sum + one.tracks, 0)
  if (total === 0) return ['No tracks yet.']
  const row = ({ source, tracks: count, bytes, withFile, analysed }: SourceCount) => {
    const share = `${((100 * count) / total).toFixed(count === total ? 0 : 1)} %`
    const copies = source === 'S3' && withFile > 0 ? `, ${formatCount(withFile)} with a local copy` : ''
    const files =
      source !== 'S3' && withFile < count && source !== 'UNAVAILABLE'
        ? `, ${formatCount(count - withFile)} without a file`
        : ''
    return `${column(source === null ? 'no source' : (meaning[source] ?? source), 20)} ${column(formatCount(count), 10, true)} ${column(share, 7, true)} ${column(formatBytes(bytes), 10, true)}   ${formatCount(analysed)} analysed${copies}${files}`
  }
  return [
    style.bold(`Tracks: ${formatCount(total)}`),
    ...tracks.map(one => `  ${row(one)}`),
    ...analysisLines(analyses),
    `  ${plural(objects.objects, 'object')} in the ledger, ${formatBytes(objects.bytes)}: ${formatCount(objects.uploaded)} uploaded and confirmed, ` +
      `${formatCount(objects.served)} seen through the CDN${objects.failing > 0 ? `, ${formatCount(objects.failing)} failed their last check` : ''}`,
  ]
}

/** What the application's mix makes of several versions: it weighs energy, which each has on a scale of its own. */
function analysisLines(analyses: readonly AnalysisCount[]): string[] {
  if (analyses.length === 0) return []
  const versions = analyses.map(
    ({ version, tracks }) =>
      `${formatCount(tracks)} by ${version === null ? 'no version' : printable(version)}`,
  )
  return [
    `  analysed: ${versions.join(', ')}`,
    ...(analyses.length > 1
      ? [
          '  each version measures energy on its own scale, and 30 % of the score of a mix compares it: ' +
            '`autodj analyze --outdated`',
        ]
      : []),
  ]
}

function runLines({ runs }: Status, now: Date, style: Style): string[] {
  if (runs.length === 0) return []
  return [
    style.bold('Last runs:'),
    ...runs
      .toSorted((a, b) => b.startedAt.getTime() - a.startedAt.getTime())
      .map(({ command, state, startedAt, finishedAt, exitCode, summary }) => {
        const took =
          finishedAt === null ? '' : `, took ${formatDuration(finishedAt.getTime() - startedAt.getTime())}`
        const dry = summary?.['dry_run'] === true ? ', a dry run' : ''
        const code = exitCode === null || exitCode === 0 ? '' : `, exit code ${exitCode}`
        return `  ${column(command, 20)} ${column(describeRun(state, exitCode), 12)} ${ago(startedAt, now)}${took}${dry}${counts(summary)}${code}`
      }),
  ]
}

/** The counts of a run that say most: its first few that are not 0. */
function counts(summary: Readonly<Record<string, unknown>> | null | undefined): string {
  const told = Object.entries(summary ?? {})
    .filter((entry): entry is [string, number] => typeof entry[1] === 'number' && entry[1] > 0)
    .filter(
      ([name]) => !/second|rate|bytes|concurrency|latency|percent|ratio|realtime|dollars|_ms/.test(name),
    )
    .slice(0, 4)
    .map(([name, count]) => {
      const words = name.replaceAll('_', ' ')
      return `${formatCount(count)} ${count === 1 ? words.replace(/^(\w+[^su])s\b/, '$1') : words}`
    })
  return told.length === 0 ? '' : `: ${told.join(', ')}`
}

const describeRun = (state: Status['runs'][number]['state'], exitCode: number | null): string =>
  (state === 'failed' && exitCode !== null ? exitCodeOutcome[exitCode as ExitCode] : undefined) ??
  describeState[state]

const describeState: Readonly<Record<Status['runs'][number]['state'], string>> = {
  running: 'running',
  done: 'done',
  failed: 'failed',
  interrupted: 'interrupted',
  abandoned: 'killed',
  lost: 'killed',
}

function failureLines({ failures }: Status, style: Style): string[] {
  if (failures.length === 0) return []
  const lines = [style.bold('Failures:')]
  for (const { command, state, code, items, error, cure } of failures) {
    lines.push(`  ${command}: ${formatCount(items)} ${state}, ${code}: ${printable(error)}`)
    if (cure !== null) lines.push(`    ${style.dim(printable(cure))}`)
    const again = retry[command]
    if (again !== undefined && state === 'failed') lines.push(`    ${style.dim(`then \`${again}\``)}`)
  }
  return lines
}

function leaseLines({ working, locks }: Status, now: Date, style: Style): string[] {
  return [
    ...(working.length === 0 ? [] : [style.bold('At work:'), ...working.map(run => workingLine(run, now))]),
    ...(locks.length === 0 ? [] : [style.bold('Locks:')]),
    ...locks.map(
      ({ name, command, host, pid, since, until }) =>
        `  ${name}: ${command}, pid ${pid} on ${machine(host)}, for ${formatDuration(now.getTime() - since.getTime())}; expires at ${until.toISOString()}`,
    ),
  ]
}

function workingLine({ command, host, pid, startedAt, leaseUntil, claims }: WorkingRun, now: Date): string {
  const tracks = claims > 0 ? `${plural(claims, 'track')} claimed, ` : ''
  return `  ${command}, pid ${pid} on ${machine(host)}, for ${formatDuration(now.getTime() - startedAt.getTime())}: ${tracks}lease until ${leaseUntil.toISOString()}`
}

function queueLines(
  { queues, batches }: QueueStatus,
  working: readonly WorkingRun[],
  now: Date,
  style: Style,
): string[] {
  const workers = working.filter(run => run.command === 'worker').length
  const lines = [style.bold(`Queues: ${workers === 0 ? 'no worker is running' : plural(workers, 'worker')}`)]
  for (const { kind, queued, retrying, active, completed, givenUp, oldest } of queues) {
    const waiting = oldest === null ? '' : `, the oldest ${ago(oldest, now)}`
    lines.push(
      `  ${column(kind, 10)} ${formatCount(queued)} queued${retrying > 0 ? ` (${formatCount(retrying)} tried before)` : ''}${waiting}, ` +
        `${formatCount(active)} in progress, ${formatCount(completed)} done in a day, ${formatCount(givenUp)} given up`,
    )
    if (givenUp > 0) lines.push(`    ${style.dim(`once the causes are fixed: \`${requeue[kind]}\``)}`)
    if (queued > 0 && workers === 0) lines.push(`    ${style.dim('`autodj worker` does them')}`)
  }
  for (const { id, name, status, total, analyzed, downloaded, failed, error } of batches) {
    lines.push(
      `  job ${id} (${printable(name ?? 'of the application')}): ${status.toLowerCase()}, ${formatCount(total)} tracks, ` +
        `${formatCount(downloaded)} downloaded, ${formatCount(analyzed)} analysed, ${formatCount(failed)} failed`,
    )
    if (error !== null) lines.push(`    ${style.dim(printable(error))}`)
  }
  return lines
}

const requeue: Readonly<Record<JobKind, string>> = {
  fetch: `autodj ${commandOf.fetch} --enqueue --retry-failed`,
  upload: `autodj ${commandOf.upload} --enqueue --retry-failed`,
  analyze: `autodj ${commandOf.analyze} --enqueue --failed`,
}

/** The host without what tells containers of one name apart. */
const machine = (host: string): string => host.split(' ')[0] as string

function ago(then: Date, now: Date): string {
  return formatAge(now.getTime() - then.getTime())
}

function column(text: string, width: number, right = false): string {
  return right ? text.padStart(width) : text.padEnd(width)
}

/** Local copies of tracks that are in S3. */
function reclaimable(tracks: Status['tracks']): { copies: number; bytes: number } {
  const inS3 = tracks.find(({ source }) => source === 'S3')
  return { copies: inS3?.withFile ?? 0, bytes: inS3?.fileBytes ?? 0 }
}

/** As `--json` gives it. */
function asFields(
  { tracks, objects, runs, failures, working, locks, analyses = [] }: Status,
  queue: QueueStatus | undefined,
) {
  return {
    tracks: tracks.map(({ source, tracks: count, bytes, withFile, analysed }) => ({
      source,
      tracks: count,
      bytes,
      with_file: withFile,
      analysed,
    })),
    objects: {
      objects: objects.objects,
      bytes: objects.bytes,
      uploaded: objects.uploaded,
      verified: objects.verified,
      served: objects.served,
      failing: objects.failing,
    },
    analyses,
    reclaimable: reclaimable(tracks),
    last_day: { uploaded: objects.lastDay ?? null, bytes: objects.lastDayBytes ?? null },
    runs: runs.map(
      ({ command, state, startedAt, finishedAt, host, pid, exitCode, summary, lastSuccess }) => ({
        command,
        state: state === 'lost' ? 'abandoned' : state,
        started_at: startedAt,
        finished_at: finishedAt,
        host,
        pid,
        exit_code: exitCode,
        summary: summary ?? null,
        last_success_at: lastSuccess ?? null,
      }),
    ),
    failures: failures.map(({ command, state, code, items, error, cure, lastAt }) => ({
      command,
      state,
      code,
      items,
      error,
      cure,
      retry: retry[command] ?? null,
      last_at: lastAt,
    })),
    working: working.map(({ id, command, host, pid, startedAt, heartbeatAt, leaseUntil, claims }) => ({
      run_id: id,
      command,
      host,
      pid,
      started_at: startedAt,
      heartbeat_at: heartbeatAt,
      lease_until: leaseUntil,
      claims,
    })),
    locks,
    ...(queue && {
      queues: queue.queues.map(({ kind, queued, retrying, active, completed, givenUp, oldest }) => ({
        kind,
        queued,
        retrying,
        active,
        completed,
        given_up: givenUp,
        oldest_queued_at: oldest,
      })),
      jobs: queue.batches.map(({ createdAt, ...batch }) => ({ ...batch, created_at: createdAt })),
    }),
  }
}
