/** What verify reads from and writes to the database, on any that it runs on. */
import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { finding } from '../../src/core/diagnosis/causes.ts'
import type { Database } from '../../src/db/database.ts'
import { objectsByKey, startRun, upsertObjects } from '../../src/db/ledger.ts'
import type { VerifyTrack } from '../../src/verify/track-result.ts'
import { recordResults, rollingShare, type Selection, selectTracks } from '../../src/verify/tracks.ts'
import { migrated, type TestDatabase } from '../support/database.ts'

const bucket = 'music'
const now = new Date('2026-03-01T12:00:00Z')
const day = 86_400_000
const daysAgo = (days: number) => new Date(now.getTime() - days * day)
const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

export function verifyLedgerContract(makeDatabase: () => Promise<TestDatabase>): void {
  let place: TestDatabase
  let db: Database
  let knex: Knex
  const runId = randomUUID()

  beforeAll(async () => {
    place = await migrated(await makeDatabase())
    db = await place.open()
    knex = db.knex
  })
  afterAll(async () => {
    await db?.close()
    await place?.drop()
  })
  beforeEach(async () => {
    await knex.raw('truncate tracks, autodj_ledger.objects, autodj_ledger.items, autodj_ledger.runs cascade')
    await startRun(knex, { id: runId, command: 'verify', args: {}, host: 'h', pid: 1, version: '0' })
  })

  async function add(n: number, more: Record<string, unknown> = {}): Promise<void> {
    await knex('tracks').insert({
      id: id(n),
      spotify_id: `s${n}`,
      title: 't',
      artist: 'a',
      file_source: 'S3',
      file_size: 1_000 + n,
      s3_object_key: `audio/é/${n}+#?.mp3`,
      created_at: daysAgo(100),
      updated_at: daysAgo(100),
      ...more,
    })
  }

  async function chosen(
    selection: Selection,
    limit?: number,
  ): Promise<{ total: number; ids: number[]; tracks: VerifyTrack[] }> {
    const { total, tracks } = await selectTracks(knex, bucket, selection, { now, limit })
    const read: VerifyTrack[] = []
    for await (const track of tracks) read.push(track)
    return { total, ids: read.map(track => Number(track.id.slice(-12))), tracks: read }
  }

  test('all: S3 tracks in the order of their ids, with what the ledger knows before what the row says', async () => {
    await add(1)
    await add(2, { file_source: 'LOCAL' })
    await add(3, { file_source: null })
    await add(4, { file_source: null, s3_object_key: null })
    await add(5, { s3_object_key: null })
    await upsertObjects(knex, [
      { bucket, key: 'audio/é/1+#?.mp3', size: 7, etag: 'e', sha256: 'a'.repeat(64) },
      { bucket: 'other', key: 'audio/é/3+#?.mp3', size: 8 },
    ])
    const { total, ids, tracks } = await chosen({ kind: 'all' })
    expect(total).toBe(3)
    expect(ids).toEqual([1, 3, 5])
    expect(tracks[0]).toEqual({
      id: id(1),
      key: 'audio/é/1+#?.mp3',
      size: 7,
      etag: 'e',
      sha256: 'a'.repeat(64),
    })
    expect(tracks[1]).toEqual({ id: id(3), key: 'audio/é/3+#?.mp3', size: 1_003, etag: null, sha256: null })
    expect(tracks[2]!.key).toBeNull()
  })

  test('more than a page, once each; a limit cuts it', async () => {
    await knex.raw(
      `insert into tracks (id, spotify_id, title, artist, file_source, s3_object_key)
       select gen_random_uuid(), 's' || n, 't', 'a', 'S3', 'k' || n from generate_series(1, 2500) n`,
    )
    const { total, tracks } = await chosen({ kind: 'all' })
    expect(total).toBe(2_500)
    expect(new Set(tracks.map(({ id }) => id)).size).toBe(2_500)
    expect((await chosen({ kind: 'all' }, 1_200)).tracks.length).toBe(1_200)
    expect((await chosen({ kind: 'rolling', periodMs: 1 }, 2_100)).tracks.length).toBe(2_100)
    const sampled = await chosen({ kind: 'sample', count: 1_700 })
    expect(new Set(sampled.tracks.map(({ id }) => id)).size).toBe(1_700)
    const again = await chosen({ kind: 'sample', count: 1_700 })
    expect(again.tracks.map(({ id }) => id).sort()).not.toEqual(sampled.tracks.map(({ id }) => id).sort())
  })

  test('since: uploaded, or changed, since then', async () => {
    for (const n of [1, 2, 3]) await add(n)
    await knex('tracks')
      .where({ id: id(2) })
      .update({ updated_at: daysAgo(1) })
    await upsertObjects(knex, [{ bucket, key: 'audio/é/3+#?.mp3', size: 1, uploadedAt: daysAgo(2) }])
    expect((await chosen({ kind: 'since', since: daysAgo(3) })).ids).toEqual([2, 3])
    expect((await chosen({ kind: 'since', since: daysAgo(0.5) })).ids).toEqual([])
  })

  describe('rolling', () => {
    const served = (n: number, days: number) =>
      upsertObjects(knex, [{ bucket, key: `audio/é/${n}+#?.mp3`, size: 1, servedAt: daysAgo(days) }])

    test('takes a day’s share, those longest unproved first', async () => {
      for (let n = 1; n <= 60; n++) {
        await add(n)
        if (n !== 41) await served(n, n === 7 ? 20 : n % 10)
      }
      expect((await chosen({ kind: 'rolling', periodMs: 30 * day })).ids).toEqual([41, 7])
    })

    test('takes all that would be older than the period by the next run', async () => {
      for (let n = 1; n <= 30; n++) {
        await add(n)
        await served(n, n <= 5 ? 29.5 : 3)
      }
      const { ids, total } = await chosen({ kind: 'rolling', periodMs: 30 * day })
      expect(total).toBe(5)
      expect(ids.sort()).toEqual([1, 2, 3, 4, 5])
    })

    test('what this run proves meanwhile does not come up again', async () => {
      for (let n = 1; n <= 5; n++) await add(n)
      const { tracks } = await selectTracks(knex, bucket, { kind: 'rolling', periodMs: day }, { now })
      const seen: string[] = []
      for await (const track of tracks) {
        seen.push(track.id)
        await recordResults(
          knex,
          bucket,
          runId,
          [{ track, served: true, findings: [] }],
          new Date(now.getTime() + 1_000),
        )
      }
      expect(seen.length).toBe(5)
    })

    test('with one run a day none is unproved for longer than the period', () => {
      const servedOn = Array.from({ length: 1_000 }, () => 0)
      let missed = 0
      for (let today = 1; today <= 120; today++) {
        if (today % 40 === 39) continue // the machine was off
        const overdue = servedOn.filter(on => today - on > 29).length
        const share = rollingShare(1_000, overdue, 30 * day)
        if (today < 20) expect(share).toBe(34)
        const order = servedOn.map((on, index) => ({ on, index })).sort((a, b) => a.on - b.on)
        for (const { index } of order.slice(0, share)) servedOn[index] = today
        missed = Math.max(missed, ...servedOn.map(on => today - on))
      }
      expect(missed).toBeLessThanOrEqual(30)
    })
  })

  test('results: proof in the ledger, failures for --retry-failed until they pass', async () => {
    for (const n of [1, 2, 3]) await add(n)
    await add(4, { s3_object_key: null })
    const { tracks } = await chosen({ kind: 'all' })
    const failure = finding('object-missing', ['not in S3'])
    const results = tracks.map((track, index) =>
      index === 0
        ? { track, served: true, findings: [], edge: 'FRA56-P2', cacheHit: true, latencyMs: 12.5 }
        : { track, served: false, findings: [failure] },
    )
    await recordResults(knex, bucket, runId, results, now)
    const objects = await objectsByKey(
      knex,
      bucket,
      tracks.flatMap(({ key }) => key ?? []),
    )
    expect(objects.get(tracks[0]!.key!)).toMatchObject({
      size: 1_001,
      servedAt: now,
      edge: 'FRA56-P2',
      cacheHit: true,
      latencyMs: 12.5,
      lastError: null,
      runId,
    })
    expect(objects.get(tracks[1]!.key!)).toMatchObject({
      servedAt: null,
      lastError: 'object-missing: the object is not in the bucket',
    })
    expect((await chosen({ kind: 'failed' })).ids).toEqual([2, 3, 4])

    await recordResults(knex, bucket, runId, [{ track: tracks[1]!, served: true, findings: [] }], now)
    expect((await chosen({ kind: 'failed' })).ids).toEqual([3, 4])
    const [fixed] = (await objectsByKey(knex, bucket, [tracks[1]!.key!])).values()
    expect(fixed).toMatchObject({ servedAt: now, lastError: null })
  })
}
