/** What changes, goes or cannot be asked while `reconcile`, `apply`, `undo` and `cleanup` are at work, and what follows. */
import { randomUUID } from 'node:crypto'
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { PlanAction } from '../../src/core/plan.ts'
import { stagingPrefix } from '../../src/core/prefixes.ts'
import { startRun } from '../../src/db/ledger.ts'
import { sweepStaging } from '../../src/fetch/fetcher.ts'
import { asidePrefix, observeFileEffects } from '../../src/file-effects.ts'
import { quarantineKey } from '../../src/plan/plan-file.ts'
import { StoreError } from '../../src/storage/store.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { broken } from '../support/hooked-store.ts'
import { ledgerUpload } from '../support/ledger.ts'
import { sha256 } from '../support/sums.ts'
import { apply, cleanup, reconcile, savePlan, undo } from './safety.ts'
import { upload } from './upload.ts'

const key = 'audio/A/T_0a1b2c3d.flac'
const content = fakeAudio(3_000, 5)
type Hooks = NonNullable<NonNullable<Parameters<TestBed['run']>[2]>['hooks']>

describe.each([
  ['a bucket without versions', false],
  ['a bucket with versions', true],
])('meanwhile, in %s', (_, versioned) => {
  let bed: TestBed
  beforeAll(async () => {
    const buckets = [versioned ? { name: 'music', versioning: 'Enabled' as const } : 'music']
    ;({ bed } = await embeddedBed(await pgliteTestDatabase(), { buckets }))
  })
  afterAll(() => bed.close())
  const file = () => path.join(bed.dir, 'p.plan')
  beforeEach(() => bed.reset())
  const put = (where = key, bytes: Uint8Array = content) =>
    bed.store.put(where, bytes, {
      headers: {
        contentType: 'audio/flac',
        cacheControl: 'public, max-age=31536000, immutable',
        metadata: { sha256: sha256(bytes), 'track-id': randomUUID() },
      },
      checksums: {},
    })
  /** One that agrees, so that nothing looks like the wrong bucket. */
  async function agreeing(): Promise<void> {
    await put('audio/agrees.flac', fakeAudio(2_000, 6))
    const id = await bed.addTrack({ path: null, source: 'S3', key: 'audio/agrees.flac' })
    await bed.database.knex('tracks').where({ id }).update({ file_size: 2_000 })
  }
  const plan = { maxDelete: { percent: 100 }, force: true } as const
  const compared = (hooks: Hooks = {}) => reconcile(bed, { plan: file(), ...plan }, { hooks })

  test('a row names an object outside the prefix that is listed: it is asked for, and is no missing one', async () => {
    await put('elsewhere/x.flac')
    const id = await bed.addTrack({ path: null, source: 'S3', key: 'elsewhere/x.flac' })
    await bed.database.knex('tracks').where({ id }).update({ file_size: content.length })
    const run = await compared()
    expect(run.summary).toMatchObject({ agree: 1, drift: 0, removals: 0 })
    expect(run.summary['found']).toMatchObject({ 'missing-object': 0 })
  })

  test('a store takes /audio/… for audio/…: the key is told as misspelt, and its object as no orphan', async () => {
    await put()
    const id = await bed.addTrack({ path: null, source: 'S3', key: `/${key}` })
    await bed.database.knex('tracks').where({ id }).update({ file_size: content.length })
    const run = await compared({
      head: {
        after: async (_head, asked) => {
          const head = asked.startsWith('/') ? await bed.store.head(asked.slice(1)) : undefined
          return head && { ...head, key: asked }
        },
      },
    })
    expect(run.summary['found']).toMatchObject({ 'misspelt-key': 1, 'orphan-object': 0, 'missing-object': 0 })
    // An object that has that very name is the row's, whatever lies at the other.
    await put(`/${key}`, fakeAudio(4_000, 8))
    await bed.database.knex('tracks').where({ id }).update({ file_size: 4_000 })
    rmSync(file())
    const found = (await compared()).summary['found'] as Record<string, number>
    expect(found['misspelt-key'] ?? 0).toBe(0)
  })

  test('an object goes while it is being judged as an orphan: nothing is planned', async () => {
    await agreeing()
    await put()
    const run = await compared({
      head: { before: async asked => void (asked === key && (await bed.store.delete([{ key }]))) },
    })
    expect(run.summary).toMatchObject({ changed: 1, removals: 0, unread: 0 })
    expect(run.summary['found']).toMatchObject({ 'orphan-object': 0 })
  })

  test('what cannot be asked for is told so, and nothing is planned for it', async () => {
    await agreeing()
    await put()
    const id = await bed.addTrack({ path: null, source: 'S3', key: 'audio/gone.flac' })
    const run = await compared({
      head: {
        before: asked => {
          if (asked === key || asked === 'audio/gone.flac') throw broken()
        },
      },
    })
    expect(run.exitCode).toBe(3)
    expect(run.summary).toMatchObject({ unread: 2, removals: 0 })
    expect(run.items.map(item => [item['subject'], item['state']]).sort()).toEqual([
      [key, 'unread'],
      ['audio/gone.flac', 'unread'],
    ])
    for (const item of run.items) expect(item['problem']).toMatch(/the connection failed/)
    expect((await bed.tracks()).get(id)).toMatchObject({ file_source: 'S3' })
  })

  const removal = async (): Promise<PlanAction> => {
    const { etag } = await put()
    const object = { key, size: content.length, etag }
    return {
      action: 'remove-object',
      object,
      ...(versioned ? {} : { to: quarantineKey(randomUUID(), key) }),
    }
  }

  test('a plan is cut off before a row is changed: undo says that there was nothing to take back', async () => {
    const { id, ...was } = {
      id: await bed.addTrack({ path: null, source: 'S3', key: 'audio/was.flac' }),
      key: 'audio/was.flac',
      source: 'S3' as const,
      size: null,
      path: null,
    }
    const becomes = { ...was, key: 'audio/becomes.flac' }
    const name = savePlan(bed, 'p.plan', [{ action: 'update-row', trackId: id, was, becomes }])
    const end = observeFileEffects(({ kind, path: where }) => {
      // As a kill would: the intent is on the disk, and nothing after it happens.
      if (kind === 'sync' && where.endsWith('.journal') && readFileSync(where, 'utf8').includes('"begun"'))
        throw new Error('killed')
    })
    await expect(apply(bed, name).finally(end)).rejects.toThrow('killed')
    const run = await undo(bed, name)
    expect(run.summary).toMatchObject({ untouched: 1, undone: 0 })
    expect((await bed.tracks()).get(id)).toMatchObject({ s3_object_key: 'audio/was.flac' })
  })

  test('a row changes between the look and the change of it: it is skipped, not failed', async () => {
    const id = await bed.addTrack({ path: null, source: 'S3', key: 'audio/was.flac' })
    const was = { key: 'audio/was.flac', source: 'S3' as const, size: null, path: null }
    const name = savePlan(bed, 'p.plan', [
      { action: 'update-row', trackId: id, was, becomes: { ...was, key: 'audio/becomes.flac' } },
    ])
    let isChanged = false
    const end = observeFileEffects(async ({ kind, path: where }) => {
      if (isChanged || kind !== 'sync' || !where.endsWith('.journal')) return
      if (!readFileSync(where, 'utf8').includes('"begun"')) return
      isChanged = true
      await bed.database.knex('tracks').where({ id }).update({ s3_object_key: 'audio/other.flac' })
    })
    const run = await apply(bed, name).finally(end)
    expect(isChanged).toBe(true)
    expect(run.summary).toMatchObject({ skipped: 1, failed: 0, done: 0 })
    expect((await bed.tracks()).get(id)).toMatchObject({ s3_object_key: 'audio/other.flac' })
  })

  test('the ledger knows when a file went, and that a dry run let it stay; what was read is counted', async () => {
    await bed.addTrack({ path: 'a.flac', content })
    expect((await upload(bed)).exitCode).toBe(0)
    const deep = await reconcile(bed, { deep: true, head: 'all' })
    expect(deep.summary).toMatchObject({ agree: 1, heads: 1, hashed: 1, changed: 0 })
    const gone = async () =>
      (await bed.database.knex('autodj_ledger.objects').select('local_deleted_at'))[0]?.local_deleted_at
    expect((await cleanup(bed, { apply: false })).items).toMatchObject([{ subject: 'a.flac' }])
    expect(await gone()).toBeNull()
    expect((await cleanup(bed)).items).toMatchObject([{ state: 'removed', bytes: content.length }])
    expect(await gone()).toBeInstanceOf(Date)
  })

  test('how often objects are asked for, and read: as often as --head and --deep say, and no more', async () => {
    await bed.addTrack({ path: 'a.flac', content })
    expect((await upload(bed)).exitCode).toBe(0)
    const asked = async (flags: Parameters<typeof reconcile>[1]) => {
      const { heads, hashed } = (await reconcile(bed, flags)).summary
      return [heads, hashed]
    }
    expect(await asked({ head: 'all' })).toEqual([1, 0])
    // What was seen then is remembered.
    expect(await asked({ head: 'changed' })).toEqual([0, 0])
    expect(await asked({ head: 'none' })).toEqual([0, 0])
    expect(await asked({ head: 'none', deep: true })).toEqual([1, 1])
    expect(await asked({ head: 'changed', deep: true })).toEqual([1, 1])
  })

  test('an object of the same size and headers has come since the plan: its headers are left', async () => {
    await agreeing()
    const id = await bed.addTrack({ path: null, source: 'S3', key })
    await bed.database.knex('tracks').where({ id }).update({ file_size: content.length })
    const plain = (bytes: Uint8Array) =>
      bed.store.put(key, bytes, { headers: { contentType: 'text/plain' }, checksums: {} })
    const { etag } = await plain(content)
    const name = savePlan(
      bed,
      'p.plan',
      [
        {
          action: 'set-headers',
          object: { key, size: content.length, etag },
          was: { contentType: 'text/plain' },
          becomes: { contentType: 'audio/flac' },
        },
      ],
      { versioned },
    )
    await plain(fakeAudio(3_000, 9))
    const run = await apply(bed, name)
    expect(run.items).toMatchObject([{ state: 'skipped', reason: 'the object has changed since' }])
    expect((await bed.store.head(key))?.contentType).toBe('text/plain')
  })

  test('a file goes by itself while its row is being changed: the row says so', async () => {
    const id = await bed.addTrack({ path: 'a.flac', content })
    expect((await upload(bed)).exitCode).toBe(0)
    const goes = ({ sql }: { sql: string }) => {
      if (/^update .?tracks/i.test(sql)) rmSync(path.join(bed.audioRoot, 'a.flac'), { force: true })
    }
    bed.database.knex.on('query', goes)
    const run = await cleanup(bed).finally(() => bed.database.knex.off('query', goes))
    expect(run.items).toMatchObject([{ subject: 'a.flac', state: 'removed' }])
    expect((await bed.tracks()).get(id)).toMatchObject({ file_path: null, file_source: 'S3' })
  })

  test('rows that name one file each in its own way: the file goes once, and from each of them', async () => {
    await bed.addTracks(6, 3_000)
    for (let number = 0; number < 3; number++)
      await bed.addTrack({ path: path.join(bed.audioRoot, `folder ${number}/song ${number}.mp3`) })
    expect((await upload(bed)).exitCode).toBe(0)
    const run = await cleanup(bed)
    expect(run.items.filter(item => item['state'] !== 'removed')).toEqual([])
    for (const row of (await bed.tracks()).values())
      expect(row).toMatchObject({ file_source: 'S3', file_path: null })
  })

  test('what dead runs left at staging keys goes, what live ones have there stays, and so does what is no run', async () => {
    const [live, dead] = [randomUUID(), randomUUID()]
    const staging = stagingPrefix('audio/')
    const left = [`${staging}${live}/a.flac`, `${staging}not-a-run/a.flac`, 'audio/a.flac']
    const gone = [`${staging}${dead}/a.flac`, `${staging}${dead}/b.flac`]
    for (const name of [...left, ...gone]) await put(name, fakeAudio(1_000, 7))
    const headers = { contentType: 'audio/flac' }
    for (const name of [left[0], left[1], gone[0]] as string[])
      await bed.store.createUpload(name, { headers })
    const asked: string[][] = []
    const alive = async (ids: readonly string[]) => {
      asked.push([...ids].sort())
      return new Set([live])
    }
    expect(await sweepStaging(bed.store, 'audio/', alive)).toBe(3)
    expect([...(await bed.objects()).keys()].sort()).toEqual([...left].sort())
    expect((await bed.openUploads()).sort()).toEqual([left[0], left[1]].sort())
    expect(asked).toEqual([[live, dead].sort(), [live, dead].sort()])
    expect(await sweepStaging(bed.store, 'audio/', alive)).toBe(0)
  })

  test('a large file is written to, its times set back, between its hash and its parts: it is told, and nothing is left', async () => {
    const place = path.join(bed.audioRoot, 'large.flac')
    const large = fakeAudio(18 * 1024 ** 2, 3)
    const id = await bed.addTrack({ path: 'large.flac', content: large })
    const then = new Date(1_700_000_000_000)
    utimesSync(place, then, then)
    const run = await upload(
      bed,
      { partSize: 5 * 1024 ** 2, deleteLocal: true },
      {
        hooks: {
          createUpload: {
            after: () => {
              const edited = Buffer.from(large)
              edited[17_000_000]! ^= 1
              writeFileSync(place, edited)
              utimesSync(place, then, then)
            },
          },
        },
      },
    )
    expect(run.exitCode).toBe(3)
    expect(run.items).toMatchObject([{ subject: 'large.flac', reason: expect.stringMatching(/changed/) }])
    expect((await bed.tracks()).get(id)).toMatchObject({ file_source: 'LOCAL' })
    expect([existsSync(place), [...(await bed.objects()).keys()]]).toEqual([true, []])
  })

  test('the parts that a live run sends of the same file are left to it', async () => {
    const large = fakeAudio(18 * 1024 ** 2, 3)
    const id = await bed.addTrack({ path: 'large.flac', content: large })
    const partSize = 5 * 1024 ** 2
    expect((await upload(bed, { partSize })).exitCode).toBe(0)
    const [where] = [...(await bed.objects()).keys()] as [string]
    const { knex } = bed.database
    await knex('tracks').where({ id }).update({ file_source: 'LOCAL', s3_object_key: null })
    await knex('autodj_ledger.objects').delete()
    await bed.store.delete([{ key: where }])
    const runId = randomUUID()
    const run = { command: 'upload-local', args: {}, host: 'another machine', pid: 1, version: '0' }
    await startRun(knex, { id: runId, ...run })
    const { size, mtimeNs, ino } = statSync(path.join(bed.audioRoot, 'large.flac'), { bigint: true })
    const uploadId = await bed.store.createUpload(where, { headers: { contentType: 'audio/flac' } })
    const file = { path: 'large.flac', inode: ino, mtimeNs, size: Number(size), sha256: sha256(large) }
    await ledgerUpload(bed, { key: where, uploadId, ...file, partSize, runId })
    expect((await upload(bed, { partSize })).exitCode).toBe(0)
    expect(await bed.openUploads()).toEqual([where])
    expect(await knex('autodj_ledger.uploads').select('upload_id', 'run_id')).toEqual([
      { upload_id: uploadId, run_id: runId },
    ])
  })

  test('an object is taken away and comes back, whether or not the store tells the marker that it made', async () => {
    const name = savePlan(bed, 'p.plan', [await removal()], { versioned })
    const silent: Hooks = {
      delete: {
        after: outcomes => outcomes.map(({ deleteMarkerVersionId: _, ...outcome }) => outcome),
      },
    }
    const run = await apply(bed, name, undefined, { hooks: silent })
    expect(run.summary).toMatchObject({ done: 1, failed: 0 })
    expect(await bed.content(key)).toBeUndefined()
    expect((await undo(bed, name)).summary).toMatchObject({ undone: 1, failed: 0 })
    expect((await bed.content(key))?.equals(content)).toBe(true)
  })

  test('a file that is out of the way: it goes back, or stays if another is there, and is one if it has both names', async () => {
    const [folder, place] = [
      path.join(bed.audioRoot, `${asidePrefix}0123456789abcdef`),
      path.join(bed.audioRoot, 'a.flac'),
    ]
    const aside = path.join(folder, 'a.flac')
    const leave = () => {
      mkdirSync(folder, { recursive: true })
      writeFileSync(aside, content)
    }
    leave()
    expect((await cleanup(bed)).items).toMatchObject([{ subject: 'a.flac', state: 'put-back' }])
    expect([existsSync(folder), readFileSync(place).equals(content)]).toEqual([false, true])
    // A kill between the link and the removal of the other name.
    mkdirSync(folder)
    linkSync(place, aside)
    expect((await cleanup(bed)).items).toMatchObject([{ subject: 'a.flac', state: 'put-back' }])
    expect([existsSync(folder), readFileSync(place).equals(content)]).toEqual([false, true])
    const other = fakeAudio(3_000, 9)
    writeFileSync(place, other)
    leave()
    expect((await cleanup(bed)).items).toMatchObject([
      {
        subject: 'a.flac',
        state: 'kept',
        reason: `another file is there; this one is ${asidePrefix}0123456789abcdef/a.flac`,
      },
    ])
    expect([readFileSync(place).equals(other), readFileSync(aside).equals(content)]).toEqual([true, true])
  })

  test('the transaction in which files go fails for a reason of its own: the command ends, and all stays', async () => {
    await bed.addTracks(3, 3_000)
    expect((await upload(bed)).exitCode).toBe(0)
    const { knex } = bed.database
    const head = () => knex.raw('set default_transaction_read_only = on')
    try {
      const run = await cleanup(bed, {}, { hooks: { head: { before: () => head() } } })
      expect(run.error?.code).toBe('db.read-only')
      for (let number = 0; number < 3; number++)
        expect(existsSync(path.join(bed.audioRoot, `folder ${number}/song ${number}.mp3`))).toBe(true)
    } finally {
      await knex.raw('set default_transaction_read_only = off')
      // It could not be given up either.
      await knex('autodj_ledger.leases').delete()
    }
    expect((await cleanup(bed)).summary).toMatchObject({ removed: 6 })
  })

  test('a store that tells no checksums: a copy in quarantine is known by its ETag, and made anew if it is another', async () => {
    const item = await removal()
    if (item.action !== 'remove-object' || item.to === undefined) return
    const { to } = item
    const name = savePlan(bed, 'p.plan', [item])
    let copies = 0
    const silent: Hooks = {
      head: { after: head => head && { ...head, checksums: {} } },
      copy: { before: () => void copies++ },
    }
    const cut: Hooks = {
      ...silent,
      delete: {
        before: () => {
          throw broken()
        },
      },
    }
    await apply(bed, name, undefined, { hooks: cut })
    expect([copies, (await bed.content(to))?.equals(content)]).toEqual([1, true])
    await apply(bed, name, undefined, { hooks: cut })
    expect(copies).toBe(1)
    await put(to, fakeAudio(3_000, 9))
    expect((await apply(bed, name, undefined, { hooks: silent })).summary).toMatchObject({ done: 1 })
    expect([copies, (await bed.content(to))?.equals(content)]).toEqual([2, true])
    expect(await bed.content(key)).toBeUndefined()
  })

  test('the store refuses the last look at one object: that file stays, why is said, and the others go', async () => {
    await bed.addTrack({ path: 'a.flac', content })
    await bed.addTrack({ path: 'b.flac', content: fakeAudio(3_000, 8) })
    expect((await upload(bed)).exitCode).toBe(0)
    const refused = [...(await bed.tracks()).values()].find(row => row.file_path === 'a.flac')?.s3_object_key
    let looks = 0
    const before = (asked: string) => {
      if (asked === refused && ++looks > 1)
        throw new StoreError('denied', 'access denied', { cure: 'Allow it.' })
    }
    const run = await cleanup(bed, {}, { hooks: { head: { before } } })
    expect(looks).toBeGreaterThan(1)
    expect(run.items.filter(({ state }) => state === 'kept')).toMatchObject([
      { code: 'store', reason: expect.stringMatching(/access denied/) },
    ])
    expect(['a.flac', 'b.flac'].map(name => existsSync(path.join(bed.audioRoot, name)))).toEqual([
      true,
      false,
    ])
  })

  test('an object that is removed is asked for when it is judged and just before it goes, and the quarantine is listed once', async () => {
    const count = 3
    for (let at = 0; at < count; at++)
      await bed.addTrack({ path: `${at}.flac`, content: fakeAudio(3_000, at) })
    expect((await upload(bed)).exitCode).toBe(0)
    const kept = [...(await bed.tracks()).keys()][0]
    await bed.database
      .knex('tracks')
      .whereNot({ id: kept as string })
      .del()
    const asked: string[] = []
    const hooks: Hooks = {
      head: { before: key => void asked.push(`HEAD ${key.replace(/^quarantine\/[^/]+\//, 'quarantine/')}`) },
      list: { before: options => void asked.push(`LIST ${options?.prefix}`) },
    }
    const plan = path.join(bed.dir, 'p.plan')
    const lost = (await bed.database.knex('tracks').first('s3_object_key')).s3_object_key as string
    await bed.store.delete([{ key: lost }])
    await reconcile(bed, { plan, minAge: 0, maxDelete: { percent: 100 }, force: true }, { hooks })
    expect(asked.filter(one => one.startsWith('LIST quarantine/'))).toHaveLength(1)
    asked.length = 0
    const applied = await apply(bed, plan, { maxDelete: { percent: 100 }, force: true }, { hooks })
    expect(applied.summary).toMatchObject({ failed: 0, skipped: 0 })
    const removed = applied.items
      .map(({ subject }) => String(subject))
      .filter(subject => subject.startsWith('audio/') && subject !== lost)
    expect(removed).toHaveLength(count - 1)
    for (const key of removed) {
      expect([key, asked.filter(one => one === `HEAD ${key}`).length]).toEqual([key, 2])
      // Before it is copied, and after.
      expect(asked.filter(one => one === `HEAD quarantine/${key}`)).toHaveLength(versioned ? 0 : 2)
    }
  })

  test('an object goes into an archive after the proof: the file stays, and why is said', async () => {
    await bed.addTrack({ path: 'a.flac', content })
    expect((await upload(bed)).exitCode).toBe(0)
    let heads = 0
    const run = await cleanup(
      bed,
      {},
      {
        hooks: {
          head: {
            after: head =>
              head && ++heads > 1 ? { ...head, storageClass: 'GLACIER', archive: 'archived' } : undefined,
          },
        },
      },
    )
    expect(run.items).toMatchObject([
      { state: 'kept', code: 'object.archived', reason: expect.stringMatching(/only playable copy/) },
    ])
    expect(existsSync(path.join(bed.audioRoot, 'a.flac'))).toBe(true)
  })

  test.each([true, false])('a file goes by itself before it is removed (--apply: %s)', async isApplied => {
    const id = await bed.addTrack({ path: 'a.flac', content })
    expect((await upload(bed)).exitCode).toBe(0)
    let isLookedAt = false
    const goes = ({ sql }: { sql: string }) => {
      if (!isLookedAt || !/from .?tracks/.test(sql)) return
      rmSync(path.join(bed.audioRoot, 'a.flac'), { force: true })
    }
    bed.database.knex.on('query', goes)
    const run = await cleanup(
      bed,
      { apply: isApplied },
      {
        hooks: {
          head: {
            after: () => {
              isLookedAt = true
            },
          },
        },
      },
    ).finally(() => bed.database.knex.off('query', goes))
    expect(run.exitCode).toBe(0)
    expect((await bed.tracks()).get(id)?.file_path).toBe(isApplied ? null : 'a.flac')
  })

  if (versioned)
    test('the version that was hidden is deleted for good, and another left: undo brings back no other one', async () => {
      const other = fakeAudio(3_000, 9)
      await put(key, other)
      const item = await removal()
      const name = savePlan(bed, 'p.plan', [item], { versioned })
      expect((await apply(bed, name)).summary).toMatchObject({ done: 1 })
      const versions = (await Array.fromAsync(bed.store.listVersions({ prefix: key }))).flat()
      // Those that other tests have left, too.
      for (const { isDeleteMarker, etag, versionId } of versions)
        if (!isDeleteMarker && 'object' in item && etag === item.object.etag)
          await bed.store.delete([{ key, versionId }])
      const run = await undo(bed, name)
      expect(run.items).toMatchObject([
        { state: 'failed', reason: 'the bucket has no version of it that could be brought back' },
      ])
      expect(await bed.content(key)).toBeUndefined()
    })

  if (versioned)
    test('the object that a row names is hidden by a delete marker: it is brought back, if it is what the row had', async () => {
      await agreeing()
      await put()
      const id = await bed.addTrack({ path: null, source: 'S3', key })
      const { knex } = bed.database
      await knex('tracks').where({ id }).update({ file_size: content.length })
      expect((await reconcile(bed, { head: 'all' })).exitCode).toBe(0)
      await bed.store.delete([{ key }])
      // Without the right to list versions nothing is known of it.
      const denied = await compared({
        listVersions: {
          before: () => {
            throw broken()
          },
        },
      } as unknown as Hooks)
      expect(denied.summary['found']).toMatchObject({ 'missing-object': 1 })
      rmSync(file(), { force: true })
      const run = await compared()
      expect(run.summary['found']).toMatchObject({ 'missing-object': 1 })
      expect((await apply(bed, file())).summary).toMatchObject({ done: 1 })
      expect((await bed.content(key))?.equals(content)).toBe(true)
      expect((await bed.tracks()).get(id)).toMatchObject({ file_source: 'S3', s3_object_key: key })
      // Another recording lay there last.
      await put(key, fakeAudio(4_000, 9))
      await bed.store.delete([{ key }])
      for (const name of [file(), `${file()}.journal`]) rmSync(name, { force: true })
      await compared()
      await apply(bed, file())
      expect(await bed.content(key)).toBeUndefined()
      expect((await bed.tracks()).get(id)).toMatchObject({ file_source: 'UNAVAILABLE' })
    })
})
