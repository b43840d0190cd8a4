/** Looks that are taken again just before an act: what came between the plan and its application. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { parseInventoryUrl } from '../../src/core/inventory-url.ts'
import { startRun } from '../../src/db/ledger.ts'
import { runFetch } from '../../src/fetch/run.ts'
import { observeFileEffects } from '../../src/file-effects.ts'
import { fakeAudio, type TestBed, type TrackRow } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { putInventory } from '../support/inventory.ts'
import { ledgerUpload } from '../support/ledger.ts'
import { portOf } from '../support/listening.ts'
import { crc32Text, sha256 } from '../support/sums.ts'
import { apply as applyPlan, cleanup, forge, reconcile, restore, undo } from './safety.ts'
import { upload } from './upload.ts'
import { fetchDefaults } from './worker.ts'

describe('between the plan and its application', () => {
  let bed: TestBed
  beforeAll(async () => {
    ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
  })
  afterAll(() => bed.close())
  const file = () => path.join(bed.dir, 'p.plan')
  beforeEach(() => bed.reset())

  const key = 'audio/A/T_0a1b2c3d.flac'
  const content = fakeAudio(3_000, 5)
  const apply = (options: Parameters<TestBed['run']>[2] = {}) =>
    applyPlan(bed, file(), { maxDelete: { percent: 100 } }, options)
  const put = (contentType = 'audio/flac', bytes: Uint8Array = content) =>
    bed.store.put(key, bytes, {
      headers: {
        contentType,
        cacheControl: 'public, max-age=31536000, immutable',
        metadata: { sha256: sha256(bytes), 'track-id': randomUUID() },
      },
      checksums: {},
    })

  /** An orphan of ours, and the plan that removes it. */
  async function planRemoval(): Promise<void> {
    await put()
    const { exitCode } = await reconcile(bed, { plan: file(), maxDelete: { percent: 100 }, force: true })
    expect(exitCode).toBe(4)
  }

  test('an upload to the key has begun: the object is left to it', async () => {
    await planRemoval()
    const runId = randomUUID()
    const { knex } = bed.database
    const run = { command: 'upload-local', args: {}, host: 'another machine', pid: 1, version: '0' }
    await startRun(knex, { id: runId, ...run })
    const uploadId = await bed.store.createUpload(key, { headers: { contentType: 'audio/flac' } })
    await ledgerUpload(bed, { key, uploadId, runId })
    const { messages } = await apply()
    expect(JSON.stringify(messages)).toContain('an upload to this key is under way')
    expect([...(await bed.objects()).keys()]).toEqual([key])
  })

  test('a row has come to mean the object, however it spells the key: it stays', async () => {
    const { bucket } = bed.store
    const spellings = [
      key,
      `/${key}`,
      `s3://${bucket}/${key}`,
      `https://${bucket}.s3.amazonaws.com/audio/A/T_0a1b2c3d.flac?X-Amz-Expires=1`,
      'https://d111.cloudfront.net/audio/A/T%5F0a1b2c3d.flac',
      'A/T_0a1b2c3d.flac',
    ]
    await planRemoval()
    for (const spelling of spellings) {
      const id = await bed.addTrack({ path: null, source: 'S3', key: spelling })
      const { messages } = await apply()
      expect([spelling, JSON.stringify(messages)]).toEqual([
        spelling,
        expect.stringContaining('a row names the object'),
      ])
      await bed.database.knex('tracks').where({ id }).delete()
      // Committed by a transaction that ends just after the look.
      await rm(`${file()}.journal`)
      const late: string[] = []
      await apply({
        hooks: {
          delete: {
            before: async () => {
              late.push(await bed.addTrack({ path: null, source: 'S3', key: spelling }))
            },
          },
        },
      })
      expect([spelling, (await bed.content(key))?.equals(content)]).toEqual([spelling, true])
      await bed.database.knex('tracks').whereIn('id', late).delete()
      await rm(`${file()}.journal`)
    }
    // Another bucket's, and another object's.
    for (const other of [`s3://another/${key}`, `https://d111.cloudfront.net/other/${key}`])
      await bed.addTrack({ path: null, source: 'S3', key: other })
    await apply()
    expect((await bed.objects()).has(key)).toBe(false)
  })

  test('the copy in quarantine is not the same bytes: the object stays', async () => {
    await planRemoval()
    const other = fakeAudio(3_000, 6)
    const { exitCode } = await apply({
      hooks: {
        copy: {
          after: async (_answer, _from, to) => {
            await bed.store.put(to, other, { headers: { contentType: 'audio/flac' }, checksums: {} })
          },
        },
      },
    })
    expect(exitCode).not.toBe(0)
    expect((await bed.content(key))?.equals(content)).toBe(true)
  })

  test('the object was replaced after the last look: the new one stays', async () => {
    await planRemoval()
    const other = fakeAudio(3_000, 7)
    await apply({ hooks: { delete: { before: async () => void (await put('audio/flac', other)) } } })
    expect((await bed.content(key))?.equals(other)).toBe(true)
  })

  test('headers were corrected by hand: they are left as they are', async () => {
    const id = await bed.addTrack({ path: null, source: 'S3', key })
    await bed.database.knex('tracks').where({ id }).update({ file_size: content.length })
    await put('text/plain')
    await reconcile(bed, { plan: file(), head: 'all' })
    await put('audio/x-flac')
    const { messages } = await apply()
    expect((await bed.store.head(key))?.contentType).toBe('audio/x-flac')
    expect(messages.filter(one => one['state'] === 'skipped')).toHaveLength(1)
  })

  test('the object is replaced between the look and the change of its headers: the new one keeps its own', async () => {
    const id = await bed.addTrack({ path: null, source: 'S3', key })
    await bed.database.knex('tracks').where({ id }).update({ file_size: content.length })
    await put('text/plain')
    await reconcile(bed, { plan: file(), head: 'all' })
    const other = fakeAudio(3_000, 8)
    let replaced = false
    // The intent is on the disk: the look is over.
    const end = observeFileEffects(async ({ kind, path: where }) => {
      if (kind !== 'sync' || replaced || !where.endsWith('.journal')) return
      if (!readFileSync(where, 'utf8').includes('"begun"')) return
      replaced = true
      await put('text/plain', other)
    })
    try {
      await apply()
    } finally {
      end()
    }
    expect(replaced).toBe(true)
    expect((await bed.content(key))?.equals(other)).toBe(true)
    expect((await bed.store.head(key))?.contentType).toBe('text/plain')
  })

  test('a row is given no object that has gone, or is another by now', async () => {
    const spelling = `s3://${bed.store.bucket}/${key}`
    for (const spoil of [
      () => bed.store.delete([{ key }]),
      () => put('audio/flac', fakeAudio(3_000, 8)),
      () => put('audio/flac', fakeAudio(4_000, 8)),
    ]) {
      await bed.reset()
      await put()
      const id = await bed.addTrack({ path: null, source: 'S3', key: spelling })
      await reconcile(bed, { plan: file() })
      await spoil()
      const { messages } = await apply()
      expect(JSON.stringify(messages)).toMatch(/the object (is gone|has changed since)/)
      expect((await bed.tracks()).get(id)).toMatchObject({ s3_object_key: spelling, file_source: 'S3' })
    }
  })

  test('a row is given no file that has gone', async () => {
    const place = path.join(bed.audioRoot, 'a.flac')
    for (const [spoil, isGiven] of [
      [() => {}, true],
      [() => rmSync(place), false],
    ] as const) {
      await bed.reset()
      const id = await bed.addTrack({ path: 'a.flac', content, source: 'S3', key })
      await reconcile(bed, { plan: file(), force: true })
      spoil()
      await apply()
      expect((await bed.tracks()).get(id)).toMatchObject(
        isGiven ? { s3_object_key: null, file_source: 'LOCAL' } : { s3_object_key: key, file_source: 'S3' },
      )
    }
  })

  test("a key that no database can hold is somebody else's: it ends neither reconcile nor cleanup", async () => {
    await put()
    await bed.addTrack({ path: null, source: 'S3', key })
    // Named like a row's but for what comes behind a NUL, and like what plans have moved away.
    const strange = [`${key}\0a`, 'audio/\0.mp3']
    for (const one of [...strange, `quarantine/${randomUUID()}/audio/x\0y.mp3`])
      await bed.store.put(one, content, { headers: { contentType: 'audio/flac' }, checksums: {} })
    await bed.database.knex('tracks').update({ file_size: content.length })
    const run = await reconcile(bed, { plan: file(), maxDelete: { percent: 100 } })
    expect(run.summary['found']).toMatchObject({
      'foreign-object': 2,
      'orphan-object': 0,
      'missing-object': 0,
    })
    expect(run.summary).toMatchObject({ removals: 0 })
    // One that an inventory cannot know yet is met in the listing after it.
    const inventory = await putInventory(bed.store, 'CSV')
    await bed.store.put('audio/later\0.mp3', content, {
      headers: { contentType: 'audio/mpeg' },
      checksums: {},
    })
    await bed.store.delete([{ key }])
    const later = await reconcile(bed, { inventory: parseInventoryUrl(inventory), force: true })
    expect(later.summary['found']).toMatchObject({ 'foreign-object': 3, 'missing-object': 1 })
    const cleaned = await cleanup(bed, { quarantineFor: 0 })
    expect(cleaned.error).toBeUndefined()
    const left = await Array.fromAsync(bed.store.list({ prefix: '' }))
    expect(left.flat().map(one => one.key)).toEqual(expect.arrayContaining(strange))
  })

  test('what is restored is on the disk, its name too, before its row says so', async () => {
    await put()
    const id = await bed.addTrack({ path: 'a.flac', source: 'S3', key })
    const effects: string[] = []
    const end = observeFileEffects(async ({ kind, path: where, to }) => {
      if (!where.startsWith(bed.audioRoot)) return
      const { file_source: source } = (await bed.tracks()).get(id) as TrackRow
      effects.push([kind, path.basename(to ?? where).replace(/[0-9a-f]{16}/, 'ID'), source].join(' '))
    })
    try {
      expect((await restore(bed)).exitCode).toBe(0)
    } finally {
      end()
    }
    const draft = '.autodj-restore-ID'
    const first = effects.indexOf(`sync ${draft} S3`)
    expect(effects.slice(0, first)).toContain(`write ${draft} S3`)
    expect(effects.slice(first)).toEqual([
      `sync ${draft} S3`,
      'link a.flac S3',
      `unlink ${draft} S3`,
      'sync audio S3',
    ])
    expect((await bed.tracks()).get(id)).toMatchObject({ file_source: 'LOCAL' })
  })

  test('what another restore makes of the draft meanwhile is not given the name, and is left to it', async () => {
    await put()
    const id = await bed.addTrack({ path: 'a.flac', source: 'S3', key })
    const half = content.subarray(0, 1_500)
    let draft = ''
    const end = observeFileEffects(({ kind, path: where, to }) => {
      if (kind !== 'link' || to === undefined) return
      draft = where
      // As one from another database does, which clears away what it takes for a killed run's.
      rmSync(draft)
      writeFileSync(draft, half)
    })
    let run: Awaited<ReturnType<typeof restore>>
    try {
      run = await restore(bed)
    } finally {
      end()
    }
    expect(run.exitCode).toBe(3)
    expect(run.items).toMatchObject([{ track_id: id, state: 'failed', code: 'file.changed' }])
    expect(existsSync(path.join(bed.audioRoot, 'a.flac'))).toBe(false)
    expect(readFileSync(draft).equals(half)).toBe(true)
    expect((await bed.tracks()).get(id)).toMatchObject({ file_source: 'S3', s3_object_key: key })
    rmSync(draft)
    expect((await restore(bed)).exitCode).toBe(0)
    expect(readFileSync(path.join(bed.audioRoot, 'a.flac')).equals(content)).toBe(true)
  })

  test.each([
    ['another file', false],
    ['another file of the same size and CRC-32, of which nobody says more', true],
  ])('a download whose key came to be taken meanwhile by %s overwrites nothing', async (_, isForged) => {
    const other = fakeAudio(3_000, 6)
    if (isForged) forge(other, crc32(content))
    const checksums = isForged ? { crc32: crc32Text(other) } : {}
    const server = createServer((_, response) => response.end(content)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      const id = await bed.addTrack({ path: null, source: 'UNAVAILABLE', title: 'T', artist: 'A' })
      const port = portOf(server)
      let taken = ''
      const run = await bed.run(
        'fetch',
        context =>
          runFetch(context, { ...fetchDefaults, from: ['url'], url: `http://127.0.0.1:${port}/{id}` }),
        {
          hooks: {
            // After the look that the store itself takes, as close as one can come.
            copy: {
              before: async (_, to) => {
                taken = to
                await bed.store.put(to, other, { headers: { contentType: 'audio/flac' }, checksums })
              },
            },
          },
        },
      )
      expect(run.items).toMatchObject([{ track_id: id, code: 'fetch.conflict' }])
      expect((await bed.content(taken))?.equals(other)).toBe(true)
    } finally {
      server.close()
    }
  })

  test('a file is edited, its times set back, while its object is looked at for the last time: it stays', async () => {
    await bed.addTrack({ path: 'a.flac', content })
    const file = path.join(bed.audioRoot, 'a.flac')
    // To the nanosecond.
    const then = new Date(1_700_000_000_000)
    utimesSync(file, then, then)
    expect((await upload(bed)).exitCode).toBe(0)
    const edited = fakeAudio(3_000, 7)
    let heads = 0
    // So late that the file's times tell of every edit.
    vi.useFakeTimers({ now: Date.now() + 300_000, toFake: ['Date'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const { items } = await cleanup(
      bed,
      {},
      {
        hooks: {
          head: {
            after: () => {
              if (++heads !== 2) return
              writeFileSync(file, edited)
              utimesSync(file, then, then)
            },
          },
        },
      },
    )
    expect(items).toMatchObject([{ state: 'kept', code: 'file.changed' }])
    expect(readFileSync(file).equals(edited)).toBe(true)
  })

  test('a file is replaced once its row says S3, before anybody looks whether it may go: the new one stays', async () => {
    const id = await bed.addTrack({ path: 'a.flac', content })
    const file = path.join(bed.audioRoot, 'a.flac')
    const recordedAnew = fakeAudio(4_000, 8)
    const replace = ({ sql }: { sql: string }) => {
      if (!/^update tracks/.test(sql)) return
      bed.database.knex.off('query', replace)
      rmSync(file)
      writeFileSync(file, recordedAnew)
    }
    bed.database.knex.on('query', replace)
    const run = await upload(bed, { deleteLocal: true })
    expect((await bed.tracks()).get(id)).toMatchObject({ file_source: 'S3', file_path: 'a.flac' })
    expect(readFileSync(file).equals(recordedAnew)).toBe(true)
    expect(JSON.stringify(run.messages)).toContain('it is no longer the file that was verified')
  })

  test('a row comes to need a file after other rows were last asked: the file stays', async () => {
    const ids = [
      await bed.addTrack({ path: 'a.flac', content }),
      await bed.addTrack({ path: 'b.flac', content: fakeAudio(3_000, 9) }),
    ]
    const file = (name: string) => path.join(bed.audioRoot, name)
    expect((await upload(bed)).exitCode).toBe(0)
    utimesSync(file('a.flac'), new Date(0), new Date(0))
    let isAsked = false
    const second = (await bed.tracks()).get(ids[1] as string)?.s3_object_key
    const { items } = await cleanup(
      bed,
      {},
      {
        hooks: {
          head: {
            before: async looked => {
              if (looked !== second || isAsked) return
              isAsked = true
              await expect.poll(() => existsSync(file('a.flac')), { timeout: 60_000 }).toBe(false)
              await bed.addTrack({ path: 'b.flac', source: 'LOCAL' })
            },
          },
        },
      },
    )
    expect(items.find(item => item['subject'] === 'b.flac')).toMatchObject({
      state: 'kept',
      code: 'file.needed',
    })
    expect(existsSync(file('b.flac'))).toBe(true)
  })

  test('undo meets another object that came to the key after it had looked: the new one stays', async () => {
    await planRemoval()
    expect((await apply()).exitCode).toBe(0)
    const other = fakeAudio(3_000, 10)
    const run = await undo(bed, file(), { hooks: { copy: { before: () => put('audio/flac', other) } } })
    expect(run.exitCode).toBe(3)
    expect((await bed.content(key))?.equals(other)).toBe(true)
  })

  const quarantined = 'quarantine/0b4c8d1e-5f60-4a7b-8c9d-0e1f2a3b4c5d/audio/old.flac'
  /** The store's clock, and ours, far behind the removal. */
  const later = (hooks: NonNullable<Parameters<TestBed['run']>[2]>['hooks']) => ({
    hooks: { ...hooks, time: { after: (time: Date) => new Date(time.getTime() + 40 * 86_400_000) } },
    now: () => new Date(Date.now() + 40 * 86_400_000),
  })

  test('a row comes to name an object in quarantine after it was found to be wanted by none: it stays', async () => {
    await bed.store.put(quarantined, content, { headers: { contentType: 'audio/flac' }, checksums: {} })
    let heads = 0
    const { items } = await cleanup(
      bed,
      {},
      later({
        head: {
          after: async () => {
            if (++heads === 1) await bed.addTrack({ path: null, source: 'S3', key: quarantined })
          },
        },
      }),
    )
    expect(items).toMatchObject([{ subject: quarantined, reason: 'a row names it' }])
    expect([...(await bed.objects()).keys()]).toEqual([quarantined])
  })

  test('an object in quarantine is replaced after the last look: the new one stays', async () => {
    const other = fakeAudio(2_000, 11)
    const headers = { contentType: 'audio/flac' }
    await bed.store.put(quarantined, content, { headers, checksums: {} })
    await cleanup(
      bed,
      {},
      later({ delete: { before: () => bed.store.put(quarantined, other, { headers, checksums: {} }) } }),
    )
    expect((await bed.content(quarantined))?.equals(other)).toBe(true)
  })
})
