/**
 * What `apply` and `undo` make of one item in every state of the world and of the journal: an object there, gone, replaced
 * or put again in parts; its copy in quarantine, or the markers that hide it, there, gone or somebody else's; a row, or
 * headers, as they were, as they are to be, or corrected by hand. Each is compared with the rule it follows, all of one
 * action in one plan.
 */
import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { plainFolder } from '../../src/core/audio-path.ts'
import type { ObjectState, PlanAction, RowState } from '../../src/core/plan.ts'
import { applyPlan, type ItemOutcome, undoPlan } from '../../src/plan/execute.ts'
import { type JournalEntry, PlanJournal, type Trace } from '../../src/plan/journal.ts'
import { checkPlan } from '../../src/plan/plan-file.ts'
import { StoreError } from '../../src/storage/store.ts'
import { versionsOfKey } from '../../src/storage/versions.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { hooked, type StoreHooks } from '../support/hooked-store.ts'
import { crc32Text, sha256 } from '../support/sums.ts'
import { savePlan } from './safety.ts'

/** The object that the plan saw, another of its size, and a longer one. */
const bodies = { P: fakeAudio(3_000, 5), D: fakeAudio(3_000, 6), L: fakeAudio(4_000, 7) }
type Body = keyof typeof bodies
const nameOf = new Map(Object.entries(bodies).map(([name, bytes]) => [crc32Text(bytes), name]))
const planned: Omit<ObjectState, 'key'> = {
  size: bodies.P.length,
  etag: createHash('md5').update(bodies.P).digest('hex'),
}
const sums = { crc32: crc32Text(bodies.P) }

/** How the journal came to each state that an item can have. */
const journals = {
  none: [],
  begun: ['begun'],
  done: ['begun', 'done'],
  undoing: ['begun', 'done', 'undoing'],
  undone: ['begun', 'done', 'undoing', 'undone'],
  skipped: ['skipped'],
  failed: ['failed'],
} as const satisfies Record<string, JournalEntry['state'][]>
type State = keyof typeof journals
const states = Object.keys(journals) as State[]
const isOpen = (state: State): boolean => state === 'begun' || state === 'undoing'
const wasBegun = (state: State): boolean => !['none', 'skipped', 'failed'].includes(state)

type Verb = 'apply' | 'undo'
const isDue = (verb: Verb, state: State): boolean =>
  verb === 'apply' ? state !== 'done' && state !== 'skipped' : ['begun', 'done', 'undoing'].includes(state)

/** What comes of an item: said, left in the world, and, where it is not what follows from that, in the journal. */
interface End {
  said: ItemOutcome['state']
  world: string
  state?: State
}

interface Situation {
  name: string
  state: State
  action: PlanAction
  /** of the intent, when there was one */
  trace?: Trace
  /** what is there, in letters */
  world: string
  see: () => Promise<string>
}

let bed: TestBed
const file = () => path.join(bed.dir, 'states.plan')
const other = { contentType: 'audio/flac' }

async function put(key: string, body: Body, headers: { contentType: string; cacheControl?: string } = other) {
  await bed.store.put(key, bodies[body], { headers, checksums: { crc32: crc32Text(bodies[body]) } })
}

/** The same bytes under another ETag. */
async function putInParts(key: string, headers: { contentType: string; cacheControl?: string } = other) {
  const uploadId = await bed.store.createUpload(key, { headers })
  const part = await bed.store.uploadPart(key, uploadId, 1, bodies.P, sums)
  await bed.store.completeUpload(key, uploadId, [part], { checksums: sums, size: bodies.P.length })
}

const bodyAt = async (key: string): Promise<string> => {
  const head = await bed.store.head(key)
  return head === undefined ? '-' : (nameOf.get(head.checksums.crc32 ?? '') ?? '?')
}

async function put1(key: string, letter: string): Promise<void> {
  if (letter === 'R') await putInParts(key)
  else if (letter !== '-') await put(key, letter as Body)
}

