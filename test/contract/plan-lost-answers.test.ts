/**
 * Every request of `apply` and of `undo` in turn loses its connection, once before the store has done it and once after:
 * whatever comes next, apply again or undo, ends in one of the two states, compared object by object and row by row.
 */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { quarantineKey } from '../../src/plan/plan-file.ts'
import { type BedRun, fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import type { TestServer } from '../support/s3-server.ts'
import { apply, savePlan, undo } from './safety.ts'

const content = fakeAudio(3_000, 5)
const sha256 = createHash('sha256').update(content).digest('hex')
const planId = '00000000-0000-4000-8000-000000000001'
/** Requests that change something; with TEST_LOST_ANSWERS=all the others, too, which are sent again by themselves. */
const match =
  process.env['TEST_LOST_ANSWERS'] === 'all'
    ? {}
    : { operation: ['PutObject', 'CopyObject', 'DeleteObject', 'DeleteObjects'] }
const faults = { before: { reset: true }, after: { loseResponse: true } } as const

describe.each([
  ['by a quarantine prefix', false],
  ['by delete markers', true],
])('%s', (_, versioned) => {
  let bed: TestBed
  let server: TestServer
  beforeAll(async () => {
    const buckets = [versioned ? { name: 'music', versioning: 'Enabled' as const } : 'music']
    ;({ bed, server } = await embeddedBed(await pgliteTestDatabase(), { buckets }))
  })
  afterAll(() => bed.close())

  const put = (key: string) =>
    bed.store.put(key, content, {
      headers: { contentType: 'text/plain', metadata: { sha256 } },
      checksums: {},
    })
  async function see(): Promise<unknown> {
    const objects: Record<string, unknown> = {}
    for (const [key] of await bed.objects()) {
      const head = await bed.store.head(key)
      const body = await bed.content(key)
      objects[key] = [head?.contentType, head?.metadata, body?.equals(content)]
    }
    const rows = [...(await bed.tracks()).values()].map(({ file_source, file_path, s3_object_key }) => ({
      file_source,
      file_path,
      s3_object_key,
    }))
    return { objects, rows }
  }

  /** One of each action, on a bed made anew. @returns the plan, and what is there before it */
  async function begin(): Promise<{ file: string; before: unknown }> {
    await bed.reset()
    const at = async (key: string) => ({ key, size: content.length, etag: (await put(key)).etag })
    const [gone, typed, back] = [
      await at('audio/gone.flac'),
      await at('audio/typed.flac'),
      await at('audio/back.flac'),
    ]
    const from = quarantineKey(planId, back.key)
    if (!versioned) await put(from)
    await bed.store.delete([{ key: back.key }])
    const trackId = await bed.addTrack({ path: 'a.mp3', content, source: 'UNAVAILABLE' })
    const row = { key: null, size: null, path: 'a.mp3' }
    const file = savePlan(
      bed,
      'p.plan',
      [
        { action: 'bring-back-object', object: back, ...(versioned ? {} : { from }) },
        {
          action: 'update-row',
          trackId,
          was: { ...row, source: 'UNAVAILABLE' },
          becomes: { ...row, source: 'LOCAL' },
          needsFile: { path: 'a.mp3', sha256 },
          needsObject: typed,
        },
        {
          action: 'set-headers',
          object: typed,
          was: { contentType: 'text/plain' },
          becomes: { contentType: 'audio/flac' },
        },
        {
          action: 'remove-object',
          object: gone,
          ...(versioned ? {} : { to: quarantineKey(planId, gone.key) }),
        },
      ],
      { versioned },
    )
    return { file, before: await see() }
  }

  /** Loses the connection of one request. @returns undefined where the run sent fewer */
  async function losing(
    call: number,
    when: keyof typeof faults,
    run: () => Promise<BedRun>,
  ): Promise<BedRun | undefined> {
    const rule = server.faults.add({ match, after: call, times: 1, fault: faults[when] })
    const ended = await run()
    rule.remove()
    return rule.struck === 0 ? undefined : ended
  }

  test('apply', async () => {
    const clean = await begin()
    expect((await apply(bed, clean.file)).exitCode).toBe(0)
    const after = await see()
    for (const when of ['before', 'after'] as const) {
      for (const next of ['apply', 'undo'] as const) {
        let lost = 0
        for (; ; lost++) {
          const { file, before } = await begin()
          const first = await losing(lost, when, () => apply(bed, file))
          if (first === undefined) break
          const told = JSON.stringify([lost, when, next, first.exitCode, first.items])
          if (next === 'apply') {
            const again = await apply(bed, file)
            expect([told, again.exitCode, await see()]).toEqual([told, 0, after])
          }
          const undone = await undo(bed, file)
          expect([told, undone.exitCode, await see()]).toEqual([told, 0, before])
        }
        expect(lost).toBeGreaterThanOrEqual(versioned ? 3 : 4)
      }
    }
  }, 900_000)

  test('undo', async () => {
    for (const when of ['before', 'after'] as const) {
      let lost = 0
      for (; ; lost++) {
        const { file, before } = await begin()
        expect((await apply(bed, file)).exitCode).toBe(0)
        const first = await losing(lost, when, () => undo(bed, file))
        if (first === undefined) break
        const told = JSON.stringify([lost, when, first.exitCode, first.items])
        const again = await undo(bed, file)
        expect([told, again.exitCode, await see()]).toEqual([told, 0, before])
      }
      expect(lost).toBeGreaterThanOrEqual(versioned ? 3 : 4)
    }
  }, 900_000)
})
