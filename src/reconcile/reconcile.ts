import { holdsAudio, isFileThere, requireDiskOf, WatchedFolder } from '../audio-files/mounted.ts'
import {
  LocalFileError,
  openRoot,
  relativePath,
  requireAudioRoot,
  statSource,
} from '../audio-files/source.ts'
import { type FoundFile, filePages, selectionOf } from '../audio-files/walk.ts'
import { plainFolder, portable } from '../core/audio-path.ts'
import { classifyWithoutKey } from '../core/reconcile/classify.ts'
import { DiskJoin, type OpenedFile } from '../core/reconcile/disk-join.ts'
import { type Comparison, type DifferenceClass, type FileFacts, isPlain } from '../core/reconcile/facts.ts'
import { mergeOrdered } from '../core/reconcile/merge.ts'
import { Resolver } from '../core/reconcile/resolve.ts'
import { refuseIfTripped, trippedBreakers } from '../core/safety.ts'
import { plural } from '../core/units.ts'
import { countRows, proofPages, rowFactPages } from '../db/row-facts.ts'
import { rowsMayBeHidden } from '../db/row-security.ts'
import { FileSpool } from '../external-sort/file-spool.ts'
import { ExternalSorter } from '../external-sort/sorter.ts'
import { keepHeapLevel } from '../heap.ts'
import { Comparator } from './comparator.ts'
import { encodeRow, keyedRows, keyOf, RangeKeys, withProofs } from './keyed-rows.ts'
import type { Library, ReconcileOptions } from './library.ts'
import { factsOf, isPartOfLibrary, listInRanges } from './listing.ts'
import { LocalFiles } from './local-files.ts'
import type { Tally } from './tally.ts'

/**
 * Compares rows, bucket and (with `disk`) files, and yields every line of the result in batches: what agrees, and
 * every difference with its class. Memory does not depend on the size of the library.
 *
 * Nothing is called different on the word of a listing alone: what it says is missing, orphaned or different is looked
 * at again, since rows and objects change while a long listing runs.
 *
 * @param tally counted up as the lines are yielded
 * @throws SafetyLimitError if bucket or audio folder look empty, or the rows have shrunk by half
 * @throws what a failed listing throws: it never counts as a shorter one
 */
export async function* reconcile(
  library: Library,
  options: ReconcileOptions,
  tally: Tally,
): AsyncGenerator<readonly Comparison[]> {
  const folder = new WatchedFolder(options.audioFolder.root)
  await refuseEmptySides(library, options)
  for await (const seen of observe(library, options, tally, folder)) {
    const comparisons = options.isSelected === undefined ? seen : seen.filter(options.isSelected)
    const { accept } = options
    const judged =
      accept === undefined ? comparisons : comparisons.map(comparison => accepting(comparison, accept))
    for (const comparison of judged) {
      const { sigil, differences } = comparison
      if (isPlain(comparison)) {
        tally.agree += 1
        continue
      }
      if (sigil === '!') tally.unread += 1
      if (differences.some(difference => difference.severity === 'drift')) tally.drift += 1
      const drift = new Set<DifferenceClass>()
      for (const { class: kind, severity } of differences) if (severity === 'drift') drift.add(kind)
      tally.differences += drift.size
      for (const kind of new Set(differences.map(difference => difference.class))) {
        tally.found[kind] += 1
        if (!drift.has(kind)) tally.notes[kind] += 1
      }
    }
    yield judged
  }
}

/** A finding in which accepted classes are no drift. */
function accepting(comparison: Comparison, accepted: ReadonlySet<DifferenceClass>): Comparison {
  if (!comparison.differences.some(one => accepted.has(one.class))) return comparison
  const differences = comparison.differences.map(one =>
    accepted.has(one.class) ? { ...one, severity: 'note' as const } : one,
  )
  return { ...comparison, differences }
}

/** The canaries, before anything is concluded: an empty side is far more often a mistake than a lost library. */
async function refuseEmptySides({ knex, store }: Library, options: ReconcileOptions): Promise<void> {
  if (options.force) return
  const { rows, withKey, onFile } = await countRows(knex)
  const { prefix, quarantinePrefix, signal } = options
  const audioRoot = options.audioFolder.root
  // An inventory that is empty is not an empty bucket.
  let objects = options.inventory?.objects ?? 0
  if (objects === 0) {
    for await (const page of store.list({ prefix, signal })) {
      objects = page.filter(entry => isPartOfLibrary(entry, quarantinePrefix)).length
      if (objects > 0) break
    }
  }
  const files = options.disk && onFile > 0 && (await holdsAudio({ knex }, options.audioFolder)) ? 1 : 0
  refuseIfTripped(
    trippedBreakers({
      limit: {},
      bucket: { rowsWithObject: withKey, objects },
      ...(options.disk ? { disk: { root: audioRoot, rowsWithFile: onFile, files } } : {}),
      rowsMayBeHidden: await rowsMayBeHidden(knex),
      rows: { now: rows, ...(options.rowsBefore === undefined ? {} : { before: options.rowsBefore }) },
    }),
  )
  // Nothing lives on files any longer: then a folder that is not there would pass for one that agrees.
  if (options.disk) await requireAudioRoot(audioRoot)
}

