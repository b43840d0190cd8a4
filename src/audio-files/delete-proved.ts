/**
 * The one way in which autodj deletes a local audio file: the object in S3 has the same checksum, the database says
 * so, and, when a CDN is configured, a byte range fetched through it is the same bytes.
 */

import { hash, randomInt } from 'node:crypto'
import { stat } from 'node:fs/promises'
import type { Knex } from 'knex'
import type { ServedCheck } from '../cdn/served.ts'
import type { Context } from '../context.ts'
import { otherBytesCauses } from '../core/diagnosis/causes.ts'
import { proofRanges } from '../core/proof-ranges.ts'
import type { Database } from '../db/database.ts'
import { failedWith, removalHolder, upsertObjects } from '../db/ledger.ts'
import { changeTracks, type PlannedTrack, trackPage } from '../db/tracks.ts'
import type { ErrorCode } from '../error-codes.ts'
import { AppError, systemErrorCode } from '../errors.ts'
import { takeAside } from '../file-effects.ts'
import { itemProblem } from '../storage/item-problem.ts'
import type { ObjectStore } from '../storage/store.ts'
import { holdsContent } from './content-proof.ts'
import { fileNeeds } from './needs.ts'
import {
  type FileIdentity,
  identityOf,
  isSameFile,
  LocalFileError,
  openSource,
  requireAudioRoot,
  type Source,
} from './source.ts'

export interface DeleteCandidate {
  track: PlannedTrack
  /** what the server confirmed of the object */
  object: { readonly key: string; readonly size: number; readonly sha256: string; readonly crc32?: string }
  /** the file as it was when its checksum was found to be the object's */
  source: FileIdentity & { readonly relative: string }
}

export type DeleteLocalOutcome =
  | { readonly state: 'deleted'; readonly bytes: number }
  | { readonly state: 'kept'; readonly code: ErrorCode; readonly reason: string }

/** What `verify` records of a track whose object the CDN has with other bytes. */
const otherBytes = otherBytesCauses.map(cause => `verify.${cause}` as const)

/** On whose behalf, and against what. */
export interface DeletePlace {
  readonly store: ObjectStore
  /** it may hold the lock of removals itself */
  readonly runId: string
  /** undefined when no CDN is configured */
  readonly served: ServedCheck | undefined
}

/** Why the file is kept after all: takes back what was changed in the database on the way to it. */
class Kept extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, reason: string) {
    super(reason)
    this.code = code
  }
}

/**
 * Deletes the local copy of one track, if everything that must hold does. All is looked at again just before the end,
 * in one transaction that no run which holds the lock of removals overlaps: the object is there and is what was proved,
 * no row wants the file, and the row is locked. Then the file is taken out of the way, so that what is compared and what
 * is removed is one and the same: whoever has put another file in its place meanwhile keeps it.
 *
 * The file is gone before the change of the row's `file_path` is committed, so that a run killed in between leaves a row
 * that a later run puts right, never a forgotten file. One killed while the file is out of the way leaves it in a folder
 * from which `cleanup` puts it back.
 *
 * @param options `dryRun`: everything is looked at, and nothing is changed
 */
