/** The one way in which a local file is deleted: by each state of the file, of its rows, of the CDN and of the disk. */
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { deleteProvedFile } from '../../src/audio-files/delete-proved.ts'
import { WatchedFolder } from '../../src/audio-files/mounted.ts'
import { openRoot, openSource } from '../../src/audio-files/source.ts'
import type { ServedCheck } from '../../src/cdn/served.ts'
import { loadConfig } from '../../src/config.ts'
import { plainFolder } from '../../src/core/audio-path.ts'
import { encodeCrc32 } from '../../src/core/crc32.ts'
import { tracksById } from '../../src/db/tracks.ts'
import { observeFileEffects } from '../../src/file-effects.ts'
import { StoreError } from '../../src/storage/store.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { hooked, type StoreHooks } from '../support/hooked-store.ts'

const content = fakeAudio(300_000, 1)
const sha256 = createHash('sha256').update(content).digest('hex')
const key = 'audio/a.flac'
const now = new Date('2026-11-29T12:00:00Z')
let bed: TestBed
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(() => bed.close())
beforeEach(() => bed.reset())
const at = (name: string) => path.join(bed.audioRoot, name)

interface Given {
  /** the row's path */
  file?: string
  make?: () => void
  /** once the file has been verified */
  meanwhile?: (id: string) => unknown
  served?: ServedCheck
  hooks?: StoreHooks
  dryRun?: boolean
  /** fails the effect on the disk */
  failing?: { kind: string; error: Error }
}
async function run({ file = 'a.flac', make, meanwhile, served, hooks = {}, dryRun = false, failing }: Given) {
  writeFileSync(at('a.flac'), content)
  make?.()
  const { etag } = await bed.store.put(key, content, {
    headers: { contentType: 'audio/flac', metadata: { sha256 } },
    checksums: { crc32: encodeCrc32(crc32(content)) },
  })
  const id = await bed.addTrack({ path: file, source: 'S3', key })
  await bed.database.knex('tracks').where({ id }).update({ file_size: content.length })
  const source = await openSource(file, plainFolder(bed.audioRoot), await openRoot(bed.audioRoot))
  await source.close()
  const track = (await tracksById(bed.database.knex, [id]))[0]!
  const runId = await bed.startRun('cleanup')
  const folder = new WatchedFolder(bed.audioRoot)
  await folder.assertThere()
  await meanwhile?.(id)
  const { signal } = new AbortController()
  const context = { config: loadConfig({ cwd: bed.dir, env: bed.env }), now: () => now, signal }
  const object = { key, size: content.length, etag, sha256, crc32: encodeCrc32(crc32(content)) }
  const end = observeFileEffects(({ kind }) => {
    if (kind === failing?.kind) throw failing.error
  })
  const outcome = await deleteProvedFile(
    context,
    bed.database,
    { track, object, source },
    { store: hooked(bed.store, hooks), runId, served, folder },
    { dryRun },
  ).finally(end)
  const [known] = await bed.database.knex('autodj_ledger.objects')
  return {
    outcome,
    isThere: existsSync(at('a.flac')),
    path: (await bed.tracks()).get(id)?.file_path,
    deletedAt: known?.local_deleted_at ?? undefined,
    servedAt: known?.served_at ?? undefined,
  }
}
const gone = { outcome: { state: 'deleted', bytes: content.length }, isThere: false, path: null }
const kept = (code: string, reason?: string) => ({
  outcome: {
    state: 'kept',
    code,
    ...(reason === undefined ? {} : { reason: expect.stringContaining(reason) }),
  },
  isThere: true,
  path: 'a.flac',
  deletedAt: undefined,
})
const all: ServedCheck = async () => ({ served: true }) as never

test('it goes, and the ledger says so', async () => {
  expect(await run({})).toEqual({ ...gone, deletedAt: now, servedAt: undefined })
})

test('what is missing because its folder is not mounted is not gone: the run ends, and the row keeps the path', async () => {
  const away = `${bed.audioRoot}.away`
  const unmount = () => {
    renameSync(bed.audioRoot, away)
    mkdirSync(bed.audioRoot)
  }
  await expect(run({ meanwhile: unmount })).rejects.toMatchObject({ code: 'audio-root.gone' })
  rmdirSync(bed.audioRoot)
  renameSync(away, bed.audioRoot)
  expect(await bed.database.knex('tracks').pluck('file_path')).toEqual(['a.flac'])
  expect(await run({ meanwhile: () => rmSync(at('a.flac')) })).toMatchObject({
    outcome: { state: 'deleted', bytes: 0 },
    path: null,
  })
})

