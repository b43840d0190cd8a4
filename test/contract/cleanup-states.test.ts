/** Which local copies `cleanup` lets go, in which order, and what it finds of what the past has left: by tables, on a real store. */
import { randomUUID } from 'node:crypto'
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { keepChangeTimes } from '../../src/audio-files/change-times.ts'
import { WatchedFolder } from '../../src/audio-files/mounted.ts'
import { Readers } from '../../src/audio-files/readers.ts'
import { LocalFileError } from '../../src/audio-files/source.ts'
import {
  emptyFolders,
  expiredQuarantine,
  filesAside,
  type Leftover,
  oldRuns,
  restoreDrafts,
  staleTempFolders,
  staleUploads,
} from '../../src/cleanup/leftovers.ts'
import { dispensableCopies, removeCopy } from '../../src/cleanup/local-copies.ts'
import { loadConfig } from '../../src/config.ts'
import { plainFolder } from '../../src/core/audio-path.ts'
import { localTrackId } from '../../src/core/import/content-id.ts'
import { draftPrefix } from '../../src/core/prefixes.ts'
import { openUploads, rememberFiles, startRun, upsertObjects } from '../../src/db/ledger.ts'
import { ExternalSorter } from '../../src/external-sort/sorter.ts'
import { asidePrefix } from '../../src/file-effects.ts'
import { StoreError } from '../../src/storage/store.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { hooked } from '../support/hooked-store.ts'
import { ledgerUpload } from '../support/ledger.ts'
import { openBelow } from '../support/process.ts'
import { crc32Text, sha256 } from '../support/sums.ts'

let bed: TestBed
let readers: Readers
const { signal } = new AbortController()
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
  readers = new Readers(1)
})
afterAll(async () => {
  await readers.close()
  await bed.close()
})
beforeEach(() => bed.reset())

const at = (...names: string[]) => path.join(bed.audioRoot, ...names)
function write(file: string, bytes: Uint8Array | string = 'x', usedAt?: number): void {
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, bytes)
  if (usedAt !== undefined) utimesSync(file, usedAt / 1_000, usedAt / 1_000)
}
const hour = 3_600_000
const now = Date.parse('2026-11-29T12:00:00Z')

