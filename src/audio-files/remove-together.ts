/**
 * The last step of deleting local files whose objects are proved: those that are ready at one moment share a transaction,
 * and with it what is asked of the database, so that the one scan of the application's rows that it takes serves many.
 */
import { stat } from 'node:fs/promises'
import type { Knex } from 'knex'
import pLimit from 'p-limit'
import type { ServedCheck } from '../cdn/served.ts'
import { otherBytesCauses } from '../core/diagnosis/causes.ts'
import { removalHolder, subjectsFailedWith } from '../db/ledger.ts'
import { LockedRows, rowLocked } from '../db/locked-rows.ts'
import { together } from '../db/together.ts'
import { changeTracks, changeUnlockedTracks, type PlannedTrack, tracksById } from '../db/tracks.ts'
import type { ErrorCode } from '../error-codes.ts'
import { takeAside } from '../file-effects.ts'
import type { ObjectStore } from '../storage/store.ts'
import { tellsEdits } from './change-times.ts'
import { hashOfFile, holdsContent } from './content-proof.ts'
import type { WatchedFolder } from './mounted.ts'
import type { FileNeeds } from './needs.ts'
import { type FileIdentity, identityOf, isSameFile, type Source } from './source.ts'

export interface DeleteCandidate {
  readonly track: PlannedTrack
  /** what the server confirmed of the object */
  readonly object: {
    readonly key: string
    readonly size: number
    readonly sha256: string
    readonly crc32?: string
  }
  /** the file as it was when its checksum was found to be the object's */
  readonly source: FileIdentity & { readonly relative: string }
}

/** On whose behalf, and against what. */
export interface DeletePlace {
  readonly store: ObjectStore
  /** it may hold the lock of removals itself */
  readonly runId: string
  /** how long locked rows are waited for, milliseconds; 15 s */
  readonly lockWait?: number | undefined
  /** undefined when no CDN is configured */
  readonly served: ServedCheck | undefined
  /** the audio folder, as it was when the run began: without it every file looks gone */
  readonly folder: WatchedFolder
}

/** Why a file is kept after all. */
export class Kept extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, reason: string) {
    super(reason)
    this.code = code
  }
}

/** One that is ready: proved, and open. */
interface Removal {
  readonly candidate: DeleteCandidate
  readonly place: DeletePlace
  readonly signal: AbortSignal
  /** undefined if the file is gone, and only its name in the row is left */
  readonly source: Source | undefined
}

/** Objects looked at, and files removed, at a time. */
const atOnce = 16

/** What `verify` records of a track whose object the CDN has with other bytes. */
const otherBytes = otherBytesCauses.map(cause => `verify.${cause}` as const)

const instances = new WeakMap<FileNeeds, RemovalGroups>()

/** The groups of all that delete files in one process. */
export function removalGroups(knex: Knex, needs: FileNeeds): RemovalGroups {
  const known = instances.get(needs) ?? new RemovalGroups(knex, needs)
  instances.set(needs, known)
  return known
}

class RemovalGroups {
  readonly #knex: Knex
  readonly #needs: FileNeeds
  /** why a file stays; undefined if it is gone */
  readonly #endOf: (knex: Knex, removal: Removal) => Promise<unknown>
  #patience: { readonly runId: string; readonly rows: LockedRows } | undefined

  constructor(knex: Knex, needs: FileNeeds) {
    this.#knex = knex
    this.#needs = needs
    this.#endOf = together((_, removals: readonly Removal[]) => this.#endsOf(removals))
  }

  /**
   * Removes a file, where it is still there, and then its name in the row. All is looked at again just before: in one
   * transaction that no run which holds the lock of removals overlaps.
   *
   * @throws Kept, or what the file system or the store says, if it stays
   */
  async remove(removal: Removal): Promise<void> {
    const end = await this.#endOf(this.#knex, removal)
    if (end !== undefined) throw end
  }

