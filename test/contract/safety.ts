/**
 * Nothing lost, nothing untrue: what happens between a look and an act, on any database and any S3 server. Each test is
 * a row of the table in docs/reliability.md, under the same name (`test/unit/reliability.test.ts` compares them).
 */
import { randomUUID } from 'node:crypto'
import { once as event } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { keepChangeTimes } from '../../src/audio-files/change-times.ts'
import { deleteProvedFile } from '../../src/audio-files/delete-proved.ts'
import { WatchedFolder } from '../../src/audio-files/mounted.ts'
import { openRoot, statSource } from '../../src/audio-files/source.ts'
import type { CleanupFlags } from '../../src/cleanup/flags.ts'
import { runCleanup } from '../../src/cleanup/run.ts'
import { plainFolder } from '../../src/core/audio-path.ts'
import { localTrackId } from '../../src/core/import/content-id.ts'
import { parseInventoryUrl } from '../../src/core/inventory-url.ts'
import { cacheControl } from '../../src/core/keys.ts'
import type { DeleteLimit } from '../../src/core/limits.ts'
import { type ObjectState, type PlanAction, PlanWriter } from '../../src/core/plan.ts'
import { rememberFiles, upsertObjects } from '../../src/db/ledger.ts'
import { libraryOf } from '../../src/db/library.ts'
import { trackPage } from '../../src/db/tracks.ts'
import { ExitCode, systemRefusal, toError } from '../../src/errors.ts'
import type { FetchFlags } from '../../src/fetch/flags.ts'
import { runFetch } from '../../src/fetch/run.ts'
import { asidePrefix, observeFileEffects } from '../../src/file-effects.ts'
import { runImport } from '../../src/import/run.ts'
import { makePlanHeader, quarantineKey } from '../../src/plan/plan-file.ts'
import { runApply, runUndo } from '../../src/plan/run.ts'
import type { ReconcileFlags } from '../../src/reconcile/flags.ts'
import { runReconcile } from '../../src/reconcile/run.ts'
import type { RestoreFlags } from '../../src/restore/flags.ts'
import { runRestore } from '../../src/restore/run.ts'
import { StoreError } from '../../src/storage/store.ts'
import { type BedRun, fakeAudio, type TestBed } from '../support/bed.ts'
import { withTrigger } from '../support/database.ts'
import { broken, once } from '../support/hooked-store.ts'
import { putInventory } from '../support/inventory.ts'
import { portOf } from '../support/listening.ts'
import { crc32Text, sha256 } from '../support/sums.ts'
import { upload } from './upload.ts'
import { fetchDefaults } from './worker.ts'

const day = 86_400_000

type RunOptions = Parameters<TestBed['run']>[2]

const cleanupDefaults: CleanupFlags = {
  apply: true,
  olderThan: 0,
  uploadsOlderThan: 7 * day,
  quarantineFor: 30 * day,
  recordsFor: 90 * day,
  limit: undefined,
  maxDuration: undefined,
  lockWait: 200,
  force: false,
}

export function cleanup(
  bed: TestBed,
  flags: Partial<CleanupFlags> = {},
  options: RunOptions = {},
): Promise<BedRun> {
  return bed.run('cleanup', context => runCleanup(context, { ...cleanupDefaults, ...flags }), options)
}

const reconcileDefaults: ReconcileFlags = {
  disk: false,
  inventory: undefined,
  deep: false,
  sample: undefined,
  head: 'changed',
  combined: undefined,
  plan: undefined,
  planExpires: 7 * day,
  maxDelete: undefined,
  minAge: 0,
  concurrency: undefined,
  force: false,
  accept: [],
  localChanges: undefined,
  bwlimit: undefined,
}

export const reconcile = (
  bed: TestBed,
  flags: Partial<ReconcileFlags> = {},
  options: RunOptions = {},
): Promise<BedRun> =>
  bed.run('reconcile', context => runReconcile(context, { ...reconcileDefaults, ...flags }), options)

/** Every object lies in an archive. */
const archived: RunOptions = {
  hooks: {
    head: { after: head => head && { ...head, storageClass: 'GLACIER', archive: 'archived' } },
    getInto: {
      before: () => {
        throw new StoreError('archived', 'InvalidObjectState', { status: 403 })
      },
    },
  },
}

export const restore = (
  bed: TestBed,
  flags: Partial<RestoreFlags> = {},
  options: RunOptions = {},
): Promise<BedRun> =>
  bed.run('restore', context => runRestore(context, { ...restoreDefaults, ...flags }), options)

const importFiles = (bed: TestBed): Promise<BedRun> =>
  bed.run('import', context =>
    runImport(context, {
      ...{ dir: undefined, dryRun: false, concurrency: undefined, minAge: undefined },
      lockWait: 200,
    }),
  )

const fetchTracks = (
  bed: TestBed,
  options: RunOptions = {},
  flags: Partial<FetchFlags> = {},
): Promise<BedRun> => bed.run('fetch', context => runFetch(context, { ...fetchDefaults, ...flags }), options)

const restoreDefaults: RestoreFlags = {
  to: undefined,
  limit: undefined,
  keepObjects: false,
  plan: undefined,
  concurrency: undefined,
  retryFailed: false,
  force: false,
  dryRun: false,
  maxDuration: undefined,
  lockWait: 200,
  bwlimit: undefined,
}

const executeDefaults = { dryRun: false, concurrency: undefined, maxDuration: undefined, lockWait: 200 }

export const apply = (
  bed: TestBed,
  plan: string,
  { maxDelete, force = false }: { maxDelete?: DeleteLimit; force?: boolean } = {
    maxDelete: { percent: 100 },
  },
  options: RunOptions = {},
): Promise<BedRun> =>
  bed.run('apply', context => runApply(context, plan, { ...executeDefaults, maxDelete, force }), options)

export const undo = (bed: TestBed, plan: string, options: RunOptions = {}): Promise<BedRun> =>
  bed.run('undo', context => runUndo(context, plan, executeDefaults), options)

/** A plan in a file of the bed's folder. @returns its path */
export function savePlan(
  bed: TestBed,
  name: string,
  actions: readonly PlanAction[],
  { versioned = false } = {},
): string {
  const writer = new PlanWriter()
  const header = makePlanHeader({
    id: randomUUID(),
    command: 'reconcile',
    now: Date.now(),
    validFor: day,
    bucket: bed.store.bucket,
    versioned,
    seen: { rows: 100, objects: 100 },
  })
  const lines = [writer.header(header), ...actions.map(action => writer.item(action, 'test'))]
  const file = path.join(bed.dir, name)
  writeFileSync(file, lines.join('') + writer.trailer())
  return file
}

/** Each item's state and why, by what it is about. */
const said = (run: BedRun): Record<string, unknown> =>
  Object.fromEntries(run.items.map(item => [item['subject'], item['reason'] ?? item['state']]))

