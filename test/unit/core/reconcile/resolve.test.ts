import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { audioSelection } from '../../../../src/core/audio-selection.ts'
import { sameContent } from '../../../../src/core/reconcile/classify.ts'
import { DiskJoin } from '../../../../src/core/reconcile/disk-join.ts'
import type { Comparison, ObjectFacts, RowFacts } from '../../../../src/core/reconcile/facts.ts'
import { mergeOrdered } from '../../../../src/core/reconcile/merge.ts'
import { foldCase, isStrayAudio, type KeyPlace, twinKind } from '../../../../src/core/reconcile/names.ts'
import { Resolver } from '../../../../src/core/reconcile/resolve.ts'
import { compareUtf8 } from '../../../../src/core/utf8-order.ts'
import { memorySorter, memorySpool } from '../../../support/memory-records.ts'

const sha = (content: number): string => String(content).padStart(64, '0')
const name = fc
  .array(fc.constantFrom('a', 'A', 'é', 'e\u0301', 'É', 'ς', 'σ', 'Σ', '\n', '😀'), {
    minLength: 1,
    maxLength: 2,
  })
  .map(parts => `audio/${parts.join('')}`)

const library = fc.record({
  objects: fc.uniqueArray(
    fc.record({
      key: name,
      content: fc.integer({ min: 0, max: 5 }),
      hashed: fc.boolean(),
      parts: fc.boolean(),
    }),
    { selector: object => object.key, maxLength: 8 },
  ),
  rows: fc.array(
    fc.record({ key: name, content: fc.option(fc.integer({ min: 0, max: 5 })), sized: fc.boolean() }),
    {
      maxLength: 8,
    },
  ),
})

/** Content n has n bytes; its ETag depends on whether it was uploaded in parts. */
function build({ objects, rows }: typeof library extends fc.Arbitrary<infer T> ? T : never) {
  return {
    objects: objects.map(
      ({ key, content, hashed, parts }): ObjectFacts => ({
        key,
        size: content,
        etag: `m${content}${parts ? '-2' : ''}`,
        lastModified: 0,
        ...(hashed ? { contentSha256: sha(content) } : {}),
      }),
    ),
    rows: rows.map(({ key, content, sized }, index): RowFacts & { key: string } => ({
      trackId: `t${index}`,
      key,
      source: 'S3',
      size: sized && content !== null ? content : null,
      path: null,
      ...(content === null
        ? {}
        : { proof: { size: content, etag: `m${content}`, sha256: sha(content), at: 0 } }),
    })),
  }
}

async function resolve(
  rows: (RowFacts & { key: string })[],
  objects: ObjectFacts[],
  place?: KeyPlace,
): Promise<Comparison[]> {
  const resolver = new Resolver(memorySorter, memorySpool(), objects.length, place)
  async function* once<T>(entries: T[]): AsyncGenerator<T[]> {
    yield entries
  }
  rows.sort((a, b) => compareUtf8(a.key, b.key))
  objects.sort((a, b) => compareUtf8(a.key, b.key))
  for await (const pairs of mergeOrdered(
    once(rows),
    once(objects),
    row => row.key,
    object => object.key,
  )) {
    for (const { left, right, again } of pairs) {
      if (left === undefined) await resolver.orphan(right!)
      else if (right === undefined) await resolver.missing(left, false)
      else if (again !== true) await resolver.held(right, right.contentSha256)
    }
  }
  const comparisons: Comparison[] = []
  for await (const batch of resolver.resolve()) {
    if (batch.length === 0) throw new Error('an empty batch')
    comparisons.push(...batch)
  }
  return comparisons
}

const classes = (comparison: Comparison | undefined): string[] =>
  (comparison?.differences ?? []).map(d => d.class)

