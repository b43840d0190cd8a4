/** Which local copies `cleanup` lets go, in which order, and what it finds of what the past has left: by tables, on a real store. */
import { randomUUID } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { WatchedFolder } from '../../src/audio-files/mounted.ts'
import { Readers } from '../../src/audio-files/readers.ts'
import {
  emptyFolders,
  expiredQuarantine,
  filesAside,
  type Leftover,
  oldRuns,
  restoreDrafts,
  staleUploads,
} from '../../src/cleanup/leftovers.ts'
import { dispensableCopies, removeCopy } from '../../src/cleanup/local-copies.ts'
import { loadConfig } from '../../src/config.ts'
import { plainFolder } from '../../src/core/audio-path.ts'
import { draftPrefix } from '../../src/core/prefixes.ts'
import { openUploads, rememberFiles, startRun } from '../../src/db/ledger.ts'
import { ExternalSorter } from '../../src/external-sort/sorter.ts'
import { asidePrefix } from '../../src/file-effects.ts'
import { StoreError } from '../../src/storage/store.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { hooked } from '../support/hooked-store.ts'
import { ledgerUpload } from '../support/ledger.ts'
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
      paths.push(copy.missing ? `${copy.path} (missing)` : copy.path)
      if (!copy.missing) expect([copy.file, copy.size]).toEqual([at(copy.path), statSync(at(copy.path)).size])
      else expect([copy.file, copy.size]).toEqual([undefined, 0])
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
    expect(await going({ olderThan: 100 * hour })).toEqual({ paths: ['gone (missing)'], recent: 4 })
  })

  test('the later of reading and writing is its last use', async () => {
    await library()
    utimesSync(at('a'), now / 1_000, (now - 10 * hour) / 1_000)
    utimesSync(at('b'), (now - 10 * hour) / 1_000, now / 1_000)
    expect((await going({ olderThan: hour })).paths).toEqual(['gone (missing)', 'c', 'd'])
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
      { olderThan: 100 * hour, maxBytes: 500, signal },
      now,
      new ExternalSorter(bed.dir, 'copies'),
    )[Symbol.asyncIterator]()
    const next = async () => (await copies.next()).value
    const gone = await next()
    const first = await next()
    expect([gone?.path, first?.path]).toEqual(['gone', 'a'])
    gone?.settle(true)
    let isSaid = false
    const second = next().then(copy => {
      isSaid = true
      return copy
    })
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(isSaid).toBe(false)
    first?.settle(false)
    expect((await second)?.path).toBe('b')
    const third = next()
    ;(await second)?.settle(true)
    expect(await third).toBeUndefined()
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
    const outcome = await removeCopy(context, bed.database, store, readers, copy, {
      runId,
      served: undefined,
      folder: new WatchedFolder(bed.audioRoot),
      dryRun,
    })
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

  test('not where its object lies in an archive', async () => {
    const store = hooked(bed.store, { head: { after: head => head && { ...head, archive: 'archived' } } })
    expect(await remove({}, store)).toMatchObject(kept('object.archived'))
  })

  test('not where it changes while it is compared', async () => {
    const store = hooked(bed.store, {
      head: { after: head => head && { ...head, checksums: {} } },
      get: { before: () => utimesSync(at('a.flac'), 1, 1) },
    })
    expect(await remove({}, store)).toMatchObject(kept('file.changed'))
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

  test('and a row that changes, or is set back, as it lets go of its path, keeps it', async () => {
    const { knex } = bed.database
    const store = hooked(bed.store, {
      head: { after: async () => void (await knex('tracks').update({ file_path: 'b.flac' })) },
    })
    expect(await remove({ file: null }, store)).toMatchObject({
      outcome: { state: 'kept', code: 'row.changed' },
      path: 'b.flac',
    })
    await bed.reset()
    await knex.raw(
      'create function public.keep() returns trigger language plpgsql as $$ begin new.file_path := old.file_path; return new; end $$',
    )
    await knex.raw(
      'create trigger keep before update of file_path on public.tracks for each row execute function public.keep()',
    )
    try {
      expect(await remove({ file: null })).toMatchObject({
        outcome: { state: 'kept', code: 'row.set-back' },
        path: 'a.flac',
      })
    } finally {
      await knex.raw('drop function public.keep() cascade')
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
    const remember = async (change: object) => {
      write(at('a.flac'), content)
      const { size, mtimeNs, ctimeNs, ino, dev } = statSync(at('a.flac'), { bigint: true })
      const sum = { sha256: sha256(other), crc32: crc32Text(other) }
      const identity = { path: 'a.flac', size: Number(size), mtimeNs, ctimeNs, inode: ino, device: dev }
      await rememberFiles(bed.database.knex, [{ ...identity, ...sum, ...change }])
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
    expect(await remember({})).toBe('kept')
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
    for (const folder of ['old/a/b', 'old/c', 'new', 'emptied', 'full/empty', 'mixed/empty'])
      mkdirSync(at(folder), { recursive: true })
    write(at('full/song.mp3'))
    symlinkSync('song.mp3', at('mixed/link'))
    const age = (folder: string, ms: number) => utimesSync(at(folder), (now - ms) / 1_000, (now - ms) / 1_000)
    for (const folder of ['old/a/b', 'old/a', 'old/c', 'old', 'full/empty', 'full', 'mixed/empty', 'mixed'])
      age(folder, hour)
    age('new', hour - 1_000)
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
    expect(readdirSync(bed.audioRoot).sort()).toEqual(['full', 'mixed', 'new', 'old'])
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
    write(at(folder('3'), '.nfs000123'), 'x')
    write(at(folder('3'), '.fuse_hidden00ff'), 'x')
    write(at('A', 'not aside', 'c.mp3'), 'x')
    const found = await Array.fromAsync(filesAside(bed.audioRoot, signal))
    expect(found.map(one => [one.path, one.size]).sort()).toEqual([
      ['A/a.mp3', 1],
      ['b.mp3', 3],
    ])
    const ends = new Map<string, string | undefined>()
    for (const one of found) ends.set(one.path, await one.putBack())
    expect(ends.get('A/a.mp3')).toBeUndefined()
    expect(ends.get('b.mp3')).toBe(`another file is there; this one is ${folder('2')}/b.mp3`)
    expect(readdirSync(at('A')).sort()).toEqual(['a.mp3', 'not aside'])
    expect(existsSync(at(folder('2'), 'b.mp3'))).toBe(true)
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
    const put = (key: string) =>
      bed.store.put(key, Buffer.alloc(++number), { headers: { contentType: 'a/b' }, checksums: {} })
    let number = 0
    const cases: [key: string, isExpired: boolean, kept?: RegExp][] = [
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
    ]
    for (const [key] of cases) await put(key)
    await put('audio/there.flac')
    for (const name of ['named', 'named too', 'there'])
      await bed.addTrack({ path: null, source: 'S3', key: `audio/${name}.flac` })
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
