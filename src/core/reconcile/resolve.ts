import { actualSha256, sameContent } from './classify.ts'
import { CountingBloomFilter, fingerprint, foldedFingerprint } from './counting-bloom-filter.ts'
import {
  missingComparison,
  movedComparison,
  noteOn,
  orphanComparison,
  twinComparison,
  twinOf,
  type Unmatched,
} from './explained.ts'
import type { Comparison, Difference, ObjectFacts, RowFacts } from './facts.ts'
import { foldCase, type KeyPlace, plainKey, twinKind } from './names.ts'
import { grouped, type Member, memberOf, nul, type Sorter, type Spool } from './records.ts'

// Rank of a member within its group: objects with a row, objects without, rows without object, objects in quarantine.
const heldRank = 'a'
const orphanRank = 'b'
const missingRank = 'c'
const removedRank = 'd'

// Rank of what is known of one entity: itself, that a row claims it, what answers it.
const baseRank = 'a'
const claimedRank = 'b'
const answerRank = 'c'

/** The tag of what an object has no content by. */
const none = 0

/** An entity is settled by its base, one claim and one answer; more of the same need not be kept. */
const recordsOfEntity = 16

/**
 * Explains what the ordered merge could not pair: twins by name, then moved and duplicate content, and what is left
 * is missing or orphaned. Three sorts instead of tables in memory, so that ten million unmatched entries cost disk,
 * not heap: by folded name, by content, and by entity to bring the answers together.
 *
 * Nearly every object has a row, a name and a content of its own, and nothing to explain. Such objects are only written
 * down, and a counting Bloom filter holds fingerprints of what they are joined by; those that may share one are sorted then.
 *
 * A missing row's twin wins over moved content (same name says more than same bytes), unless the contents are known
 * to differ. An object that is a row's answer is not an orphan. Content ids are the SHA-256 the server computed or
 * the ledger proved, and ETag with size; an ETag is equal for equal bytes except under SSE-KMS, where it never is.
 */
export class Resolver {
  readonly #heldObjects: Spool
  readonly #filter: CountingBloomFilter
  readonly #byName: Sorter
  readonly #byContent: Sorter
  readonly #byEntity: Sorter
  readonly #place: KeyPlace | undefined

  /** @param expected how many objects have rows, about: more take more time, and are explained as well */
  constructor(newSorter: () => Sorter, heldObjects: Spool, expected: number, place?: KeyPlace) {
    this.#place = place
    this.#heldObjects = heldObjects
    this.#filter = new CountingBloomFilter(3 * expected)
    this.#byName = newSorter()
    this.#byContent = newSorter()
    this.#byEntity = newSorter()
  }

  /** An object that at least one row names; once per object. */
  held(object: ObjectFacts, sha256: string | undefined): Promise<void> | undefined {
    const name = this.#count(foldedFingerprint(object.key))
    // Nothing is the same as nothing else: empty objects are a fault of their own.
    const byEtag = object.size === 0 ? none : this.#count(etagPrint(object))
    const bySha256 = object.size === 0 || sha256 === undefined ? none : this.#count(sha256Print(sha256))
    return this.#heldObjects.add([name, byEtag, bySha256], object.key, pack(object, sha256))
  }

  async orphan(object: ObjectFacts): Promise<void> {
    const name = foldCase(object.key)
    this.#count(fingerprint(name))
    await this.#byName.add(name + nul + orphanRank + object.key, JSON.stringify(object))
  }

  /**
   * A row whose key has no object.
   *
   * @param key `plain`: as the bucket has it, as far as one sees; `elsewhere`: the bucket that it names, if that is
   *   another one
   */
  async missing(
    row: RowFacts & { key: string },
    fileThere: boolean | undefined,
    removed?: Unmatched['removed'],
    { plain = this.#plain(row.key), elsewhere }: { plain?: string; elsewhere?: string | undefined } = {},
  ): Promise<void> {
    const name = foldCase(plain)
    this.#count(fingerprint(name))
    await this.#byName.add(
      name + nul + missingRank + row.trackId,
      JSON.stringify({ row, fileThere, removed, elsewhere, plain } satisfies Missing),
    )
  }

