/** What `fetch` does with each of its tracks, for a run and for a job of the queue. */
import type { Knex } from 'knex'
import pLimit from 'p-limit'
import { requireDiskOf, WatchedFolder } from '../audio-files/mounted.ts'
import { LocalFileError, openRoot, openSource } from '../audio-files/source.ts'
import type { Context } from '../context.ts'
import type { AudioFolder } from '../core/audio-path.ts'
import type { Database } from '../db/database.ts'
import { audioCommands, clearItems, type ObjectRecord, upsertObjects } from '../db/ledger.ts'
import { changeUnlockedTracks, type Track, type TrackChange } from '../db/tracks.ts'
import type { RecordedRun } from '../runs/recorded-run.ts'
import {
  type Done,
  isRowProblem,
  type RowProblem,
  type TrackProblem,
  type TrackTask,
  type TrackWork,
} from '../runs/track-work.ts'
import { Resilience } from '../storage/resilience.ts'
import { type ObjectStore, StoreError } from '../storage/store.ts'
import { uploadCommand } from '../upload/work.ts'
import type { Fetcher, FetchOutcome, FetchSource, FetchTrack } from './fetcher.ts'

export const fetchCommand = 'fetch'

interface FetchTask extends TrackTask {
  readonly track: FetchTrack
}

export type FetchTotals = Record<FetchSource, number> & {
  failed: number
  changed: number
  bytes: number
}

export class FetchWork implements TrackWork<FetchTask, FetchOutcome> {
  readonly command = fetchCommand
  readonly claim = 'fetch'
  readonly settles = audioCommands
  readonly setBack = {
    reason: 'its row was set back each time its audio was fetched',
    cure: 'Find out what overwrites file_source (a trigger, an older application), then run it again.',
  }
  readonly totals: FetchTotals = {
    s3: 0,
    local: 0,
    url: 0,
    command: 0,
    preview: 0,
    failed: 0,
    changed: 0,
    bytes: 0,
  }
  readonly #context: Context
  readonly #database: Database
  readonly #store: ObjectStore
  readonly #runId: string
  readonly #fetcher: Fetcher
  readonly #folder: WatchedFolder
  readonly #place: Place
  readonly #resilience: Resilience