describe('which copies may go', () => {
  interface Wanted {
    olderThan?: number
    maxBytes?: number
    selected?: string[]
    /** of those that are tried, the ones that have to be kept */
    kept?: string[]
  }
  async function going({ olderThan = 0, maxBytes, selected, kept = [] }: Wanted) {
    let recent: number | undefined
    const copies = dispensableCopies(
      bed.database,
      plainFolder(bed.audioRoot),
      {
        olderThan,
        maxBytes,
        signal,
        ...(selected && { selected }),
        recent: count => {
          recent = count
        },
      },
      now,
      new ExternalSorter(bed.dir, 'copies'),
    )
    const paths: string[] = []
    for await (const copy of copies) {
      const note = [copy.missing && ' (missing)', copy.isShared && ' (shared)'].filter(Boolean)
      paths.push(`${copy.path}${note.join('')}`)
      const size = copy.missing || copy.isShared ? 0 : statSync(at(copy.path)).size
      expect([copy.file, copy.size]).toEqual([copy.missing ? undefined : at(copy.path), size])
      copy.settle(!kept.includes(copy.path))
    }
    return { paths, recent }
  }
  /** Files of 100 bytes, used so many hours ago; and rows of other kinds, that are nobody's to let go. */
  async function library(): Promise<Map<string, string>> {
    const ids = new Map<string, string>()
    for (const [name, hours] of [
      ['b', 5],
      ['a', 10],
      ['c', 2],
      ['d', 1],
    ] as const) {
      write(at(name), 'x'.repeat(100), now - hours * hour)
      ids.set(name, await bed.addTrack({ path: name, source: 'S3', key: `audio/${name}` }))
    }
    ids.set('gone', await bed.addTrack({ path: 'gone', source: 'S3', key: 'audio/gone' }))
    for (const other of ['local', 'no key']) write(at(other), 'x'.repeat(100), now - 100 * hour)
    await bed.addTrack({ path: 'local', source: 'LOCAL' })
    await bed.addTrack({ path: 'no key', source: 'S3' })
    await bed.addTrack({ path: null, source: 'S3', key: 'audio/none' })
    // Not a file that is gone, but none that can be told of.
    mkdirSync(at('folder'))
    await bed.addTrack({ path: 'folder', source: 'S3', key: 'audio/folder' })
    return ids
  }

  test('all that is unused for long enough, oldest first, and what is gone before all', async () => {
    await library()
    expect(await going({})).toEqual({ paths: ['gone (missing)', 'a', 'b', 'c', 'd'], recent: undefined })
    expect(await going({ olderThan: 2 * hour })).toEqual({
      paths: ['gone (missing)', 'a', 'b', 'c'],
      recent: 1,
    })
    expect(await going({ olderThan: 2 * hour + 1 })).toEqual({
      paths: ['gone (missing)', 'a', 'b'],
      recent: 2,
    })
    // What names nothing is never too recent, not even where no time is long enough ago.
    for (const olderThan of [100 * hour, now + hour])
      expect(await going({ olderThan })).toEqual({ paths: ['gone (missing)'], recent: 4 })
  })

  test('the later of reading and writing is its last use', async () => {
    await library()
    utimesSync(at('a'), now / 1_000, (now - 10 * hour) / 1_000)
    utimesSync(at('b'), (now - 10 * hour) / 1_000, now / 1_000)
    expect((await going({ olderThan: hour })).paths).toEqual(['gone (missing)', 'c', 'd'])
    // What clocks that are wrong have set is no use of it: that it was set was the last.
    utimesSync(at('a'), (now + hour) / 1_000, (now - 10 * hour) / 1_000)
    utimesSync(at('b'), (now + hour) / 1_000, (now + hour) / 1_000)
    expect(await going({ olderThan: 1 })).toEqual({ paths: ['gone (missing)', 'a', 'c', 'd'], recent: 1 })
  })

  test('of rows that share a file one stands for it, and the others for a path, which makes no room', async () => {
    await library()
    for (const name of ['a', 'gone'])
      await bed.addTrack({ path: `./${name}`, source: 'S3', key: `audio/${name} too` })
    // Used at the same moment as another.
    utimesSync(at('b'), (now - 10 * hour) / 1_000, (now - 10 * hour) / 1_000)
    const { paths, recent } = await going({ olderThan: 100 * hour, maxBytes: 400 })
    expect([paths.map(one => one.replace('./', '')), recent]).toEqual([
      ['gone (missing)', 'gone (missing)', 'a', 'a (shared)', 'b'],
      2,
    ])
  })

  test('only what is selected', async () => {
    const ids = await library()
    expect((await going({ selected: [ids.get('b') as string] })).paths).toEqual(['b'])
  })

  test('as many more as it takes to come below a size, and what must be kept makes no room', async () => {
    await library()
    // Six files of 100 bytes, of which two are nobody's to let go.
    const old = { olderThan: 100 * hour }
    expect(await going({ ...old, maxBytes: 600 })).toEqual({ paths: ['gone (missing)'], recent: 4 })
    expect(await going({ ...old, maxBytes: 599 })).toEqual({ paths: ['gone (missing)', 'a'], recent: 3 })
    expect(await going({ ...old, maxBytes: 400 })).toEqual({ paths: ['gone (missing)', 'a', 'b'], recent: 2 })
    expect(await going({ ...old, maxBytes: 0 })).toEqual({
      paths: ['gone (missing)', 'a', 'b', 'c', 'd'],
      recent: undefined,
    })
    expect(await going({ ...old, maxBytes: 400, kept: ['a', 'b'] })).toEqual({
      paths: ['gone (missing)', 'a', 'b', 'c', 'd'],
      recent: undefined,
    })
    // What is unused goes, however much room there is.
    expect(await going({ olderThan: 5 * hour, maxBytes: 1_000 })).toEqual({
      paths: ['gone (missing)', 'a', 'b'],
      recent: 2,
    })
  })

  test('that one more has to go is said only once it is so, however those before it end', async () => {
    await library()
    const copies = dispensableCopies(
      bed.database,
      plainFolder(bed.audioRoot),
      { olderThan: 100 * hour, maxBytes: 400, signal, recent: () => {} },
      now,
      new ExternalSorter(bed.dir, 'copies'),
    )[Symbol.asyncIterator]()
    const next = async () => (await copies.next()).value
    const [gone, a, b] = [await next(), await next(), await next()]
    expect([gone?.path, a?.path, b?.path]).toEqual(['gone', 'a', 'b'])
    gone?.settle(true)
    let isSaid = false
    const third = next().then(copy => {
      isSaid = true
      return copy
    })
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(isSaid).toBe(false)
    // Whatever becomes of the other one.
    a?.settle(false)
    expect((await third)?.path).toBe('c')
    const fourth = next()
    b?.settle(true)
    ;(await third)?.settle(true)
    expect(await fourth).toBeUndefined()
  })
})