describe('Resolver', () => {
  it('explains every unmatched row and object exactly as looking at all pairs would', async () => {
    await fc.assert(
      fc.asyncProperty(library, async drawn => {
        const { rows, objects } = build(drawn)
        const comparisons = await resolve(rows, objects)
        const keys = new Set(objects.map(object => object.key))
        const named = new Set(rows.map(row => row.key))
        const equalBytes = (a: ObjectFacts, b: ObjectFacts): boolean =>
          a.size > 0 &&
          (a.contentSha256 !== undefined && b.contentSha256 !== undefined
            ? a.contentSha256 === b.contentSha256
            : a.etag === b.etag)

        const ofRows = comparisons.filter(comparison => comparison.row !== undefined)
        const missing = rows.filter(row => !keys.has(row.key))
        expect(ofRows.map(comparison => comparison.row!.trackId).sort()).toEqual(
          missing.map(row => row.trackId).sort(),
        )
        // What a twin has claimed is spoken for before contents are compared.
        const twinAnswers = new Set(
          ofRows
            .filter(comparison => classes(comparison)[0]?.endsWith('twin'))
            .map(comparison => comparison.other?.key),
        )
        for (const { row, other, differences } of ofRows) {
          const twins = objects.filter(
            object =>
              twinKind(row!.key!, object.key) !== undefined && sameContent(row!, object) !== 'different',
          )
          const equals = objects.filter(
            object => object.size > 0 && row!.proof !== undefined && sameContent(row!, object) === 'same',
          )
          const [difference] = differences
          expect(differences.length).toBe(1)
          if (twins.length > 0) {
            const kinds = twins.map(twin => twinKind(row!.key!, twin.key))
            expect(difference?.class).toBe(kinds.includes('nfc-twin') ? 'nfc-twin' : 'case-twin')
            expect(twins.map(twin => twin.key)).toContain(other?.key)
          } else if (equals.length > 0) {
            expect(difference?.class).toBe('moved')
            expect(equals.map(object => object.key)).toContain(other?.key)
            if (equals.some(object => !named.has(object.key) && !twinAnswers.has(object.key)))
              expect(named.has(other!.key)).toBe(false)
          } else {
            expect(difference?.class).toBe('missing-object')
            expect(other).toBeUndefined()
          }
        }

        const answers = new Set(ofRows.map(comparison => comparison.other?.key))
        for (const object of objects) {
          const own = comparisons.filter(comparison => comparison.object?.key === object.key)
          const orphan = own.filter(comparison => classes(comparison).includes('orphan-object'))
          if (named.has(object.key) || answers.has(object.key)) expect(orphan).toEqual([])
          // What a row claims stays, even where the row found a better answer in the end.
          else if (!missing.some(row => sameContent(row, object) === 'same')) expect(orphan.length).toBe(1)
          for (const comparison of own) {
            expect(comparison.sigil).toBe(classes(comparison).includes('orphan-object') ? '-' : '=')
            if (classes(comparison).includes('duplicate-content')) {
              const other = objects.find(candidate => candidate.key === comparison.other?.key)
              expect(other !== undefined && equalBytes(object, other) && other !== object).toBe(true)
            }
          }
        }
        // Of every set of objects known to be equal, all but one are told to be duplicates (or are a row's answer).
        for (const a of objects) {
          for (const b of objects) {
            if (a === b || !equalBytes(a, b)) continue
            const told = [a, b].some(
              object =>
                comparisons.some(
                  f => f.object?.key === object.key && classes(f).includes('duplicate-content'),
                ) ||
                (!named.has(object.key) && missing.some(row => sameContent(row, object) === 'same')),
            )
            expect(told).toBe(true)
          }
        }
      }),
      { numRuns: 500 },
    )
  })

  const row = (key: string, over: Omit<Partial<RowFacts>, 'key'> = {}): RowFacts & { key: string } => ({
    trackId: `row ${key}`,
    key,
    source: 'S3',
    size: 5,
    path: null,
    ...over,
  })
  const object = (key: string, etag: string, size = 5): ObjectFacts => ({ key, etag, size, lastModified: 0 })
  const said = (comparisons: Comparison[]): string[] =>
    comparisons
      .map(f => `${f.sigil} ${f.name}: ${classes(f).join(' ')}${f.other ? ` > ${f.other.key}` : ''}`)
      .sort()

  it('tells an orphan that is the twin of an object with a row', async () => {
    expect(
      said(await resolve([row('Song.mp3')], [object('Song.mp3', '1'), object('song.mp3', '2')])),
    ).toEqual(['- song.mp3: orphan-object case-twin'])
  })

  it('does not take a twin of other content for the answer', async () => {
    const proof = { size: 5, etag: '1', at: 0 }
    const rows = [row('Song.mp3', { proof })]
    expect(said(await resolve(rows, [object('elsewhere.mp3', '1'), object('song.mp3', '2', 6)]))).toEqual([
      '* Song.mp3: moved > elsewhere.mp3',
      '- song.mp3: orphan-object',
    ])
  })

  it('gives a row that names its object by a URL, or without the prefix, that very object', async () => {
    const place = { bucket: 'music', prefix: 'audio/' }
    const objects = [object('audio/x.mp3', '1'), object('audio/X.mp3', '2'), object('audio/y.mp3', '3', 6)]
    const rows = [row('s3://music/audio/x.mp3'), row('y.mp3'), row('s3://other/audio/z.mp3')]
    expect(said(await resolve(rows, objects, place))).toEqual([
      '* s3://music/audio/x.mp3: misspelt-key > audio/x.mp3',
      '* y.mp3: misspelt-key > audio/y.mp3',
      '+ s3://other/audio/z.mp3: missing-object',
      '- audio/X.mp3: orphan-object',
    ])
    expect(said(await resolve([row('y.mp3')], [object('audio/y.mp3', '3')]))).toEqual([
      '+ y.mp3: missing-object',
      '- audio/y.mp3: orphan-object',
    ])
  })

  it('believes the SHA-256 of moved content before its ETag', async () => {
    const proof = { size: 5, etag: '1', sha256: sha(5), at: 0 }
    const objects = [object('a.mp3', '1'), { ...object('b.mp3', '2-2'), contentSha256: sha(5) }]
    expect(said(await resolve([row('x.mp3', { proof })], objects))).toEqual(['* x.mp3: moved > b.mp3'])
  })

  it('gives a row the orphan of its content, not the object of another row', async () => {
    const proof = { size: 5, etag: '1', at: 0 }
    const objects = ['a.mp3', 'b.mp3', 'o.mp3'].map(key => object(key, '1'))
    const found = await resolve([row('a.mp3'), row('b.mp3'), row('x.mp3', { proof })], objects)
    expect(said(found)).toContain('* x.mp3: moved > o.mp3')
  })

  it('lets two rows share the object that was moved', async () => {
    const proof = { size: 5, etag: '1', at: 0 }
    const rows = [row('x.mp3', { proof }), row('y.mp3', { proof })]
    expect(said(await resolve(rows, [object('z.mp3', '1')]))).toEqual([
      '* x.mp3: moved > z.mp3',
      '* y.mp3: moved > z.mp3',
    ])
  })

  describe('what plans have moved to quarantine', () => {
    const proof = { size: 5, etag: '1', at: 0 }
    const at = (etag: string, lastModified: number, size = 5): ObjectFacts => ({
      key: `quarantine/${etag}/${lastModified}/x.mp3`,
      etag,
      size,
      lastModified,
    })
    const removed = async (missing: RowFacts & { key: string }, objects: readonly ObjectFacts[]) => {
      const resolver = new Resolver(memorySorter, memorySpool(), 1)
      await resolver.missing(missing, false)
      for (const one of objects) await resolver.quarantined('x.mp3', one)
      return (await Array.fromAsync(resolver.resolve())).flat()[0]?.removed
    }
    it.each<[string, ObjectFacts[], string | undefined]>([
      ['nothing', [], undefined],
      ['what it had', [at('1', 7)], 'quarantine/1/7/x.mp3'],
      ['the newest', [at('1', 7), at('1', 9), at('1', 8)], 'quarantine/1/9/x.mp3'],
      ['what may be it', [at('2', 7)], 'quarantine/2/7/x.mp3'],
      ['nothing of another size', [at('2', 9, 6)], undefined],
      ['the newest of those that may be it', [at('2', 9, 6), at('1', 7)], 'quarantine/1/7/x.mp3'],
    ])('a row is given back %s', async (_, objects, from) => {
      const given = await removed(row('x.mp3', { proof }), objects)
      expect(given?.from).toBe(from)
      if (from !== undefined) expect(given?.object.key).toBe('x.mp3')
    })
    it('of another key nothing', async () => {
      expect(await removed(row('y.mp3', { proof }), [at('1', 7)])).toBeUndefined()
    })
  })

  it('prefers a twin that is known to hold the same to one that may', async () => {
    const proof = { size: 5, etag: '1', at: 0 }
    for (const [same, other] of [
      ['X.mp3', 'x.MP3'],
      ['x.MP3', 'X.mp3'],
    ] as const)
      expect(said(await resolve([row('x.mp3', { proof })], [object(same, '1'), object(other, '2')]))[0]).toBe(
        `* x.mp3: case-twin > ${same}`,
      )
  })

  it('closes what it has spooled, even if nobody reads to the end', async () => {
    let closed = 0
    const spool = { ...memorySpool(), close: async () => void closed++ }
    const resolver = new Resolver(memorySorter, spool, 1)
    await resolver.orphan(object('a', '1'))
    await resolver.orphan(object('b', '2'))
    for await (const _ of resolver.resolve()) break
    expect(closed).toBe(1)
  })

  it('never calls empty objects duplicates', async () => {
    expect(said(await resolve([], [object('x', 'd41d', 0), object('y', 'd41d', 0)]))).toEqual([
      '- x: orphan-object',
      '- y: orphan-object',
    ])
  })
})

