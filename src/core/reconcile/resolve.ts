import { actualSha256, classifyWithoutKey, sameContent } from './classify.ts'
import type { Difference, FileFacts, Finding, ObjectFacts, RowFacts } from './facts.ts'
import { foldName, isStrayAudio, twinKind } from './names.ts'

/**
 * Sorts records outside memory. Keys compare by their UTF-8 bytes; records of equal keys come in any order. Both
 * strings may hold any character.
 */
export interface Sorter {
  add(key: string, value: string): Promise<void> | undefined
  /** All records in order, in batches. Called once, after the last `add`. */
  sorted(): AsyncIterable<readonly (readonly [key: string, value: string])[]>
}

/** Parts of a sort key are joined with NUL, which neither S3 nor PostgreSQL allows in a key. */
const NUL = '\u0000'

// Rank of a member within its group: objects with a row, objects without, rows without object.
const HELD = 'a'
const ORPHAN = 'b'
const MISSING = 'c'

// Rank of what is known of one entity: itself, that a row claims it, what answers it.
const BASE = 'a'
const CLAIMED = 'b'
const ANSWER = 'c'

/** An entity is settled by its base, one claim and one answer; more of the same need not be kept. */
const RECORDS_OF_ENTITY = 16

/**
 * Explains what the ordered merge could not pair: twins by name, then moved and duplicate content, and what is left
 * is missing or orphaned. Three sorts instead of tables in memory, so that ten million unmatched entries cost disk,
 * not heap: by folded name, by content, and by entity to bring the answers together.
 *
 * A missing row's twin wins over moved content (same name says more than same bytes), unless the contents are known
 * to differ. An object that is a row's answer is not an orphan. Content ids are the SHA-256 the server computed or
 * the ledger proved, and ETag with size; an ETag is equal for equal bytes except under SSE-KMS, where it never is.
 */
export class Resolver {
  private readonly byName: Sorter
  private readonly byContent: Sorter
  private readonly byEntity: Sorter

  constructor(newSorter: () => Sorter) {
    this.byName = newSorter()
    this.byContent = newSorter()
    this.byEntity = newSorter()
  }

  /** An object that at least one row names; once per object. */
  async held(object: ObjectFacts, sha256: string | undefined): Promise<void> {
    await this.byName.add(foldName(object.key) + NUL + HELD + object.key, pack(object))
    await this.addContent(HELD, object, sha256)
  }

  async orphan(object: ObjectFacts): Promise<void> {
    await this.byName.add(foldName(object.key) + NUL + ORPHAN + object.key, JSON.stringify(object))
  }

  /** A row whose key has no object. */
  async missing(row: RowFacts & { key: string }, fileThere: boolean | undefined): Promise<void> {
    const value = JSON.stringify({ row, fileThere })
    await this.byName.add(foldName(row.key) + NUL + MISSING + row.trackId, value)
  }

  /** Findings of all that was given, once, in no particular order. */
  async *resolve(): AsyncGenerator<Finding[]> {
    yield* this.resolveNames()
    await this.resolveContents()
    yield* this.resolveEntities()
  }

  private async *resolveNames(): AsyncGenerator<Finding[]> {
    for await (const groups of grouped(this.byName, Number.POSITIVE_INFINITY)) {
      const findings: Finding[] = []
      for (const { members } of groups) {
        const objects: { rank: string; object: ObjectFacts; claimed?: boolean }[] = []
        const rows: Unmatched[] = []
        for (const { rank, name, value } of members) {
          if (rank === MISSING) rows.push(JSON.parse(value) as Unmatched)
          else if (rank === ORPHAN) objects.push({ rank, object: JSON.parse(value) as ObjectFacts })
          else objects.push({ rank, object: unpack(name, value) })
        }
        for (const unmatched of rows) {
          const twin = bestTwin(unmatched.row, objects)
          if (twin === undefined) await this.addMissing(unmatched)
          else {
            twin.claimed = true
            findings.push(twinFinding(unmatched, twin.object))
          }
        }
        for (const [index, { rank, object, claimed }] of objects.entries()) {
          const first = index === 0 ? undefined : objects[0]?.object
          const kind = first === undefined ? undefined : twinKind(first.key, object.key)
          const twin: Difference | undefined =
            kind === undefined || first === undefined
              ? undefined
              : {
                  class: kind,
                  severity: rank === HELD ? 'note' : 'drift',
                  detail: `also there as ${JSON.stringify(first.key)}`,
                }
          if (rank === HELD) {
            if (twin !== undefined) findings.push(noteOn(object, twin))
          } else if (claimed) {
            await this.addContent(HELD, object, objectSha256(object))
          } else {
            await this.addContent(ORPHAN, object, objectSha256(object))
            await this.byEntity.add(entity('o', object.key, BASE), JSON.stringify({ object, twin }))
          }
        }
      }
      if (findings.length > 0) yield findings
    }
  }

