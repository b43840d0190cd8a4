/** Which objects `reconcile` looks at more closely, and what it finds behind delete markers. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { upsertObjects } from '../../src/db/ledger.ts'
import { summarise } from '../../src/reconcile/report.ts'
import { newTally } from '../../src/reconcile/tally.ts'
import { type ObjectHead, StoreError } from '../../src/storage/store.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import type { StoreHooks } from '../support/hooked-store.ts'
import { reconcile } from './safety.ts'

const content = fakeAudio(3_000, 5)

describe.each([
  ['a bucket without versions', false],
  ['a bucket with versions', true],
])('in %s', (_, versioned) => {
  let bed: TestBed
  beforeAll(async () => {
    const buckets = [versioned ? { name: 'music', versioning: 'Enabled' as const } : 'music']
    ;({ bed } = await embeddedBed(await pgliteTestDatabase(), { buckets }))
  })
  afterAll(() => bed.close())
  const file = () => path.join(bed.dir, 'p.plan')
  beforeEach(() => bed.reset())
  const put = (key: string, bytes: Uint8Array = content) =>
    bed.store.put(key, bytes, { headers: { contentType: 'audio/flac' }, checksums: {} })
  async function row(key: string, size = content.length): Promise<string> {
    const id = await bed.addTrack({ path: null, source: 'S3', key })
    await bed.database.knex('tracks').where({ id }).update({ file_size: size })
    return id
  }

  test('of a sample the same objects are read each time, and of a larger one those and more', async () => {
    for (let number = 0; number < 20; number++) {
      await put(`audio/${number}.flac`)
      await row(`audio/${number}.flac`)
    }
    const read = async (sample: { percent?: number; count?: number } | undefined) => {
      const keys = new Set<string>()
      const note = { before: (key: string) => void keys.add(key) }
      const run = await reconcile(bed, { deep: true, sample } as never, {
        hooks: { get: note, getInto: note },
      })
      expect(run.summary['hashed']).toBe(keys.size)
      return [...keys].sort()
    }
    const [some, more] = [await read({ percent: 20 }), await read({ percent: 60 })]
    expect(some.length).toBeGreaterThan(0)
    expect(some.length).toBeLessThan(12)
    expect(more.length).toBeGreaterThan(some.length)
    expect(more.length).toBeLessThan(20)
    expect(more).toEqual(expect.arrayContaining(some))
    expect(await read({ percent: 20 })).toEqual(some)
    // Four of the twenty are a fifth.
    expect(await read({ count: 4 })).toEqual(some)
    expect(await read({ count: 100 })).toHaveLength(20)
  })

  test('what the listing leaves out, and is there, is counted and told; what was put just now may be missing', async () => {
    for (const name of ['old', 'new']) {
      await put(`audio/${name}.flac`)
      await row(`audio/${name}.flac`)
    }
    const hooks = {
      list: { after: () => [] },
      head: {
        after: (head: ObjectHead | undefined, key: string) =>
          head && { ...head, lastModified: new Date(key.includes('old') ? 0 : Date.now()) },
      },
    }
    const run = await reconcile(bed, { force: true }, { hooks: hooks as never })
    expect(run.summary).toMatchObject({ rows: 2, objects: 1, bytes: content.length })
    const said = summarise({ ...newTally(), unlisted: 1 }, 0, undefined, {
      deep: false,
      disk: false,
      plan: undefined,
      takenAt: undefined,
    })
    expect(said.lines).toContain(
      'The listing of the store left out 1 object that is there: it is behind, or broken.',
    )
  })

  test('what goes while its content is read is not asked for again and again', async () => {
    const key = 'audio/goes.flac'
    await put(key)
    await row(key)
    await upsertObjects(bed.database.knex, [
      {
        bucket: bed.access.bucket,
        key,
        size: content.length,
        etag: 'of old',
        sha256: 'a'.repeat(64),
        verifiedAt: new Date(0),
      },
    ])
    let reads = 0
    const gone = {
      after: () => {
        reads++
        return null
      },
    }
    const head = { after: (found: ObjectHead | undefined) => found && { ...found, checksums: {} } }
    await reconcile(bed, {}, { hooks: { head, get: gone, getInto: gone } as never })
    expect(reads).toBe(1)
  })

  interface Hidden {
    /** what was put at the key, one after another */
    versions: Uint8Array[]
    size?: number
    hooks?: StoreHooks
  }
  const other = fakeAudio(3_000, 6)
  const denied = () => {
    throw new StoreError('denied', 'no')
  }
  const cases: [string, Hidden, boolean][] = [
    ['the object of the row', { versions: [content] }, true],
    ['one of another size', { versions: [content], size: 2_999 }, false],
    ['one of another size above that of the row', { versions: [content, fakeAudio(10, 1)] }, false],
    ['the newest of two', { versions: [fakeAudio(10, 1), content] }, true],
    ['one that the row says no size of', { versions: [other], size: null as never }, true],
    ['nothing', { versions: [] }, false],
    ['what may not be listed', { versions: [content], hooks: { listVersions: { before: denied } } }, false],
  ]
  let numbers = 0
  test.each(cases)('a delete marker hides %s', async (_, { versions, size, hooks = {} }, isBack) => {
    await put('audio/agrees.flac')
    await row('audio/agrees.flac')
    // A bucket forgets no version of a key.
    const key = `audio/hidden ${numbers++}.flac`
    for (const bytes of versions) await put(key, bytes)
    await bed.store.delete([{ key }])
    const id = await row(key, size)
    let isListed = false
    const note = () => {
      isListed = true
    }
    const run = await reconcile(
      bed,
      { plan: file(), maxDelete: { percent: 100 }, force: true },
      { hooks: { listVersions: { before: note }, ...hooks } },
    )
    expect(run.error).toBeUndefined()
    const plan = readFileSync(file(), 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>)
    const back = plan.filter(one => one['action'] === 'bring-back-object')
    const lost = plan.filter(one => one['action'] === 'update-row' && one['trackId'] === id)
    if (versioned && isBack) {
      expect(back).toMatchObject([{ object: { key, size: versions.at(-1)?.length } }])
      expect(back[0]).not.toHaveProperty('from')
      expect(lost).toEqual([])
    } else {
      expect(back).toEqual([])
      expect(lost).toMatchObject([{ becomes: { source: 'UNAVAILABLE' } }])
    }
    // Where nothing can be hidden nobody looks for it.
    if (!versioned) expect(isListed).toBe(false)
  })

  if (!versioned)
    test('a row is given back from quarantine what a plan moved there, and nothing else', async () => {
      const id = '0b4c8d1e-5f60-4a7b-8c9d-0e1f2a3b4c5d'
      const cases: [from: string, isBack: boolean][] = [
        [id, true],
        // An upload that was damaged on its way is no copy of anything.
        ['damaged', false],
        ['mine', false],
        [`${id}/deeper`, false],
        [id.toUpperCase(), false],
      ]
      await put('audio/agrees.flac')
      await row('audio/agrees.flac')
      const keys: string[] = []
      for (const [number, [from]] of cases.entries()) {
        const key = `audio/quarantined ${number}.flac`
        keys.push(key)
        await put(`quarantine/${from}/${key}`)
        await row(key)
      }
      const run = await reconcile(bed, { plan: file(), maxDelete: { percent: 100 }, force: true })
      expect(run.error).toBeUndefined()
      const back = readFileSync(file(), 'utf8')
        .split('\n')
        .flatMap(line => (line.includes('"bring-back-object"') ? [JSON.parse(line).object.key] : []))
      expect(back).toEqual(cases.flatMap(([, isBack], at) => (isBack ? [keys[at]] : [])))
    })

  test('where nobody may ask for versions nothing is known to be hidden', async () => {
    await put('audio/agrees.flac')
    await row('audio/agrees.flac')
    await row('audio/gone.flac')
    const run = await reconcile(bed, { force: true }, { hooks: { versioning: { before: denied } } })
    expect(run.error).toBeUndefined()
    expect(run.summary['found']).toMatchObject({ 'missing-object': 1 })
  })

  test('an error that says nothing of one object ends the run', async () => {
    await put('audio/agrees.flac')
    await row('audio/agrees.flac')
    await row('audio/gone.flac')
    const broken = () => {
      throw new StoreError('credentials', 'the key is gone')
    }
    const hooks = versioned ? { listVersions: { before: broken } } : { head: { before: broken } }
    const run = await reconcile(bed, { head: 'all', force: true }, { hooks })
    expect(run.error).toMatchObject({ code: 'store.credentials' })
  })
})
