import type { NeededFile, PlanAction, RowState } from '../plan.ts'
import { compareSums, sameContent } from './classify.ts'
import type { Comparison, DifferenceClass, ObjectFacts, RowFacts } from './facts.ts'

interface RepairOptions {
  /** why an object must be left alone for now, or undefined (see `heldBack`) */
  heldBack: (object: ObjectFacts) => string | undefined
  /** where an object is moved to; undefined in a versioned bucket */
  quarantineKey: (key: string) => string | undefined
  cacheControl?: string
  /** what becomes of a local file that was changed after its upload */
  localChanges?: 'upload' | 'object'
}

interface Repair {
  /** `worth`: of two changes of one row the one of the lower is made */
  actions: readonly { action: PlanAction; why: string; worth?: string }[]
  /** why a removal is not among them, though the finding calls for one */
  heldBack?: string
}

/**
 * What would repair a finding. Nothing if what was seen does not show which side is right; nothing ever rests on a
 * checksum that was not seen.
 *
 * | finding                              | repair                                                       |
 * | ------------------------------------ | ------------------------------------------------------------ |
 * | missing-object, removed by us        | the object brought back from quarantine                      |
 * | misspelt-key                         | row to the key as the bucket has it                          |
 * | unlinked-object                      | given to the row of its track, which has no audio            |
 * | missing-object, of another bucket    | none: its object may be there                                |
 * | missing-object, file there           | row back to the file, to be uploaded again                   |
 * | missing-object, no file              | row UNAVAILABLE, to be fetched again                         |
 * | nfc-twin, case-twin, moved (row)     | row to the other key; a twin's size must be the row's        |
 * | orphan-object                        | removed, unless held back                                    |
 * | size-differs, content as proved      | the row's size                                               |
 * | checksum-differs, file there         | row back to the file, object removed, to be uploaded again   |
 * | metadata-differs, content not wrong  | headers rewritten in place                                   |
 * | wrong-source, object there           | S3, if the content is not known to be wrong                  |
 * | wrong-source, no key, file there     | LOCAL                                                        |
 * | no-audio, seen not to be there       | UNAVAILABLE, to be fetched again                             |
 * | archived-object                      | none: it must be restored                                    |
 * | local-copy-differs                   | as asked for: the file uploaded anew, or the object kept     |
 * | foreign-object                       | none: it is not ours                                         |
 * | duplicate-content, local-file-…      | none: nothing is wrong, `import` makes the row               |
 */
export function repairOf(comparison: Comparison, options: RepairOptions): Repair {
  const { row, object } = comparison
  const has = (kind: DifferenceClass): boolean => comparison.differences.some(d => d.class === kind)
  const label = row?.label === undefined ? '' : `: ${row.label}`
  const why = comparison.differences.map(d => d.class).join(', ') + label
  if (comparison.sigil === '!') return { actions: [] }
  if (row === undefined) {
    if (!has('orphan-object') || object === undefined) return { actions: [] }
    const held = options.heldBack(object)
    if (held !== undefined) return { actions: [], heldBack: held }
    return { actions: [{ action: removal(object, options), why }] }
  }
  if (object !== undefined) return matchedRepair(row, object, comparison, why, options)
  const update = (...change: Change): Repair => ({ actions: [{ action: rowUpdate(row, ...change), why }] })
  const { other, removed } = comparison
  if (has('local-copy-differs')) {
    const { file, fileSha256 } = comparison
    if (file === undefined || other === undefined || options.localChanges === undefined)
      return { actions: [] }
    if (options.localChanges === 'object') {
      const needsObject = { key: other.key, size: other.size, etag: other.etag }
      return update({ path: null }, { needsObject })
    }
    if (fileSha256 === undefined) return { actions: [] }
    const needsFile = { path: row.path ?? '', size: file.size, sha256: fileSha256 }
    return update({ key: null, source: 'LOCAL', size: file.size }, { needsFile })
  }
  if (other !== undefined) {
    const sure =
      comparison.otherContent === 'same' ||
      (comparison.otherContent === 'unknown' &&
        (row.size === other.size || has('misspelt-key') || (has('unlinked-object') && row.size === null)))
    if (!sure) return { actions: [] }
    const needsObject = { key: other.key, size: other.size, etag: other.etag }
    const repair = update({ key: other.key, source: 'S3', size: other.size }, { needsObject })
    if (!has('unlinked-object')) return repair
    // Several objects may have been uploaded for one track: the newest, unless something better is known.
    const worth = `1 ${String(10 ** 15 - other.lastModified).padStart(16, '0')}`
    return { actions: repair.actions.map(one => ({ ...one, worth })) }
  }
  if (removed !== undefined) {
    const { object, from } = removed
    return {
      actions: [
        { action: { action: 'bring-back-object', object, ...(from === undefined ? {} : { from }) }, why },
      ],
    }
  }
  // Nobody has looked into that bucket.
  if (comparison.elsewhere !== undefined) return { actions: [] }
  if (has('missing-object') || (has('wrong-source') && comparison.fileThere === true)) {
    if (comparison.fileThere === undefined) return { actions: [] }
    return comparison.fileThere ? update(...backToFile(row)) : update({ key: null, source: 'UNAVAILABLE' })
  }
  const lost = comparison.differences.some(d => d.class === 'no-audio' && d.severity === 'drift')
  if (lost && comparison.fileThere === false) {
    return update({ source: 'UNAVAILABLE' })
  }
  return { actions: [] }
}