  /** An object in quarantine, and the key that it had. */
  async quarantined(oldKey: string, object: ObjectFacts): Promise<void> {
    await this.#byName.add(
      foldCase(oldKey) + nul + removedRank + oldKey + nul + object.key,
      pack(object, undefined),
    )
  }

  #plain(key: string): string {
    return this.#place === undefined ? key : plainKey(key, this.#place)
  }

  /** Findings of all that was given, once, in no particular order. */
  async *resolve(): AsyncGenerator<Comparison[]> {
    try {
      yield* this.#resolveNames()
      await this.#resolveContents()
      yield* this.#resolveEntities()
    } finally {
      await this.#heldObjects.close()
    }
  }

  async *#resolveNames(): AsyncGenerator<Comparison[]> {
    for await (const batch of this.#heldObjects.replay(name => this.#filter.mayRepeat(name))) {
      for (const [key, packed] of batch) await this.#byName.add(foldCase(key) + nul + heldRank + key, packed)
    }
    for await (const groups of grouped(this.#byName)) {
      const comparisons: Comparison[] = []
      for (const { members } of groups) {
        const objects: { rank: string; object: ObjectFacts; claimed?: boolean }[] = []
        const rows: Missing[] = []
        const removed = new Map<string, ObjectFacts[]>()
        for (const { rank, name, value } of members) {
          if (rank === removedRank) {
            const [oldKey = '', key = ''] = name.split(nul)
            removed.set(oldKey, [...(removed.get(oldKey) ?? []), unpack(key, value)])
          } else if (rank === missingRank) rows.push(JSON.parse(value) as Missing)
          else if (rank === orphanRank) objects.push({ rank, object: JSON.parse(value) as ObjectFacts })
          else objects.push({ rank, object: unpack(name, value) })
        }
        for (const unmatched of rows) {
          const { plain } = unmatched
          const twin = bestTwin(unmatched.row, plain, objects)
          if (twin === undefined) {
            await this.#addMissing({ ...unmatched, ...removedOf(unmatched, removed.get(plain)) })
          } else {
            twin.claimed = true
            comparisons.push(twinComparison(unmatched, twin.object, plain))
          }
        }
        for (const [index, { rank, object, claimed }] of objects.entries()) {
          const first = index === 0 ? undefined : objects[0]?.object
          const kind = first === undefined ? undefined : twinKind(first.key, object.key)
          const twin: Difference | undefined =
            kind === undefined || first === undefined
              ? undefined
              : twinOf(object, first, kind, rank === heldRank ? 'note' : 'drift')
          if (rank === heldRank) {
            if (twin !== undefined) comparisons.push(noteOn(object, twin))
          } else if (claimed) {
            await this.#addContent(heldRank, object, objectSha256(object))
          } else {
            await this.#addContent(orphanRank, object, objectSha256(object))
            await this.#byEntity.add(entity('o', object.key, baseRank), JSON.stringify({ object, twin }))
          }
        }
      }
      if (comparisons.length > 0) yield comparisons
    }
  }

  /**
   * Orphans and missing rows are in the sort already, and counted, so that the objects they share a content with pass.
   * Within a group members come ranked and sorted, so the first of each rank is all that has to be kept.
   */
  async #resolveContents(): Promise<void> {
    const mayRepeat = (tag: number): boolean => tag !== none && this.#filter.mayRepeat(tag)
    const shared = this.#heldObjects.replay((_, etag, sha256) => mayRepeat(etag) || mayRepeat(sha256))
    for await (const batch of shared) {
      for (const [key, packed] of batch) {
        const object = unpack(key, packed)
        await this.#sortContent(heldRank, object, object.contentSha256)
      }
    }
    let group = ''
    let first: Member | undefined
    let firstOrphan: Member | undefined
    for await (const batch of this.#byContent.sorted()) {
      for (const [key, value] of batch) {
        const member = memberOf(key, value)
        if (member.group !== group) {
          group = member.group
          first = undefined
          firstOrphan = undefined
        }
        if (member.rank === missingRank) {
          const target = firstOrphan ?? first
          if (target === undefined) continue
          // An orphan before an object that has rows already, SHA-256 before ETag.
          const rank =
            answerRank + (target.rank === orphanRank ? '1' : '2') + (group.startsWith('s') ? '1' : '2')
          await this.#byEntity.add(entity('r', member.name, rank), `${target.name}${nul}${target.value}`)
          if (target.rank === orphanRank) await this.#byEntity.add(entity('o', target.name, claimedRank), '')
        } else if (first === undefined) {
          first = member
          if (member.rank === orphanRank) firstOrphan = member
        } else {
          if (member.rank === orphanRank) firstOrphan ??= member
          // Two SHA-256 that are known are compared in a group of their own, the ETag says nothing more.
          const byEtag = group.startsWith('e')
          if (byEtag && first.value.split(' ')[2] !== '' && member.value.split(' ')[2] !== '') continue
          await this.#byEntity.add(
            entity('o', member.name, answerRank),
            `${first.name}${nul}${first.value}${nul}${member.value}`,
          )
        }
      }
    }
  }

  async *#resolveEntities(): AsyncGenerator<Comparison[]> {
    for await (const groups of grouped(this.#byEntity, recordsOfEntity)) {
      const comparisons: Comparison[] = []
      for (const { group, members } of groups) {
        const base = members.find(member => member.rank === baseRank)
        const answer = members.find(member => member.rank === answerRank)
        if (group.startsWith('r')) {
          const unmatched = JSON.parse(base?.value ?? '') as Unmatched
          const [otherKey, otherPacked] = answer?.value.split(nul) ?? []
          comparisons.push(
            otherKey === undefined || otherPacked === undefined
              ? missingComparison(unmatched)
              : movedComparison(unmatched, unpack(otherKey, otherPacked)),
          )
          continue
        }
        if (members.some(member => member.rank === claimedRank)) continue
        const key = group.slice(1)
        const [otherKey, otherPacked, ownPacked] = answer?.value.split(nul) ?? []
        const other =
          otherKey === undefined || otherPacked === undefined ? undefined : unpack(otherKey, otherPacked)
        const duplicate: Difference | undefined = other && {
          class: 'duplicate-content',
          severity: 'note',
          detail: `same bytes as ${JSON.stringify(other.key)}`,
        }
        if (base === undefined) {
          if (duplicate !== undefined && ownPacked !== undefined) {
            comparisons.push(noteOn(unpack(key, ownPacked), duplicate, other))
          }
          continue
        }
        const { object, twin } = JSON.parse(base.value) as { object: ObjectFacts; twin?: Difference }
        comparisons.push(orphanComparison(object, twin, duplicate, other))
      }
      if (comparisons.length > 0) yield comparisons
    }
  }

  async #addMissing(unmatched: Unmatched): Promise<void> {
    const { trackId, proof } = unmatched.row
    await this.#byEntity.add(entity('r', trackId, baseRank), JSON.stringify(unmatched))
    if (proof === undefined || proof.size === 0) return
    this.#countContent(proof, proof.sha256)
    for (const id of contentIds(proof, proof.sha256))
      await this.#byContent.add(id + nul + missingRank + trackId, '')
  }

  async #addContent(rank: string, object: ObjectFacts, sha256: string | undefined): Promise<void> {
    if (object.size === 0) return
    this.#countContent(object, sha256)
    await this.#sortContent(rank, object, sha256)
  }

  async #sortContent(rank: string, object: ObjectFacts, sha256: string | undefined): Promise<void> {
    const value = pack(object, sha256)
    for (const id of contentIds(object, sha256))
      await this.#byContent.add(id + nul + rank + object.key, value)
  }

  #countContent(content: { etag: string; size: number }, sha256: string | undefined): void {
    this.#count(etagPrint(content))
    if (sha256 !== undefined) this.#count(sha256Print(sha256))
  }

  #count(print: number): number {
    this.#filter.count(print)
    return print
  }
}

