/** `set-headers`: objects copied onto themselves with other headers, and back. */
import type { PlanItem } from '../core/plan.ts'
import type { ObjectHead } from '../storage/store.ts'
import { type ExecuteOptions, type ItemExecutor, type ItemOutcome, Skip } from './item-executor.ts'
import type { Trace } from './journal.ts'
import { sameSums } from './needs.ts'

type HeaderChange = PlanItem & { action: 'set-headers' }

export function setHeaders(executor: ItemExecutor, items: readonly HeaderChange[]): Promise<ItemOutcome[]> {
  const { journal, options } = executor
  return executor.each(items, {
    begun: 'begun',
    done: 'done',
    look: async item => {
      const head = await options.store.head(item.object.key, { signal: options.signal })
      if (head === undefined) throw new Skip('the object is gone')
      const { sums } = await journal.trace(item.seq)
      const ours = journal.isOpen(item.seq) && isContent(head, item, sums)
      if (ours && hasHeaders(head, item.becomes)) return { made: { etag: head.etag } }
      if (
        !(head.etag === item.object.etag || ours) ||
        head.size !== item.object.size ||
        !hasHeaders(head, item.was)
      )
        throw new Skip('the object has changed since')
      return { trace: { sums: head.checksums }, etag: head.etag }
    },
    each: ({ object: { key }, becomes }, { etag = '' }) => rewrite(options, key, etag, becomes),
  })
}

export function resetHeaders(executor: ItemExecutor, items: readonly HeaderChange[]): Promise<ItemOutcome[]> {
  const { journal, options } = executor
  const { store, signal } = options
  return executor.each(items, {
    begun: 'undoing',
    done: 'undone',
    look: async item => {
      const head = await store.head(item.object.key, { signal })
      if (head === undefined) throw new Skip('the object is gone')
      const { etag, sums } = await journal.trace(item.seq)
      // Cut off before the ETag was journalled, as a copy of an object in parts has another one.
      const known = head.etag === etag || head.etag === item.object.etag
      const ours = known || (journal.isOpen(item.seq) && isContent(head, item, sums))
      if (!ours || head.size !== item.object.size) throw new Skip('the object has changed since')
      if (hasHeaders(head, item.was)) return { made: {}, untouched: journal.state(item.seq) === 'begun' }
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

/** Whether an object holds what it held when the change was begun, as far as the store knows its content. */
function isContent(head: ObjectHead, { object }: HeaderChange, sums: Trace['sums']): boolean {
  return (
    head.size === object.size && (head.etag === object.etag || sameSums(head.checksums, sums ?? {}) !== false)
  )
}

function hasHeaders(
  head: ObjectHead,
  { contentType, cacheControl }: { contentType?: string; cacheControl?: string },
): boolean {
  return head.contentType === contentType && head.cacheControl === cacheControl
}
