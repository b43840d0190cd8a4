import { describe, expect, it } from 'vitest'
import type {
  Comparison,
  Difference,
  DifferenceClass,
  RowFacts,
} from '../../../../src/core/reconcile/facts.ts'
import { repairOf } from '../../../../src/core/reconcile/repair.ts'

const A = 'a'.repeat(64)
const options = {
  heldBack: () => undefined,
  quarantineKey: (key: string) => `quarantine/p/${key}`,
  cacheControl: 'immutable',
}
const proof = { size: 10, etag: 'e1', sha256: A, contentType: 'audio/mpeg', at: 0 }
const row: RowFacts = { trackId: 't', key: 'k', source: 'S3', size: 10, path: 'x.mp3', proof }
const object = { key: 'k', size: 10, etag: 'e1', lastModified: 0, head: { contentType: 'x/y' } }
const other = { key: 'K', size: 10, etag: 'e1', lastModified: 0 }
const comparison = (kinds: DifferenceClass[], rest: Partial<Comparison>): Comparison => ({
  sigil: '*',
  name: 'k',
  differences: kinds.map((kind): Difference => ({ class: kind, severity: 'drift', detail: '' })),
  ...rest,
})
const to = (key: string | null, source: string, size: number | null = 10) =>
  `row ${key ?? 'null'} ${source} ${size ?? 'null'}`

/** The repair in short: what a row becomes, what is removed, which headers are written. */
function short(of: Comparison, over: Partial<Parameters<typeof repairOf>[1]> = {}): string[] {
  const { actions, heldBack } = repairOf(of, { ...options, ...over })
  const said = actions.map(({ action }) => {
    if (action.action === 'update-row')
      return to(action.becomes.key, action.becomes.source ?? 'null', action.becomes.size)
    if (action.action === 'remove-object') return `remove ${action.object.key} to ${action.to ?? 'marker'}`
    if (action.action === 'bring-back-object') return `bring back ${action.object.key}`
    return `headers ${action.becomes.contentType} ${action.becomes.cacheControl}`
  })
  return heldBack === undefined ? said : [...said, `held: ${heldBack}`]
}

describe('a local copy that was changed after its upload', () => {
  const file = { path: 'x.mp3', size: 7 }
  const changed = (rest: Partial<Comparison>) =>
    comparison(['local-copy-differs'], { row, other, file, ...rest })
  const actionsOf = (of: Comparison, localChanges: 'upload' | 'object') =>
    repairOf(of, { ...options, localChanges }).actions.map(({ action }) => action)

  it('is uploaded anew: the row is LOCAL again, if it is still that file', () => {
    expect(actionsOf(changed({ fileSha256: A }), 'upload')).toMatchObject([
      {
        action: 'update-row',
        becomes: { key: null, source: 'LOCAL', size: 7, path: 'x.mp3' },
        needsFile: { path: 'x.mp3', size: 7, sha256: A },
      },
    ])
  })

  it('is let go of: the row keeps its object, if it is still that object', () => {
    expect(actionsOf(changed({}), 'object')).toMatchObject([
      {
        action: 'update-row',
        becomes: { key: 'k', source: 'S3', path: null },
        needsObject: { key: 'K', size: 10, etag: 'e1' },
      },
    ])
  })

  it.each([
    ['its content unknown', changed({}), 'upload'],
    ['no file', comparison(['local-copy-differs'], { row, other, fileSha256: A }), 'upload'],
    ['no object', comparison(['local-copy-differs'], { row, file, fileSha256: A }), 'object'],
  ] as const)('%s: nothing', (_, of, localChanges) => {
    expect(actionsOf(of, localChanges)).toEqual([])
  })
})

