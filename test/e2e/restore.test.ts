/** `restore` of many tracks at a time. */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ExitCode } from '../../src/errors.ts'
import { StoreError } from '../../src/storage/store.ts'
import { restore } from '../contract/safety.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { crc32Text } from '../support/sums.ts'

let bed: TestBed

beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(() => bed.close())

/** More than a page of `restore` has. */
const rows = 260

const put = (key: string, content: Buffer) =>
  bed.store.put(key, content, {
    headers: { contentType: 'audio/flac' },
    checksums: { crc32: crc32Text(content) },
  })

const id = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`

// While the first one's download is held, the page of the second is begun.
test('rows of one object on different pages share its download', async () => {
  await bed.reset()
  const shared = fakeAudio(70_000, 1)
  await put('audio/shared.flac', shared)
  await put('audio/other.flac', fakeAudio(500, 2))
  // The first and the last of them, in any order that pages are likely to have.
  const isShared = (number: number) => number === 0 || number === rows - 1
  await bed.database.knex('tracks').insert(
    Array.from({ length: rows }, (_, number) => ({
      id: id(number),
      spotify_id: `test:${number}`,
      title: `Title ${number}`,
      artist: 'Artist',
      file_path: isShared(number) ? 'shared.flac' : `${number}.flac`,
      file_source: 'S3',
      s3_object_key: isShared(number) ? 'audio/shared.flac' : 'audio/other.flac',
    })),
  )
  let begun = 0
  let others = 0
  const secondPage = Promise.withResolvers<void>()
  const run = await restore(
    bed,
    {},
    {
      hooks: {
        getInto: {
          async before(key) {
            if (key === 'audio/shared.flac') {
              begun++
              // A second download of it would be begun by now.
              await secondPage.promise
            } else if (++others === rows - 2) secondPage.resolve()
          },
        },
      },
    },
  )
  expect([run.exitCode, run.error]).toEqual([ExitCode.ok, undefined])
  expect(begun).toBe(1)
  expect(run.summary).toMatchObject({ restored: rows, failed: 0 })
  expect(await readFile(path.join(bed.audioRoot, 'shared.flac'))).toEqual(shared)
  const tracks = await bed.tracks()
  for (const number of [0, rows - 1])
    expect(tracks.get(id(number))).toMatchObject({
      file_source: 'LOCAL',
      file_path: expect.stringMatching(/shared\.flac$/),
      s3_object_key: null,
    })
})

/** A library of so many tracks in the bucket. */
async function tracksInS3(count: number): Promise<void> {
  await bed.reset()
  await put('audio/one.flac', fakeAudio(500, 2))
  await bed.database.knex('tracks').insert(
    Array.from({ length: count }, (_, number) => ({
      id: id(number),
      spotify_id: `test:${number}`,
      title: `Title ${number}`,
      artist: 'Artist',
      file_path: `${number}.flac`,
      file_source: 'S3',
      s3_object_key: 'audio/one.flac',
    })),
  )
}

test('--concurrency is how many are downloaded at a time', async () => {
  await tracksInS3(40)
  const counts = { now: 0, most: 0 }
  const run = await restore(
    bed,
    { concurrency: 3 },
    {
      hooks: {
        getInto: {
          async before() {
            counts.now += 1
            counts.most = Math.max(counts.most, counts.now)
          },
          async after() {
            counts.now -= 1
          },
        },
      },
    },
  )
  expect([run.exitCode, run.error]).toEqual([ExitCode.ok, undefined])
  expect(counts).toEqual({ now: 0, most: 3 })
})

test('a store that asks to slow down is asked for half as many at a time', async () => {
  await tracksInS3(60)
  const together = Promise.withResolvers<void>()
  const counts = { begun: 0, ended: 0, most: 0 }
  let hasAsked = false
  const run = await restore(
    bed,
    {},
    {
      hooks: {
        getInto: {
          async before() {
            if (counts.begun === 15 && !hasAsked) {
              hasAsked = true
              together.resolve()
              throw new StoreError('throttled', 'slower')
            }
            counts.begun += 1
            // The fifteen that were under way when it asked are not counted.
            if (counts.ended >= 15) counts.most = Math.max(counts.most, counts.begun - counts.ended)
            await together.promise
          },
          async after() {
            counts.ended += 1
          },
        },
      },
    },
  )
  expect([run.exitCode, run.error]).toEqual([ExitCode.ok, undefined])
  expect(run.summary).toMatchObject({ restored: 60, failed: 0 })
  expect(counts).toMatchObject({ begun: 60, ended: 60 })
  // One place may be that of the one that was told so, and waits.
  expect([7, 8]).toContain(counts.most)
})
