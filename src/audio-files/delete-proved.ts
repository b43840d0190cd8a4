/**
 * The one way in which autodj deletes a local audio file: the object in S3 has the same checksum, the database says
 * so, and, when a CDN is configured, a byte range fetched through it is the same bytes.
 */

import { hash, randomInt } from 'node:crypto'
import type { Context } from '../context.ts'
import { proofRanges } from '../core/proof-ranges.ts'
import type { Database } from '../db/database.ts'
import { noteObject } from '../db/ledger.ts'
import { together } from '../db/together.ts'
import type { ErrorCode } from '../error-codes.ts'
import { AppError, systemErrorCode, systemErrorReason } from '../errors.ts'
import { isItemProblem } from '../storage/item-problem.ts'
import { unseenBecause } from './mounted.ts'
import { type FileNeeds, fileNeeds } from './needs.ts'
import {
  type DeleteCandidate,
  type DeletePlace,
  Kept,
  refusedByRows,
  removalGroups,
} from './remove-together.ts'
import { isSameFile, LocalFileError, openSource, requireAudioRoot, type Source } from './source.ts'

type DeleteLocalOutcome =
  | { readonly state: 'deleted'; readonly bytes: number }
  | { readonly state: 'kept'; readonly code: ErrorCode; readonly reason: string }

/** What other rows say is asked again when the file goes: until then it may be so old, milliseconds. */
const rowsForNow = { maxAge: 10_000 }

/** What the database says against a removal before its file is looked at. */
const refusalByRows = together(
  async (knex, removals: readonly { needs: FileNeeds; candidate: DeleteCandidate; place: DeletePlace }[]) => {
    const refused = new Map<(typeof removals)[number], Kept>()
    for (const [needs, some] of Map.groupBy(removals, one => one.needs))
      for (const [one, kept] of await refusedByRows(knex, needs, some, rowsForNow)) refused.set(one, kept)
    return removals.map(one => refused.get(one))
  },
)

/**
 * Deletes the local copy of one track, if everything that must hold does. All is looked at again just before the end,
 * in one transaction that no run which holds the lock of removals overlaps: the object is there and is what was proved,
 * no row wants the file, and the row is locked. Then the file is taken out of the way, so that what is compared and what
 * is removed is one and the same: whoever has put another file in its place in the meantime keeps it.
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
  candidate: DeleteCandidate,
  place: DeletePlace,
  { dryRun = false }: { dryRun?: boolean } = {},
): Promise<DeleteLocalOutcome> {
  const { track, object, source: known } = candidate
  const { store, served } = place
  const filePath = track.filePath as string
  const { audioFolder } = context.config
  const needs = fileNeeds({ knex }, audioFolder)
  const remove = (source: Source | undefined): Promise<void> =>
    removalGroups(knex, needs).remove({ candidate, place, signal: context.signal, source })
  const removeIfProved = async (): Promise<void> => {
    await needs.prepare()
    const kept = await refusalByRows(knex, { needs, candidate, place })
    if (kept !== undefined) throw kept
    const source = await openSource(filePath, audioFolder, await requireAudioRoot(audioFolder.root))
    try {
      if (!isSameFile(source, known))
        throw new Kept('file.changed', 'it is no longer the file that was verified')
      if (source.isLinked)
        throw new Kept(
          'file.linked',
          'the row reaches it through a link: the file has another name, and others may rely on it',
        )
      if (served) {
        const answers = await Promise.all(
          proofRanges(source.size, below => randomInt(below)).map(async range => {
            const bytes = Buffer.alloc(range.end - range.start + 1)
            await source.read(bytes, range.start)
            return served(object.key, range, hash('sha256', bytes, 'hex'), source.size)
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
  const isProblem = (error: unknown, problem: LocalFileError['problem']): boolean =>
    error instanceof LocalFileError && error.problem === problem
  try {
    await removeIfProved()
      // Another row may have had the same file, which is gone now: the second look tells.
      .catch(error => {
        if (!isProblem(error, 'changed')) throw error
        return removeIfProved()
      })
      .catch(async error => {
        if (!isProblem(error, 'missing')) throw error
        const unseen = await unseenBecause({ knex }, filePath, audioFolder, place.folder)
        if (unseen !== undefined) throw new Kept('audio-root.gone', unseen)
        bytes = 0
        if (!dryRun) await remove(undefined)
      })
  } catch (error) {
    return keptBecause(error)
  }
  if (dryRun) return { state: 'deleted', bytes }
  const now = context.now()
  await noteObject(knex, {
    ...{ bucket: store.bucket, key: object.key, size: object.size, localDeletedAt: now },
    ...(served ? { servedAt: now } : {}),
  })
  return { state: 'deleted', bytes }
}

/** @throws what concerns more than this one file */
function keptBecause(error: unknown): DeleteLocalOutcome {
  const keep = (code: ErrorCode, reason: string): DeleteLocalOutcome => ({ state: 'kept', code, reason })
  if (error instanceof Kept || error instanceof LocalFileError) return keep(error.code, error.message)
  if (isItemProblem(error)) return keep('store', error.message)
  const code = error instanceof AppError ? undefined : systemErrorCode(error)
  if (code === undefined) throw error
  return keep(`file.${code}`, `it cannot be deleted: ${systemErrorReason(error)}`)
}
