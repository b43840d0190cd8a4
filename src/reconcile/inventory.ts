/**
 * S3 Inventory in place of a listing: for buckets where listing takes hours. Files of an inventory are in no promised
 * order, so its entries are sorted. An inventory is hours old; whatever it makes different is looked at again.
 */
import type { ObjectFacts } from '../core/reconcile/facts.ts'
import { FatalError } from '../errors.ts'
import type { ExternalSorter } from '../external-sort/sorter.ts'
import { openInventory } from '../storage/inventory.ts'
import type { ObjectStore } from '../storage/store.ts'
import { isPartOfLibrary, mayBeArchived } from './listing.ts'

export interface Inventory {
  /** entries that belong to the library */
  objects: number
  /** when S3 began to take it */
  takenAt: Date
  /** in byte order of the keys */
  pages: AsyncIterable<ObjectFacts[]>
}

/**
 * Reads an inventory into `sorter`, which must sort by UTF-8 bytes.
 *
 * @param store the bucket that holds the inventory
 * @throws UsageError for another bucket's inventory, or one without the columns needed
 * @throws FatalError for one that is incomplete or damaged: it never counts as a shorter one
 */
export async function readInventory(
  store: ObjectStore,
  key: string,
  library: { bucket: string; prefix: string; except: string },
  { sorter, tempFolder }: { sorter: ExternalSorter; tempFolder: string },
  signal?: AbortSignal,
): Promise<Inventory> {
  const { takenAt, pages } = await openInventory(
    store,
    key,
    { sourceBucket: library.bucket, tempFolder },
    signal,
  )
  let objects = 0
  for await (const page of pages) {
    for (const entry of page) {
      if (!entry.key.startsWith(library.prefix) || !isPartOfLibrary(entry, library.except)) continue
      objects += 1
      const archived = mayBeArchived(entry.storageClass, entry.lastModified) ? 'a' : ''
      await sorter.add(entry.key, `${entry.size} ${entry.lastModified} ${entry.etag} ${archived}`)
    }
  }
  return { objects, takenAt, pages: sortedPages(sorter) }
}

async function* sortedPages(sorter: ExternalSorter): AsyncGenerator<ObjectFacts[]> {
  let before: string | undefined
  for await (const batch of sorter.sorted()) {
    yield batch.map(([key, value]) => {
      if (key === before)
        throw new FatalError(`the inventory lists ${JSON.stringify(key)} twice`, {
          code: 'inventory.damaged',
        })
      before = key
      const [size, lastModified, etag = '', archived] = value.split(' ')
      const facts: ObjectFacts = { key, size: Number(size), etag, lastModified: Number(lastModified) }
      return archived === 'a' ? { ...facts, mayBeArchived: true as const } : facts
    })
  }
}