describe('DiskJoin', () => {
  it('misses no row for what import leaves alone', async () => {
    const join = new DiskJoin(memorySorter, audioSelection({ ignoreFile: 'Samples/' }))
    for (const path of ['a.mp3', '@eaDir/a.mp3', '$RECYCLE.BIN/b.mp3', 'Samples/kick.wav'])
      await join.file({ path, size: 1 })
    const found: string[] = []
    for await (const { comparisons } of join.resolve()) found.push(...comparisons.map(({ name }) => name))
    expect(found).toEqual(['a.mp3'])
  })

  it('tells no file for a stray that a row names through a link, and hands on what is there', async () => {
    const real = { path: 'real.mp3', size: 1, changed: 7 }
    const join = new DiskJoin(memorySorter, undefined, async path =>
      path === 'link.mp3' ? { there: true, file: real } : { there: undefined },
    )
    await join.file({ path: 'other.mp3', size: 2 })
    await join.file(real)
    const row = (trackId: string, key: string | null, path: string): [RowFacts, string] => [
      { trackId, key, source: 'LOCAL', size: 1, path },
      path,
    ]
    await join.row(...row('linked', 'k', 'link.mp3'))
    await join.row(...row('linked, without key', null, 'link.mp3'))
    await join.row(...row('not looked', null, 'dir/x.mp3'))
    await join.row(...row('nowhere', 'k', 'y.mp3'))
    await join.row(...row('own', 'k', 'other.mp3'))
    const batches = await Array.fromAsync(join.resolve())
    expect(batches.every(({ comparisons, copies }) => comparisons.length + copies.length > 0)).toBe(true)
    const copies = batches.flatMap(batch => batch.copies).map(({ row, file }) => [row.trackId, row.key, file])
    expect(copies).toEqual([
      ['linked', 'k', real],
      ['own', 'k', { path: 'other.mp3', size: 2 }],
    ])
    expect(
      batches
        .flatMap(batch => batch.comparisons)
        .map(({ sigil, name, fileThere }) => [sigil, name, fileThere]),
    ).toEqual([
      ['=', 'not looked', undefined],
      ['=', 'linked, without key', true],
    ])
  })

  it('takes an empty file for none, and offers no import of it', async () => {
    const join = new DiskJoin(memorySorter)
    for (const path of ['empty.mp3', 'stray-empty.mp3']) await join.file({ path, size: 0 })
    await join.file({ path: 'stray.mp3', size: 1 })
    const row: RowFacts = { trackId: 't', key: null, source: 'LOCAL', size: 1, path: 'empty.mp3' }
    await join.row(row, 'empty.mp3')
    const said: Record<string, string> = {}
    for await (const { comparisons } of join.resolve())
      for (const { name, differences } of comparisons)
        said[name] = `${differences[0]?.class}: ${differences[0]?.detail}`
    expect(said).toEqual({
      t: 'no-audio: file_source LOCAL, no key, the file is empty: empty.mp3',
      'stray-empty.mp3': 'empty-file: no row names it, and it is empty: it can be deleted',
      'stray.mp3': 'local-file-without-row: no row names it; `autodj import` creates one',
    })
  })

  it('finds exactly the files no row names and the rows whose file is gone', async () => {
    const path = fc.constantFrom('é.mp3', 'e\u0301.mp3', 'E\u0301.mp3', 'a.mp3', 'A.mp3', 'b\n.mp3')
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(path), fc.array(path, { maxLength: 6 }), async (files, paths) => {
        const join = new DiskJoin(memorySorter)
        for (const file of files) await join.file({ path: file, size: 1 })
        for (const [index, wanted] of paths.entries()) {
          const keyless: RowFacts = {
            trackId: `t${index}`,
            key: null,
            source: 'LOCAL',
            size: 1,
            path: wanted,
          }
          await join.row(keyless, wanted)
        }
        const comparisons: Comparison[] = []
        for await (const batch of join.resolve()) comparisons.push(...batch.comparisons)
        const nfc = (text: string): string => text.normalize('NFC')
        for (const [index, wanted] of paths.entries()) {
          const found = comparisons.filter(comparison => comparison.row?.trackId === `t${index}`)
          expect(found.length).toBe(1)
          expect(found[0]!.fileThere).toBe(files.some(file => nfc(file) === nfc(wanted)))
        }
        const stray = comparisons
          .filter(comparison => comparison.file !== undefined)
          .map(comparison => comparison.file!.path)
        const expected = files.filter(
          file =>
            !paths.includes(file) &&
            // Its other normalisation is named, and is not there itself.
            !paths.some(wanted => nfc(wanted) === nfc(file) && !files.includes(wanted)),
        )
        for (const file of expected) expect(stray).toContain(file)
        for (const file of stray) expect(paths).not.toContain(file)
      }),
    )
  })
})