  /** @param maxOutage how long it waits for S3 to come back, milliseconds */
  constructor(
    context: Context,
    database: Database,
    store: ObjectStore,
    run: RecordedRun,
    { fetcher, maxOutage, force }: { fetcher: Fetcher; maxOutage: number; force: boolean },
  ) {
    this.#context = context
    this.#database = database
    this.#store = store
    this.#runId = run.id
    this.#fetcher = fetcher
    this.#folder = new WatchedFolder(context.config.audioRoot)
    this.#place = { knex: database.knex, audioFolder: context.config.audioFolder, force }
    this.#resilience = new Resilience({
      probe: signal => store.checkBucket(signal),
      control: { throttled() {} },
      report: context.report,
      maxOutage,
      signal: run.stopping,
    })
  }

  async prepare(tracks: readonly Track[]): Promise<FetchTask[]> {
    const wanted = await withoutAudio(tracks, this.#place)
    return (await withPreview(this.#database.knex, wanted)).map(track => ({ track }))
  }

  async take({ track }: FetchTask): Promise<FetchOutcome> {
    try {
      return await this.#resilience.run(() => this.#fetcher.fetch(track))
    } catch (error) {
      // It was asked for again and again: what ails all tracks is a halt, or no passing failure.
      if (!(error instanceof StoreError) || !error.retryable) throw error
      const { code, message: reason, cure } = error
      return { state: 'failed', code, reason, cure, passing: true }
    }
  }

  /** A passing failure leaves the row alone. */
  async commit(trx: Knex, batch: readonly Done<FetchTask, FetchOutcome>[]) {
    const now = this.#context.now()
    const { bucket } = this.#store
    // What is marked UNAVAILABLE had a file that is gone, as far as the folder it was in is there.
    if (batch.some(({ task, outcome }) => outcome.state === 'failed' && task.track.filePath !== null))
      await this.#folder.assertThere()
    const changes: TrackChange[] = []
    const objects: ObjectRecord[] = []
    for (const { task, outcome } of batch) {
      const planned = task.track
      if (outcome.state === 'failed') {
        if (!outcome.passing) changes.push({ planned, fileSource: 'UNAVAILABLE' })
        continue
      }
      const { object, source, filePath = null } = outcome
      const record: ObjectRecord = { ...object, bucket, runId: this.#runId }
      // What was found in S3 was proved by whoever put it there; `verify` looks at it again.
      objects.push(source === 's3' ? record : { ...record, uploadedAt: now, verifiedAt: now })
      // A path that led nowhere would make `cleanup` look for a file to delete.
      const { key: s3ObjectKey, size: fileSize } = object
      changes.push({ planned, fileSource: 'S3', fileSize, s3ObjectKey, filePath })
    }
    const rows = await changeUnlockedTracks(trx, changes)
    await upsertObjects(trx, objects)
    // There is nothing left to upload, and nobody need be told to try.
    const unavailable = changes.flatMap(({ planned: { id }, fileSource }) =>
      fileSource === 'UNAVAILABLE' && rows.get(id) === 'done' ? [id] : [],
    )
    await clearItems(trx, uploadCommand, unavailable)
    for (const { task } of batch) if (!rows.has(task.track.id)) rows.set(task.track.id, 'done')
    return rows
  }

  problemOf(outcome: FetchOutcome): TrackProblem | undefined {
    return outcome.state === 'failed' ? outcome : undefined
  }

  leftoverCure(outcome: FetchOutcome): string | undefined {
    return outcome.state === 'failed'
      ? undefined
      : `The object ${outcome.object.key} is kept; \`autodj reconcile\` lists it.`
  }

  tell({ track }: FetchTask, end: FetchOutcome | RowProblem): void {
    const { report } = this.#context
    const subject = `${track.artist} - ${track.title}`
    if (end.state === 'fetched') {
      const { object, source } = end
      this.totals[source]++
      this.totals.bytes += object.size
      const fields = { track_id: track.id, source, key: object.key, bytes: object.size }
      report.item({ subject, state: 'fetched', fields })
      return
    }
    const { code, reason, cure } = end
    const passing = isRowProblem(end) ? end.code === 'row.changed' : end.passing
    if (isRowProblem(end)) this.totals.changed++
    else this.totals.failed++
    const fields = { track_id: track.id, code, passing }
    report.item({ subject, state: 'failed', fields, reason, cure })
  }
}

export async function withoutAudio(tracks: readonly Track[], place: Place): Promise<Track[]> {
  const limit = pLimit(16)
  const found = await Promise.all(tracks.map(track => limit(() => hasAudio(track, place))))
  return tracks.filter((_, index) => !found[index])
}

/** Where local files are looked for; `force`: one that is missing is gone. */
interface Place {
  readonly knex: Knex
  readonly audioFolder: AudioFolder
  readonly force: boolean
}

/**
 * Whether the row says that it has audio, and it is so. Rows in S3 are taken at their word: `reconcile` looks at those.
 * A local file that cannot be looked at is not one that is gone.
 *
 * @throws SafetyLimitError if it was on a disk that is not mounted
 */
async function hasAudio(track: Track, { knex, audioFolder, force }: Place): Promise<boolean> {
  if (track.fileSource === 'S3') return track.s3ObjectKey !== null
  if (track.fileSource === 'UNAVAILABLE' || track.filePath === null) return false
  try {
    const source = await openSource(track.filePath, audioFolder, await openRoot(audioFolder.root))
    await source.close()
    return true
  } catch (error) {
    if (!(error instanceof LocalFileError)) throw error
    if (error.problem === 'missing') await requireDiskOf({ knex }, track.filePath, audioFolder, { force })
    return !['missing', 'empty', 'refused', 'not-a-file', 'loop'].includes(error.problem)
  }
}

/** The tracks with what only fetching needs of them. */
async function withPreview(knex: Knex, tracks: readonly Track[]): Promise<FetchTrack[]> {
  if (tracks.length === 0) return []
  const rows = (await knex('tracks')
    .select('id', 'preview_url')
    .whereRaw('id = any(?::uuid[])', [tracks.map(({ id }) => id)])) as {
    id: string
    preview_url: string | null
  }[]
  const previews = new Map(rows.map(row => [row.id, row.preview_url]))
  return tracks.map(track => ({ ...track, previewUrl: previews.get(track.id) || null }))
}