function fileFacts({ path, size, ctimeNs }: Pick<FoundFile, 'path' | 'size' | 'ctimeNs'>): FileFacts {
  return { path, size, changed: Number(ctimeNs) / 1e6 }
}

/** What autodj opens if a row leads to no file's own path. */
async function openedFile(
  { knex }: Library,
  relative: string,
  { audioFolder: { root }, force }: ReconcileOptions,
): Promise<OpenedFile> {
  const folder = plainFolder(root)
  try {
    const file = await statSource(relative, folder, await openRoot(root))
    return { there: true, file: fileFacts({ ...file, path: portable(file.relative) }) }
  } catch (error) {
    if (!(error instanceof LocalFileError)) throw error
    if (error.problem === 'empty') return { there: 'empty' }
    if (error.problem === 'missing') await requireDiskOf({ knex }, relative, folder, { force })
    return { there: ['unreadable', 'changed', 'refused'].includes(error.problem) ? undefined : false }
  }
}

/** Rows after which the young generation is large enough for pages to live and die in it. */
const rowsToGrowBy = 10_000

async function* observe(
  { knex, store }: Library,
  options: ReconcileOptions,
  tally: Tally,
  folder: WatchedFolder,
): AsyncGenerator<readonly Comparison[]> {
  const { audioFolder, signal, tempFolder } = options
  let sorters = 0
  const newSorter = (): ExternalSorter => {
    sorters += 1
    return new ExternalSorter(tempFolder, `${sorters}`)
  }
  const rowsByKey = newSorter()
  const rangeKeys = new RangeKeys()
  const { root } = audioFolder
  const disk = options.disk
    ? new DiskJoin(newSorter, await selectionOf(root), path => openedFile({ knex, store }, path, options))
    : undefined

  for await (const page of rowFactPages(knex, { signal })) {
    const comparisons: Comparison[] = []
    // Where a path leads is asked of the disk: only for rows of which that is wanted, and for a page at once.
    const asked = page.map(({ path, key }) =>
      path === null || (disk === undefined && key !== null) ? undefined : relativePath(path, audioFolder),
    )
    const paths = asked.every(one => one === undefined) ? [] : await Promise.all(asked)
    if (tally.rows < rowsToGrowBy && tally.rows + page.length >= rowsToGrowBy) keepHeapLevel()
    for (const [index, row] of page.entries()) {
      tally.rows += 1
      const path = paths[index]
      if (disk !== undefined && path !== undefined) await disk.row(row, path)
      if (row.key !== null) {
        tally.rowsWithKey += 1
        rangeKeys.add(row.key)
        const written = rowsByKey.add(row.key, encodeRow(row))
        if (written !== undefined) await written
      } else if (disk === undefined || path === undefined) {
        // Only if the row contradicts itself is its file worth a look without --disk.
        const look = row.source === 'S3' && row.path !== null
        const there = look ? await isFileThere({ knex }, row.path ?? '', audioFolder, options) : undefined
        comparisons.push(classifyWithoutKey(row, path === undefined ? 'outside' : there))
      }
    }
    if (comparisons.length > 0) yield comparisons
  }

  // An inventory that is empty is not an empty bucket.
  const inventory = options.inventory?.objects === 0 ? undefined : options.inventory
  if (inventory !== options.inventory) options.inventoryInsufficient?.('it lists no object of the library')
  const place = { bucket: store.bucket, prefix: options.prefix }
  const resolver = new Resolver(newSorter, new FileSpool(tempFolder, 'held'), tally.rowsWithKey, place)
  const judge = new Comparator({ knex, store }, options, tally, resolver, inventory)
  const rows = withProofs(keyedRows(rowsByKey), proofPages(knex, store.bucket, { signal }))
  const objects =
    inventory?.pages ??
    listInRanges(store, rangeKeys.boundaries(), {
      prefix: options.prefix,
      except: options.quarantinePrefix,
      width: Math.max(2, Math.ceil(options.concurrency / 8)),
      signal,
    })
  for await (const pairs of mergeOrdered(rows, objects, keyOf, keyOf)) {
    signal.throwIfAborted()
    yield* judge.take(pairs)
  }
  yield* judge.finish()
  if (inventory !== undefined && judge.missed > 0) {
    // An inventory of a part of the bucket, or of before a move, makes rows look lost whose object is there under
    // another name. What became of it only a listing tells.
    options.inventoryInsufficient?.(`${plural(judge.missed, 'row')} would look lost by it`)
    for await (const page of store.list({ prefix: options.prefix, signal })) {
      await judge.late(page.filter(entry => isPartOfLibrary(entry, options.quarantinePrefix)).map(factsOf))
    }
    yield* judge.finish()
  }
  yield* resolver.resolve()

  if (disk !== undefined) {
    for await (const page of filePages(audioFolder.root, { signal })) {
      tally.files += page.length
      for (const file of page) await disk.file(fileFacts(file))
    }
    await folder.assertThere()
    const local = new LocalFiles({ knex, store }, options)
    for await (const { comparisons, copies } of disk.resolve()) {
      const judged = await Promise.all(comparisons.map(comparison => local.compareStray(comparison)))
      judged.push(...(await local.compareCopies(copies)))
      if (judged.length > 0) yield judged
    }
  }
}
