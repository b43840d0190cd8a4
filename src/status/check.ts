/** `autodj status --check`: one line for Nagios and its kin, and whether all is well. Pure. */
import { formatAge, formatCount, formatDuration, plural } from '../core/units.ts'
import { type ExitCode, exitCodeMeaning } from '../errors.ts'
import type { Status } from './status.ts'

interface Thresholds {
  /** failed and skipped items, of all commands */
  readonly maxFailed: number
  /** milliseconds since a run last ended well */
  readonly maxAge: number
  /** differences that the last reconcile found */
  readonly maxDrift: number
}

interface Verdict {
  /** what is not as it should be; empty: all is well */
  readonly problems: readonly string[]
  /** the line, with performance data behind the bar */
  readonly line: string
}

/** Commands that change something, or look after it: a `status` that ended well says nothing. */
const work: ReadonlySet<string> = new Set([
  'run',
  'import',
  'upload-local',
  'fetch',
  'analyze',
  'verify',
  'reconcile',
  'cleanup',
])

/** Ends that say that the run itself failed, whatever became of items. */
const broken: ReadonlySet<number> = new Set([1, 2, 5])

export function checkStatus(status: Status, thresholds: Thresholds, now: Date): Verdict {
  const runs = status.runs.filter(({ command }) => work.has(command))
  // Whoever runs the whole night is asked when that last went well; else whatever did.
  const night = runs.filter(({ command }) => command === 'run')
  const successes = (night.length > 0 ? night : runs).flatMap(({ lastSuccess }) => lastSuccess ?? [])
  const last = successes.toSorted((a, b) => b.getTime() - a.getTime())[0]
  const age = last === undefined ? undefined : now.getTime() - last.getTime()
  const failed = status.failures.reduce((sum, { items }) => sum + items, 0)
  const drift = Number(runs.find(({ command }) => command === 'reconcile')?.summary?.['drift'] ?? 0)
  const inS3 = status.tracks.find(({ source }) => source === 'S3')?.tracks ?? 0
  const local = status.tracks
    .filter(({ source }) => source === 'LOCAL' || source === 'YOUTUBE')
    .reduce((sum, { tracks }) => sum + tracks, 0)
  const problems: string[] = []
  if (age === undefined) problems.push('no run has succeeded yet')
  else if (age > thresholds.maxAge) {
    problems.push(
      `the last successful run was ${formatAge(age)} (at most ${formatDuration(thresholds.maxAge)})`,
    )
  }
  for (const { command, state, exitCode } of runs) {
    if (state === 'lost' || state === 'abandoned') problems.push(`${command} was killed`)
    else if (exitCode !== null && broken.has(exitCode))
      problems.push(`${command} ended with exit code ${exitCode} (${exitCodeMeaning[exitCode as ExitCode]})`)
  }
  if (failed > thresholds.maxFailed) {
    problems.push(
      `${plural(failed, 'item')} failed or skipped (at most ${formatCount(thresholds.maxFailed)})`,
    )
  }
  if (drift > thresholds.maxDrift) {
    problems.push(
      `${plural(drift, 'difference')} found by reconcile (at most ${formatCount(thresholds.maxDrift)})`,
    )
  }
  const seconds = (milliseconds: number): number => Math.round(milliseconds / 1_000)
  const data = [
    `s3=${inS3}`,
    `local=${local}`,
    `failed=${failed};${thresholds.maxFailed}`,
    `drift=${drift};${thresholds.maxDrift}`,
    ...(age === undefined ? [] : [`age=${seconds(age)}s;${seconds(thresholds.maxAge)}`]),
  ].join(' ')
  const said =
    problems.length === 0
      ? `AUTODJ OK: ${plural(inS3, 'track')} in S3, last successful run ${formatAge(age ?? 0)}`
      : `AUTODJ WARNING: ${problems.join('; ')}`
  return { problems, line: `${said} | ${data}` }
}
