import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Candidate,
  chooseByName,
  decideFile,
  KeyGroups,
  mayMatchByName,
  type NamedFile,
  NameIndex,
  type PathState,
  relinkedColumns,
  type TrackRow,
} from '../../../../src/core/import/plan.ts'
import { matchKeysOfFile } from '../../../../src/core/names.ts'

const row = (id: string, changes: Partial<TrackRow> = {}): TrackRow => ({
  id,
  artist: 'Artist',
  title: 'Title',
  filePath: `old/${id}.mp3`,
  fileSource: 'LOCAL',
  s3ObjectKey: null,
  ...changes,
})
const at = (path: PathState, id: string, changes: Partial<TrackRow> = {}): Candidate => ({
  track: row(id, { ...(path === 'none' && { filePath: null }), ...changes }),
  path,
})
const verdict = (byPath: Candidate[], byContent: Candidate[]): string => {
  const decision = decideFile(byPath, byContent)
  if (!decision) return 'new'
  if (decision.kind === 'known') return `known ${decision.track.id}`
  if (decision.kind === 'duplicate') return `duplicate of ${decision.of}`
  if (decision.kind === 'earlier') return `earlier version of ${decision.of}`
  const tracks = decision.tracks.map(track => track.id).join('+')
  return decision.kind === 'moved' ? `moved ${tracks}` : `relink ${tracks} by ${decision.by}`
}

function groupsOf(keys: readonly (readonly number[])[], size: number): number[][] {
  const groups = new KeyGroups()
  for (const [at, own] of keys.entries()) expect(groups.add(own)).toBe(at)
  return [...groups.groups(size)]
}

describe('KeyGroups', () => {
  test.each<[number[][], number, number[][]]>([
    [[], 3, []],
    [[[1], [2], [3]], 2, [[0, 1], [2]]],
    [[[1], [2], [1]], 1, [[0, 2], [1]]],
    [[[1], [2, 3], [4, 1], [3, 4], [9]], 2, [[0, 1, 2, 3], [4]]],
    [[[], []], 5, [[0, 1]]],
    [
      [[0xffff_ffff], [0], [0xffff_ffff], [0]],
      1,
      [
        [0, 2],
        [1, 3],
      ],
    ],
  ])('%j in groups of about %i', (keys, size, groups) => {
    expect(groupsOf(keys, size).map(group => group.toSorted((a, b) => a - b))).toEqual(groups)
  })
})

test('two that share a key, be it by way of others, are in one group, and no others', () => {
  const things = fc.array(fc.array(fc.nat(12), { maxLength: 3 }), { maxLength: 14 })
  fc.assert(
    fc.property(things, fc.integer({ min: 1, max: 6 }), (keys, size) => {
      // Reached from each other, by looking at all pairs again and again.
      const groupOf = keys.map((_, at) => at)
      for (let again = 0; again < keys.length; again++)
        for (const [a, own] of keys.entries())
          for (const [b, others] of keys.entries())
            if (own.some(key => others.includes(key)))
              groupOf[a] = groupOf[b] = Math.min(groupOf[a]!, groupOf[b]!)
      const sizes = new Map<number, number>()
      for (const group of groupOf) sizes.set(group, (sizes.get(group) ?? 0) + 1)
      const groups = groupsOf(keys, size)
      expect(groups.flat().toSorted((a, b) => a - b)).toEqual([...keys.keys()])
      for (const [a, group] of groupOf.entries())
        for (const [b, other] of groupOf.entries())
          if (group === other) expect(groups.find(one => one.includes(a))).toContain(b)
      for (const group of groups)
        if (group.length > size) expect(new Set(group.map(at => groupOf[at])).size).toBe(1)
    }),
  )
})

