import { createHash } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import type { Knex } from 'knex'
import pLimit from 'p-limit'
import {
  actualSha256,
  classifyMatched,
  classifyWithoutKey,
  compareSums,
  nextLook,
} from '../core/reconcile/classify.ts'
import { DiskJoin } from '../core/reconcile/disk-join.ts'
import type { DifferenceClass, Finding, ObjectFacts, Proof, RowFacts } from '../core/reconcile/facts.ts'
import { mergeOrdered } from '../core/reconcile/merge.ts'
import { Resolver } from '../core/reconcile/resolve.ts'
import { refuseIfTripped, trippedBreakers } from '../core/safety.ts'
import { type ObjectRecord, upsertObjects } from '../db/ledger.ts'
import { countRows, keysNamed, proofPages, rowFactPages, rowFactsById } from '../db/row-facts.ts'
import type { ObjectStore } from '../storage/store.ts'
import { isFileThere, relativePath, walk } from './disk.ts'
import { FileSpool } from './file-spool.ts'
import type { Inventory } from './inventory.ts'
import { isPartOfLibrary, listInRanges, tee } from './listing.ts'
import { createLooks, itemProblem } from './looks.ts'
import { ExternalSorter } from './sorter.ts'

export interface ReconcileOptions {
  /** only keys below it are listed; rows with other keys are looked up one by one */
  prefix: string
  /** keys below it are left out; empty: nothing is */
  quarantinePrefix: string
  /** absolute */
  audioRoot: string
  /** walk the audio root as well */
  disk: boolean
  /** share of the objects that are downloaded and hashed, 0 to 1 */
  deep: number
  /** `changed`: HEAD what the ledger does not vouch for; `none`: trust the listing; `all`: HEAD every object */
  head: 'changed' | 'none' | 'all'
  /** requests at once */
  concurrency: number
  /** what every object's Cache-Control should be; undefined: not judged */
  cacheControl?: string
  /** an inventory in place of a listing */
  inventory?: Inventory
  /** goes on where the bucket or the audio root looks empty, or the rows have shrunk */
  force: boolean
  /** rows the last finished run saw */
  rowsBefore?: number
  /** exists, and is this run's own */
  tempFolder: string
  signal?: AbortSignal
}

export interface Library {
  knex: Knex
  store: ObjectStore
}

/** What a run saw, counted while it goes. */
export interface Tally {
  rows: number
  rowsWithKey: number
  objects: number
  /** bytes of the objects seen */
  bytes: number
  files: number
  agree: number
  /** rows or objects that changed while the run looked: not judged */
  changed: number
  unread: number
  heads: number
  hashed: number
  found: Record<DifferenceClass, number>
  /** lines with at least one drift */
  drift: number
}

export function newTally(): Tally {
  const none = {
    rows: 0,
    rowsWithKey: 0,
    objects: 0,
    bytes: 0,
    files: 0,
    agree: 0,
    changed: 0,
    unread: 0,
    heads: 0,
  }
  return {
    ...none,
    hashed: 0,
    drift: 0,
    found: {
      'missing-object': 0,
      'orphan-object': 0,
      'size-differs': 0,
      'checksum-differs': 0,
      'metadata-differs': 0,
      'wrong-source': 0,
      'nfc-twin': 0,
      'case-twin': 0,
      moved: 0,
      'duplicate-content': 0,
      'no-audio': 0,
      'local-file-without-row': 0,
    },
  }
}

/**
 * Has V8 collect garbage before there is much of it: reconcile holds little and makes much, and left alone the heap
 * grows to three times what it holds. The young generation stays as large as it is by now, and the old one is collected
 * when it has doubled. Measured by `npm run bench:reconcile`.
 */
function keepHeapTight(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
  setFlagsFromString('--heap-growing-percent=100')
}

/** Orphans that are checked against the table at once: it has no index by key, each check reads it all. */
const ORPHANS_AT_ONCE = 5_000

/**
 * Compares rows, bucket and (with `disk`) files, and yields every line of the result in batches: what agrees, and
 * every difference with its class. Memory does not depend on the size of the library.
 *
 * Nothing is called different on the word of a listing alone: what it says is missing, orphaned or different is looked
 * at again, since rows and objects change while a long listing runs.
 *
 * @param tally counted up as the lines are yielded
 * @throws SafetyLimitError where bucket or audio root look empty, or the rows have shrunk by half
 * @throws what a failed listing throws: it never counts as a shorter one
 */