async function run(verb: Verb, situations: readonly Situation[], tells: boolean): Promise<ItemOutcome[]> {
  const { header, items } = await checkPlan(file())
  const journal = await PlanJournal.open(file(), header.id, items)
  const outcomes: ItemOutcome[] = []
  const never = new AbortController().signal
  const store = tells
    ? bed.store
    : hooked(bed.store, { head: { after: head => head && { ...head, checksums: {} } } })
  try {
    const work = verb === 'apply' ? applyPlan : undoPlan
    const ways = {
      knex: bed.database.knex,
      store,
      audioFolder: plainFolder(bed.audioRoot),
      keyPrefix: 'audio/',
    }
    for await (const batch of work(file(), journal, {
      ...ways,
      concurrency: { initial: 16, max: 16 },
      signal: never,
      stopping: never,
    }))
      outcomes.push(...batch)
  } finally {
    await journal.close()
  }
  expect(outcomes.length).toBeLessThanOrEqual(situations.length)
  return outcomes
}

/** Runs all of them as one plan and compares; then once more, which changes nothing. */
async function compare(
  verb: Verb,
  situations: readonly Situation[],
  rule: (one: Situation) => End,
  { versioned = false, tells = true }: { versioned?: boolean; tells?: boolean } = {},
): Promise<void> {
  savePlan(
    bed,
    'states.plan',
    situations.map(({ action }) => action),
    { versioned },
  )
  const { header, items } = await checkPlan(file())
  const before = await PlanJournal.open(file(), header.id, items)
  for (const [index, { state, trace = {} }] of situations.entries())
    for (const [step, each] of journals[state].entries())
      await before.write([
        { seq: index + 1, state: each, ...(step === 0 && each === 'begun' ? { trace } : {}) },
      ])
  await before.close()
  const outcomes = await run(verb, situations, tells)
  const saidOf = new Map(outcomes.map(({ item, state }) => [item.seq, state]))
  const after = await PlanJournal.open(file(), header.id, items)
  const seen: unknown[] = []
  const expected: unknown[] = []
  const worlds: string[] = []
  for (const [index, one] of situations.entries()) {
    const due = isDue(verb, one.state)
    const end: Partial<End> = due ? rule(one) : { world: one.world }
    const stays = end.said === 'failed' && isOpen(one.state) ? one.state : undefined
    const follows = {
      done: 'done',
      undone: 'undone',
      untouched: 'undone',
      skipped: 'skipped',
      failed: 'failed',
    }
    const next = verb === 'undo' && ['skipped', 'failed'].includes(end.said ?? '') ? one.state : undefined
    const state = end.state ?? stays ?? next ?? (end.said === undefined ? one.state : follows[end.said])
    const name = `${verb} ${one.action.action} of ${one.name}, ${one.state}`
    worlds.push(await one.see())
    expected.push([name, end.said, end.world, state])
    seen.push([name, saidOf.get(index + 1), worlds.at(-1), after.state(index + 1)])
  }
  await after.close()
  expect(seen).toEqual(expected)
  await run(verb, situations, tells)
  const again: string[] = []
  for (const one of situations) again.push(await one.see())
  expect(again).toEqual(worlds)
}

