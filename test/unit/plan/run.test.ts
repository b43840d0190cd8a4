/** What `apply` and `undo` say of plans of which nothing is left, and of objects that cannot be looked at. */
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runApply, runUndo } from '../../../src/plan/run.ts'
import type { Summary } from '../../../src/report/reporter.ts'
import { StoreError } from '../../../src/storage/store.ts'
import { apply, savePlan } from '../../contract/safety.ts'
import type { TestBed } from '../../support/bed.ts'
import { embeddedBed } from '../../support/beds.ts'
import { pgliteTestDatabase } from '../../support/database.ts'

let bed: TestBed

beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(() => bed.close())

const flags = { dryRun: false, concurrency: undefined, maxDuration: undefined, lockWait: 200 }

/** @returns the last lines of a run */
async function said(verb: 'apply' | 'undo', plan: string): Promise<(string | undefined)[]> {
  let end: Summary | undefined
  await bed.run(verb, context => {
    const { report } = context
    report.summary = summary => {
      end = summary
    }
    return verb === 'undo'
      ? runUndo(context, plan, flags)
      : runApply(context, plan, { ...flags, maxDelete: undefined, force: true })
  })
  return [...(end?.lines ?? []), ...(end?.next === undefined ? [] : [end.next])]
}

describe('a plan of which nothing is left', () => {
  test('one without repairs', async () => {
    const plan = savePlan(bed, 'empty.plan', [])
    expect(await said('apply', plan)).toEqual(['The plan holds no repairs: there is nothing to be applied.'])
    expect(await said('undo', plan)).toEqual(['The plan holds no repairs: there is nothing to be undone.'])
  })

  test('one that was never applied, and one that was', async () => {
    const key = 'audio/one.flac'
    const headers = { contentType: 'audio/flac' }
    const { etag } = await bed.store.put(key, Buffer.from('one'), { headers, checksums: {} })
    const to = `quarantine/x/${key}`
    const plan = savePlan(bed, 'one.plan', [{ action: 'remove-object', object: { key, size: 3, etag }, to }])
    const none = 'Nothing is left to be undone: no item of the plan is applied.'
    expect(await said('undo', plan)).toEqual([none])
    expect(await said('apply', plan)).toEqual([
      '1 item applied.',
      `\`autodj undo ${path.resolve(plan)}\` undoes it; \`autodj reconcile\` shows what is left`,
    ])
    expect(await said('apply', plan)).toEqual([
      'Nothing is left to be applied: the one item of the plan was settled earlier.',
    ])
    expect(await said('undo', plan)).toEqual(['1 item undone.'])
    expect(await said('undo', plan)).toEqual([none])
  })
})

test('what can no longer be taken back is not undone: exit 3, and why; apply leaves it to the next reconcile', async () => {
  const key = 'audio/three.flac'
  const headers = { contentType: 'audio/flac' }
  const put = (text: string) => bed.store.put(key, Buffer.from(text), { headers, checksums: {} })
  const { etag } = await put('three')
  const object = { key, size: 5, etag }
  const plan = savePlan(bed, 'three.plan', [{ action: 'remove-object', object, to: `quarantine/x/${key}` }])
  expect((await apply(bed, plan)).exitCode).toBe(0)
  await put('another')
  const undone = await bed.run('undo', context => runUndo(context, plan, flags))
  expect([undone.exitCode, undone.summary]).toEqual([3, expect.objectContaining({ undone: 0, skipped: 1 })])
  const changed = savePlan(bed, 'four.plan', [{ action: 'remove-object', object, to: `quarantine/x/${key}` }])
  const applied = await apply(bed, changed)
  expect([applied.exitCode, applied.summary]).toEqual([0, expect.objectContaining({ done: 0, skipped: 1 })])
})

test('an object of which cannot be told whether it is the last copy stays, until it can', async () => {
  const key = 'audio/two.flac'
  const headers = { contentType: 'audio/flac' }
  const { etag } = await bed.store.put(key, Buffer.from('two'), { headers, checksums: {} })
  const object = { key, size: 3, etag }
  const plan = savePlan(bed, 'two.plan', [{ action: 'remove-object', object, to: `quarantine/x/${key}` }])
  let looks = 0
  const head = {
    before() {
      if (looks++ === 0) throw new StoreError('denied', 'not now')
    },
  }
  const first = await apply(bed, plan, {}, { hooks: { head } })
  expect(first.summary).toMatchObject({ done: 0, failed: 1 })
  expect(await bed.store.head(key)).toMatchObject({ etag })
  expect((await apply(bed, plan)).summary).toMatchObject({ done: 1, failed: 0 })
})

test('what fails says what to do about it, where the store does', async () => {
  const key = 'audio/held.flac'
  const { etag } = await bed.store.put(key, Buffer.from('held'), {
    headers: { contentType: 'audio/flac' },
    checksums: {},
  })
  const object = { key, size: 4, etag }
  const plan = savePlan(bed, 'held.plan', [{ action: 'remove-object', object, to: `quarantine/x/${key}` }])
  const copy = {
    before() {
      throw new StoreError('denied', 'held', { cure: 'Wait until its retention ends.' })
    },
  }
  const run = await apply(bed, plan, {}, { hooks: { copy } })
  expect(run.items).toMatchObject([
    { state: 'failed', reason: 'held', cure: 'Wait until its retention ends.' },
  ])
})
