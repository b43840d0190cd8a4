import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmod, cp, mkdir, readFile, rename, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { AudioFolder } from '../../src/core/audio-path.ts'
import { localTrackId } from '../../src/core/import/content-id.ts'
import type { Database } from '../../src/db/database.ts'
import { rememberedFiles, upsertObjects } from '../../src/db/ledger.ts'
import { migrateUp } from '../../src/db/migrate.ts'
import { copyDemoLibrary } from '../../src/demo/library.ts'
import { type ImportOptions, type ImportSummary, importFolder } from '../../src/import/import.ts'
import { RowIndex } from '../../src/import/row-index.ts'
import type { Item } from '../../src/report/reporter.ts'
import { migrated, pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { ItemReporter } from '../support/item-reporter.ts'
import { itemPage } from '../support/ledger.ts'
import { sha256 } from '../support/sums.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const isRoot = process.getuid?.() === 0
let database: TestDatabase
let db: Database
let root: string
let items: Item[]

beforeAll(async () => {
  database = await migrated(await pgliteTestDatabase())
  db = await database.open()
})
afterAll(async () => {
  await db.close()
  await database.drop()
})
beforeEach(async () => {
  root = temporaryFolder('import')
  await db.knex.raw('truncate tracks cascade')
  await db.knex.raw(
    'truncate autodj_ledger.files, autodj_ledger.items, autodj_ledger.objects, autodj_ledger.runs cascade',
  )
})

/** The application works in the audio folder: its paths are those below it. */
const folder = (): AudioFolder => ({ root, storagePath: '.', applicationDir: root })

async function run(options: Partial<ImportOptions> = {}): Promise<Partial<ImportSummary>> {
  const report = new ItemReporter()
  items = report.items
  const summary = await importFolder({
    knex: db.knex,
    folder: folder(),
    start: root,
    dryRun: false,
    concurrency: 3,
    runId: undefined,
    stopping: new AbortController().signal,
    signal: new AbortController().signal,
    report,
    newId: randomUUID,
    ...options,
  })
  const { bytes: _, ...counts } = summary
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0 && count !== false))
}

async function rows(): Promise<Record<string, unknown>[]> {
  return db.knex('tracks').select('*').orderBy('title')
}
async function addRow(changes: Record<string, unknown>): Promise<string> {
  const id = randomUUID()
  await db.knex('tracks').insert({ id, spotify_id: randomUUID(), title: 'T', artist: 'A', ...changes })
  return id
}
const rowOf = async (id: string) => (await db.knex('tracks').where({ id }).first()) as Record<string, unknown>

const fixture = new URL('../fixtures/formats/', import.meta.url)
/** A small file of sound, different for each `salt`. */
async function put(path: string, salt = path): Promise<void> {
  await mkdir(join(root, path, '..'), { recursive: true })
  await writeFile(
    join(root, path),
    Buffer.concat([await readFile(new URL('bare.mp3', fixture)), Buffer.from(salt)]),
  )
}

describe('the demo library', () => {
  test('gets a row for each content, and nothing the second time', async () => {
    await copyDemoLibrary(root)
    expect(await run()).toEqual({ found: 14, hashed: 14, new: 13, duplicates: 1, untagged: 2 })
    const made = await rows()
    expect(made).toHaveLength(13)
    const manifest = JSON.parse(
      await readFile(new URL('../../assets/demo/manifest.json', import.meta.url), 'utf8'),
    )
    for (const expected of manifest.files.slice(0, 13)) {
      const row = made.find(one => one['title'] === expected.title)
      const filePath = expected.as.normalize(expected.form ?? 'NFC')
      const content = await readFile(join(root, filePath))
      expect(row, expected.title).toMatchObject({
        artist: expected.artist,
        file_path: filePath,
        file_source: 'LOCAL',
        file_size: content.length,
        s3_object_key: null,
      })
      expect(row!['spotify_id']).toBe(localTrackId(sha256(content)))
      expect(row!['duration']).toBeGreaterThan(5)
      expect(row!['duration_ms']).toBeCloseTo((row!['duration'] as number) * 1000)
      expect(row!['album'] === null).toBe(!expected.tagged)
    }
    expect(items.find(item => item.state === 'duplicate')).toMatchObject({
      subject: 'Unsorted/First Light.mp3',
      fields: { duplicate_of: 'Tape Orchard/First Light.mp3' },
    })

    expect(await run()).toEqual({ found: 14, known: 13, duplicates: 1 })
    expect(await rows()).toEqual(made)
  })
})

