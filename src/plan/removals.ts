/** `remove-object`: objects to quarantine, and back. */
import type { PlanItem } from '../core/plan.ts'
import { keysNamed, keysUploading } from '../db/row-facts.ts'
import type { DeleteOutcome, ObjectHead } from '../storage/store.ts'
import type { Trace } from './journal.ts'
import { needFile } from './needs.ts'
import { type ExecuteOptions, type ItemOutcome, type Settler, Skip } from './settle.ts'

export type Removal = PlanItem & { action: 'remove-object' }

/** Moves objects to quarantine, or hides them behind delete markers, unless something has come to rest on them. */
export async function removeObjects(settler: Settler, items: readonly Removal[]): Promise<ItemOutcome[]> {
  if (items.length === 0) return []
  const { journal, options } = settler
  const { knex, store, signal } = options
  const keys = items.map(item => item.object.key)
  const uploading = await keysUploading(knex, store.bucket)
  const named = await keysNamed(knex, keys)
  const outcomes = await settler.each(items, {
    begun: 'begun',
    done: 'done',
    look: async item => {
      const { key } = item.object
      const head = await store.head(key, { signal })
      if (head === undefined) {
        if (journal.state(item.seq) !== 'begun') throw new Skip('the object is gone')
        const trace = await removedBefore(options, item)
        if (trace === undefined) throw new Skip('the object is gone')
        return { made: trace }
      }
      if (head.etag !== item.object.etag || head.size !== item.object.size) {
        throw new Skip('the object has changed since')
      }
      if (named.has(key)) throw new Skip('a row names the object')
      if (uploading.has(key)) throw new Skip('an upload to this key is under way')
      if (item.needsFile !== undefined) await needFile(options, item.needsFile)
      return {}
    },
    each: async item => {
      const { key, etag } = item.object
      if (item.to !== undefined) await copyWhole(options, key, item.to, { ifMatch: etag })
      const [outcome] = await store.delete([{ key, ifMatch: etag }], signal)
      throwOutcome(outcome)
      return outcome?.deleteMarkerVersionId === undefined
        ? {}
        : { markerVersionId: outcome.deleteMarkerVersionId }
    },
  })
  // A row may have come to name an object between the look and the removal.
  const namedNow = await keysNamed(knex, keys)
  const wanted = outcomes.filter(
    ({ item, state }) => state === 'done' && namedNow.has((item as Removal).object.key),
  )
  if (wanted.length === 0) return outcomes
  const back = await bringBackObjects(
    settler,
    wanted.map(({ item }) => item as Removal),
  )
  const reason = 'a row has come to name the object: brought back'
  return [
    ...outcomes.filter(outcome => !wanted.includes(outcome)),
    ...back.map(
      (outcome): ItemOutcome =>
        outcome.state === 'undone' ? { ...outcome, state: 'skipped', reason } : outcome,
    ),
  ]
}

/** What a run that was killed between removal and journal would have written; undefined when it was not our doing. */
async function removedBefore(options: ExecuteOptions, { object, to }: Removal): Promise<Trace | undefined> {
  const { store, signal } = options
  if (to !== undefined) {
    const copy = await store.head(to, { signal })
    return copy !== undefined && copy.size === object.size ? {} : undefined
  }
  const marker = await currentMarker(options, object.key)
  return marker === undefined ? undefined : { markerVersionId: marker }
}

/** The delete marker that hides an object now. */
async function currentMarker({ store, signal }: ExecuteOptions, key: string): Promise<string | undefined> {
  for await (const page of store.listVersions({ prefix: key, signal })) {
    for (const version of page) {
      if (version.key === key && version.isLatest)
        return version.isDeleteMarker ? version.versionId : undefined
    }
    if (page.some(version => version.key > key)) return undefined
  }
  return undefined
}

/** Brings removed objects back from where they were moved to. */
export function bringBackObjects(settler: Settler, items: readonly Removal[]): Promise<ItemOutcome[]> {
  const { journal, options } = settler
  const { store, signal } = options
  return settler.each(items, {
    begun: 'undoing',
    done: 'undone',
    look: async item => {
      const { object, to } = item
      const head = await store.head(object.key, { signal })
      if (head !== undefined) {
        // Never removed, or brought back already; only what is the same for certain may cost the copy its place.
        const copy = to === undefined ? undefined : await store.head(to, { signal })
        const same = head.etag === object.etag || (copy !== undefined && isSame(head, copy))
        if (head.size !== object.size || !same) throw new Skip('another object is in its place')
        return { back: true }
      }
      if (to !== undefined) {
        const copy = await store.head(to, { signal })
        if (copy === undefined || copy.size !== object.size)
          throw new Error(`it is not in quarantine any more: ${to}`)
        return {}
      }
      const marker = await currentMarker(options, object.key)
      const ours = (await journal.trace(item.seq)).markerVersionId ?? marker
      if (marker === undefined || marker !== ours) throw new Skip('the object was deleted by someone else')
      return { marker }
    },
    each: async (item, looked) => {
      const { object, to } = item
      if (to === undefined) {
        if (looked.marker === undefined) return {}
        const [outcome] = await store.delete([{ key: object.key, versionId: looked.marker }], signal)
        throwOutcome(outcome)
        return {}
      }
      if (!looked.back) await copyWhole(options, to, object.key, { ifNoneMatch: true })
      const copy = await store.head(to, { signal })
      if (copy !== undefined) throwOutcome((await store.delete([{ key: to, ifMatch: copy.etag }], signal))[0])
      return {}
    },
  })
}

/** Copies, and makes sure that the copy is whole before anything relies on it. */
async function copyWhole(
  { store, signal }: ExecuteOptions,
  from: string,
  to: string,
  conditions: { ifMatch?: string; ifNoneMatch?: boolean },
): Promise<void> {
  const source = await store.head(from, { signal })
  if (source === undefined) throw new Skip('the object is gone')
  await store.copy(from, to, { ...conditions, signal })
  const copy = await store.head(to, { signal })
  if (copy === undefined || copy.size !== source.size || compareHeads(source, copy) === false)
    throw new Error(`the copy at ${to} is not the same`)
}

/** Whether two objects hold the same bytes by a checksum the server has of both; undefined when it has none. */
function compareHeads(a: ObjectHead, b: ObjectHead): boolean | undefined {
  for (const name of ['sha256', 'crc64nvme', 'crc32'] as const) {
    const [left, right] = [a.checksums[name], b.checksums[name]]
    if (left !== undefined && right !== undefined) return left === right
  }
  return undefined
}

function isSame(a: ObjectHead, b: ObjectHead): boolean {
  return a.size === b.size && (compareHeads(a, b) ?? a.etag === b.etag)
}

function throwOutcome(outcome: DeleteOutcome | undefined): void {
  if (outcome?.error === undefined) return
  if (outcome.error.kind === 'precondition') throw new Skip('the object has changed since')
  throw outcome.error
}
