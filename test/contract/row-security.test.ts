/** A database user that policies keep rows from: what it is not shown must not look as if nobody needed it. */
import { existsSync, rmSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ExitCode } from '../../src/errors.ts'
import { type BedRun, fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { apply, cleanup, reconcile, savePlan } from './safety.ts'
import { upload } from './upload.ts'

let bed: TestBed
let hidden: string
let plan: string
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
  const { knex } = bed.database
  hidden = await bed.addTrack({ path: 'hidden.flac', content: fakeAudio(3_000, 1) })
  await bed.addTrack({ path: 'shown.flac', content: fakeAudio(3_000, 2) })
  expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
  const key = (await bed.tracks()).get(hidden)?.s3_object_key as string
  const head = await bed.store.head(key)
  plan = savePlan(bed, 'hidden.plan', [
    { action: 'remove-object', object: { key, size: 3_000, etag: head!.etag }, to: `quarantine/x/${key}` },
  ])
  await knex.raw(`
    create role limited; grant usage on schema public, autodj_ledger to limited;
    grant all on all tables in schema public, autodj_ledger to limited;
    alter table tracks enable row level security;
    create policy shown on tracks using (id <> '${hidden}');
    set role limited`)
})
afterAll(async () => {
  await bed.database.knex.raw('reset role')
  await bed.close()
})

const commands: readonly [string, (force: boolean) => Promise<BedRun>][] = [
  ['reconcile', force => reconcile(bed, { force, plan: path.join(bed.dir, 'made.plan') })],
  ['apply', force => apply(bed, plan, { maxDelete: { percent: 100 }, force })],
  ['cleanup', force => cleanup(bed, { force })],
]

test.each(commands)('%s refuses until --force', async (_, run) => {
  const refused = await run(false)
  expect(refused.exitCode).toBe(ExitCode.safetyLimit)
  expect(refused.error).toMatchObject({
    code: 'safety.breaker',
    message: expect.stringContaining('row-level security applies to this database user'),
    cure: expect.stringContaining('bypassrls'),
  })
  expect(existsSync(path.join(bed.audioRoot, 'hidden.flac'))).toBe(true)
  expect((await bed.objects()).size).toBe(2)
})

test('what such a user is shown is uploaded; --delete-local is refused', async () => {
  expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
  const refused = await upload(bed, { deleteLocal: true })
  expect([refused.exitCode, refused.error?.code]).toEqual([ExitCode.safetyLimit, 'safety.breaker'])
})

test('a row that such a user may see and not change is refused; it is not called locked', async () => {
  const { knex } = bed.database
  await knex.raw('reset role')
  const kept = await bed.addTrack({ path: 'kept.flac', content: fakeAudio(3_000, 3) })
  const free = await bed.addTrack({ path: 'free.flac', content: fakeAudio(3_000, 4) })
  await knex.raw(
    `create policy kept on tracks as restrictive for update using (id <> '${kept}'); set role limited`,
  )
  const run = await upload(bed)
  expect(run.exitCode).toBe(ExitCode.someFailed)
  expect(run.items.filter(item => item['state'] === 'failed')).toMatchObject([
    { track_id: kept, code: 'row.refused', reason: expect.stringContaining('row-level security') },
  ])
  expect(run.summary).toMatchObject({ uploaded: 1, rows_locked: 0 })
  expect((await bed.tracks()).get(free)).toMatchObject({ file_source: 'S3' })
  // And by what does not claim its rows.
  await knex.raw(
    `reset role; update tracks set file_source = 'S3', s3_object_key = 'audio/x.flac' where id = '${kept}'; set role limited`,
  )
  rmSync(path.join(bed.audioRoot, 'kept.flac'))
  const cleaned = await cleanup(bed, { force: true })
  expect(cleaned.summary).toMatchObject({ rows_locked: 0 })
})