describe('what finds its row', () => {
  test('a moved file, by its content', async () => {
    await put('old/a.mp3')
    await put('b.mp3')
    await run()
    const before = await rows()
    await mkdir(join(root, 'new'))
    await rename(join(root, 'old/a.mp3'), join(root, 'new/other name.mp3'))
    expect(await run()).toEqual({ found: 2, hashed: 1, known: 1, relinked: 1 })
    const after = await rows()
    expect(after).toHaveLength(2)
    expect(after.find(row => row['file_path'] === 'new/other name.mp3')).toMatchObject({
      id: before.find(row => row['file_path'] === 'old/a.mp3')!['id'],
      title: 'a',
    })
  })

  test('a moved file of a Spotify row, by the content remembered for its old path; both rows that shared it', async () => {
    await put('old/a.mp3')
    const first = await addRow({ title: 'X', file_path: 'old/a.mp3', file_source: 'YOUTUBE' })
    const second = await addRow({ title: 'Y', file_path: join(root, 'old/a.mp3'), file_source: 'LOCAL' })
    expect(await run()).toEqual({ found: 1, hashed: 1, known: 1 })
    await rename(join(root, 'old/a.mp3'), join(root, 'z.mp3'))
    expect(await run()).toEqual({ found: 1, hashed: 1, relinked: 2 })
    expect(await rowOf(first)).toMatchObject({ file_path: 'z.mp3', file_source: 'YOUTUBE', title: 'X' })
    expect(await rowOf(second)).toMatchObject({ file_path: 'z.mp3', file_source: 'LOCAL', title: 'Y' })
  })

  describe('though another file lies in its place by now', () => {
    const move = (from: string, to: string) => rename(join(root, from), join(root, to))
    /** Paths of the rows by title. */
    const places = async () => Object.fromEntries((await rows()).map(row => [row['title'], row['file_path']]))
    const imported = async (...names: string[]) => {
      for (const name of names) await put(name)
      await run()
    }

    test.each([{ batch: 1 }, { batch: 2_000 }])('a new file has taken its name ($batch)', async options => {
      await imported('a.mp3', 'z.mp3')
      const [a] = await rows()
      await move('a.mp3', 'c.mp3')
      await put('a.mp3', 'new')
      expect(await run({ ...options, dryRun: true })).toEqual({
        found: 3,
        hashed: 2,
        known: 1,
        relinked: 1,
        new: 1,
        untagged: 1,
      })
      expect(await run(options)).toEqual({ found: 3, hashed: 2, known: 1, relinked: 1, new: 1, untagged: 1 })
      expect(await rowOf(a!['id'] as string)).toMatchObject({ file_path: 'c.mp3' })
      expect((await rows()).map(row => row['file_path']).sort()).toEqual(['a.mp3', 'c.mp3', 'z.mp3'])
      expect(await run(options)).toEqual({ found: 3, known: 3 })
    })

    test.each([{ batch: 1 }, { batch: 2 }, { batch: 2_000 }])(
      'two files, and three, have changed names ($batch)',
      async options => {
        await imported('a.mp3', 'b.mp3', 'c.mp3', 'x.mp3', 'y.mp3')
        await move('a.mp3', 't')
        await move('b.mp3', 'a.mp3')
        await move('c.mp3', 'b.mp3')
        await move('t', 'c.mp3')
        await move('x.mp3', 't')
        await move('y.mp3', 'x.mp3')
        await move('t', 'y.mp3')
        expect(await run(options)).toMatchObject({ found: 5, hashed: 5, relinked: 5 })
        expect(await places()).toEqual({ a: 'c.mp3', b: 'a.mp3', c: 'b.mp3', x: 'y.mp3', y: 'x.mp3' })
        expect(await run(options)).toEqual({ found: 5, known: 5 })
      },
    )

    test('another one has been moved there, and its own is gone', async () => {
      await imported('a.mp3', 'b.mp3')
      await move('b.mp3', 'a.mp3')
      expect(await run()).toEqual({ found: 1, hashed: 1, relinked: 1 })
      expect(await places()).toEqual({ a: 'a.mp3', b: 'a.mp3' })
    })

    test('its copies are copies, wherever they lie', async () => {
      await imported('a.mp3')
      await move('a.mp3', 'c.mp3')
      await cp(join(root, 'c.mp3'), join(root, 'd.mp3'))
      await put('a.mp3', 'new')
      expect(await run()).toMatchObject({ relinked: 1, duplicates: 1, new: 1 })
      expect(await rows()).toHaveLength(2)
    })

    test('a row of the application follows the file that bears its name', async () => {
      await put('Artist/One.mp3')
      const id = await addRow({
        artist: 'A',
        title: 'T',
        file_path: 'Artist/One.mp3',
        file_source: 'YOUTUBE',
      })
      await run()
      await mkdir(join(root, 'B'))
      await move('Artist/One.mp3', 'B/x.mp3')
      await put('Artist/One.mp3', 'new')
      expect(await run()).toMatchObject({ relinked: 1, new: 1 })
      expect(await rowOf(id)).toMatchObject({ file_path: 'B/x.mp3' })
    })

    test('but not where that was edited, or downloaded anew: what it was is no copy', async () => {
      await put('A/T.mp3')
      const id = await addRow({ file_path: 'A/T.mp3', file_source: 'YOUTUBE' })
      await run()
      await move('A/T.mp3', 'A/T (old).mp3')
      await put('A/T.mp3', 'anew')
      expect(await run()).toMatchObject({ known: 1, new: 1 })
      expect(await rowOf(id)).toMatchObject({ file_path: 'A/T.mp3' })

      const tagged = await readFile(new URL('../../assets/demo/02-harbour-lamps.flac', import.meta.url))
      await writeFile(join(root, 'e.flac'), tagged)
      await run()
      await move('e.flac', 'e-old.flac')
      await writeFile(join(root, 'e.flac'), Buffer.concat([tagged, Buffer.from('edited')]))
      expect(await run()).toMatchObject({ known: 3, earlier: 1 })
      expect(items.find(item => item.state === 'earlier')).toMatchObject({
        subject: 'e-old.flac',
        fields: { earlier_version_of: 'e.flac' },
      })
    })

    test('a file outside of what is imported is read, before another is called its copy', async () => {
      await imported('in/a.mp3', 'out/b.mp3')
      const [a] = await rows()
      await move('in/a.mp3', 'in/c.mp3')
      await move('out/b.mp3', 'in/a.mp3')
      await db.knex('tracks').where({ id: a!['id'] }).update({ file_path: 'out/q.mp3' })
      await put('out/q.mp3', 'x'.repeat('in/a.mp3'.length))
      expect(await run({ start: join(root, 'in') })).toMatchObject({ found: 2, relinked: 2 })
      expect(await places()).toEqual({ a: 'in/c.mp3', b: 'in/a.mp3' })
    })

    test('a kill after the files were read loses nothing of it', async () => {
      await put('A/T.mp3')
      const id = await addRow({ title: 'Other', file_path: 'A/T.mp3', file_source: 'YOUTUBE' })
      await run()
      await move('A/T.mp3', 'c.mp3')
      await put('A/T.mp3', 'new')
      const stopping = new AbortController()
      const newId = () => {
        throw new Error('killed')
      }
      await expect(run({ newId, batch: 1, stopping: stopping.signal })).rejects.toThrow('killed')
      expect(await run()).toMatchObject({ new: 1 })
      expect(await rowOf(id)).toMatchObject({ file_path: 'c.mp3' })
    })
  })

  test('a file named by the application, by artist and title, with folded case and punctuation', async () => {
    await put('Mira-Kessel/glass_stairs.mp3')
    const id = await addRow({
      artist: 'Mira Kessel',
      title: 'Glass Stairs!',
      file_path: '/gone/x.mp3',
      file_source: 'LOCAL',
    })
    expect(await run()).toEqual({ found: 1, hashed: 1, relinked: 1 })
    expect(await rowOf(id)).toMatchObject({ file_path: 'Mira-Kessel/glass_stairs.mp3', file_size: 1462 + 28 })
    expect(await run()).toEqual({ found: 1, known: 1 })
  })

  test('by name, all rows that shared the file that is gone, also where they bear another name', async () => {
    await put('A/T.mp3')
    const shared = { file_path: 'old/x.mp3', file_source: 'LOCAL' }
    const ids = [await addRow({ ...shared, title: 'Other' }), await addRow(shared)]
    const stored = await addRow({ ...shared, title: 'Stored', file_source: 'S3', s3_object_key: 'k' })
    expect(await run()).toEqual({ found: 1, hashed: 1, relinked: 2 })
    for (const id of ids) expect(await rowOf(id)).toMatchObject({ file_path: 'A/T.mp3' })
    expect(await rowOf(stored)).toMatchObject({ file_path: 'old/x.mp3' })
  })

  test('in whatever batch: a file found its row, and a copy of it comes in a later one', async () => {
    for (const folder of ['a', 'b', 'c']) await put(`${folder}/T.mp3`, 'the same')
    const id = await addRow({ artist: 'a', title: 'T', file_path: 'gone.mp3', file_source: 'LOCAL' })
    const counts = await run({ batch: 1 })
    // Folders come in no particular order: whichever file is first, the other two are copies.
    expect(counts).toMatchObject({ found: 3, duplicates: 2 })
    expect((counts.new ?? 0) + (counts.relinked ?? 0)).toBe(1)
    await rm(join(root, 'a'), { recursive: true })
    await db.knex('tracks').whereNot({ id }).del()
    expect((await run({ batch: 1 })).duplicates).toBe(1)
    expect(await rows()).toHaveLength(1)
  })

  test('not by a hash alone: "plumless" and "buckeroo" have one CRC-32', async () => {
    expect(crc32('plumless')).toBe(crc32('buckeroo'))
    const id = await addRow({ s3_object_key: 'buckeroo' })
    const index = await RowIndex.read(db.knex, folder(), new AbortController().signal)
    expect((await index.byKey(['buckeroo'])).get('buckeroo')).toMatchObject([{ id }])
    expect(await index.byKey(['plumless'])).toEqual(new Map())
  })

  test('a row that never had a file', async () => {
    await put('A/T.mp3')
    const id = await addRow({ file_source: 'UNAVAILABLE' })
    expect(await run()).toMatchObject({ relinked: 1 })
    expect(await rowOf(id)).toMatchObject({ file_path: 'A/T.mp3', file_source: 'LOCAL' })
  })

  test('not a row whose own file is there, nor one that is in S3', async () => {
    await put('A/T.mp3', '1')
    await put('elsewhere.mp3', '2')
    const present = await addRow({ file_path: 'elsewhere.mp3', file_source: 'LOCAL' })
    const stored = await addRow({ file_source: 'S3', s3_object_key: 'audio/A/T.mp3' })
    expect(await run()).toEqual({ found: 2, hashed: 2, known: 1, new: 1, untagged: 1 })
    expect(await rowOf(present)).toMatchObject({ file_path: 'elsewhere.mp3' })
    expect(await rowOf(stored)).toMatchObject({ file_path: null })
  })

  test('content that is in S3 already gets no second row', async () => {
    await put('A/T.mp3')
    await run()
    const { sha256 } = [...(await rememberedFiles(db.knex, ['A/T.mp3'])).values()][0]!
    await db.knex('tracks').del()
    await db.knex.raw('truncate autodj_ledger.files')
    await upsertObjects(db.knex, [{ bucket: 'b', key: 'k', size: 1, sha256 }])
    const id = await addRow({ title: 'Other', file_source: 'S3', s3_object_key: 'k' })
    expect(await run()).toEqual({ found: 1, hashed: 1, known: 1 })
    expect(await rowOf(id)).toMatchObject({ file_path: null, file_source: 'S3' })
    // but a row in S3 whose local copy moved is told where that is
    await db.knex('tracks').where({ id }).update({ file_path: 'gone.mp3' })
    expect(await run()).toEqual({ found: 1, relinked: 1 })
    expect(await rowOf(id)).toMatchObject({ file_path: 'A/T.mp3', file_source: 'S3', s3_object_key: 'k' })
  })

  test('a row that spells the path in the other Unicode form, with dots, or absolutely', async () => {
    const nfd = 'Café/Zoë.mp3'.normalize('NFD')
    await put(nfd, '1')
    await put('dots.mp3', '2')
    await put('absolute.mp3', '3')
    await put('odd/x.mp3', '4')
    const [composed, , , odd] = [
      await addRow({ file_path: nfd.normalize('NFC') }),
      await addRow({ file_path: './dots.mp3' }),
      await addRow({ file_path: join(root, 'absolute.mp3') }),
      await addRow({ artist: 'odd', title: 'x', file_path: 'odd/../odd//x.mp3' }),
    ]
    expect(await run()).toEqual({ found: 4, hashed: 4, known: 3, relinked: 1 })
    expect((await rowOf(composed))['file_path']).toBe(nfd)
    expect((await rowOf(odd))['file_path']).toBe('odd/../odd//x.mp3')
  })
})

