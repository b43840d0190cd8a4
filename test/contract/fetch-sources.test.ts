/** Where `fetch` finds the audio of a track: every state of the objects that may be its own, and of a key that is taken. */
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sweepStaging } from '../../src/fetch/fetcher.ts'
import type { FetchFlags } from '../../src/fetch/flags.ts'
import { runFetch } from '../../src/fetch/run.ts'
import { uploadStream } from '../../src/fetch/staged-upload.ts'
import { type ObjectHead, StoreError } from '../../src/storage/store.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { hooked, type StoreHooks } from '../support/hooked-store.ts'
import { listening, urlOf } from '../support/listening.ts'
import { crc32Text, sha256 } from '../support/sums.ts'
import { fetchDefaults } from './worker.ts'

let bed: TestBed
let server: Server
/** What each path of the server gives. */
const served = new Map<string, Buffer>()
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
  server = createServer((request, response) => {
    const body = served.get(request.url ?? '')
    if (body === undefined) response.writeHead(404)
    response.end(body)
  })
  await listening(server)
})
afterAll(async () => {
  server.close()
  await bed.close()
})
beforeEach(async () => {
  await bed.reset()
  served.clear()
})
const url = () => urlOf(server)

/** Keys with this in their name lie in an archive. */
const archives = {
  head: {
    after: (head: ObjectHead | undefined) =>
      head?.key.includes('Cold')
        ? { ...head, storageClass: 'GLACIER', archive: 'archived' as const }
        : undefined,
  },
}
async function fetch(flags: Partial<FetchFlags>, env: Record<string, string> = {}) {
  const run = await bed.run('fetch', context => runFetch(context, { ...fetchDefaults, ...flags }), {
    env,
    hooks: archives,
  })
  const rows = await bed.tracks()
  return { run, rows, said: new Map(run.items.map(item => [item['track_id'] as string, item])) }
}
const put = (key: string, bytes: Uint8Array, metadata: Record<string, string> = {}) =>
  bed.store.put(key, bytes, { headers: { contentType: 'audio/flac', metadata }, checksums: {} })

