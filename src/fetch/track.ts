/** One track of `fetch`, from its row to its row: the same for a run of the command and for a job of the queue. */

import type { Knex } from 'knex'
import { LocalFileError, openRoot, openSource } from '../audio-files/source.ts'
import type { Context } from '../context.ts'
import type { AudioFolder } from '../core/audio-path.ts'
import type { Database } from '../db/database.ts'
import {
  audioCommands,
  clearItems,
  type ObjectRecord,
  recordItems,
  releaseClaims,
  upsertObjects,
} from '../db/ledger.ts'
import { type ChangeOutcome, changeTracks, type Track } from '../db/tracks.ts'
import { uploadCommand } from '../upload/commit.ts'
import type { Fetcher, FetchOutcome, FetchSource, FetchTrack } from './fetcher.ts'

export const fetchCommand = 'fetch'
/** Kind of the claims on tracks whose audio is being got. */
export const fetchClaim = 'fetch'

/** `present`: it has its audio already. `passing`: it may be had another time, and the row was left as it is. */
export type FetchEnd =
  | { readonly state: 'present' }
  | { readonly state: 'fetched'; readonly source: FetchSource; readonly bytes: number }
  | {
      readonly state: 'failed'
      readonly code: string
      readonly reason: string
      readonly cure: string | undefined
      readonly passing: boolean
    }

/**
 * Gets the audio of a track that the run has claimed, unless it is there, and writes down what became of it.
 *
 * @throws what ends a run: StoreError, RunHalted, the database's errors, the signal's reason
 */
export async function fetchTrack(
  context: Context,
  { knex }: Database,
  track: FetchTrack,
  work: { fetcher: Fetcher; bucket: string; runId: string },
): Promise<FetchEnd> {
  const { fetcher, bucket, runId } = work
  const { report, config } = context
  if (await hasAudio(track, config.audioFolder)) {
    await clearItems(knex, fetchCommand, [track.id])
    await releaseClaims(knex, { kind: fetchClaim, runId, trackIds: [track.id] })
    return { state: 'present' }
  }
  const subject = `${track.artist} - ${track.title}`
  const outcome = await fetcher.fetch(track)
  if (outcome.state === 'failed') {
    const { code, reason, cure, passing } = outcome
    await commitFailure(knex, { track, outcome, runId })
    report.item({ subject, state: 'failed', fields: { track_id: track.id, code, passing }, reason, cure })
    return { state: 'failed', code, reason, cure, passing }
  }
  const { object, source } = outcome
  const row = await commitFetched(knex, { track, outcome, bucket, runId, now: context.now() })
  const fields = { track_id: track.id, source, key: object.key, bytes: object.size }
  if (row === 'done') {
    report.item({ subject, state: 'fetched', fields })
    return { state: 'fetched', source, bytes: object.size }
  }
  const code = `row.${row}`
  const reason = `the row was ${row} while its audio was fetched`
  report.item({ subject, state: 'failed', fields: { ...fields, code }, reason })
  return { state: 'failed', code, reason, cure: undefined, passing: row === 'changed' }
}

/**
 * Whether the row says that it has audio, and it is so. Rows in S3 are taken at their word: `reconcile` looks at those.
 * A local file that cannot be looked at is not one that is gone.
 */
export async function hasAudio(track: Track, audioFolder: AudioFolder): Promise<boolean> {
  if (track.fileSource === 'S3') return track.s3ObjectKey !== null
  if (track.fileSource === 'UNAVAILABLE' || track.filePath === null) return false
  try {
    const source = await openSource(track.filePath, audioFolder, await openRoot(audioFolder.root))
    await source.close()
    return true
  } catch (error) {
    if (!(error instanceof LocalFileError)) throw error
    return !['missing', 'empty', 'refused', 'not-a-file', 'loop'].includes(error.problem)
  }
}

/**
 * Writes a fetched track down: row, object and ledger in one transaction. The row is changed only if it is still what
 * it was when the track was taken up.
 */
async function commitFetched(
  knex: Knex,
  {
    track,
    outcome,
    bucket,
    runId,
    now,
  }: {
    track: Track
    outcome: Extract<FetchOutcome, { state: 'fetched' }>
    bucket: string
    runId: string
    now: Date
  },
): Promise<ChangeOutcome> {
  const { object, source, filePath } = outcome
  return knex.transaction(async trx => {
    const outcomes = await changeTracks(trx, [
      {
        planned: track,
        fileSource: 'S3',
        fileSize: object.size,
        s3ObjectKey: object.key,
        // A path that led nowhere would make `cleanup` look for a file to delete.
        filePath: filePath ?? null,
      },
    ])
    const record: ObjectRecord = { ...object, bucket, runId }
    // What was found in S3 was proved by whoever put it there; `verify` looks at it again.
    await upsertObjects(trx, [source === 's3' ? record : { ...record, uploadedAt: now, verifiedAt: now }])
    await clearItems(trx, audioCommands, [track.id])
    await releaseClaims(trx, { kind: fetchClaim, runId, trackIds: [track.id] })
    return outcomes.get(track.id) ?? 'deleted'
  })
}

/** Writes down that there is no audio, and why. A passing failure leaves the row alone. */
async function commitFailure(
  knex: Knex,
  {
    track,
    outcome,
    runId,
  }: { track: Track; outcome: Extract<FetchOutcome, { state: 'failed' }>; runId: string },
): Promise<void> {
  await knex.transaction(async trx => {
    if (!outcome.passing) {
      await changeTracks(trx, [{ planned: track, fileSource: 'UNAVAILABLE' }])
      // There is nothing left to upload, and nobody need be told to try.
      await clearItems(trx, uploadCommand, [track.id])
    }
    await recordItems(trx, [
      {
        command: fetchCommand,
        subject: track.id,
        trackId: track.id,
        state: 'failed',
        errorCode: outcome.code,
        error: outcome.reason,
        cure: outcome.cure ?? null,
        runId,
      },
    ])
    await releaseClaims(trx, { kind: fetchClaim, runId, trackIds: [track.id] })
  })
}

/** The track with what only fetching needs of it. */
export async function withPreview(knex: Knex, tracks: readonly Track[]): Promise<FetchTrack[]> {
  const rows = (await knex('tracks')
    .select('id', 'preview_url')
    .whereRaw('id = any(?::uuid[])', [tracks.map(({ id }) => id)])) as {
    id: string
    preview_url: string | null
  }[]
  const previews = new Map(rows.map(row => [row.id, row.preview_url]))
  return tracks.map(track => ({ ...track, previewUrl: previews.get(track.id) || null }))
}