export async function* reconcile(
  library: Library,
  options: ReconcileOptions,
  tally: Tally,
): AsyncGenerator<readonly Finding[]> {
  keepHeapTight()
  await refuseEmptySides(library, options)
  for await (const findings of observe(library, options, tally)) {
    for (const { sigil, differences } of findings) {
      if (sigil === '=' && differences.length === 0) tally.agree += 1
      if (sigil === '!') tally.unread += 1
      if (differences.some(difference => difference.severity === 'drift')) tally.drift += 1
      for (const kind of new Set(differences.map(difference => difference.class))) tally.found[kind] += 1
    }
    yield findings
  }
}

/** The canaries, before anything is concluded: an empty side is far more often a mistake than a lost library. */
async function refuseEmptySides({ knex, store }: Library, options: ReconcileOptions): Promise<void> {
  if (options.force) return
  const { rows, withKey, onFile } = await countRows(knex)
  const { prefix, quarantinePrefix, signal, audioRoot } = options
  let objects = options.inventory?.objects ?? 0
  if (options.inventory === undefined) {
    for await (const page of store.list({ prefix, signal })) {
      objects = page.filter(entry => isPartOfLibrary(entry, quarantinePrefix)).length
      if (objects > 0) break
    }
  }
  let files = 0
  if (options.disk && onFile > 0) {
    for await (const page of walk(audioRoot, signal)) {
      files = page.length
      break
    }
  }
  refuseIfTripped(
    trippedBreakers({
      limit: {},
      bucket: { rowsWithObject: withKey, objects },
      ...(options.disk ? { disk: { root: audioRoot, rowsWithFile: onFile, files } } : {}),
      rows: { now: rows, ...(options.rowsBefore === undefined ? {} : { before: options.rowsBefore }) },
    }),
  )
}

async function* observe(
  { knex, store }: Library,
  options: ReconcileOptions,
  tally: Tally,
): AsyncGenerator<readonly Finding[]> {
  const { audioRoot, signal, tempFolder } = options
  let sorters = 0
  const newSorter = (): ExternalSorter => {
    sorters += 1
    return new ExternalSorter(tempFolder, `${sorters}`)
  }
  const rowsByKey = newSorter()
  const disk = options.disk ? new DiskJoin(newSorter) : undefined

  for await (const page of rowFactPages(knex, { signal })) {
    const findings: Finding[] = []
    for (const row of page) {
      tally.rows += 1
      const path = row.path === null ? undefined : relativePath(row.path, audioRoot)
      if (disk !== undefined && path !== undefined) await disk.row(row, path, row.key === null)
      if (row.key !== null) {
        tally.rowsWithKey += 1
        await rowsByKey.add(row.key, encodeRow(row))
      } else if (disk === undefined || path === undefined) {
        // Only where the row contradicts itself is its file worth a look without --disk.
        const look = row.source === 'S3' && row.path !== null
        const there = look ? await isFileThere(row.path ?? '', audioRoot) : undefined
        findings.push(classifyWithoutKey(row, row.path !== null && path === undefined ? false : there))
      }
    }
    if (findings.length > 0) yield findings
  }

  const resolver = new Resolver(newSorter, new FileSpool(tempFolder, 'held'), tally.rowsWithKey)
  const judge = new Judge({ knex, store }, options, tally, resolver)
  const [rows, ahead] = tee(withProofs(rowPages(rowsByKey), proofPages(knex, store.bucket, { signal })))
  const objects =
    options.inventory?.pages ??
    listInRanges(store, boundaries(ahead), {
      prefix: options.prefix,
      except: options.quarantinePrefix,
      width: Math.max(2, Math.ceil(options.concurrency / 8)),
      signal,
    })
  for await (const pairs of mergeOrdered(rows, objects, keyOf, keyOf)) {
    signal?.throwIfAborted()
    yield* judge.take(pairs)
  }
  yield* judge.finish()
  yield* resolver.resolve()

  if (disk !== undefined) {
    for await (const page of walk(audioRoot, signal)) {
      tally.files += page.length
      for (const file of page) await disk.file(file)
    }
    yield* disk.resolve()
  }
}

type KeyedRow = RowFacts & { key: string }

/** Judges what the merge brings, with as many dearer looks as that takes, bounded. */
class Judge {
  private readonly looks
  private readonly limit
  private readonly library: Library
  private readonly options: ReconcileOptions
  private readonly tally: Tally
  private readonly resolver: Resolver
  private orphans: ObjectFacts[] = []
  private missing: KeyedRow[] = []

  constructor(library: Library, options: ReconcileOptions, tally: Tally, resolver: Resolver) {
    this.library = library
    this.options = options
    this.tally = tally
    this.resolver = resolver
    this.looks = createLooks(library.store, options.signal)
    this.limit = pLimit(options.concurrency)
  }