describe('a copy goes', () => {
  const content = fakeAudio(3_000, 1)
  const key = 'audio/a.flac'
  const put = (bytes: Uint8Array = content) =>
    bed.store.put(key, bytes, {
      headers: {
        contentType: 'audio/flac',
        metadata: { sha256: sha256(bytes) },
      },
      checksums: { crc32: crc32Text(bytes) },
    })
  type Row = { source?: string | null; key?: string | null; path?: string }
  async function remove(
    {
      row = {},
      object = content,
      file = content,
      dryRun = false,
    }: {
      row?: Row | null
      object?: Uint8Array | null
      file?: Uint8Array | null | 'folder'
      dryRun?: boolean
    },
    store = bed.store,
    reading: Pick<Readers, 'hashSource'> = readers,
  ) {
    const id = await bed.addTrack({ path: 'a.flac', source: 'S3', key })
    const { path: place = 'a.flac', source = 'S3', key: named = key } = row ?? {}
    const columns = { file_path: place, file_source: source, s3_object_key: named }
    if (row === null) await bed.database.knex('tracks').where({ id }).delete()
    else await bed.database.knex('tracks').where({ id }).update(columns)
    if (object !== null) await put(object)
    if (file === 'folder') mkdirSync(at('a.flac'))
    else if (file !== null) write(at('a.flac'), file)
    const runId = await bed.startRun('cleanup')
    const copy = { trackId: id, path: 'a.flac', file: at('a.flac'), size: 3_000, lastUsed: 0 }
    const context = { config: loadConfig({ cwd: bed.dir, env: bed.env }), now: () => new Date(now), signal }
    const outcome = await removeCopy(context, bed.database, store, reading as Readers, copy, {
      runId,
      served: undefined,
      folder: new WatchedFolder(bed.audioRoot),
      dryRun,
    })
    // What is open would stay, on NFS and FUSE.
    expect(openBelow(bed.audioRoot)).toEqual([])
    const after = (await bed.tracks()).get(id)
    const [known] = await bed.database.knex('autodj_ledger.objects')
    return { outcome, isThere: existsSync(at('a.flac')), path: after?.file_path, known }
  }
  const kept = (code: string) => ({ outcome: { state: 'kept', code }, isThere: true })

  test('once its object is proved; the row and the ledger say so', async () => {
    const { outcome, isThere, path: left, known } = await remove({})
    expect([outcome, isThere, left]).toEqual([{ state: 'deleted', bytes: 3_000 }, false, null])
    expect(known).toMatchObject({ key, sha256: sha256(content) })
    expect([known.crc32, known.verified_at]).toEqual([crc32Text(content), new Date(now)])
  })

  test.each<[string, Parameters<typeof remove>[0], string]>([
    ['the row is gone', { row: null }, 'row.changed'],
    ['the row lives on its file', { row: { source: 'LOCAL' } }, 'row.changed'],
    ['the row has no key', { row: { key: null } }, 'row.changed'],
    ['the row names another file', { row: { path: 'b.flac' } }, 'row.changed'],
    ['the object is gone', { object: null }, 'object.missing'],
    ['the object is another', { object: fakeAudio(3_000, 2) }, 'object.differs'],
    ['the object is shorter', { object: content.subarray(0, 2_999) }, 'object.differs'],
    ['it is a folder by now', { file: 'folder' }, 'file.not-a-file'],
  ])('not where %s', async (_, given, code) => {
    expect(await remove(given)).toMatchObject(kept(code))
  })

  // Nothing looks at its row and its object once more then: a path that is let go of, and what a dry run says.
  test.each<[string, Row]>([
    ['lives on its file', { source: 'LOCAL' }],
    ['has no key', { key: null }],
    ['names another', { path: 'b.flac' }],
  ])('nor where the file is gone and the row %s: it keeps its path', async (_, row) => {
    expect(await remove({ row, file: null })).toMatchObject({
      outcome: { state: 'kept', code: 'row.changed' },
      path: row.path ?? 'a.flac',
    })
  })

  test.each([false, true])(
    'not where its object lies in an archive, or is back for a time only (dry run: %s)',
    async dryRun => {
      for (const more of [{ archive: 'archived' }, { restoredUntil: new Date(now) }] as const) {
        const store = hooked(bed.store, { head: { after: head => head && { ...head, ...more } } })
        const copy = await remove({ dryRun }, store)
        expect(copy).toMatchObject(kept('object.archived'))
        expect(copy.known).toBeUndefined()
        await bed.reset()
      }
    },
  )

  test('not where it changes while it is compared', async () => {
    const store = hooked(bed.store, {
      head: { after: head => head && { ...head, checksums: {} } },
      get: { before: () => utimesSync(at('a.flac'), 1, 1) },
    })
    expect(await remove({}, store)).toMatchObject(kept('file.changed'))
  })

  test('not where it cannot be read', async () => {
    const eio = new LocalFileError('unreadable', 'a.flac cannot be read: EIO')
    const hashSource = () => Promise.reject(eio)
    expect(await remove({}, bed.store, { hashSource })).toMatchObject(kept('file.unreadable'))
  })

  test('not where the store says what is about more than this one: that is thrown', async () => {
    const store = hooked(bed.store, {
      head: { after: head => head && { ...head, checksums: {} } },
      get: {
        before: () => {
          throw new StoreError('credentials', 'the key is gone')
        },
      },
    })
    await expect(remove({}, store)).rejects.toMatchObject({ kind: 'credentials' })
    expect(existsSync(at('a.flac'))).toBe(true)
  })

  test('and a row whose file is gone lets go of its path', async () => {
    expect(await remove({ file: null })).toMatchObject({
      outcome: { state: 'deleted', bytes: 0 },
      path: null,
    })
  })

  test('and a row that changes, is set back or refused, as it lets go of its path, keeps it', async () => {
    const { knex } = bed.database
    const meanwhile = (does: () => Promise<unknown>) =>
      hooked(bed.store, { head: { after: async () => void (await does()) } })
    const changed = meanwhile(() => knex('tracks').update({ file_path: 'b.flac' }))
    expect(await remove({ file: null }, changed)).toMatchObject({
      outcome: { state: 'kept', code: 'row.changed' },
      path: 'b.flac',
    })
    for (const [does, outcome] of [
      ['new.file_path := old.file_path; return new;', { code: 'row.set-back' }],
      ["raise 'mine';", { code: 'row.refused', reason: expect.stringMatching(/: mine$/) }],
    ] as const) {
      await bed.reset()
      await knex.raw(
        `create function public.keep() returns trigger language plpgsql as $$ begin ${does} end $$`,
      )
      await knex.raw(
        'create trigger keep before update on public.tracks for each row when (new.file_path is null) execute function public.keep()',
      )
      try {
        expect(await remove({ file: null })).toMatchObject({
          outcome: { state: 'kept', ...outcome },
          path: 'a.flac',
        })
      } finally {
        await knex.raw('drop function public.keep() cascade')
      }
    }
    // Of the table, and not of this row.
    await bed.reset()
    const renamed = meanwhile(() => knex.raw('alter table tracks rename file_source to was_source'))
    try {
      await expect(remove({ file: null }, renamed)).rejects.toMatchObject({ code: 'db.schema' })
    } finally {
      await knex.raw('alter table tracks rename was_source to file_source')
    }
  })

  test('and a dry run says as much, and changes nothing', async () => {
    const copy = await remove({ dryRun: true })
    expect(copy).toMatchObject({ outcome: { state: 'deleted', bytes: 3_000 }, isThere: true, path: 'a.flac' })
    expect(copy.known).toBeUndefined()
    await bed.reset()
    expect(await remove({ file: null, dryRun: true })).toMatchObject({
      outcome: { state: 'deleted', bytes: 0 },
      path: 'a.flac',
    })
  })

  test('by a hash that is remembered of the very same file, and of no other', async () => {
    const other = fakeAudio(3_000, 2)
    const remember = async (change: object, hashedLater = hour) => {
      write(at('a.flac'), content)
      const { size, mtimeNs, ctimeNs, ino, dev } = statSync(at('a.flac'), { bigint: true })
      const sum = { sha256: sha256(other), crc32: crc32Text(other) }
      const identity = { path: 'a.flac', size: Number(size), mtimeNs, ctimeNs, inode: ino, device: dev }
      await rememberFiles(bed.database.knex, [{ ...identity, ...sum, ...change }])
      // Long after it was written.
      await bed.database.knex('autodj_ledger.files').update({ hashed_at: new Date(Date.now() + hashedLater) })
      const id = await bed.addTrack({ path: 'a.flac', source: 'S3', key })
      await put()
      const context = { config: loadConfig({ cwd: bed.dir, env: bed.env }), now: () => new Date(now), signal }
      const copy = { trackId: id, path: 'a.flac', file: at('a.flac'), size: 3_000, lastUsed: 0 }
      const folder = new WatchedFolder(bed.audioRoot)
      const place = { runId: randomUUID(), served: undefined, folder, dryRun: true }
      const { state } = await removeCopy(context, bed.database, bed.store, readers, copy, place)
      await bed.reset()
      return state
    }
    // Its hash is another's: only who believes it finds a difference.
    keepChangeTimes.add(statfsSync(bed.audioRoot).type)
    expect(await remember({})).toBe('kept')
    expect(await remember({}, 0)).toBe('deleted')
    for (const change of [
      { inode: null },
      { device: null },
      { ctimeNs: null },
      { inode: 1n },
      { mtimeNs: 1n },
      { ctimeNs: 1n },
      { size: 2_999 },
    ])
      expect([Object.keys(change), await remember(change)]).toEqual([Object.keys(change), 'deleted'])
    expect(crc32(content)).not.toBe(crc32(other))
  })
})

