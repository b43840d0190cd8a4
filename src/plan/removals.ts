/** `remove-object`: objects to quarantine, and back; `bring-back-object`: what rows want back from there. */

import { holdsContent } from '../audio-files/content-proof.ts'
import type { FileIdentity } from '../audio-files/source.ts'
import { areOfOtherLibraries, ownersWithoutAudio, unownedOf } from '../audio-files/without-audio.ts'
import type { ObjectState, PlanItem } from '../core/plan.ts'
import type { LackingRow } from '../core/reconcile/facts.ts'
import { objectsByKey } from '../db/ledger.ts'
import { keysSpokenFor, keysUploading } from '../db/row-facts.ts'
import { holdable } from '../db/values.ts'
import { FatalError } from '../errors.ts'
import type { DeleteOutcome, ObjectHead, ObjectVersionEntry } from '../storage/store.ts'
import { versionsOfKey } from '../storage/versions.ts'
import {
  type ExecuteOptions,
  type ItemExecutor,
  type ItemOutcome,
  type Looked,
  Skip,
} from './item-executor.ts'
import type { Trace } from './journal.ts'
import { needFile, needSameFile, sameSums } from './needs.ts'

type Removal = PlanItem & { action: 'remove-object' }
type BringBack = PlanItem & { action: 'bring-back-object' }

/** An object, and its place in quarantine; without one, a delete marker hides it. */
interface Place {
  object: ObjectState
  quarantine: string | undefined
}

const placeOf = (item: Removal | BringBack): Place => ({
  object: item.object,
  quarantine: item.action === 'remove-object' ? item.to : item.from,
})

/** Moves objects to quarantine, or hides them behind delete markers, unless something has come to rest on them. */
export async function removeObjects(
  executor: ItemExecutor,
  items: readonly Removal[],
): Promise<ItemOutcome[]> {
  if (items.length === 0) return []
  const { options } = executor
  const { knex, store } = options
  const place = { bucket: store.bucket, prefix: options.keyPrefix }
  const keys = items.map(item => item.object.key)
  const uploading = await keysUploading(knex, store.bucket)
  const named = await keysSpokenFor(knex, keys, place)
  const { owners, heads } = await lastCopiesOf(executor, items)
  const files = new Map<number, FileIdentity>()
  const outcomes = await executor.each(items, {
    begun: 'begun',
    done: 'done',
    look: item =>
      lookBeforeRemoval(executor, item, heads, async head => {
        const { key } = item.object
        if (named.has(key)) throw new Skip('a row names the object')
        const owner = owners.get(key)
        if (owner instanceof Error) throw owner
        if (owner !== undefined)
          throw new Skip(`track ${owner.row.trackId}, to which it belongs, has no other audio now`)
        if (uploading.has(key)) throw new Skip('an upload to this key is under way')
        if (item.needsFile !== undefined)
          files.set(item.seq, await fileInstead(options, item.needsFile, head))
      }),
    each: (item, { head }) =>
      remove(options, placeOf(item), head, async () => {
        const identity = files.get(item.seq)
        if (item.needsFile !== undefined && identity !== undefined)
          await needSameFile(options, item.needsFile.path, identity)
      }),
  })
  // A row may have come to name an object between the look and the removal.
  const namedNow = await keysSpokenFor(knex, keys, place)
  const wanted = outcomes.filter(
    ({ item, state }) => state === 'done' && namedNow.has((item as Removal).object.key),
  )
  if (wanted.length === 0) return outcomes
  const back = await bringBackObjects(
    executor,
    wanted.map(({ item }) => item as Removal),
  )
  const reason = 'a row now names the object: brought back'
  return [
    ...outcomes.filter(outcome => !wanted.includes(outcome)),
    ...back.map(
      (outcome): ItemOutcome =>
        outcome.state === 'undone' ? { ...outcome, state: 'skipped', reason } : outcome,
    ),
  ]
}

/**
 * Of these objects those whose track has come to have no other audio: another database, or a restored one. An Error for
 * one of which that cannot be told now. And what the objects were like: each look at an item begins with it.
 */