  async #endsOf(removals: readonly Removal[]): Promise<unknown[]> {
    const ends = new Map<Removal, unknown>()
    for (const group of groupsOf(removals)) {
      try {
        const told = await this.#lockedRows(group[0] as Removal).write<Removal, unknown>(group, {
          idOf: ({ candidate }) => candidate.track.id,
          write: async part => {
            const refused = await this.#removeAll(part)
            return part.map(one => refused.get(one))
          },
          refuse: (_, { reason }) => new Kept('row.refused', reason),
        })
        for (const [at, one] of group.entries())
          ends.set(one, told[at] === 'locked' ? new Kept('row.locked', rowLocked) : told[at])
      } catch (error) {
        // It concerns the transaction: what is gone is found by the next run, by the names that the rows have still.
        for (const one of group) ends.set(one, error)
      }
    }
    return removals.map(one => ends.get(one))
  }

  /** What waits for locked rows, on behalf of a run. */
  #lockedRows({ place: { runId, lockWait }, signal }: Removal): LockedRows {
    if (this.#patience?.runId !== runId)
      this.#patience = { runId, rows: new LockedRows({ knex: this.#knex, stopping: signal, wait: lockWait }) }
    return this.#patience.rows
  }

  /** @returns why those that stay do; `locked` if another transaction holds the row */
  async #removeAll(group: readonly Removal[]): Promise<Map<Removal, unknown>> {
    const refused = new Map<Removal, unknown>()
    const left = (): Removal[] => group.filter(one => !refused.has(one))
    const limit = pLimit(atOnce)
    /** What must hold of each, looked at a few at a time. */
    const each = (act: (one: Removal) => Promise<void>): Promise<unknown> =>
      Promise.all(left().map(one => limit(() => act(one).catch((error: unknown) => refused.set(one, error)))))
    await this.#knex.transaction(async trx => {
      const holder = await removalHolder(trx, (group[0] as Removal).place.runId)
      if (holder !== undefined) {
        const reason = `${holder} is at work on local files; \`autodj cleanup\` removes it later`
        for (const one of group) refused.set(one, new Kept('removal.locked', reason))
        return
      }
      // Once more: minutes may have gone by at the CDN.
      await each(refuseByObject)
      for (const [one, kept] of await refusedByRows(trx, this.#needs, left())) refused.set(one, kept)
      const outcomes = await changeUnlockedTracks(
        trx,
        left().map(({ candidate }) => ({ planned: plannedOf(candidate), filePath: null })),
      )
      for (const one of left()) {
        const outcome = outcomes.get(one.candidate.track.id)
        if (outcome === 'done') continue
        if (outcome === 'locked') refused.set(one, outcome)
        else if (outcome === 'set-back')
          refused.set(one, new Kept('row.set-back', 'the row was set back as it was written'))
        else refused.set(one, new Kept('row.changed', 'the row changed in the meantime'))
      }
      const changed = left()
      await each(async one => {
        if (one.source !== undefined) await removeSame(one.source, one)
      })
      await changeTracks(
        trx,
        changed
          .filter(one => refused.has(one))
          .map(({ candidate }) => {
            const planned = plannedOf(candidate)
            return { planned: { ...planned, filePath: null }, filePath: planned.filePath }
          }),
      )
    })
    return refused
  }
}

/** Those of one run, each file once: removed in one transaction, their rows stay locked until the last is gone. */
function* groupsOf(removals: readonly Removal[]): Generator<Removal[]> {
  for (let left = removals; left[0] !== undefined; ) {
    const { runId } = left[0].place
    const group = new Map<unknown, Removal>()
    const rest: Removal[] = []
    for (const one of left) {
      const file = one.source ? `${one.source.device}:${one.source.inode}` : one
      if (one.place.runId !== runId || group.has(file)) rest.push(one)
      else group.set(file, one)
    }
    yield [...group.values()]
    left = rest
  }
}

const plannedOf = ({ track, object }: DeleteCandidate): PlannedTrack => ({
  id: track.id,
  fileSource: 'S3',
  s3ObjectKey: object.key,
  filePath: track.filePath,
})