describe('what is met in real folders', () => {
  test('copies, links, FIFOs, text, empty and hidden files', async () => {
    await put('A/one.mp3', 'same')
    await put('B/two.mp3', 'same')
    await put('._one.mp3')
    await writeFile(join(root, 'text.mp3'), 'this is no music '.repeat(100))
    await writeFile(join(root, 'empty.mp3'), '')
    await cp(new URL('film.mp4', fixture), join(root, 'film.mp4'))
    await cp(new URL('silent.mp4', fixture), join(root, 'silent.mp4'))
    await symlink('..', join(root, 'A/loop'))
    await symlink('/etc/hostname', join(root, 'out.mp3'))
    execFileSync('mkfifo', [join(root, 'fifo.mp3')])
    const expected = {
      found: 3,
      hashed: 3,
      new: 2,
      duplicates: 1,
      notAudio: 3,
      hidden: 1,
      links: 1,
      skipped: 2,
      untagged: 2,
    }
    expect(await run()).toEqual(expected)
    expect(
      items
        .filter(item => item.state === 'not-audio')
        .map(item => item.subject)
        .toSorted(),
    ).toEqual(['empty.mp3', 'silent.mp4', 'text.mp3'])
    // people are told of what is called a song and is none, not of every picture
    const told = items.filter(item => item.state === 'not-audio' && item.text).map(item => item.subject)
    expect(told.toSorted()).toEqual(['empty.mp3', 'text.mp3'])
    expect(items.find(item => item.subject === 'out.mp3')?.reason).toMatch(/out of the audio folder/)
  })

  // Root reads everything, so there is nothing to show then.
  test.skipIf(isRoot)('an unreadable file is a failure in the ledger, until it is readable', async () => {
    await put('a.mp3')
    await put('b.mp3')
    await chmod(join(root, 'a.mp3'), 0)
    const runId = randomUUID()
    await db.knex('autodj_ledger.runs').insert({
      id: runId,
      command: 'import',
      host: 'h',
      pid: 1,
      version: '0',
      lease_until: db.knex.raw('now()'),
    })
    expect(await run({ runId })).toMatchObject({ found: 1, new: 1, failed: 1 })
    const page = { command: 'import', limit: 10 }
    expect(await itemPage(db.knex, page)).toMatchObject([{ subject: 'a.mp3', errorCode: 'file.unreadable' }])
    await chmod(join(root, 'a.mp3'), 0o600)
    expect(await run({ runId })).toMatchObject({ found: 2, new: 1, known: 1 })
    expect(await itemPage(db.knex, page)).toEqual([])
  })

  test('broken tags are a warning: the row is made all the same', async () => {
    const flac = await readFile(new URL('../../assets/demo/02-harbour-lamps.flac', import.meta.url))
    await writeFile(join(root, 'A - Cut.flac'), flac.subarray(0, 30))
    await cp(new URL('caf.caf', fixture), join(root, 'B - Core.caf'))
    expect(await run()).toEqual({ found: 2, hashed: 2, new: 2, untagged: 2 })
    expect(items.find(item => item.subject === 'A - Cut.flac')?.fields?.['warning']).toBe(
      'a metadata block of it is broken',
    )
    const [core, cut] = await rows()
    expect(core).toMatchObject({ artist: 'B', title: 'Core' })
    expect(core?.['duration']).toBeCloseTo(0.15)
    expect(cut).toMatchObject({ artist: 'A', title: 'Cut' })
  })

  test('a changed file is read again, an unchanged one is not', async () => {
    await put('a.mp3', '1')
    await run()
    await put('a.mp3', '2')
    await utimes(join(root, 'a.mp3'), new Date(), new Date(Date.now() - 60_000))
    expect(await run()).toEqual({ found: 1, hashed: 1, known: 1 })
    expect(await run()).toEqual({ found: 1, known: 1 })
  })

  test('a folder in the audio folder: its files only, with paths from the root', async () => {
    await put('a/x.mp3')
    await put('b/y.mp3')
    expect(await run({ start: join(root, 'a') })).toMatchObject({ found: 1, new: 1 })
    expect(await rows()).toMatchObject([{ file_path: 'a/x.mp3' }])
  })
})