  async *take(
    pairs: readonly { left?: KeyedRow; right?: ObjectFacts; again?: true }[],
  ): AsyncGenerator<readonly Finding[]> {
    const findings: Finding[] = []
    const closer: { row: KeyedRow; object: ObjectFacts; again: boolean }[] = []
    for (const { left: row, right: object, again = false } of pairs) {
      if (object !== undefined && !again) {
        this.tally.objects += 1
        this.tally.bytes += object.size
      }
      if (row === undefined) this.orphans.push(object as ObjectFacts)
      else if (object === undefined) this.missing.push(row)
      else if (this.needsLook(row, object)) closer.push({ row, object, again })
      else {
        findings.push(classifyMatched(row, object, {}))
        if (!again)
          await this.resolver.held(object, row.proof?.etag === object.etag ? row.proof.sha256 : undefined)
      }
    }
    const looked = await Promise.all(
      closer.map(({ row, object, again }) => this.limit(() => this.lookCloser(row, object, again))),
    )
    for (const finding of looked) if (finding !== undefined) findings.push(finding)
    await this.remember()
    if (findings.length > 0) yield findings
    if (this.orphans.length >= ORPHANS_AT_ONCE) yield* this.settleOrphans()
    if (this.missing.length >= ORPHANS_AT_ONCE) yield* this.settleMissing()
  }

  async *finish(): AsyncGenerator<readonly Finding[]> {
    yield* this.settleOrphans()
    yield* this.settleMissing()
  }

  private needsLook(row: RowFacts, object: ObjectFacts): boolean {
    const { head, deep } = this.options
    if (head === 'all' || (deep > 0 && isSampled(object.key, deep))) return true
    if (head !== 'none' && nextLook(row, object) !== undefined) return true
    // What the listing alone makes different gets a second look; the source is the row's own affair.
    return classifyMatched(row, object, {}).differences.some(({ class: kind }) => kind !== 'wrong-source')
  }

  private async lookCloser(row: KeyedRow, listed: ObjectFacts, again: boolean): Promise<Finding | undefined> {
    try {
      const object = await this.look(row, listed.key)
      if (object === undefined) {
        this.missing.push(row)
        return undefined
      }
      if (!again) await this.resolver.held(object, actualSha256(object) ?? row.proof?.sha256)
      const finding = classifyMatched(row, object, { cacheControl: this.options.cacheControl })
      const wrong = finding.differences.some(({ class: kind }) => kind === 'checksum-differs')
      const there = wrong ? await this.fileThere(row) : undefined
      if (finding.sigil === '=') this.note(row, object)
      return there === undefined ? finding : { ...finding, fileThere: there }
    } catch (error) {
      return unread(error, { row, object: listed })
    }
  }

  /** HEAD first, then whatever the core still asks for. Undefined: gone. */
  private async look(row: RowFacts, key: string): Promise<ObjectFacts | undefined> {
    this.tally.heads += 1
    const object = await this.looks.head(key)
    if (object === undefined) return undefined
    const hash = async (): Promise<void> => {
      this.tally.hashed += 1
      const sha256 = await this.looks.hash(object)
      if (sha256 !== undefined) object.contentSha256 = sha256
    }
    if (this.options.deep > 0 && isSampled(key, this.options.deep)) await hash()
    for (let next = nextLook(row, object); next !== undefined; next = nextLook(row, object)) {
      if (next === 'content') await hash()
      else if (next === 'type') object.sniffedType = (await this.looks.type(object)) ?? ''
      if (next === 'head' || (next === 'content' && object.contentSha256 === undefined)) break
    }
    return object
  }

  private async *settleMissing(): AsyncGenerator<readonly Finding[]> {
    const rows = this.missing
    if (rows.length === 0) return
    this.missing = []
    const ids = rows.map(row => row.trackId)
    const current = await rowFactsById(this.library.knex, this.library.store.bucket, ids)
    const settled = await Promise.all(
      rows.map(before =>
        this.limit(async (): Promise<Finding | undefined> => {
          const row = current.get(before.trackId)
          if (row?.key !== before.key) {
            this.tally.changed += 1
            return undefined
          }
          try {
            const object = await this.look(row, before.key)
            if (object !== undefined) {
              // Outside the prefix listed, put there since, or an inventory of yesterday.
              await this.resolver.held(object, actualSha256(object))
              return classifyMatched(row, object, { cacheControl: this.options.cacheControl })
            }
            await this.resolver.missing({ ...row, key: before.key }, await this.fileThere(row))
            return undefined
          } catch (error) {
            return unread(error, { row })
          }
        }),
      ),
    )
    const findings = settled.filter(finding => finding !== undefined)
    if (findings.length > 0) yield findings
  }

