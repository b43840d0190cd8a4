/** `set-headers`: objects copied onto themselves with other headers, and back. */
import type { PlanItem } from '../core/plan.ts'
import type { ObjectHead } from '../storage/store.ts'
import type { Trace } from './journal.ts'
import { type ExecuteOptions, type ItemOutcome, type Settler, Skip } from './settle.ts'

export type HeaderChange = PlanItem & { action: 'set-headers' }

export function setHeaders(settler: Settler, items: readonly HeaderChange[]): Promise<ItemOutcome[]> {
  const { journal, options } = settler
  return settler.each(items, {
    begun: 'begun',
    done: 'done',
    look: async item => {
      const head = await options.store.head(item.object.key, { signal: options.signal })
      if (head === undefined) throw new Skip('the object is gone')
      if (
        journal.state(item.seq) === 'begun' &&
        head.size === item.object.size &&
        hasHeaders(head, item.becomes)
      ) {
        return { made: { etag: head.etag } }
      }
      if (head.etag !== item.object.etag || head.size !== item.object.size || !hasHeaders(head, item.was)) {
        throw new Skip('the object has changed since')
      }
      return {}
    },
    each: ({ object: { key, etag }, becomes }) => rewrite(options, key, etag, becomes),
  })
}

export function resetHeaders(settler: Settler, items: readonly HeaderChange[]): Promise<ItemOutcome[]> {
  const { journal, options } = settler
  const { store, signal } = options
  return settler.each(items, {
    begun: 'undoing',
    done: 'undone',
    look: async item => {
      const head = await store.head(item.object.key, { signal })
      if (head === undefined) throw new Skip('the object is gone')
      const { etag } = await journal.trace(item.seq)
      // Cut off before the ETag was journalled, as a copy of an object in parts has another one.
      const unknown =
        etag === undefined && journal.state(item.seq) !== 'done' && hasHeaders(head, item.becomes)
      const ours = head.etag === etag || head.etag === item.object.etag || unknown
      if (!ours || head.size !== item.object.size) throw new Skip('the object has changed since')
      if (hasHeaders(head, item.was)) return { made: {} }
      if (!hasHeaders(head, item.becomes)) throw new Skip('the headers have changed since')
      return { etag: head.etag }
    },
    each: ({ object, was }, { etag = '' }) => rewrite(options, object.key, etag, was),
  })
}

/** @returns the new ETag: a copy of an object that came in parts has another one */
async function rewrite(
  { store, signal }: ExecuteOptions,
  key: string,
  ifMatch: string,
  headers: { contentType?: string; cacheControl?: string },
): Promise<Trace> {
  return { etag: (await store.rewriteHeaders(key, { ifMatch, ...headers, signal })).etag }
}

function hasHeaders(
  head: ObjectHead,
  { contentType, cacheControl }: { contentType?: string; cacheControl?: string },
): boolean {
  return head.contentType === contentType && head.cacheControl === cacheControl
}
