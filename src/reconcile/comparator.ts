import { createHash } from 'node:crypto'
import pLimit from 'p-limit'
import { isFileThere } from '../audio-files/mounted.ts'
import { areOfOtherLibraries, ownersWithoutAudio, unownedOf } from '../audio-files/without-audio.ts'
import { isDeeper } from '../core/keys.ts'
import { keyBeforeRemoval } from '../core/prefixes.ts'
import {
  actualSha256,
  classifyMatched,
  compareSums,
  nextLook,
  sameContent,
} from '../core/reconcile/classify.ts'
import { foreign, removedComparison } from '../core/reconcile/explained.ts'
import type { Comparison, ObjectFacts, RowFacts } from '../core/reconcile/facts.ts'
import { type KeyPlace, keyReadings, otherBucket } from '../core/reconcile/names.ts'
import { nul } from '../core/reconcile/records.ts'
import type { Resolver } from '../core/reconcile/resolve.ts'
import { type ObjectRecord, objectsByKey, upsertObjects } from '../db/ledger.ts'
import { keysNamed, rowFactsById } from '../db/row-facts.ts'
import { isItemProblem } from '../storage/item-problem.ts'
import { versionsOfKey } from '../storage/versions.ts'
import type { KeyedRow } from './keyed-rows.ts'
import type { Library, ReconcileOptions } from './library.ts'
import { createObjectInspector, type LookedAt } from './object-inspector.ts'
import type { Tally } from './tally.ts'

/** Orphans that are checked against the table at once: it has no index by key, each check reads it all. */
const orphansAtOnce = 5_000

/** What was put so long before a run belongs in its listing, milliseconds: the store's clock may be another. */
const clocksApart = 600_000
/** The same of an inventory, in which S3 need not list what came shortly before. */
const inventoryBehind = 24 * 3_600_000

/** Judges what the merge brings, with as many dearer looks as that takes, bounded. */
export class Comparator {
  readonly #looks
  readonly #limit
  readonly #library: Library
  readonly #options: ReconcileOptions
  readonly #tally: Tally
  readonly #resolver: Resolver
  /** what objects are read from, if that is no listing of now */
  readonly #asOf: { takenAt: Date } | undefined
  #orphans: ObjectFacts[] = []
  /** rows whose object is nowhere that was looked */
  missed = 0
  /** keys that an inventory names and no row: not to be met twice */
  readonly #inInventory = new Set<string>()
  #missing: KeyedRow[] = []

  constructor(
    library: Library,
    options: ReconcileOptions,
    tally: Tally,
    resolver: Resolver,
    asOf?: { takenAt: Date },
  ) {
    this.#asOf = asOf
    this.#library = library
    this.#options = options
    this.#tally = tally
    this.#resolver = resolver
    this.#looks = createObjectInspector(library.store, options.signal)
    this.#limit = pLimit(options.concurrency)
  }

