import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import {
  acquireLease,
  acquireRemovalLease,
  clearItems,
  finishRun,
  forgetUpload,
  heartbeat,
  markUploaded,
  noteObject,
  objectsByKey,
  openUploads,
  recentRuns,
  recordItems,
  recordParts,
  recordUpload,
  releaseClaims,
  rememberedFiles,
  rememberFiles,
  removalHolder,
  startRun,
  upsertObjects,
} from '../../src/db/ledger.ts'
import {
  changeTracks,
  claimTracks,
  countTracks,
  insertTracks,
  type NewTrack,
  type Track,
  trackPages,
  tracksBySpotifyId,
} from '../../src/db/tracks.ts'
import { usualCure } from '../../src/error-codes.ts'
import { AppError, FatalError, LockedError } from '../../src/errors.ts'
import { migrated, type TestDatabase } from '../support/database.ts'
import { itemPage } from '../support/ledger.ts'

/** What every database that autodj runs on must do alike. */
export function databaseContract(name: string, make: () => Promise<TestDatabase>): void {
  describe(`database contract: ${name}`, () => {
    let database: TestDatabase
    let db: Database

    beforeAll(async () => {
      database = await migrated(await make())
      db = await database.open()
    })

    afterAll(async () => {
      await db.close()
      await database.drop()
    })

    beforeEach(async () => {
      await db.knex.raw(
        'truncate tracks, autodj_ledger.runs, autodj_ledger.items, autodj_ledger.claims, autodj_ledger.leases, autodj_ledger.objects, ' +
          'autodj_ledger.uploads, autodj_ledger.parts, autodj_ledger.files cascade',
      )
    })

    const newTrack = (n: number, change: Partial<NewTrack> = {}): NewTrack => ({
      id: `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`,
      spotifyId: `local:${n}`,
      title: `Title ${n}`,
      artist: 'Artist',
      album: null,
      duration: 1.5,
      filePath: `a/${n}.mp3`,
      fileSource: 'LOCAL',
      fileSize: 1000 + n,
      ...change,
    })
    const newTracks = (count: number): NewTrack[] => Array.from({ length: count }, (_, n) => newTrack(n + 1))

    const aRun = async (leaseSeconds?: number): Promise<string> => {
      const id = randomUUID()
      const run = { id, command: 'upload-local', args: { limit: 5 }, host: 'h', pid: 7, version: '0' }
      await startRun(db.knex, run, leaseSeconds)
      return id
    }

    const allTracks = async (filter = {}, pageSize = 1000): Promise<Track[]> => {
      const found: Track[] = []
      for await (const page of trackPages(db.knex, { filter, pageSize })) found.push(...page)
      return found.toSorted((a, b) => (a.id < b.id ? -1 : 1))
    }

    describe('one behaviour', () => {
      test('values come back as the same JavaScript types', async () => {
        const { rows } = await db.knex.raw(
          `select 9007199254740993::int8 as big, array[1::int8] as bigs, 1.5::float8 as float, 1.50::numeric as num,
             '2024-01-02T03:04:05.678Z'::timestamptz as at, '{"a": [1]}'::jsonb as j, '\\x00ff'::bytea as bytes, true as yes,
             array['a', null, 'b"c'] as texts`,
        )
        expect(rows).toEqual([
          {
            big: '9007199254740993',
            bigs: ['1'],
            float: 1.5,
            num: '1.50',
            at: new Date('2024-01-02T03:04:05.678Z'),
            j: { a: [1] },
            bytes: Buffer.from([0, 255]),
            yes: true,
            texts: ['a', null, 'b"c'],
          },
        ])
      })

      test('values go in alike: nulls and quotes in arrays, dates, bytes, JSON', async () => {
        const { rows } = await db.knex.raw(
          `select * from unnest(?::text[], ?::int8[], ?::timestamptz[], ?::bool[])
             as u(t, i, d, b), (select ?::bytea as bytes, ?::jsonb as j) as v`,
          [
            ['a', null, 'x"\\,{}'] as never,
            [1, '9007199254740993', null] as never,
            [new Date(0), null, new Date(1)] as never,
            [true, false, null] as never,
            Buffer.from([0, 1]),
            JSON.stringify({ a: 'é' }),
          ],
        )
        const shared = { bytes: Buffer.from([0, 1]), j: { a: 'é' } }
        expect(rows).toEqual([
          { t: 'a', i: '1', d: new Date(0), b: true, ...shared },
          { t: null, i: '9007199254740993', d: null, b: false, ...shared },
          { t: 'x"\\,{}', i: null, d: new Date(1), b: null, ...shared },
        ])
      })

      test('delete, update and insert tell how many rows; returning gives them', async () => {
        await insertTracks(db.knex, newTracks(3))
        expect(await db.knex('tracks').where({ spotify_id: 'local:1' }).update({ album: 'x' })).toBe(1)
        expect(await db.knex('tracks').where({ album: 'x' }).del()).toBe(1)
        expect(await db.knex('tracks').where({ album: 'x' }).del()).toBe(0)
        expect(await db.knex('tracks').whereNull('album').del().returning('spotify_id')).toHaveLength(2)
        const raw = await db.knex.raw('select 1 as one')
        expect([raw.rowCount, raw.rows]).toEqual([1, [{ one: 1 }]])
      })

      test('several statements in one raw', async () => {
        await db.knex.raw(`insert into autodj_ledger.files (path, size, mtime_ns, sha256, crc32)
          values ('p', 1, 1, repeat('0', 64), ''); update autodj_ledger.files set size = 2`)
        expect((await db.knex('autodj_ledger.files').first()).size).toBe('2')
      })

      test('a failed transaction leaves nothing, a savepoint can fail alone', async () => {
        await db.knex.transaction(async trx => {
          await insertTracks(trx, [newTrack(1)])
          await expect(trx.transaction(inner => inner.raw('select 1 / 0'))).rejects.toThrow(
            'division by zero',
          )
          await insertTracks(trx, [newTrack(2)])
        })
        await expect(
          db.knex.transaction(async trx => {
            await insertTracks(trx, [newTrack(3)])
            throw new Error('no')
          }),
        ).rejects.toThrow('no')
        expect((await allTracks()).map(track => track.spotifyId)).toEqual(['local:1', 'local:2'])
      })

      test('many tasks at once, each with a transaction of its own', async () => {
        await Promise.all(
          newTracks(30).map(track =>
            db.knex.transaction(async trx => void (await insertTracks(trx, [track]))),
          ),
        )
        expect(await allTracks()).toHaveLength(30)
      })
    })

    describe('errors', () => {
      test('a missing table tells to migrate, without SQL or values in the message', async () => {
        const error = await db
          .knex('autodj.nope')
          .where({ secret: 'hunter2' })
          .catch((e: unknown) => e)
        expect(error).toBeInstanceOf(FatalError)
        expect((error as AppError).code).toBe('db.schema')
        expect((error as AppError).cure).toContain('autodj migrate')
        expect((error as AppError).message).not.toMatch(/hunter2|select/)
        expect((error as AppError).cause).toMatchObject({ code: '42P01' })
      })

      test('a violated constraint stays what it is, with its SQLSTATE', async () => {
        const violated = db.knex('alembic_version').insert({ version_num: 'a312ec46df43' })
        const error = await violated.catch((e: unknown) => e)
        expect(error).not.toBeInstanceOf(AppError)
        expect(error).toMatchObject({ code: '23505' })
      })
    })

    describe('tracks', () => {
      test('pages in the order of the ids, for whoever stops early', async () => {
        await insertTracks(db.knex, newTracks(10).toReversed())
        const pages = await Array.fromAsync(trackPages(db.knex, { pageSize: 4, inOrder: true }))
        const wanted = newTracks(10).map(({ id }) => id)
        expect(pages.map(page => page.length)).toEqual([4, 4, 2])
        expect(pages.flat().map(({ id }) => id)).toEqual(wanted.toSorted())
      })

      test('a page has its tracks as they are when it comes, and none that passes no more', async () => {
        await insertTracks(db.knex, newTracks(9))
        const filter = { sources: ['LOCAL' as const] }
        const pages = trackPages(db.knex, { filter, pageSize: 3 })
        const { value: first } = await pages.next()
        const others = newTracks(9).filter(({ id }) => !first!.some(track => track.id === id))
        const [changed, gone, moved] = others
        await db.knex('tracks').where({ id: changed!.id }).update({ title: 'another' })
        await db.knex('tracks').where({ id: gone!.id }).del()
        await db.knex('tracks').where({ id: moved!.id }).update({ file_source: 'S3' })
        const later = (await Array.fromAsync(pages)).flat()
        expect(new Set(later.map(({ id }) => id))).toEqual(
          new Set([changed, ...others.slice(3)].map(one => one!.id)),
        )
        expect(later.find(({ id }) => id === changed!.id)?.title).toBe('another')
      })

      test('all of them, whatever the page size', async () => {
        await insertTracks(db.knex, newTracks(10).toReversed())
        for (const size of [1, 3, 5, 10, 100]) {
          const found = await allTracks({}, size)
          expect(found.map(track => track.spotifyId)).toEqual(newTracks(10).map(track => track.spotifyId))
        }
        expect((await allTracks())[0]).toEqual({
          ...newTrack(1),
          s3ObjectKey: null,
          updatedAt: null,
        })
      })

      test('a row inserted twice is made once', async () => {
        expect(await insertTracks(db.knex, newTracks(2))).toEqual(new Set([newTrack(1).id, newTrack(2).id]))
        const again = [newTrack(9, { spotifyId: 'local:1' }), newTrack(3)]
        expect(await insertTracks(db.knex, again)).toEqual(new Set([newTrack(3).id]))
        expect((await tracksBySpotifyId(db.knex, ['local:1', 'nope'])).map(track => track.id)).toEqual([
          newTrack(1).id,
        ])
      })

      test('filters', async () => {
        const run = await aRun()
        await insertTracks(db.knex, [
          newTrack(1),
          newTrack(2, { fileSource: 'YOUTUBE', filePath: 'b_%/x.mp3' }),
          newTrack(3, { fileSource: 'S3' }),
          newTrack(4, { fileSource: null as never }),
          newTrack(5, { filePath: null as never }),
        ])
        await db
          .knex('tracks')
          .where({ id: newTrack(3).id })
          .update({ s3_object_key: 'audio/k' })
        const failed = { errorCode: 'bug', error: 'x', cure: null, runId: run, command: 'analyze' } as const
        await recordItems(db.knex, [
          { ...failed, subject: newTrack(1).id, trackId: newTrack(1).id, state: 'failed' },
          { ...failed, subject: newTrack(2).id, trackId: newTrack(2).id, state: 'skipped', cure: 'Wait.' },
        ])
        const cures = (await itemPage(db.knex, { command: 'analyze', limit: 9 })).map(({ cure }) => cure)
        expect(cures.sort()).toEqual([usualCure('bug'), 'Wait.'])
        const ids = async (filter: object): Promise<number[]> =>
          (await allTracks(filter)).map(track => Number(track.spotifyId.slice(6)))
        expect(await ids({ sources: ['LOCAL'] })).toEqual([1, 5])
        expect(await ids({ sources: ['LOCAL', 'YOUTUBE', null] })).toEqual([1, 2, 4, 5])
        expect(await ids({ sources: [] })).toEqual([])
        expect(await ids({ sources: ['LOCAL'], hasFile: true })).toEqual([1])
        expect(await ids({ hasFile: false })).toEqual([5])
        expect(await ids({ hasKey: true })).toEqual([3])
        expect(await ids({ keyPrefix: 'audio/' })).toEqual([3])
        expect(await ids({ ids: [newTrack(4).id] })).toEqual([4])
        expect(await ids({ failedIn: 'analyze' })).toEqual([1, 2])
        expect(await ids({ notSkippedIn: 'analyze' })).toEqual([1, 3, 4, 5])
        expect(await countTracks(db.knex, { sources: ['LOCAL'] })).toEqual({
          tracks: 2,
          bytes: 2006,
          withoutSize: 0,
        })
        expect(await countTracks(db.knex, { sources: ['UNAVAILABLE'] })).toEqual({
          tracks: 0,
          bytes: 0,
          withoutSize: 0,
        })
      })

      test('a change is made only to the row that was planned', async () => {
        await insertTracks(db.knex, newTracks(4))
        const [one, two, three, four] = await allTracks()
        await db.knex('tracks').where({ id: two!.id }).update({ file_path: 'elsewhere.mp3' })
        await db.knex('tracks').where({ id: three!.id }).del()
        const change = (planned: Track) => ({ planned, filePath: null, fileSource: 'S3' as const })
        const outcomes = await changeTracks(db.knex, [
          change(four!),
          change(three!),
          change(two!),
          change(one!),
        ])
        expect(outcomes).toEqual(
          new Map([
            [one!.id, 'done'],
            [two!.id, 'changed'],
            [three!.id, 'deleted'],
            [four!.id, 'done'],
          ]),
        )
        const [first, second] = await allTracks()
        expect(first).toMatchObject({ filePath: null, fileSource: 'S3', fileSize: 1001, s3ObjectKey: null })
        expect(first!.updatedAt).toBeInstanceOf(Date)
        expect(second).toMatchObject({ filePath: 'elsewhere.mp3', fileSource: 'LOCAL', updatedAt: null })
        expect(await changeTracks(db.knex, [change(one!)])).toEqual(new Map([[one!.id, 'done']]))
      })
    })

    describe('runs, claims and leases', () => {
      test('a run from start to end', async () => {
        const id = await aRun()
        expect(await heartbeat(db.knex, id)).toBe(true)
        expect((await recentRuns(db.knex, { limit: 5 }))[0]).toMatchObject({
          id,
          command: 'upload-local',
          args: { limit: 5 },
          state: 'running',
          exitCode: null,
          finishedAt: null,
        })
        await finishRun(db.knex, id, { state: 'done', exitCode: 0, summary: { uploaded: 3 } })
        expect((await recentRuns(db.knex, { command: 'upload-local', limit: 5 }))[0]).toMatchObject({
          state: 'done',
          exitCode: 0,
          summary: { uploaded: 3 },
          finishedAt: expect.any(Date),
        })
        expect(await heartbeat(db.knex, id)).toBe(false)
      })

      test('two runs at once claim every track, none twice', async () => {
        await insertTracks(db.knex, newTracks(200))
        const claimed = await Promise.all(
          [await aRun(), await aRun(), await aRun()].map(async runId => {
            const mine: string[] = []
            for (let afterId: string | null | undefined; afterId !== null; ) {
              const page = await claimTracks(db.knex, { kind: 'upload', runId, afterId, limit: 7 })
              mine.push(...page.tracks.map(track => track.id))
              afterId = page.nextAfterId
            }
            return mine
          }),
        )
        const all = claimed.flat()
        expect(new Set(all).size).toBe(all.length)
        expect(new Set(all)).toEqual(new Set(newTracks(200).map(track => track.id)))
      })

      test('claims of another kind do not matter; released and finished ones are free again', async () => {
        await insertTracks(db.knex, newTracks(2))
        const [a, b] = [await aRun(), await aRun()]
        const claim = async (runId: string, kind = 'upload'): Promise<number> =>
          (await claimTracks(db.knex, { kind, runId, limit: 10 })).tracks.length
        expect(await claim(a)).toBe(2)
        expect(await claim(a)).toBe(2)
        expect(await claim(b)).toBe(0)
        expect(await claim(b, 'analyze')).toBe(2)
        await releaseClaims(db.knex, { kind: 'upload', runId: a, trackIds: [newTrack(1).id] })
        expect(await claim(b)).toBe(1)
        await finishRun(db.knex, a, { state: 'interrupted', exitCode: 130, summary: {} })
        expect(await claim(b)).toBe(2)
      })

      test('a dead run is abandoned and its claims are taken over', async () => {
        await insertTracks(db.knex, newTracks(2))
        const dead = await aRun(-1)
        const live = await aRun()
        expect((await claimTracks(db.knex, { kind: 'upload', runId: dead, limit: 10 })).tracks).toHaveLength(
          2,
        )
        expect((await claimTracks(db.knex, { kind: 'upload', runId: live, limit: 10 })).tracks).toHaveLength(
          2,
        )
        await aRun()
        const states = new Map((await recentRuns(db.knex, { limit: 9 })).map(run => [run.id, run.state]))
        expect(states.get(dead)).toBe('abandoned')
        expect(states.get(live)).toBe('running')
        expect(await heartbeat(db.knex, dead)).toBe(false)
      })

      test('a lease has one holder, whom the refused one is told', async () => {
        const [a, b] = [await aRun(), await aRun()]
        await acquireLease(db.knex, { name: 'cleanup', runId: a, host: 'alpha', pid: 11 })
        await acquireLease(db.knex, { name: 'cleanup', runId: a, host: 'alpha', pid: 11 })
        await acquireLease(db.knex, { name: 'other', runId: b, host: 'beta', pid: 12 })
        const refused = acquireLease(db.knex, { name: 'cleanup', runId: b, host: 'beta', pid: 12 })
        await expect(refused).rejects.toThrow(LockedError)
        await expect(refused).rejects.toThrow(
          /cleanup is locked by upload-local \(pid 11 on alpha\) since 20/,
        )
        const end = { state: 'done' as const, exitCode: 0, summary: {} }
        await finishRun(db.knex, await aRun(), end)
        await expect(
          acquireLease(db.knex, { name: 'cleanup', runId: b, host: 'beta', pid: 12 }),
        ).rejects.toThrow(LockedError)
        await finishRun(db.knex, a, end)
        await acquireLease(db.knex, { name: 'cleanup', runId: b, host: 'beta', pid: 12 })
      })

      test('the lock of removals waits for a removal under way, and is told to those that follow', async () => {
        const [restore, uploads] = [await aRun(), await aRun()]
        const order: string[] = []
        const { promise: removed, resolve: remove } = Promise.withResolvers<void>()
        const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
        const removal = db.knex.transaction(async trx => {
          expect(await removalHolder(trx, uploads)).toBeUndefined()
          begin()
          await removed
          order.push('removed')
        })
        await begun
        const locked = acquireRemovalLease(db.knex, { runId: restore, host: 'alpha', pid: 11 }).then(() =>
          order.push('locked'),
        )
        // The statement has time to reach the server and to be granted, were there nothing in its way.
        await new Promise(resolve => setTimeout(resolve, 100))
        remove()
        await Promise.all([removal, locked])
        expect(order).toEqual(['removed', 'locked'])
        await db.knex.transaction(async trx => {
          expect(await removalHolder(trx, uploads)).toBe('`upload-local`')
          expect(await removalHolder(trx, restore)).toBeUndefined()
        })
        await finishRun(db.knex, restore, { state: 'done', exitCode: 0, summary: {} })
        await db.knex.transaction(async trx => expect(await removalHolder(trx, uploads)).toBeUndefined())
      })

      test('a lease that ran out is free, one with a heartbeat is not', async () => {
        const [a, b] = [await aRun(), await aRun()]
        await acquireLease(db.knex, { name: 'cleanup', runId: a, host: 'alpha', pid: 11 }, -1)
        await heartbeat(db.knex, a)
        const lease = { name: 'cleanup', runId: b, host: 'beta', pid: 12 }
        await expect(acquireLease(db.knex, lease)).rejects.toThrow(LockedError)
        await heartbeat(db.knex, a, -1)
        await acquireLease(db.knex, lease)
      })
    })

    describe('items', () => {
      test('a repeated failure counts, success forgets', async () => {
        const runId = await aRun()
        const item = { command: 'upload-local', trackId: null, state: 'failed', cure: null, runId } as const
        const long = `${'x'.repeat(5000)}`
        await recordItems(db.knex, [
          { ...item, subject: 'a', errorCode: 'file.changed', error: 'first' },
          { ...item, subject: 'a', errorCode: 'file.missing', error: 'NUL \0' },
          { ...item, subject: long, errorCode: 'file.changed', error: 'long' },
          { ...item, subject: `${long}y`, errorCode: 'file.changed', error: 'longer' },
        ])
        await recordItems(db.knex, [
          { ...item, subject: 'a', errorCode: 'file.empty', error: 'again', state: 'skipped' },
        ])
        const page = await itemPage(db.knex, { command: 'upload-local', limit: 10 })
        expect(page).toHaveLength(3)
        expect(page[0]).toMatchObject({
          subject: 'a',
          attempts: 2,
          errorCode: 'file.empty',
          state: 'skipped',
          runId,
        })
        expect(await itemPage(db.knex, { command: 'upload-local', limit: 10, state: 'failed' })).toHaveLength(
          2,
        )
        await clearItems(db.knex, 'analyze', ['a'])
        await clearItems(db.knex, 'upload-local', [long])
        expect(
          (await itemPage(db.knex, { command: 'upload-local', limit: 10 })).map(row => row.error),
        ).toEqual(['again', 'longer'])
      })
    })

    describe('objects', () => {
      const sha256 = 'ab'.repeat(32)

      test('later knowledge is added to earlier, and the last error goes when a check succeeds', async () => {
        const uploadedAt = new Date('2024-01-01T00:00:00Z')
        const servedAt = new Date('2024-01-02T00:00:00Z')
        await upsertObjects(db.knex, [
          { bucket: 'b', key: 'k', size: 5_000_000_000, sha256, uploadedAt, lastError: 'x' },
        ])
        await upsertObjects(db.knex, [
          { bucket: 'b', key: 'k', size: 5_000_000_000, servedAt, cacheHit: false, edge: 'FRA' },
        ])
        expect((await objectsByKey(db.knex, 'b', ['k', 'nope'])).get('k')).toEqual({
          bucket: 'b',
          key: 'k',
          size: 5_000_000_000,
          sha256,
          crc32: null,
          crc64nvme: null,
          etag: null,
          versionId: null,
          contentType: null,
          uploadedAt,
          verifiedAt: null,
          servedAt,
          localDeletedAt: null,
          edge: 'FRA',
          cacheHit: false,
          latencyMs: null,
          lastError: null,
          runId: null,
        })
      })

      test('notes of one key that are written together add up', async () => {
        const verifiedAt = new Date('2024-01-01T00:00:00Z')
        const localDeletedAt = new Date('2024-01-02T00:00:00Z')
        const object = { bucket: 'b', key: 'k', size: 5 }
        await Promise.all([
          noteObject(db.knex, { ...object, key: 'goes first, alone' }),
          noteObject(db.knex, { ...object, sha256, verifiedAt }),
          noteObject(db.knex, { ...object, localDeletedAt }),
        ])
        const known = await objectsByKey(db.knex, 'b', ['k'])
        expect(known.get('k')).toMatchObject({ size: 5, sha256, verifiedAt, localDeletedAt })
      })

      test('uploads are written whole: row and object; a row that changed or went is left alone', async () => {
        const runId = await aRun()
        await insertTracks(db.knex, newTracks(3))
        const { tracks } = await claimTracks(db.knex, { kind: 'upload', runId, limit: 10 })
        await db.knex('tracks').where({ id: tracks[1]!.id }).update({ file_path: 'moved.mp3' })
        await db.knex('tracks').where({ id: tracks[2]!.id }).del()
        const batch = {
          runId,
          tracks: tracks.map((planned, n) => ({
            planned,
            object: { bucket: 'b', key: `k${n}`, size: 70 + n, sha256, uploadedAt: new Date(0) },
          })),
        }
        const outcomes = await markUploaded(db.knex, batch)
        expect([...outcomes.values()]).toEqual(['done', 'changed', 'deleted'])
        const [first, second] = await allTracks()
        expect(first).toMatchObject({
          fileSource: 'S3',
          s3ObjectKey: 'k0',
          fileSize: 70,
          filePath: 'a/1.mp3',
        })
        expect(second).toMatchObject({ fileSource: 'LOCAL', s3ObjectKey: null, filePath: 'moved.mp3' })
        expect([...(await objectsByKey(db.knex, 'b', ['k0', 'k1', 'k2'])).keys()].sort()).toEqual([
          'k0',
          'k1',
          'k2',
        ])
        // The run that never heard of its commit says it again.
        expect([...(await markUploaded(db.knex, batch)).values()]).toEqual(['done', 'changed', 'deleted'])
      })
    })

    test('multipart uploads and their parts', async () => {
      const upload = {
        bucket: 'b',
        key: 'k',
        uploadId: 'u1',
        path: 'a/1.mp3',
        inode: 2n ** 63n,
        mtimeNs: 1_700_000_000_123_456_789n,
        size: 12_000_000,
        sha256: null,
        partSize: 8_388_608,
        headers: '{"contentType":"audio/mpeg"}',
        runId: null,
      }
      await recordUpload(db.knex, upload)
      await recordParts(db.knex, 'u1', [
        { partNumber: 2, size: 5, crc32: 'a', etag: 'e' },
        { partNumber: 1, size: 8, crc32: 'b', etag: 'f' },
      ])
      await recordParts(db.knex, 'u1', [{ partNumber: 2, size: 6, crc32: 'c', etag: 'g' }])
      expect(await openUploads(db.knex, { bucket: 'b', key: 'k' })).toEqual([
        {
          ...upload,
          inode: null,
          createdAt: expect.any(Date),
          parts: [
            { partNumber: 1, size: 8, crc32: 'b', etag: 'f' },
            { partNumber: 2, size: 6, crc32: 'c', etag: 'g' },
          ],
        },
      ])
      expect(await openUploads(db.knex, { bucket: 'b', key: 'other' })).toEqual([])
      await forgetUpload(db.knex, 'u1')
      expect(await openUploads(db.knex, { bucket: 'b' })).toEqual([])
      expect(await db.knex('autodj_ledger.parts')).toEqual([])
    })

    test('hashes of files', async () => {
      const file = {
        path: 'a/é.mp3',
        size: 3,
        mtimeNs: 1_700_000_000_123_456_789n,
        ctimeNs: 1_700_000_001_123_456_789n,
        inode: 5n,
        device: null,
        sha256: '0'.repeat(64),
        crc32: 'AAAAAA==',
        hashedAt: new Date('2026-11-30T00:00:00.123Z'),
      }
      await rememberFiles(db.knex, [file, { ...file, path: 'x'.repeat(3000) }])
      const later = { ...file, size: 4, hashedAt: new Date('2026-11-30T00:00:01Z') }
      await rememberFiles(db.knex, [later])
      expect(await rememberedFiles(db.knex, ['a/é.mp3', 'x'.repeat(3000)])).toEqual(
        new Map([['a/é.mp3', later]]),
      )
      // Of the year 2500, and of 1600: no column holds them, and they are never taken for the file's.
      for (const mtimeNs of [16_725_225_600_000_000_000n, -11_676_096_000_000_000_000n]) {
        await rememberFiles(db.knex, [{ ...file, mtimeNs }])
        const known = (await rememberedFiles(db.knex, ['a/é.mp3'])).get('a/é.mp3')
        expect(known?.mtimeNs).not.toBe(mtimeNs)
      }
    })

    test('a read-only session refuses to write', async () => {
      await db.close()
      const readOnly = await database.open({ readOnly: true })
      try {
        expect(await readOnly.knex('alembic_version')).toHaveLength(1)
        const refused = insertTracks(readOnly.knex, [newTrack(1)])
        await expect(refused).rejects.toMatchObject({ code: 'db.read-only' })
      } finally {
        await readOnly.close()
        db = await database.open()
      }
    })
  })
}
