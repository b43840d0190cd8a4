/**
 * The one way in which autodj deletes a local audio file: the object in S3 has the same checksum, the database says
 * so, and, when a CDN is configured, a byte range fetched through it is the same bytes.
 */

import { hash, randomInt } from 'node:crypto'
import { unlink } from 'node:fs/promises'
import type { Knex } from 'knex'
import type { ServedCheck } from '../cdn/served.ts'
import type { Context } from '../context.ts'
import { otherBytesCauses } from '../core/diagnosis/causes.ts'
import { proofRanges } from '../core/proof-ranges.ts'
import { isFileNeeded } from '../db/content.ts'
import type { Database } from '../db/database.ts'
import { failedWith, removalHolder, upsertObjects } from '../db/ledger.ts'
import { changeTracks, type PlannedTrack, trackPage } from '../db/tracks.ts'
import { AppError, systemErrorCode } from '../errors.ts'
import { type FileIdentity, isSameFile, LocalFileError, openRoot, openSource } from './source.ts'

export interface DeleteCandidate {
  track: PlannedTrack
  /** what the server confirmed of the object */
  object: { readonly key: string; readonly size: number; readonly sha256: string }
  /** the file as it was when its checksum was found to be the object's */
  source: FileIdentity & { readonly relative: string }
}

export type DeleteLocalOutcome =
  | { readonly state: 'deleted'; readonly bytes: number }
  | { readonly state: 'kept'; readonly code: string; readonly reason: string }

/** What `verify` records of a track whose object the CDN has with other bytes. */
const otherBytes = otherBytesCauses.map(cause => `verify.${cause}`)

/**
 * Deletes the local copy of one track, if everything that must hold does. The order matters: the file is gone before
 * the change of the row's `file_path` is committed, so that a run killed in between leaves a row that a later run puts
 * right, never a forgotten file. Both happen in one transaction that no run which holds the lock of removals overlaps: `restore` rests
 * on local files, and begins after this or before it.
 *
 * @param runId of the run on whose behalf; it may hold the lock of removals itself
 * @param served undefined when no CDN is configured
 * @param options `dryRun`: everything is looked at, and nothing is changed
 */
export async function deleteProvedFile(
  context: Pick<Context, 'config' | 'now'>,
  { knex }: Database,
  { track, object, source: known }: DeleteCandidate,
  { bucket, runId, served }: { bucket: string; runId: string; served: ServedCheck | undefined },
  { dryRun = false }: { dryRun?: boolean } = {},
): Promise<DeleteLocalOutcome> {
  const keep = (code: string, reason: string): DeleteLocalOutcome => ({ state: 'kept', code, reason })
  const filePath = track.filePath as string
  const { audioFolder } = context.config
  const planned: PlannedTrack = { id: track.id, fileSource: 'S3', s3ObjectKey: object.key, filePath }
  /** what the database says against it */
  const objection = async (db: Knex): Promise<DeleteLocalOutcome | undefined> => {
    const [row] = await trackPage(db, { limit: 1, filter: { ids: [track.id] } })
    if (row?.fileSource !== 'S3' || row.s3ObjectKey !== object.key || row.filePath !== filePath) {
      return keep('row.changed', 'the database does not say that it is in S3')
    }
    if (await isFileNeeded(db, known.relative, audioFolder, track.id)) {
      return keep('file.needed', 'another track that is not in S3 yet has the same file')
    }
    if (served && (await failedWith(db, { command: 'verify', subject: track.id, errorCodes: otherBytes }))) {
      return keep(
        'cdn.differs',
        '`autodj verify` found other bytes at the CDN; after the cause is mended, `autodj verify --retry-failed` frees it',
      )
    }
    return undefined
  }
  const early = await objection(knex)
  if (early !== undefined) return early
  /** The file, where it is still there, and then its name in the row; or why not. */
  const remove = (file: string | undefined): Promise<DeleteLocalOutcome | undefined> =>
    knex.transaction(async trx => {
      const holder = await removalHolder(trx, runId)
      if (holder !== undefined) {
        return keep(
          'removal.locked',
          `${holder} is at work on local files; \`autodj cleanup\` removes it later`,
        )
      }
      // Once more: minutes may have gone by at the CDN.
      const late = await objection(trx)
      if (late !== undefined) return late
      const outcome = (await changeTracks(trx, [{ planned, filePath: null }])).get(track.id)
      if (outcome !== 'done') return keep('row.changed', 'the row changed meanwhile')
      if (file !== undefined) await unlink(file)
      return undefined
    })
  try {
    const source = await openSource(filePath, audioFolder, await openRoot(audioFolder.root))
    try {
      if (!isSameFile(source, known))
        return keep('file.changed', 'it is not the file any more that was proved')
      if (served) {
        const answers = await Promise.all(
          proofRanges(source.size, below => randomInt(below)).map(async range => {
            const bytes = Buffer.alloc(range.end - range.start + 1)
            await source.read(bytes, range.start)
            return served(object.key, range, hash('sha256', bytes, 'hex'))
          }),
        )
        for (const answer of answers) {
          if (!answer.served)
            return keep('cdn.not-served', `the CDN does not serve the same bytes: ${answer.reason}`)
        }
      }
      await source.assertUnchanged()
      if (dryRun) return { state: 'deleted', bytes: known.size }
      const kept = await remove(source.absolute)
      if (kept !== undefined) return kept
    } finally {
      await source.close()
    }
  } catch (error) {
    if (error instanceof AppError) throw error
    if (!(error instanceof LocalFileError)) {
      const code = systemErrorCode(error)
      if (code === undefined) throw error
      return keep(`file.${code}`, `it cannot be deleted: ${code}`)
    }
    if (error.problem !== 'missing') return keep(`file.${error.problem}`, error.message)
    if (dryRun) return { state: 'deleted', bytes: 0 }
    const kept = await remove(undefined)
    if (kept !== undefined) return kept
  }
  const now = context.now()
  await upsertObjects(knex, [
    { bucket, key: object.key, size: object.size, localDeletedAt: now, ...(served ? { servedAt: now } : {}) },
  ])
  return { state: 'deleted', bytes: known.size }
}