  private async *settleOrphans(): AsyncGenerator<readonly Finding[]> {
    const objects = this.orphans
    if (objects.length === 0) return
    this.orphans = []
    const named = await keysNamed(
      this.library.knex,
      objects.map(object => object.key),
    )
    const settled = await Promise.all(
      objects.map(listed =>
        this.limit(async (): Promise<Finding | undefined> => {
          try {
            this.tally.heads += 1
            const object = named.has(listed.key) ? undefined : await this.looks.head(listed.key)
            if (object === undefined) this.tally.changed += 1
            else await this.resolver.orphan(object)
            return undefined
          } catch (error) {
            return unread(error, { object: listed })
          }
        }),
      ),
    )
    const findings = settled.filter(finding => finding !== undefined)
    if (findings.length > 0) yield findings
  }

  private async fileThere(row: RowFacts): Promise<boolean | undefined> {
    return row.path === null ? false : isFileThere(row.path, this.options.audioRoot)
  }

  private proved: ObjectRecord[] = []

  /**
   * What was proved just now, headers included, is remembered, so that the next run need not look again. An object
   * with the least difference is not: it would be vouched for from then on.
   */
  private note(row: RowFacts, object: ObjectFacts): void {
    if (compareSums(row, object)?.same !== true) return
    const { bucket } = this.library.store
    const { size, etag, key, head, contentSha256, lastModified } = object
    const sha256 = contentSha256 ?? row.proof?.sha256 ?? head?.sums?.sha256
    this.proved.push({
      bucket,
      key,
      size,
      etag,
      // The store's clock may be ahead of ours.
      verifiedAt: new Date(Math.max(lastModified, Date.now())),
      ...(sha256 === undefined ? {} : { sha256 }),
      ...(head?.contentType === undefined ? {} : { contentType: head.contentType }),
    })
  }

  private async remember(): Promise<void> {
    if (this.proved.length === 0) return
    const records = this.proved
    this.proved = []
    await upsertObjects(this.library.knex, records)
  }
}

function unread(error: unknown, { row, object }: { row?: RowFacts; object?: ObjectFacts }): Finding {
  const problem = itemProblem(error)
  if (problem === undefined) throw error
  return {
    sigil: '!',
    name: object?.key ?? row?.key ?? '',
    differences: [],
    problem,
    ...(row === undefined ? {} : { row }),
    ...(object === undefined ? {} : { object }),
  }
}

/** Whether a key belongs to the share that is hashed: the same keys in every run, spread evenly. */
export function isSampled(key: string, share: number): boolean {
  return share >= 1 || createHash('sha1').update(key).digest().readUInt32BE() < share * 2 ** 32
}

/** Keys of rows to a range of the listing: so many that few requests reach beyond their range. */
const KEYS_TO_A_RANGE = 4_000

/** Where one range of the listing ends and the next begins: the last keys of pages, but not of the last one. */
async function* boundaries(pages: AsyncIterable<readonly KeyedRow[]>): AsyncGenerator<string> {
  let last: string | undefined
  let keys = 0
  for await (const page of pages) {
    if (last !== undefined && keys >= KEYS_TO_A_RANGE) {
      yield last
      keys = 0
    }
    last = page.at(-1)?.key
    keys += page.length
  }
}

async function* rowPages(sorter: ExternalSorter): AsyncGenerator<KeyedRow[]> {
  for await (const batch of sorter.sorted()) yield batch.map(([key, value]) => decodeRow(key, value))
}

/** Rows and what the ledger has proved under their keys: both are in byte order, so that one pass joins them. */
async function* withProofs(
  rows: AsyncIterable<readonly KeyedRow[]>,
  proofs: AsyncIterable<readonly { key: string; proof: Proof | undefined }[]>,
): AsyncGenerator<KeyedRow[]> {
  for await (const pairs of mergeOrdered(rows, proofs, keyOf, keyOf)) {
    const page: KeyedRow[] = []
    for (const { left: row, right } of pairs) {
      if (row === undefined) continue
      if (right?.proof !== undefined) row.proof = right.proof
      page.push(row)
    }
    if (page.length > 0) yield page
  }
}

const keyOf = (entry: { key: string }): string => entry.key

/** A row as it waits on disk: an array, since names of members would be half of it. */
function encodeRow({ trackId, source, size, path }: RowFacts): string {
  return JSON.stringify([trackId, source, size, path])
}

function decodeRow(key: string, value: string): KeyedRow {
  const [trackId, source, size, path] = JSON.parse(value)
  return { trackId, key, source, size, path }
}
