/** What `autodj restore` does with its flags: the way back, track by track, until the rows are LOCAL again. */

import path from 'node:path'
import pLimit, { type LimitFunction } from 'p-limit'
import { Downloader } from '../audio-files/downloader.ts'
import { requireDisk, requireDiskOf, WatchedFolder } from '../audio-files/mounted.ts'
import { Readers, readerThreads } from '../audio-files/readers.ts'
import type { Context } from '../context.ts'
import {
  applicationStyle,
  isOpenedByApplication,
  isOutside,
  libraryStyle,
  type PathStyle,
  plainFolder,
  readStoredPath,
  writeStoredPath,
} from '../core/audio-path.ts'
import { formatBytes, formatCount, plural } from '../core/units.ts'
import type { Database } from '../db/database.ts'
import type { RowRefusal } from '../db/errors.ts'
import { clearItems, objectsByKey, recordItems } from '../db/ledger.ts'
import { LockedRows, lockedLine, rowLocked } from '../db/locked-rows.ts'
import { requireSchema } from '../db/require-schema.ts'
import { type RowSwap, rowVersions, swapRows } from '../db/row-facts.ts'
import { type ChangeOutcome, countTracks, filePathSample, type Track, trackPages } from '../db/tracks.ts'
import { type ErrorCode, usualCure } from '../error-codes.ts'
import {
  AppError,
  ExitCode,
  isAbortError,
  systemErrorCode,
  systemErrorReason,
  TemporaryError,
  UsageError,
} from '../errors.ts'
import { ExternalSorter } from '../external-sort/sorter.ts'
import { keepHeapLevel } from '../heap.ts'
import { isTooManyFiles, withinOpenFiles } from '../open-files.ts'
import { makePlanHeader, PlanBuilder, quarantineKey, refuseUnwritable } from '../plan/plan-file.ts'
import { recordRun } from '../runs/recorded-run.ts'
import { holdRemovalLease } from '../runs/removal-lock.ts'
import { selectedTracks } from '../runs/selected-tracks.ts'
import { makeTempFolder } from '../runs/temp-folders.ts'
import { isItemProblem } from '../storage/item-problem.ts'
import { Requests } from '../storage/requests.ts'
import { RunHalted } from '../storage/resilience.ts'
import type { ObjectStore } from '../storage/store.ts'
import type { RestoreFlags } from './flags.ts'
import { RestoreBatch, type RestoreOutcome, requireWritable, restorePath } from './restore.ts'

const command = 'restore'

type S3Track = Track & { s3ObjectKey: string }

/** A track whose file is there again. */
interface Restored {
  track: S3Track
  file: string
  head: { key: string; size: number; etag: string }
}

/** What became of a page of tracks: an outcome is undefined if one was left for the next run. */
interface Downloaded {
  readonly batch: RestoreBatch
  readonly ends: readonly PromiseSettledResult<{
    track: S3Track
    file: string
    outcome: RestoreOutcome | undefined
  }>[]
}

/** Downloads at a time, unless the flags fix their number. */
const initialConcurrency = 16
const mostConcurrency = 256
/** Bytes of downloads in memory. */
const memory = 96 * 1024 ** 2
/** How long S3 may be away, ms. */
const maxOutage = 600_000
/** Files that wait for the disk at a time while others are downloaded. */
const mostSyncs = 64
/** Tracks committed together, or told of at a time. */
const pageSize = { work: 200, dryRun: 1_000 }

export async function runRestore(context: Context, flags: RestoreFlags): Promise<ExitCode> {
  if (flags.keepObjects && flags.plan !== undefined) {
    throw new UsageError('--keep-objects and --plan contradict each other', { code: 'usage.flag' })
  }
  if (flags.plan !== undefined) await refuseUnwritable(path.resolve(context.cwd, flags.plan))
  const maxConcurrency = flags.concurrency ?? mostConcurrency
  const store = await context.store({ maxSockets: maxConcurrency + 4 })
  const database = await context.database()
  await requireSchema(database)
  await store.checkBucket(context.signal)
  keepHeapLevel()
  return recordRun(context, database, async run => {
    context.limitDuration(flags.maxDuration)
    // Between download and row, `cleanup` would take the file for a copy that may go.
    if (!flags.dryRun) await holdRemovalLease(database.knex, run.id)
    const folder = restoreFolder(context, flags)
    const isAudioFolder = folder === context.config.audioRoot
    await requireDisk(database, isAudioFolder ? context.config.audioFolder : plainFolder(folder), {
      force: flags.force,
      isAudioFolder,
    })
    const temp = await makeTempFolder(run.id)
    context.onRelease(() => temp.remove())
    const tempFolder = temp.path
    if (!flags.dryRun) await requireWritable(folder)
    const signal = AbortSignal.any([context.signal, run.lost])
    const threads = new Readers(readerThreads())
    context.onRelease(() => threads.close())
    const requests = new Requests({
      store,
      report: context.report,
      initialConcurrency: flags.concurrency ?? initialConcurrency,
      maxConcurrency,
      maxOutage,
      signal,
      stopping: run.stopping,
    })
    const downloader = new Downloader({ store, threads, memory, signal, requests })
    const parts = { database, store, downloader, requests, threads, runId: run.id, tempFolder }
    return new Restorer(context, flags, parts).run(signal)
  })
}

