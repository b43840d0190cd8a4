/** The one way in which a local file is deleted: by each state of the file, of its rows, of the CDN and of the disk. */
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { keepChangeTimes } from '../../src/audio-files/change-times.ts'
import { deleteProvedFile } from '../../src/audio-files/delete-proved.ts'
import { WatchedFolder } from '../../src/audio-files/mounted.ts'
import type { DeleteCandidate } from '../../src/audio-files/remove-together.ts'
import { openRoot, openSource } from '../../src/audio-files/source.ts'
import type { ServedCheck } from '../../src/cdn/served.ts'
import { loadConfig } from '../../src/config.ts'
import { plainFolder } from '../../src/core/audio-path.ts'
import { encodeCrc32 } from '../../src/core/crc32.ts'
import { acquireRemovalLease, recordItems } from '../../src/db/ledger.ts'
import { tracksById } from '../../src/db/tracks.ts'
import { observeFileEffects } from '../../src/file-effects.ts'
import { StoreError } from '../../src/storage/store.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { hooked, type StoreHooks } from '../support/hooked-store.ts'
import { openBelow } from '../support/process.ts'

const content = fakeAudio(300_000, 1)
const sha256 = createHash('sha256').update(content).digest('hex')
const key = 'audio/a.flac'
const now = new Date('2026-11-29T12:00:00Z')
let bed: TestBed
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
  // Whatever the tests lie on.
  keepChangeTimes.add(statfsSync(bed.audioRoot).type)
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
  /** when the run began */
  since?: Date
  /** what happens just before an effect on the disk, which it may fail */
  before?: Partial<Record<string, () => void>>
}
const context = () => ({
  config: loadConfig({ cwd: bed.dir, env: bed.env }),
  now: () => now,
  signal: new AbortController().signal,
})
const place = (of: {
  runId: string
  served?: ServedCheck | undefined
  hooks?: StoreHooks
  since?: Date | undefined
}) => ({
  store: hooked(bed.store, of.hooks ?? {}),
  runId: of.runId,
  served: of.served,
  // The file was written long before, so that its times tell every edit since.
  folder: new WatchedFolder(bed.audioRoot, of.since ?? new Date(Date.now() + 3_600_000)),
})
/** A track whose object is there, and whose file was just proved to be it. */
async function candidateOf(file: string, key: string): Promise<{ id: string; candidate: DeleteCandidate }> {
  const crc = encodeCrc32(crc32(content))
  await bed.store.put(key, content, {
    headers: { contentType: 'audio/flac', metadata: { sha256 } },
    checksums: { crc32: crc },
  })
  const id = await bed.addTrack({ path: file, source: 'S3', key })
  await bed.database.knex('tracks').where({ id }).update({ file_size: content.length })
  const source = await openSource(file, plainFolder(bed.audioRoot), await openRoot(bed.audioRoot))
  await source.close()
  const track = (await tracksById(bed.database.knex, [id]))[0]!
  return { id, candidate: { track, object: { key, size: content.length, sha256, crc32: crc }, source } }
}
async function run({ file = 'a.flac', make, meanwhile, served, hooks, dryRun, since, before = {} }: Given) {
  writeFileSync(at('a.flac'), content)
  make?.()
  const { id, candidate } = await candidateOf(file, key)
  const runId = await bed.startRun('cleanup')
  const where = place({ runId, served, since, ...(hooks && { hooks }) })
  await where.folder.assertThere()
  await meanwhile?.(id)
  const end = observeFileEffects(({ kind }) => before[kind]?.())
  const outcome = await deleteProvedFile(
    context(),
    bed.database,
    candidate,
    where,
    ...(dryRun === undefined ? [] : [{ dryRun }]),
  ).finally(end)
  // What is open would stay, on NFS and FUSE.
  expect(openBelow(bed.audioRoot)).toEqual([])
  const [known] = await bed.database.knex('autodj_ledger.objects')
  return {
    outcome,
    isThere: existsSync(at('a.flac')),
    path: (await bed.tracks()).get(id)?.file_path,
    deletedAt: known?.local_deleted_at ?? undefined,
    servedAt: known?.served_at ?? undefined,
  }
}
const failing =
  (code: string, times = Number.POSITIVE_INFINITY) =>
  () => {
    if (times-- > 0) throw Object.assign(new Error(code), { code })
  }