describe('decideFile', () => {
  test.each<[string, Candidate[], Candidate[], string]>([
    ['no row at all', [], [], 'new'],
    ['its own row', [at('same', 'a')], [], 'known a'],
    ['its own row before a copy elsewhere', [at('same', 'a')], [at('present', 'b')], 'known a'],
    [
      'its own row before one that lost its file',
      [at('gone', 'b'), at('same', 'a')],
      [at('gone', 'c')],
      'known a',
    ],
    ['a row that spells its path in NFC', [at('gone', 'a')], [], 'relink a by path'],
    ['two such rows', [at('gone', 'a'), at('gone', 'b')], [], 'relink a+b by path'],
    ['a row in a form that the application does not open', [at('misnamed', 'a')], [], 'relink a by form'],
    [
      'two of them, though another row is as it should be',
      [at('misnamed', 'a'), at('same', 'b'), at('misnamed', 'c')],
      [at('present', 'd')],
      'relink a+c by form',
    ],
    ['another file under the other spelling', [at('present', 'a')], [], 'new'],
    ['a copy of a file with a row', [], [at('present', 'a')], 'duplicate of old/a.mp3'],
    [
      'a copy, though another row lost it',
      [],
      [at('gone', 'a'), at('present', 'b')],
      'duplicate of old/b.mp3',
    ],
    ['a row whose file moved here', [], [at('gone', 'a')], 'relink a by content'],
    ['two rows that shared the file', [], [at('gone', 'a'), at('gone', 'b')], 'relink a+b by content'],
    ['a row in S3, local copy deleted', [], [at('none', 'a', { s3ObjectKey: 'k' })], 'known a'],
    [
      'a row in S3 whose local copy moved',
      [],
      [at('gone', 'a', { s3ObjectKey: 'k' })],
      'relink a by content',
    ],
    [
      'in S3, and another row lost the file',
      [],
      [at('none', 'a', { s3ObjectKey: 'k' }), at('gone', 'b')],
      'relink b by content',
    ],
    ['a row of this content without anything', [], [at('none', 'a')], 'relink a by content'],
    [
      'one in S3, one without anything',
      [],
      [at('none', 'a'), at('none', 'b', { s3ObjectKey: 'k' })],
      'known b',
    ],
    ['a row where another file lies by now', [], [at('replaced', 'a')], 'moved a'],
    ['and one whose file is gone', [], [at('gone', 'a'), at('replaced', 'b')], 'moved a+b'],
    ['names exchanged', [at('replaced', 'a')], [at('replaced', 'b')], 'moved b'],
    ['a file in the place of another one', [at('replaced', 'a')], [at('gone', 'b')], 'relink b by content'],
    ['a copy in the place of another file', [at('replaced', 'a')], [at('present', 'b')], 'known a'],
    [
      'a copy, and a row where another file lies',
      [],
      [at('replaced', 'a'), at('present', 'b')],
      'duplicate of old/b.mp3',
    ],
    ['a file that was edited, and what it was', [], [at('edited', 'a')], 'earlier version of old/a.mp3'],
    ['the same, in S3', [], [at('edited', 'a', { s3ObjectKey: 'k' })], 'known a'],
  ])('%s', (_what, byPath, byContent, expected) => {
    expect(verdict(byPath, byContent)).toBe(expected)
  })
})

describe('relinkedColumns', () => {
  const file = { path: 'new/a.mp3', size: 7 }
  test.each<[Partial<TrackRow>, object]>([
    [{}, { filePath: 'new/a.mp3', fileSize: 7 }],
    [{ fileSource: 'YOUTUBE' }, { filePath: 'new/a.mp3', fileSize: 7 }],
    [{ fileSource: 'UNAVAILABLE' }, { filePath: 'new/a.mp3', fileSize: 7, fileSource: 'LOCAL' }],
    [{ fileSource: null }, { filePath: 'new/a.mp3', fileSize: 7, fileSource: 'LOCAL' }],
    // what is in S3 stays in S3, and the size of the object is not the file's to change
    [{ fileSource: 'S3', s3ObjectKey: 'k' }, { filePath: 'new/a.mp3' }],
    [{ fileSource: 'LOCAL', s3ObjectKey: 'k' }, { filePath: 'new/a.mp3' }],
  ])('%j', (changes, expected) => {
    expect(relinkedColumns(row('a', changes), file)).toEqual(expected)
  })
})

test('by name only rows without an object are matched', () => {
  expect(mayMatchByName(row('a'))).toBe(true)
  expect(mayMatchByName(row('a', { fileSource: 'UNAVAILABLE' }))).toBe(true)
  expect(mayMatchByName(row('a', { fileSource: 'S3' }))).toBe(false)
  expect(mayMatchByName(row('a', { s3ObjectKey: 'k' }))).toBe(false)
})

test('a file is found by tags or path, and given away once', () => {
  const index = new NameIndex<string>()
  index.add('first', matchKeysOfFile('Mira-Kessel/Glass_Stairs.mp3'))
  index.add('second', matchKeysOfFile('x/y.flac', { artist: 'mira kessel', title: 'Glass Stairs!' }))
  const wanted = { artist: 'Mira Kessel', title: 'Glass Stairs' }
  expect(index.all({ artist: 'Mira Kessel', title: 'Glass Floor' })).toEqual([])
  expect(index.all(wanted)).toEqual(['first', 'second'])
  index.take('first')
  expect(index.all(wanted)).toEqual(['second'])
  expect([index.has('first'), index.has('second')]).toEqual([true, false])
  index.take('second')
  expect(index.all(wanted)).toEqual([])
  expect(index.all({ artist: 'x', title: 'y' })).toEqual([])
})