/** Where the files go, absolute. */
const restoreFolder = ({ config, cwd }: Context, { to }: RestoreFlags): string =>
  to === undefined ? config.audioRoot : path.resolve(cwd, to)

interface RestorerParts {
  database: Database
  store: ObjectStore
  runId: string
  downloader: Downloader
  requests: Requests
  threads: Readers
  tempFolder: string
}

class Restorer {
  readonly #counts = { restored: 0, there: 0, back: 0, failed: 0, changed: 0, bytes: 0 }
  readonly #lockedRows: LockedRows
  readonly #folder: string
  readonly #watched: WatchedFolder
  /** how new paths are written */
  #style: PathStyle
  readonly #plan: PlanBuilder | undefined
  readonly #context: Context
  readonly #flags: RestoreFlags
  readonly #parts: RestorerParts
  /** files that are open at a time: downloads, and what waits for the disk */
  readonly #open: LimitFunction
  /** Two rows may share an object, and so a file: one download, both rows. By key and file. */
  readonly #inWork = new Map<string, Promise<RestoreOutcome | undefined>>()
  /** the run has failed: nothing new is begun */
  readonly #failing = new AbortController()

  constructor(context: Context, flags: RestoreFlags, parts: RestorerParts) {
    this.#context = context
    this.#flags = flags
    this.#parts = parts
    this.#lockedRows = new LockedRows({
      knex: parts.database.knex,
      stopping: context.stopping,
      report: context.report,
      wait: flags.lockWait,
    })
    this.#open = pLimit(withinOpenFiles(parts.requests.concurrency + mostSyncs))
    this.#style = applicationStyle(context.config.audioFolder)
    this.#folder = restoreFolder(context, flags)
    this.#watched = new WatchedFolder(this.#folder)
    this.#plan =
      flags.plan === undefined ? undefined : new PlanBuilder(new ExternalSorter(parts.tempFolder, 'plan'))
  }

  async run(signal: AbortSignal): Promise<{ exitCode: ExitCode; summary: Record<string, unknown> }> {
    const context = this.#context
    const flags = this.#flags
    const { knex } = this.#parts.database
    this.#style = libraryStyle(await filePathSample(knex), context.config.audioFolder)
    const filter = {
      sources: ['S3' as const],
      hasKey: true,
      ...(flags.retryFailed ? { failedIn: command } : {}),
      ...(await selectedTracks(context, this.#parts.database)),
    }
    const progress = context.report.progress({ label: 'restore', unit: 'tracks', showBytes: true })
    let left = flags.limit ?? Number.POSITIVE_INFINITY
    const { tracks: whole, bytes: wholeBytes, withoutSize } = await countTracks(knex, filter)
    const items = Math.min(whole, left)
    progress.total({ items, ...(items === whole && withoutSize === 0 ? { bytes: wholeBytes } : {}) })
    const versioned = (await this.#parts.store.versioning(signal)) === 'Enabled'
    const planId = this.#parts.runId
    /** Pages are concluded one after another, each while the next one is downloaded. */
    let concluded = Promise.resolve()
    let before = concluded
    let pages: readonly Promise<unknown>[] = []
    try {
      for await (const page of trackPages(knex, {
        filter,
        pageSize: flags.dryRun ? pageSize.dryRun : pageSize.work,
        signal,
        inOrder: flags.limit !== undefined,
      })) {
        for (let at = 0; at < page.length; ) {
          if (context.stopping.aborted || left <= 0) break
          const tracks = page.slice(at, at + left) as S3Track[]
          at += tracks.length
          const { outcomes, begun } = await this.#download(tracks, signal)
          pages = [...pages.slice(-1), outcomes]
          await before
          before = concluded
          concluded = concluded.then(async () => {
            const failedBefore = this.#counts.failed
            const done = await this.#conclude(await outcomes)
            // What fails is met again by every run: it must not use up the limit of each.
            left -= tracks.length - (this.#counts.failed - failedBefore)
            progress.advance({
              items: tracks.length,
              bytes: done.reduce((sum, { head }) => sum + head.size, 0),
            })
            await this.#planRemovals(done, versioned, planId)
          })
          concluded.catch(() => this.#failing.abort())
          await (flags.limit === undefined ? begun : concluded)
        }
        if (context.stopping.aborted || left <= 0) break
      }
      await concluded
    } finally {
      // Only when all have come to rest: what is under way is never abandoned by another one's failure.
      await Promise.allSettled([...pages, concluded])
      progress.done()
    }
    await this.#lockedRows.tell()
    return this.#finish(versioned, planId)
  }

  async #planRemovals(done: readonly Restored[], versioned: boolean, planId: string): Promise<void> {
    if (this.#plan === undefined) return
    for (const { track, file, head } of done) {
      const { key, size, etag } = head
      const to = versioned ? undefined : quarantineKey(planId, key)
      const object = { key, size, etag }
      const needsFile = { path: this.#pathInRow(file, track.filePath), size }
      await this.#plan.add(
        { action: 'remove-object', object, needsFile, ...(to === undefined ? {} : { to }) },
        'restored',
      )
    }
  }

  /**
   * Downloads a page of tracks.
   *
   * @returns what became of each, once all have come to rest; and when the last of them was begun
   */
  async #download(
    tracks: readonly S3Track[],
    signal: AbortSignal,
  ): Promise<{ outcomes: Promise<Downloaded>; begun: Promise<unknown> }> {
    const { database, store, downloader, requests } = this.#parts
    const { knex } = database
    const known = await objectsByKey(
      knex,
      store.bucket,
      this.#flags.dryRun ? [] : tracks.map(track => track.s3ObjectKey),
    )
    const batch = new RestoreBatch(store, downloader, this.#folder, {
      threads: this.#parts.threads,
      requests,
      signal,
    })
    const disks = new Map<string, Promise<void>>()
    const began: Promise<void>[] = []
    const inWork: string[] = []
    const settled = Promise.allSettled(
      tracks.map(async track => {
        const file = restorePath(track, {
          folder: this.#folder,
          audioFolder: this.#context.config.audioFolder,
          keyPrefix: this.#context.config.s3.keyPrefix,
        })
        if (file === undefined) {
          const reason =
            track.filePath === null
              ? `its key ${track.s3ObjectKey} is outside ${this.#folder}`
              : `file_path is outside ${this.#folder}`
          const cure = track.filePath === null ? 'Restore it by other means.' : 'Correct the row.'
          return { track, file: '', outcome: failed('file.refused', reason, cure) }
        }
        if (this.#flags.dryRun) {
          await this.#requireDisk(track, disks)
          return { track, file, outcome: undefined }
        }
        const sha256 = known.get(track.s3ObjectKey)?.sha256 ?? undefined
        const target = { key: track.s3ObjectKey, file, sha256, size: track.fileSize ?? undefined }
        const id = `${target.key}\u0000${file}`
        let download = this.#inWork.get(id)
        if (download === undefined) {
          const begin = Promise.withResolvers<void>()
          began.push(begin.promise)
          download = this.#open(async () => {
            begin.resolve()
            this.#open.concurrency = withinOpenFiles(requests.concurrency + mostSyncs)
            return this.#context.stopping.aborted || this.#failing.signal.aborted
              ? undefined
              : this.#attempt(async () => {
                  await this.#requireDisk(track, disks)
                  return batch.restore(target)
                }, signal)
          })
          this.#inWork.set(id, download)
          inWork.push(id)
        }
        return { track, file, outcome: await download }
      }),
    )
    const outcomes = settled.then(ends => {
      for (const id of inWork) this.#inWork.delete(id)
      return { batch, ends }
    })
    return { outcomes, begun: Promise.all(began) }
  }

  /**
   * @param asked by folder: all that a row names one in have one answer
   * @throws SafetyLimitError if the folder that a row names was on a disk which is not there
   */
  async #requireDisk({ filePath }: S3Track, asked: Map<string, Promise<void>>): Promise<void> {
    const { audioFolder, audioRoot } = this.#context.config
    if (filePath === null || this.#folder !== audioRoot) return
    const folder = path.dirname(filePath)
    const answer =
      asked.get(folder) ?? requireDiskOf(this.#parts.database, filePath, audioFolder, this.#flags)
    asked.set(folder, answer)
    await answer
  }

  /** Switches the rows of what was downloaded. @returns those that are LOCAL now */
  async #conclude({ batch, ends }: Downloaded): Promise<Restored[]> {
    const ready: Restored[] = []
    const outcomes = ends.map(one => {
      if (one.status === 'rejected') throw one.reason
      return one.value
    })
    for (const { track, file, outcome } of outcomes) {
      if (outcome === undefined) this.#tell(track, file)
      else if (outcome.state === 'failed') await this.#fail(track, outcome)
      else {
        this.#counts[outcome.state === 'restored' ? 'restored' : 'there'] += 1
        this.#counts.bytes += outcome.state === 'restored' ? outcome.head.size : 0
        ready.push({ track, file, head: outcome.head })
      }
    }
    await batch.sync()
    return this.#switchRows(ready)
  }

  async #switchRows(ready: readonly Restored[]): Promise<Restored[]> {
    const { knex } = this.#parts.database
    const ids = ready.map(({ track }) => track.id)
    const current = await rowVersions(knex, ids)
    const swaps = ready.flatMap(({ track, file, head }) => {
      const from = current.get(track.id)
      if (from?.key !== track.s3ObjectKey || from.source !== 'S3') return []
      const to = {
        key: null,
        source: 'LOCAL' as const,
        size: head.size,
        path: this.#pathInRow(file, track.filePath),
      }
      return [{ trackId: track.id, from, to }]
    })
    const ends = await this.#lockedRows.write<RowSwap, ChangeOutcome | RowRefusal>(swaps, {
      idOf: ({ trackId }) => trackId,
      async write(part) {
        const outcomes = await knex.transaction(trx => swapRows(trx, part))
        return part.map(({ trackId }) => outcomes.get(trackId) ?? 'deleted')
      },
      refuse: (_, refusal) => refusal,
    })
    const endOf = new Map(swaps.map(({ trackId }, at) => [trackId, ends[at]]))
    await clearItems(
      knex,
      command,
      ids.filter(id => endOf.get(id) === 'done'),
    )
    const done: Restored[] = []
    for (const { track, file, head } of ready) {
      const end = endOf.get(track.id) ?? 'changed'
      if (typeof end !== 'string') {
        const reason = `${end.reason}; the file is there`
        await this.#fail(track, { code: 'row.refused', reason, cure: end.cure })
      } else if (end === 'set-back') {
        const reason = 'its row was set back as it was written; the file is there'
        await this.#fail(track, { code: 'row.set-back', reason, cure: usualCure('row.set-back') })
      } else if (end === 'locked') {
        this.#context.report.item({
          subject: track.s3ObjectKey,
          state: 'skipped',
          fields: { track_id: track.id, code: 'row.locked' },
          reason: `${rowLocked}; the file is there`,
        })
      } else if (end === 'done') {
        done.push({ track, file, head })
        this.#counts.back += 1
        this.#context.report.item({
          subject: file,
          state: 'restored',
          fields: { track_id: track.id, key: head.key, bytes: head.size },
        })
      } else {
        this.#counts.changed += 1
        this.#context.report.item({
          subject: track.s3ObjectKey,
          state: 'skipped',
          fields: { track_id: track.id },
          reason: 'the row changed in the meantime and was left alone; the file has been restored',
        })
      }
    }
    return done
  }

  /**
   * One object's failure as a value, undefined if it was left for the next run; what ails the folder is everyone's,
   * and ends the run.
   */
  async #attempt(
    work: () => Promise<RestoreOutcome>,
    signal: AbortSignal,
  ): Promise<RestoreOutcome | undefined> {
    try {
      await this.#watched.assertThere()
      const outcome = await work()
      // What came to lie on the disk below is not there for the row once the folder is mounted again.
      await this.#watched.assertThere()
      return outcome
    } catch (error) {
      signal.throwIfAborted()
      if (this.#context.stopping.aborted && isAbortError(error)) return undefined
      if (error instanceof RunHalted) throw error.cause
      if (isItemProblem(error)) return failed('store', error.message, error.cure)
      const code = systemErrorCode(error)
      if (code === undefined || error instanceof AppError) throw error
      if (isTooManyFiles(error)) throw error
      if (code === 'ENOSPC' || code === 'EDQUOT') {
        throw new TemporaryError(code === 'ENOSPC' ? 'the disk is full' : 'the disk quota is used up', {
          code: 'disk.full',
          cause: error,
        })
      }
      await requireWritable(this.#folder)
      return failed(
        `file.${code}`,
        `cannot be written: ${systemErrorReason(error)}`,
        code === 'ENAMETOOLONG' ? 'Give the row a shorter file_path.' : 'Check the folder that it is in.',
      )
    }
  }

  /**
   * What the row says of its file: what it says already where the application opens that, else as the library's rows
   * say it below the audio folder, else absolute.
   */
  #pathInRow(file: string, said: string | null): string {
    const { audioFolder } = this.#context.config
    const relative = path.relative(audioFolder.root, file)
    if (relative === '' || isOutside(relative)) return file
    const stored = said === null ? undefined : readStoredPath(said, audioFolder)
    if (said !== null && stored?.ok) {
      const [reading] = stored.readings
      if (reading.relative === relative && isOpenedByApplication(reading.form)) return said
    }
    return writeStoredPath(relative, this.#style)
  }

  #tell(track: S3Track, file: string): void {
    if (!this.#flags.dryRun) return
    this.#counts.restored += 1
    this.#counts.bytes += track.fileSize ?? 0
    this.#context.report.item({
      subject: file,
      state: 'would-restore',
      fields: { track_id: track.id, key: track.s3ObjectKey },
    })
  }

  async #fail(
    track: S3Track,
    { code, reason, cure }: { code: ErrorCode; reason: string; cure: string },
  ): Promise<void> {
    this.#counts.failed += 1
    this.#context.report.item({
      subject: track.s3ObjectKey,
      state: 'failed',
      fields: { track_id: track.id, code },
      reason,
      cure,
    })
    if (this.#flags.dryRun) return
    const item = { command, subject: track.id, trackId: track.id, state: 'failed' as const }
    await recordItems(this.#parts.database.knex, [
      { ...item, errorCode: code, error: reason, cure, runId: this.#parts.runId },
    ])
  }

  async #finish(
    versioned: boolean,
    planId: string,
  ): Promise<{ exitCode: ExitCode; summary: Record<string, unknown> }> {
    const context = this.#context
    const flags = this.#flags
    const counts = this.#counts
    const now = context.now().getTime()
    if (this.#plan !== undefined && flags.plan !== undefined && !flags.dryRun) {
      await this.#plan.write(
        path.resolve(context.cwd, flags.plan),
        makePlanHeader({
          id: planId,
          command,
          now,
          validFor: 7 * 86_400_000,
          bucket: this.#parts.store.bucket,
          versioned,
          // Out of these all would go: apply asks for --max-delete, as it should.
          seen: { rows: this.#plan.removals, objects: this.#plan.removals },
        }),
      )
    }
    const { restored, there, back, failed: failures, changed, bytes } = counts
    const locked = this.#lockedRows.stayed.size
    const fields = {
      dry_run: flags.dryRun,
      restored,
      there_already: there,
      rows_switched: back,
      failed: failures,
      changed,
      rows_locked: locked,
      bytes,
    }
    const left = failures + changed > 0 ? ExitCode.someFailed : locked > 0 ? ExitCode.temporary : ExitCode.ok
    const exitCode = context.stopExitCode() ?? left
    const lines = [
      flags.dryRun
        ? `Dry run: ${plural(restored, 'track')} (${formatBytes(bytes)}) would be restored; nothing was changed.`
        : `${plural(back, 'track')} back in local files, ${formatBytes(bytes)} downloaded.`,
    ]
    if (changed > 0) lines.push(`${plural(changed, 'row')} left alone because they changed in the meantime.`)
    if (locked > 0) lines.push(lockedLine(locked))
    if (failures > 0) lines.push(`${formatCount(failures)} failed; see above for the reasons.`)
    if (!flags.dryRun && back > 0 && isOutside(path.relative(context.config.audioRoot, this.#folder))) {
      lines.push(
        `The rows now name absolute paths: set AUDIO_STORAGE_PATH=${this.#folder} before you continue with autodj.`,
      )
    }
    const unfinished = exitCode !== ExitCode.ok && exitCode !== ExitCode.someFailed
    const next = unfinished
      ? 'run the same command again: it resumes where it stopped'
      : flags.plan !== undefined && !flags.dryRun
        ? `\`autodj apply ${flags.plan} --max-delete 100%\` removes the objects`
        : flags.dryRun || back === 0
          ? undefined
          : 'the objects are kept: `autodj upload-local` would find them again, `autodj reconcile` calls them orphans'
    context.report.summary({ lines, ...(next === undefined ? {} : { next }), fields })
    return { exitCode, summary: fields }
  }
}

function failed(code: ErrorCode, reason: string, cure: string): RestoreOutcome {
  return { state: 'failed', code, reason, cure }
}
