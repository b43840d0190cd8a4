/**
 * Metrics of the last runs for Prometheus, in a file for node_exporter's textfile collector or to a Pushgateway: gauges,
 * one set for each command, so that several commands may share a file.
 */
import { chmod, mkdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import path from 'node:path'
import { Gauge, Registry } from 'prom-client'
import { systemErrorCode } from '../errors.ts'
import { replaceFile, requireReplaceable } from '../file-effects.ts'
import { NamedFileError, readNamedFile } from '../named-files.ts'
import type { RunEnd } from '../report/entry.ts'
import { post } from './post.ts'

/** Tracks by where their audio is, and objects that the ledger knows: only if a database was open. */
export interface LibraryTotals {
  readonly tracks: readonly {
    readonly source: string | null
    readonly tracks: number
    readonly bytes: number
  }[]
  readonly objects: { readonly objects: number; readonly bytes: number; readonly failing: number }
}

const descriptions = {
  autodj_run_end_timestamp_seconds: 'When the last run of the command ended, seconds since 1970.',
  autodj_run_success_timestamp_seconds: 'When a run of the command last ended with exit code 0.',
  autodj_run_duration_seconds: 'How long the last run of the command took.',
  autodj_run_exit_code: 'Exit code of the last run of the command.',
  autodj_run_items: 'Items of the last run by outcome, as counted in its summary.',
  autodj_run_bytes: 'Bytes of the last run, as counted in its summary.',
  autodj_run_failures: 'Items that failed in the last run, by cause.',
  autodj_drift_differences: 'Differences that the last reconcile found between database, bucket and disk.',
  autodj_library_tracks: 'Tracks by where their audio is.',
  autodj_library_bytes: 'Bytes of the tracks by where their audio is, as far as the rows say.',
  autodj_storage_objects: 'Objects in the bucket that the ledger knows of.',
  autodj_storage_bytes: 'Bytes of those objects.',
  autodj_storage_failing: 'Objects whose last check failed.',
} as const
type Name = keyof typeof descriptions

/** A sample: labels and a value. */
type Sample = readonly [name: Name, labels: Readonly<Record<string, string>>, value: number]

/** What the run is told by, one sample each. Pure. */
export function samplesOf(
  { command, startedAt, endedAt, exitCode, fields, failures, outcomes }: RunEnd,
  library: LibraryTotals | undefined,
): Sample[] {
  const at = endedAt.getTime() / 1_000
  const samples: Sample[] = [
    ['autodj_run_end_timestamp_seconds', { command }, at],
    ['autodj_run_duration_seconds', { command }, (endedAt.getTime() - startedAt.getTime()) / 1_000],
    ['autodj_run_exit_code', { command }, exitCode],
  ]
  if (exitCode === 0) samples.push(['autodj_run_success_timestamp_seconds', { command }, at])
  const counted = new Set<string>()
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value !== 'number' || !Number.isFinite(value) || isNoCount(name)) continue
    if (/(^|_)bytes($|_)/.test(name)) samples.push(['autodj_run_bytes', { command, kind: name }, value])
    else {
      counted.add(name)
      samples.push(['autodj_run_items', { command, outcome: name }, value])
    }
  }
  for (const [state, count] of outcomes) {
    const outcome = state.replaceAll('-', '_')
    if (!counted.has(outcome)) samples.push(['autodj_run_items', { command, outcome }, count])
  }
  for (const [cause, count] of failures) samples.push(['autodj_run_failures', { command, cause }, count])
  if (command === 'reconcile' && typeof fields['drift'] === 'number')
    samples.push(['autodj_drift_differences', { command }, fields['drift']])
  for (const { source, tracks, bytes } of library?.tracks ?? []) {
    samples.push(['autodj_library_tracks', { source: source ?? 'none' }, tracks])
    samples.push(['autodj_library_bytes', { source: source ?? 'none' }, bytes])
  }
  if (library !== undefined) {
    samples.push(['autodj_storage_objects', {}, library.objects.objects])
    samples.push(['autodj_storage_bytes', {}, library.objects.bytes])
    samples.push(['autodj_storage_failing', {}, library.objects.failing])
  }
  return samples
}

