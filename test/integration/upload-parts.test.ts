/** Files of very many parts: 10,000 is S3's limit, and a part size that would need more grows. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ExitCode } from '../../src/errors.ts'
import { upload } from '../contract/upload.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'

const KiB = 1024
let bed: TestBed

beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase(), { minPartSize: 1, logLimit: 50_000 }))
})
afterAll(() => bed.close())

test('10,000 parts go through as they are; one more, and the part size grows', async () => {
  const full = await bed.addTrack({ path: 'full.flac', content: fakeAudio(10_000 * 4 * KiB, 1) })
  const over = await bed.addTrack({ path: 'over.flac', content: fakeAudio(10_000 * 4 * KiB + 1, 2) })
  const run = await upload(bed, { multipartThreshold: 1024 * KiB, partSize: 4 * KiB, concurrency: 16 })
  expect(run.exitCode).toBe(ExitCode.ok)
  const tracks = await bed.tracks()
  for (const [id, parts] of [
    [full, 10_000],
    // 1 MiB is the smallest step by which a part grows.
    [over, 40],
  ] as const) {
    const key = tracks.get(id)?.s3_object_key as string
    expect((await bed.store.head(key))?.etag).toMatch(new RegExp(`-${parts}$`))
    const content = fakeAudio(10_000 * 4 * KiB + (id === over ? 1 : 0), id === over ? 2 : 1)
    expect((await bed.content(key))?.equals(content)).toBe(true)
  }
  expect(await bed.openUploads()).toEqual([])
})
