/** `autodj status`: what the database knows, for people and for programs. */
import type { Context } from '../context.ts'
import { formatBytes, formatCount, formatDuration, plural, printable } from '../core/units.ts'
import { requireSchema } from '../db/require-schema.ts'
import { ExitCode, exitCodeOutcome } from '../errors.ts'
import { commandOf, type JobKind } from '../queue/names.ts'
import {
  nextStep,
  type QueueStatus,
  readQueues,
  readStatus,
  type SourceCount,
  type Status,
  type WorkingRun,
} from './status.ts'

export interface StatusFlags {
  readonly queues: boolean
}

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

export async function runStatus(context: Context, { queues }: StatusFlags): Promise<ExitCode> {
  const { report, config } = context
  const database = await context.database()
  await requireSchema(database, queues ? 'job_tracks' : 'files')
  const now = context.now()
  const status = await readStatus(database.knex, config.s3.bucket)
  const queue = queues ? await readQueues(database.knex) : undefined
  report.summary({
    isAnswer: true,
    lines: [
      ...trackLines(status, report.style),
      ...(queue ? queueLines(queue, status.working, now, report.style) : []),
      ...runLines(status, now, report.style),
      ...failureLines(status, report.style),
      ...leaseLines(status, now, report.style),
    ],
    next: nextStep(status, config.cdn !== undefined),
    fields: { database: database.where, bucket: config.s3.bucket ?? null, ...asFields(status, queue) },
  })
  return ExitCode.ok
}

type Style = Context['report']['style']

function trackLines({ tracks, objects }: Status, style: Style): string[] {
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
    `  ${plural(objects.objects, 'object')} in the ledger, ${formatBytes(objects.bytes)}: ${formatCount(objects.uploaded)} uploaded and confirmed, ` +
      `${formatCount(objects.served)} seen through the CDN${objects.failing > 0 ? `, ${formatCount(objects.failing)} failed their last check` : ''}`,
  ]
}

function runLines({ runs }: Status, now: Date, style: Style): string[] {
  if (runs.length === 0) return []
  return [
    style.bold('Last runs:'),
    ...runs
      .toSorted((a, b) => b.startedAt.getTime() - a.startedAt.getTime())
      .map(({ command, state, startedAt, finishedAt, exitCode }) => {
        const took =
          finishedAt === null ? '' : `, took ${formatDuration(finishedAt.getTime() - startedAt.getTime())}`
        const code = exitCode === null || exitCode === 0 ? '' : `, exit code ${exitCode}`
        return `  ${column(command, 20)} ${column(describeRun(state, exitCode), 12)} ${ago(startedAt, now)}${took}${code}`
      }),
  ]
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
        `  ${name}: ${command}, pid ${pid} on ${machine(host)}, for ${formatDuration(now.getTime() - since.getTime())}; free by itself at ${until.toISOString()}`,
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
        `${formatCount(active)} in work, ${formatCount(completed)} done in a day, ${formatCount(givenUp)} given up`,
    )
    if (givenUp > 0) lines.push(`    ${style.dim(`when the cause is gone: \`${requeue[kind]}\``)}`)
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
  return `${formatDuration(Math.max(0, now.getTime() - then.getTime()))} ago`
}

function column(text: string, width: number, right = false): string {
  return right ? text.padStart(width) : text.padEnd(width)
}

/** As `--json` gives it. */
function asFields(
  { tracks, objects, runs, failures, working, locks }: Status,
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
    objects,
    runs: runs.map(({ command, state, startedAt, finishedAt, host, pid, exitCode }) => ({
      command,
      state: state === 'lost' ? 'abandoned' : state,
      started_at: startedAt,
      finished_at: finishedAt,
      host,
      pid,
      exit_code: exitCode,
    })),
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