  /** Within a group members come ranked and sorted, so the first of each rank is all that has to be kept. */
  private async resolveContents(): Promise<void> {
    let group = ''
    let first: Member | undefined
    let firstOrphan: Member | undefined
    for await (const batch of this.byContent.sorted()) {
      for (const [key, value] of batch) {
        const member = memberOf(key, value)
        if (member.group !== group) {
          group = member.group
          first = undefined
          firstOrphan = undefined
        }
        if (member.rank === MISSING) {
          const target = firstOrphan ?? first
          if (target === undefined) continue
          // An orphan before an object that has rows already, SHA-256 before ETag.
          const rank = ANSWER + (target.rank === ORPHAN ? '1' : '2') + (group.startsWith('s') ? '1' : '2')
          await this.byEntity.add(entity('r', member.name, rank), `${target.name}${NUL}${target.value}`)
          if (target.rank === ORPHAN) await this.byEntity.add(entity('o', target.name, CLAIMED), '')
        } else if (first === undefined) {
          first = member
          if (member.rank === ORPHAN) firstOrphan = member
        } else {
          if (member.rank === ORPHAN) firstOrphan ??= member
          // Two SHA-256 that are known are compared in a group of their own, the ETag says nothing more.
          const byEtag = group.startsWith('e')
          if (byEtag && first.value.split(' ')[2] !== '' && member.value.split(' ')[2] !== '') continue
          await this.byEntity.add(
            entity('o', member.name, ANSWER),
            `${first.name}${NUL}${first.value}${NUL}${member.value}`,
          )
        }
      }
    }
  }

  private async *resolveEntities(): AsyncGenerator<Finding[]> {
    for await (const groups of grouped(this.byEntity, RECORDS_OF_ENTITY)) {
      const findings: Finding[] = []
      for (const { group, members } of groups) {
        const base = members.find(member => member.rank === BASE)
        const answer = members.find(member => member.rank === ANSWER)
        if (group.startsWith('r')) {
          const unmatched = JSON.parse(base?.value ?? '') as Unmatched
          findings.push(
            answer === undefined ? missingFinding(unmatched) : movedFinding(unmatched, answer.value),
          )
          continue
        }
        if (members.some(member => member.rank === CLAIMED)) continue
        const key = group.slice(1)
        const [otherKey, otherPacked, ownPacked] = answer?.value.split(NUL) ?? []
        const other =
          otherKey === undefined || otherPacked === undefined ? undefined : unpack(otherKey, otherPacked)
        const duplicate: Difference | undefined = other && {
          class: 'duplicate-content',
          severity: 'note',
          detail: `same bytes as ${JSON.stringify(other.key)}`,
        }
        if (base === undefined) {
          if (duplicate !== undefined && ownPacked !== undefined) {
            findings.push(noteOn(unpack(key, ownPacked), duplicate, other))
          }
          continue
        }
        const { object, twin } = JSON.parse(base.value) as { object: ObjectFacts; twin?: Difference }
        findings.push(orphanFinding(object, twin, duplicate, other))
      }
      if (findings.length > 0) yield findings
    }
  }

  private async addMissing(unmatched: Unmatched): Promise<void> {
    const { trackId, proof } = unmatched.row
    await this.byEntity.add(entity('r', trackId, BASE), JSON.stringify(unmatched))
    if (proof === undefined || proof.size === 0) return
    if (proof.sha256 !== undefined) await this.byContent.add(`s${proof.sha256}${NUL}${MISSING}${trackId}`, '')
    await this.byContent.add(`e${proof.etag} ${proof.size}${NUL}${MISSING}${trackId}`, '')
  }

  private async addContent(rank: string, object: ObjectFacts, sha256: string | undefined): Promise<void> {
    // Nothing is the same as nothing else: empty objects are a fault of their own.
    if (object.size === 0) return
    const value = pack(object, sha256)
    await this.byContent.add(`e${object.etag} ${object.size}${NUL}${rank}${object.key}`, value)
    if (sha256 !== undefined) await this.byContent.add(`s${sha256}${NUL}${rank}${object.key}`, value)
  }
}

/**
 * Rows' paths against the files found. Joined by folded path, since a file system may give back another
 * normalisation of a name than the one it was given; an exact name wins, letter case alone is never enough.
 */
export class DiskJoin {
  private readonly byPath: Sorter

  constructor(newSorter: () => Sorter) {
    this.byPath = newSorter()
  }

  async file(file: FileFacts): Promise<void> {
    await this.byPath.add(file.path.normalize('NFC') + NUL + HELD + file.path, String(file.size))
  }

  /**
   * @param path `row.path` relative to the audio root
   * @param judge whether the row stands or falls with its file; rows with a key only keep theirs from being unknown
   */
  async row(row: RowFacts, path: string, judge: boolean): Promise<void> {
    const value = judge ? JSON.stringify(row) : ''
    await this.byPath.add(path.normalize('NFC') + NUL + MISSING + row.trackId + NUL + path, value)
  }