test('with a CDN it goes once its first, its last and other bytes came from there', async () => {
  const asked: { start: number; end: number }[] = []
  const served: ServedCheck = async (of, range, sum, size) => {
    asked.push(range)
    expect(size).toBe(content.length)
    expect(of).toBe(key)
    expect(sum).toBe(
      createHash('sha256')
        .update(content.subarray(range.start, range.end + 1))
        .digest('hex'),
    )
    return { served: true } as never
  }
  expect(await run({ served })).toEqual({ ...gone, deletedAt: now, servedAt: now })
  expect(Math.min(...asked.map(({ start }) => start))).toBe(0)
  expect(Math.max(...asked.map(({ end }) => end))).toBe(content.length - 1)
  expect(asked.length).toBeGreaterThan(2)
})

test.each<[string, Given, ReturnType<typeof kept>]>([
  [
    'one range is not served',
    {
      served: async (_key, { start }) =>
        (start === 0 ? { served: true } : { served: false, reason: 'it is another' }) as never,
    },
    kept('cdn.not-served', 'it is another'),
  ],
  [
    'it has changed since it was verified',
    { meanwhile: () => utimesSync(at('a.flac'), 1, 1) },
    kept('file.changed'),
  ],
  [
    'it changes while the CDN is asked',
    {
      served: async (...args) => {
        utimesSync(at('a.flac'), 1, 1)
        return all(...args)
      },
    },
    kept('file.changed'),
  ],
  [
    'the row has changed',
    { meanwhile: id => bed.database.knex('tracks').where({ id }).update({ file_source: 'LOCAL' }) },
    kept('row.changed'),
  ],
  [
    'another row lives on it',
    { meanwhile: () => bed.addTrack({ path: 'a.flac', source: 'LOCAL' }) },
    kept('file.needed'),
  ],
  ['the object is gone', { hooks: { head: { after: () => null } } }, kept('object.missing')],
  [
    'the object may not be looked at',
    {
      hooks: {
        head: {
          before: () => {
            throw new StoreError('denied', 'no entry')
          },
        },
      },
    },
    kept('store', 'no entry'),
  ],
  [
    'the object has come to lie in an archive',
    { hooks: { head: { after: head => head && { ...head, archive: 'archived' } } } },
    kept('object.archived'),
  ],
  [
    'the disk refuses to take it aside',
    { failing: { kind: 'rename', error: Object.assign(new Error('EACCES'), { code: 'EACCES' }) } },
    kept('file.EACCES', 'it cannot be deleted'),
  ],
  [
    'the disk refuses to let it go',
    { failing: { kind: 'unlink', error: Object.assign(new Error('EIO'), { code: 'EIO' }) } },
    kept('file.EIO'),
  ],
])('it stays where %s', async (_what, given, expected) => {
  expect(await run(given)).toMatchObject(expected)
  expect(readFileSync(at('a.flac')).equals(content)).toBe(true)
})

test('it stays where the row reaches it through a link', async () => {
  const {
    outcome,
    isThere,
    path: left,
  } = await run({ file: 'link.flac', make: () => symlinkSync('a.flac', at('link.flac')) })
  expect([outcome, isThere, left]).toEqual([
    { state: 'kept', code: 'file.linked', reason: expect.any(String) },
    true,
    'link.flac',
  ])
})

test('the row keeps its path where a folder has taken the place of the file', async () => {
  const meanwhile = () => {
    rmSync(at('a.flac'))
    mkdirSync(at('a.flac'))
  }
  expect(await run({ meanwhile })).toMatchObject({ outcome: { state: 'kept' }, path: 'a.flac' })
})

test('a dry run looks at everything, and changes nothing', async () => {
  let asked = 0
  const served: ServedCheck = async (...args) => {
    asked++
    return all(...args)
  }
  expect(await run({ dryRun: true, served })).toEqual({
    outcome: { state: 'deleted', bytes: content.length },
    isThere: true,
    path: 'a.flac',
    deletedAt: undefined,
    servedAt: undefined,
  })
  expect(asked).toBeGreaterThan(2)
})

test('a row whose file is gone lets go of its path, in a run that is none for show', async () => {
  const meanwhile = () => rmSync(at('a.flac'))
  expect(await run({ meanwhile })).toMatchObject({ outcome: { state: 'deleted', bytes: 0 }, path: null })
  await bed.reset()
  expect(await run({ meanwhile, dryRun: true })).toMatchObject({
    outcome: { state: 'deleted', bytes: 0 },
    path: 'a.flac',
  })
})

test('what concerns more than this file ends the run', async () => {
  const broken = new StoreError('credentials', 'the key is gone')
  const hooks: StoreHooks = {
    head: {
      before: () => {
        throw broken
      },
    },
  }
  await expect(run({ hooks })).rejects.toBe(broken)
  expect(existsSync(at('a.flac'))).toBe(true)
  await bed.reset()
  const bug = new TypeError('a bug')
  await expect(run({ failing: { kind: 'rename', error: bug } })).rejects.toBe(bug)
  expect(readFileSync(at('a.flac')).equals(content)).toBe(true)
})