function matchedRepair(
  row: RowFacts,
  object: ObjectFacts,
  comparison: Comparison,
  why: string,
  options: RepairOptions,
): Repair {
  const has = (kind: DifferenceClass): boolean => comparison.differences.some(d => d.class === kind)
  const objectState = { key: object.key, size: object.size, etag: object.etag }
  if (has('archived-object')) return { actions: [] }
  if (has('checksum-differs')) {
    if (comparison.fileThere !== true) return { actions: [] }
    const [becomes, needs] = backToFile(row, object.head?.declaredSha256)
    const held = options.heldBack(object)
    if (held !== undefined) return { actions: [], heldBack: held }
    return {
      actions: [
        { action: rowUpdate(row, becomes, needs), why },
        // What nobody knows the right content of is left in its place.
        ...(needs.needsFile.sha256 === undefined
          ? []
          : [{ action: { ...removal(object, options), ...needs }, why }]),
      ],
    }
  }
  const actions: { action: PlanAction; why: string }[] = []
  const sizeKnownRight =
    sameContent({ ...row, size: null }, object) === 'same' || compareSums(row, object)?.same === true
  const becomes: Partial<RowState> = {
    ...(has('size-differs') && sizeKnownRight && { size: object.size }),
    ...(has('wrong-source') && (!has('size-differs') || sizeKnownRight) && { source: 'S3' }),
  }
  if (Object.keys(becomes).length > 0)
    actions.push({ action: rowUpdate(row, becomes, { needsObject: objectState }), why })
  if (has('metadata-differs') && object.head !== undefined) {
    const { contentType, cacheControl } = object.head
    const type = row.proof?.contentType ?? (object.sniffedType || contentType)
    actions.push({
      action: {
        action: 'set-headers',
        object: objectState,
        was: { contentType, cacheControl },
        becomes: { contentType: type, cacheControl: options.cacheControl ?? cacheControl },
      },
      why,
    })
  }
  return { actions }
}

type RowUpdate = Extract<PlanAction, { action: 'update-row' }>
type Change = [becomes: Partial<RowState>, needs?: Pick<RowUpdate, 'needsObject' | 'needsFile'>]

function rowUpdate({ trackId, key, source, size, path }: RowFacts, ...[becomes, needs]: Change): RowUpdate {
  const was = { key, source, size, path }
  return { action: 'update-row', trackId, was, becomes: { ...was, ...becomes }, ...needs }
}

function removal(object: ObjectFacts, options: RepairOptions): PlanAction {
  const to = options.quarantineKey(object.key)
  return {
    action: 'remove-object',
    object: { key: object.key, size: object.size, etag: object.etag },
    ...(to === undefined ? {} : { to }),
  }
}

function backToFile(row: RowFacts, declared?: string): [Partial<RowState>, { needsFile: NeededFile }] {
  const { size, sha256 = declared } = row.proof ?? {}
  return [
    { key: null, source: row.source === 'YOUTUBE' ? 'YOUTUBE' : 'LOCAL' },
    {
      needsFile: {
        path: row.path ?? '',
        ...(size === undefined ? {} : { size }),
        ...(sha256 === undefined ? {} : { sha256 }),
      },
    },
  ]
}
