/**
 * One track after another from its row to its analysis: where its audio is, the download if there is one to make,
 * and the pool of threads. What becomes of a track is a value; what no other track would be spared is thrown.
 */

import { rm, stat } from 'node:fs/promises'
import path from 'node:path'
import type { AnalysisFailure, AnalyzerPool, TaskOptions } from '../audio/pool.ts'
import { type FileIdentity, isSameFile, LocalFileError, openSource } from '../audio-files/source.ts'
import type { TrackAnalysis } from '../core/audio/analysis.ts'
import type { AudioFolder } from '../core/audio-path.ts'
import { audioSource } from '../core/audio-source.ts'
import type { AnalysisPlan } from '../db/analyses.ts'
import type { HashedFile } from '../db/ledger.ts'
import type { Track } from '../db/tracks.ts'
import type { ErrorCode } from '../error-codes.ts'
import { FatalError, ItemError } from '../errors.ts'
import type { Resilience } from '../storage/resilience.ts'
import { StoreError } from '../storage/store.ts'
import { Budget } from './budget.ts'
import { download, type KnownObject, LargerThanReserved } from './object-download.ts'
import type { Origin } from './origin.ts'

/**
 * Milliseconds over the time limit for each MiB of a file: a set of hours is not to fail on a slow machine. Even on
 * one of a tenth of the speed of those of today that is nearly twice what it takes.
 */
const extraTimePerMiB = 10_000

/** A track and what the database knows of its audio. */
export interface AnalysisTask {
  readonly track: Track
  readonly planned: AnalysisPlan
  /** What the ledger knows of the track's object. */
  readonly object: KnownObject | undefined
  /** What the local file was when it was last hashed. */
  readonly remembered: HashedFile | undefined
}

interface AnalyzedTrack {
  readonly state: 'analysed'
  readonly analysis: TrackAnalysis
  readonly problems: readonly string[]
  /** What is missing from the sound that was analysed or wrong in it, if something is. */
  readonly damage: string | undefined
  readonly cpuSeconds: number
}

interface CheckedTrack {
  readonly state: 'checked'
  /** Seconds decoded. */
  readonly duration: number
  readonly problems: readonly string[]
  /** What is missing from the sound or wrong in it, if something is. */
  readonly damage: string | undefined
  readonly cpuSeconds: number
}

interface FailedTrack {
  readonly state: 'failed'
  readonly code: ErrorCode
  readonly reason: string
  readonly cure: string | undefined
  /** `content`: trying again changes nothing before the file does; `source`: it could not be had; `access`: nor told why */
  readonly about: 'content' | 'source' | 'access'
}

export type AnalysisOutcome = AnalyzedTrack | CheckedTrack | FailedTrack | { readonly state: 'interrupted' }

export type SourceMode = 'auto' | 's3' | 'cdn' | 'local'

interface AnalyzerOptions {
  readonly pool: AnalyzerPool
  readonly source: SourceMode
  /** Undefined with source `local`. */
  readonly origin: Origin | undefined
  readonly audioFolder: AudioFolder
  /** With its links resolved; undefined if there is no such folder. */
  readonly realRoot: string | undefined
  readonly tempFolder: string
  /** Bytes of downloads on disk at a time. */
  readonly tempLimit: number
  readonly resilience: Resilience
  readonly bpmRange: readonly [lowest: number, highest: number] | undefined
  /** Take nothing new: downloads are given up, an analysis that runs is finished. */
  readonly stopping: AbortSignal
  /** Give everything up. */
  readonly signal: AbortSignal
  readonly onBytes?: (bytes: number) => void
}

/** An audio file at hand. */
interface Audio {
  readonly path: string
  /** What it was; undefined for a download, which nobody else writes to. */
  readonly identity: FileIdentity | undefined
  release(): Promise<void>
}

export class Analyzer {
  readonly statistics = { bytes: 0, downloads: 0, unverified: 0, busySeconds: 0 }
  readonly workers: number
  readonly #options: AnalyzerOptions
  readonly #temp: Budget
  /** The pool has a queue of its own; this one can be left when the run stops, and tells when threads are idle. */
  readonly #seats: Budget
  #serial = 0

  constructor(options: AnalyzerOptions) {
    this.#options = options
    this.workers = options.pool.workers
    this.#temp = new Budget(options.tempLimit)
    this.#seats = new Budget(options.pool.workers)
  }

  get audioFolder(): AudioFolder {
    return this.#options.audioFolder
  }

  /** Analyses a track, or, to `check` it, only decodes it. @throws what ends the run */
  async take(task: AnalysisTask, job: 'analyse' | 'check'): Promise<AnalysisOutcome> {
    try {
      try {
        return await this.#once(task, job)
      } catch (error) {
        if (!(error instanceof LocalFileError) || error.problem !== 'changed') throw error
      }
      // A file that someone was just writing gets one fresh try.
      return await this.#once(task, job)
    } catch (error) {
      if (error instanceof ItemError) {
        const { code, message: reason, cure } = error
        const isLocal = error instanceof LocalFileError
        // A folder that is not here says nothing of the track: another machine may have it.
        const about =
          isLocal && this.#options.realRoot === undefined
            ? 'access'
            : isLocal && error.problem === 'empty'
              ? 'content'
              : 'source'
        return { state: 'failed', code, reason, cure, about }
      }
      const { stopping, signal } = this.#options
      if (signal.aborted || stopping.aborted) return { state: 'interrupted' }
      if (error instanceof StoreError) {
        const { code, message: reason, cure } = error
        return { state: 'failed', code, reason, cure, about: 'access' }
      }
      throw error
    }
  }