async function lastCopiesOf(
  executor: ItemExecutor,
  items: readonly Removal[],
): Promise<{ owners: Map<string, LackingRow | Error>; heads: Map<string, ObjectHead | undefined> }> {
  const { knex, store, audioFolder, keyPrefix, signal } = executor.options
  const keys = items.map(item => item.object.key)
  const recorded = await objectsByKey(knex, store.bucket, holdable(keys))
  const heads = await Promise.all(keys.map(key => executor.attempt(() => store.head(key, { signal }))))
  const objects = keys.map((key, at) => {
    const head = heads[at]
    return unownedOf(head instanceof Error ? undefined : head, recorded.get(key)?.sha256, key)
  })
  const owners = await ownersWithoutAudio({ knex, store, audioFolder, keyPrefix, signal }, objects)
  const others = await areOfOtherLibraries({ knex, store }, objects, recorded)
  const ofKeys = new Map<string, LackingRow | Error>()
  const seen = new Map<string, ObjectHead | undefined>()
  for (const [at, key] of keys.entries()) {
    const head = heads[at]
    const skipped = others[at]
      ? new Skip('another library, with the same bucket and prefix, uploaded it')
      : undefined
    const told = head instanceof Error ? head : (owners[at] ?? skipped)
    if (told !== undefined) ofKeys.set(key, told)
    if (!(head instanceof Error)) seen.set(key, head)
  }
  return { owners: ofKeys, heads: seen }
}

/** Brings removed objects back from where they were moved to. */
export function bringBackObjects(executor: ItemExecutor, items: readonly Removal[]): Promise<ItemOutcome[]> {
  return executor.each(items, {
    begun: 'undoing',
    done: 'undone',
    look: item => lookBeforeReturn(executor, item),
    each: (item, looked) => bringBack(executor.options, placeOf(item), looked),
  })
}

/** Gives rows back the objects that they name, which were removed. */
export function bringBackWanted(executor: ItemExecutor, items: readonly BringBack[]): Promise<ItemOutcome[]> {
  return executor.each(items, {
    begun: 'begun',
    done: 'done',
    look: item => lookBeforeReturn(executor, item),
    each: (item, looked) => bringBack(executor.options, placeOf(item), looked),
  })
}

/** Takes that back: the objects are removed again. */
export function removeAgain(executor: ItemExecutor, items: readonly BringBack[]): Promise<ItemOutcome[]> {
  return executor.each(items, {
    begun: 'undoing',
    done: 'undone',
    look: async item => {
      const untouched = executor.journal.state(item.seq) === 'begun'
      return { ...(await lookBeforeRemoval(executor, item, new Map(), async () => {})), untouched }
    },
    each: (item, { head }) => remove(executor.options, placeOf(item), head, async () => {}),
  })
}

/* ── To quarantine ────────────────────────────────────────────────────────────────────────────────────────────── */

/**
 * @param heads of objects that have been asked for just now: each serves one look
 * @param check throws a Skip for an object that must stay
 */
async function lookBeforeRemoval(
  { journal, options }: ItemExecutor,
  item: Removal | BringBack,
  heads: Map<string, ObjectHead | undefined>,
  check: (head: ObjectHead) => Promise<void>,
): Promise<Looked> {
  const { key } = item.object
  const head = heads.has(key) ? heads.get(key) : await options.store.head(key, { signal: options.signal })
  heads.delete(key)
  if (head === undefined) {
    const trace = journal.isOpen(item.seq) ? await removedBefore(options, placeOf(item)) : undefined
    if (trace === undefined) throw new Skip('the object is gone')
    return { made: trace }
  }
  const { sums } = await journal.trace(item.seq)
  if (!isObject(head, item.object, sums)) throw new Skip('the object has changed since')
  await check(head)
  return { trace: { sums: head.checksums }, head }
}

/** What a run that was cut off between removal and journal would have written; undefined when it was not our doing. */
async function removedBefore(options: ExecuteOptions, place: Place): Promise<Trace | undefined> {
  const { store, signal } = options
  if (place.quarantine !== undefined) {
    const copy = await store.head(place.quarantine, { signal })
    return copy !== undefined && copy.size === place.object.size ? {} : undefined
  }
  const [latest] = await versionsOfKey(store, place.object.key, signal)
  return latest?.isDeleteMarker ? { markerVersionId: latest.versionId } : undefined
}

/**
 * Removes one object: with its copy in quarantine first, or, where versions are kept, by a delete marker. Everything it
 * rests on is looked at again just before the end, since not every store goes by `If-Match`.
 *
 * @param before the object as it was judged
 * @param check throws a Skip for an object that must stay
 */
async function remove(
  options: ExecuteOptions,
  place: Place,
  before: ObjectHead | undefined,
  check: () => Promise<void>,
): Promise<Trace> {
  const { store, signal } = options
  const { object, quarantine } = place
  const { key } = object
  if (before === undefined) throw new Skip('the object is gone')
  const { etag } = before
  if (quarantine === undefined) {
    if ((await store.versioning(signal)) !== 'Enabled') throw new Skip('the bucket no longer keeps versions')
    await keepAsVersion(options, before)
  } else await copyTo(options, before, quarantine)
  try {
    await check()
    const now = await store.head(key, { signal })
    if (now === undefined) throw new Skip('the object is gone')
    if (now.etag !== etag) throw new Skip('the object has changed since')
    const [outcome] = await store.delete([{ key, ifMatch: etag }], signal)
    throwOutcome(outcome)
    if (quarantine !== undefined) return {}
    return { markerVersionId: await markerOf(options, object, outcome?.deleteMarkerVersionId) }
  } catch (error) {
    // Nothing was removed: what lies in quarantine is a copy that nobody asked for.
    if (error instanceof Skip && quarantine !== undefined) await dropCopy(options, key, quarantine)
    throw error
  }
}