describe('what is no track yet', () => {
  test('partial downloads, waste bins and what the ignore file leaves out are not taken', async () => {
    await put('Artist/Song.mp3')
    await put('Artist/Song.mp3.part')
    await put('Artist/Other.mp3')
    await put('Artist/Other.mp3.aria2')
    await put('@eaDir/Artist/Song.mp3')
    await put('$RECYCLE.BIN/Song.mp3')
    await put('Samples/Kick.wav')
    await writeFile(join(root, '.autodjignore'), 'Samples/\n')
    expect(await run()).toEqual({ found: 1, hashed: 1, new: 1, untagged: 1, ignored: 6, hidden: 1 })
    expect(await rows()).toMatchObject([{ file_path: 'Artist/Song.mp3' }])
  })

  test('files younger than --min-age', async () => {
    await put('A/One.mp3')
    await put('B/Two.mp3')
    await put('B/Three.flac')
    expect(await run({ minAge: 3_600_000 })).toEqual({ young: 3 })
  })

  test('a file whose end is missing is left alone while it may still be written, and taken later', async () => {
    const mp3 = await readFile(new URL('bare.mp3', fixture))
    await writeFile(join(root, 'Half.mp3'), mp3.subarray(0, mp3.length - 100))
    expect(await run()).toEqual({ young: 1 })
    expect(items).toMatchObject([
      {
        subject: 'Half.mp3',
        state: 'skipped',
        reason: expect.stringMatching(/^possibly still being written: it changed/),
      },
    ])
    expect(await rows()).toEqual([])
    expect(await run({ now: () => Date.now() + 3_600_000 })).toMatchObject({ new: 1 })
  })

  test('a row is given the whole file, not the half one beside it, nor one of another length', async () => {
    const mp3 = await readFile(new URL('bare.mp3', fixture))
    const lost = { artist: 'Artist', title: 'Song', file_path: 'gone/Song.mp3', duration: 0.18 }
    const id = await addRow(lost)
    await mkdir(join(root, 'new/Artist'), { recursive: true })
    await writeFile(join(root, 'new/Artist/Song.mp3'), Buffer.concat([mp3, mp3, mp3, mp3]))
    expect(await run()).toMatchObject({ new: 1 })
    expect(await rowOf(id)).toMatchObject({ file_path: 'gone/Song.mp3' })
    await mkdir(join(root, 'second/Artist'), { recursive: true })
    await writeFile(join(root, 'second/Artist/Song.mp3'), mp3)
    expect(await run()).toMatchObject({ relinked: 1 })
    expect(await rowOf(id)).toMatchObject({ file_path: 'second/Artist/Song.mp3' })
  })

  test('the file of the very size gets the row, in whatever batch it comes, and its copy is one', async () => {
    await put('b/Artist/Song.mp3', 'two')
    const { length: fileSize } = await readFile(join(root, 'b/Artist/Song.mp3'))
    const id = await addRow({ artist: 'Artist', title: 'Song', file_path: 'gone/x.mp3', file_size: fileSize })
    await put('a/Artist/Song.mp3', 'one, which is longer')
    await put('c/Other.mp3', 'two')
    expect(await run({ batch: 1 })).toMatchObject({ relinked: 1, duplicates: 1, new: 1 })
    expect(await rowOf(id)).toMatchObject({ file_path: 'b/Artist/Song.mp3' })
  })

  test.each([2_000, 1])('two files that fit one row are a question, in batches of %i', async batch => {
    const id = await addRow({ artist: 'Artist', title: 'Song', file_path: 'gone/x.mp3' })
    await put('a/Artist/Song.mp3', 'one')
    await put('b/Artist/Song.mp3', 'two')
    expect(await run({ batch })).toEqual({ found: 2, hashed: 2, failed: 1 })
    expect(items.at(-1)).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('2 files match the row of Artist – Song'),
      cure: expect.stringContaining('--exclude'),
    })
    expect(await rowOf(id)).toMatchObject({ file_path: 'gone/x.mp3' })
    expect(await rows()).toHaveLength(1)
    expect(await run({ isSelected: one => !one.startsWith('b/') })).toMatchObject({ relinked: 1 })
    expect(await rowOf(id)).toMatchObject({ file_path: 'a/Artist/Song.mp3' })
  })
})

