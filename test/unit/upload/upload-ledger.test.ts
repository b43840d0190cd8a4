/** Which multipart uploads a run goes on with, which it aborts, and which it leaves to others; what is kept of their parts. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { openUploads, recordUpload, startRun } from '../../../src/db/ledger.ts'
import { UploadLedger } from '../../../src/upload/upload-ledger.ts'
import type { TestBed } from '../../support/bed.ts'
import { embeddedBed } from '../../support/beds.ts'
import { pgliteTestDatabase } from '../../support/database.ts'

const key = 'audio/a.flac'
const headers = { contentType: 'audio/flac' }
let bed: TestBed
let own: string
let ledger: UploadLedger
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(() => bed.close())
beforeEach(async () => {
  await bed.reset()
  own = await aRun('live')
  ledger = new UploadLedger(bed.database, bed.store, own)
})

type Owner = 'own' | 'live' | 'dead' | 'nobody' | 'unknown'
async function aRun(state: 'live' | 'dead'): Promise<string> {
  const id = randomUUID()
  const run = { id, command: 'upload-local', args: {}, host: 'another machine', pid: 1, version: '0' }
  await startRun(bed.database.knex, run, state === 'live' ? 3_600 : -1)
  return id
}
const file = { path: 'a.flac', inode: 1n, mtimeNs: 1n, size: 9, sha256: null, partSize: 5, headers: null }

/** An upload in the store and, unless it is unknown, in the ledger. */
async function begin(owner: Owner, to = key): Promise<string> {
  const uploadId = await bed.store.createUpload(to, { headers })
  if (owner === 'unknown') return uploadId
  const runId = owner === 'own' ? own : owner === 'nobody' ? null : await aRun(owner)
  await recordUpload(bed.database.knex, { ...file, bucket: bed.store.bucket, key: to, uploadId, runId })
  return uploadId
}
const inStore = async () =>
  (await Array.fromAsync(bed.store.listUploads()))
    .flat()
    .map(({ uploadId }) => uploadId)
    .sort()
const inLedger = async () =>
  (await openUploads(bed.database.knex, { bucket: bed.store.bucket })).map(({ uploadId }) => uploadId).sort()

test.each<[Owner[], Owner[], Owner[]]>([
  [
    ['own', 'dead', 'nobody'],
    ['own', 'dead', 'nobody'],
    ['own', 'dead', 'nobody'],
  ],
  [['live', 'dead'], ['dead'], ['live', 'dead']],
  [['unknown'], [], []],
  [['unknown', 'dead'], ['dead'], ['dead']],
  [['unknown', 'nobody'], ['nobody'], ['nobody']],
  // It may be the live run's, not written down yet.
  [['unknown', 'live'], [], ['unknown', 'live']],
  [['unknown', 'own'], ['own'], ['unknown', 'own']],
])('of %j a run may go on with %j, and %j stay in the store', async (owners, free, stay) => {
  const ids = new Map<Owner, string>()
  for (const owner of owners) ids.set(owner, await begin(owner))
  // Of another key that begins alike.
  const others = [await begin('unknown', `${key}.flac`), await begin('dead', `${key}.flac`)]
  const found = await ledger.resumable(key)
  const idsOf = (some: Owner[]) => some.map(owner => ids.get(owner) as string).sort()
  expect(found.map(({ uploadId }) => uploadId).sort()).toEqual(idsOf(free))
  expect(await inStore()).toEqual([...idsOf(stay), ...others].sort())
})

test('at its end a run sweeps what dead runs left, of every key, and nothing of a live one', async () => {
  const ids: Record<string, string> = {}
  for (const owner of ['own', 'live', 'dead', 'nobody', 'unknown'] as const)
    ids[owner] = await begin(owner, `audio/${owner}.flac`)
  await ledger.sweep()
  expect(await inStore()).toEqual([ids['own'], ids['live'], ids['unknown']].sort())
  expect(await inLedger()).toEqual([ids['own'], ids['live']].sort())
})

test('what is begun is this run’s, and so is what it goes on with', async () => {
  const { knex } = bed.database
  const dead = await begin('dead')
  await ledger.resumed(dead)
  await ledger.begun({ ...file, key: 'audio/b.flac', uploadId: 'begun' })
  const found = await openUploads(knex, { bucket: bed.store.bucket })
  expect(found.map(({ uploadId, runId }) => [uploadId, runId]).sort()).toEqual(
    [
      ['begun', own],
      [dead, own],
    ].sort(),
  )
})

test('parts are written down by themselves after a moment, and at the latest when the run ends', async () => {
  const [one, two] = [await begin('own'), await begin('own', 'audio/b.flac')]
  const part = (partNumber: number) => ({ partNumber, size: 5, crc32: 'AAAAAA==', etag: `e${partNumber}` })
  const written = async () =>
    (await openUploads(bed.database.knex, { bucket: bed.store.bucket }))
      .flatMap(({ uploadId, parts }) =>
        parts.map(({ partNumber }) => `${uploadId === one ? 'one' : 'two'} ${partNumber}`),
      )
      .sort()
  ledger.confirmed(one, part(1))
  ledger.confirmed(two, part(1))
  ledger.confirmed(one, part(2))
  expect(await written()).toEqual([])
  await expect.poll(written, { timeout: 60_000 }).toEqual(['one 1', 'one 2', 'two 1'])
  ledger.confirmed(one, part(3))
  await expect.poll(written, { timeout: 60_000 }).toContain('one 3')
  ledger.confirmed(two, part(2))
  await ledger.close()
  expect(await written()).toEqual(['one 1', 'one 2', 'one 3', 'two 1', 'two 2'])
})

test('what has ended is forgotten, parts on their way included', async () => {
  const id = await begin('own')
  ledger.confirmed(id, { partNumber: 1, size: 5, crc32: 'AAAAAA==', etag: 'e' })
  await ledger.ended(id)
  expect(await inLedger()).toEqual([])
  await ledger.close()
  expect(await bed.database.knex('autodj_ledger.parts')).toEqual([])
})
