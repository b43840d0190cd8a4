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
    [
      'missing, of another bucket',
      comparison(['missing-object'], { row, fileThere: false, elsewhere: 'other' }),
      [],
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

describe('a repair, to the letter', () => {
  const wasRow = { key: 'k', source: 'S3', size: 10, path: 'x.mp3' }
  const update = (becomes: object, needs: object = {}, was: object = wasRow) => ({
    action: 'update-row',
    trackId: 't',
    was,
    becomes: { ...was, ...becomes },
    ...needs,
  })
  const needsOther = { needsObject: { key: 'K', size: 10, etag: 'e1' } }
  const needsFile = { needsFile: { path: 'x.mp3', size: 10, sha256: A } }
  const bare = { ...row, proof: undefined }
  const B = 'b'.repeat(64)
  const declared = { ...object, head: { declaredSha256: B } }
  const file = { path: 'x.mp3', size: 7 }

  const table: [what: string, Comparison, actions: object[], localChanges?: 'upload' | 'object'][] = [
    [
      'missing, fetched once',
      comparison(['missing-object'], { row: { ...row, source: 'YOUTUBE' }, fileThere: true }),
      [update({ key: null }, needsFile, { ...wasRow, source: 'YOUTUBE' })],
    ],
    [
      'missing, never proved',
      comparison(['missing-object'], { row: bare, fileThere: true }),
      [update({ key: null, source: 'LOCAL' }, { needsFile: { path: 'x.mp3' } })],
    ],
    [
      'missing, no file',
      comparison(['missing-object'], { row, fileThere: false }),
      [update({ key: null, source: 'UNAVAILABLE' })],
    ],
    [
      'in quarantine',
      comparison(['missing-object'], {
        row,
        fileThere: true,
        removed: { object: { key: 'k', size: 1, etag: 'e' }, from: 'quarantine/p/k' },
      }),
      [{ action: 'bring-back-object', object: { key: 'k', size: 1, etag: 'e' }, from: 'quarantine/p/k' }],
    ],
    [
      'behind a delete marker',
      comparison(['missing-object'], {
        row,
        fileThere: false,
        removed: { object: { key: 'k', size: 1, etag: 'e' } },
      }),
      [{ action: 'bring-back-object', object: { key: 'k', size: 1, etag: 'e' } }],
    ],
    [
      'misspelt, nothing known of it',
      comparison(['misspelt-key'], { row: { ...bare, size: null }, other, otherContent: 'unknown' }),
      [update({ key: 'K', size: 10 }, needsOther, { ...wasRow, size: null })],
    ],
    [
      'misspelt, known to be another',
      comparison(['misspelt-key'], { row, other, otherContent: 'different' }),
      [],
    ],
    ['a twin that is another', comparison(['case-twin'], { row, other, otherContent: 'different' }), []],
    [
      'a twin of another size',
      comparison(['case-twin'], { row: { ...row, size: 9 }, other, otherContent: 'unknown' }),
      [],
    ],
    [
      'a twin known to be the same, the size of the row wrong',
      comparison(['case-twin'], { row: { ...row, size: 9 }, other, otherContent: 'same' }),
      [update({ key: 'K', size: 10 }, needsOther, { ...wasRow, size: 9 })],
    ],
    [
      'the file kept',
      comparison(['local-copy-differs'], { row, other, file, fileSha256: B }),
      [update({ key: null, source: 'LOCAL', size: 7 }, { needsFile: { path: 'x.mp3', size: 7, sha256: B } })],
      'upload',
    ],
    [
      'the object kept',
      comparison(['local-copy-differs'], { row, other, file }),
      [update({ path: null }, needsOther)],
      'object',
    ],
    [
      'no audio, as the row says itself',
      {
        ...comparison([], { row: { ...row, key: null }, fileThere: false }),
        differences: [{ class: 'no-audio', severity: 'note', detail: '' }],
      },
      [],
    ],
    [
      'another drift, and no audio as the row says itself',
      {
        ...comparison(['moved'], { row: { ...row, key: null }, fileThere: false }),
        differences: [
          { class: 'moved', severity: 'drift', detail: '' },
          { class: 'no-audio', severity: 'note', detail: '' },
        ],
      },
      [],
    ],
    [
      'no audio, file there after all',
      comparison(['no-audio'], { row: { ...row, key: null }, fileThere: true }),
      [],
    ],
    ['source, no file', comparison(['wrong-source'], { row: { ...row, key: null }, fileThere: false }), []],
    [
      'checksum, nothing known to be right',
      comparison(['checksum-differs'], { row: bare, object, fileThere: true }),
      [update({ key: null, source: 'LOCAL' }, { needsFile: { path: 'x.mp3' } })],
    ],
    [
      'checksum, as declared',
      comparison(['checksum-differs'], { row: bare, object: declared, fileThere: true }),
      [
        update({ key: null, source: 'LOCAL' }, { needsFile: { path: 'x.mp3', sha256: B } }),
        {
          action: 'remove-object',
          object: { key: 'k', size: 10, etag: 'e1' },
          to: 'quarantine/p/k',
          needsFile: { path: 'x.mp3', sha256: B },
        },
      ],
    ],
    [
      'checksum, as proved and not as declared',
      comparison(['checksum-differs'], { row, object: declared, fileThere: true }),
      [
        update({ key: null, source: 'LOCAL' }, needsFile),
        {
          action: 'remove-object',
          object: { key: 'k', size: 10, etag: 'e1' },
          to: 'quarantine/p/k',
          ...needsFile,
        },
      ],
    ],
    ['checksum, nobody looked for a file', comparison(['checksum-differs'], { row, object }), []],
    [
      'a row without a path',
      comparison(['checksum-differs'], { row: { ...bare, path: null }, object, fileThere: true }),
      [update({ key: null, source: 'LOCAL' }, { needsFile: { path: '' } }, { ...wasRow, path: null })],
    ],
    [
      'an archive, whatever else is wrong',
      comparison(['archived-object', 'checksum-differs', 'size-differs', 'metadata-differs'], {
        row,
        object,
        fileThere: true,
      }),
      [],
    ],
    [
      'size, as declared and computed',
      comparison(['size-differs'], {
        row: { ...bare, size: 9 },
        object: { ...object, contentSha256: B, head: { declaredSha256: B } },
      }),
      [update({ size: 10 }, { needsObject: { key: 'k', size: 10, etag: 'e1' } }, { ...wasRow, size: 9 })],
    ],
    [
      'size and source, content as proved',
      comparison(['size-differs', 'wrong-source'], { row: { ...row, size: 9, source: null }, object }),
      [
        update(
          { size: 10, source: 'S3' },
          { needsObject: { key: 'k', size: 10, etag: 'e1' } },
          { ...wasRow, size: 9, source: null },
        ),
      ],
    ],
    [
      'headers, as the bytes say',
      comparison(['metadata-differs'], {
        row: bare,
        object: {
          ...object,
          sniffedType: 'audio/flac',
          head: { contentType: 'x/y', cacheControl: 'no-store' },
        },
      }),
      [
        {
          action: 'set-headers',
          object: { key: 'k', size: 10, etag: 'e1' },
          was: { contentType: 'x/y', cacheControl: 'no-store' },
          becomes: { contentType: 'audio/flac', cacheControl: 'immutable' },
        },
      ],
    ],
    [
      'headers, of bytes that told nothing',
      comparison(['metadata-differs'], { row: bare, object: { ...object, sniffedType: '' } }),
      [
        {
          action: 'set-headers',
          object: { key: 'k', size: 10, etag: 'e1' },
          was: { contentType: 'x/y' },
          becomes: { contentType: 'x/y', cacheControl: 'immutable' },
        },
      ],
    ],
    ['headers that nobody read', comparison(['metadata-differs'], { row, object: other }), []],
    ['an object that is not ours', comparison(['foreign-object'], { object }), []],
    ['an orphan without an object', comparison(['orphan-object'], {}), []],
  ]
  it.each(table)('%s', (_, of, actions, localChanges) => {
    const found = repairOf(of, { ...options, ...(localChanges && { localChanges }) })
    expect(JSON.parse(JSON.stringify(found.actions.map(({ action }) => action)))).toEqual(
      JSON.parse(JSON.stringify(actions)),
    )
    expect(found.heldBack).toBeUndefined()
  })

  it('headers keep their Cache-Control where none is wanted', () => {
    const of = comparison(['metadata-differs'], {
      row,
      object: { ...object, head: { cacheControl: 'no-store' } },
    })
    expect(short(of, { cacheControl: undefined })).toEqual(['headers audio/mpeg no-store'])
  })

  it('why it is made, with the name of a row that has no key', () => {
    const whys = (of: Comparison) => repairOf(of, options).actions.map(({ why }) => why)
    expect(whys(comparison(['orphan-object', 'case-twin'], { object }))).toEqual(['orphan-object, case-twin'])
    const keyless = { ...row, key: null, label: 'A – B' }
    expect(whys(comparison(['no-audio'], { row: keyless, fileThere: false }))).toEqual(['no-audio: A – B'])
    expect(whys(comparison(['checksum-differs'], { row, object, fileThere: true }))).toEqual(
      Array(2).fill('checksum-differs'),
    )
  })

  it('of several objects that were uploaded for a track, the newest is worth most', () => {
    const lacking = { ...row, key: null, source: null }
    const worth = (lastModified: number) => {
      const of = comparison(['unlinked-object'], {
        row: lacking,
        other: { ...other, lastModified },
        otherContent: 'same',
      })
      const [only, ...more] = repairOf(of, options).actions
      expect(more).toEqual([])
      expect(only?.action).toMatchObject({ becomes: { key: 'K', source: 'S3' } })
      return only?.worth ?? ''
    }
    // The lower is made.
    const times = [1_900_000_000_000, 1_700_000_000_001, 1_700_000_000_000, 999_999_999, 0]
    expect(times.map(worth).toSorted()).toEqual(times.map(worth))
    expect(new Set(times.map(worth)).size).toBe(times.length)
    expect(
      repairOf(comparison(['moved'], { row, other, otherContent: 'same' }), options).actions[0]?.worth,
    ).toBeUndefined()
  })
})