describe.each([
  { place: 'a bucket without versions', versioned: false, tells: true },
  { place: 'a bucket with versions', versioned: true, tells: true },
  { place: 'a bucket of a store that tells no checksums', versioned: false, tells: false },
])('in $place', ({ versioned, tells }) => {
  const ways = { versioned, tells }
  beforeAll(async () => {
    const buckets = [versioned ? { name: 'music', versioning: 'Enabled' as const } : 'music']
    ;({ bed } = await embeddedBed(await pgliteTestDatabase(), { buckets }))
  })
  afterAll(() => bed.close())
  beforeEach(() => bed.reset())

  /** An object, and its copy in quarantine, in letters. */
  async function places(action: 'remove-object' | 'bring-back-object'): Promise<Situation[]> {
    const all: Situation[] = []
    for (const object of ['-', 'P', 'R', 'D', 'L'])
      for (const copy of ['-', 'P', 'D', 'L'])
        for (const state of states) {
          const id = randomUUID()
          const [key, aside] = [`audio/${id}.flac`, `quarantine/${id}`]
          await put1(key, object)
          await put1(aside, copy)
          const at = { ...planned, key }
          all.push({
            name: object + copy,
            state,
            action:
              action === 'remove-object'
                ? { action, object: at, to: aside }
                : { action, object: at, from: aside },
            trace: tells ? { sums } : {},
            world: object.replace('R', 'P') + copy,
            see: async () => (await bodyAt(key)) + (await bodyAt(aside)),
          })
        }
    return all
  }
  const hasPlannedSize = (letter: string) => ['P', 'R', 'D'].includes(letter)

  /** To quarantine: only what the plan saw, and only where nothing else came to its place. */
  function removal({ name, state, world }: Situation, done: 'done' | 'undone'): End {
    const [object, copy] = [...name] as [string, string]
    // A run was cut off between the removal and the journal.
    if (object === '-' && isOpen(state) && hasPlannedSize(copy))
      return { said: done === 'undone' && state === 'begun' ? 'untouched' : done, world }
    if (object === 'P' || (object === 'R' && wasBegun(state) && tells)) return { said: done, world: '-P' }
    return { said: 'skipped', world }
  }
  /** Back: what lies in quarantine, unless something lies in its place that is not the same. */
  function theWayBack({ name, state, world }: Situation, done: 'done' | 'undone'): End {
    const [object, copy] = [...name] as [string, string]
    const begins = done === 'done' ? 'begun' : 'undoing'
    if (object === '-')
      return hasPlannedSize(copy) ? { said: done, world: `${copy}-` } : { said: 'failed', world }
    const bytes = tells ? object.replace('R', 'P') : object
    const isPlanned = object === 'P' || (object === 'R' && wasBegun(state) && tells)
    if (!hasPlannedSize(object) || !(isPlanned || bytes === copy)) return { said: 'skipped', world }
    if (copy === '-') return { said: done === 'undone' && state === 'begun' ? 'untouched' : done, world }
    // Nothing is let go of that lies nowhere else.
    if (copy !== bytes) return { said: 'failed', world, state: begins }
    return { said: done, world: `${bytes}-` }
  }

  /** A store tells the newest, and the order of the markers, and of the versions, but not how old those are and these. */
  const inOrder = ([latest = '', ...rest]: Iterable<string>): string =>
    latest + rest.toSorted((a, b) => Number(b === 'M') - Number(a === 'M')).join('')

  /** The versions at a key in letters, newest first: a marker of ours `M`, somebody else's `x`. */
  async function histories(action: 'remove-object' | 'bring-back-object'): Promise<Situation[]> {
    const all: Situation[] = []
    for (const history of [
      '',
      'P',
      'R',
      'D',
      'MP',
      'xP',
      'MMP',
      'xMP',
      'MxP',
      'MD',
      'DP',
      'MDP',
      'DMP',
      'MDMP',
      'ML',
    ])
      for (const state of states) {
        const key = `audio/${randomUUID()}.flac`
        let markerVersionId: string | undefined
        for (const letter of [...history].reverse()) {
          if (letter !== 'M' && letter !== 'x') await put1(key, letter)
          else {
            const [made] = await bed.store.delete([{ key }])
            if (letter === 'M') markerVersionId = made?.deleteMarkerVersionId
          }
        }
        all.push({
          name: history || '-',
          state,
          action: { action, object: { ...planned, key } },
          trace:
            action === 'bring-back-object'
              ? {}
              : { sums, ...(markerVersionId === undefined ? {} : { markerVersionId }) },
          world: inOrder(history.replaceAll('x', 'M').replace('R', 'P')),
          see: async () => {
            const found: string[] = []
            for (const one of await versionsOfKey(bed.store, key)) {
              if (one.isDeleteMarker) found.push('M')
              else {
                const { versionId } = one
                const head = await bed.store.head(key, { versionId })
                found.push(nameOf.get(head?.checksums.crc32 ?? '') ?? '?')
              }
            }
            return inOrder(found.join(''))
          },
        })
      }
    return all
  }

  /** Behind a delete marker. */
  function hiding({ name, state, world }: Situation, done: 'done' | 'undone', knowsSums: boolean): End {
    const [latest] = name as unknown as [string]
    if (latest === 'M' || latest === 'x') {
      if (!isOpen(state)) return { said: 'skipped', world }
      return { said: done === 'undone' && state === 'begun' ? 'untouched' : done, world }
    }
    if (latest === 'P' || (latest === 'R' && wasBegun(state) && knowsSums))
      return { said: done, world: inOrder(`M${world}`) }
    return { said: 'skipped', world }
  }
  /** By the removal of the markers above it, if the newest is ours. */
  function showing({ name, state, world }: Situation, done: 'done' | 'undone', knowsSums: boolean): End {
    const [latest] = name as unknown as [string]
    if (latest === 'P' || (latest === 'R' && wasBegun(state) && knowsSums))
      return { said: done === 'undone' && state === 'begun' ? 'untouched' : done, world }
    if (latest !== 'M' && latest !== 'x' && latest !== '-') return { said: 'skipped', world }
    if (!name.includes('P')) return { said: 'failed', world }
    if (done === 'undone' && !isOpen(state) && latest === 'x') return { said: 'skipped', world }
    // What another came upon is not shown for it.
    return name.includes('D') ? { said: 'skipped', world } : { said: done, world: 'P' }
  }

  const [there, away, back] = versioned
    ? ([histories, hiding, showing] as const)
    : ([places, removal, theWayBack] as const)
  test('remove-object is applied', async () => {
    await compare('apply', await there('remove-object'), one => away(one, 'done', true), ways)
  })
  test('remove-object is undone', async () => {
    await compare('undo', await there('remove-object'), one => back(one, 'undone', true), ways)
  })
  test('bring-back-object is applied', async () => {
    await compare('apply', await there('bring-back-object'), one => back(one, 'done', false), ways)
  })
  test('bring-back-object is undone', async () => {
    await compare('undo', await there('bring-back-object'), one => away(one, 'undone', false), ways)
  })

  const [was, becomes] = [
    { contentType: 'text/plain', cacheControl: 'no-store' },
    { contentType: 'audio/flac', cacheControl: 'no-cache' },
  ]
  const headers = {
    w: was,
    b: becomes,
    t: { ...was, contentType: 'audio/mpeg' },
    c: { ...was, cacheControl: 'no-cache' },
  }
  /** An object, and its headers. */
  async function dressed(): Promise<Situation[]> {
    const all: Situation[] = []
    for (const object of ['-', 'P', 'R', 'D', 'L'])
      for (const letter of Object.keys(headers) as (keyof typeof headers)[])
        for (const state of states) {
          const key = `audio/${randomUUID()}.flac`
          if (object === 'R') await putInParts(key, headers[letter])
          else if (object !== '-') await put(key, object as Body, headers[letter])
          all.push({
            name: object + letter,
            state,
            action: { action: 'set-headers', object: { ...planned, key }, was, becomes },
            trace: tells ? { sums } : {},
            world: object === '-' ? '-' : object.replace('R', 'P') + letter,
            see: async () => {
              const head = await bed.store.head(key)
              if (head === undefined) return '-'
              const [worn] = Object.entries(headers).find(
                ([, one]) => head.contentType === one.contentType && head.cacheControl === one.cacheControl,
              ) ?? ['?']
              return (await bodyAt(key)) + worn
            },
          })
        }
    return all
  }
  /** Whose content nobody knows is taken for what a run that was cut off has written. */
  const mayBeOurs = (object: string) => object === 'P' || object === 'R' || (object === 'D' && !tells)
  test('set-headers is applied', async () => {
    const rule = ({ name, state, world }: Situation): End => {
      const [object, worn] = [...name] as [string, string]
      const ours = isOpen(state) && mayBeOurs(object)
      if (ours && worn === 'b') return { said: 'done', world }
      if ((object === 'P' || ours) && worn === 'w') return { said: 'done', world: world.replace('w', 'b') }
      return { said: 'skipped', world }
    }
    await compare('apply', await dressed(), rule, ways)
  })
  test('set-headers is undone', async () => {
    const rule = ({ name, state, world }: Situation): End => {
      const [object, worn] = [...name] as [string, string]
      if (!(object === 'P' || (isOpen(state) && mayBeOurs(object)))) return { said: 'skipped', world }
      if (worn === 'w') return { said: state === 'begun' ? 'untouched' : 'undone', world }
      if (worn === 'b') return { said: 'undone', world: world.replace('b', 'w') }
      return { said: 'skipped', world }
    }
    await compare('undo', await dressed(), rule, ways)
  })
})