describe('a dry run', () => {
  test('says what the real one then does, and writes nothing', async () => {
    await put('A/one.mp3', 'same')
    await put('B/two.mp3', 'same')
    await put('C/T.mp3')
    await addRow({ artist: 'C', title: 'T', file_path: 'gone.mp3', file_source: 'LOCAL' })
    const before = await rows()
    const dry = await run({ dryRun: true })
    const told = items.map(({ subject, state }) => `${state} ${subject}`)
    expect(await rows()).toEqual(before)
    expect(await db.knex('autodj_ledger.files').select()).toEqual([])
    expect(await run()).toEqual(dry)
    expect(items.map(({ subject, state }) => `${state} ${subject}`)).toEqual(told)
    expect(dry).toMatchObject({ new: 1, duplicates: 1, relinked: 1 })
  })

  test('knows moved files as well', async () => {
    await put('a.mp3')
    await run()
    await rename(join(root, 'a.mp3'), join(root, 'b.mp3'))
    expect(await run({ dryRun: true })).toMatchObject({ relinked: 1 })
    expect(await rows()).toMatchObject([{ file_path: 'a.mp3' }])
  })
})

describe('interruptions', () => {
  test('told to stop, it leaves whole rows only, and the next run does the rest', async () => {
    for (let i = 0; i < 40; i++) await put(`A/${i}.mp3`)
    const controller = new AbortController()
    const report = new ItemReporter()
    let seen = 0
    const progress = report.progress.bind(report)
    report.progress = options => {
      const bar = progress(options)
      return {
        ...bar,
        advance: by => {
          if (options.label === 'importing' && ++seen === 10) controller.abort()
          bar.advance(by)
        },
      }
    }
    const first = await run({ stopping: controller.signal, report })
    expect(first).toMatchObject({ found: 40, stopped: true })
    expect(first.new).toBeGreaterThanOrEqual(10)
    expect(first.new).toBeLessThan(40)
    expect(await rows()).toHaveLength(first.new!)
    expect(await run()).toMatchObject({ found: 40, known: first.new, new: 40 - first.new! })
    expect(await rows()).toHaveLength(40)
  })

  test('a file that vanishes after the walk is a failure of that file', async () => {
    await put('a.mp3')
    await put('b.mp3')
    const { Inspector } = await import('../../src/import/inspect.ts')
    await unlink(join(root, 'a.mp3'))
    await mkdir(join(root, 'folder'))
    const inspector = new Inspector(root, root)
    expect(await inspector.inspect('a.mp3')).toMatchObject({ kind: 'failed', code: 'file.missing' })
    expect(await inspector.inspect('folder')).toMatchObject({ kind: 'failed', code: 'file.not-a-file' })
    expect(await inspector.inspect('b.mp3')).toMatchObject({ kind: 'audio' })
  })
})