/** Another comes in its place, as tag editors write: to a new file. */
const replace = (bytes: Uint8Array = fakeAudio(300_000, 2)) => {
  writeFileSync(at('new'), bytes)
  renameSync(at('new'), at('a.flac'))
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

test('nor what is missing because a disk in its folder is not mounted: the row keeps the path', async () => {
  const { knex } = bed.database
  const known = { size: 1, mtime_ns: 1, ctime_ns: 1, inode: 1, sha256, crc32: 'AAAAAA==' }
  const { dev } = statSync(bed.audioRoot)
  const make = () => {
    mkdirSync(at('disk'))
    writeFileSync(at('disk/b.flac'), content)
  }
  const unmount = async () => {
    rmSync(at('disk/b.flac'))
    await knex('autodj_ledger.files').insert([
      { ...known, path: 'disk/b.flac', device: dev + 1 },
      { ...known, path: 'a.flac', device: dev },
    ])
  }
  expect(await run({ file: 'disk/b.flac', make, meanwhile: unmount })).toMatchObject({
    outcome: { state: 'kept', code: 'audio-root.gone', reason: expect.stringContaining('on another disk') },
    path: 'disk/b.flac',
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
    kept('object.archived', 'the only playable copy'),
  ],
  [
    'the object is back from an archive for a time only',
    { hooks: { head: { after: head => head && { ...head, restoredUntil: now } } } },
    kept('object.archived', 'for a time only'),
  ],
  [
    'the object has become another',
    { hooks: { head: { after: head => head && { ...head, size: 1 } } } },
    kept('object.differs'),
  ],
  [
    'the disk refuses to take it aside',
    { before: { rename: failing('EACCES') } },
    kept('file.EACCES', 'it cannot be deleted'),
  ],
  ['the disk refuses to let it go', { before: { unlink: failing('EIO', 1) } }, kept('file.EIO')],
])('it stays where %s', async (_what, given, expected) => {
  expect(await run(given)).toMatchObject(expected)
  expect(readFileSync(at('a.flac')).equals(content)).toBe(true)
})

const row = (id: string) => bed.database.knex('tracks').where({ id })
const verified = async (id: string) => {
  const failed = { command: 'verify', subject: id, trackId: id, state: 'failed' } as const
  const runId = await bed.startRun('verify')
  await recordItems(bed.database.knex, [
    { ...failed, errorCode: 'verify.content-differs', error: 'x', runId },
  ])
}
// What only the database knows; a dry run asks it as well.
test.each<[string, Given, string]>([
  [
    'its row has changed to LOCAL',
    { meanwhile: id => row(id).update({ file_source: 'LOCAL' }) },
    'row.changed',
  ],
  [
    'its row names another object',
    { meanwhile: id => row(id).update({ s3_object_key: 'k' }) },
    'row.changed',
  ],
  ['its row names another file', { meanwhile: id => row(id).update({ file_path: 'b.flac' }) }, 'row.changed'],
  ['its row is gone', { meanwhile: id => row(id).delete() }, 'row.changed'],
  [
    'another row lives on it',
    { meanwhile: () => bed.addTrack({ path: 'a.flac', source: 'LOCAL' }) },
    'file.needed',
  ],
  ['verify found other bytes at the CDN', { served: all, meanwhile: verified }, 'cdn.differs'],
])('it stays where %s, and a dry run says so', async (_what, given, code) => {
  for (const dryRun of [true, false]) {
    const { outcome, isThere } = await run({ ...given, dryRun })
    expect([outcome, isThere]).toMatchObject([{ state: 'kept', code }, true])
    await bed.reset()
  }
})

test('without a CDN nobody asks what it served', async () => {
  expect(await run({ meanwhile: verified })).toMatchObject(gone)
})

test.each<[string, string, string]>([
  ['the database refuses the change', "raise 'mine';", 'row.refused'],
  ['a trigger sets the row back', 'new.file_path := old.file_path; return new;', 'row.set-back'],
])('it stays where %s', async (_what, does, code) => {
  const { knex } = bed.database
  await knex.raw(`create function public.keep() returns trigger language plpgsql as $$ begin ${does} end $$`)
  await knex.raw(
    'create trigger keep before update on public.tracks for each row execute function public.keep()',
  )
  const meanwhile = () => knex.raw('alter table tracks enable trigger keep')
  try {
    await knex.raw('alter table tracks disable trigger keep')
    expect(await run({ meanwhile })).toMatchObject(kept(code))
  } finally {
    await knex.raw('drop function public.keep() cascade')
  }
})

test('it stays, and so does what came in its place, whenever that came', async () => {
  const other = fakeAudio(300_000, 2)
  expect(await run({ before: { mkdir: () => replace(other) } })).toMatchObject(
    kept('file.changed', 'another file has taken its place and was left alone'),
  )
  expect(readFileSync(at('a.flac')).equals(other)).toBe(true)
  await bed.reset()
  // And another one while the first was out of the way.
  const third = fakeAudio(300_000, 3)
  const twice = await run({ before: { mkdir: () => replace(other), link: () => replace(third) } })
  expect(twice).toMatchObject(
    kept('file.changed', 'two other files have taken its place; one of them is now'),
  )
  expect(readFileSync(at('a.flac')).equals(third)).toBe(true)
  const { reason } = twice.outcome as { reason: string }
  expect(readFileSync(/now (.*)$/.exec(reason)?.[1] as string).equals(other)).toBe(true)
})

test.each<[string, { keeps: boolean; since?: Date }]>([
  ['the file system does not tell every edit', { keeps: false }],
  ['the file was written only just before the run began', { keeps: true, since: new Date() }],
])('where %s its content decides', async (_what, { keeps, since }) => {
  const { type } = statfsSync(bed.audioRoot)
  if (!keeps) keepChangeTimes.delete(type)
  // What no time tells: as long, and written at the same moment.
  const edit = () => {
    const { atimeMs, mtimeMs } = statSync(at('a.flac'))
    const edited = Buffer.from(content)
    edited[2_000]! ^= 1
    writeFileSync(at('a.flac'), edited)
    utimesSync(at('a.flac'), atimeMs / 1_000, mtimeMs / 1_000)
  }
  const given = since && { since }
  try {
    expect(await run({ ...given })).toMatchObject(gone)
    await bed.reset()
    expect(await run({ ...given, before: { mkdir: edit } })).toMatchObject(kept('file.changed'))
    expect(readFileSync(at('a.flac'))).not.toEqual(content)
    await bed.reset()
    // The very same bytes, whatever the times are.
    expect(await run({ ...given, before: { mkdir: () => replace(content) } })).toMatchObject(gone)
  } finally {
    keepChangeTimes.add(type)
  }
})

test('while another run holds the lock of removals it stays; to the holder the lock is its own', async () => {
  const [holder, other] = [await bed.startRun('restore'), await bed.startRun('cleanup')]
  await acquireRemovalLease(bed.database.knex, { runId: holder, host: 'h', pid: 1 })
  // All at one moment, two of them rows of one file.
  const all = [
    ['a.flac', holder],
    ['b.flac', other],
    ['c.flac', holder],
    ['./c.flac', holder],
    ['d.flac', other],
  ] as const
  for (const [file] of all) writeFileSync(at(file), content)
  const removals = await Promise.all(
    all.map(async ([file, runId]) => [await candidateOf(file, `audio/${file}`), runId] as const),
  )
  const ofOneProcess = context()
  const outcomes = await Promise.all(
    removals.map(([{ candidate }, runId]) =>
      deleteProvedFile(ofOneProcess, bed.database, candidate, place({ runId })),
    ),
  )
  const [a, b, c, again, d] = outcomes
  expect([a, b, d]).toMatchObject([
    { state: 'deleted', bytes: content.length },
    ...[b, d].map(() => ({
      state: 'kept',
      code: 'removal.locked',
      reason: expect.stringContaining('`restore` is at work'),
    })),
  ])
  // The file once, and the other's name.
  expect([c, again].map(one => one?.state === 'deleted' && one.bytes).sort()).toEqual([0, content.length])
  expect(all.map(([file]) => existsSync(at(file)))).toEqual([false, true, false, false, true])
  expect((await bed.database.knex('tracks').whereNotNull('file_path').pluck('file_path')).sort()).toEqual([
    'b.flac',
    'd.flac',
  ])
})

test('rows that share a file let go of it together, whoever of them comes first', async () => {
  // While the last bytes are asked for, another row's copy, the same file, goes.
  const meanwhile: ServedCheck = async (...args) => {
    rmSync(at('a.flac'), { force: true })
    return all(...args)
  }
  expect(await run({ served: meanwhile })).toMatchObject({
    outcome: { state: 'deleted', bytes: 0 },
    path: null,
  })
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
  expect(await run({ meanwhile })).toMatchObject({
    outcome: { state: 'kept', code: 'file.not-a-file' },
    path: 'a.flac',
  })
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
  const { knex } = bed.database
  const meanwhile = () => knex.raw('alter table autodj_ledger.leases rename to away')
  await expect(run({ meanwhile })).rejects.toMatchObject({ code: 'db.schema' })
  await knex.raw('alter table autodj_ledger.away rename to leases')
  expect(existsSync(at('a.flac'))).toBe(true)
  await bed.reset()
  const bug = new TypeError('a bug')
  const rename = () => {
    throw bug
  }
  await expect(run({ before: { rename } })).rejects.toBe(bug)
  expect(readFileSync(at('a.flac')).equals(content)).toBe(true)
})