/** A row whose key has no object, and that key as the bucket has it. */
type Missing = Unmatched & { readonly plain: string }

/** The two ways to know a content. */
function contentIds({ etag, size }: { etag: string; size: number }, sha256: string | undefined): string[] {
  return [`e${etag} ${size}`, ...(sha256 === undefined ? [] : [`s${sha256}`])]
}

// And their fingerprints: of hashes, whose every part is as good as the whole, the end (an ETag's has a count of parts).
const printed = 24
const etagPrint = ({ etag, size }: { etag: string; size: number }): number =>
  fingerprint(etag, 1 + size, Math.max(0, etag.length - printed))
const sha256Print = (sha256: string): number => fingerprint(sha256, -1, Math.max(0, sha256.length - printed))

function entity(kind: 'o' | 'r', id: string, rank: string): string {
  return `${kind}${id}${nul}${rank}`
}

/** Object facts without their head, short: there may be a hundred million of them on disk. */
function pack(object: ObjectFacts, sha256 = ''): string {
  return `${object.size} ${object.etag} ${sha256} ${object.lastModified}`
}

function unpack(key: string, packed: string): ObjectFacts {
  const [size, etag, sha256, lastModified] = packed.split(' ')
  return {
    key,
    size: Number(size),
    etag: etag ?? '',
    lastModified: Number(lastModified),
    ...(sha256 ? { contentSha256: sha256 } : {}),
  }
}

function objectSha256(object: ObjectFacts): string | undefined {
  return actualSha256(object) ?? object.head?.declaredSha256
}

/** The newest object in quarantine that had the key of a row, and may be what the row had. */
function removedOf(
  { row, removed, plain }: Missing,
  candidates: readonly ObjectFacts[] = [],
): Pick<Unmatched, 'removed'> {
  if (removed !== undefined) return { removed }
  const [best] = candidates
    .filter(object => sameContent(row, object) !== 'different')
    .toSorted((a, b) => b.lastModified - a.lastModified)
  if (best === undefined) return {}
  return { removed: { object: { key: plain, size: best.size, etag: best.etag }, from: best.key } }
}

/** NFC before case, known to be equal before not known, orphan before held, then the first by name. */
function bestTwin<T extends { rank: string; object: ObjectFacts }>(
  row: RowFacts & { key: string },
  plain: string,
  objects: readonly T[],
): T | undefined {
  let best: T | undefined
  let bestScore = -1
  for (const candidate of objects) {
    // Named by a URL, or without the prefix: it is spoken for, whatever it holds, unless another row names it.
    const exact = plain === candidate.object.key
    const kind = twinKind(plain, candidate.object.key)
    const same = sameContent(row, candidate.object)
    const isSpokenFor = exact && candidate.rank === orphanRank
    if (!isSpokenFor && ((!exact && kind === undefined) || same === 'different')) continue
    const score =
      (exact ? 8 : 0) +
      (kind === 'nfc-twin' ? 4 : 0) +
      (same === 'same' ? 2 : 0) +
      (candidate.rank === orphanRank ? 1 : 0)
    if (score > bestScore) {
      best = candidate
      bestScore = score
    }
  }
  return best
}