describe('chooseByName', () => {
  const lost = { filePath: 'old/Song.mp3', fileSize: 4_000_000, duration: 240 }
  const file = (path: string, changes: Partial<NamedFile> = {}): NamedFile => ({
    path,
    size: 4_100_000,
    duration: 238,
    isCut: false,
    ...changes,
  })
  const half = file('new/Song.mp3', { duration: 120 })
  const cut = file('new/Song.mp3', { isCut: true })
  const whole = file('new/Whole.mp3')
  test.each<[string, NamedFile[], string]>([
    ['nothing', [], 'none'],
    ['the only one', [whole], 'new/Whole.mp3'],
    ['one of 3 s', [file('new/Song.mp3', { duration: 3 })], 'none'],
    ['half a file', [half], 'none'],
    ['half a file beside the whole one', [half, whole], 'new/Whole.mp3'],
    ['a cut one beside the whole one', [cut, whole], 'new/Whole.mp3'],
    ['a cut one, and no other', [cut], 'new/Song.mp3'],
    ['one of unknown length', [file('new/Song.mp3', { duration: undefined })], 'new/Song.mp3'],
    ['another release, some seconds longer', [file('new/Song.mp3', { duration: 262 })], 'new/Song.mp3'],
    ['two that fit', [whole, file('new/Other.mp3')], 'new/Whole.mp3 or new/Other.mp3'],
    ['two, one of the same size', [whole, file('new/Other.mp3', { size: 4_000_000 })], 'new/Other.mp3'],
    ['two, one called as before', [whole, file('new/Song.mp3')], 'new/Song.mp3'],
    ['two called as before', [file('a/Song.mp3'), file('b/Song.mp3')], 'a/Song.mp3 or b/Song.mp3'],
  ])('%s', (_, files, expected) => {
    const choice = chooseByName(lost, files)
    const told =
      choice?.kind === 'one'
        ? choice.file.path
        : (choice?.files.map(({ path }) => path).join(' or ') ?? 'none')
    expect(told).toBe(expected)
  })
  test.each([
    // 15 %, and 15 seconds where that is more; a minute's share of those for what is shorter.
    [240, 276, true],
    [240, 276.1, false],
    [240, 204, true],
    [240, 203.9, false],
    [60, 75, true],
    [60, 75.1, false],
    [90, 105, true],
    [90, 105.1, false],
    [30, 37.5, true],
    [30, 37.6, false],
    [4, 5, true],
    [4, 5.1, false],
    // Of no length at all nothing is known.
    [0, 240, true],
    [-1, 240, true],
  ])('a row of %d s takes a file of %d s: %s', (wanted, duration, fits) => {
    const found = chooseByName({ ...lost, duration: wanted }, [file('x', { duration })])
    expect(found?.kind).toBe(fits ? 'one' : undefined)
  })

  const told = (row: Partial<typeof lost> | { filePath: null } | { fileSize: null }, files: NamedFile[]) => {
    const choice = chooseByName({ ...lost, ...row }, files)
    return choice?.kind === 'one' ? choice.file.path : choice?.files.map(({ path }) => path).join(' or ')
  }
  test('of several, the size decides before the name, and neither where it is not known or not of one alone', () => {
    const [a, b] = [file('a/Song.mp3'), file('b/Other.mp3', { size: 4_000_000 })]
    expect(told({}, [a, b])).toBe('b/Other.mp3')
    expect(told({ fileSize: null }, [a, b])).toBe('a/Song.mp3')
    expect(told({ fileSize: null, filePath: null }, [a, b])).toBe('a/Song.mp3 or b/Other.mp3')
    expect(told({ fileSize: 4_100_000 }, [a, file('c/Other.mp3')])).toBe('a/Song.mp3')
    expect(told({ filePath: 'Song.mp3' }, [a, file('c/Other.mp3')])).toBe('a/Song.mp3')
    expect(told({ filePath: null }, [a, file('c/')])).toBe('a/Song.mp3 or c/')
    // The same name in another Unicode form.
    const composed = file('x/Jo\u0301ga.mp3')
    expect(told({ filePath: 'old/J\u00f3ga.mp3' }, [file('x/Other.mp3'), composed])).toBe(composed.path)
  })

  test('a row that says nothing of its file takes what bears its name', () => {
    expect(chooseByName({ filePath: null, fileSize: null, duration: null }, [half])).toEqual({
      kind: 'one',
      file: half,
    })
  })
})