describe('autodj import', () => {
  test('twice over the demo library, on the command line', async () => {
    const { cli } = await import('../support/cli.ts')
    const own = await pgliteTestDatabase()
    try {
      const env = { DATABASE_URL: own.url, AUDIO_STORAGE_PATH: root }
      const early = await cli(['import'], { env })
      expect(early).toMatchObject({ exitCode: 1 })
      expect(early.stderr).toMatch(/autodj migrate/)
      await own.use(migrateUp)
      await copyDemoLibrary(root)

      const dry = await cli(['import', '--dry-run'], { env })
      expect(dry).toMatchObject({ exitCode: 0 })
      expect(dry.stdout).toMatch(/would create 13 new rows/i)
      expect(dry.stdout).toMatch(/^next: autodj import$/m)
      const first = await cli(['import', '--json'], { env })
      expect(first).toMatchObject({ exitCode: 0 })
      expect(first.messages.at(-1)).toMatchObject({
        message_type: 'summary',
        found: 14,
        new: 13,
        duplicates: 1,
        failed: 0,
      })
      expect(first.messages.filter(message => message['state'] === 'new')).toHaveLength(13)
      const second = await cli(['import'], { env })
      expect(second).toMatchObject({ exitCode: 0 })
      expect(second.stdout).toMatch(/created 0 new rows/)
      const nothing = await cli(['import', '--dry-run'], { env })
      expect(nothing.stdout).not.toMatch(/^next:/m)
      expect(second.stdout).toMatch(/13 already known/)

      const outside = await cli(['import', tmpdir()], { env })
      expect(outside).toMatchObject({ exitCode: 2 })
      const missing = await cli(['import', 'no such folder'], { env, cwd: root })
      expect(missing).toMatchObject({ exitCode: 2 })

      const again = await own.open()
      const runs = await again
        .knex('autodj_ledger.runs')
        .select('command', 'state', 'exit_code', 'summary')
        .orderBy('started_at')
      await again.close()
      expect(runs).toMatchObject([
        { command: 'import', state: 'done', exit_code: 0, summary: { new: 13 } },
        { command: 'import', state: 'done', exit_code: 0, summary: { new: 0, known: 13 } },
      ])
    } finally {
      await own.drop()
    }
  })
})