describe('names', () => {
  it('folds normalisation and case together, and nothing else', () => {
    expect(foldCase('É')).toBe(foldCase('e\u0301'))
    expect(foldCase('ΟΔΟΣ')).toBe(foldCase('οδος'))
    expect(foldCase('Straße')).not.toBe(foldCase('STRASSE'))
    expect(twinKind('a', 'a')).toBeUndefined()
    expect(twinKind('é', 'e\u0301')).toBe('nfc-twin')
    expect(twinKind('É', 'e\u0301')).toBe('case-twin')
    expect(twinKind('a', 'b')).toBeUndefined()
    // Kelvin sign: its NFC is the letter K.
    expect(twinKind('\u212a', 'K')).toBe('nfc-twin')
  })

  it('knows audio that is not hidden by its name', () => {
    for (const path of ['a.mp3', 'A/b.FLAC', 'A.B/c d.opus'])
      expect([path, isStrayAudio(path)]).toEqual([path, true])
    for (const path of ['a.jpg', 'mp3', 'a.mp3.part', '._a.mp3', '.trash/a.mp3', 'A/.b/c.mp3'])
      expect([path, isStrayAudio(path)]).toEqual([path, false])
  })

  it('gives every normalisation and case of a name one fold', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', 'Z', 'é', 'Å', 'ñ', 'ж', 'Σ', 'ﬁ', '가', '1'), maxLength: 6 }),
        text => {
          for (const form of ['NFC', 'NFD'] as const) {
            expect(foldCase(text.normalize(form))).toBe(foldCase(text))
            expect(foldCase(text.toLowerCase().normalize(form))).toBe(foldCase(text))
          }
          expect(foldCase(foldCase(text))).toBe(foldCase(text))
        },
      ),
    )
  })
})