describe('repairOf', () => {
  const table: [what: string, Comparison, expected: string[]][] = [
    ['missing, file there', comparison(['missing-object'], { row, fileThere: true }), [to(null, 'LOCAL')]],
    [
      'missing, no file',
      comparison(['missing-object'], { row, fileThere: false }),
      [to(null, 'UNAVAILABLE')],
    ],
    ['missing, nobody looked', comparison(['missing-object'], { row }), []],
    ['twin, same content', comparison(['nfc-twin'], { row, other, otherContent: 'same' }), [to('K', 'S3')]],
    [
      'twin, size agrees',
      comparison(['case-twin'], { row, other, otherContent: 'unknown' }),
      [to('K', 'S3')],
    ],
    [
      'twin, size unknown',
      comparison(['case-twin'], { row: { ...row, size: null }, other, otherContent: 'unknown' }),
      [],
    ],
    ['moved', comparison(['moved'], { row, other, otherContent: 'same' }), [to('K', 'S3')]],
    [
      'a local copy that was changed, and nobody said which of the two is to stay',
      comparison(['local-copy-differs'], { row, other, file: { path: 'x.mp3', size: 7 }, fileSha256: A }),
      [],
    ],
    ['orphan', comparison(['orphan-object', 'case-twin'], { object }), ['remove k to quarantine/p/k']],
    [
      'size, content as proved',
      comparison(['size-differs'], { row: { ...row, size: 9 }, object }),
      [to('k', 'S3')],
    ],
    [
      'size, nothing proved',
      comparison(['size-differs'], { row: { ...row, size: 9, proof: undefined }, object }),
      [],
    ],
    [
      'checksum, file there',
      comparison(['checksum-differs'], { row, object, fileThere: true }),
      [to(null, 'LOCAL'), 'remove k to quarantine/p/k'],
    ],
    [
      'checksum, no file',
      comparison(['checksum-differs', 'wrong-source'], { row, object, fileThere: false }),
      [],
    ],
    ['metadata', comparison(['metadata-differs'], { row, object }), ['headers audio/mpeg immutable']],
    [
      'source, object there',
      comparison(['wrong-source'], { row: { ...row, source: null }, object }),
      [to('k', 'S3')],
    ],
    [
      'source and unproved size',
      comparison(['wrong-source', 'size-differs'], {
        row: { ...row, source: null, size: 9, proof: undefined },
        object,
      }),
      [],
    ],
    [
      'source, file there',
      comparison(['wrong-source'], { row: { ...row, key: null }, fileThere: true }),
      [to(null, 'LOCAL')],
    ],
    ['source, nobody looked', comparison(['wrong-source'], { row: { ...row, key: null } }), []],
    [
      'no audio',
      comparison(['no-audio'], { row: { ...row, key: null }, fileThere: false }),
      [to(null, 'UNAVAILABLE')],
    ],
    ['no audio, outside the root', comparison(['no-audio'], { row: { ...row, key: null } }), []],
    ['duplicate', comparison(['duplicate-content'], { object, other }), []],
    ['stray file', comparison(['local-file-without-row'], { file: { path: 'x', size: 1 } }), []],
    ['not read', { ...comparison(['orphan-object'], { object }), sigil: '!' }, []],
  ]
  it.each(table)('%s', (_, of, expected) => {
    expect(short(of)).toEqual(expected)
  })

  it('removes nothing that is held back, and then leaves its row alone too', () => {
    const held = { heldBack: () => 'young' }
    expect(short(comparison(['orphan-object'], { object }), held)).toEqual(['held: young'])
    expect(short(comparison(['checksum-differs'], { row, object, fileThere: true }), held)).toEqual([
      'held: young',
    ])
  })

  it('rests every change of a row on what it saw', () => {
    const [relink] = repairOf(comparison(['moved'], { row, other, otherContent: 'same' }), options).actions
    expect(relink?.action).toMatchObject({
      needsObject: { key: 'K', size: 10, etag: 'e1' },
      was: { key: 'k' },
    })
    const [back] = repairOf(comparison(['missing-object'], { row, fileThere: true }), options).actions
    expect(back?.action).toMatchObject({ needsFile: { path: 'x.mp3', size: 10 } })
  })

  it('leaves a delete marker in a versioned bucket', () => {
    expect(short(comparison(['orphan-object'], { object }), { quarantineKey: () => undefined })).toEqual([
      'remove k to marker',
    ])
  })
})