/**
 * An object from before the bucket kept versions has no version that stays: a marker made once they are suspended would
 * take its place. So it is copied onto itself first.
 *
 * @throws Skip if that makes no version, or one that the plan does not know
 */
async function keepAsVersion({ store, signal }: ExecuteOptions, judged: ObjectHead): Promise<void> {
  const { key, etag } = judged
  // Not every store tells with an object which version it is.
  const versionOf = async (one: ObjectHead): Promise<string | undefined> =>
    one.versionId ?? (await versionsOfKey(store, key, signal))[0]?.versionId
  if ((await versionOf(judged)) !== 'null') return
  // Its headers may have been corrected since: they are written once more, as they are now.
  const head = await store.head(key, { signal })
  if (head === undefined) throw new Skip('the object is gone')
  const { contentType, cacheControl } = head
  await store.rewriteHeaders(key, {
    ifMatch: etag,
    ...(contentType === undefined ? {} : { contentType }),
    ...(cacheControl === undefined ? {} : { cacheControl }),
    signal,
  })
  const now = await store.head(key, { signal })
  if (now === undefined) throw new Skip('the object is gone')
  if ((await versionOf(now)) === 'null') {
    if ((await store.versioning(signal)) !== 'Enabled') throw new Skip('the bucket no longer keeps versions')
    // As versitygw does, which changes the headers in place.
    throw new Skip(
      'it is from before the bucket kept versions, and this store makes no version of it: if you do not want it, remove it by other means',
    )
  }
  if (now.etag !== etag)
    throw new Skip(
      'it was from before the bucket kept versions, and is a version now: run `autodj reconcile` again for another plan',
    )
}

/** The marker that hides an object now. @throws FatalError if nothing is hidden, but gone */
async function markerOf(
  options: ExecuteOptions,
  object: ObjectState,
  told: string | undefined,
): Promise<string> {
  if (told !== undefined && told !== 'null') return told
  // A store need not tell, least of all when it is asked a second time, as the first answer was lost.
  const versions = await versionsOfKey(options.store, object.key, options.signal)
  const kept = versions.some(version => !version.isDeleteMarker && isVersion(version, object))
  if (kept && versions[0]?.isDeleteMarker) return versions[0].versionId
  throw new FatalError(
    `the bucket kept no version of ${object.key}: versioning was switched off during the run`,
    { code: 'plan.versioning' },
  )
}

/** The copy in quarantine, made once and seen to be whole. */
async function copyTo({ store, signal }: ExecuteOptions, source: ObjectHead, to: string): Promise<void> {
  const there = await store.head(to, { signal })
  if (there !== undefined && isSame(source, there)) return
  await store.copy(source.key, to, { ifMatch: source.etag, signal })
  await insistOnCopy({ store, signal }, source, to)
}

async function insistOnCopy(
  { store, signal }: Pick<ExecuteOptions, 'store' | 'signal'>,
  source: ObjectHead,
  to: string,
): Promise<void> {
  const copy = await store.head(to, { signal })
  if (copy === undefined || copy.size !== source.size || sameSums(source.checksums, copy.checksums) === false)
    throw new Error(`the copy at ${to} differs`)
}

/** Lets go of a copy, if the object that it is of is still in its place. */
async function dropCopy({ store, signal }: ExecuteOptions, key: string, to: string): Promise<void> {
  const [object, copy] = [await store.head(key, { signal }), await store.head(to, { signal })]
  if (object === undefined || copy === undefined || !isSame(object, copy)) return
  await store.delete([{ key: to, ifMatch: copy.etag }], signal)
}

/** A local file that holds what a removal lets go of. */
async function fileInstead(
  options: ExecuteOptions,
  needed: NonNullable<Removal['needsFile']>,
  head: ObjectHead,
): Promise<FileIdentity> {
  const { identity, content } = await needFile(options, needed, { read: true })
  // A plan that says which content the file has rests on that one: the object's is wrong.
  if (needed.sha256 !== undefined || content === undefined) return identity
  const sameness = await holdsContent(options.store, head, content, options.signal)
  // Where the object cannot be read its checksums have been compared, as far as there are any.
  if (sameness !== 'same') throw new Skip('the local file differs from the object')
  return identity
}

/* ── And back ─────────────────────────────────────────────────────────────────────────────────────────────────── */