describe('what comes between', () => {
  beforeAll(async () => {
    ;({ bed } = await embeddedBed(await pgliteTestDatabase(), {
      buckets: [{ name: 'music', versioning: 'Enabled' }],
    }))
  })
  afterAll(() => bed.close())
  const key = 'audio/a.flac'
  let number = 0
  beforeEach(async () => {
    await bed.reset()
    number++
  })
  const work = async (verb: Verb, hooks: StoreHooks, stopping = new AbortController().signal) => {
    const { header, items } = await checkPlan(file())
    const journal = await PlanJournal.open(file(), header.id, items)
    const outcomes: ItemOutcome[] = []
    const ways = {
      knex: bed.database.knex,
      store: hooked(bed.store, hooks),
      audioFolder: plainFolder(bed.audioRoot),
      keyPrefix: 'audio/',
      concurrency: { initial: 1, max: 1 },
      signal: new AbortController().signal,
      stopping,
    }
    try {
      for await (const batch of (verb === 'apply' ? applyPlan : undoPlan)(file(), journal, ways))
        outcomes.push(...batch)
    } finally {
      await journal.close()
    }
    return outcomes
  }

  test.each<Body>(['D', 'L'])(
    'another object comes to the key as its marker goes: it is not taken for ours (%s)',
    async body => {
      const own = `${key} ${number}`
      await put(own, 'P')
      await bed.store.delete([{ key: own }])
      savePlan(bed, 'states.plan', [{ action: 'bring-back-object', object: { ...planned, key: own } }], {
        versioned: true,
      })
      const outcomes = await work('apply', { delete: { after: () => put(own, body) } })
      expect(outcomes).toHaveLength(1)
      expect(outcomes[0]?.state).not.toBe('done')
      expect(await bodyAt(own)).toBe(body)
    },
  )

  test('a removal that is not made after all lets go of its copy, if the object is in its place still', async () => {
    const [own, aside] = [`${key} ${number}`, `quarantine/${number}`]
    const path1 = `${number}.flac`
    const removal = (needsFile?: { path: string }): PlanAction => ({
      action: 'remove-object',
      object: { ...planned, key: own },
      to: aside,
      ...(needsFile && { needsFile }),
    })
    await put(own, 'P')
    const at = path.join(bed.audioRoot, path1)
    writeFileSync(at, bodies.P)
    savePlan(bed, 'states.plan', [removal({ path: path1 })])
    // The file that it rests on is edited as the copy is made.
    const edited = await work('apply', { copy: { after: () => writeFileSync(at, bodies.D) } })
    expect(edited).toMatchObject([{ state: 'skipped', reason: 'the local file differs from the object' }])
    expect([await bodyAt(own), await bodyAt(aside)]).toEqual(['P', '-'])
    // Another object comes in its place: what was copied may lie nowhere else.
    for (const name of [file(), `${file()}.journal`]) rmSync(name, { force: true })
    savePlan(bed, 'states.plan', [removal()])
    const replaced = await work('apply', { copy: { after: () => put(own, 'D') } })
    expect(replaced).toMatchObject([{ state: 'skipped', reason: 'the object has changed since' }])
    expect([await bodyAt(own), await bodyAt(aside)]).toEqual(['D', 'P'])
  })

  test('what concerns more than one item ends the whole, what concerns one does not', async () => {
    const keys = [`${key} ${number} a`, `${key} ${number} b`]
    for (const own of keys) await put(own, 'P')
    savePlan(
      bed,
      'states.plan',
      keys.map(own => ({ action: 'remove-object', object: { ...planned, key: own } })),
      { versioned: true },
    )
    const failing = (kind: 'credentials' | 'invalid'): StoreHooks => ({
      head: {
        before: own => {
          if (own === keys[0]) throw new StoreError(kind, 'refused by the store')
        },
      },
    })
    await expect(work('apply', failing('credentials'))).rejects.toMatchObject({ kind: 'credentials' })
    const outcomes = await work('apply', failing('invalid'))
    expect(outcomes.map(({ state, reason }) => [state, reason]).sort()).toEqual([
      ['done', undefined],
      ['failed', expect.stringContaining('refused by the store')],
    ])
  })

  test.each<Verb>(['apply', 'undo'])('a signal: no batch is begun after it (%s)', async verb => {
    const own = `${key} ${number}`
    await put(own, 'P', { contentType: 'text/plain' })
    const id = await bed.addTrack({ path: 'was', source: 'UNAVAILABLE' })
    const was: RowState = { key: null, source: 'UNAVAILABLE', size: null, path: 'was' }
    savePlan(
      bed,
      'states.plan',
      [
        { action: 'update-row', trackId: id, was, becomes: { ...was, path: 'new' } },
        {
          action: 'set-headers',
          object: { ...planned, key: own },
          was: { contentType: 'text/plain' },
          becomes: { contentType: 'audio/flac' },
        },
      ],
      { versioned: true },
    )
    expect(await work(verb, {}, AbortSignal.abort())).toEqual([])
    if (verb === 'undo') expect(await work('apply', {})).toHaveLength(2)
    // It comes as the first of two batches is at work.
    const stopping = new AbortController()
    const stop = ({ sql }: { sql: string }) => void (/update tracks/i.test(sql) && stopping.abort())
    const { knex } = bed.database
    if (verb === 'apply') knex.on('query', stop)
    const hooks: StoreHooks = verb === 'undo' ? { rewriteHeaders: { before: () => stopping.abort() } } : {}
    const outcomes = await work(verb, hooks, stopping.signal).finally(() => knex.off('query', stop))
    expect(outcomes.map(({ item, state }) => [item.action, state])).toEqual([
      verb === 'apply' ? ['update-row', 'done'] : ['set-headers', 'undone'],
    ])
    expect(await work(verb, {})).toHaveLength(1)
  })
})