export function safetyContract(
  name: string,
  openBed: (options?: { versioned?: boolean }) => Promise<TestBed>,
): void {
  describe(`nothing lost on ${name}`, () => {
    let bed: TestBed
    beforeAll(async () => {
      bed = await openBed()
    })
    afterAll(() => bed.close())
    beforeEach(() => bed.reset())
    const ends: (() => void)[] = []
    afterEach(() => {
      for (const end of ends.splice(0)) end()
    })

    const file = (name: string) => path.join(bed.audioRoot, name)
    const rowOf = async (id: string) => (await bed.tracks()).get(id)
    /** A track in S3 whose local file is still there. */
    async function uploaded(name: string, content: Uint8Array): Promise<string> {
      const id = await bed.addTrack({ path: name, content })
      expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
      return id
    }
    /** Before the first rename out of the way, once. */
    const beforeDeletion = (work: () => unknown): void => {
      const act = once(work)
      ends.push(
        observeFileEffects(async effect => {
          if (effect.kind === 'rename' && effect.to?.includes(asidePrefix)) await act()
        }),
      )
    }

    describe('the deletion of local files', () => {
      const proved = fakeAudio(4_000, 1)
      const recordedAnew = fakeAudio(5_000, 2)

      test('the file is replaced between the proof and its deletion', async () => {
        for (const deleting of [
          () => upload(bed, { deleteLocal: true }),
          async () => {
            expect((await upload(bed)).exitCode).toBe(0)
            return cleanup(bed)
          },
        ]) {
          await bed.reset()
          await bed.addTrack({ path: 'a.mp3', content: proved })
          beforeDeletion(() => {
            writeFileSync(file('new'), recordedAnew)
            renameSync(file('new'), file('a.mp3'))
          })
          const run = await deleting()
          expect(said(run)['a.mp3']).toMatch(/another file has taken its place/)
          expect(readFileSync(file('a.mp3')).equals(recordedAnew)).toBe(true)
          const [row] = [...(await bed.tracks()).values()]
          expect(row).toMatchObject({ file_source: 'S3', file_path: 'a.mp3' })
        }
      })

      test('its folder is replaced by another one once the file is uploaded', async () => {
        await bed.addTrack({ path: 'album/a.mp3', content: proved })
        const replace = once(() => {
          renameSync(file('album'), file('album before'))
          mkdirSync(file('album'))
          writeFileSync(file('album/a.mp3'), recordedAnew)
        })
        const run = await upload(bed, { deleteLocal: true }, { hooks: { put: { after: () => replace() } } })
        expect(said(run)['album/a.mp3']).toMatch(/no longer the file that was verified/)
        expect(readFileSync(file('album/a.mp3')).equals(recordedAnew)).toBe(true)
        expect(readFileSync(file('album before/a.mp3')).equals(proved)).toBe(true)
      })

      test('the file is replaced, and replaced again while the first is put back', async () => {
        await bed.addTrack({ path: 'a.mp3', content: proved })
        beforeDeletion(() => {
          writeFileSync(file('new'), recordedAnew)
          renameSync(file('new'), file('a.mp3'))
        })
        const third = fakeAudio(6_000, 3)
        ends.push(
          observeFileEffects(({ kind, path: from }) => {
            if (kind === 'link' && from.includes(asidePrefix)) writeFileSync(file('a.mp3'), third)
          }),
        )
        const run = await upload(bed, { deleteLocal: true })
        const [, where] = /one of them is now (.*)$/.exec(said(run)['a.mp3'] as string) ?? []
        expect(readFileSync(where as string).equals(recordedAnew)).toBe(true)
        expect(readFileSync(file('a.mp3')).equals(third)).toBe(true)
      })

      test('the file is edited so that size and modification time stay as they were', async () => {
        const id = await uploaded('a.mp3', proved)
        // To the second, so that it can be set to the very same time again; its hash is remembered, as `import` does.
        const then = 1_700_000_000
        utimesSync(file('a.mp3'), then, then)
        const folder = plainFolder(bed.audioRoot)
        const { size, mtimeNs, ctimeNs, inode, device } = await statSource(
          'a.mp3',
          folder,
          await openRoot(folder.root),
        )
        const sums = { sha256: sha256(proved), crc32: crc32Text(proved) }
        await rememberFiles(bed.database.knex, [
          { path: 'a.mp3', size, mtimeNs, ctimeNs, inode, device, ...sums },
        ])
        const edited = Buffer.from(proved)
        edited[2_000]! ^= 1
        writeFileSync(file('a.mp3'), edited)
        utimesSync(file('a.mp3'), then, then)
        const run = await cleanup(bed)
        expect(said(run)['a.mp3']).toMatch(/the object's content differs from the file's/)
        expect(readFileSync(file('a.mp3')).equals(edited)).toBe(true)
        expect(await rowOf(id)).toMatchObject({ file_path: 'a.mp3' })
      })

      // Nothing of the file tells the edit: what is remembered of it is what it was before.
      const untold = async ({ tells, readAt }: { tells: boolean; readAt: number }) => {
        const { type } = statfsSync(bed.audioRoot)
        const { signal } = new AbortController()
        const edited = Buffer.from(proved)
        edited[2_000]! ^= 1
        const folder = plainFolder(bed.audioRoot)
        const source = async () => statSource('a.mp3', folder, await openRoot(folder.root))
        const sums = { sha256: sha256(proved), crc32: crc32Text(proved) }
        const known = keepChangeTimes.has(type)
        keepChangeTimes[tells ? 'add' : 'delete'](type)
        ends.push(() => keepChangeTimes[known ? 'add' : 'delete'](type))
        const id = await uploaded('a.mp3', proved)
        writeFileSync(file('a.mp3'), edited)
        const since = new Date(Date.now() + readAt)
        const hashed = { path: 'a.mp3', ...(await source()), ...sums, hashedAt: since }
        await rememberFiles(bed.database.knex, [hashed])
        for (const apply of [false, true])
          expect(said(await cleanup(bed, { apply }))['a.mp3']).toMatch(/content differs from the file's/)
        // The same after its content was compared.
        const [track] = await trackPage(bed.database.knex, { limit: 1, filter: { ids: [id] } })
        const remove = async () => {
          const found = await source()
          const object = { key: track!.s3ObjectKey as string, size: found.size, ...sums }
          const context = { config: { audioFolder: folder }, now: () => new Date(), signal }
          return deleteProvedFile(
            context as unknown as Parameters<typeof deleteProvedFile>[0],
            bed.database,
            { track: track!, object, source: found },
            {
              store: bed.store,
              runId: randomUUID(),
              served: undefined,
              folder: new WatchedFolder(bed.audioRoot, since),
            },
          )
        }
        expect(await remove()).toMatchObject({
          state: 'kept',
          reason: expect.stringMatching(/no longer the file/),
        })
        expect(readFileSync(file('a.mp3')).equals(edited)).toBe(true)
        // What is the same, byte for byte, goes, though it be another file, as it is where files get new numbers.
        writeFileSync(file('a.mp3'), proved)
        beforeDeletion(() => {
          writeFileSync(file('new'), proved)
          renameSync(file('new'), file('a.mp3'))
        })
        expect(await remove()).toMatchObject({ state: 'deleted' })
      }

      test('a file system does not tell every edit', () => untold({ tells: false, readAt: 3_600_000 }))

      test('the file is edited through a memory map, right after it was read', () =>
        untold({ tells: true, readAt: 0 }))

      test('the file is edited so after the last look at its object', async () => {
        const then = 1_700_000_000
        await bed.addTrack({ path: 'a.mp3', content: proved })
        utimesSync(file('a.mp3'), then, then)
        expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
        const edited = Buffer.from(proved)
        edited[2_000]! ^= 1
        let looks = 0
        const edit = () => {
          if (++looks !== 2) return
          writeFileSync(file('a.mp3'), edited)
          utimesSync(file('a.mp3'), then, then)
        }
        const run = await cleanup(bed, {}, { hooks: { head: { after: async () => edit() } } })
        expect(said(run)['a.mp3']).toMatch(/no longer the file that was verified/)
        expect(readFileSync(file('a.mp3')).equals(edited)).toBe(true)
      })

      test('the object goes between the proof and the deletion of the file', async () => {
        await uploaded('a.mp3', proved)
        let looks = 0
        const run = await cleanup(
          bed,
          {},
          {
            hooks: {
              head: {
                async before(key) {
                  // The first look proves it; the second comes just before the end.
                  if (++looks === 2) await bed.store.delete([{ key }])
                },
              },
            },
          },
        )
        expect(looks).toBe(2)
        expect(said(run)['a.mp3']).toMatch(/the object is not in the bucket/)
        expect(readFileSync(file('a.mp3')).equals(proved)).toBe(true)
      })

      test('the object is in an archive storage class', async () => {
        await uploaded('a.mp3', proved)
        const run = await cleanup(bed, {}, archived)
        expect(said(run)['a.mp3']).toMatch(/archive storage class/)
        expect(existsSync(file('a.mp3'))).toBe(true)
      })

      test('the object is in an archive, and a restored copy of it is there for a time', async () => {
        const until = new Date(Date.now() + day)
        const restored: RunOptions = {
          hooks: { head: { after: head => head && { ...head, restoredUntil: until } } },
        }
        const id = await uploaded('a.mp3', proved)
        for (const apply of [false, true])
          expect(said(await cleanup(bed, { apply }, restored))['a.mp3']).toMatch(/for a time only/)
        // Adopted, and then asked about once more.
        await bed.database.knex('tracks').where({ id }).update({ file_source: 'LOCAL', s3_object_key: null })
        const run = await upload(bed, { deleteLocal: true }, restored)
        expect(JSON.stringify(run.messages)).toMatch(/for a time only/)
        expect(readFileSync(file('a.mp3')).equals(proved)).toBe(true)
        expect(await rowOf(id)).toMatchObject({ file_source: 'S3', file_path: 'a.mp3' })
      })

      test('somebody else has put another recording of the same size and CRC-32 at the key', async () => {
        const [one, other] = sameSizeAndCrc()
        const key = 'audio/same.mp3'
        // By a program that declares no SHA-256.
        await bed.store.put(key, other, {
          headers: { contentType: 'audio/flac' },
          checksums: { crc32: crc32Text(other) },
        })
        const id = await bed.addTrack({ path: 'a.mp3', content: one, key })
        const run = await upload(bed, { deleteLocal: true })
        expect(run.exitCode).toBe(ExitCode.someFailed)
        expect(said(run)['a.mp3']).toMatch(/already exists with a different content/)
        expect(await rowOf(id)).toMatchObject({ file_source: 'LOCAL' })
        expect(readFileSync(file('a.mp3')).equals(one)).toBe(true)
        expect((await bed.content(key))?.equals(other)).toBe(true)
      })

      test('the object has been replaced by another recording of the same size and CRC-32', async () => {
        const [one, other] = sameSizeAndCrc()
        for (const metadata of [undefined, { sha256: sha256(other) }]) {
          await bed.reset()
          const id = await uploaded('a.mp3', one)
          await bed.store.put((await rowOf(id))?.s3_object_key as string, other, {
            headers: { contentType: 'audio/flac', ...(metadata === undefined ? {} : { metadata }) },
            checksums: { crc32: crc32Text(other) },
          })
          expect(said(await cleanup(bed))['a.mp3']).toMatch(/the object's content differs from the file's/)
          expect(readFileSync(file('a.mp3')).equals(one)).toBe(true)
        }
      })

      test('another recording of the same size and CRC-32 is at the key', async () => {
        const [one, other] = sameSizeAndCrc()
        const key = 'audio/same.mp3'
        await bed.store.put(key, other, {
          headers: { contentType: 'audio/flac', metadata: { sha256: sha256(other) } },
          checksums: { crc32: crc32Text(other) },
        })
        const id = await bed.addTrack({ path: 'a.mp3', content: one, key })
        const run = await upload(bed, { deleteLocal: true })
        expect(run.exitCode).toBe(ExitCode.someFailed)
        expect(said(run)['a.mp3']).toMatch(/already exists with a different SHA-256/)
        expect(await rowOf(id)).toMatchObject({ file_source: 'LOCAL' })
        expect(readFileSync(file('a.mp3')).equals(one)).toBe(true)
        expect((await bed.content(key))?.equals(other)).toBe(true)
      })

      test('a run is killed while a file is out of the way', async () => {
        const id = await uploaded('a.mp3', proved)
        ends.push(
          observeFileEffects(({ kind, path: from }) => {
            // As a kill would: nothing after it happens.
            if (from.includes(asidePrefix) && kind !== 'mkdir') throw new Error('killed')
          }),
        )
        await expect(cleanup(bed)).rejects.toThrow('killed')
        for (const end of ends.splice(0)) end()
        expect(existsSync(file('a.mp3'))).toBe(false)
        expect(await rowOf(id)).toMatchObject({ file_path: 'a.mp3' })
        const run = await cleanup(bed, { olderThan: 3_650 * day })
        expect(said(run)['a.mp3']).toBe('put-back')
        expect(readFileSync(file('a.mp3')).equals(proved)).toBe(true)
      })
    })

    describe.each([
      ['by a quarantine prefix', false],
      ['by delete markers', true],
    ])('apply and undo %s', (_, versioned) => {
      let mine: TestBed
      beforeAll(async () => {
        mine = await openBed({ versioned })
      })
      afterAll(() => mine.close())
      beforeEach(async () => {
        await mine.reset()
      })
      const content = fakeAudio(3_000, 5)
      const put = (key: string) =>
        mine.store.put(key, content, {
          headers: { contentType: 'text/plain', metadata: { sha256: sha256(content) } },
          checksums: {},
        })
      /** Objects that are seen, each with what is told of it. */
      const see = async () => {
        const seen: Record<string, unknown> = {}
        for (const [key] of await mine.objects()) {
          const head = await mine.store.head(key)
          seen[key] = [head?.contentType, head?.size, head?.metadata]
        }
        return { objects: seen, rows: [...(await mine.tracks()).values()] }
      }
      /** A removal, headers, and a row. */
      async function plan(): Promise<string> {
        const [gone, typed] = ['audio/gone.flac', 'audio/typed.flac']
        const states = []
        for (const key of [gone, typed]) {
          const { etag } = await put(key)
          states.push({ key, size: content.length, etag })
        }
        const [removed, set] = states as [ObjectState, ObjectState]
        const trackId = await mine.addTrack({ path: 'a.mp3', content, source: 'UNAVAILABLE' })
        const row = { key: null, size: null, path: 'a.mp3' }
        const id = randomUUID()
        return savePlan(
          mine,
          'p.plan',
          [
            {
              action: 'update-row',
              trackId,
              was: { ...row, source: 'UNAVAILABLE' },
              becomes: { ...row, source: 'LOCAL' },
              needsFile: { path: 'a.mp3', sha256: sha256(content) },
            },
            {
              action: 'set-headers',
              object: set,
              was: { contentType: 'text/plain' },
              becomes: { contentType: 'audio/flac' },
            },
            {
              action: 'remove-object',
              object: removed,
              ...(versioned ? {} : { to: quarantineKey(id, gone) }),
            },
          ],
          { versioned },
        )
      }
      const methods = ['copy', 'delete', 'rewriteHeaders'] as const
      type Spot = { method: (typeof methods)[number]; call: number; when: 'before' | 'after' }
      /** The connection breaks at one call, before the store has done it or after. */
      const breaking = ({ method, call, when }: Spot): RunOptions => {
        let calls = 0
        const strike = () => {
          calls += 1
          if (calls === call) throw broken()
        }
        return { hooks: { [method]: { [when]: strike } } }
      }
      const spots = (calls: Partial<Record<Spot['method'], number>>): Spot[] =>
        Object.entries(calls).flatMap(([method, count]) =>
          Array.from({ length: count }, (_, index) => index + 1).flatMap(call =>
            (['before', 'after'] as const).map(when => ({ method: method as Spot['method'], call, when })),
          ),
        )

      test('an answer to apply is lost', async () => {
        for (const spot of spots(
          versioned ? { delete: 1, rewriteHeaders: 1 } : { copy: 1, delete: 1, rewriteHeaders: 1 },
        )) {
          for (const next of ['apply', 'undo'] as const) {
            await mine.reset()
            const file = await plan()
            const before = await see()
            const first = await apply(mine, file, undefined, breaking(spot))
            const told = JSON.stringify([spot, next, first.items])
            if (next === 'undo') {
              const undone = await undo(mine, file)
              expect([told, undone.exitCode, await see()]).toEqual([told, 0, before])
            } else {
              const again = await apply(mine, file)
              expect([told, again.exitCode]).toEqual([told, 0])
              const { objects, rows } = await see()
              expect([told, Object.keys(objects).includes('audio/gone.flac')]).toEqual([told, false])
              expect([told, objects['audio/typed.flac'], rows[0]?.file_source]).toEqual([
                told,
                ['audio/flac', content.length, { sha256: sha256(content) }],
                'LOCAL',
              ])
              expect((await undo(mine, file)).exitCode).toBe(0)
              expect([told, await see()]).toEqual([told, before])
            }
          }
        }
      })

      test('an answer to undo is lost', async () => {
        for (const spot of spots(
          versioned ? { delete: 1, rewriteHeaders: 1 } : { copy: 1, delete: 1, rewriteHeaders: 1 },
        )) {
          await mine.reset()
          const file = await plan()
          const before = await see()
          expect((await apply(mine, file)).exitCode).toBe(0)
          await undo(mine, file, breaking(spot))
          const again = await undo(mine, file)
          expect([spot, again.exitCode, await see()]).toEqual([spot, 0, before])
        }
      })

      test('undo finds that the object is not back', async () => {
        const file = await plan()
        expect((await apply(mine, file)).exitCode).toBe(0)
        const run = await undo(mine, file, {
          hooks: { head: { after: (head, key) => (key === 'audio/gone.flac' ? null : head) } },
        })
        expect(run.exitCode).toBe(ExitCode.someFailed)
        expect(said(run)['audio/gone.flac']).toMatch(/not back|differs/)
        expect(run.summary).toMatchObject({ failed: 1 })
      })

      test('the object is replaced after it was looked at, in a store that does not go by If-Match', async () => {
        const file = await plan()
        const replaced = fakeAudio(3_500, 6)
        const run = await apply(mine, file, undefined, {
          hooks: {
            delete: { before: ([request]) => delete (request as { ifMatch?: string }).ifMatch },
            ...(versioned
              ? { versioning: { after: once(() => replace()) } }
              : { copy: { after: once(() => replace()) } }),
          },
        })
        async function replace(): Promise<void> {
          await mine.store.put('audio/gone.flac', replaced, {
            headers: { contentType: 'audio/flac' },
            checksums: {},
          })
        }
        expect(said(run)['audio/gone.flac']).toMatch(/has changed since/)
        expect((await mine.content('audio/gone.flac'))?.equals(replaced)).toBe(true)
        // And no copy of what was not removed is left behind.
        expect([...(await mine.objects()).keys()].filter(key => key.startsWith('quarantine/'))).toHaveLength(
          versioned ? 0 : 1,
        )
      })
    })

    describe('apply', () => {
      const content = fakeAudio(3_000, 5)
      const put = (key: string, bytes: Uint8Array = content) =>
        bed.store.put(key, bytes, {
          headers: { contentType: 'audio/flac', metadata: { sha256: sha256(bytes) } },
          checksums: {},
        })
      beforeEach(() => rmSync(path.join(bed.dir, 'p.plan.journal'), { force: true }))

      test('a plan that relies on versions meets a bucket that keeps none', async () => {
        const { etag } = await put('audio/a.flac')
        const object = { key: 'audio/a.flac', size: content.length, etag }
        const file = savePlan(bed, 'p.plan', [{ action: 'remove-object', object }], { versioned: true })
        const run = await apply(bed, file)
        expect([run.exitCode, run.error?.message]).toEqual([
          2,
          expect.stringMatching(/removals would be final/),
        ])
        expect(await bed.store.head('audio/a.flac')).toBeDefined()
        // Or it stops keeping them in mid-run.
        const late = await apply(bed, file, undefined, {
          hooks: { versioning: { after: once(() => 'Enabled') } },
        })
        expect(said(late)['audio/a.flac']).toMatch(/no longer keeps versions/)
        expect(await bed.store.head('audio/a.flac')).toBeDefined()
      })

      test('a bucket stops keeping versions, and the object is from before it did', async () => {
        const mine = await openBed()
        try {
          const { bucket, credentials, endpoint, region } = mine.access
          const admin = new S3Client({
            ...(endpoint === undefined ? {} : { endpoint }),
            region,
            credentials,
            forcePathStyle: true,
          })
          const keepVersions = (Status: 'Enabled' | 'Suspended') =>
            admin.send(
              new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status } }),
            )
          const key = 'audio/a.flac'
          const headers = { contentType: 'audio/flac', cacheControl }
          const { etag } = await mine.store.put(key, content, { headers, checksums: {} })
          await keepVersions('Enabled')
          const object = { key, size: content.length, etag }
          const file = savePlan(mine, 'p.plan', [{ action: 'remove-object', object }], { versioned: true })
          const suspend = once(() => keepVersions('Suspended'))
          const run = await apply(mine, file, undefined, { hooks: { delete: { before: () => suspend() } } })
          // Not every store makes a version of what is copied onto itself.
          if (run.summary['done'] === 1) {
            expect(await mine.store.head(key)).toBeUndefined()
            expect(said(await undo(mine, file))).toEqual({ [key]: 'undone' })
          } else expect(said(run)).toEqual({ [key]: expect.stringContaining('makes no version of it') })
          expect((await mine.content(key))?.equals(content)).toBe(true)
          expect(await mine.store.head(key)).toMatchObject(headers)
          admin.destroy()
        } finally {
          await mine.close()
        }
      })

      test('object or file are back before the row is left without audio', async () => {
        const lost = (path: string | null, key: string | null) => {
          const was = { key, source: 'S3' as const, size: null, path }
          const becomes = { ...was, key: null, source: 'UNAVAILABLE' as const }
          return { action: 'update-row' as const, was, becomes }
        }
        const byObject = await bed.addTrack({ path: null, source: 'S3', key: 'audio/a.flac' })
        const byFile = await bed.addTrack({ path: 'b.flac', source: 'S3', key: 'audio/b.flac' })
        const late = await bed.addTrack({ path: null, source: 'S3', key: 'audio/c.flac' })
        const gone = await bed.addTrack({ path: 'gone.flac', source: 'S3', key: 'audio/d.flac' })
        const file = savePlan(bed, 'p.plan', [
          { ...lost(null, 'audio/a.flac'), trackId: byObject },
          { ...lost('b.flac', 'audio/b.flac'), trackId: byFile },
          { ...lost(null, 'audio/c.flac'), trackId: late },
          { ...lost('gone.flac', 'audio/d.flac'), trackId: gone },
        ])
        await put('audio/a.flac')
        writeFileSync(path.join(bed.audioRoot, 'b.flac'), content)
        let looks = 0
        const run = await apply(bed, file, undefined, {
          hooks: {
            head: {
              // Between the look and the change of the row.
              after: async (_, key) => {
                if (key === 'audio/c.flac' && ++looks === 1) await put(key)
              },
            },
          },
        })
        expect(said(run)).toMatchObject({
          [byObject]: 'its object is back',
          [byFile]: 'its local file is back',
          [late]: 'its object is back: the row was restored',
          [gone]: 'done',
        })
        const rows = await bed.tracks()
        expect([byObject, byFile, late, gone].map(id => rows.get(id)?.file_source)).toEqual([
          'S3',
          'S3',
          'S3',
          'UNAVAILABLE',
        ])
      })

      test('the journal of an applied plan is lost, or on another machine', async () => {
        const { etag } = await put('audio/a.flac')
        const object = { key: 'audio/a.flac', size: content.length, etag }
        const id = await bed.addTrack({ path: null, source: 'S3', key: 'audio/gone.flac' })
        const was = { key: 'audio/gone.flac', source: 'S3' as const, size: null, path: null }
        const file = savePlan(bed, 'p.plan', [
          { action: 'update-row', trackId: id, was, becomes: { ...was, key: null, source: 'UNAVAILABLE' } },
          { action: 'remove-object', object, to: quarantineKey(randomUUID(), object.key) },
        ])
        // Never applied: nothing is to be undone, and nothing is done.
        const never = await undo(bed, file)
        expect([never.exitCode, said(never)]).toEqual([0, {}])
        expect((await apply(bed, file)).summary).toMatchObject({ done: 2 })
        const [row] = [...(await bed.tracks()).values()]
        expect(row).toMatchObject({ file_source: 'UNAVAILABLE' })
        rmSync(`${file}.journal`)
        const run = await undo(bed, file)
        expect(said(run)).toEqual({ [object.key]: 'undone', [id]: 'undone' })
        expect(await bed.content(object.key)).toEqual(content)
        expect(await rowOf(id)).toMatchObject({ file_source: 'S3', s3_object_key: 'audio/gone.flac' })
        const { updated_at } = await bed.database.knex('tracks').where({ id }).first()
        expect(updated_at).not.toBeNull()
      })

      test('the track of an object that is to go has lost its other audio since the plan', async () => {
        const [mine, free] = ['audio/Artist/mine_00000000.flac', 'audio/free.flac']
        const id = await bed.addTrack({ path: 'mine.flac', content, title: 'mine', artist: 'Artist' })
        const actions: PlanAction[] = []
        for (const [key, metadata] of [
          [mine, { 'track-id': id }],
          [free, {}],
        ] as const) {
          const headers = { contentType: 'audio/flac', metadata: { sha256: sha256(content), ...metadata } }
          const { etag } = await bed.store.put(key, content, { headers, checksums: {} })
          actions.push({
            action: 'remove-object',
            object: { key, size: content.length, etag },
            to: quarantineKey(randomUUID(), key),
          })
        }
        const file = savePlan(bed, 'p.plan', actions)
        // As a database that was restored from a backup.
        rmSync(path.join(bed.audioRoot, 'mine.flac'))
        const run = await apply(bed, file)
        expect(said(run)).toEqual({
          [mine]: `track ${id}, to which it belongs, has no other audio now`,
          [free]: 'done',
        })
        expect(await bed.store.head(mine)).toBeDefined()
      })

      test('a removal rests on a local file of the same size that is another one', async () => {
        const { etag } = await put('audio/a.flac')
        const other = Buffer.from(content)
        other[1_000]! ^= 1
        await bed.addTrack({ path: 'a.flac', content: other })
        const object = { key: 'audio/a.flac', size: content.length, etag }
        const needsFile = { path: 'a.flac', size: content.length }
        const to = quarantineKey(randomUUID(), object.key)
        const file = savePlan(bed, 'p.plan', [{ action: 'remove-object', object, to, needsFile }])
        const run = await apply(bed, file)
        expect(said(run)['audio/a.flac']).toMatch(/differs from the object/)
        expect(await bed.store.head('audio/a.flac')).toBeDefined()
      })

      test.each([
        ['changes', (file: string) => writeFileSync(file, fakeAudio(content.length, 63)), /differs from/],
        ['goes', (file: string) => rmSync(file), /a\.flac/],
      ])('the local file that a removal rests on %s just before it', async (_, spoil, reason) => {
        const { etag } = await put('audio/a.flac')
        await bed.addTrack({ path: 'a.flac', content })
        const object = { key: 'audio/a.flac', size: content.length, etag }
        const needsFile = { path: 'a.flac', size: content.length }
        const to = quarantineKey(randomUUID(), object.key)
        const file = savePlan(bed, 'p.plan', [{ action: 'remove-object', object, to, needsFile }])
        // Between the look and the removal.
        const copied = { after: () => spoil(path.join(bed.audioRoot, 'a.flac')) }
        const run = await apply(bed, file, undefined, { hooks: { copy: copied } })
        expect(said(run)['audio/a.flac']).toMatch(reason)
        expect(await bed.store.head('audio/a.flac')).toBeDefined()
        expect(await bed.store.head(to)).toBeUndefined()
      })
    })

    describe('fetch', () => {
      test('the only object of a track without audio is in an archive storage class', async () => {
        const content = fakeAudio(3_000, 61)
        const keyed = 'audio/elsewhere/keyed.flac'
        const own = 'audio/A/own_0a1b2c3d.flac'
        const sole = 'audio/A/sole_0a1b2c3d.flac'
        const ids = {
          keyed: await bed.addTrack({
            path: null,
            source: 'UNAVAILABLE',
            title: 'keyed',
            artist: 'A',
            key: keyed,
          }),
          own: await bed.addTrack({ path: null, source: 'UNAVAILABLE', title: 'own', artist: 'A' }),
          sole: await bed.addTrack({ path: null, source: null, title: 'sole', artist: 'A' }),
        }
        for (const [key, metadata] of [
          [keyed, {}],
          [own, { 'track-id': ids.own }],
          [sole, {}],
        ] as const)
          await bed.store.put(key, content, {
            headers: { contentType: 'audio/flac', metadata },
            checksums: {},
          })
        const before = await bed.tracks()
        const run = await fetchTracks(bed, archived)
        expect(run.exitCode).toBe(ExitCode.someFailed)
        expect(new Map(run.items.map(({ track_id, code, reason }) => [track_id, [code, reason]]))).toEqual(
          new Map([
            [ids.keyed, ['object.archived', `${keyed} is in an archive storage class`]],
            [ids.own, ['object.archived', `${own} is in an archive storage class`]],
            [ids.sole, ['object.archived', `${sole} is in an archive storage class`]],
          ]),
        )
        expect(await bed.tracks()).toEqual(before)
        // Restored from the archive, they are audio.
        expect((await fetchTracks(bed)).exitCode).toBe(ExitCode.ok)
        expect([...(await bed.tracks()).values()].map(row => row.file_source)).toEqual(['S3', 'S3', 'S3'])
      })

      test('what is downloaded is, byte for byte, an archived object', async () => {
        const content = fakeAudio(3_000, 62)
        const server = createServer((_, response) => response.end(content)).listen(0, '127.0.0.1')
        ends.push(() => server.close())
        await event(server, 'listening')
        const key = 'audio/A/T.flac'
        const id = await bed.addTrack({ path: null, source: 'UNAVAILABLE', key })
        const port = portOf(server)
        await bed.store.put(key, content, { headers: { contentType: 'audio/flac' }, checksums: {} })
        const run = await bed.run(
          'fetch',
          context =>
            runFetch(context, { ...fetchDefaults, from: ['url'], url: `http://127.0.0.1:${port}/{id}` }),
          {
            hooks: {
              head: { after: head => head && { ...head, storageClass: 'GLACIER', archive: 'archived' } },
            },
          },
        )
        expect(run.items).toMatchObject([{ track_id: id, code: 'object.archived' }])
        expect(await rowOf(id)).toMatchObject({ file_source: 'UNAVAILABLE' })
      })
    })

    describe('rows that the database refuses', () => {
      const content = fakeAudio(3_000, 21)
      /** While `work` runs no row of that title can be made or changed. */
      const refusing = <T>(title: string, work: () => Promise<T>): Promise<T> => {
        const [body, on] = ["raise exception 'not on my watch';", 'insert or update']
        return withTrigger(bed.database, { body, on, when: `new.title = '${title}'` }, work)
      }
      const refused = expect.stringMatching(/^the database rejected the row: not on my watch/)
      const inS3 = async (title: string): Promise<string> => {
        const key = `audio/${title}.flac`
        const sum = crc32Text(content)
        await bed.store.put(key, content, {
          headers: { contentType: 'audio/flac', metadata: { sha256: sha256(content) } },
          checksums: { crc32: sum },
        })
        return bed.addTrack({ path: `${title}.flac`, source: 'S3', key, title })
      }

      test('a row that a plan changes is refused by the database', async () => {
        const ids: string[] = []
        for (const title of ['one', 'two', 'three', 'four'])
          ids.push(await bed.addTrack({ path: null, source: 'LOCAL', title }))
        const state = { key: null, size: null, path: null }
        const file = savePlan(
          bed,
          'refused.plan',
          ids.map((trackId, at) => ({
            action: 'update-row',
            trackId,
            title: `${at}`,
            artist: 'A',
            was: { ...state, source: 'LOCAL' },
            becomes: { ...state, source: 'UNAVAILABLE' },
          })),
        )
        const sources = async () => Promise.all(ids.map(async id => (await rowOf(id))?.file_source))
        const run = await refusing('two', () => apply(bed, file))
        expect([run.exitCode, run.error]).toEqual([ExitCode.someFailed, undefined])
        expect(run.items.filter(item => item['state'] === 'failed')).toMatchObject([{ reason: refused }])
        expect(await sources()).toEqual(['UNAVAILABLE', 'LOCAL', 'UNAVAILABLE', 'UNAVAILABLE'])
        // Once it takes it, the rest of the plan is done; and the same on the way back.
        expect((await apply(bed, file)).exitCode).toBe(ExitCode.ok)
        const back = await refusing('three', () => undo(bed, file))
        expect(back.items.filter(item => item['state'] === 'failed')).toMatchObject([{ reason: refused }])
        expect(await sources()).toEqual(['LOCAL', 'LOCAL', 'UNAVAILABLE', 'LOCAL'])
        expect((await undo(bed, file)).exitCode).toBe(ExitCode.ok)
        expect(await sources()).toEqual(['LOCAL', 'LOCAL', 'LOCAL', 'LOCAL'])
      })

      test('a row of a new file is refused by the database', async () => {
        for (const [at, name] of ['one', 'two', 'three'].entries())
          writeFileSync(file(`${name}.flac`), fakeAudio(3_000, 30 + at))
        const run = await refusing('two', () => importFiles(bed))
        expect([run.exitCode, run.error]).toEqual([ExitCode.someFailed, undefined])
        expect(run.items.filter(item => item['state'] === 'failed')).toMatchObject([
          { subject: 'two.flac', reason: refused },
        ])
        const titles = async () => [...(await bed.tracks()).values()].map(row => row.title).sort()
        expect(await titles()).toEqual(['one', 'three'])
        expect(await bed.database.knex('autodj_ledger.items')).toMatchObject([
          { command: 'import', subject: 'two.flac', error_code: 'row.refused' },
        ])
        expect((await importFiles(bed)).exitCode).toBe(ExitCode.ok)
        expect(await titles()).toEqual(['one', 'three', 'two'])
      })

      test('a row of a moved file is refused by the database', async () => {
        for (const [at, name] of ['one', 'two', 'three'].entries())
          writeFileSync(file(`${name}.flac`), fakeAudio(3_000, 40 + at))
        await importFiles(bed)
        for (const name of ['one', 'two', 'three'])
          renameSync(file(`${name}.flac`), file(`moved ${name}.flac`))
        const paths = async () =>
          [...(await bed.tracks()).values()].map(row => path.basename(row.file_path ?? '')).sort()
        const run = await refusing('two', () => importFiles(bed))
        expect([run.exitCode, run.error]).toEqual([ExitCode.someFailed, undefined])
        expect(run.items.filter(item => item['state'] === 'failed')).toMatchObject([
          { subject: 'moved two.flac', reason: refused },
        ])
        expect(await paths()).toEqual(['moved one.flac', 'moved three.flac', 'two.flac'])
        expect((await importFiles(bed)).exitCode).toBe(ExitCode.ok)
        expect(await paths()).toEqual(['moved one.flac', 'moved three.flac', 'moved two.flac'])
      })

      test('a row of a restored file is refused by the database', async () => {
        const ids = [await inS3('one'), await inS3('two'), await inS3('three')]
        const run = await refusing('two', () => restore(bed))
        expect([run.exitCode, run.error]).toEqual([ExitCode.someFailed, undefined])
        expect(run.items.filter(item => item['state'] === 'failed')).toMatchObject([
          { track_id: ids[1], code: 'row.refused', reason: refused },
        ])
        const sources = async () => Promise.all(ids.map(async id => (await rowOf(id))?.file_source))
        expect(await sources()).toEqual(['LOCAL', 'S3', 'LOCAL'])
        expect(readFileSync(file('two.flac')).equals(content)).toBe(true)
        expect((await restore(bed)).exitCode).toBe(ExitCode.ok)
        expect(await sources()).toEqual(['LOCAL', 'LOCAL', 'LOCAL'])
      })

      /** While `work` runs a trigger leaves out whatever is done with rows of that title, without an error. */
      const silencing = <T>(title: string, work: () => Promise<T>): Promise<T> => {
        const [body, on] = ['return null;', 'insert or update']
        return withTrigger(bed.database, { body, on, when: `new.title = '${title}'` }, work)
      }

      test('a trigger leaves out the row of a new file without an error', async () => {
        for (const [at, name] of ['one', 'two'].entries())
          writeFileSync(file(`${name}.flac`), fakeAudio(3_000, 60 + at))
        const run = await silencing('two', () => importFiles(bed))
        expect(run.exitCode).toBe(ExitCode.someFailed)
        expect(run.items.filter(item => item['state'] === 'failed')).toMatchObject([
          { subject: 'two.flac', code: 'row.set-back' },
        ])
        expect(run.summary).toMatchObject({ new: 1, known: 0, failed: 1 })
        expect((await importFiles(bed)).summary).toMatchObject({ new: 1, known: 1, failed: 0 })
      })

      test('a trigger undoes what is written to the row of a restored file', async () => {
        const ids = [await inS3('one'), await inS3('two')]
        const run = await silencing('two', () => restore(bed))
        expect(run.exitCode).toBe(ExitCode.someFailed)
        expect(run.items.filter(item => item['state'] === 'failed')).toMatchObject([
          { track_id: ids[1], code: 'row.set-back' },
        ])
        expect(run.summary).toMatchObject({ restored: 2, rows_switched: 1, failed: 1 })
        expect(readFileSync(file('two.flac')).equals(content)).toBe(true)
        const again = await restore(bed)
        expect(again.summary).toMatchObject({ there_already: 1, rows_switched: 1, failed: 0 })
      })

      test('a row whose local copy is to go is refused by the database', async () => {
        const ids = [
          await uploaded('one.flac', fakeAudio(3_000, 51)),
          await uploaded('two.flac', fakeAudio(3_000, 52)),
        ]
        const gone = await uploaded('three.flac', fakeAudio(3_000, 53))
        rmSync(file('three.flac'))
        await bed.database
          .knex('tracks')
          .whereIn('id', [ids[0] as string, gone])
          .update({ title: 'kept' })
        const run = await refusing('kept', () => cleanup(bed))
        expect(run.error).toBeUndefined()
        const kept = run.items.filter(item => item['state'] === 'kept')
        expect(kept).toMatchObject([
          { code: 'row.refused', reason: refused },
          { code: 'row.refused', reason: refused },
        ])
        expect(readdirSync(bed.audioRoot)).toEqual(['one.flac'])
        expect(await rowOf(ids[0] as string)).toMatchObject({ file_path: 'one.flac', file_source: 'S3' })
        expect(await rowOf(ids[1] as string)).toMatchObject({ file_path: null, file_source: 'S3' })
      })
    })

    describe('restore', () => {
      const [one, other] = [fakeAudio(3_000, 11), fakeAudio(3_000, 12)]
      async function inS3(key: string, content: Uint8Array, path: string | null): Promise<string> {
        await bed.store.put(key, content, {
          headers: { contentType: 'audio/flac', metadata: { sha256: sha256(content) } },
          checksums: { crc32: crc32Text(content) },
        })
        return bed.addTrack({ path, source: 'S3', key })
      }

      test('two rows come to one path', async () => {
        const ids = [await inS3('audio/1.flac', one, 'a.flac'), await inS3('audio/2.flac', other, 'a.flac')]
        const run = await restore(bed)
        expect(run.exitCode).toBe(ExitCode.someFailed)
        const rows = await bed.tracks()
        const restored = ids.map(id => rows.get(id)?.file_source === 'LOCAL')
        expect(restored.toSorted()).toEqual([false, true])
        const winner = restored[0] ? one : other
        expect(readFileSync(file('a.flac')).equals(winner)).toBe(true)
        expect(run.items.map(item => item['code'] ?? item['state']).sort()).toEqual([
          'file.exists',
          'restored',
        ])
      })

      test('another recording of the same size and CRC-32 is at the path', async () => {
        const [mine, theirs] = sameSizeAndCrc()
        await bed.store.put('audio/1.flac', mine, {
          headers: { contentType: 'audio/flac' },
          checksums: { crc32: crc32Text(mine) },
        })
        const id = await bed.addTrack({ path: 'a.flac', content: theirs, source: 'S3', key: 'audio/1.flac' })
        const run = await restore(bed)
        expect(run.items.map(item => item['code'])).toEqual(['file.exists'])
        expect(readFileSync(file('a.flac')).equals(theirs)).toBe(true)
        expect(await rowOf(id)).toMatchObject({ file_source: 'S3', s3_object_key: 'audio/1.flac' })
        writeFileSync(file('a.flac'), mine)
        expect((await restore(bed)).summary).toMatchObject({ there_already: 1, failed: 0 })
        expect(await rowOf(id)).toMatchObject({ file_source: 'LOCAL' })
      })

      test('a file is written to the path while its object is downloaded', async () => {
        const id = await inS3('audio/1.flac', one, 'a.flac')
        const run = await restore(
          bed,
          {},
          { hooks: { getInto: { after: once(() => writeFileSync(file('a.flac'), other)) } } },
        )
        expect(run.items.map(item => item['code'])).toEqual(['file.exists'])
        expect(readFileSync(file('a.flac')).equals(other)).toBe(true)
        expect(await rowOf(id)).toMatchObject({ file_source: 'S3', s3_object_key: 'audio/1.flac' })
      })

      test('a link on the way leads out of the folder', async () => {
        const elsewhere = path.join(bed.dir, 'elsewhere')
        mkdirSync(elsewhere, { recursive: true })
        symlinkSync(elsewhere, file('out'))
        symlinkSync(path.join(elsewhere, 'new.flac'), file('dangling.flac'))
        await inS3('audio/1.flac', one, 'out/a.flac')
        await inS3('audio/2.flac', one, 'out/deeper/a.flac')
        await inS3('audio/3.flac', one, 'dangling.flac')
        const run = await restore(bed)
        expect(run.items.map(item => item['code'])).toEqual(['file.refused', 'file.refused', 'file.refused'])
        expect(readdirSync(elsewhere)).toEqual([])
      })

      test('the folder cannot be written to', async () => {
        for (let index = 0; index < 12; index += 1) await inS3(`audio/${index}.flac`, one, `${index}.flac`)
        // A file where the folder should be: root, too, cannot write below it.
        writeFileSync(path.join(bed.dir, 'no-folder'), 'x')
        let gets = 0
        const run = await restore(
          bed,
          { to: path.join(bed.dir, 'no-folder', 'below') },
          { hooks: { getInto: { before: () => (gets += 1) } } },
        )
        expect([run.exitCode, run.error?.code, gets]).toEqual([ExitCode.fatal, 'restore.unwritable', 0])
        expect(run.error?.message).toMatch(/cannot write to .*no-folder/)
      })

      test('the folder stops taking files in mid-run', async () => {
        for (let index = 0; index < 12; index += 1) await inS3(`audio/${index}.flac`, one, `${index}.flac`)
        let writes = 0
        ends.push(
          observeFileEffects(({ kind }) => {
            // The probe, one file, and from then on nothing.
            if (kind === 'write' && ++writes > 2)
              throw Object.assign(new Error('read-only'), { code: 'EROFS' })
          }),
        )
        const run = await restore(bed, { concurrency: 1 })
        expect([run.exitCode, run.error?.code]).toEqual([ExitCode.fatal, 'restore.unwritable'])
        expect(readdirSync(bed.audioRoot)).toHaveLength(1)
      })

      test('an archived object is asked for', async () => {
        await inS3('audio/1.flac', one, 'a.flac')
        const run = await restore(bed, {}, archived)
        expect(run.items[0]).toMatchObject({
          code: 'object.archived',
          cure: expect.stringMatching(/restore-object/),
        })
      })
    })

    describe('reconcile', () => {
      const [one, two] = [fakeAudio(3_000, 21), fakeAudio(3_100, 22)]
      const put = (key: string, content: Uint8Array, metadata: Record<string, string> = {}) =>
        bed.store.put(key, content, {
          headers: {
            contentType: 'audio/flac',
            cacheControl,
            metadata: { sha256: sha256(content), ...metadata },
          },
          checksums: {},
        })
      const classesOf = (run: BedRun): Record<string, unknown> =>
        Object.fromEntries(
          run.items
            .filter(item => item['differences'] !== undefined)
            .map(item => [
              item['subject'],
              (item['differences'] as { class: string }[]).map(difference => difference.class).join(' '),
            ]),
        )
      let plans = 0
      const newPlan = (): string => {
        plans += 1
        return path.join(bed.dir, `mend-${plans}.plan`)
      }
      /** Reconciles into a plan, and applies it. */
      async function mend(flags: Partial<ReconcileFlags> = {}): Promise<{ run: BedRun; applied: BedRun }> {
        const plan = newPlan()
        const run = await reconcile(bed, { plan, maxDelete: { percent: 100 }, ...flags })
        return { run, applied: await apply(bed, plan) }
      }
      const told = (run: BedRun): string => JSON.stringify(run.messages)

      test('the database is restored from a state before the upload', async () => {
        const ids = await bed.addTracks(12, 3_000)
        const { knex } = bed.database
        const before = await knex('tracks')
        expect((await upload(bed, { deleteLocal: true })).exitCode).toBe(0)
        const after = await bed.tracks()
        // As a restored backup has it, with the ledger of that time.
        await knex('tracks').del()
        await knex('tracks').insert(before)
        await knex('autodj_ledger.objects').del()
        for (const disk of [false, true]) {
          const plan = path.join(bed.dir, `restored-${disk}.plan`)
          const run = await reconcile(bed, { plan, disk, force: true })
          expect(run.summary).toMatchObject({ removals: 0, losses: 0, repairs: 12 })
          expect(run.summary['found']).toMatchObject({ 'unlinked-object': 12, 'orphan-object': 0 })
        }
        expect((await apply(bed, path.join(bed.dir, 'restored-true.plan'))).summary).toMatchObject({
          done: 12,
        })
        const rows = await bed.tracks()
        for (const id of ids) {
          expect(rows.get(id)).toMatchObject({
            file_source: 'S3',
            s3_object_key: after.get(id)?.s3_object_key,
            file_size: 3_000,
          })
        }
      })

      test('an object without our mark is the recording of a track that has lost its audio', async () => {
        const { knex } = bed.database
        const contents = [71, 72, 73, 74].map(seed => fakeAudio(3_000, seed)) as [
          Buffer,
          Buffer,
          Buffer,
          Buffer,
        ]
        const [imported, hashed, recorded, there] = contents
        const keys = ['imported', 'hashed', 'recorded', 'there'].map(name => `audio/by hand/${name}.flac`)
        const headers = { contentType: 'audio/flac' }
        const declaring = (content: Buffer) => ({
          headers: { ...headers, metadata: { sha256: sha256(content) } },
        })
        await bed.store.put(keys[0] as string, imported, { ...declaring(imported), checksums: {} })
        await bed.store.put(keys[1] as string, hashed, { ...declaring(hashed), checksums: {} })
        const { etag } = await bed.store.put(keys[2] as string, recorded, { headers, checksums: {} })
        await bed.store.put(keys[3] as string, there, { ...declaring(there), checksums: {} })
        const object = { bucket: bed.store.bucket, key: keys[2] as string, size: 3_000, etag }
        await upsertObjects(knex, [{ ...object, sha256: sha256(recorded) }])
        const ids = [
          await bed.addTrack({ path: 'imported.flac' }),
          await bed.addTrack({ path: 'folder/hashed.flac' }),
          await bed.addTrack({ path: 'recorded.flac' }),
          await bed.addTrack({ path: 'there.flac', content: there }),
        ]
        await knex('tracks')
          .where({ id: ids[0] })
          .update({ spotify_id: localTrackId(sha256(imported)), file_path: null })
        const remembered = { size: 3_000, mtimeNs: 1n, ctimeNs: 1n, inode: 1n, device: 1n, crc32: '' }
        await rememberFiles(knex, [
          { ...remembered, path: 'folder/hashed.flac', sha256: sha256(hashed) },
          { ...remembered, path: 'recorded.flac', sha256: sha256(recorded) },
          { ...remembered, path: 'there.flac', sha256: sha256(there) },
        ])
        const plan = path.join(bed.dir, 'unmarked.plan')
        const run = await reconcile(bed, { plan, force: true, maxDelete: { percent: 100 } })
        expect(run.summary['found']).toMatchObject({ 'unlinked-object': 3, 'orphan-object': 1 })
        await apply(bed, plan)
        const rows = await bed.tracks()
        expect(ids.map(id => [rows.get(id)?.file_source, rows.get(id)?.s3_object_key])).toEqual([
          ...keys.slice(0, 3).map(key => ['S3', key]),
          ['LOCAL', null],
        ])
      })

      test('the table has no rows, and the bucket holds objects', async () => {
        await put('audio/a.flac', one)
        const run = await reconcile(bed)
        expect([run.exitCode, run.error?.message]).toEqual([
          7,
          expect.stringMatching(/the table has no rows/),
        ])
      })

      test('rows name their objects by URLs, or without the prefix', async () => {
        const { bucket } = bed.store
        const spellings = [
          `s3://${bucket}/audio/Artist/s3.flac`,
          'https://d111.cloudfront.net/audio/Artist/cdn%20%231.flac?Expires=1',
          `https://s3.eu-west-1.amazonaws.com/${bucket}/audio/Artist/path.flac`,
          'Artist/bare.flac',
          '/audio/Artist/slash.flac',
        ]
        const keys = ['s3', 'cdn #1', 'path', 'bare', 'slash'].map(name => `audio/Artist/${name}.flac`)
        for (const [index, key] of keys.entries()) await put(key, fakeAudio(2_000 + index, 30 + index))
        const ids = []
        for (const key of spellings) ids.push(await bed.addTrack({ path: null, source: 'S3', key }))
        const { run, applied } = await mend()
        expect(classesOf(run)).toEqual(Object.fromEntries(spellings.map(key => [key, 'misspelt-key'])))
        expect(applied.summary).toMatchObject({ done: 5 })
        const rows = await bed.tracks()
        expect(ids.map(id => rows.get(id)?.s3_object_key)).toEqual(keys)
      })

      test('rows name their objects by URLs that are not encoded, or in some other way', async () => {
        const { bucket } = bed.store
        const key = (name: string) => `audio/Artist/${name}.flac`
        const spelt: [string, string][] = [
          [`https://d111.cloudfront.net/${key('What? #1 100%')}`, key('What? #1 100%')],
          [`https://d111.cloudfront.net/${key('a%20b')}`, key('a%20b')],
          [key('c%20d'), key('c d')],
          [`arn:aws:s3:::${bucket}/${key('arn')}`, key('arn')],
          [`${bucket}/${key('bare')}`, key('bare')],
          [`${key('blank')} \n`, key('blank')],
        ]
        const ids: string[] = []
        for (const [index, [said, meant]] of spelt.entries()) {
          await put(meant, fakeAudio(2_000 + index, 40 + index))
          ids.push(await bed.addTrack({ path: null, source: 'S3', key: said }))
        }
        // Spoken for at apply, too, by rows that have come to say so since the plan.
        const plan = savePlan(
          bed,
          'spelt.plan',
          await Promise.all(
            spelt.map(async ([, meant]): Promise<PlanAction> => {
              const { size = 0, etag = '' } = (await bed.store.head(meant)) ?? {}
              const object = { key: meant, size, etag }
              return { action: 'remove-object', object, to: quarantineKey(randomUUID(), meant) }
            }),
          ),
        )
        expect(said(await apply(bed, plan))).toEqual(
          Object.fromEntries(spelt.map(([, meant]) => [meant, 'a row names the object'])),
        )
        const { run, applied } = await mend()
        expect(classesOf(run)).toEqual(Object.fromEntries(spelt.map(([one]) => [one, 'misspelt-key'])))
        expect(applied.summary).toMatchObject({ done: spelt.length })
        const rows = await bed.tracks()
        expect(ids.map(id => rows.get(id)?.s3_object_key)).toEqual(spelt.map(([, meant]) => meant))
      })

      test('a row names an object of another bucket', async () => {
        await bed.addTrack({ path: null, source: 'S3', key: 'audio/there.flac' })
        await put('audio/there.flac', one)
        for (const key of [
          's3://elsewhere/audio/a.flac',
          'https://elsewhere.s3.amazonaws.com/audio/b.flac',
        ]) {
          const id = await bed.addTrack({ path: null, source: 'S3', key })
          const { run, applied } = await mend()
          expect(classesOf(run)).toMatchObject({ [key]: 'missing-object' })
          expect(told(run)).toMatch(/its key names another bucket, elsewhere/)
          expect(applied.items).toEqual([])
          expect(await rowOf(id)).toMatchObject({ file_source: 'S3', s3_object_key: key })
        }
      })

      test('the object of one track is overwritten, that of another with the same recording is gone', async () => {
        for (const artist of ['A', 'B']) await bed.addTrack({ path: `${artist}.flac`, content: one, artist })
        expect((await upload(bed, { deleteLocal: true })).exitCode).toBe(0)
        const rows = [...(await bed.tracks()).values()].sort((a, b) => (a.artist < b.artist ? -1 : 1))
        const [kept, gone] = rows.map(row => row.s3_object_key as string) as [string, string]
        const other = fakeAudio(one.length, 23)
        // Known to be another by its CRC-32 alone: its SHA-256 nobody has computed.
        await bed.store.put(kept, other, {
          headers: { contentType: 'audio/flac', cacheControl },
          checksums: { crc32: crc32Text(other) },
        })
        await bed.store.delete([{ key: gone }])
        const { run } = await mend({ force: true })
        expect(classesOf(run)).toEqual({ [kept]: 'checksum-differs', [gone]: 'missing-object' })
        expect((await bed.tracks()).get(rows[1]?.id as string)?.s3_object_key).not.toBe(kept)
        expect((await bed.content(kept))?.equals(other)).toBe(true)
      })

      test('an object is overwritten by a recording of the same size and CRC-32', async () => {
        const [proved, other] = sameSizeAndCrc()
        for (const declared of [undefined, sha256(other)]) {
          await bed.reset()
          await bed.addTrack({ path: 'a.flac', content: proved })
          expect((await upload(bed, { deleteLocal: true })).exitCode).toBe(0)
          const [row] = [...(await bed.tracks()).values()]
          const key = row?.s3_object_key as string
          await bed.store.put(key, other, {
            headers: {
              contentType: 'audio/flac',
              cacheControl,
              ...(declared === undefined ? {} : { metadata: { sha256: declared } }),
            },
            checksums: { crc32: crc32Text(other) },
          })
          expect(classesOf(await reconcile(bed))).toEqual({ [key]: 'checksum-differs' })
          expect(classesOf(await reconcile(bed))).toEqual({ [key]: 'checksum-differs' })
        }
      })

      test('the object that a row names lies in quarantine', async () => {
        const id = await bed.addTrack({ path: 'gone.flac', source: 'S3', key: 'audio/a.flac' })
        await bed.addTrack({ path: null, source: 'S3', key: 'audio/b.flac' })
        await put('audio/b.flac', two)
        const { etag } = await put('audio/a.flac', one)
        const object = { key: 'audio/a.flac', size: one.length, etag }
        await bed.database.knex('tracks').where({ id }).update({ s3_object_key: null })
        const removal = {
          action: 'remove-object' as const,
          object,
          to: quarantineKey(randomUUID(), object.key),
        }
        rmSync(path.join(bed.dir, 'q.plan.journal'), { force: true })
        expect((await apply(bed, savePlan(bed, 'q.plan', [removal]))).summary).toMatchObject({ done: 1 })
        // The row was committed by a run that had seen the object before.
        await bed.database.knex('tracks').where({ id }).update({ s3_object_key: 'audio/a.flac' })
        const { run, applied } = await mend()
        expect(classesOf(run)).toEqual({ 'audio/a.flac': 'missing-object' })
        expect(applied.summary).toMatchObject({ done: 1 })
        expect((await bed.content('audio/a.flac'))?.equals(one)).toBe(true)
        expect(await rowOf(id)).toMatchObject({ file_source: 'S3', s3_object_key: 'audio/a.flac' })
        expect([...(await bed.objects()).keys()]).toEqual(['audio/a.flac', 'audio/b.flac'])
        const undone = await undo(bed, path.join(bed.dir, `mend-${plans}.plan`))
        expect(undone.summary).toMatchObject({ undone: 1 })
        expect([...(await bed.objects()).keys()]).toEqual(['audio/b.flac', removal.to])
      })

      test('a track whose object lies in quarantine has lost its row, and has it back', async () => {
        const { knex } = bed.database
        await bed.addTrack({ path: 'a.flac', content: one, artist: 'A', title: 'Gone' })
        await bed.addTrack({ path: 'b.flac', content: two, artist: 'B', title: 'There' })
        expect((await upload(bed, { deleteLocal: true })).exitCode).toBe(0)
        const before = await knex('tracks').where({ title: 'Gone' }).first()
        const key = before.s3_object_key as string
        await knex('tracks').where({ title: 'Gone' }).del()
        expect(said((await mend()).applied)).toEqual({ [key]: 'done' })
        expect((await reconcile(bed)).exitCode).toBe(0)
        // As a backup of before the upload has it.
        await knex('tracks').insert({ ...before, s3_object_key: null, file_size: null, file_source: 'LOCAL' })
        const { run, applied } = await mend()
        expect(classesOf(run)).toMatchObject({ [key]: 'unlinked-object' })
        expect(said(applied)).toMatchObject({ [key]: 'done' })
        expect((await bed.content(key))?.equals(one)).toBe(true)
        expect((await mend()).applied.summary).toMatchObject({ done: 1 })
        expect(await rowOf(before.id)).toMatchObject({ file_source: 'S3', s3_object_key: key })
        expect((await reconcile(bed)).exitCode).toBe(0)
      })

      test("somebody else's objects lie in the bucket, below an empty prefix", async () => {
        await put('audio/ours.flac', one)
        await bed.addTrack({ path: null, source: 'S3', key: 'audio/other.flac' })
        await put('audio/other.flac', two)
        for (const key of ['backups/db.dump', 'index.html']) {
          await bed.store.put(key, Buffer.from(key), {
            headers: { contentType: 'text/plain' },
            checksums: {},
          })
        }
        const plan = newPlan()
        const options = { env: { S3_KEY_PREFIX: '' } }
        const run = await reconcile(bed, { plan, maxDelete: { percent: 100 } }, options)
        expect(run.summary).toMatchObject({ removals: 1 })
        expect(run.summary['found']).toMatchObject({ 'foreign-object': 2, 'orphan-object': 1 })
        await apply(bed, plan, undefined, options)
        const left = [...(await bed.objects()).keys()].filter(key => !key.startsWith('quarantine/'))
        expect(left.sort()).toEqual(['audio/other.flac', 'backups/db.dump', 'index.html'])
      })

      test('another library has its objects deeper below the prefix', async () => {
        const theirs = 'audio/jazz/Artist/theirs_00000000.flac'
        const ours = 'audio/Artist/ours_00000000.flac'
        for (const key of [theirs, ours]) await put(key, one, { 'track-id': randomUUID() })
        await bed.addTrack({ path: null, source: 'S3', key: 'audio/other.flac' })
        await put('audio/other.flac', two)
        const { run, applied } = await mend()
        expect(run.summary['found']).toMatchObject({ 'foreign-object': 1, 'orphan-object': 1 })
        expect(said(applied)).toEqual({ [ours]: 'done' })
        expect(await bed.store.head(theirs)).toBeDefined()
      })

      test('another database has its objects below the same prefix of the same bucket', async () => {
        const { knex } = bed.database
        const own = (await libraryOf(knex)) as string
        expect(own).toMatch(/^[0-9a-f]{16}$/)
        const other = 'f'.repeat(16)
        const id = await uploaded('a.mp3', one)
        const kept = (await rowOf(id))?.s3_object_key as string
        expect((await bed.store.head(kept))?.metadata).toMatchObject({ library: own, 'track-id': id })
        const key = (name: string) => `audio/Artist/${name}_00000000.flac`
        // Theirs; ours by its mark, by the ledger, by its row; and one from before objects bore such a mark.
        await put(key('theirs'), two, { 'track-id': randomUUID(), library: other })
        await put(key('marked'), two, { 'track-id': randomUUID(), library: own })
        await put(key('recorded'), two, { 'track-id': randomUUID(), library: other })
        await put(key('row'), two, { 'track-id': id, library: other })
        await put(key('older'), two, { 'track-id': randomUUID() })
        await upsertObjects(knex, [{ bucket: bed.store.bucket, key: key('recorded'), size: two.length }])
        const run = await reconcile(bed, { plan: 'p.plan', minAge: 0, maxDelete: { percent: 100 } })
        expect(run.summary['found']).toMatchObject({ 'foreign-object': 1, 'orphan-object': 4 })
        expect(Object.keys(classesOf(run))).not.toContain(key('theirs'))
        // A plan may have been made when it was another's, or by an earlier autodj.
        const theirs = await bed.store.head(key('theirs'))
        const plan = savePlan(bed, 'theirs.plan', [
          {
            action: 'remove-object',
            object: theirs as NonNullable<typeof theirs>,
            to: 'quarantine/p/theirs.flac',
          },
        ])
        const applied = await apply(bed, plan, { maxDelete: { percent: 100 }, force: true })
        expect(applied.items).toMatchObject([
          { state: 'skipped', reason: expect.stringMatching(/another library/) },
        ])
        expect(await bed.store.head(key('theirs'))).toBeDefined()
      })

      test('rows were deleted and made anew, with other ids', async () => {
        const { knex } = bed.database
        await bed.addTrack({ path: 'a.flac', content: one, artist: 'Été', title: 'A, B & C' })
        await bed.addTrack({ path: 'b.flac', content: two, artist: 'Other', title: 'There' })
        expect((await upload(bed, { deleteLocal: true })).exitCode).toBe(0)
        const [key] = [...(await bed.objects()).keys()].filter(name => name.includes('A_B_C'))
        for (const ledger of [true, false]) {
          // As an application has it that reads its playlists anew.
          await knex('tracks').where({ title: 'A, B & C' }).del()
          const id = await bed.addTrack({
            path: null,
            source: 'UNAVAILABLE',
            artist: 'Été'.normalize('NFD'),
            title: 'A, B & C',
          })
          if (!ledger) await knex('autodj_ledger.objects').del()
          const { run, applied } = await mend()
          expect(classesOf(run)).toMatchObject({ [key as string]: 'unlinked-object' })
          expect(told(run)).toMatch(/has its artist and title for a key/)
          expect(said(applied)).toEqual({ [id]: 'done' })
          expect(await rowOf(id)).toMatchObject({ file_source: 'S3', s3_object_key: key, file_size: 3_000 })
        }
        // A row that says another size has had another recording: the object stays, and the row.
        await knex('tracks').where({ title: 'A, B & C' }).del()
        const id = await bed.addTrack({ path: null, source: 'UNAVAILABLE', artist: 'Été', title: 'A, B & C' })
        await knex('tracks').where({ id }).update({ file_size: 2_999 })
        const { run, applied } = await mend()
        expect(classesOf(run)).toMatchObject({ [key as string]: 'unlinked-object' })
        expect(applied.items).toEqual([])
        expect(await bed.store.head(key as string)).toBeDefined()
        // Nor is it given an empty object.
        await put(key as string, Buffer.alloc(0), { 'track-id': id })
        expect(classesOf(await reconcile(bed))).toMatchObject({ [key as string]: 'orphan-object' })
      })

      test('most of a small library would go under the default limit', async () => {
        for (let index = 0; index < 12; index += 1)
          await put(`audio/${index}.flac`, fakeAudio(2_000 + index, index))
        await bed.addTrack({ path: null, source: 'S3', key: 'audio/0.flac' })
        const plan = newPlan()
        const run = await reconcile(bed, { plan })
        expect([run.exitCode, run.error?.message]).toEqual([
          7,
          expect.stringMatching(/11 of 12 objects .* allows 3/),
        ])
        expect(existsSync(plan)).toBe(false)
      })

      test('an object that a row names is in an archive storage class', async () => {
        await put('audio/a.flac', one)
        await bed.addTrack({ path: null, source: 'S3', key: 'audio/a.flac' })
        const run = await reconcile(bed, { deep: true }, archived)
        expect([run.exitCode, classesOf(run)]).toEqual([4, { 'audio/a.flac': 'archived-object' }])
      })

      test('a local file was changed after its upload', async () => {
        const ids = [await uploaded('a.flac', one), await uploaded('b.flac', two)]
        expect((await reconcile(bed, { disk: true })).exitCode).toBe(0)
        const edited = Buffer.from(one)
        edited[1_500]! ^= 1
        const { atime, mtime } = statSync(file('a.flac'))
        writeFileSync(file('a.flac'), edited)
        utimesSync(file('a.flac'), atime, mtime)
        const seen = await reconcile(bed, {
          disk: true,
          plan: newPlan(),
        })
        expect([seen.exitCode, classesOf(seen)]).toEqual([4, { 'a.flac': 'local-copy-differs' }])
        expect(seen.summary).toMatchObject({ repairs: 0, unmended: { 'local-copy-differs': 1 } })
        // One way out: the file is uploaded as a new object.
        const old = (await rowOf(ids[0] as string))?.s3_object_key as string
        const { applied } = await mend({ disk: true, localChanges: 'upload' })
        expect(applied.summary).toMatchObject({ done: 1 })
        expect((await upload(bed)).summary).toMatchObject({ uploaded: 1 })
        const anew = (await rowOf(ids[0] as string))?.s3_object_key as string
        expect(anew).not.toBe(old)
        expect((await bed.content(anew))?.equals(edited)).toBe(true)
        expect((await bed.content(old))?.equals(one)).toBe(true)
        // The other: the row keeps the object, and lets go of the file.
        writeFileSync(file('b.flac'), edited)
        const other = await mend({ disk: true, localChanges: 'object' })
        expect(other.applied.summary['done']).toBeGreaterThanOrEqual(1)
        expect(await rowOf(ids[1] as string)).toMatchObject({ file_source: 'S3', file_path: null })
        expect(readFileSync(file('b.flac')).equals(edited)).toBe(true)
      })

      test('files that import declines lie in the audio folder', async () => {
        await uploaded('a.flac', one)
        writeFileSync(file('copy of a.flac'), one)
        writeFileSync(file('empty.mp3'), '')
        writeFileSync(file('text.mp3'), 'no audio at all')
        const run = await reconcile(bed, { disk: true })
        expect([run.exitCode, classesOf(run)]).toEqual([
          0,
          { 'copy of a.flac': 'duplicate-file', 'empty.mp3': 'empty-file', 'text.mp3': 'not-audio' },
        ])
        writeFileSync(file('new.flac'), two)
        expect((await reconcile(bed, { disk: true })).exitCode).toBe(4)
        expect((await reconcile(bed, { disk: true, accept: ['local-file-without-row'] })).exitCode).toBe(0)
      })

      test('removals are held back, as something is young', async () => {
        await bed.addTrack({ path: null, source: 'S3', key: 'audio/a.flac' })
        await put('audio/a.flac', one)
        await put('audio/orphan.flac', two)
        const plan = newPlan()
        const run = await reconcile(
          bed,
          { plan, minAge: day },
          { now: () => new Date(Date.now() + 400 * day) },
        )
        expect(run.exitCode).toBe(4)
        expect(run.summary).toMatchObject({ removals: 0, held_back: 1 })
      })

      test('an inventory was made before an object was moved', async () => {
        const id = await uploaded('a.flac', one)
        rmSync(file('a.flac'))
        const key = (await rowOf(id))?.s3_object_key as string
        for (const format of ['CSV', 'Parquet'] as const) {
          const url = await putInventory(bed.store, format)
          await bed.store.copy(key, 'audio/elsewhere.flac')
          await bed.store.delete([{ key }])
          const run = await reconcile(bed, { inventory: parseInventoryUrl(url), head: 'all' })
          expect([format, run.error?.message, classesOf(run)]).toEqual([
            format,
            undefined,
            { [key]: 'moved' },
          ])
          expect(told(run)).toMatch(/inventory is not enough/)
          await bed.store.copy('audio/elsewhere.flac', key)
          await bed.store.delete([{ key: 'audio/elsewhere.flac' }])
        }
      })

      test('an inventory still names an object that is gone', async () => {
        const id = await bed.addTrack({ path: 'a.flac', content: one })
        expect((await upload(bed)).exitCode).toBe(0)
        const key = (await rowOf(id))?.s3_object_key
        const url = await putInventory(bed.store, 'CSV')
        await bed.store.delete([{ key: key as string }])
        const recorded = () => bed.database.knex('autodj_ledger.objects').select('*')
        const before = await recorded()
        const run = await reconcile(bed, { inventory: parseInventoryUrl(url), disk: true, plan: newPlan() })
        expect(run.summary).toMatchObject({ removals: 0, losses: 0, repairs: 0 })
        expect(await recorded()).toEqual(before)
        expect(said(await cleanup(bed))['a.flac']).toBe('the object is not in the bucket')
        expect(existsSync(file('a.flac'))).toBe(true)
        expect(classesOf(await reconcile(bed, { force: true }))).toEqual({
          [key as string]: 'missing-object',
        })
      })

      test('an inventory is old, or empty', async () => {
        await uploaded('a.flac', one)
        const url = await putInventory(bed.store, 'CSV')
        const old = await reconcile(
          bed,
          { inventory: parseInventoryUrl(url) },
          { hooks: { time: { after: time => new Date(time.getTime() + 400 * day) } } },
        )
        expect(told(old)).toMatch(/Inventory of .* old: 1 object\. It does not show what was uploaded, moved/)
        expect(told(old)).toMatch(/Database and the inventory of \d{4}-/)
        await bed.store.delete(
          [...(await bed.objects()).keys()].filter(key => key.startsWith('audio/')).map(key => ({ key })),
        )
        const empty = await putInventory(bed.store, 'CSV')
        await put('audio/late.flac', two)
        const run = await reconcile(bed, { inventory: parseInventoryUrl(empty) })
        expect(told(run)).toMatch(/inventory is not enough: it lists no object of the library/)
        expect(run.summary['objects']).toBe(1)
      })

      test('the manifest or a data file of an inventory is damaged', async () => {
        await uploaded('a.flac', one)
        const url = await putInventory(bed.store, 'Parquet')
        const key = url.slice(url.indexOf('/', 5) + 1)
        const manifest = JSON.parse(String(await bed.content(key))) as Record<string, unknown>
        const [first] = manifest['files'] as Record<string, unknown>[]
        const refused = async (changed: unknown): Promise<string> => {
          await bed.store.put(key, Buffer.from(JSON.stringify(changed)), {
            headers: { contentType: 'application/json' },
            checksums: {},
          })
          const run = await reconcile(bed, { inventory: parseInventoryUrl(url) })
          expect(run.error).toBeDefined()
          return run.error?.message ?? ''
        }
        expect(await refused({ ...manifest, creationTimestamp: undefined })).toMatch(/no creationTimestamp/)
        expect(await refused({ ...manifest, creationTimestamp: 'soon' })).toMatch(/not a time/)
        expect(await refused({ ...manifest, files: [{ ...first, MD5checksum: undefined }] })).toMatch(
          /no MD5checksum/,
        )
        expect(await refused({ ...manifest, files: [{ ...first, key: undefined }] })).toMatch(/no key/)
        expect(await refused({ ...manifest, files: [null] })).toMatch(/no key/)
        expect(await refused([])).toMatch(/not an object/)
        expect(await refused({ ...manifest, files: [{ ...first, MD5checksum: '0'.repeat(32) }] })).toMatch(
          /does not match its MD5/,
        )
      })
    })

    describe('objects that are replaced while they are read', () => {
      const [one, other] = [fakeAudio(30_000, 1), fakeAudio(30_000, 2)]
      /** Replaced by another recording of the same size, just before the first request of that kind. */
      const replacing = (key: () => string, ...methods: ('head' | 'get' | 'getInto')[]): RunOptions => {
        const replace = once(() =>
          bed.store.put(key(), other, {
            headers: { contentType: 'audio/flac', metadata: { sha256: sha256(other) } },
            checksums: { crc32: crc32Text(other) },
          }),
        )
        return { hooks: Object.fromEntries(methods.map(method => [method, { before: () => replace() }])) }
      }
      const keyOf = async () => [...(await bed.objects()).keys()][0] as string

      test('an object is replaced between its listing and its download by restore', async () => {
        const id = await uploaded('a.flac', one)
        rmSync(file('a.flac'))
        const key = await keyOf()
        const run = await restore(
          bed,
          {},
          replacing(() => key, 'get', 'getInto'),
        )
        expect(run.items).toMatchObject([{ state: 'failed', code: 'restore.corrupt' }])
        expect(readdirSync(bed.audioRoot)).toEqual([])
        expect(await rowOf(id)).toMatchObject({ file_source: 'S3', s3_object_key: key })
      })

      test('an object is replaced between its listing and its hashing by reconcile --deep', async () => {
        await uploaded('a.flac', one)
        const key = await keyOf()
        await bed.database.knex('autodj_ledger.objects').delete()
        const run = await reconcile(
          bed,
          { deep: true, head: 'all' },
          replacing(() => key, 'get'),
        )
        expect(run.items).toMatchObject([{ subject: key, state: 'unread' }])
        expect(run.exitCode).toBe(ExitCode.someFailed)
        expect(await bed.database.knex('autodj_ledger.objects')).toEqual([])
        // The next one tells what is there now.
        expect((await reconcile(bed, { deep: true, head: 'all', disk: true })).exitCode).toBe(ExitCode.drift)
      })

      test('an object is replaced between the look at it and its adoption', async () => {
        const id = await uploaded('a.flac', one)
        const key = await keyOf()
        // Without anything that tells but its bytes.
        await bed.store.put(key, one, { headers: { contentType: 'audio/flac' }, checksums: {} })
        await bed.database.knex('tracks').where({ id }).update({ file_source: 'LOCAL', s3_object_key: null })
        await bed.database.knex('autodj_ledger.objects').delete()
        const run = await upload(
          bed,
          { deleteLocal: true },
          replacing(() => key, 'get'),
        )
        expect(run.exitCode).toBe(ExitCode.someFailed)
        expect(await rowOf(id)).toMatchObject({ file_source: 'LOCAL' })
        expect(readFileSync(file('a.flac')).equals(one)).toBe(true)
        expect((await bed.content(key))?.equals(other)).toBe(true)
      })
    })

    describe('the audio folder', () => {
      test('it is an empty mount point', async () => {
        expect((await fetchTracks(bed)).summary['message']).toMatch(/the table of tracks has no rows/)
        const id = await bed.addTrack({ path: 'a.flac', source: 'LOCAL' })
        // What lies in mount points, and on a new disk.
        const fill = [
          () => {},
          () => writeFileSync(file('.gitkeep'), ''),
          () => writeFileSync(file('NOT MOUNTED.txt'), 'the disk is not mounted'),
          () => mkdirSync(file('lost+found')),
        ]
        for (const one of fill) {
          one()
          const runs = [await importFiles(bed), await fetchTracks(bed), await upload(bed), await cleanup(bed)]
          runs.push(await reconcile(bed, { disk: true }), await fetchTracks(bed, {}, { dryRun: true }))
          for (const run of runs)
            expect([run.exitCode, run.error?.message]).toEqual([
              7,
              expect.stringMatching(/empty or unmounted/),
            ])
        }
        rmSync(bed.audioRoot, { recursive: true })
        for (const run of [await cleanup(bed), await reconcile(bed, { disk: true })])
          expect([run.exitCode, run.error?.message]).toEqual([7, expect.stringMatching(/empty or unmounted/)])
        mkdirSync(bed.audioRoot)
        // One that a row names is audio, whatever its name.
        await bed.addTrack({ path: 'track 7', content: fakeAudio(3_000, 5) })
        expect((await upload(bed)).exitCode).toBe(ExitCode.someFailed)
        expect(await rowOf(id)).toMatchObject({ file_source: 'LOCAL', file_path: 'a.flac' })
      })

      test('it is an empty mount point, and objects are missing too', async () => {
        const id = await uploaded('a.mp3', fakeAudio(4_000, 1))
        await uploaded('b.mp3', fakeAudio(4_000, 2))
        const key = (await rowOf(id))?.s3_object_key
        await bed.store.delete([{ key: key as string }])
        renameSync(bed.audioRoot, `${bed.audioRoot}.unmounted`)
        mkdirSync(bed.audioRoot)
        const plan = path.join(bed.dir, 'unmounted.plan')
        const limit = { maxDelete: { percent: 100 } }
        // Nobody can see that the file is gone; only who says that the folder is what it looks has it so.
        expect((await reconcile(bed, { plan, ...limit })).summary).toMatchObject({ drift: 1 })
        expect(readFileSync(plan, 'utf8')).not.toContain('UNAVAILABLE')
        const forced = path.join(bed.dir, 'forced.plan')
        await reconcile(bed, { plan: forced, ...limit, force: true })
        expect((await apply(bed, forced, limit)).summary).toMatchObject({ done: 0, skipped: 1 })
        expect(await rowOf(id)).toMatchObject({ file_source: 'S3', s3_object_key: key, file_path: 'a.mp3' })
        // Other files in it say that it is mounted, and that this one is gone.
        writeFileSync(file('other.mp3'), fakeAudio(1_000, 3))
        expect((await apply(bed, forced, limit)).summary).toMatchObject({ done: 0 })
        const seen = path.join(bed.dir, 'seen.plan')
        await reconcile(bed, { plan: seen, ...limit })
        expect((await apply(bed, seen, limit)).summary).toMatchObject({ done: 1 })
        expect(await rowOf(id)).toMatchObject({ file_source: 'UNAVAILABLE' })
        rmSync(bed.audioRoot, { recursive: true })
        renameSync(`${bed.audioRoot}.unmounted`, bed.audioRoot)
      })

      test('a disk is mounted on a folder in it, and is not there', async () => {
        const { knex } = bed.database
        await bed.addTrack({ path: 'here.mp3', content: fakeAudio(4_000, 1) })
        const id = await bed.addTrack({ path: 'disk/A/b.mp3', content: fakeAudio(4_000, 2) })
        expect((await importFiles(bed)).exitCode).toBe(ExitCode.ok)
        const plan = path.join(bed.dir, 'forced.plan')
        rmSync(file('disk/A'), { recursive: true })
        const limit = { maxDelete: { percent: 100 } }
        // As the ledger has it, the file was on the disk that is there, and it is just gone.
        await reconcile(bed, { disk: true, plan, ...limit })
        await knex('autodj_ledger.files').where({ path: 'disk/A/b.mp3' }).update({ device: 1 })
        for (const run of [await fetchTracks(bed), await reconcile(bed, { disk: true })])
          expect([run.exitCode, run.error?.message]).toEqual([
            7,
            expect.stringMatching(/disk looks unmounted: it is empty, and the files .* on another disk/),
          ])
        expect((await apply(bed, plan, limit)).summary).toMatchObject({ done: 0, skipped: 1 })
        await knex('tracks').where({ id }).update({ file_source: 'S3', s3_object_key: 'audio/b.mp3' })
        for (const dryRun of [true, false])
          expect((await restore(bed, { dryRun })).error?.message).toMatch(/disk looks unmounted/)
        expect(readdirSync(file('disk'))).toEqual([])
        await bed.store.put('audio/b.mp3', fakeAudio(4_000, 2), {
          ...{ headers: { contentType: 'audio/mpeg' }, checksums: {} },
        })
        const kept = Object.values(said(await cleanup(bed)))
        expect(kept).toEqual([expect.stringMatching(/looks unmounted/)])
        expect((await rowOf(id))?.['file_path']).toMatch(/b\.mp3$/)
        await knex('tracks').where({ id }).update({ file_source: 'LOCAL', s3_object_key: null })
        // Who says that it is right has it so, and so has whoever has another number for every disk.
        const forced = await fetchTracks(bed, {}, { force: true })
        expect([forced.exitCode, (await rowOf(id))?.['file_source']]).toEqual([3, 'UNAVAILABLE'])
        await knex('tracks').where({ id }).update({ file_source: 'LOCAL' })
        await knex('autodj_ledger.files').update({ device: 1 })
        expect((await fetchTracks(bed)).exitCode).toBe(ExitCode.someFailed)
        expect(await rowOf(id)).toMatchObject({ file_source: 'UNAVAILABLE' })
      })

      test('restore comes to an empty folder, and rows have their only audio in it', async () => {
        const id = await uploaded('a.mp3', fakeAudio(4_000, 1))
        rmSync(file('a.mp3'))
        await bed.addTrack({ path: 'b.mp3', source: 'LOCAL' })
        for (const dryRun of [true, false]) {
          const refused = await restore(bed, { dryRun })
          expect([refused.exitCode, refused.error?.message]).toEqual([
            7,
            expect.stringMatching(
              /looks unmounted: it is empty, and 1 row has its only audio in a file there/,
            ),
          ])
        }
        expect(readdirSync(bed.audioRoot)).toEqual([])
        expect((await restore(bed, { force: true })).exitCode).toBe(ExitCode.ok)
        expect(await rowOf(id)).toMatchObject({ file_source: 'LOCAL' })
      })

      test('restore comes to an empty folder, and fewer rows have lost their file than are in S3', async () => {
        const id = await uploaded('a.mp3', fakeAudio(4_000, 1))
        await uploaded('c.mp3', fakeAudio(4_000, 3))
        for (const name of ['a.mp3', 'c.mp3']) rmSync(file(name))
        await bed.addTrack({ path: 'b.mp3', source: 'LOCAL' })
        expect((await restore(bed)).exitCode).toBe(ExitCode.ok)
        expect(await rowOf(id)).toMatchObject({ file_source: 'LOCAL' })
      })

      test('it goes away while restore writes to it', async () => {
        const ids = []
        for (const name of ['a.mp3', 'b.mp3', 'c.mp3']) {
          ids.push(await uploaded(name, fakeAudio(4_000, name.charCodeAt(0))))
          rmSync(file(name))
        }
        let files = 0
        const observing = observeFileEffects(({ kind, to }) => {
          if (!['rename', 'link'].includes(kind) || !to?.endsWith('.mp3') || ++files !== 2) return
          renameSync(bed.audioRoot, `${bed.audioRoot}.unmounted`)
          mkdirSync(bed.audioRoot)
        })
        const run = await restore(bed, { concurrency: 1 }).finally(observing)
        expect([run.exitCode, run.error?.code]).toEqual([ExitCode.temporary, 'audio-root.gone'])
        for (const id of ids) expect(await rowOf(id)).toMatchObject({ file_source: 'S3' })
        rmSync(bed.audioRoot, { recursive: true })
        renameSync(`${bed.audioRoot}.unmounted`, bed.audioRoot)
        expect((await restore(bed)).exitCode).toBe(ExitCode.ok)
        for (const id of ids) expect(await rowOf(id)).toMatchObject({ file_source: 'LOCAL' })
      })

      test('it goes away in mid-run', async () => {
        const ids = await bed.addTracks(30, 3_000)
        const unmount = once(() => {
          renameSync(bed.audioRoot, `${bed.audioRoot}.unmounted`)
          mkdirSync(bed.audioRoot)
        })
        // The first file is on its way when the folder goes: later ones are looked for in an empty mount point.
        const sent = await upload(bed, { concurrency: 1 }, { hooks: { put: { before: unmount } } })
        expect([sent.exitCode, sent.error?.code]).toEqual([ExitCode.temporary, 'audio-root.gone'])
        const rows = await bed.tracks()
        expect(ids.filter(id => rows.get(id)?.file_source === 'LOCAL').length).toBeGreaterThan(0)
        expect(await bed.database.knex('autodj_ledger.items')).toEqual([])
        // What is uploaded is missed no less: by cleanup, by the deletion after an upload, by reconcile --disk.
        const mount = (): void => {
          rmSync(bed.audioRoot, { recursive: true })
          renameSync(`${bed.audioRoot}.unmounted`, bed.audioRoot)
        }
        mount()
        const named = () => bed.database.knex('tracks').whereNotNull('file_path').pluck('file_path')
        const unmountAt = (number: number) => {
          let calls = 0
          return { before: () => void (++calls === number && unmount2()) }
        }
        const unmount2 = (): void => {
          renameSync(bed.audioRoot, `${bed.audioRoot}.unmounted`)
          mkdirSync(bed.audioRoot)
        }
        expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
        const all = (await named()).sort()
        const gone = { exitCode: ExitCode.temporary, error: { code: 'audio-root.gone' } }
        expect(await reconcile(bed, { disk: true }, { hooks: { list: unmountAt(2) } })).toMatchObject(gone)
        mount()
        const cleaned = await cleanup(bed, { apply: true }, { hooks: { head: unmountAt(5) } })
        expect(cleaned).toMatchObject(gone)
        expect((await named()).sort()).toEqual(all)
        mount()
      })
    })

    describe('disks', () => {
      test('the disk reports that the names of restored files do not last', async () => {
        const id = await uploaded('a.mp3', fakeAudio(4_000, 1))
        rmSync(file('a.mp3'))
        const failing = observeFileEffects(({ kind, path: name }) => {
          if (kind === 'sync' && name === bed.audioRoot)
            throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' })
        })
        const thrown: unknown = await restore(bed)
          .catch(error => error)
          .finally(failing)
        // As the program tells it.
        const told = systemRefusal(toError(thrown))
        expect(told).toMatchObject({ code: 'system.disk', exitCode: ExitCode.fatal })
        expect(told?.cure).toMatch(/dmesg/)
        expect(await rowOf(id)).toMatchObject({ file_source: 'S3' })
        expect((await restore(bed)).exitCode).toBe(ExitCode.ok)
        expect(await rowOf(id)).toMatchObject({ file_source: 'LOCAL' })
      })

      test('a file system has no sync of folders', async () => {
        const id = await uploaded('a.mp3', fakeAudio(4_000, 1))
        rmSync(file('a.mp3'))
        const failing = observeFileEffects(({ kind, path: name }) => {
          if (kind === 'sync' && name === bed.audioRoot)
            throw Object.assign(new Error('EINVAL: invalid argument, fsync'), { code: 'EINVAL' })
        })
        expect((await restore(bed).finally(failing)).exitCode).toBe(ExitCode.ok)
        expect(await rowOf(id)).toMatchObject({ file_source: 'LOCAL' })
      })

      test('a file system has no hard links', async () => {
        const [content, other] = [fakeAudio(4_000, 1), fakeAudio(5_000, 2)]
        const id = await bed.addTrack({ path: 'a.mp3', content })
        ends.push(
          observeFileEffects(({ kind }) => {
            if (kind === 'link') throw Object.assign(new Error('EPERM'), { code: 'EPERM' })
          }),
        )
        expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
        beforeDeletion(() => {
          writeFileSync(file('new'), other)
          renameSync(file('new'), file('a.mp3'))
        })
        expect(said(await cleanup(bed))['a.mp3']).toMatch(/another file has taken its place/)
        expect(readFileSync(file('a.mp3')).equals(other)).toBe(true)
        writeFileSync(file('a.mp3'), content)
        expect(said(await cleanup(bed))['a.mp3']).toBe('removed')
        expect(existsSync(file('a.mp3'))).toBe(false)
        expect(await rowOf(id)).toMatchObject({ file_source: 'S3', file_path: null })
      })

      test('a file system keeps what is removed for as long as it is open', async () => {
        await uploaded('a.mp3', fakeAudio(4_000, 1))
        const open: string[] = []
        const isOpen = (name: string) =>
          readdirSync('/proc/self/fd').some(fd => {
            try {
              return readlinkSync(`/proc/self/fd/${fd}`) === name
            } catch {
              return false
            }
          })
        ends.push(
          observeFileEffects(({ kind, path: name }) => {
            if (
              kind === 'unlink' &&
              name.includes(asidePrefix) &&
              existsSync('/proc/self/fd') &&
              isOpen(name)
            )
              open.push(name)
          }),
        )
        expect(said(await cleanup(bed))['a.mp3']).toBe('removed')
        expect(open).toEqual([])
        // What somebody else, who plays it, has open still.
        for (const hidden of ['.nfs00000000000a11ce00000001', '.fuse_hidden0000005a0000000b']) {
          mkdirSync(file(`${asidePrefix}0123456789abcdef`), { recursive: true })
          writeFileSync(file(`${asidePrefix}0123456789abcdef/${hidden}`), 'removed')
        }
        expect((await cleanup(bed)).items).toEqual([])
        expect(readdirSync(bed.audioRoot)).toEqual([`${asidePrefix}0123456789abcdef`])
      })
    })

    describe('what cleanup empties', () => {
      const planId = '0b4c8d1e-5f60-4a7b-8c9d-0e1f2a3b4c5d'
      const removedKey = `quarantine/${planId}/audio/removed.mp3`
      const put = (key: string, content: Uint8Array, metadata: Record<string, string> = {}) =>
        bed.store.put(key, content, {
          headers: { contentType: 'audio/flac', metadata: { sha256: sha256(content), ...metadata } },
          checksums: {},
        })
      const content = fakeAudio(3_000, 9)
      const later = (days: number) => ({
        hooks: { time: { after: (time: Date) => new Date(time.getTime() + days * day) } },
        now: () => new Date(Date.now() + days * day),
      })

      test('the clock of this machine is 400 days ahead', async () => {
        await put(removedKey, content)
        const upload = await bed.store.createUpload('audio/a.mp3', { headers: { contentType: 'audio/flac' } })
        const run = await cleanup(bed, { force: true }, { now: () => new Date(Date.now() + 400 * day) })
        expect(run.exitCode).toBe(0)
        expect(await bed.store.head(removedKey)).toBeDefined()
        expect(await bed.store.listParts('audio/a.mp3', upload)).toEqual([])
        expect(JSON.stringify(run.messages)).toMatch(/clock and that of .* apart/)
      })

      test("somebody else's objects lie in the quarantine", async () => {
        const others = ['quarantine/notes.txt', 'quarantine/2024/old.mp3', 'quarantine/plan/audio/x.mp3']
        for (const key of [removedKey, ...others]) await put(key, content)
        const run = await cleanup(bed, { force: true }, later(40))
        expect(run.items.filter(({ state }) => state === 'removed').map(({ subject }) => subject)).toEqual([
          removedKey,
        ])
        expect([...(await bed.objects()).keys()].sort()).toEqual(others.toSorted())
      })

      test('another library in the bucket has its removed objects in the quarantine', async () => {
        const theirs = `quarantine/${planId}/jazz/removed.mp3`
        for (const key of [removedKey, theirs]) await put(key, content)
        const run = await cleanup(bed, { force: true }, later(40))
        expect(said(run)).toEqual({ [removedKey]: 'removed' })
        expect([...(await bed.objects()).keys()]).toEqual([theirs])
      })

      test('another database, with the same prefix, has its removed objects in the quarantine', async () => {
        const theirs = `quarantine/${planId}/audio/theirs.mp3`
        await put(removedKey, content, { 'track-id': randomUUID() })
        await put(theirs, content, { 'track-id': randomUUID(), library: 'f'.repeat(16) })
        const run = await cleanup(bed, { force: true }, later(40))
        expect(said(run)).toEqual({
          [removedKey]: 'removed',
          [theirs]: expect.stringMatching(/another library/),
        })
        expect([...(await bed.objects()).keys()]).toEqual([theirs])
      })

      test('a row names an object in the quarantine, or has lost the one that was moved there', async () => {
        const named = `quarantine/${planId}/audio/named.mp3`
        const wanted = `quarantine/${planId}/audio/wanted.mp3`
        const only = `quarantine/${planId}/audio/only.mp3`
        const unmarked = `quarantine/${planId}/audio/unmarked.mp3`
        const other = fakeAudio(1_000, 4)
        await put(unmarked, other)
        await upsertObjects(bed.database.knex, [
          { bucket: bed.store.bucket, key: 'audio/unmarked.mp3', size: 1_000, sha256: sha256(other) },
        ])
        await bed.database
          .knex('tracks')
          .where({ id: await bed.addTrack({ path: null, source: 'UNAVAILABLE' }) })
          .update({ spotify_id: localTrackId(sha256(other)) })
        await put(named, content)
        await bed.addTrack({ path: null, source: 'S3', key: named })
        await put(wanted, content)
        await bed.addTrack({ path: null, source: 'S3', key: 'audio/wanted.mp3' })
        // As the application may write it.
        const [url, spelt] = ['url', 'spelt'].map(name => `quarantine/${planId}/audio/${name} 1.mp3`) as [
          string,
          string,
        ]
        await put(url, content)
        await bed.addTrack({ path: null, source: 'S3', key: `s3://${bed.store.bucket}/${url}` })
        await put(spelt, content)
        await bed.addTrack({ path: null, source: 'S3', key: 'https://cdn.example/audio/spelt%201.mp3' })
        await put(only, content, { 'track-id': await bed.addTrack({ path: 'gone.mp3', source: 'LOCAL' }) })
        await put(removedKey, content, {
          'track-id': await bed.addTrack({ path: 'there.mp3', content: fakeAudio(1_000, 3) }),
        })
        const planned = said(await cleanup(bed, { apply: false }, later(40)))
        const run = await cleanup(bed, {}, later(40))
        expect(planned).toEqual({ ...said(run), [removedKey]: 'would-remove' })
        expect(said(run)).toMatchObject({
          [named]: 'a row names it',
          [wanted]: expect.stringMatching(/a row names audio\/wanted.mp3, but nothing is there/),
          [url]: 'a row names it',
          [spelt]: expect.stringMatching(/a row names audio\/spelt 1.mp3, but nothing is there/),
          [only]: expect.stringMatching(/has no other audio/),
          [unmarked]: expect.stringMatching(/has no other audio/),
          [removedKey]: 'removed',
        })
        expect([...(await bed.objects()).keys()].sort()).toEqual(
          [named, only, spelt, unmarked, url, wanted].sort(),
        )
      })
    })
  })
}

