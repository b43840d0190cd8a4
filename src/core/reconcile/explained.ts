/** The lines of what the ordered merge could not pair, once it is explained. */
import { sameContent } from './classify.ts'
import type { Comparison, Difference, LackingRow, ObjectFacts, RowFacts } from './facts.ts'
import { formOf, type TwinKind, twinKind } from './names.ts'

/** A row whose key has no object. */
export interface Unmatched {
  row: RowFacts & { key: string }
  fileThere?: boolean | undefined
  /** where the object is that was removed */
  removed?: NonNullable<Comparison['removed']> | undefined
  /** the bucket that it names, if that is another one */
  elsewhere?: string | undefined
}

export function twinComparison(
  { row, fileThere }: Unmatched,
  other: ObjectFacts,
  plain = row.key,
): Comparison {
  if (plain !== row.key) {
    return {
      sigil: '*',
      name: row.key,
      differences: [
        { class: 'misspelt-key', severity: 'drift', detail: `the object is ${JSON.stringify(other.key)}` },
      ],
      row,
      ...(fileThere === undefined ? {} : { fileThere }),
      other,
      otherContent: sameContent(row, other),
    }
  }
  const kind = twinKind(row.key, other.key) ?? 'case-twin'
  const form = kind === 'nfc-twin' ? `, in ${formOf(other.key)}; the row's is in ${formOf(row.key)}` : ''
  return {
    sigil: '*',
    name: row.key,
    differences: [
      { class: kind, severity: 'drift', detail: `the object is ${JSON.stringify(other.key)}${form}` },
    ],
    row,
    ...(fileThere === undefined ? {} : { fileThere }),
    other,
    otherContent: sameContent(row, other),
  }
}

/** That an object has a twin among the objects. */
export function twinOf(
  object: ObjectFacts,
  twin: ObjectFacts,
  kind: TwinKind,
  severity: Difference['severity'],
): Difference {
  const form = kind === 'nfc-twin' ? `, in ${formOf(twin.key)}; this one is in ${formOf(object.key)}` : ''
  return { class: kind, severity, detail: `also there as ${JSON.stringify(twin.key)}${form}` }
}

export function movedComparison({ row, fileThere }: Unmatched, other: ObjectFacts): Comparison {
  return {
    sigil: '*',
    name: row.key,
    differences: [
      { class: 'moved', severity: 'drift', detail: `the content is at ${JSON.stringify(other.key)}` },
    ],
    row,
    ...(fileThere === undefined ? {} : { fileThere }),
    other,
    otherContent: 'same',
  }
}

export function missingComparison({ row, fileThere, removed, elsewhere }: Unmatched): Comparison {
  const local =
    fileThere === undefined ? '' : fileThere ? ', the local file is there' : ', no local file either'
  return {
    sigil: '+',
    name: row.key,
    differences: [
      {
        class: 'missing-object',
        severity: 'drift',
        detail:
          elsewhere !== undefined
            ? `its key names another bucket, ${elsewhere}`
            : removed === undefined
              ? `no object${local}`
              : removed.from === undefined
                ? 'the object was deleted; the bucket still has it as an older version'
                : `the object was removed; it is in quarantine: ${removed.from}`,
      },
    ],
    row,
    ...(fileThere === undefined ? {} : { fileThere }),
    ...(removed === undefined ? {} : { removed }),
    ...(elsewhere === undefined ? {} : { elsewhere }),
  }
}

/** An object in quarantine whose track has come to have no other audio: its row may be of a restored database. */
export function removedComparison(
  removed: NonNullable<Comparison['removed']>,
  lacking: LackingRow,
): Comparison {
  const { row, by } = lacking
  return {
    sigil: '-',
    name: removed.object.key,
    differences: [
      {
        class: 'unlinked-object',
        severity: 'drift',
        detail: `track ${row.trackId} ${hasNone(lacking)}, and this, which was removed, ${ownedBy[by]}; it is in quarantine: ${removed.from}`,
      },
    ],
    row,
    removed,
  }
}

const hasNone = ({ row: { path }, isUnseen }: LackingRow): string =>
  isUnseen ? `has no object, and its file ${path} cannot be looked at from here` : 'has no audio'

/** How an object is known to be a track's, for the reader. */
const ownedBy = {
  track: 'was uploaded for it',
  content: 'is its recording, by the checksum of its file',
  name: 'has its artist and title for a key',
}

export function orphanComparison(
  object: ObjectFacts,
  twin: Difference | undefined,
  duplicate: Difference | undefined,
  other: ObjectFacts | undefined,
): Comparison {
  const { lacking } = object
  if (lacking !== undefined) {
    const { row, by } = lacking
    const track = `track ${row.trackId}${row.label === undefined ? '' : `, ${row.label},`}`
    return {
      sigil: '-',
      name: object.key,
      differences: [
        {
          class: 'unlinked-object',
          severity: 'drift',
          detail: `${track} ${hasNone(lacking)}, and this ${ownedBy[by]}`,
        },
      ],
      row,
      other: object,
      otherContent: by === 'name' ? sameContent(row, object) : 'same',
    }
  }
  if (object.foreign === 'deeper')
    return foreign(
      object,
      'no row names it, the ledger has no record of it, and it lies where this library has no keys: it may be that of another library',
    )
  if (object.foreign === 'other-library')
    return foreign(
      object,
      'no row names it, the ledger has no record of it, and another library uploaded it: a database that shares bucket and prefix with this one',
    )
  if (object.foreign !== undefined)
    return foreign(object, 'no row names it, it bears no mark of ours, and the ledger has no record of it')
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

/** An object that nothing of ours can have to do with. */
export function foreign(object: ObjectFacts, detail: string): Comparison {
  return {
    sigil: '-',
    name: object.key,
    differences: [{ class: 'foreign-object', severity: 'note', detail }],
    object,
  }
}

export function noteOn(object: ObjectFacts, note: Difference, other?: ObjectFacts): Comparison {
  return {
    sigil: '=',
    name: object.key,
    differences: [note],
    object,
    addendum: true,
    ...(other === undefined ? {} : { other, otherContent: 'same' as const }),
  }
}