  async *resolve(): AsyncGenerator<Finding[]> {
    for await (const groups of grouped(this.byPath, Number.POSITIVE_INFINITY)) {
      const findings: Finding[] = []
      for (const { members } of groups) {
        const files = members.filter(member => member.rank === HELD)
        const rows = members.filter(member => member.rank === MISSING)
        const named = new Set<string>()
        for (const { name, value } of rows) {
          const path = name.slice(name.indexOf(NUL) + 1)
          const file = files.find(candidate => candidate.name === path) ?? files[0]
          if (file !== undefined) named.add(file.name)
          if (value !== '')
            findings.push(classifyWithoutKey(JSON.parse(value) as RowFacts, file !== undefined))
        }
        for (const { name, value } of files) {
          if (!named.has(name) && isStrayAudio(name))
            findings.push(strayFile({ path: name, size: Number(value) }))
        }
      }
      if (findings.length > 0) yield findings
    }
  }
}

interface Unmatched {
  row: RowFacts & { key: string }
  fileThere?: boolean
}

interface Member {
  group: string
  rank: string
  name: string
  value: string
}

function memberOf(key: string, value: string): Member {
  const end = key.indexOf(NUL)
  return { group: key.slice(0, end), rank: key.charAt(end + 1), name: key.slice(end + 2), value }
}

/** Batches of whole groups; of each group at most `most` members. */
async function* grouped(
  sorter: Sorter,
  most: number,
): AsyncGenerator<{ group: string; members: Member[] }[]> {
  let open: { group: string; members: Member[] } | undefined
  for await (const batch of sorter.sorted()) {
    const groups: { group: string; members: Member[] }[] = []
    for (const [key, value] of batch) {
      const member = memberOf(key, value)
      if (open?.group !== member.group) {
        if (open !== undefined) groups.push(open)
        open = { group: member.group, members: [] }
      }
      if (open.members.length < most) open.members.push(member)
    }
    if (groups.length > 0) yield groups
  }
  if (open !== undefined) yield [open]
}

function entity(kind: 'o' | 'r', id: string, rank: string): string {
  return `${kind}${id}${NUL}${rank}`
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

/** NFC before case, known to be equal before not known, orphan before held, then the first by name. */
function bestTwin<T extends { rank: string; object: ObjectFacts }>(
  row: RowFacts & { key: string },
  objects: readonly T[],
): T | undefined {
  let best: T | undefined
  let bestScore = -1
  for (const candidate of objects) {
    const kind = twinKind(row.key, candidate.object.key)
    const same = sameContent(row, candidate.object)
    if (kind === undefined || same === 'different') continue
    const score =
      (kind === 'nfc-twin' ? 4 : 0) + (same === 'same' ? 2 : 0) + (candidate.rank === ORPHAN ? 1 : 0)
    if (score > bestScore) {
      best = candidate
      bestScore = score
    }
  }
  return best
}

function twinFinding({ row, fileThere }: Unmatched, other: ObjectFacts): Finding {
  const kind = twinKind(row.key, other.key) ?? 'case-twin'
  return {
    sigil: '*',
    name: row.key,
    differences: [{ class: kind, severity: 'drift', detail: `the object is ${JSON.stringify(other.key)}` }],
    row,
    ...(fileThere === undefined ? {} : { fileThere }),
    other,
    otherContent: sameContent(row, other),
  }
}

function movedFinding({ row, fileThere }: Unmatched, answer: string): Finding {
  const [key = '', packed = ''] = answer.split(NUL)
  const other = unpack(key, packed)
  return {
    sigil: '*',
    name: row.key,
    differences: [{ class: 'moved', severity: 'drift', detail: `the content is at ${JSON.stringify(key)}` }],
    row,
    ...(fileThere === undefined ? {} : { fileThere }),
    other,
    otherContent: 'same',
  }
}

function missingFinding({ row, fileThere }: Unmatched): Finding {
  const local =
    fileThere === undefined ? '' : fileThere ? ', the local file is there' : ', no local file either'
  return {
    sigil: '+',
    name: row.key,
    differences: [{ class: 'missing-object', severity: 'drift', detail: `no object${local}` }],
    row,
    ...(fileThere === undefined ? {} : { fileThere }),
  }
}

function orphanFinding(
  object: ObjectFacts,
  twin: Difference | undefined,
  duplicate: Difference | undefined,
  other: ObjectFacts | undefined,
): Finding {
  const orphan: Difference = { class: 'orphan-object', severity: 'drift', detail: `no row names it` }
  return {
    sigil: '-',
    name: object.key,
    differences: [
      orphan,
      ...(twin === undefined ? [] : [twin]),
      ...(duplicate === undefined ? [] : [duplicate]),
    ],
    object,
    ...(other === undefined ? {} : { other, otherContent: 'same' as const }),
  }
}

function noteOn(object: ObjectFacts, note: Difference, other?: ObjectFacts): Finding {
  return {
    sigil: '=',
    name: object.key,
    differences: [note],
    object,
    addendum: true,
    ...(other === undefined ? {} : { other, otherContent: 'same' as const }),
  }
}

function strayFile(file: FileFacts): Finding {
  return {
    sigil: '-',
    name: file.path,
    differences: [
      {
        class: 'local-file-without-row',
        severity: 'drift',
        detail: 'no row names it; `autodj import` makes one',
      },
    ],
    file,
  }
}