async function lookBeforeReturn(
  { journal, options }: ItemExecutor,
  item: Removal | BringBack,
): Promise<Looked> {
  const { store, signal } = options
  const place = placeOf(item)
  const { object, quarantine } = place
  const trace = await journal.trace(item.seq)
  const head = await store.head(object.key, { signal })
  if (head !== undefined) {
    // Never removed, or brought back already; only what is the same for certain may cost the copy its place.
    const copy = quarantine === undefined ? undefined : await store.head(quarantine, { signal })
    const same = isObject(head, object, trace.sums) || (copy !== undefined && isSame(head, copy))
    if (head.size !== object.size || !same) throw new Skip('another object is in its place')
    if (copy !== undefined) return { back: true }
    return { made: {}, untouched: item.action === 'remove-object' && journal.state(item.seq) === 'begun' }
  }
  if (quarantine !== undefined) {
    const copy = await store.head(quarantine, { signal })
    if (copy === undefined || copy.size !== object.size)
      throw new Error(`it is no longer in quarantine: ${quarantine}`)
    return { trace: { sums: copy.checksums } }
  }
  const versions = await versionsOfKey(store, object.key, signal)
  const kept = versions.filter(version => !version.isDeleteMarker)
  if (!kept.some(version => isVersion(version, object)))
    throw new Error('the bucket has no version of it that could be brought back')
  // Without its markers a key shows the newest of its versions.
  if (!isVersion(kept[0] as ObjectVersionEntry, object))
    throw new Skip('another object was put in its place since, and deleted')
  const [latest] = versions
  const ours = item.action === 'bring-back-object' || journal.isOpen(item.seq)
  if (!latest?.isDeleteMarker) throw new Error('no delete marker hides it, yet the store does not return it')
  if (!ours && latest.versionId !== trace.markerVersionId)
    throw new Skip('the object was deleted by someone else')
  return { marker: latest.versionId }
}

/** @throws Error if the object is not back after all */
async function bringBack(options: ExecuteOptions, place: Place, looked: Looked): Promise<Trace> {
  const { store, signal } = options
  const { object, quarantine } = place
  const { key } = object
  if (quarantine === undefined) {
    // A delete whose answer was lost, sent again, has made two markers. Those below ours are ours, too: the object was
    // there when we looked.
    for (let marker = looked.marker; marker !== undefined; ) {
      const [outcome] = await store.delete([{ key, versionId: marker }], signal)
      throwOutcome(outcome)
      if ((await store.head(key, { signal })) !== undefined) break
      const [latest] = await versionsOfKey(store, key, signal)
      if (latest?.versionId === marker) throw new Error('its delete marker cannot be removed')
      marker = latest?.isDeleteMarker ? latest.versionId : undefined
    }
  } else if (!looked.back) {
    const copy = await store.head(quarantine, { signal })
    if (copy === undefined) throw new Error(`it is no longer in quarantine: ${quarantine}`)
    await store.copy(quarantine, key, { ifMatch: copy.etag, ifNoneMatch: true, signal })
    await insistOnCopy(options, copy, key)
  }
  const head = await store.head(key, { signal })
  if (head === undefined) throw new Error('the object is not back')
  if (head.size !== object.size || (quarantine === undefined && head.etag !== object.etag))
    throw new Error('the object that came back is a different one')
  if (quarantine !== undefined) {
    const copy = await store.head(quarantine, { signal })
    if (copy !== undefined && !isSame(head, copy))
      throw new Error('the object that came back is a different one')
    if (copy !== undefined)
      throwOutcome((await store.delete([{ key: quarantine, ifMatch: copy.etag }], signal))[0])
  }
  return { etag: head.etag }
}

/* ── Comparing ────────────────────────────────────────────────────────────────────────────────────────────────── */

const isVersion = ({ size, etag }: ObjectVersionEntry, object: ObjectState): boolean =>
  size === object.size && etag === object.etag

/**
 * Whether an object is the one that the plan saw; a copy of one that came in parts has another ETag.
 *
 * @param sums what the store knew of its content, where that counts
 */
function isObject(head: ObjectHead, object: ObjectState, sums?: Trace['sums']): boolean {
  if (head.size !== object.size) return false
  return head.etag === object.etag || (sums !== undefined && sameSums(head.checksums, sums) === true)
}

/** Whether two objects hold the same bytes by a checksum the server has of both; else by ETag. */
function isSame(a: ObjectHead, b: ObjectHead): boolean {
  return a.size === b.size && (sameSums(a.checksums, b.checksums) ?? a.etag === b.etag)
}

function throwOutcome(outcome: DeleteOutcome | undefined): void {
  if (outcome?.error === undefined) return
  if (outcome.error.kind === 'precondition') throw new Skip('the object has changed since')
  throw outcome.error
}
