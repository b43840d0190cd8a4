import type { ObjectFacts } from '../core/reconcile/facts.ts'
import { inSequence } from '../core/reconcile/merge.ts'
import { compareUtf8 } from '../core/utf8-order.ts'
import type { ObjectEntry, ObjectStore } from '../storage/store.ts'

interface ListingOptions {
  prefix: string
  /** keys below it are not part of the library: the quarantine */
  except: string
  /** ranges listed at once */
  width: number
  signal?: AbortSignal
}

/** Pages of a listing that one range may be ahead of its reader. */
const pagesAhead = 2

/**
 * The bucket's objects in byte order, listed in many ranges at once. The ranges follow the rows: where the rows have
 * 4,000 keys the bucket most likely has as many objects, so each range is a handful of requests, whatever prefixes the
 * keys have. A range that holds more is simply longer, and everything outside the rows' keys is listed too.
 *
 * Complete, or it throws; a failed range ends the whole.
 *
 * @param boundaries keys in byte order; ranges end with them, inclusive
 */
export function listInRanges(
  store: ObjectStore,
  boundaries: Iterable<string>,
  options: ListingOptions,
): AsyncGenerator<ObjectFacts[]> {
  async function* ranges(): AsyncGenerator<() => AsyncIterable<ObjectFacts[]>> {
    let after: string | undefined
    for (const upTo of boundaries) {
      const from = after
      yield () => listRange(store, from, upTo, options)
      after = upTo
    }
    const from = after
    yield () => listRange(store, from, undefined, options)
  }
  return inSequence(ranges(), { width: options.width, depth: pagesAhead })
}

async function* listRange(
  store: ObjectStore,
  after: string | undefined,
  upTo: string | undefined,
  { prefix, except, signal }: ListingOptions,
): AsyncGenerator<ObjectFacts[]> {
  for await (const page of store.list({ prefix, startAfter: after, signal })) {
    let end = page.length
    const last = page.at(-1)
    const over = upTo !== undefined && last !== undefined && compareUtf8(last.key, upTo) > 0
    if (over) while (end > 0 && compareUtf8((page[end - 1] as ObjectEntry).key, upTo) > 0) end -= 1
    const facts: ObjectFacts[] = []
    for (let index = 0; index < end; index += 1) {
      const entry = page[index] as ObjectEntry
      if (isPartOfLibrary(entry, except)) facts.push(factsOf(entry))
    }
    yield facts
    if (over) return
  }
}

/** Not the quarantine, and not the empty `folder/` objects that consoles make. */
export function isPartOfLibrary(entry: { key: string; size: number }, except: string): boolean {
  return !(except !== '' && entry.key.startsWith(except)) && !(entry.size === 0 && entry.key.endsWith('/'))
}

export function factsOf({ key, size, etag, lastModified, storageClass }: ObjectEntry): ObjectFacts {
  const facts: ObjectFacts = { key, size, etag, lastModified: lastModified.getTime() }
  if (mayBeArchived(storageClass, facts.lastModified)) facts.mayBeArchived = true
  return facts
}

/** The first archive tier of Intelligent-Tiering takes what nobody read for so long, milliseconds. */
const tieringAfter = 90 * 86_400_000

/** Whether only a HEAD tells that an object can be read: a restored copy, and tiers, are not in listings. */
export function mayBeArchived(storageClass: string | undefined, lastModified: number): boolean {
  return (
    storageClass === 'GLACIER' ||
    storageClass === 'DEEP_ARCHIVE' ||
    (storageClass === 'INTELLIGENT_TIERING' && lastModified < Date.now() - tieringAfter)
  )
}
