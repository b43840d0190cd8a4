/**
 * What becomes of a track once its file was moved, or could not be: row, object, ledger, local copy. The same for a run
 * of `upload-local`, which commits hundreds at a time, and for a job of the queue.
 */

import { type DeleteCandidate, type DeletePlace, deleteProvedFile } from '../audio-files/delete-proved.ts'
import type { Context } from '../context.ts'
import type { Database } from '../db/database.ts'
import { type HashedFile, markUploaded, recordItems, type UploadedTrack } from '../db/ledger.ts'
import type { Track } from '../db/tracks.ts'
import type { Reporter } from '../report/reporter.ts'
import type { TransferJob, TransferOutcome } from './transfer.ts'

export const uploadCommand = 'upload-local'
/** Kind of the claims on tracks whose file is on its way. */
export const uploadClaim = 'upload'

/** What the engine is to move for a row. */
export function transferJob(track: Track, remembered: HashedFile | undefined): TransferJob {
  const { id: trackId, artist, title, s3ObjectKey: existingKey, fileSize: size } = track
  return { trackId, artist, title, filePath: track.filePath as string, existingKey, size, remembered }
}

export interface Moved {
  readonly track: Track
  readonly outcome: Extract<TransferOutcome, { object: unknown }>
}

export interface UploadPlace extends DeletePlace {
  readonly deleteLocal: boolean
}

/** What became of a row: `local` says what of its file, where that was to be deleted. */
type RowEnd =
  | { readonly state: 'done'; readonly local?: 'deleted' | 'kept' }
  | { readonly state: 'failed'; readonly code: string; readonly reason: string; readonly cure: string }

/**
 * Writes rows and ledger of files whose bytes the server has confirmed, gives up their claims, and deletes local copies
 * where that was asked for. A row that changed meanwhile is left alone, and said so.
 *
 * @returns what became of each row, by track id
 */
export async function commitUploads(
  context: Context,
  database: Database,
  moved: readonly Moved[],
  place: UploadPlace,
): Promise<Map<string, RowEnd>> {
  const now = context.now()
  const tracks: UploadedTrack[] = moved.map(({ track, outcome: { object } }) => ({
    planned: track,
    object: { ...object, bucket: place.store.bucket, uploadedAt: now, verifiedAt: now },
  }))
  const outcomes = await markUploaded(database.knex, {
    kind: uploadClaim,
    runId: place.runId,
    tracks,
  })
  const ends = new Map<string, RowEnd>()
  for (const { track, outcome } of moved) {
    const { object, source } = outcome
    const row = outcomes.get(track.id)
    if (row === 'done') {
      const local = place.deleteLocal
        ? await deleteLocal(context, database, { track, object, source }, place)
        : undefined
      ends.set(track.id, { state: 'done', ...(local && { local }) })
      continue
    }
    const reason =
      row === 'deleted'
        ? 'the row was deleted while its file was uploaded'
        : 'the row changed meanwhile and was left alone'
    const end: RowEnd = {
      state: 'failed',
      code: `row.${row}`,
      reason,
      cure: `The object ${object.key} is kept; \`autodj reconcile\` lists it.`,
    }
    ends.set(track.id, end)
    context.report.item({
      subject: track.filePath as string,
      state: 'failed',
      fields: { track_id: track.id, key: object.key, code: end.code },
      reason,
      cure: end.cure,
    })
    if (row === 'changed') {
      await recordUploadProblem(database, place.runId, track.id, {
        state: 'failed',
        code: end.code,
        reason,
        cure: 'Run it again.',
      })
    }
  }
  return ends
}

/** Says what became of a file. */
export function reportUpload(report: Pick<Reporter, 'item'>, track: Track, outcome: TransferOutcome): void {
  const subject = track.filePath as string
  const fields = { track_id: track.id, path: subject, artist: track.artist, title: track.title }
  if ('object' in outcome) {
    const { key, size: bytes, sha256, crc32 } = outcome.object
    report.item({ subject, state: outcome.state, fields: { ...fields, key, bytes, sha256, crc32 } })
  } else {
    const { state, code, reason, cure } = outcome
    report.item({ subject, state, fields: { ...fields, code }, reason, cure })
  }
}

/** Writes down why a file was not uploaded; one that was interrupted has no problem. */
export async function recordUploadProblem(
  { knex }: Database,
  runId: string,
  trackId: string,
  outcome: Exclude<TransferOutcome, { object: unknown }>,
): Promise<void> {
  if (outcome.state === 'interrupted') return
  await recordItems(knex, [
    {
      command: uploadCommand,
      subject: trackId,
      trackId,
      state: outcome.state,
      errorCode: outcome.code,
      error: outcome.reason,
      cure: outcome.cure ?? null,
      runId,
    },
  ])
}

async function deleteLocal(
  context: Context,
  database: Database,
  candidate: DeleteCandidate,
  place: UploadPlace,
): Promise<'deleted' | 'kept'> {
  const outcome = await deleteProvedFile(context, database, candidate, place)
  if (outcome.state === 'deleted') return 'deleted'
  context.report.item({
    subject: candidate.source.relative,
    state: 'kept',
    fields: { track_id: candidate.track.id, code: outcome.code },
    reason: outcome.reason,
  })
  return 'kept'
}