describe('an object in S3', () => {
  /** Objects below `audio/A/`, by their names, and whose they say they are: this track's, another's, a gone one's, nobody's. */
  type Owner = 'own' | 'other' | 'gone' | 'nobody'
  interface Case {
    name: string
    /** of the row */
    key?: string
    objects: [name: string, owner: Owner, size?: number][]
    /** the object that is taken; null: none; `archived`: one that cannot be played now */
    taken: string | null | 'archived'
  }
  const cases: Case[] = [
    { name: 'none', objects: [], taken: null },
    {
      name: 'under the key of the row, whosever it is',
      key: 'old/x.flac',
      objects: [['old/x.flac', 'other']],
      taken: 'old/x.flac',
    },
    {
      name: 'under the key of the row, empty',
      key: 'old/y.flac',
      objects: [['old/y.flac', 'own', 0]],
      taken: null,
    },
    {
      name: 'under the key of the row, gone, and one of its own',
      key: 'old/z.flac',
      objects: [['A/T_0a1b2c3d.flac', 'own']],
      taken: 'A/T_0a1b2c3d.flac',
    },
    { name: 'its own', objects: [['A/T_0a1b2c3d.flac', 'own']], taken: 'A/T_0a1b2c3d.flac' },
    {
      name: 'its own among others',
      objects: [
        ['A/T_0a1b2c3d.flac', 'other'],
        ['A/T_1a1b2c3d.flac', 'own'],
        ['A/T_2a1b2c3d.flac', 'nobody'],
      ],
      taken: 'A/T_1a1b2c3d.flac',
    },
    {
      name: 'the sole one, that says no name',
      objects: [['A/T_0a1b2c3d.flac', 'nobody']],
      taken: 'A/T_0a1b2c3d.flac',
    },
    {
      name: 'the sole one, of a track that is gone',
      objects: [['A/T_0a1b2c3d.flac', 'gone']],
      taken: 'A/T_0a1b2c3d.flac',
    },
    { name: 'the sole one, of another track', objects: [['A/T_0a1b2c3d.flac', 'other']], taken: null },
    {
      name: 'two that say no name',
      objects: [
        ['A/T_0a1b2c3d.flac', 'nobody'],
        ['A/T_1a1b2c3d.flac', 'nobody'],
      ],
      taken: null,
    },
    { name: 'its own, empty', objects: [['A/T_0a1b2c3d.flac', 'own', 0]], taken: null },
    { name: 'one of a longer title', objects: [['A/T_two_0a1b2c3d.flac', 'own']], taken: null },
    { name: 'one whose name has too long a hash', objects: [['A/T_0a1b2c3d4.flac', 'own']], taken: null },
    { name: 'one whose name has too short a hash', objects: [['A/T_0a1b2c3.flac', 'own']], taken: null },
    { name: 'one whose name goes on', objects: [['A/T_0a1b2c3d.flac.tmp', 'own']], taken: null },
    { name: 'its own, in an archive', objects: [['Cold/T_0a1b2c3d.flac', 'own']], taken: 'archived' },
    {
      name: 'its own twice, one of them in an archive',
      objects: [
        ['Cold/T_0a1b2c3d.flac', 'own'],
        ['Cold/T_1a1b2c3d.flac', 'own'],
      ],
      taken: 'archived',
    },
    {
      name: 'under the key of the row, in an archive',
      key: 'old/Cold.flac',
      objects: [['old/Cold.flac', 'own']],
      taken: 'archived',
    },
    {
      name: 'under the key of the row, in an archive, and one of its own',
      key: 'old/Cold 2.flac',
      objects: [
        ['old/Cold 2.flac', 'own'],
        ['A/T_0a1b2c3d.flac', 'own'],
      ],
      taken: 'A/T_0a1b2c3d.flac',
    },
    { name: 'the sole one, in an archive', objects: [['Cold/T_0a1b2c3d.flac', 'gone']], taken: 'archived' },
    {
      name: 'the sole one, of another track, in an archive',
      objects: [['Cold/T_0a1b2c3d.flac', 'other']],
      taken: null,
    },
  ]

  test('is the one that the row names, else its own, else a sole one that is nobody’s', async () => {
    const other = await bed.addTrack({ path: null, source: 'S3', key: 'elsewhere' })
    const tracks: [Case, string, string][] = []
    for (const [number, one] of cases.entries()) {
      const artist = (name: string) => name.replace(/^(A|Cold)\//, `audio/$1${number}/`)
      const id = await bed.addTrack({
        path: null,
        source: null,
        title: 'T',
        artist: `${one.objects[0]?.[0].startsWith('Cold/') ? 'Cold' : 'A'}${number}`,
        ...(one.key !== undefined && { key: one.key }),
      })
      for (const [name, owner, size = 1_000 + number] of one.objects) {
        const owners = { own: id, other, gone: randomUUID(), nobody: undefined }
        await put(artist(name), fakeAudio(Math.max(4, size), number).subarray(0, size), {
          ...(owners[owner] !== undefined && { 'track-id': owners[owner] }),
        })
      }
      tracks.push([one, id, artist(one.taken ?? '')])
    }
    const { rows, said } = await fetch({ from: ['s3'] })
    for (const [{ name, key = null, taken }, id, where] of tracks) {
      const row = rows.get(id)
      const seen = [
        name,
        row?.file_source,
        row?.s3_object_key,
        said.get(id)?.['code'] ?? said.get(id)?.['state'],
      ]
      if (taken === 'archived') expect(seen).toEqual([name, null, key, 'object.archived'])
      else if (taken === null) expect(seen).toEqual([name, 'UNAVAILABLE', key, 'fetch.nowhere'])
      else expect(seen).toEqual([name, 'S3', where, 'fetched'])
    }
  })

  test('is written down with what it says of itself, as far as that can be true', async () => {
    const hash = sha256(fakeAudio(500, 1))
    const said = [hash, hash.toUpperCase(), `${hash}0`, `x${hash}`, hash.slice(1), 'x'.repeat(64), undefined]
    for (const [number, one] of said.entries()) {
      const key = `old/${number}.flac`
      await put(key, fakeAudio(500, 1), one === undefined ? {} : { sha256: one })
      await bed.addTrack({ path: null, source: 'UNAVAILABLE', key })
    }
    await fetch({ from: ['s3'] })
    const objects = await bed.database.knex('autodj_ledger.objects').orderBy('key')
    expect(objects.map(one => [Number(one.size), one.content_type, one.sha256 ?? null])).toEqual(
      said.map(one => [500, 'audio/flac', one === hash ? hash : null]),
    )
    expect(objects.map(one => [one.uploaded_at, one.verified_at])).toEqual(said.map(() => [null, null]))
    expect(objects.map(one => one.crc32)).toEqual(said.map(() => null))
    const summed = fakeAudio(500, 2)
    await bed.store.put('old/summed.flac', summed, {
      headers: { contentType: 'audio/flac' },
      checksums: { crc32: crc32Text(summed) },
    })
    await bed.addTrack({ path: null, source: 'UNAVAILABLE', key: 'old/summed.flac' })
    await fetch({ from: ['s3'] })
    const [known] = await bed.database.knex('autodj_ledger.objects').where({ key: 'old/summed.flac' })
    expect(known.crc32).toBe(crc32Text(summed))
  })
})

test('a download whose key is taken: by the same bytes it is that object, by others or an archived one it is none', async () => {
  const bytes = fakeAudio(3_000, 4)
  const keyOf = (artist: string) => `audio/${artist}/T_${sha256(bytes).slice(0, 8)}.flac`
  const add = async (artist: string, there: Uint8Array | undefined, key?: string) => {
    const id = await bed.addTrack({ path: null, source: null, title: 'T', artist, ...(key && { key }) })
    served.set(`/${id}`, bytes)
    if (there !== undefined) await put(key ?? keyOf(artist), there, { 'track-id': randomUUID() })
    return id
  }
  const free = await add('Free', undefined)
  const same = await add('Same', bytes)
  const other = await add('Other', fakeAudio(3_000, 5))
  const cold = await add('Cold', bytes)
  const own = await add('Own', undefined, 'old/own key.flac')
  const { rows, said } = await fetch({ from: ['url'], url: `${url()}/{id}` })
  const seen = (id: string) => [
    rows.get(id)?.file_source,
    rows.get(id)?.s3_object_key,
    said.get(id)?.['code'] ?? said.get(id)?.['state'],
  ]
  expect(seen(free)).toEqual(['S3', keyOf('Free'), 'fetched'])
  expect(seen(same)).toEqual(['S3', keyOf('Same'), 'fetched'])
  expect(seen(other)).toEqual(['UNAVAILABLE', null, 'fetch.conflict'])
  expect(seen(cold)).toEqual([null, null, 'object.archived'])
  expect(seen(own)).toEqual(['S3', 'old/own key.flac', 'fetched'])
  expect((await bed.content(keyOf('Other')))?.equals(fakeAudio(3_000, 5))).toBe(true)
  const head = (await bed.store.head(keyOf('Free'))) as ObjectHead
  expect(Object.keys(head.metadata).sort()).toEqual(['library', 'sha256', 'track-id'])
  expect(head.metadata).toMatchObject({ sha256: sha256(bytes), 'track-id': free })
  // Nothing is left on the way.
  expect([...(await bed.objects()).keys()].filter(key => key.startsWith('audio/.incoming/'))).toEqual([])
})

test('a download is audio by its first bytes, however few come at a time; a refused copy is told as that', async () => {
  const bytes = fakeAudio(3_000, 6)
  async function* body() {
    for (let at = 0; at < bytes.length; at += 2) yield bytes.subarray(at, at + 2)
  }
  const upload = (hooks: StoreHooks = {}) =>
    uploadStream({
      store: hooked(bed.store, hooks),
      stagingKey: 'audio/.incoming/x',
      body: body(),
      trackId: randomUUID(),
      keyOf: () => 'audio/x.flac',
      signal: new AbortController().signal,
    })
  expect(await upload()).toMatchObject({ size: 3_000, sha256: sha256(bytes), contentType: 'audio/flac' })
  const denied = () => {
    throw new StoreError('denied', 'no entry')
  }
  await expect(upload({ copy: { before: denied } })).rejects.toMatchObject({ kind: 'denied' })
  expect([...(await bed.objects()).keys()]).toEqual(['audio/x.flac'])
})

test('what dead runs have left on the way is swept, and nothing of the living, or of others', async () => {
  const [dead, live] = [randomUUID(), randomUUID()]
  const kept = [live, `${dead}0`, `0${dead}`, dead.replace(/-[0-9a-f]{4}-/, '-'), 'notes'].map(
    one => `audio/.incoming/${one}/x`,
  )
  const gone = [`audio/.incoming/${dead}/x`, `audio/.incoming/${dead}/y`]
  const asked: (readonly string[])[] = []
  for (const key of [...kept, ...gone]) {
    await put(key, fakeAudio(4, 1))
    await bed.store.createUpload(key, { headers: { contentType: 'audio/flac' } })
  }
  const sweep = () =>
    sweepStaging(bed.store, 'audio/', async ids => {
      asked.push([...ids].sort())
      return new Set([live])
    })
  expect(await sweep()).toBe(4)
  expect([...(await bed.objects()).keys()].sort()).toEqual(kept.toSorted())
  expect((await bed.openUploads()).sort()).toEqual(kept.toSorted())
  expect(asked).toEqual([[dead, live].sort(), [dead, live].sort()])
  expect(await sweep()).toBe(0)
})

test('what is not there from any source says why of each, and may be there another time if one of them may', async () => {
  const page = await bed.addTrack({ path: null, source: null, title: 'T', artist: 'Page' })
  served.set(`/${page}`, Buffer.from('<html>'.repeat(100)))
  const none = await bed.addTrack({ path: null, source: null, title: 'T', artist: 'None' })
  const script = path.join(bed.dir, 'loader.mjs')
  writeFileSync(script, 'process.exitCode = 0')
  const env = { FETCH_COMMAND: `${process.execPath} ${script} {output}` }
  const { rows, run } = await fetch({ from: ['url', 'command'], url: `${url()}/{id}` }, env)
  const reason = (id: string) => run.items.find(item => item['track_id'] === id)
  const host = new URL(url()).host
  expect(reason(page)).toMatchObject({
    code: 'fetch.command-nothing',
    passing: false,
    reason: 'the download is not audio; the downloader did not write a file',
  })
  expect(reason(none)).toMatchObject({
    passing: false,
    reason: `${host} answered 404; the downloader did not write a file`,
  })
  for (const id of [page, none]) expect(rows.get(id)?.file_source).toBe('UNAVAILABLE')
  await bed.database.knex('tracks').update({ file_source: null })
  await bed.database.knex('autodj_ledger.items').delete()
  const away = await fetch({ from: ['url', 'command'], url: 'http://127.0.0.1:1/{id}' }, env)
  for (const id of [page, none]) {
    expect(away.rows.get(id)?.file_source).toBeNull()
    expect(away.said.get(id)).toMatchObject({ code: 'fetch.command-nothing', passing: true })
  }
})

test('a downloader’s largest file is what it is about; one that is too large, or no audio, is refused', async () => {
  const id = await bed.addTrack({ path: null, source: 'UNAVAILABLE', title: 'T', artist: 'A' })
  const script = path.join(bed.dir, 'loader.mjs')
  const write = (...files: [string, number][]) =>
    writeFileSync(
      script,
      `import fs from 'node:fs'
       import path from 'node:path'
       const folder = path.dirname(process.argv[2])
       fs.mkdirSync(path.join(folder, 'deeper'))
       for (const [name, size] of ${JSON.stringify(files)})
         fs.writeFileSync(path.join(folder, name), name.endsWith('.txt') ? 'x'.repeat(size) : 'fLaC' + 'x'.repeat(size - 4))`,
    )
  const env = { FETCH_COMMAND: `${process.execPath} ${script} {output}` }
  const once = async (maxSize: number) => {
    await bed.database.knex('tracks').update({ file_source: 'UNAVAILABLE', s3_object_key: null })
    await bed.database.knex('autodj_ledger.items').delete()
    const { run, rows } = await fetch({ from: ['command'], maxSize }, env)
    return [run.items[0]?.['code'] ?? 'fetched', rows.get(id)?.file_size]
  }
  write(['a.flac', 1_000], ['deeper/b.flac', 2_000], ['c.flac', 1_500])
  expect(await once(2_000)).toEqual(['fetched', 2_000])
  expect((await once(1_999))[0]).toBe('fetch.too-large')
  write(['a.flac', 1_000], ['b.txt', 2_000])
  expect((await once(2_000))[0]).toBe('fetch.not-audio')
})
