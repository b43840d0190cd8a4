/** How many jobs of each kind a worker takes at a time, by what it was told and by what is there: folder, bucket, application. */
import { rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { head, knownRevisions } from '../../../src/core/migrate/application-schema.ts'
import { ExitCode, UsageError } from '../../../src/errors.ts'
import { chooseSeats } from '../../../src/worker/seats.ts'
import { TestBed } from '../../support/bed.ts'
import { pgliteTestDatabase } from '../../support/database.ts'

let bed: TestBed
beforeAll(async () => {
  const credentials = { accessKeyId: 'none', secretAccessKey: 'none' }
  const access = { endpoint: 'http://127.0.0.1:9', region: 'us-east-1', bucket: 'music', credentials }
  bed = await TestBed.open(await pgliteTestDatabase(), access)
})
afterAll(() => bed.close())
beforeEach(async () => {
  await bed.database.knex('tracks').delete()
})

type Told = Partial<Parameters<typeof chooseSeats>[2]>
interface World {
  /** `unmounted`: empty, while a row has its only audio in it; `emptied`: while all that rows name there is in S3 */
  folder?: 'with audio' | 'unmounted' | 'emptied' | 'absent'
  bucket?: 'there' | 'wrong' | 'none'
  /** of the application when it was adopted: what is older cannot read rows that say S3 */
  revision?: string
}

async function choose(told: Told, { folder = 'with audio', bucket = 'there', revision = head }: World) {
  const audio = await bed.addTrack({ path: 'a.flac', content: 'fLaC' })
  if (folder !== 'with audio') rmSync(path.join(bed.audioRoot, 'a.flac'))
  if (folder === 'absent') rmSync(bed.audioRoot, { recursive: true })
  if (folder === 'emptied')
    await bed.database.knex('tracks').where({ id: audio }).update({ file_source: 'S3' })
  await bed.database.knex('autodj_ledger.adoption').update({ kind: 'adopt', revision, code_updated_at: null })
  const opened: unknown[] = []
  let seats: unknown
  const run = await bed.run('worker', async context => {
    const config = {
      ...context.config,
      s3: { ...context.config.s3, bucket: bucket === 'none' ? undefined : 'music' },
    }
    const checkBucket = async () => {
      if (bucket === 'wrong') throw new UsageError('no such bucket', { code: 'usage.flag' })
    }
    const store = async (options: unknown) => {
      opened.push(options)
      if (bucket === 'none') throw new UsageError('no bucket is configured', { code: 'usage.flag' })
      return { checkBucket } as never
    }
    const flags = { fetch: undefined, upload: undefined, analyze: undefined, force: false, ...told }
    seats = await chooseSeats({ ...context, config, store }, bed.database, flags)
    return ExitCode.ok
  })
  return { seats, opened, error: run.error, warnings: run.messages.map(one => String(one['message'])) }
}

const seats = (fetch: number, upload: number, analyze = 2 * availableParallelism()) => ({
  fetch,
  upload,
  analyze,
})
const old = knownRevisions[0]
const uploadsLeft = [/is not there: uploads are left to other machines$/]
const bothLeft = [/: fetching and uploads are left to other machines$/]

describe('goes on with', () => {
  test.each<[Told, World, ReturnType<typeof seats>, RegExp[]]>([
    [{}, {}, seats(4, 8), []],
    [{ fetch: 0, upload: 0, analyze: 3 }, {}, seats(0, 0, 3), []],
    [{ fetch: 1, upload: 0, analyze: 0 }, {}, seats(1, 0, 0), []],
    [{ fetch: 0, upload: 1, analyze: 0 }, {}, seats(0, 1, 0), []],
    // Without the folder files can be fetched: they go to the bucket.
    [{}, { folder: 'absent' }, seats(4, 0), uploadsLeft],
    [{ upload: 0 }, { folder: 'absent' }, seats(4, 0), []],
    [{ fetch: 2 }, { folder: 'absent' }, seats(2, 0), uploadsLeft],
    [{}, { folder: 'unmounted' }, seats(0, 0), bothLeft],
    [{ fetch: 0, upload: 0 }, { folder: 'unmounted' }, seats(0, 0), []],
    [{ fetch: 1, upload: 1, force: true }, { folder: 'unmounted' }, seats(1, 1), []],
    [{}, { folder: 'emptied' }, seats(4, 8), []],
    // Analysis reads files, too: it needs neither a bucket nor an application that can read rows in S3.
    [{ fetch: 0, upload: 0 }, { bucket: 'none', revision: old }, seats(0, 0), []],
  ])('%j in %j', async (told, world, expected, warned) => {
    const { error, warnings, ...end } = await choose(told, world)
    expect(error).toBeUndefined()
    expect(end.seats).toEqual(expected)
    expect(warnings).toEqual(warned.map(text => expect.stringMatching(text)))
  })
})

describe('refuses', () => {
  test.each<[Told, World, ExitCode, RegExp]>([
    [{ fetch: 0, upload: 0, analyze: 0 }, {}, ExitCode.usage, /there is nothing to do$/],
    [{ upload: 1 }, { folder: 'absent' }, ExitCode.usage, /is not there: this machine cannot upload$/],
    // Each job would find its file gone, and fetch would set the row UNAVAILABLE.
    [{ fetch: 1 }, { folder: 'unmounted' }, ExitCode.safetyLimit, /./],
    [{ upload: 1 }, { folder: 'unmounted' }, ExitCode.safetyLimit, /./],
    [{ analyze: 0 }, { folder: 'unmounted' }, ExitCode.safetyLimit, /./],
    [{ fetch: 1, upload: 0, analyze: 0 }, { bucket: 'none' }, ExitCode.usage, /^no bucket is configured$/],
    [{ fetch: 0, upload: 1, analyze: 0 }, { bucket: 'none' }, ExitCode.usage, /^no bucket is configured$/],
    [{ fetch: 0, upload: 0 }, { bucket: 'wrong' }, ExitCode.usage, /^no such bucket$/],
    [{ fetch: 1, upload: 0 }, { revision: old }, ExitCode.fatal, /was at revision/],
    [{ fetch: 0, upload: 1 }, { revision: old }, ExitCode.fatal, /was at revision/],
  ])('%j in %j', async (told, world, exitCode, cause) => {
    const { error, seats } = await choose(told, world)
    expect([error?.exitCode, seats]).toEqual([exitCode, undefined])
    expect(error?.message).toMatch(cause)
  })
})

/** Fewer, and requests would wait for each other: an upload has one at a time, a download and an analysis read ahead. */
test.each<[Told, number]>([
  [{ fetch: 0, upload: 0, analyze: 1 }, 12],
  [{ fetch: 2, upload: 16, analyze: 0 }, 32],
])('%j: a connection for each request that its seats have open, and eight more', async (told, maxSockets) => {
  expect((await choose(told, {})).opened).toEqual([{ maxSockets }])
})