/**
 * What the database says against the removal of each of these.
 *
 * @param options `maxAge`: of what other rows say, milliseconds; by default as they are
 */
export async function refusedByRows<One extends Pick<Removal, 'candidate' | 'place'>>(
  db: Knex,
  needs: FileNeeds,
  removals: readonly One[],
  options: { maxAge?: number } = {},
): Promise<Map<One, Kept>> {
  const refused = new Map<One, Kept>()
  if (removals.length === 0) return refused
  const ids = removals.map(({ candidate }) => candidate.track.id)
  const rows = new Map((await tracksById(db, ids)).map(row => [row.id, row]))
  const failed = await subjectsFailedWith(db, { command: 'verify', subjects: ids, errorCodes: otherBytes })
  const needed = await needs.areNeeded(
    db,
    removals.map(({ candidate }) => ({ file: candidate.source, exceptId: candidate.track.id })),
    options,
  )
  for (const [index, one] of removals.entries()) {
    const planned = plannedOf(one.candidate)
    const row = rows.get(planned.id)
    if (
      row?.fileSource !== 'S3' ||
      row.s3ObjectKey !== planned.s3ObjectKey ||
      row.filePath !== planned.filePath
    ) {
      refused.set(one, new Kept('row.changed', 'the database does not say that the track is in S3'))
    } else if (needed[index] === true) {
      refused.set(one, new Kept('file.needed', 'another track that is not in S3 yet has the same file'))
    } else if (one.place.served && failed.has(planned.id)) {
      refused.set(
        one,
        new Kept(
          'cdn.differs',
          '`autodj verify` found the CDN serving something else; once the cause is fixed, `autodj verify --retry-failed` frees it',
        ),
      )
    }
  }
  return refused
}

/** @throws Kept if the object is not there, or is not what the file is */
async function refuseByObject({ candidate: { object }, place: { store }, signal }: Removal): Promise<void> {
  const head = await store.head(object.key, { signal })
  if (head === undefined) throw new Kept('object.missing', 'the object is not in the bucket')
  const content = { size: object.size, sha256: object.sha256, crc32: object.crc32 }
  const sameness = await holdsContent(store, head, content, signal)
  if (sameness === 'different')
    throw new Kept('object.differs', "the object's content differs from the file's")
  if (sameness === 'archived') {
    throw new Kept(
      'object.archived',
      'the object is in an archive storage class: until it is restored, this file is the only playable copy',
    )
  }
  if (head.restoredUntil !== undefined)
    throw new Kept(
      'object.archived',
      'the object is in an archive storage class, and its restored copy is there for a time only',
    )
}

/**
 * Removes a file by its path, if that still leads to what is open; where the file system does not tell every edit, if what
 * it leads to is, byte for byte, what the object holds.
 *
 * @throws Kept if another file has come in its place, or it was written to; LocalFileError if it is gone
 */
async function removeSame(source: Source, { candidate: { object }, place, signal }: Removal): Promise<void> {
  await source.assertUnchanged()
  const aside = await takeAside(source.absolute)
  let isSame: boolean
  try {
    // The renaming is a change of its own, to a time that is not looked at here.
    const { ctimeNs: _, ...now } = identityOf(await stat(aside.path, { bigint: true }))
    isSame = isSameFile(source, { ...now, ctimeNs: source.ctimeNs })
    const byContent = !(await tellsEdits(source, place.folder.since))
    if (byContent ? (await hashOfFile('sha256', aside.path, signal)) === object.sha256 : isSame) {
      // NFS and FUSE give an open file that is removed another name: it would stay, and its folder with it.
      await source.close()
      return await aside.remove()
    }
  } catch (error) {
    await aside.putBack()
    throw error
  }
  const where = await aside.putBack()
  throw new Kept(
    'file.changed',
    where !== source.absolute
      ? `two other files have taken its place; one of them is now ${where}`
      : isSame
        ? 'it is no longer the file that was verified'
        : 'another file has taken its place and was left alone',
  )
}
