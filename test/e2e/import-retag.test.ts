import { randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { localTrackId } from '../../src/core/import/content-id.ts'
import type { Database } from '../../src/db/database.ts'
import { retagRows } from '../../src/import/retag.ts'
import type { Item } from '../../src/report/reporter.ts'
import { id3v2, latin1, mp3Frames, riffInfo, wave } from '../support/audio-bytes.ts'
import { migrated, pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { ItemReporter } from '../support/item-reporter.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let root: string
let database: TestDatabase
let db: Database
let items: Item[]
beforeAll(async () => {
  root = temporaryFolder('retag')
  database = await migrated(await pgliteTestDatabase())
  db = await database.open()
})
afterAll(async () => {
  await db.close()
  await database.drop()
})
beforeEach(() => db.knex.raw('truncate tracks cascade'))

function retag(dryRun = false) {
  const report = new ItemReporter()
  items = report.items
  return retagRows({
    knex: db.knex,
    folder: { root, storagePath: '.', applicationDir: root },
    dryRun,
    stopping: new AbortController().signal,
    signal: new AbortController().signal,
    report,
  })
}

async function row(file: string, bytes: Buffer | undefined, changes: Record<string, unknown>) {
  const id = randomUUID()
  if (bytes) {
    await mkdir(path.join(root, path.dirname(file)), { recursive: true })
    await writeFile(path.join(root, file), bytes)
  }
  await db.knex('tracks').insert({
    id,
    spotify_id: localTrackId(id.replaceAll('-', '').repeat(2)),
    file_path: file,
    file_source: 'LOCAL',
    ...changes,
  })
  return id
}
const rowOf = async (id: string) => (await db.knex('tracks').where({ id }).first()) as Record<string, unknown>

const bjork = wave(Buffer.alloc(1600), {
  behind: riffInfo({ INAM: Buffer.from('Jóga'), IART: Buffer.from('Björk') }),
})
const acdc = Buffer.concat([
  id3v2(3, [
    { id: 'TPE1', content: latin1('AC/DC') },
    { id: 'TIT2', content: latin1('T.N.T.') },
  ]),
  mp3Frames(8),
])

test('corrects what an earlier version read wrongly, and nothing else', async () => {
  const wrong = await row('a/1.wav', bjork, {
    artist: 'BjÃ¶rk',
    title: 'JÃ³ga',
    s3_object_key: 'audio/Bj_rk/J_ga_0123abcd.wav',
  })
  const cut = await row('a/2.mp3', acdc, { artist: 'AC', title: 'T.N.T.' })
  const byHand = await row('a/3.wav', bjork, { artist: 'Björk Guðmundsdóttir', title: 'JÃ³ga' })
  const spotify = await row('a/4.wav', bjork, {
    artist: 'BjÃ¶rk',
    title: 'JÃ³ga',
    spotify_id: '4iV5W9uYEdYUVa79Axb7Rh',
  })
  const absent = await row('a/5.wav', undefined, { artist: 'BjÃ¶rk', title: 'JÃ³ga' })
  const all = [wrong, cut, byHand, spotify, absent]
  const before = await Promise.all(all.map(rowOf))

  expect(await retag(true)).toEqual({
    looked: 3,
    retagged: 3,
    absent: 1,
    changed: 0,
    refused: 0,
    stopped: false,
  })
  expect(await Promise.all(all.map(rowOf))).toEqual(before)
  expect(items).toHaveLength(3)
  expect(items.find(item => item.subject === 'a/1.wav')).toMatchObject({
    state: 'retagged',
    fields: {
      from: { artist: 'BjÃ¶rk', title: 'JÃ³ga' },
      to: { artist: 'Björk', title: 'Jóga' },
      dry_run: true,
    },
  })

  expect(await retag()).toMatchObject({ retagged: 3 })
  expect(await rowOf(wrong)).toMatchObject({
    artist: 'Björk',
    title: 'Jóga',
    s3_object_key: 'audio/Bj_rk/J_ga_0123abcd.wav',
    file_path: 'a/1.wav',
  })
  expect(await rowOf(cut)).toMatchObject({ artist: 'AC/DC', title: 'T.N.T.' })
  expect(await rowOf(byHand)).toMatchObject({ artist: 'Björk Guðmundsdóttir', title: 'Jóga' })
  expect(await rowOf(spotify)).toEqual(before[3])
  expect(await rowOf(absent)).toEqual(before[4])

  expect(await retag()).toMatchObject({ looked: 3, retagged: 0 })
})

test('a row that the database refuses fails alone, in its words', async () => {
  const names = { title: 'JÃ³ga', artist: 'BjÃ¶rk' }
  const ids = await Promise.all(['a.wav', 'b.wav'].map(file => row(`refused/${file}`, bjork, names)))
  await db.knex.raw(`alter table tracks add constraint closed check (id <> '${ids[0]}' or title <> 'Jóga')`)
  try {
    const summary = await retag()
    expect(summary).toMatchObject({ retagged: 1, refused: 1, changed: 0 })
    expect(items.filter(item => item.state === 'failed')).toMatchObject([
      { fields: { track_id: ids[0] }, reason: expect.stringMatching(/check constraint "closed"$/) },
    ])
    expect([(await rowOf(ids[0]!))['title'], (await rowOf(ids[1]!))['title']]).toEqual(['JÃ³ga', 'Jóga'])
  } finally {
    await db.knex.raw('alter table tracks drop constraint closed')
  }
})