describe('of rows', () => {
  beforeAll(async () => {
    ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
  })
  afterAll(() => bed.close())
  beforeEach(() => bed.reset())

  const [long, then] = ['2021-02-03 04:05:06.789012+00', '2022-02-03 04:05:06.789012+00']
  /** A row, and the time of its last change: `o` as it was before the plan, `p` the plan's, `n` now, `0` none. */
  async function rows(): Promise<Situation[]> {
    const all: Situation[] = []
    for (const letter of ['-', 'w', 'b', 'k', 's', 'z', 'f'])
      for (const state of states)
        for (const before of [long, null]) {
          const id = randomUUID()
          const was: RowState = { key: `audio/${id}`, source: 'S3', size: 3_000, path: 'was.flac' }
          const becomes: RowState = { key: `audio/${id}.flac`, source: 'YOUTUBE', size: null, path: null }
          const looks: Record<string, RowState> = {
            w: was,
            b: becomes,
            k: { ...was, key: 'audio/other' },
            s: { ...was, source: 'LOCAL' },
            z: { ...was, size: 3_001 },
            f: { ...was, path: null },
          }
          const row = looks[letter]
          const { knex } = bed.database
          if (row !== undefined)
            await knex('tracks').insert({
              id,
              spotify_id: id,
              title: 't',
              artist: 'a',
              s3_object_key: row.key,
              file_source: row.source,
              file_size: row.size,
              file_path: row.path,
              updated_at: letter === 'b' ? then : before,
            })
          const time = letter === '-' ? '' : letter === 'b' ? 'p' : before === null ? '0' : 'o'
          all.push({
            name: letter + (before === null ? '0' : 'o'),
            state,
            action: { action: 'update-row', trackId: id, was, becomes },
            trace: { updatedAt: before },
            world: letter + time,
            see: async () => {
              const [found] = (
                await knex.raw(
                  `select s3_object_key as key, file_source as source, file_size as size, file_path as path,
                 updated_at::text as at from tracks where id = ?`,
                  [id],
                )
              ).rows
              if (found === undefined) return '-'
              const { at, ...said } = found
              const [seen] = Object.entries(looks).find(([, one]) => isDeepStrictEqual(one, said)) ?? ['?']
              return seen + (at === null ? '0' : at === long ? 'o' : at === then ? 'p' : 'n')
            },
          })
        }
    return all
  }
  test('update-row is applied', async () => {
    await compare('apply', await rows(), ({ name: [letter], state, world }) => {
      if (letter === 'b' && isOpen(state)) return { said: 'done', world }
      return letter === 'w' ? { said: 'done', world: 'bn' } : { said: 'skipped', world }
    })
  })
  test('update-row is undone', async () => {
    await compare('undo', await rows(), ({ name, state, world }) => {
      const [letter, before] = [...name]
      if (letter === 'w' && isOpen(state)) return { said: state === 'begun' ? 'untouched' : 'undone', world }
      return letter === 'b' ? { said: 'undone', world: `w${before}` } : { said: 'skipped', world }
    })
  })

  /** What a change of a row, or a removal, rests on. */
  const needs: [string, NonNullable<(PlanAction & { action: 'update-row' })['needsFile']>, string[]][] = [
    ['its path', {}, ['P', 'D', 'L']],
    ['its size', { size: 3_000 }, ['P', 'D']],
    ['its content', { sha256: sha256(bodies.P) }, ['P']],
    ['both', { size: 3_000, sha256: sha256(bodies.P) }, ['P']],
  ].map(([name, more, good]) => [name, { path: '', ...(more as object) }, good]) as never
  async function resting(): Promise<Situation[]> {
    const all: Situation[] = []
    for (const [name, needed, good] of needs)
      for (const letter of ['-', 'P', 'D', 'L', 'folder']) {
        const id = await bed.addTrack({ path: 'was', source: 'UNAVAILABLE' })
        const at = path.join(bed.audioRoot, id)
        if (letter === 'folder') mkdirSync(at)
        else if (letter !== '-') writeFileSync(at, bodies[letter as Body])
        const was: RowState = { key: null, source: 'UNAVAILABLE', size: null, path: 'was' }
        const becomes: RowState = { ...was, source: 'LOCAL', path: id }
        all.push({
          name: `a file ${letter} known by ${name}: ${good.includes(letter) ? 'right' : 'wrong'}`,
          state: 'none',
          action: { action: 'update-row', trackId: id, was, becomes, needsFile: { ...needed, path: id } },
          world: 'was',
          see: async () => (await bed.tracks()).get(id)?.file_path ?? '',
        })
      }
    for (const letter of ['-', 'P', 'R', 'D', 'L']) {
      const key = `audio/${randomUUID()}.flac`
      await put1(key, letter)
      const id = await bed.addTrack({ path: 'was', source: 'UNAVAILABLE' })
      const was: RowState = { key: null, source: 'UNAVAILABLE', size: null, path: 'was' }
      const becomes: RowState = { key, source: 'S3', size: 3_000, path: id }
      all.push({
        name: `an object ${letter}: ${letter === 'P' ? 'right' : 'wrong'}`,
        state: 'none',
        action: { action: 'update-row', trackId: id, was, becomes, needsObject: { ...planned, key } },
        world: 'was',
        see: async () => (await bed.tracks()).get(id)?.file_path ?? '',
      })
    }
    return all
  }
  test('a row that is given what it needs', async () => {
    await compare('apply', await resting(), ({ name, action }) =>
      name.endsWith('right')
        ? { said: 'done', world: (action as { becomes: RowState }).becomes.path ?? '' }
        : { said: 'skipped', world: 'was' },
    )
  })

  /** A row that is to be left without audio, where the audio may be back. */
  test('a row is left without audio only where none is', async () => {
    const all: Situation[] = []
    for (const [name, key, there, place, before] of [
      ['none', 'audio/K', undefined, 'gone.flac', 'S3'],
      ['none, no key', null, undefined, 'gone.flac', 'LOCAL'],
      ['none, no path', 'audio/K', undefined, null, 'S3'],
      ['back: its object', 'audio/K', 'audio/K', 'gone.flac', 'S3'],
      ['back: its object, no path', 'audio/K', 'audio/K', null, 'S3'],
      ['back: its object by its plain key', 's3://music/audio/K', 'audio/K', null, 'S3'],
      ['back: its object by that very key', '/audio/K', '/audio/K', null, 'S3'],
      ['back: its file', 'audio/K', undefined, 'there.flac', 'S3'],
      ['back: its file, no key', null, undefined, 'there.flac', 'LOCAL'],
      ['back: nobody can say of its file', 'audio/K', undefined, `${'x'.repeat(300)}.flac`, 'S3'],
      ['known: nothing was there before', 'audio/K', 'audio/K', 'there.flac', 'UNAVAILABLE'],
    ] as const) {
      const number = `${all.length}`
      const own = <T extends string | null | undefined>(key: T) => key?.replace('K', number) ?? null
      writeFileSync(path.join(bed.audioRoot, 'there.flac'), bodies.P)
      if (own(there) !== null) await put(own(there) as string, 'P')
      const id = await bed.addTrack({ path: place, source: before, ...(key && { key: own(key) as string }) })
      const was: RowState = { key: own(key), source: before, size: null, path: place }
      all.push({
        name,
        state: 'none',
        action: {
          action: 'update-row',
          trackId: id,
          was,
          becomes: { ...was, source: 'UNAVAILABLE', size: 1 },
        },
        world: before,
        see: async () => (await bed.tracks()).get(id)?.file_source ?? '',
      })
    }
    await compare('apply', all, ({ name, world }) =>
      name.startsWith('back') ? { said: 'skipped', world } : { said: 'done', world: 'UNAVAILABLE' },
    )
  })
})