/** Numbers of a summary that count no items. */
const isNoCount = (name: string): boolean =>
  /second|rate|dollars|exit_code|concurrency|percent|step/.test(name)

/** In Prometheus' text format: HELP and TYPE once for each name. */
export async function expose(samples: readonly Sample[]): Promise<string> {
  const registry = new Registry()
  const gauges = new Map<Name, Gauge>()
  for (const [name, labels, value] of samples) {
    let gauge = gauges.get(name)
    if (gauge === undefined) {
      gauge = new Gauge({
        name,
        help: descriptions[name],
        labelNames: Object.keys(labels),
        registers: [registry],
      })
      gauges.set(name, gauge)
    }
    gauge.set({ ...labels }, value)
  }
  return registry.metrics()
}

/** The samples of a file that this module wrote; what it does not know is left out. */
export function parseExposed(text: string): Sample[] {
  return text.split('\n').flatMap(line => {
    const [, name = '', inner = '', value = ''] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    if (!Object.hasOwn(descriptions, name)) return []
    const labels = Object.fromEntries(
      [...inner.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, quoted = '']) => [
        label,
        quoted.replaceAll(/\\(.)/g, (_all, one: string) => (one === 'n' ? '\n' : one)),
      ]),
    )
    return [[name as Name, labels, Number(value)] satisfies Sample]
  })
}

/** @throws the file system's error; Error if it is no file, or no such one */
async function readBefore(file: string): Promise<string> {
  try {
    await requireReplaceable(file)
    return readNamedFile(file).toString()
  } catch (error) {
    if (error instanceof NamedFileError) throw new Error(`${file}: ${error.message}`)
    return ignoreMissing(error)
  }
}

/**
 * Replaces what the file says of these commands, and of the library if it is known now; the rest stays, as does the
 * time of a command's last success where this run was none. Renamed into place, readable by all.
 */
export async function writeMetricsFile(
  file: string,
  runs: readonly RunEnd[],
  library: LibraryTotals | undefined,
): Promise<void> {
  const fresh = runs.flatMap((run, index) => samplesOf(run, index === 0 ? library : undefined))
  const before = parseExposed(await readBefore(file))
  const commands = new Set(runs.map(run => run.command))
  const succeeded = new Set(runs.filter(run => run.exitCode === 0).map(run => run.command))
  const kept = before.filter(([name, { command }]) => {
    if (command === undefined) return library === undefined
    if (name === 'autodj_run_success_timestamp_seconds') return !succeeded.has(command)
    return !commands.has(command)
  })
  await mkdir(path.dirname(file), { recursive: true })
  // The collector reads *.prom only, which a draft is not. It may be another user, whatever our umask is.
  await replaceFile(file, await expose([...kept, ...fresh]), {
    mode: 0o644,
    prepare: draft => chmod(draft, 0o644),
  })
}

function ignoreMissing(error: unknown): string {
  if (systemErrorCode(error) === 'ENOENT') return ''
  throw error
}

/**
 * Adds the metrics of each run to its group on a Pushgateway (POST: the last success stays where this run was none).
 * @returns what went wrong
 */
export async function pushMetrics(
  gateway: string,
  runs: readonly RunEnd[],
  library: LibraryTotals | undefined,
  deadline: AbortSignal,
): Promise<string | undefined> {
  for (const [index, run] of runs.entries()) {
    const samples = samplesOf(run, index === 0 ? library : undefined).map(
      ([name, { command: _, ...labels }, value]) => [name, labels, value] satisfies Sample,
    )
    const url = new URL(gateway)
    const group = ['job', 'autodj', 'command', run.command, 'instance', hostname()].map(encodeURIComponent)
    url.pathname = `${url.pathname.replace(/\/+$/, '')}/metrics/${group.join('/')}`
    const problem = await post(url, await expose(samples), {
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
      deadline,
      tries: 3,
      quotes: true,
    })
    if (problem !== undefined) return problem
  }
  return undefined
}