/** Two texts that pass for audio, of one size and one CRC-32: the last four bytes are made to fit. */
function sameSizeAndCrc(): [Buffer, Buffer] {
  const one = fakeAudio(4_096, 7)
  const other = fakeAudio(4_096, 8)
  forge(other, crc32(one))
  expect([crc32(one), one.equals(other)]).toEqual([crc32(other), false])
  return [one, other]
}

/** Sets the last four bytes so that the whole has this CRC-32: what CRC makes of them is linear in their bits. */
export function forge(bytes: Buffer, wanted: number): void {
  const at = bytes.length - 4
  const sumWith = (tail: number): number => {
    bytes.writeUInt32LE(tail >>> 0, at)
    return crc32(bytes)
  }
  const base = sumWith(0)
  // Gaussian elimination over the 32 bits.
  const rows: { sum: number; tail: number }[] = []
  for (let bit = 0; bit < 32; bit += 1) {
    let sum = (sumWith(2 ** bit) ^ base) >>> 0
    let tail = 2 ** bit
    for (const row of rows) {
      if ((sum ^ row.sum) >>> 0 < sum) {
        sum = (sum ^ row.sum) >>> 0
        tail = (tail ^ row.tail) >>> 0
      }
    }
    if (sum !== 0) rows.push({ sum, tail })
    rows.sort((a, b) => b.sum - a.sum)
  }
  let rest = (wanted ^ base) >>> 0
  let tail = 0
  for (const row of rows) {
    if ((rest ^ row.sum) >>> 0 < rest) {
      rest = (rest ^ row.sum) >>> 0
      tail = (tail ^ row.tail) >>> 0
    }
  }
  bytes.writeUInt32LE(tail >>> 0, at)
}
