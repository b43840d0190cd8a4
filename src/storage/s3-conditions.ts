/**
 * Writes and deletes on condition, on stores that keep the condition and on stores that do not. Which of them this one
 * is comes out at the first such request, without an object of its own and without a permission more: a put that went
 * through is sent once again and must be refused; a delete is first sent with a condition that cannot hold. Until it
 * is known, and on stores that keep no condition, a look comes right before the act.
 */
import { refusesHeader } from './lacks.ts'
import type { S3Connection } from './s3-connection.ts'
import { type RequestContext, storeErrorOf } from './s3-errors.ts'
import { type ObjectStore, StoreError } from './store.ts'

/** No object has this ETag: it is no MD5, and no multipart upload's. */
const impossibleETag = 'autodj-asks-whether-this-is-compared'

export interface Conditions {
  /**
   * Sends a write that must find nothing at the key.
   * @param send `condition`: with If-None-Match
   * @param repeatable the same write again changes nothing: it can be used to find out
   * @throws StoreError `exists`
   */
  createOnly<T>(
    where: RequestContext,
    send: (condition: boolean) => Promise<T>,
    repeatable: boolean,
  ): Promise<T>
  /**
   * Sends a delete that must find the object that was judged, or nothing.
   * @param send with If-Match, or without
   * @returns undefined if there is no object
   * @throws StoreError `precondition`
   */
  deleteOnly<T>(
    where: RequestContext,
    judged: { key: string; versionId?: string; ifMatch: string },
    send: (ifMatch: string | undefined) => Promise<T>,
  ): Promise<T | undefined>
}

export function conditionsOf({ lacks }: S3Connection, { head }: Pick<ObjectStore, 'head'>): Conditions {
  let asking = false

  async function createOnly<T>(
    where: RequestContext,
    send: (condition: boolean) => Promise<T>,
    repeatable: boolean,
  ): Promise<T> {
    if (lacks.putCondition === 'kept') return send(true)
    const { key = '', signal } = where
    if ((await head(key, { signal })) !== undefined) throw storeErrorOf({ status: 412 }, where)
    if (lacks.putCondition === 'refused') return send(false)
    let result: T
    try {
      result = await send(true)
    } catch (thrown) {
      if (isKind(thrown, 'exists')) lacks.putCondition = 'kept'
      if (!refusesHeader(thrown, ['if-none-match'])) throw thrown
      // A store may lack more than this header: only one that takes it without is said to lack that.
      result = await send(false)
      lacks.putCondition = 'refused'
      lacks.found('put-condition-refused')
      return result
    }
    if (!repeatable || asking || lacks.putCondition !== 'unknown') return result
    asking = true
    try {
      result = await send(true)
      lacks.putCondition = 'ignored'
      lacks.found('put-condition-ignored')
    } catch (thrown) {
      // Whatever else goes wrong has nothing to do with the object, which is stored: the next put asks.
      if (isKind(thrown, 'exists')) lacks.putCondition = 'kept'
    } finally {
      asking = false
    }
    return result
  }

  async function deleteOnly<T>(
    where: RequestContext,
    { key, versionId, ifMatch }: { key: string; versionId?: string; ifMatch: string },
    send: (ifMatch: string | undefined) => Promise<T>,
  ): Promise<T | undefined> {
    if (lacks.deleteCondition === 'kept') return send(ifMatch)
    const { signal } = where
    const found = await head(key, { versionId, signal })
    if (found === undefined) return undefined
    if (found.etag !== ifMatch) throw storeErrorOf({ status: 412 }, where)
    if (lacks.deleteCondition === 'refused') return send(undefined)
    if (lacks.deleteCondition === 'ignored') return send(ifMatch)
    try {
      const result = await send(impossibleETag)
      lacks.deleteCondition = 'ignored'
      lacks.found('delete-condition-ignored')
      return result
    } catch (thrown) {
      if (isKind(thrown, 'precondition')) {
        lacks.deleteCondition = 'kept'
        return send(ifMatch)
      }
      if (!refusesHeader(thrown, ['if-match'])) throw thrown
      const result = await send(undefined)
      lacks.deleteCondition = 'refused'
      lacks.found('delete-condition-refused')
      return result
    }
  }

  return { createOnly, deleteOnly }
}

function isKind(thrown: unknown, kind: StoreError['kind']): boolean {
  return thrown instanceof StoreError && thrown.kind === kind
}
