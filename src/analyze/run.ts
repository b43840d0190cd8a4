/** What `autodj analyze` does with its flags: which tracks, from where, with what; plans or runs. */
import { statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { chooseDecoder } from '../audio/decode.ts'
import { createPool } from '../audio/pool.ts'
import { holdsAudio } from '../audio-files/mounted.ts'
import { openRoot, requireAudioRoot } from '../audio-files/source.ts'
import { openSigner } from '../cdn/served.ts'
import { requireBucket, requireCdn } from '../config.ts'
import type { Context } from '../context.ts'
import { analysisVersion } from '../core/audio/version.ts'
import { formatBytes, formatCount, formatDuration, formatEstimate, plural } from '../core/units.ts'
import type { Database } from '../db/database.ts'
import { lastTold } from '../db/ledger.ts'
import { lockedLine } from '../db/locked-rows.ts'
import { requireSchema } from '../db/require-schema.ts'
import { countTracks, type TrackFilter, trackPage } from '../db/tracks.ts'
import { ExitCode, UsageError } from '../errors.ts'
import { recordRun } from '../runs/recorded-run.ts'
import { makeTempFolder, sweepTempFolders } from '../runs/temp-folders.ts'
import { plannedTracks, runTracks, type TrackRunEnd } from '../runs/track-run.ts'
import { Resilience } from '../storage/resilience.ts'
import { Analyzer, type SourceMode } from './analyzer.ts'
import type { AnalyzeFlags } from './flags.ts'
import { cdnOrigin, type Origin, s3Origin } from './origin.ts'
import { type AnalyzeTotals, AnalyzeWork, analyzeCommand, checkCommand } from './work.ts'

/** How a queued track is to be analysed; what else the flags say chooses tracks, or is the worker's. */
export type AnalyzeJobOptions = Pick<AnalyzeFlags, 'source' | 'bpmRange' | 'timeLimit'>

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** If there is audio to be had: an origin to download from, a folder of local files. */
interface AudioPlaces {
  readonly origin: boolean
  readonly folder: boolean
}

/**
 * Which rows: those with audio from that source, and of those what the flags ask for. A check takes all unless told.
 *
 * @throws UsageError for flags that contradict each other
 */
export function analyzeFilter(
  flags: Pick<AnalyzeFlags, 'source' | 'missing' | 'outdated' | 'failed' | 'all' | 'track' | 'check'>,
  now: Date,
  { origin, folder }: AudioPlaces = { origin: true, folder: true },
): TrackFilter {
  const chosen = (['missing', 'outdated', 'failed', 'all'] as const).filter(name => flags[name])
  if (chosen.length > 1 || (chosen.length === 1 && flags.track.length > 0)) {
    const given = [...chosen, ...(flags.track.length > 0 ? ['track'] : [])].map(name => `--${name}`)
    throw new UsageError(`${given.join(' and ')} cannot be combined`, { code: 'usage.flag' })
  }
  for (const id of flags.track) {
    if (!uuid.test(id)) throw new UsageError(`--track: "${id}" is not a track id`, { code: 'usage.flag' })
  }
  const audio: TrackFilter =
    flags.source === 'local'
      ? { hasFile: true }
      : flags.source !== 'auto' || !folder
        ? { sources: ['S3'], hasKey: true }
        : origin
          ? { hasAudio: true }
          : { sources: ['LOCAL', 'YOUTUBE'], hasFile: true }
  if (flags.track.length > 0)
    return { ...audio, ids: flags.track, ...(flags.check ? {} : { notAnalyzedSince: now }) }
  if (flags.check) {
    if (flags.failed) return { ...audio, failedIn: checkCommand }
    if (flags.missing) return { ...audio, analysis: 'missing' }
    return flags.outdated ? { ...audio, analysis: { olderThan: analysisVersion } } : audio
  }
  if (flags.all) return { ...audio, notAnalyzedSince: now }
  if (flags.failed) return { ...audio, analysis: 'failed' }
  return {
    ...audio,
    analysis: flags.outdated ? { olderThan: analysisVersion } : 'missing',
    notSkippedIn: analyzeCommand,
  }
}

/**
 * Which rows, for a run on this machine. Without the audio folder (not mounted, misspelt) every local file looks gone:
 * that is one error, and no track's.
 *
 * @throws FatalError if there is no folder, and nothing but local files to take
 */
async function filterHere(
  { config, report, now }: Context,
  { knex }: Database,
  flags: AnalyzeFlags,
  origin: boolean,
): Promise<TrackFilter> {
  const remote = flags.source === 's3' || flags.source === 'cdn'
  if (remote || (await holdsAudio({ knex }, config.audioFolder)))
    return analyzeFilter(flags, now(), { origin, folder: true })
  if (flags.source === 'local' || !origin) await requireAudioRoot(config.audioRoot)
  const { tracks } = await countTracks(knex, analyzeFilter(flags, now(), { origin: false, folder: true }))
  if (tracks > 0) {
    report.warn(`no audio in the folder ${config.audioRoot}: ${plural(tracks, 'local track')} skipped`)
  }
  return analyzeFilter(flags, now(), { origin, folder: false })
}

/** @throws UsageError if the source that was asked for is not configured */
async function openOrigin(
  context: Context,
  source: SourceMode,
  sockets: number,
): Promise<Origin | undefined> {
  const { config } = context
  if (source === 'local') return undefined
  if (source === 's3') requireBucket(config)
  if (source !== 'cdn' && config.s3.bucket !== undefined)
    return s3Origin(await context.store({ maxSockets: sockets }))
  if (source === 'auto' && config.cdn === undefined) return undefined
  const { domain } = requireCdn(config)
  const origin = cdnOrigin({
    domain,
    signer: await openSigner(config),
    sockets,
    throttle: context.throttle,
    now: context.now,
  })
  context.onRelease(() => origin.close())
  return origin
}

/**
 * An analyser with its threads, its origin and a temporary folder of its own, all released with the context. A queue
 * worker opens one and gives its jobs to `AnalyzeWork`.
 *
 * @param settings.stopping aborted: downloads are given up, an analysis that runs is finished
 */
export async function openAnalyzer(
  context: Context,
  settings: Pick<
    AnalyzeFlags,
    'source' | 'concurrency' | 'tempLimit' | 'timeLimit' | 'bpmRange' | 'maxOutage'
  > & {
    readonly runId: string
    readonly stopping: AbortSignal
    /** a folder that the caller removes; undefined: one of its own, released with the context */
    readonly tempFolder?: string
  },
): Promise<{ analyzer: Analyzer; decoder: 'ffmpeg' | 'npm'; origin: Origin | undefined }> {
  const { config, report, signal } = context
  const { stopping, source } = settings
  const tempFolder = settings.tempFolder ?? (await ownTempFolder(context, settings.runId))
  const { name: decoder } = await chooseDecoder()
  const pool = createPool({
    decoder,
    timeLimit: settings.timeLimit,
    ...(settings.concurrency !== undefined && { workers: settings.concurrency }),
  })
  context.onRelease(() => pool.close())
  const origin = await openOrigin(context, source, pool.workers * 4 + 2)
  const { bavail, bsize } = await statfs(tmpdir())
  const analyzer = new Analyzer({
    pool,
    source,
    origin,
    audioFolder: config.audioFolder,
    realRoot: await openRoot(config.audioRoot).catch(() => undefined),
    tempFolder,
    // The disk is not ours alone.
    tempLimit: Math.min(settings.tempLimit, Math.floor(0.9 * bavail * bsize)),
    resilience: new Resilience({
      probe: probeSignal => (origin === undefined ? Promise.resolve() : origin.probe(probeSignal)),
      control: { throttled() {} },
      report,
      maxOutage: settings.maxOutage,
      signal: stopping,
    }),
    bpmRange: settings.bpmRange,
    stopping,
    signal,
  })
  return { analyzer, decoder, origin }
}

async function ownTempFolder({ report, onRelease }: Context, runId: string): Promise<string> {
  const swept = await sweepTempFolders()
  if (swept > 0) report.note(`Removed ${plural(swept, 'temporary folder')} of runs that were killed`)
  const temp = await makeTempFolder(runId)
  onRelease(() => temp.remove())
  return temp.path
}

/** The run itself, recorded in the ledger. */
export async function runAnalyze(context: Context, flags: AnalyzeFlags): Promise<ExitCode> {
  const { report } = context
  analyzeFilter(flags, context.now())
  const database = await context.database()
  await requireSchema(database)
  return recordRun(context, database, async run => {
    const { stopping } = run
    const { analyzer, decoder, origin } = await openAnalyzer(context, { ...flags, runId: run.id, stopping })
    const filter = await filterHere(context, database, flags, origin !== undefined)
    if (origin !== undefined) {
      // One clear line now rather than one for each track.
      const { tracks } = await countTracks(database.knex, { ...filter, sources: ['S3'] })
      if (tracks > 0) {
        await origin.probe(stopping).catch(error => {
          if (!stopping.aborted) throw error
        })
      }
    }
    const absent = await tellAbsent(context, database, flags.track, filter)
    const work = new AnalyzeWork(context, database, analyzer, run, flags.check)
    const startedAt = performance.now()
    const end = await runTracks(context, database, run, {
      work,
      choices: [{ filter, once: flags.check }],
      limit: flags.limit,
      lockWait: flags.lockWait,
      claims: { first: 32, largest: 32 },
      // An analysis costs seconds: it is committed soon.
      commits: { size: 50, interval: 1_000 },
      // One that a thread works on, and downloads that wait for it.
      slots: () => analyzer.workers * 4,
      progress: report.progress({ label: flags.check ? 'checking' : 'analysing', unit: 'tracks' }),
      note: () => {
        const elapsed = (performance.now() - startedAt) / 1_000
        return `${(work.totals.audioSeconds / elapsed).toFixed(0)}x realtime`
      },
    })
    const left =
      filter.notSkippedIn === undefined
        ? 0
        : (await countTracks(database.knex, { ...filter, notSkippedIn: undefined })).tracks -
          (await countTracks(database.knex, filter)).tracks
    const summary = summariseAnalyze(
      { ...work.totals, absent, left },
      analyzer,
      decoder,
      end,
      flags,
      stopping.aborted,
    )
    report.summary(summary)
    return {
      exitCode: end.exitCode === ExitCode.ok && absent > 0 ? ExitCode.someFailed : end.exitCode,
      summary: summary.fields,
    }
  })
}

/** `--enqueue`: what the flags ask for, for workers. */
export async function enqueueAnalyze(
  context: Context,
  flags: AnalyzeFlags & { readonly job: string | undefined },
): Promise<ExitCode> {
  const { config } = context
  const { source, bpmRange, timeLimit, limit, job } = flags
  const origin = config.s3.bucket !== undefined || config.cdn !== undefined
  // Workers on other machines may have the folder.
  const filter = analyzeFilter(flags, context.now(), { origin, folder: true })
  const { enqueueTracks } = await import('../queue/enqueue.ts')
  const options: AnalyzeJobOptions = { source, bpmRange, timeLimit }
  return enqueueTracks(context, {
    kind: 'analyze',
    choices: [{ filter }],
    options: { ...options },
    limit,
    job,
  })
}

/** Tracks that were asked for by id and are not there, or have no audio. @returns how many */
async function tellAbsent(
  { report }: Context,
  { knex }: Database,
  ids: readonly string[],
  filter: TrackFilter,
): Promise<number> {
  let absent = 0
  const page = async (wanted: TrackFilter) =>
    new Set((await trackPage(knex, { limit: ids.length, filter: wanted })).map(track => track.id))
  if (ids.length === 0) return 0
  const [rows, withAudio] = [await page({ ids }), await page(filter)]
  for (const id of new Set(ids.map(one => one.toLowerCase()))) {
    if (withAudio.has(id)) continue
    absent++
    const there = rows.has(id)
    report.item({
      subject: id,
      state: 'failed',
      fields: { track_id: id, code: there ? 'row.no-audio' : 'row.missing' },
      reason: there ? 'the track has no audio from this source' : 'no such track',
      ...(there && { cure: 'Run `autodj fetch`, or choose another --source.' }),
    })
  }
  return absent
}

/** `--dry-run`: which tracks, how much audio, and how long it took last time. Opens no file and no object. */
export async function planAnalyze(context: Context, flags: AnalyzeFlags): Promise<void> {
  const { report, config } = context
  analyzeFilter(flags, context.now())
  const database = await context.database()
  await requireSchema(database)
  const origin = config.s3.bucket !== undefined || config.cdn !== undefined
  const filter = await filterHere(context, database, flags, origin)
  const plan = { tracks: 0, seconds: 0, bytes: 0, unknown: 0 }
  const choices = [{ filter }]
  for await (const track of plannedTracks(
    context,
    database,
    { choices, limit: flags.limit },
    async page => page,
  )) {
    plan.tracks++
    if (track.duration === null) plan.unknown++
    plan.seconds += track.duration ?? 0
    const remote = flags.source !== 'local' && track.fileSource === 'S3'
    if (remote) plan.bytes += track.fileSize ?? 0
    report.item({
      subject: track.s3ObjectKey ?? track.filePath ?? track.id,
      state: flags.check ? 'would-check' : 'would-analyse',
      fields: { track_id: track.id, seconds: track.duration, download_bytes: remote ? track.fileSize : 0 },
    })
  }
  const rate = await lastRate(database, flags.check ? checkCommand : analyzeCommand)
  const time =
    rate === undefined
      ? 'no estimate until a first run has been measured'
      : `${formatEstimate(plan.seconds / rate)} at ${rate.toFixed(0)}x realtime, as in the last run`
  report.summary({
    lines: [
      `Dry run: ${plural(plan.tracks, 'track')}, ${formatDuration(plan.seconds * 1_000)} of audio` +
        `${plan.unknown > 0 ? ` and ${formatCount(plan.unknown)} of unknown length` : ''}; nothing was changed.`,
      `At most ${formatBytes(plan.bytes)} to download; ${time}.`,
    ],
    next: plan.tracks > 0 ? 'run it again without --dry-run' : undefined,
    fields: {
      dry_run: true,
      tracks: plan.tracks,
      audio_seconds: plan.seconds,
      download_bytes: plan.bytes,
      estimated_seconds: rate === undefined ? null : Math.round(plan.seconds / rate),
    },
  })
}

function lastRate({ knex }: Database, command: string): Promise<number | undefined> {
  return lastTold(knex, analyzeCommand, ({ summary }) => {
    const isSame = (summary?.['check'] === true) === (command === checkCommand)
    return isSame ? Number(summary?.['x_realtime'] ?? 0) || undefined : undefined
  })
}

function summariseAnalyze(
  totals: AnalyzeTotals & {
    /** tracks that were asked for by id and are not there */
    readonly absent: number
    /** tracks without an analysis that only `--failed` tries */
    readonly left: number
  },
  { statistics, workers }: Analyzer,
  decoder: 'ffmpeg' | 'npm',
  { seconds, locked, left: leftToOthers }: TrackRunEnd,
  flags: Pick<AnalyzeFlags, 'check'>,
  stopped: boolean,
): { lines: string[]; next: string | undefined; fields: Record<string, unknown> } {
  const done = totals.analysed + totals.checked
  const { failed, damaged, changed, interrupted, absent, left } = totals
  const rate = seconds > 0 ? totals.audioSeconds / seconds : 0
  const busy = seconds > 0 ? Math.min(1, statistics.busySeconds / (workers * seconds)) : 0
  const verb = flags.check ? 'checked' : 'analysed'
  const lines =
    done + failed + changed + interrupted === 0
      ? [
          stopped
            ? `Stopped before anything was ${verb}.`
            : locked + leftToOthers > 0
              ? `Nothing was ${verb}.`
              : `Nothing to ${flags.check ? 'check' : 'analyse'}${left > 0 ? ' anew' : ''}.`,
        ]
      : [
          `${plural(done, 'track')} ${verb}: ${formatDuration(totals.audioSeconds * 1_000)} of audio in ` +
            `${formatDuration(seconds * 1_000)}, ${rate.toFixed(0)}x realtime ` +
            `(${plural(workers, 'thread')}, ${Math.round(100 * busy)} % busy; ${decoder === 'ffmpeg' ? 'ffmpeg' : 'decoders from npm'}).`,
        ]
  if (statistics.downloads > 0) {
    const { downloads, bytes, unverified } = statistics
    const proved =
      unverified === 0
        ? 'every checksum compared'
        : `${plural(unverified, 'object')} without a checksum to compare`
    lines.push(`${plural(downloads, 'object')} downloaded, ${formatBytes(bytes)}; ${proved}.`)
  }
  if (damaged > 0) {
    lines.push(`${plural(damaged, 'file')} damaged; see above, or the ledger, for what is wrong.`)
  }
  if (failed + changed > 0)
    lines.push(`${formatCount(failed + changed)} failed; see above, or the ledger, for the reasons.`)
  if (locked > 0) lines.push(lockedLine(locked))
  if (leftToOthers > 0) lines.push(`${plural(leftToOthers, 'track')} being handled by other runs.`)
  if (absent > 0)
    lines.push(`${plural(absent, 'track')} of those asked for had no audio from there; see above.`)
  if (done + failed + changed === 0 && left > 0 && !stopped)
    lines.push(`${plural(left, 'track')} could not be analysed earlier: retry with --failed.`)
  const next =
    failed + changed + damaged > 0
      ? `\`autodj analyze ${flags.check ? '--check ' : ''}--failed\`, once the causes are fixed`
      : interrupted + locked > 0
        ? '`autodj analyze` to continue'
        : undefined
  return {
    lines,
    next,
    fields: {
      check: flags.check,
      analysed: totals.analysed,
      checked: totals.checked,
      damaged,
      failed: failed + absent,
      left_to_failed: left,
      rows_changed: changed,
      rows_locked: locked,
      left_to_others: leftToOthers,
      interrupted,
      audio_seconds: Math.round(totals.audioSeconds * 10) / 10,
      seconds: Math.round(seconds * 1_000) / 1_000,
      x_realtime: Math.round(rate * 10) / 10,
      thread_cpu_seconds: Math.round(totals.cpuSeconds * 10) / 10,
      threads: workers,
      threads_busy: Math.round(busy * 1_000) / 1_000,
      decoder,
      downloads: statistics.downloads,
      bytes_downloaded: statistics.bytes,
      unverified: statistics.unverified,
    },
  }
}