  async *take(
    pairs: readonly { left?: KeyedRow; right?: ObjectFacts; again?: true }[],
  ): AsyncGenerator<readonly Comparison[]> {
    const comparisons: Comparison[] = []
    const closer: { row: KeyedRow; object: ObjectFacts; again: boolean }[] = []
    for (const { left: row, right: object, again = false } of pairs) {
      if (object !== undefined && !again) {
        this.#tally.objects += 1
        this.#tally.bytes += object.size
      }
      if (row === undefined) {
        this.#orphans.push(object as ObjectFacts)
        if (this.#asOf !== undefined) this.#inInventory.add((object as ObjectFacts).key)
      } else if (object === undefined) this.#missing.push(row)
      else {
        const comparison = this.#byListing(row, object)
        if (comparison === undefined) closer.push({ row, object, again })
        else {
          comparisons.push(comparison)
          const known = row.proof?.etag === object.etag ? row.proof.sha256 : undefined
          // Most of the time there is nothing to wait for, and a promise for each object would be costly.
          const written = again ? undefined : this.#resolver.held(object, known)
          if (written !== undefined) await written
        }
      }
    }
    const looked = await Promise.all(
      closer.map(({ row, object, again }) => this.#limit(() => this.#lookCloser(row, object, again))),
    )
    for (const comparison of looked) if (comparison !== undefined) comparisons.push(comparison)
    await upsertObjects(this.#library.knex, this.#proved.splice(0))
    yield comparisons
    if (this.#orphans.length >= orphansAtOnce) yield* this.#settleOrphans()
    if (this.#missing.length >= orphansAtOnce) yield* this.#settleMissing()
  }

  /** Objects of a listing, after an inventory that did not have them. Those with rows have been looked at. */
  async late(objects: readonly ObjectFacts[]): Promise<void> {
    const fresh = objects.filter(({ key }) => !this.#inInventory.has(key))
    const named = await keysNamed(
      this.#library.knex,
      fresh.map(object => object.key),
    )
    this.#orphans.push(...fresh.filter(object => !named.has(object.key)))
  }

  async *finish(): AsyncGenerator<readonly Comparison[]> {
    yield* this.#settleOrphans()
    yield* this.#settleMissing()
  }

  /**
   * Objects that plans have moved to quarantine: those that rows miss, as long as rows are asked about, and those whose
   * track has come to have no other audio. Listed once, before the first rows that miss their objects are settled.
   */
  async *#removed(): AsyncGenerator<readonly Comparison[]> {
    const { knex, store } = this.#library
    const { audioFolder, prefix, quarantinePrefix, signal } = this.#options
    if (quarantinePrefix === '' || this.#quarantineSeen) return
    this.#quarantineSeen = true
    const place = { knex, store, audioFolder, keyPrefix: prefix, signal }
    let removed: NonNullable<Comparison['removed']>[] = []
    const settle = async (): Promise<Comparison[]> => {
      const some = removed
      removed = []
      const keys = some.map(({ object }) => object.key)
      const known = await objectsByKey(knex, store.bucket, keys)
      const owners = await ownersWithoutAudio(
        place,
        keys.map(key => unownedOf(undefined, known.get(key)?.sha256, key)),
      )
      return some.flatMap((one, at) => {
        const owner = owners[at]
        // Rows that name their object have their own line.
        return owner === undefined || owner.row.key !== null ? [] : [removedComparison(one, owner)]
      })
    }
    for await (const page of store.list({ prefix: quarantinePrefix, signal })) {
      for (const { key, size, etag, lastModified } of page) {
        const oldKey = keyBeforeRemoval(key)
        if (oldKey === undefined || key.includes(nul)) continue
        if (this.#missing.length > 0)
          await this.#resolver.quarantined(oldKey, { key, size, etag, lastModified: lastModified.getTime() })
        if (size > 0 && oldKey.startsWith(prefix))
          removed.push({ object: { key: oldKey, size, etag }, from: key })
      }
      if (removed.length >= orphansAtOnce) yield await settle()
    }
    yield await settle()
  }

  /** What the listing alone says; undefined if that is not enough. */
  #byListing(row: RowFacts, object: ObjectFacts): Comparison | undefined {
    const { head, deep } = this.#options
    if (head === 'all' || (deep > 0 && isSampled(object.key, deep))) return undefined
    if (head !== 'none' && nextLook(row, object) !== undefined) return undefined
    const comparison = classifyMatched(row, object, {})
    // What it makes different gets a second look; the source is the row's own affair.
    if (!comparison.differences.every(({ class: kind }) => kind === 'wrong-source')) return undefined
    const { takenAt } = this.#asOf ?? {}
    return takenAt === undefined ? comparison : { ...comparison, asOf: takenAt.getTime() }
  }

  async #lookCloser(row: KeyedRow, listed: ObjectFacts, again: boolean): Promise<Comparison | undefined> {
    try {
      const object = await this.#look(row, listed.key)
      if (object === undefined) {
        this.#missing.push(row)
        return undefined
      }
      if (!again) await this.#resolver.held(object, contentOf(row, object))
      const comparison = classifyMatched(row, object, { cacheControl: this.#options.cacheControl })
      const wrong = comparison.differences.some(({ class: kind }) => kind === 'checksum-differs')
      const there = wrong ? await this.#fileThere(row) : undefined
      if (comparison.sigil === '=') this.#note(row, object)
      return there === undefined ? comparison : { ...comparison, fileThere: there }
    } catch (error) {
      return unread(error, { row, object: listed })
    }
  }

  /** HEAD first, then whatever the core still asks for. Undefined: gone. */
  async #look(row: RowFacts, key: string): Promise<LookedAt | undefined> {
    this.#tally.heads += 1
    const object = await this.#looks.head(key)
    if (object === undefined) return undefined
    const hash = async (): Promise<void> => {
      this.#tally.hashed += 1
      object.contentSha256 = await this.#looks.hash(object)
    }
    if (this.#options.deep > 0 && isSampled(key, this.#options.deep)) await hash()
    for (let next = nextLook(row, object); next !== undefined; next = nextLook(row, object)) {
      if (next === 'type') object.sniffedType = (await this.#looks.type(object)) ?? ''
      else {
        await hash()
        // It is gone by now.
        if (object.contentSha256 === undefined) break
      }
    }
    return object
  }

  async *#settleMissing(): AsyncGenerator<readonly Comparison[]> {
    yield* this.#removed()
    const rows = this.#missing
    this.#missing = []
    const ids = rows.map(row => row.trackId)
    const current = await rowFactsById(this.#library.knex, this.#library.store.bucket, ids)
    const settled = await Promise.all(
      rows.map(before =>
        this.#limit(async (): Promise<Comparison | undefined> => {
          const row = current.get(before.trackId)
          if (row?.key !== before.key) {
            this.#tally.changed += 1
            return undefined
          }
          try {
            const object = await this.#look(row, before.key)
            if (object !== undefined && !(await this.#isMisspelt(object))) {
              // Outside the prefix listed, put there since, or an inventory of yesterday; else the listing is wrong.
              if (this.#isUnlisted(object)) {
                this.#tally.objects += 1
                this.#tally.bytes += object.size
                this.#tally.unlisted += 1
              }
              await this.#resolver.held(object, actualSha256(object))
              return classifyMatched(row, object, { cacheControl: this.#options.cacheControl })
            }
            this.missed += 1
            const missing = { ...row, key: before.key }
            await this.#resolver.missing(missing, await this.#fileThere(row), await this.#hidden(missing), {
              plain: await this.#plain(before.key),
              elsewhere: otherBucket(before.key, this.#place.bucket),
            })
            return undefined
          } catch (error) {
            return unread(error, { row })
          }
        }),
      ),
    )
    const comparisons = settled.filter(comparison => comparison !== undefined)
    yield comparisons
  }

  #isUnlisted({ key, lastModified }: ObjectFacts): boolean {
    const { takenAt } = this.#asOf ?? {}
    const latest = takenAt === undefined ? this.#startedAt - clocksApart : takenAt.getTime() - inventoryBehind
    return key.startsWith(this.#options.prefix) && lastModified < latest
  }

  async *#settleOrphans(): AsyncGenerator<readonly Comparison[]> {
    const isUnnamable = ({ key }: ObjectFacts): boolean => key.includes(nul)
    const objects = this.#orphans.filter(object => !isUnnamable(object))
    yield this.#orphans
      .filter(isUnnamable)
      .map(object =>
        foreign({ ...object, foreign: 'unnamable' }, 'its key has a NUL character, which no row can hold'),
      )
    this.#orphans = []
    const named = await keysNamed(
      this.#library.knex,
      objects.map(object => object.key),
    )
    const found: LookedAt[] = []
    const settled = await Promise.all(
      objects.map(listed =>
        this.#limit(async (): Promise<Comparison | undefined> => {
          try {
            this.#tally.heads += 1
            const object = named.has(listed.key) ? undefined : await this.#looks.head(listed.key)
            if (object === undefined) this.#tally.changed += 1
            else found.push(object)
            return undefined
          } catch (error) {
            return unread(error, { object: listed })
          }
        }),
      ),
    )
    await this.#markOwners(found)
    for (const object of found) await this.#resolver.orphan(object)
    const comparisons = settled.filter(comparison => comparison !== undefined)
    yield comparisons
  }

  /**
   * Of objects without a row: whose track has no audio, and which are none of ours. Ours is what has our mark, where
   * this library's keys are, or what the ledger knew: everything else below an empty prefix (a dump of a database, a web page) is somebody's.
   */
  async #markOwners(objects: readonly LookedAt[]): Promise<void> {
    const { knex, store } = this.#library
    const { audioFolder, prefix, signal } = this.#options
    const known = await objectsByKey(
      knex,
      store.bucket,
      objects.map(object => object.key),
    )
    const place = { knex, store, audioFolder, keyPrefix: prefix, signal }
    const unowned = objects.map(object => {
      const { trackId, library, declaredSha256 } = object.head
      const recorded = known.get(object.key)
      const ofLedger = recorded?.etag === object.etag ? (recorded.sha256 ?? undefined) : undefined
      return { key: object.key, trackId, library, sha256: actualSha256(object) ?? ofLedger ?? declaredSha256 }
    })
    const owners = await ownersWithoutAudio(place, unowned)
    const others = await areOfOtherLibraries(place, unowned, known)
    for (const [at, object] of objects.entries()) {
      const { trackId, declaredSha256 } = object.head
      // What is empty is nobody's audio.
      if (object.size > 0) object.lacking = owners[at]
      if (known.has(object.key)) continue
      if (trackId === undefined && declaredSha256 === undefined) object.foreign = 'unmarked'
      // Another library has a prefix of its own there, and its own tracks.
      else if (trackId !== undefined && isDeeper(object.key, prefix)) object.foreign = 'deeper'
      else if (others[at] === true) object.foreign = 'other-library'
    }
  }

  /** The version of an object that a delete marker hides, if it may be what the row had. */
  async #hidden(row: KeyedRow): Promise<Comparison['removed']> {
    const { store } = this.#library
    this.#versioned ??= store.versioning(this.#options.signal).then(
      state => state !== 'Off',
      // Without the right to ask nothing is known to be hidden.
      () => false,
    )
    if (!(await this.#versioned)) return undefined
    // Without the right to list versions nothing is known to be hidden.
    const versions = await versionsOfKey(store, row.key, this.#options.signal).catch(error => {
      if (!isItemProblem(error)) throw error
      return []
    })
    if (!versions[0]?.isDeleteMarker) return undefined
    const newest = versions.find(version => !version.isDeleteMarker)
    if (newest === undefined) return undefined
    const { key, size, etag, lastModified } = newest
    const object = { key, size, etag, lastModified: lastModified.getTime() }
    return sameContent(row, object) === 'different' ? undefined : { object: { key, size, etag } }
  }

  readonly #startedAt = Date.now()
  #quarantineSeen = false
  #versioned: Promise<boolean> | undefined

  /**
   * Whether an object answers to a key that is not a key: some stores take `/audio/…` for `audio/…`. Listings know the one
   * key only, and by the other its object would look abandoned.
   */
  async #isMisspelt({ key, etag, size }: ObjectFacts): Promise<boolean> {
    for (const reading of keyReadings(key, this.#place)) {
      const same = reading === key ? undefined : await this.#looks.head(reading)
      if (same !== undefined && same.etag === etag && same.size === size) return true
    }
    return false
  }

  /** The key that a row means, if its own is none: the first of its readings that is an object. */
  async #plain(key: string): Promise<string> {
    const readings = keyReadings(key, this.#place)
    for (const reading of readings)
      if (reading !== key && (await this.#looks.head(reading)) !== undefined) return reading
    return readings[0] as string
  }

  get #place(): KeyPlace {
    return { bucket: this.#library.store.bucket, prefix: this.#options.prefix }
  }

  async #fileThere(row: RowFacts): Promise<boolean | undefined> {
    if (row.path === null) return false
    return isFileThere(this.#library, row.path, this.#options.audioFolder, this.#options)
  }

  readonly #proved: ObjectRecord[] = []

  /**
   * What was proved just now, headers included, is remembered, so that the next run need not look again. An object
   * with the least difference is not: it would be vouched for from then on.
   */
  #note(row: RowFacts, object: LookedAt): void {
    if (compareSums(row, object)?.same !== true) return
    const { bucket } = this.#library.store
    const { size, etag, key, head, contentSha256, lastModified } = object
    const sha256 = contentSha256 ?? row.proof?.sha256 ?? head.sums.sha256
    this.#proved.push({
      bucket,
      key,
      size,
      etag,
      // The store's clock may be ahead of ours.
      verifiedAt: new Date(Math.max(lastModified, Date.now())),
      sha256,
      contentType: head.contentType,
    })
  }
}

function unread(error: unknown, { row, object }: { row?: RowFacts; object?: ObjectFacts }): Comparison {
  if (!isItemProblem(error)) throw error
  return {
    sigil: '!',
    name: object?.key ?? row?.key ?? '',
    differences: [],
    problem: error.message,
    row,
    object,
  }
}

/** SHA-256 of what an object holds that a row names: of its bytes, or what was proved, if it is that still. */
function contentOf(row: RowFacts, object: ObjectFacts): string | undefined {
  const proved = sameContent(row, object) === 'same' ? row.proof : undefined
  return actualSha256(object) ?? proved?.sha256
}

/** Whether a key belongs to the share that is hashed: the same keys in every run, spread evenly. */
function isSampled(key: string, share: number): boolean {
  return createHash('sha1').update(key).digest().readUInt32BE() < share * 2 ** 32
}