  async #once(task: AnalysisTask, job: 'analyse' | 'check'): Promise<AnalysisOutcome> {
    const audio = await this.#obtain(task)
    try {
      const leave = await this.#seats.reserve(1, this.#options.stopping)
      const startedAt = performance.now()
      try {
        const outcome = await this.#analyse(task, audio.path, job)
        if (audio.identity !== undefined) await this.#assertSame(task, audio.identity)
        return outcome
      } finally {
        this.statistics.busySeconds += (performance.now() - startedAt) / 1_000
        leave()
      }
    } finally {
      await audio.release()
    }
  }

  async #analyse(
    { planned }: AnalysisTask,
    file: string,
    job: 'analyse' | 'check',
  ): Promise<AnalysisOutcome> {
    const { pool, signal, bpmRange } = this.#options
    // The thread tells what is wrong with a file that cannot be read.
    const size = await stat(file).then(
      ({ size }) => size,
      () => 0,
    )
    const options: TaskOptions = {
      signal,
      extraTime: (size / 2 ** 20) * extraTimePerMiB,
      hints: { rowBpm: planned.bpm ?? undefined, ...(bpmRange && { bpmRange }) },
    }
    const reply = await (job === 'analyse' ? pool.analyze(file, options) : pool.check(file, options))
    if (reply.status === 'failed') return failed(reply)
    const { cpuSeconds, decoded } = reply
    const { problems, damage } = decoded
    if (reply.status === 'checked')
      return { state: 'checked', duration: decoded.decodedDuration, problems, damage, cpuSeconds }
    return {
      state: 'analysed',
      analysis: reply.analysis,
      problems,
      damage,
      cpuSeconds,
    }
  }

  async #obtain(task: AnalysisTask): Promise<Audio> {
    const { source } = this.#options
    const { track } = task
    if (source === 's3' || source === 'cdn') return this.#download(track.s3ObjectKey as string, task.object)
    if (source === 'local') return this.#local(track.filePath as string)
    const found = audioSource(track)
    if (found.kind === 'file') return this.#local(found.filePath)
    if (found.kind === 's3') return (await this.#localTwin(task)) ?? this.#download(found.key, task.object)
    throw new ItemError('object.missing', 'the track has no audio', 'Run `autodj fetch` to get it.')
  }

  async #local(filePath: string): Promise<Audio> {
    const { audioFolder, realRoot } = this.#options
    if (realRoot === undefined) {
      throw new LocalFileError(
        'missing',
        `the audio folder ${audioFolder.root} is not there`,
        'Mount it, or set AUDIO_STORAGE_PATH to where the audio is.',
      )
    }
    const file = await openSource(filePath, audioFolder, realRoot)
    await file.close()
    return { path: file.absolute, identity: file, release: async () => {} }
  }

  /** The local copy of an object, if the ledger proves that it has the same bytes: that spares the download. */
  async #localTwin({ track, object, remembered }: AnalysisTask): Promise<Audio | undefined> {
    if (track.filePath === null || remembered === undefined || !object?.sha256) return undefined
    if (remembered.sha256 !== object.sha256) return undefined
    try {
      const audio = await this.#local(track.filePath)
      return audio.identity && isSameFile(remembered, audio.identity) ? audio : undefined
    } catch (error) {
      if (error instanceof LocalFileError) return undefined
      throw error
    }
  }

  async #assertSame({ track }: AnalysisTask, identity: FileIdentity): Promise<void> {
    const { audioFolder, realRoot } = this.#options
    const now = await openSource(track.filePath as string, audioFolder, realRoot as string)
    await now.close()
    if (!isSameFile(identity, now)) {
      throw new LocalFileError('changed', `${now.relative} changed while it was analysed`)
    }
  }

  async #download(key: string, known: KnownObject | undefined): Promise<Audio> {
    const { origin, tempFolder, resilience, stopping, onBytes } = this.#options
    if (origin === undefined) throw new Error('nothing to download from')
    const target = path.join(tempFolder, `${++this.#serial}`)
    for (let room = known?.size ?? 0; ; ) {
      const release = await this.#temp.reserve(room, stopping)
      try {
        const { bytes, verified } = await download({
          key,
          target,
          origin,
          known,
          room,
          resilience,
          signal: stopping,
          onBytes: count => onBytes?.(count),
        })
        this.statistics.downloads++
        this.statistics.bytes += bytes
        if (!verified) this.statistics.unverified++
        return {
          path: target,
          identity: undefined,
          async release() {
            await rm(target, { force: true })
            release()
          },
        }
      } catch (error) {
        release()
        if (!(error instanceof LargerThanReserved)) throw error
        room = error.size
      }
    }
  }
}

function failed({ code, message, cure }: AnalysisFailure): AnalysisOutcome {
  if (code === 'audio.stopped') return { state: 'interrupted' }
  // Nobody's file is to blame, and every other track would be blamed as well.
  if (code === 'audio.decoder-missing') throw new FatalError(message, { code, ...(cure && { cure }) })
  return {
    state: 'failed',
    code,
    reason: message,
    cure,
    about: code === 'audio.unreadable' ? 'source' : 'content',
  }
}
