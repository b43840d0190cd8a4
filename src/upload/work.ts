/** What `upload-local` does with each of its tracks, for a run and for a job of the queue. */
import { deleteProvedFile } from '../audio-files/delete-proved.ts'
import { WatchedFolder } from '../audio-files/mounted.ts'
import type { ServedCheck } from '../cdn/served.ts'
import type { Context } from '../context.ts'
import type { Database } from '../db/database.ts'
import { audioCommands, markUploaded, rememberedByPath, type UploadedTrack } from '../db/ledger.ts'
import type { RecordedRun } from '../runs/recorded-run.ts'
import { isRowProblem, type RowProblem, type TrackTask, type TrackWork } from '../runs/track-work.ts'
import type { ObjectStore } from '../storage/store.ts'
import { TransferEngine, type TransferJob, type TransferOptions, type TransferOutcome } from './transfer.ts'
import { UploadLedger } from './upload-ledger.ts'

export const uploadCommand = 'upload-local'
/** Kind of the claims on tracks whose file is on its way. */
const uploadClaim = 'upload'

export interface UploadSettings
  extends Pick<
    TransferOptions,
    | 'headers'
    | 'maxConcurrency'
    | 'initialConcurrency'
    | 'memory'
    | 'multipartThreshold'
    | 'partSize'
    | 'maxOutage'
    | 'throttle'
    | 'readers'
    | 'onBytes'
  > {
  readonly deleteLocal: boolean
  /** undefined when no CDN is configured */
  readonly served: ServedCheck | undefined
}

export interface UploadTotals {
  uploaded: number
  adopted: number
  shared: number
  skipped: number
  failed: number
  interrupted: number
  /** rows that changed or went while their file was on its way */
  changed: number
  deletedLocal: number
  keptLocal: number
  bytesSent: number
  bytesProved: number
}

interface UploadTask extends TrackTask {
  readonly job: TransferJob
}

export class UploadWork implements TrackWork<UploadTask, TransferOutcome> {
  readonly command = uploadCommand
  readonly claim = uploadClaim
  readonly settles = audioCommands
  readonly setBack = {
    reason: 'its row was set back each time it was uploaded',
    cure: 'Find out what overwrites file_source (a trigger, an older application, `autodj restore`), then run it again.',
  }
  readonly totals: UploadTotals = {
    uploaded: 0,
    adopted: 0,
    shared: 0,
    skipped: 0,
    failed: 0,
    interrupted: 0,
    changed: 0,
    deletedLocal: 0,
    keptLocal: 0,
    bytesSent: 0,
    bytesProved: 0,
  }
  readonly engine: TransferEngine
  readonly #context: Context
  readonly #database: Database
  readonly #store: ObjectStore
  readonly #runId: string
  readonly #settings: UploadSettings
  readonly #ledger: UploadLedger
  readonly #folder: WatchedFolder

  constructor(
    context: Context,
    database: Database,
    store: ObjectStore,
    run: RecordedRun,
    settings: UploadSettings,
  ) {
    this.#context = context
    this.#database = database
    this.#store = store
    this.#runId = run.id
    this.#settings = settings
    this.#folder = new WatchedFolder(context.config.audioRoot)
    this.#ledger = new UploadLedger(database, store, run.id)
    this.engine = new TransferEngine({
      ...settings,
      store,
      ledger: this.#ledger,
      report: context.report,
      audioFolder: context.config.audioFolder,
      keyPrefix: context.config.s3.keyPrefix,
      stopping: run.stopping,
      signal: context.signal,
    })
  }

  async prepare(tracks: Parameters<TrackWork<UploadTask, TransferOutcome>['prepare']>[0]) {
    // Not before there is something to do: a thread costs an eighth of the CPU of a run that finds nothing.
    if (tracks.length > 0) this.#settings.readers.start()
    const paths = tracks.map(track => track.filePath as string)
    const remembered = await rememberedByPath(this.#database.knex, paths, this.#context.config.audioFolder)
    return tracks.map(track => {
      const { id: trackId, artist, title, s3ObjectKey: existingKey, fileSize: size } = track
      const filePath = track.filePath as string
      const known = remembered.get(filePath)
      return { track, job: { trackId, artist, title, filePath, existingKey, size, remembered: known } }
    })
  }

  async take({ job }: UploadTask): Promise<TransferOutcome> {
    const outcome = await this.engine.transfer(job)
    // Every file looks gone if the folder is no longer mounted.
    if ('code' in outcome && outcome.code === 'file.missing') await this.#folder.assertThere()
    if ('object' in outcome) {
      this.totals.bytesSent += outcome.bytesSent
      this.totals.bytesProved += outcome.object.size
    }
    return outcome
  }

  /** Rows and objects of files whose bytes the server has confirmed. */
  async commit(...[trx, batch]: Parameters<TrackWork<UploadTask, TransferOutcome>['commit']>) {
    const now = this.#context.now()
    const tracks: UploadedTrack[] = []
    for (const { task, outcome } of batch) {
      if (!('object' in outcome)) continue
      const object = { ...outcome.object, bucket: this.#store.bucket, uploadedAt: now, verifiedAt: now }
      tracks.push({ planned: task.track, object })
    }
    const rows = await markUploaded(trx, { runId: this.#runId, tracks })
    for (const { task } of batch) if (!rows.has(task.track.id)) rows.set(task.track.id, 'done')
    return rows
  }

  problemOf(outcome: TransferOutcome) {
    return 'object' in outcome || outcome.state === 'interrupted'
      ? undefined
      : { ...outcome, state: outcome.state }
  }

  leftoverCure(outcome: TransferOutcome): string | undefined {
    return 'object' in outcome
      ? `The object ${outcome.object.key} is kept; \`autodj reconcile\` lists it.`
      : undefined
  }

  tell({ track }: UploadTask, end: TransferOutcome | RowProblem): void {
    if (isRowProblem(end)) this.totals.changed++
    else this.totals[end.state]++
    const subject = track.filePath as string
    const fields = { track_id: track.id, path: subject, artist: track.artist, title: track.title }
    if ('object' in end) {
      const { key, size: bytes, sha256, crc32 } = end.object
      this.#context.report.item({
        subject,
        state: end.state,
        fields: { ...fields, key, bytes, sha256, crc32 },
      })
    } else {
      const { state, code, reason, cure } = end
      this.#context.report.item({
        subject,
        state,
        fields: { ...fields, code },
        reason,
        cure,
      })
    }
  }

  async afterCommit({ track }: UploadTask, outcome: TransferOutcome): Promise<void> {
    if (!this.#settings.deleteLocal || !('object' in outcome)) return
    const candidate = { track, ...outcome }
    const { served } = this.#settings
    const place = { store: this.#store, runId: this.#runId, served, folder: this.#folder }
    const end = await deleteProvedFile(this.#context, this.#database, candidate, place)
    if (end.state === 'deleted') {
      // Rows that share a file each lose their path, and one copy is deleted.
      if (end.bytes > 0) this.totals.deletedLocal++
      return
    }
    this.totals.keptLocal++
    this.#context.report.item({
      subject: candidate.source.relative,
      state: 'kept',
      fields: { track_id: track.id, code: end.code },
      reason: end.reason,
    })
  }

  /** Aborts what dead runs left half sent. */
  async sweep(): Promise<void> {
    await this.#ledger.sweep()
  }

  async close(): Promise<void> {
    await this.#ledger.close()
  }
}