export async function deleteProvedFile(
  context: Pick<Context, 'config' | 'now' | 'signal'>,
  { knex }: Database,
  { track, object, source: known }: DeleteCandidate,
  { store, runId, served }: DeletePlace,
  { dryRun = false }: { dryRun?: boolean } = {},
): Promise<DeleteLocalOutcome> {
  const filePath = track.filePath as string
  const { audioFolder } = context.config
  const needs = fileNeeds({ knex }, audioFolder)
  const planned: PlannedTrack = { id: track.id, fileSource: 'S3', s3ObjectKey: object.key, filePath }
  /** @throws Kept with what the database says against it */
  const refuseByRows = async (db: Knex): Promise<void> => {
    const [row] = await trackPage(db, { limit: 1, filter: { ids: [track.id] } })
    if (row?.fileSource !== 'S3' || row.s3ObjectKey !== object.key || row.filePath !== filePath) {
      throw new Kept('row.changed', 'the database does not say that it is in S3')
    }
    if (await needs.isNeeded(db, known, track.id)) {
      throw new Kept('file.needed', 'another track that is not in S3 yet has the same file')
    }
    if (served && (await failedWith(db, { command: 'verify', subject: track.id, errorCodes: otherBytes }))) {
      throw new Kept(
        'cdn.differs',
        '`autodj verify` found other bytes at the CDN; after the cause is mended, `autodj verify --retry-failed` frees it',
      )
    }
  }
  /** @throws Kept where the object is not there, or is not what the file is */
  const refuseByObject = async (): Promise<void> => {
    const head = await store.head(object.key, { signal: context.signal })
    if (head === undefined) throw new Kept('object.missing', 'the object is not in the bucket')
    const content = { size: object.size, sha256: object.sha256, crc32: object.crc32 }
    const sameness = await holdsContent(store, head, content, context.signal)
    if (sameness === 'different') throw new Kept('object.differs', 'the object is not what the file is')
    if (sameness === 'archived') {
      throw new Kept(
        'object.archived',
        'the object is in an archive storage class: until it is restored, this file is all there is to play',
      )
    }
  }
  /** The file, where it is still there, and then its name in the row. @throws Kept */
  const remove = (source: Source | undefined): Promise<void> =>
    knex.transaction(async trx => {
      const holder = await removalHolder(trx, runId)
      if (holder !== undefined) {
        throw new Kept(
          'removal.locked',
          `${holder} is at work on local files; \`autodj cleanup\` removes it later`,
        )
      }
      // Once more: minutes may have gone by at the CDN.
      await refuseByRows(trx)
      await refuseByObject()
      const outcome = (await changeTracks(trx, [{ planned, filePath: null }])).get(track.id)
      if (outcome !== 'done') throw new Kept('row.changed', 'the row changed meanwhile')
      if (source !== undefined) await removeSame(source)
    })
  const removeIfProved = async (): Promise<void> => {
    await needs.prepare()
    await refuseByRows(knex)
    const source = await openSource(filePath, audioFolder, await requireAudioRoot(audioFolder.root))
    try {
      if (!isSameFile(source, known))
        throw new Kept('file.changed', 'it is no longer the file that was verified')
      if (source.isLinked)
        throw new Kept(
          'file.linked',
          'the row reaches it through a link: the file has another name, and may be there for others',
        )
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
            throw new Kept('cdn.not-served', `the CDN does not serve the same bytes: ${answer.reason}`)
        }
      }
      await source.assertUnchanged()
      if (!dryRun) await remove(source)
    } finally {
      await source.close()
    }
  }
  let bytes = known.size
  try {
    await removeIfProved().catch(async error => {
      if (!(error instanceof LocalFileError) || error.problem !== 'missing') throw error
      bytes = 0
      if (!dryRun) await remove(undefined)
    })
  } catch (error) {
    return keptBecause(error)
  }
  if (dryRun) return { state: 'deleted', bytes }
  const now = context.now()
  await upsertObjects(knex, [
    {
      ...{ bucket: store.bucket, key: object.key, size: object.size, localDeletedAt: now },
      ...(served ? { servedAt: now } : {}),
    },
  ])
  return { state: 'deleted', bytes }
}

/** @throws what concerns more than this one file */
function keptBecause(error: unknown): DeleteLocalOutcome {
  const keep = (code: ErrorCode, reason: string): DeleteLocalOutcome => ({ state: 'kept', code, reason })
  if (error instanceof Kept) return keep(error.code, error.message)
  if (error instanceof LocalFileError) return keep(`file.${error.problem}`, error.message)
  const problem = itemProblem(error)
  if (problem !== undefined) return keep('store', problem)
  const code = error instanceof AppError ? undefined : systemErrorCode(error)
  if (code === undefined) throw error
  return keep(`file.${code}`, `it cannot be deleted: ${code}`)
}

/**
 * Removes a file by its path, if that still leads to what is open.
 *
 * @throws Kept where another file has come in its place, or it was written to; LocalFileError where it is gone
 */
async function removeSame(source: Source): Promise<void> {
  await source.assertUnchanged()
  const aside = await takeAside(source.absolute)
  try {
    // The renaming is a change of its own, to a time that is not looked at here.
    const { ctimeNs: _, ...now } = identityOf(await stat(aside.path, { bigint: true }))
    if (isSameFile(source, { ...now, ctimeNs: source.ctimeNs })) return await aside.remove()
  } catch (error) {
    await aside.putBack()
    throw error
  }
  const where = await aside.putBack()
  throw new Kept(
    'file.changed',
    where === source.absolute
      ? 'another file has come in its place: it was left alone'
      : `two other files have come in its place: one of them is now ${where}`,
  )
}
