/**
 * Rows that share an object and a file, on different pages of `restore`: while the first one's download is held, the page of
 * the second is begun. One download serves both.
 */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeCrc32 } from '../../src/core/crc32.ts'
import { ExitCode } from '../../src/errors.ts'
import { restore } from '../contract/safety.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'

let bed: TestBed

beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(() => bed.close())

/** More than a page of `restore` has. */
const rows = 260

test('rows of one object on different pages share its download', async () => {
  const shared = fakeAudio(70_000, 1)
  const put = (key: string, content: Buffer) =>
    bed.store.put(key, content, {
      headers: { contentType: 'audio/flac' },
      checksums: { crc32: encodeCrc32(crc32(content)) },
    })
  await put('audio/shared.flac', shared)
  await put('audio/other.flac', fakeAudio(500, 2))
  const id = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`
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
