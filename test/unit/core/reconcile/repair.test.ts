import { describe, expect, it } from 'vitest'
import type { Difference, DifferenceClass, Finding, RowFacts } from '../../../../src/core/reconcile/facts.ts'
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
const finding = (kinds: DifferenceClass[], rest: Partial<Finding>): Finding => ({
  sigil: '*',
  name: 'k',
  differences: kinds.map((kind): Difference => ({ class: kind, severity: 'drift', detail: '' })),
  ...rest,
})
const to = (key: string | null, source: string, size: number | null = 10) =>
  `row ${key ?? 'null'} ${source} ${size ?? 'null'}`

/** The repair in short: what a row becomes, what is removed, which headers are written. */
function short(of: Finding, over: Partial<Parameters<typeof repairOf>[1]> = {}): string[] {
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

describe('repairOf', () => {
  const table: [what: string, Finding, expected: string[]][] = [
    ['missing, file there', finding(['missing-object'], { row, fileThere: true }), [to(null, 'LOCAL')]],
    ['missing, no file', finding(['missing-object'], { row, fileThere: false }), [to(null, 'UNAVAILABLE')]],
    ['missing, nobody looked', finding(['missing-object'], { row }), []],
    ['twin, same content', finding(['nfc-twin'], { row, other, otherContent: 'same' }), [to('K', 'S3')]],
    ['twin, size agrees', finding(['case-twin'], { row, other, otherContent: 'unknown' }), [to('K', 'S3')]],
    [
      'twin, size unknown',
      finding(['case-twin'], { row: { ...row, size: null }, other, otherContent: 'unknown' }),
      [],
    ],
    ['moved', finding(['moved'], { row, other, otherContent: 'same' }), [to('K', 'S3')]],
    ['orphan', finding(['orphan-object', 'case-twin'], { object }), ['remove k to quarantine/p/k']],
    [
      'size, content as proved',
      finding(['size-differs'], { row: { ...row, size: 9 }, object }),
      [to('k', 'S3')],
    ],
    [
      'size, nothing proved',
      finding(['size-differs'], { row: { ...row, size: 9, proof: undefined }, object }),
      [],
    ],
    [
      'checksum, file there',
      finding(['checksum-differs'], { row, object, fileThere: true }),
      [to(null, 'LOCAL'), 'remove k to quarantine/p/k'],
    ],
    [
      'checksum, no file',
      finding(['checksum-differs', 'wrong-source'], { row, object, fileThere: false }),
      [],
    ],
    ['metadata', finding(['metadata-differs'], { row, object }), ['headers audio/mpeg immutable']],
    [
      'source, object there',
      finding(['wrong-source'], { row: { ...row, source: null }, object }),
      [to('k', 'S3')],
    ],
    [
      'source and unproved size',
      finding(['wrong-source', 'size-differs'], {
        row: { ...row, source: null, size: 9, proof: undefined },
        object,
      }),
      [],
    ],
    [
      'source, file there',
      finding(['wrong-source'], { row: { ...row, key: null }, fileThere: true }),
      [to(null, 'LOCAL')],
    ],
    ['source, nobody looked', finding(['wrong-source'], { row: { ...row, key: null } }), []],
    [
      'no audio',
      finding(['no-audio'], { row: { ...row, key: null }, fileThere: false }),
      [to(null, 'UNAVAILABLE')],
    ],
    ['no audio, outside the root', finding(['no-audio'], { row: { ...row, key: null } }), []],
    ['duplicate', finding(['duplicate-content'], { object, other }), []],
    ['stray file', finding(['local-file-without-row'], { file: { path: 'x', size: 1 } }), []],
    ['not read', { ...finding(['orphan-object'], { object }), sigil: '!' }, []],
  ]
  it.each(table)('%s', (_, of, expected) => {
    expect(short(of)).toEqual(expected)
  })

  it('removes nothing that is held back, and then leaves its row alone too', () => {
    const held = { heldBack: () => 'young' }
    expect(short(finding(['orphan-object'], { object }), held)).toEqual(['held: young'])
    expect(short(finding(['checksum-differs'], { row, object, fileThere: true }), held)).toEqual([
      'held: young',
    ])
  })

  it('rests every change of a row on what it saw', () => {
    const [relink] = repairOf(finding(['moved'], { row, other, otherContent: 'same' }), options).actions
    expect(relink?.action).toMatchObject({
      needsObject: { key: 'K', size: 10, etag: 'e1' },
      was: { key: 'k' },
    })
    const [back] = repairOf(finding(['missing-object'], { row, fileThere: true }), options).actions
    expect(back?.action).toMatchObject({ needsFile: { path: 'x.mp3', size: 10 } })
  })

  it('leaves a delete marker in a versioned bucket', () => {
    expect(short(finding(['orphan-object'], { object }), { quarantineKey: () => undefined })).toEqual([
      'remove k to marker',
    ])
  })
})
