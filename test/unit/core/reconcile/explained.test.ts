/** What a reader is told of what could not be paired, to the letter. */
import { describe, expect, test } from 'vitest'
import {
  foreign,
  missingComparison,
  movedComparison,
  noteOn,
  orphanComparison,
  twinComparison,
  twinOf,
} from '../../../../src/core/reconcile/explained.ts'
import { type Difference, isPlain, type ObjectFacts } from '../../../../src/core/reconcile/facts.ts'

const trackId = '0b4c8d1e-5f60-4a7b-8c9d-0e1f2a3b4c5d'
const row = (key: string) => ({ trackId, key, source: 'S3' as const, size: 5, path: null })
const object = (key: string, more: Partial<ObjectFacts> = {}): ObjectFacts => ({
  key,
  etag: 'e',
  size: 5,
  lastModified: 0,
  ...more,
})
const drift = (kind: Difference['class'], detail: string): Difference => ({
  class: kind,
  severity: 'drift',
  detail,
})

describe('of a row', () => {
  test.each<[string, string, string | undefined, Difference]>([
    ['Song.mp3', 'song.mp3', undefined, drift('case-twin', 'the object is "song.mp3"')],
    [
      'é.mp3',
      'e\u0301.mp3',
      undefined,
      drift('nfc-twin', `the object is ${JSON.stringify('e\u0301.mp3')}, in NFD; the row's is in NFC`),
    ],
    ['s3://b/x.mp3', 'x.mp3', 'x.mp3', drift('misspelt-key', 'the object is "x.mp3"')],
  ])('%s, there is %s', (key, other, plain, difference) => {
    for (const fileThere of [true, false, undefined]) {
      const comparison = twinComparison(
        { row: row(key), ...(fileThere !== undefined && { fileThere }) },
        object(other),
        plain,
      )
      expect(comparison).toStrictEqual({
        sigil: '*',
        name: key,
        differences: [difference],
        row: row(key),
        ...(fileThere === undefined ? {} : { fileThere }),
        other: object(other),
        otherContent: 'unknown',
      })
    }
    expect(twinComparison({ row: row(key) }, object(other, { size: 6 }), plain).otherContent).toBe(
      'different',
    )
  })

  test('its content is elsewhere', () => {
    for (const file of [{}, { fileThere: true }, { fileThere: false }])
      expect(movedComparison({ row: row('a'), ...file }, object('b'))).toStrictEqual({
        sigil: '*',
        name: 'a',
        differences: [drift('moved', 'the content is at "b"')],
        row: row('a'),
        ...file,
        other: object('b'),
        otherContent: 'same',
      })
  })

  const was = { key: 'a', size: 5, etag: 'e' }
  test.each([
    [{}, 'no object'],
    [{ fileThere: true }, 'no object, the local file is there'],
    [{ fileThere: false }, 'no object, no local file either'],
    [
      { removed: { object: was, from: 'quarantine/p/a' } },
      'the object was removed; it is in quarantine: quarantine/p/a',
    ],
    [
      { fileThere: true, removed: { object: was } },
      'the object was deleted; the bucket still has it as an older version',
    ],
    [{ fileThere: true, elsewhere: 'other' }, 'its key names another bucket, other'],
  ])('its object is missing: %j', (more, detail) => {
    expect(missingComparison({ row: row('a'), ...more })).toStrictEqual({
      sigil: '+',
      name: 'a',
      differences: [drift('missing-object', detail)],
      row: row('a'),
      ...more,
    })
  })
})

describe('of an object', () => {
  test.each<[string, string, Difference['class'], string]>([
    ['a.mp3', 'A.mp3', 'case-twin', 'also there as "A.mp3"'],
    ['e\u0301.mp3', 'é.mp3', 'nfc-twin', 'also there as "é.mp3", in NFC; this one is in NFD'],
  ])('%s has the twin %s', (key, twin, kind, detail) => {
    expect(twinOf(object(key), object(twin), kind as 'case-twin', 'note')).toEqual({
      class: kind,
      severity: 'note',
      detail,
    })
  })

  const orphan = drift('orphan-object', 'no row names it')
  const twin: Difference = { class: 'case-twin', severity: 'drift', detail: 't' }
  const duplicate: Difference = { class: 'duplicate-content', severity: 'note', detail: 'd' }
  test('no row names it', () => {
    const plain = { sigil: '-', name: 'a', object: object('a') }
    expect(orphanComparison(object('a'), undefined, undefined, undefined)).toStrictEqual({
      ...plain,
      differences: [orphan],
    })
    expect(orphanComparison(object('a'), twin, duplicate, object('b'))).toStrictEqual({
      ...plain,
      differences: [orphan, twin, duplicate],
      other: object('b'),
      otherContent: 'same',
    })
    expect(orphanComparison(object('a'), undefined, duplicate, undefined).differences).toEqual([
      orphan,
      duplicate,
    ])
  })

  test.each([
    [
      undefined,
      'content',
      `track ${trackId} has no audio, and this is its recording, by the checksum of its file`,
    ],
    ['A – B', 'track', `track ${trackId}, A – B, has no audio, and this was uploaded for it`],
    [undefined, 'name', `track ${trackId} has no audio, and this has its artist and title for a key`],
    [
      undefined,
      'track',
      `track ${trackId} has no object, and its file x.mp3 cannot be looked at from here, and this was uploaded for it`,
      true,
    ],
  ] as const)('a track lacks it: label %s, known by %s', (label, by, detail, isUnseen?: true) => {
    const named = { ...(label !== undefined && { label }), ...(isUnseen && { path: 'x.mp3' }) }
    const lacking = { ...row('x'), key: null, size: null, ...named }
    const one = object('a', {
      lacking: { row: lacking, by, ...(isUnseen && { isUnseen }) },
      foreign: 'unmarked',
    })
    expect(orphanComparison(one, twin, duplicate, object('b'))).toStrictEqual({
      sigil: '-',
      name: 'a',
      differences: [drift('unlinked-object', detail)],
      row: lacking,
      other: one,
      otherContent: by === 'name' ? 'unknown' : 'same',
    })
  })

  test('it is not ours', () => {
    const one = object('a', { foreign: 'unmarked' })
    const expected = {
      sigil: '-',
      name: 'a',
      differences: [
        {
          class: 'foreign-object',
          severity: 'note',
          detail: 'no row names it, it bears no mark of ours, and the ledger has no record of it',
        },
      ],
      object: one,
    }
    expect(orphanComparison(one, twin, duplicate, undefined)).toStrictEqual(expected)
    expect(foreign(object('b'), 'so').differences).toEqual([
      { class: 'foreign-object', severity: 'note', detail: 'so' },
    ])
  })

  test('a note is said beside the line that it has', () => {
    const note = { sigil: '=', name: 'a', differences: [duplicate], object: object('a'), addendum: true }
    expect(noteOn(object('a'), duplicate)).toStrictEqual(note)
    expect(noteOn(object('a'), duplicate, object('b'))).toStrictEqual({
      ...note,
      other: object('b'),
      otherContent: 'same',
    })
    expect(isPlain(noteOn(object('a'), duplicate))).toBe(false)
    expect(isPlain({ sigil: '=', name: 'a', differences: [] })).toBe(true)
    expect(isPlain({ sigil: '+', name: 'a', differences: [] })).toBe(false)
  })
})