const collect = async (kind: AsyncIterable<Leftover>) => Array.fromAsync(kind)

describe('what the past has left', () => {
  test('folders that hold nothing but empty ones, deepest first, once nobody is about to fill them', async () => {
    for (const folder of ['old/a/b', 'old/c', 'new', 'emptied', 'full/empty', 'mixed/empty', 'above/new'])
      mkdirSync(at(folder), { recursive: true })
    write(at('full/song.mp3'))
    write(at('deep/full/song.mp3'))
    symlinkSync('song.mp3', at('mixed/link'))
    const age = (folder: string, ms: number) => utimesSync(at(folder), (now - ms) / 1_000, (now - ms) / 1_000)
    for (const folder of readdirSync(bed.audioRoot, { recursive: true }))
      if (lstatSync(at(`${folder}`)).isDirectory()) age(`${folder}`, hour)
    for (const folder of ['new', 'above/new']) age(folder, hour - 1_000)
    age('emptied', 0)
    const found = await collect(emptyFolders(bed.audioRoot, now, new Set([at('emptied')])))
    expect(found.map(({ subject }) => subject)).toEqual(
      readdirSync(bed.audioRoot).flatMap(
        name =>
          ({
            emptied: ['emptied'],
            full: ['full/empty'],
            mixed: ['mixed/empty'],
            old: readdirSync(at('old'))
              .flatMap(one => (one === 'a' ? ['old/a/b', 'old/a'] : ['old/c']))
              .concat('old'),
          })[name] ?? [],
      ),
    )
    for (const { kind } of found) expect(kind).toBe('empty-folder')
    // Somebody was faster.
    write(at('old/c/song.mp3'))
    const ends = new Map<string, string | undefined>()
    for (const { subject, remove } of found) ends.set(subject, await remove())
    expect(ends.get('old/a/b')).toBeUndefined()
    expect(ends.get('old/c')).toMatch(/^not removed: /)
    expect(ends.get('old')).toMatch(/^not removed: /)
    expect(readdirSync(bed.audioRoot).sort()).toEqual(['above', 'deep', 'full', 'mixed', 'new', 'old'])
    // Somebody is at work in the one above.
    const half = emptyFolders(bed.audioRoot, Number.POSITIVE_INFINITY, new Set())
    mkdirSync(at('work/1'), { recursive: true })
    mkdirSync(at('work/2'))
    for await (const { subject } of half) {
      expect(subject).not.toBe('work')
      if (subject === 'work/1') rmdirSync(at('work/2'))
      if (subject === 'work/2') rmdirSync(at('work/1'))
    }
    // The root itself is none.
    rmSync(bed.audioRoot, { recursive: true })
    mkdirSync(bed.audioRoot)
    utimesSync(bed.audioRoot, 1, 1)
    expect(await collect(emptyFolders(bed.audioRoot, now, new Set()))).toEqual([])
    expect(await collect(emptyFolders(at('not there'), now, new Set()))).toEqual([])
  })

  test('a file that a killed run had taken aside goes back where it was, unless another is there', async () => {
    const folder = (name: string) => `${asidePrefix}${name}`
    write(at('A', folder('1'), 'a.mp3'), 'a')
    write(at(folder('2'), 'b.mp3'), 'old')
    write(at('b.mp3'), 'new')
    // What the network calls so is nobody's any longer; what is only called like it is.
    for (const name of ['.nfs000123', '.fuse_hidden00ff']) write(at(folder('3'), name), 'x')
    const alike = ['1.nfs01', '.nfs01.mp3', '.nfs', '.nfsx'].map(name => `B/${name}`)
    for (const one of alike) write(at('B', folder('4'), path.basename(one)), 'x')
    write(at('A', 'not aside', 'c.mp3'), 'x')
    // Killed while it was put back.
    write(at(folder('5'), 'c.mp3'), 'both')
    linkSync(at(folder('5'), 'c.mp3'), at('c.mp3'))
    const found = await Array.fromAsync(filesAside(bed.audioRoot, signal))
    expect(found.map(one => [one.path, one.size]).sort()).toEqual([
      ['A/a.mp3', 1],
      ...alike.map(one => [one, 1]).sort(),
      ['b.mp3', 3],
      ['c.mp3', 4],
    ])
    const ends = new Map<string, string | undefined>()
    for (const one of found) ends.set(one.path, await one.putBack())
    expect(ends.get('A/a.mp3')).toBeUndefined()
    expect(ends.get('b.mp3')).toBe(`another file is there; this one is ${folder('2')}/b.mp3`)
    expect(readdirSync(at('A')).sort()).toEqual(['a.mp3', 'not aside'])
    expect(readdirSync(at('B')).sort()).toEqual(alike.map(one => path.basename(one)).sort())
    expect(existsSync(at(folder('2'), 'b.mp3'))).toBe(true)
    expect([ends.get('c.mp3'), existsSync(at('c.mp3')), existsSync(at(folder('5')))]).toEqual([
      undefined,
      true,
      false,
    ])
  })

  test('drafts of restore, and nothing that is called otherwise', async () => {
    write(at('A', `${draftPrefix}0123`), 'xy')
    write(at('A', `a${draftPrefix}`), 'x')
    write(at('A', 'a.mp3'), 'x')
    const found = await collect(restoreDrafts(bed.audioRoot, signal))
    expect(found).toMatchObject([{ kind: 'temp-file', subject: `A/${draftPrefix}0123`, bytes: 2 }])
    expect(await found[0]?.remove()).toBeUndefined()
    expect(await found[0]?.remove()).toBeUndefined()
    expect(readdirSync(at('A')).sort()).toEqual([`a${draftPrefix}`, 'a.mp3'].sort())
  })

  test('temporary folders of runs that are dead by the ledger as well', async () => {
    const { knex } = bed.database
    const ids = { dead: randomUUID(), live: randomUUID(), unknown: randomUUID(), bare: randomUUID() }
    const folderOf = (id: string) => path.join(tmpdir(), `autodj-run-${id}`)
    const run = { command: 'verify', args: {}, host: 'h', pid: 1, version: '0' }
    await startRun(knex, { id: ids.dead, ...run }, -1)
    await startRun(knex, { id: ids.live, ...run }, 3_600)
    for (const id of [ids.dead, ids.live, ids.unknown]) write(path.join(folderOf(id), 'x'))
    // Of a folder that is gone only the lock is left.
    const since = new Date(now).toISOString()
    const gone = { pid: 2 ** 30, host: hostname(), command: 'x', since, startedAt: null, token: 't' }
    write(`${folderOf(ids.bare)}.lock`, JSON.stringify(gone))
    const found = new Map<string, unknown>()
    for await (const { kind, subject, remove } of staleTempFolders(knex))
      found.set(subject, [kind, await remove()])
    expect(found).toEqual(
      new Map([ids.dead, ids.unknown].map(id => [folderOf(id), ['temp-folder', undefined]])),
    )
    expect(Object.values(ids).map(id => existsSync(folderOf(id)))).toEqual([false, true, false, false])
    rmSync(folderOf(ids.live), { recursive: true })
  })

  test('uploads begun long ago that no live run owns, listed or only written down', async () => {
    const { knex } = bed.database
    const runs: Record<string, string> = { live: randomUUID(), dead: randomUUID() }
    for (const [name, id] of Object.entries(runs))
      await startRun(
        knex,
        { id, command: 'upload-local', args: {}, host: 'h', pid: 1, version: '0' },
        name === 'live' ? 3_600 : -1,
      )
    const before = Date.now() + hour
    type Case = [
      key: string,
      owner: 'live' | 'dead' | 'nobody' | 'unknown',
      store: 'listed' | 'unlisted' | 'gone',
      young: boolean,
      isStale: boolean,
    ]
    const cases: Case[] = []
    for (const prefix of ['audio/', 'other/'])
      for (const owner of ['live', 'dead', 'nobody', 'unknown'] as const)
        for (const store of ['listed', 'unlisted', 'gone'] as const)
          for (const young of [false, true]) {
            if (owner === 'unknown' && store !== 'listed') continue
            const isStale = prefix === 'audio/' && owner !== 'live' && store !== 'gone' && !young
            cases.push([`${prefix}${owner} ${store} ${young}.flac`, owner, store, young, isStale])
          }
    const hidden = new Set<string>()
    for (const [key, owner, where, young] of cases) {
      const uploadId = await bed.store.createUpload(key, { headers: { contentType: 'audio/flac' } })
      if (where !== 'listed') hidden.add(uploadId)
      if (owner !== 'unknown') await ledgerUpload(bed, { key, uploadId, runId: runs[owner] ?? null })
      if (where === 'gone') await bed.store.abortUpload(key, uploadId)
      if (young) {
        hidden.add(`young ${uploadId}`)
        await knex('autodj_ledger.uploads')
          .where({ upload_id: uploadId })
          .update({ created_at: new Date(before) })
      }
    }
    const real = bed.store
    /** Lists not all that it has, as some stores do; and those that are young as begun at that very moment. */
    const store = new Proxy(real, {
      get(target, name) {
        if (name !== 'listUploads') return Reflect.get(target, name)
        return async function* (options: { prefix?: string }) {
          for await (const page of target.listUploads(options))
            yield page
              .filter(({ uploadId }) => !hidden.has(uploadId))
              .map(one =>
                hidden.has(`young ${one.uploadId}`) ? { ...one, initiated: new Date(before) } : one,
              )
        }
      },
    })
    const found = await collect(staleUploads(knex, store, { prefix: 'audio/', before, signal }))
    expect(found.map(({ subject }) => subject).sort()).toEqual(
      cases.flatMap(([key, , , , isStale]) => (isStale ? [key] : [])).sort(),
    )
    const count = (await bed.openUploads()).length
    for (const { remove } of found) expect(await remove()).toBeUndefined()
    expect((await bed.openUploads()).length).toBe(count - found.length)
    const left = (await openUploads(knex, { bucket: bed.store.bucket })).map(({ key }) => key)
    for (const { subject } of found) expect(left).not.toContain(subject)
  })

  test('an upload that the store keeps although it says otherwise is not called gone', async () => {
    const key = 'audio/a.flac'
    const uploadId = await bed.store.createUpload(key, { headers: { contentType: 'audio/flac' } })
    const { knex } = bed.database
    await ledgerUpload(bed, { key, uploadId })
    const store = new Proxy(bed.store, {
      get: (target, name) => (name === 'abortUpload' ? async () => {} : Reflect.get(target, name)),
    })
    const [found] = await collect(
      staleUploads(knex, store, { prefix: 'audio/', before: Date.now() + hour, signal }),
    )
    expect(await found?.remove()).toBe('aborted, but the store still has it')
    expect(await openUploads(knex, { bucket: bed.store.bucket })).toHaveLength(1)
  })

  test('what was moved to quarantine long ago, by whichever command, and nobody wants back', async () => {
    const id = '0b4c8d1e-5f60-4a7b-8c9d-0e1f2a3b4c5d'
    const put = (key: string, metadata = {}) =>
      bed.store.put(key, Buffer.alloc(++number), { headers: { contentType: 'a/b', metadata }, checksums: {} })
    let number = 0
    const [sum, long] = [sha256(Buffer.from('of a lost track')), 'audio/long.flac']
    const lost = await bed.addTrack({ path: null, source: 'UNAVAILABLE' })
    const byContent = await bed.addTrack({ path: null, source: 'UNAVAILABLE' })
    const other = { library: 'other', 'track-id': randomUUID() }
    const cases: [key: string, isExpired: boolean, kept?: RegExp, metadata?: Record<string, string>][] = [
      [`quarantine/${id}/audio/a.flac`, true],
      ['quarantine/damaged/audio/b.flac', true],
      [`quarantine/${id}/other/c.flac`, false],
      ['quarantine/damaged/other/d.flac', false],
      ['quarantine/mine/audio/e.flac', false],
      ['quarantine/damaged', false],
      // A key that was too long, by its hash.
      [`quarantine/${id}/${'0a'.repeat(32)}`, true],
      [`quarantine/${id}/${'0a'.repeat(32)}0`, false],
      [`quarantine/${id}/0${'0a'.repeat(32)}`, false],
      // What a row names is there.
      [`quarantine/${id}/audio/there.flac`, true],
      [`quarantine/${id}/audio/named.flac`, true, /^a row names audio\/named\.flac, but nothing is there/],
      ['quarantine/damaged/audio/named too.flac', true, /^a row names audio\/named too\.flac, but nothing/],
      [
        `quarantine/${id}/${sha256(Buffer.from(long))}`,
        true,
        /^a row names audio\/long\.flac, but nothing is there/,
      ],
      [`quarantine/${id}/audio/itself.flac`, true, /^a row names it$/],
      [
        `quarantine/${id}/audio/lost.flac`,
        true,
        new RegExp(`^track ${lost}, .* no other audio`),
        { 'track-id': lost },
      ],
      [`quarantine/${id}/audio/content.flac`, true, new RegExp(`^track ${byContent}, .* no other audio`)],
      [`quarantine/${id}/audio/other.flac`, true, /^another library/, other],
      [`quarantine/${id}/audio/other known.flac`, true, undefined, other],
    ]
    for (const [key, , , metadata] of cases) await put(key, metadata)
    await put('audio/there.flac')
    for (const key of [
      ...['named', 'named too', 'there'].map(name => `audio/${name}.flac`),
      long,
      `quarantine/${id}/audio/itself.flac`,
    ])
      await bed.addTrack({ path: null, source: 'S3', key })
    await bed.database
      .knex('tracks')
      .where({ id: byContent })
      .update({ spotify_id: localTrackId(sum) })
    const known = { bucket: bed.store.bucket, size: 1, etag: 'e', verifiedAt: new Date(now) }
    for (const [name, sha256] of [
      ['content', sum],
      ['other known', undefined],
    ])
      await upsertObjects(bed.database.knex, [
        { ...known, key: `audio/${name}.flac`, ...(sha256 && { sha256 }) },
      ])
    const place = {
      quarantinePrefix: 'quarantine/',
      keyPrefix: 'audio/',
      audioFolder: plainFolder(bed.audioRoot),
      signal,
    }
    const { knex } = bed.database
    expect(
      await collect(expiredQuarantine(knex, bed.store, { ...place, before: Date.now() - hour })),
    ).toEqual([])
    // At that very moment is not before it.
    const oldest = Math.min(...[...(await bed.objects()).values()].map(one => one.lastModified.getTime()))
    expect(await collect(expiredQuarantine(knex, bed.store, { ...place, before: oldest }))).toEqual([])
    const found = await collect(expiredQuarantine(knex, bed.store, { ...place, before: Date.now() + hour }))
    expect(found.map(({ subject }) => subject)).toEqual(
      cases.flatMap(([key, isExpired]) => (isExpired ? [key] : [])).sort(),
    )
    for (const [key, isExpired, kept] of cases) {
      const one = found.find(({ subject }) => subject === key)
      if (!isExpired) continue
      if (kept === undefined) expect([key, one?.kept]).toEqual([key, undefined])
      else expect(one?.kept).toMatch(kept)
      // Looked at once more.
      const why = await one?.remove()
      if (kept === undefined) expect([key, why]).toEqual([key, undefined])
      else expect(why).toMatch(kept)
    }
    expect([...(await bed.objects()).keys()].sort()).toEqual(
      [
        'audio/there.flac',
        ...cases.flatMap(([key, isExpired, kept]) => (isExpired && kept === undefined ? [] : [key])),
      ].sort(),
    )
    // Another has come in its place.
    const [key] = cases[0] as (typeof cases)[number]
    await put(key)
    const again = await collect(expiredQuarantine(knex, bed.store, { ...place, before: Date.now() + hour }))
    const late = again.find(({ subject }) => subject === key)
    await put(key)
    expect(await late?.remove()).toEqual(expect.any(String))
    expect((await bed.objects()).has(key)).toBe(true)
  })

  test('records of runs that ended long ago, but for the newest three of each command', async () => {
    const { knex } = bed.database
    const add = async (command: string, hours: number, state = 'done', finished: number | null = hours) => {
      const id = randomUUID()
      const when = (ago: number) => new Date(now - ago * hour)
      await knex('autodj_ledger.runs').insert({
        id,
        command,
        host: 'h',
        pid: 1,
        version: `${command} ${hours}`,
        state,
        started_at: when(hours),
        heartbeat_at: when(hours),
        lease_until: when(hours),
        finished_at: finished === null ? null : when(finished),
      })
    }
    for (const hours of [1, 2, 3, 4, 5]) await add('import', hours)
    await add('import', 6, 'running', null)
    await add('import', 7, 'abandoned', null)
    for (const hours of [4, 5, 6]) await add('verify', hours)
    expect(await collect(oldRuns(knex, now - 100 * hour))).toEqual([])
    const [found] = await collect(oldRuns(knex, now - 4.5 * hour))
    expect(found).toMatchObject({ kind: 'run-record', subject: '2 run records' })
    await found?.remove()
    expect((await knex('autodj_ledger.runs').orderBy('version').pluck('version')) as string[]).toEqual([
      'import 1',
      'import 2',
      'import 3',
      'import 4',
      'import 6',
      'verify 4',
      'verify 5',
      'verify 6',
    ])
  })
})
