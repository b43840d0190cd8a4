/**
 * A run over tracks, and the same work on one that is named, with work that does next to nothing: which tracks are claimed,
 * how many at a time, what is committed, told, counted and left.
 */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { recordItems, startRun } from '../../../src/db/ledger.ts'
import { claimTracks, type Track } from '../../../src/db/tracks.ts'
import { ExitCode, FatalError, TemporaryError } from '../../../src/errors.ts'
import type { Progress } from '../../../src/report/reporter.ts'
import { NamedTracks } from '../../../src/runs/named-tracks.ts'
import { rowsKeepComing } from '../../../src/runs/passes.ts'
import { type RecordedRun, recordRun } from '../../../src/runs/recorded-run.ts'
import { plannedTracks, runTracks, type TrackRunEnd } from '../../../src/runs/track-run.ts'
import { isRowProblem, type RowProblem, type TrackWork } from '../../../src/runs/track-work.ts'
import { RunHalted } from '../../../src/storage/resilience.ts'
import type { BedRun, TestBed } from '../../support/bed.ts'
import { embeddedBed } from '../../support/beds.ts'
import { pgliteTestDatabase } from '../../support/database.ts'

interface Task {
  track: Track
}
interface Outcome {
  state: 'done' | 'failed' | 'skipped' | 'interrupted'
}
type Work = TrackWork<Task, Outcome>
type Plan = Parameters<typeof runTracks<Task, Outcome>>[3]

let bed: TestBed
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(() => bed.close())
beforeEach(() => bed.reset())

/** What happened, in its order, by the last digits of a track's number. */
let happened: string[] = []
let numbers = new Map<string, number>()
const numberOf = (id: string): number => numbers.get(id) ?? -1
beforeEach(() => {
  happened = []
  numbers = new Map()
})

/** Rows in the order of their ids, numbered from 0. */
async function add(count: number, change: Record<string, unknown> = {}): Promise<string[]> {
  const ids: string[] = []
  for (let index = 0; index < count; index++) {
    const id = `00000000-0000-4000-8000-${String(numbers.size).padStart(12, '0')}`
    numbers.set(id, numbers.size)
    await bed.database.knex('tracks').insert({
      id,
      spotify_id: id,
      title: 't',
      artist: 'a',
      file_path: `${id}.mp3`,
      file_source: 'LOCAL',
      file_size: 1_000,
      ...change,
    })
    ids.push(id)
  }
  return ids
}

/** Marks rows as being in S3. */
function toy(change: Partial<Work> = {}): Work {
  return {
    command: 'toy',
    claim: 'toy',
    settles: ['toy', 'older toy'],
    setBack: { reason: 'something sets it back', cure: 'Find it.' },
    prepare: async tracks => {
      happened.push(`prepare ${tracks.map(({ id }) => numberOf(id)).join(' ')}`)
      return tracks.map(track => ({ track }))
    },
    take: async ({ track }) => {
      happened.push(`take ${numberOf(track.id)}`)
      return { state: 'done' }
    },
    commit: async (trx, batch) => {
      const ids = batch.map(({ task }) => task.track.id)
      await trx('tracks').whereIn('id', ids).update({ file_source: 'S3' })
      happened.push(`commit ${ids.map(numberOf).join(' ')}`)
      return new Map(ids.map(id => [id, 'done']))
    },
    problemOf: ({ state }) =>
      state === 'failed' || state === 'skipped' ? { state, code: 'file.changed', reason: state } : undefined,
    tell: ({ track }, end) => {
      happened.push(`tell ${numberOf(track.id)} ${isRowProblem(end) ? end.code : end.state}`)
    },
    ...change,
  }
}

/** What the bar was told. */
interface Bar {
  items: number
  totals: unknown[]
  notes: string[]
  ended: boolean
}

type Options = Parameters<TestBed['run']>[2]
async function run(
  change: Partial<Plan> = {},
  options: Options = {},
): Promise<{ end: TrackRunEnd | undefined; bar: Bar; said: string[]; run: BedRun; thrown: unknown }> {
  const said: string[] = []
  const bar: Bar = { items: 0, totals: [], notes: [], ended: false }
  const progress: Progress = {
    advance({ items = 0 }) {
      bar.items += items
    },
    total: told => void bar.totals.push(told),
    note: text => void bar.notes.push(text),
    done() {
      bar.ended = true
    },
  }
  let end: TrackRunEnd | undefined
  let thrown: unknown
  const ran = await bed.run(
    'toy',
    context =>
      recordRun(context, bed.database, async recorded => {
        context.report.note = text => void said.push(text)
        try {
          end = await runTracks<Task, Outcome>(context, bed.database, recorded, {
            work: toy(),
            choices: [{ filter: { sources: ['LOCAL'] } }],
            limit: undefined,
            claims: { first: 100, largest: 100 },
            commits: { size: 3, interval: 60_000 },
            slots: () => 4,
            progress,
            ...change,
          })
          return { exitCode: end.exitCode, summary: {} }
        } catch (error) {
          thrown = error
          return { exitCode: ExitCode.fatal, summary: {} }
        }
      }),
    options,
  )
  return { end, bar, said, run: ran, thrown }
}

const of = (verb: string): string[] =>
  happened.filter(one => one.startsWith(`${verb} `)).map(one => one.slice(verb.length + 1))
const claims = () => bed.database.knex('autodj_ledger.claims').orderBy('track_id').pluck('track_id')
const sources = () => bed.database.knex('tracks').orderBy('id').pluck('file_source')
const items = () =>
  bed.database
    .knex('autodj_ledger.items')
    .orderBy('track_id')
    .select('command', 'track_id', 'state', 'error_code', 'error', 'cure')

describe('a run over tracks', () => {
  test('pages grow as more come up, and the next is on its way in the middle of the one before', async () => {
    await add(21)
    const before = performance.now()
    const { end, bar, run: told } = await run({ claims: { first: 2, largest: 8 }, slots: () => 1 })
    expect(end).toMatchObject({ exitCode: 0, taken: 21, leftOut: 0, locked: 0, left: 0 })
    expect(end?.seconds).toBeLessThanOrEqual((performance.now() - before) / 1_000)
    expect(told.messages.filter(one => one['message_type'] === 'error')).toEqual([])
    expect(JSON.stringify(told.messages)).not.toContain(rowsKeepComing)
    expect(of('prepare').map(page => page.split(' ').filter(Boolean).length)).toEqual([2, 4, 8, 7, 0, 0])
    expect(of('take')).toEqual(Array.from({ length: 21 }, (_, number) => `${number}`))
    expect(of('commit').map(batch => batch.split(' ').length)).toEqual([3, 3, 3, 3, 3, 3, 3])
    expect(bar).toMatchObject({ items: 21, ended: true, totals: [{ items: 21, bytes: 21_000 }] })
    expect(await claims()).toEqual([])
    expect(new Set(await sources())).toEqual(new Set(['S3']))
  })

  test.each([
    [11, [2, 4, 5]],
    [2, [2]],
    [1, [1]],
    [6, [2, 4]],
  ])('with a limit of %d no more is claimed', async (limit, pages) => {
    await add(21)
    const { end, bar } = await run({ claims: { first: 2, largest: 8 }, slots: () => 1, limit })
    expect(end).toMatchObject({ taken: limit, left: 0, exitCode: 0 })
    expect(of('prepare').map(page => page.split(' ').filter(Boolean).length)).toEqual(pages)
    expect(of('take')).toHaveLength(limit)
    expect(bar).toMatchObject({ items: limit, totals: [{ items: limit }] })
    expect(bar.totals[0]).not.toHaveProperty('bytes')
  })

  test('what is committed is free for other runs at once, not only at the end', async () => {
    await add(4)
    const held: number[][] = []
    await run({
      commits: { size: 1, interval: 60_000 },
      slots: () => 1,
      work: toy({ afterCommit: async () => void held.push((await claims()).map(numberOf)) }),
    })
    expect(held).toEqual([[1, 2, 3], [2, 3], [3], []])
  })

  test('as many at a time as there are slots, and each of them is used', async () => {
    await add(10)
    let now = 0
    let most = 0
    const { promise: full, resolve: fill } = Promise.withResolvers<void>()
    await run({
      slots: () => 3,
      work: toy({
        async take() {
          most = Math.max(most, ++now)
          if (now === 3) fill()
          await full
          await new Promise(resolve => setImmediate(resolve))
          now--
          return { state: 'done' }
        },
      }),
    })
    expect(most).toBe(3)
  })

  test('bytes are told only where every row says its own, and of all choices together', async () => {
    await add(2)
    await add(1, { file_source: 'YOUTUBE' })
    const choices = [{ filter: { sources: ['LOCAL'] } }, { filter: { sources: ['YOUTUBE'] } }] as const
    const { bar, end } = await run({ choices })
    expect(bar.totals).toEqual([
      { items: 2, bytes: 2_000 },
      { items: 3, bytes: 3_000 },
    ])
    expect(end).toMatchObject({ taken: 3, left: 0 })
    await bed.reset()
    await add(2, { file_size: null })
    await add(1, { file_source: 'YOUTUBE' })
    expect((await run({ choices })).bar.totals).toEqual([{ items: 2 }, { items: 3 }])
    await bed.reset()
    await add(2)
    await add(3, { file_source: 'YOUTUBE' })
    expect((await run({ choices, limit: 4 })).bar.totals).toEqual([{ items: 2, bytes: 2_000 }, { items: 4 }])
  })

  test('what needs nothing is left out: let go of, forgotten as a failure, counted', async () => {
    const ids = await add(6)
    const failure = {
      subject: ids[1] as string,
      trackId: ids[1] as string,
      errorCode: 'file.changed' as const,
    }
    await recordItems(bed.database.knex, [
      { ...failure, command: 'toy', state: 'failed', error: 'e', cure: undefined, runId: await aRun() },
    ])
    const work = toy({
      prepare: async tracks => tracks.filter(({ id }) => numberOf(id) % 2 === 0).map(track => ({ track })),
    })
    const { end, bar } = await run({ work, choices: [{ filter: { sources: ['LOCAL'] }, once: true }] })
    expect(end).toMatchObject({ taken: 3, leftOut: 3, left: 0, exitCode: 0 })
    expect(bar.items).toBe(6)
    expect([await claims(), await items()]).toEqual([[], []])
    expect(await sources()).toEqual(['S3', 'LOCAL', 'S3', 'LOCAL', 'S3', 'LOCAL'])
    // Of a limit they take nothing.
    await bed.database.knex('tracks').update({ file_source: 'LOCAL' })
    const limited = await run({ work, limit: 3, claims: { first: 2, largest: 2 } })
    expect([limited.end?.taken, limited.bar.items]).toEqual([3, 3])
  })

  test('a choice that is made once makes one pass; others until one brings nothing', async () => {
    await add(3)
    // Leaves no mark.
    const work = toy({
      commit: async (_, batch) => new Map(batch.map(({ task }) => [task.track.id, 'done'])),
    })
    const once = await run({ work, choices: [{ filter: {}, once: true }] })
    expect(once.end).toMatchObject({ taken: 3, left: 0, exitCode: 0 })
    happened = []
    const often = await run({ work, choices: [{ filter: {} }] })
    // Done once more, and then told.
    expect(of('take')).toHaveLength(6)
    expect(often.end).toMatchObject({ taken: 6, exitCode: ExitCode.someFailed })
    expect(of('tell').filter(one => one.endsWith('row.set-back'))).toHaveLength(3)
    expect(await items()).toMatchObject(
      [0, 1, 2].map(() => ({
        command: 'toy',
        error_code: 'row.set-back',
        error: 'something sets it back',
        cure: 'Find it.',
      })),
    )
  })

  test('what failed is kept as that, and forgotten once it is done', async () => {
    const ids = await add(3)
    const states = ['done', 'failed', 'skipped'] as const
    const runId = await aRun()
    await recordItems(
      bed.database.knex,
      ['toy', 'older toy', 'another'].flatMap(command =>
        ids.slice(0, 2).map(id => ({
          command,
          subject: id,
          trackId: id,
          state: 'failed' as const,
          errorCode: 'row.changed' as const,
          error: 'before',
          cure: undefined,
          runId,
        })),
      ),
    )
    const first = await run({
      work: toy({ take: async ({ track }) => ({ state: states[numberOf(track.id)] ?? 'done' }) }),
      note: () => 'a word',
    })
    expect(first.end).toMatchObject({ exitCode: ExitCode.someFailed, taken: 3, left: 0 })
    expect(first.bar.notes).toEqual(['a word', 'a word', 'a word'])
    expect(
      (await items()).map(one => [one.command, numberOf(one.track_id), one.state, one.error]).sort(),
    ).toEqual([
      ['another', 0, 'failed', 'before'],
      ['another', 1, 'failed', 'before'],
      ['older toy', 1, 'failed', 'before'],
      ['toy', 1, 'failed', 'failed'],
      ['toy', 2, 'skipped', 'skipped'],
    ])
    expect(await claims()).toEqual([])
  })

  test('what is interrupted is told, and not committed', async () => {
    await add(2)
    const { end } = await run({
      work: toy({
        take: async ({ track }) => ({ state: numberOf(track.id) === 0 ? 'interrupted' : 'done' }),
      }),
      choices: [{ filter: { sources: ['LOCAL'] }, once: true }],
    })
    expect(end?.taken).toBe(2)
    expect(of('tell').sort()).toEqual(['0 interrupted', '1 done'])
    expect(of('commit')).toEqual(['1'])
    expect(await sources()).toEqual(['LOCAL', 'S3'])
  })

  test.each([
    ['an error', new FatalError('no more', { code: 'store.denied' })],
    ['what the store was stopped for', new RunHalted(new FatalError('no more', { code: 'store.denied' }))],
  ])('%s ends it: nothing new is begun, and what was done is committed', async (_, error) => {
    await add(9)
    let finished = false
    const { end, thrown, bar } = await run({
      slots: () => 1,
      work: toy({
        async take({ track }) {
          happened.push(`take ${numberOf(track.id)}`)
          if (numberOf(track.id) === 4) throw error
          return { state: 'done' }
        },
      }),
      async finish() {
        finished = true
      },
    })
    expect([end, finished]).toEqual([undefined, false])
    expect(thrown).toMatchObject({ code: 'store.denied', message: 'no more' })
    expect(thrown).not.toBeInstanceOf(RunHalted)
    expect(of('take')).toEqual(['0', '1', '2', '3', '4'])
    expect(of('commit').join(' ')).toBe('0 1 2 3')
    expect(bar).toMatchObject({ items: 4, ended: true })
  })

  test('a page that cannot be had ends it with that, and what was done is committed', async () => {
    await add(4)
    let pages = 0
    const { end, thrown } = await run({
      claims: { first: 2, largest: 2 },
      work: toy({
        async prepare(tracks) {
          if (++pages > 1) throw new FatalError('no more', { code: 'store.denied' })
          return tracks.map(track => ({ track }))
        },
      }),
    })
    expect([end, thrown]).toEqual([undefined, expect.objectContaining({ code: 'store.denied' })])
    expect(of('commit').join(' ')).toBe('0 1')
  })

  test('a signal: what is in hand is finished and committed, nothing new begun, nothing counted as left', async () => {
    await add(9)
    const stopping = new AbortController()
    let finished = false
    const { end } = await run(
      {
        slots: () => 1,
        work: toy({
          async take({ track }) {
            happened.push(`take ${numberOf(track.id)}`)
            if (numberOf(track.id) === 1) stopping.abort('SIGTERM')
            return { state: 'done' }
          },
        }),
        async finish() {
          finished = true
        },
      },
      { stopping },
    )
    expect([of('take'), of('commit'), finished]).toEqual([['0', '1'], ['0 1'], false])
    expect(end).toMatchObject({ taken: 2, left: 0, exitCode: ExitCode.sigterm })
  })

  const abort = () => new DOMException('aborted', 'AbortError')
  const fatal = () => new FatalError('no more', { code: 'store.denied' })
  test.each<[string, (reason: Error) => Error, 'stopping' | 'forcing' | undefined, string | undefined]>([
    ['the reason for which it is to stop', reason => reason, 'stopping', undefined],
    ['that it was aborted, as it is to stop', abort, 'stopping', undefined],
    ['anything else, though it is to stop', fatal, 'stopping', 'no more'],
    ['anything, as it is to be abandoned', fatal, 'forcing', undefined],
    ['that it was aborted, by nobody', abort, undefined, 'aborted'],
  ])('work throws %s', async (_, error, by, message) => {
    await add(2)
    const told = new AbortController()
    const reason = new Error('enough')
    const { thrown } = await run(
      {
        slots: () => 1,
        work: toy({
          async take({ track }) {
            happened.push(`take ${numberOf(track.id)}`)
            if (by !== undefined) told.abort(reason)
            throw error(reason)
          },
        }),
      },
      by === undefined ? {} : { [by]: told },
    )
    expect((thrown as Error | undefined)?.message).toBe(message)
    expect([of('take'), of('commit')]).toEqual([['0'], []])
  })

  test('a run that another declared dead ends with that, whatever it did', async () => {
    await add(3)
    const lost = new AbortController()
    const error = new TemporaryError('declared dead', { code: 'run.lost' })
    const progress = { advance() {}, total() {}, note() {}, done() {} }
    const thrown = bed.run('toy', context =>
      recordRun(context, bed.database, async recorded => {
        const stopping = AbortSignal.any([recorded.stopping, lost.signal])
        const work = toy({
          async take() {
            lost.abort(error)
            throw stopping.reason
          },
        })
        const { exitCode } = await runTracks<Task, Outcome>(
          context,
          bed.database,
          { ...recorded, lost: lost.signal, stopping },
          {
            work,
            choices: [{ filter: {} }],
            limit: undefined,
            claims: { first: 1, largest: 1 },
            commits: { size: 3, interval: 60_000 },
            slots: () => 1,
            progress,
          },
        )
        return { exitCode, summary: {} }
      }),
    )
    expect((await thrown).error).toBe(error)
  })

  test('at the end what is to be done then, and the rows that others have are counted as left', async () => {
    const ids = await add(5)
    const other = await aRun()
    await claimTracks(bed.database.knex, {
      kind: 'toy',
      runId: other,
      limit: 9,
      filter: { ids: ids.slice(0, 2) },
    })
    let committed = 0
    const { end } = await run({
      async finish() {
        committed = of('take').length
      },
    })
    expect([end?.taken, end?.left, end?.exitCode, committed]).toEqual([3, 2, 0, 3])
    // Where nothing marks a row as done, what came up counts.
    await bed.database.knex('tracks').update({ file_source: 'LOCAL' })
    const once = await run({
      choices: [{ filter: { sources: ['LOCAL'] }, once: true }],
      work: toy({
        commit: async (_, batch) => new Map(batch.map(({ task }) => [task.track.id, 'done'])),
      }),
    })
    expect([once.end?.taken, once.end?.left]).toEqual([3, 2])
  })

  test('a row that is added once all have come up is not left', async () => {
    await add(2)
    const { end } = await run({ finish: async () => void (await add(1)) })
    expect(end).toMatchObject({ taken: 2, left: 0 })
  })

  test('rows that are locked when they are to be committed are come back to', async () => {
    await add(3)
    const tries: string[][] = []
    const work = toy({
      commit: async (trx, batch) => {
        const ids = batch.map(({ task }) => task.track.id)
        tries.push(ids.map(id => `${numberOf(id)}`))
        const isLocked = (id: string) => numberOf(id) < 2 && tries.length < 3
        await trx('tracks')
          .whereIn(
            'id',
            ids.filter(id => !isLocked(id)),
          )
          .update({ file_source: 'S3' })
        return new Map(ids.map(id => [id, isLocked(id) ? 'locked' : 'done']))
      },
    })
    const { end, run: told } = await run({ work })
    expect(tries).toEqual([
      ['0', '1', '2'],
      ['0', '1'],
      ['0', '1'],
    ])
    expect(end).toMatchObject({ exitCode: 0, taken: 3, locked: 0, left: 0 })
    expect(of('tell')).toEqual(['2 done', '0 done', '1 done'])
    expect(JSON.stringify(told.messages)).not.toContain('stayed locked')
    expect(await claims()).toEqual([])
  })

  test('rows that stay locked are counted, named, and left for another time', async () => {
    const ids = await add(3)
    let commits = 0
    const work = toy({
      commit: async (_, batch) => {
        commits++
        return new Map(batch.map(({ task }) => [task.track.id, 'locked']))
      },
    })
    const { end, run: told } = await run({ work, lockWait: 60 })
    expect(end).toMatchObject({ exitCode: ExitCode.temporary, taken: 3, locked: 3, left: 0 })
    // Once, after 50 ms, and when the time is up: at times a little before.
    expect([3, 4, 5]).toContain(commits)
    expect(told.messages).toContainEqual(
      expect.objectContaining({
        message: '3 rows stayed locked by another transaction',
        code: 'row.locked',
        locked: 3,
        track_ids: ids,
      }),
    )
    const patient = await run({ work, lockWait: 400 })
    expect(patient.said).toEqual([
      expect.stringMatching(/^3 rows locked by another transaction: waiting for up to/),
    ])
    commits = 0
    const hurried = await run({ work, lockWait: 0 })
    expect([commits, hurried.said, hurried.end?.locked]).toEqual([2, [], 3])
  })

  test('a signal ends the wait for locked rows, which are nobody’s fault then', async () => {
    await add(1)
    const stopping = new AbortController()
    const work = toy({
      commit: async (_, batch) => {
        setImmediate(() => stopping.abort('SIGTERM'))
        return new Map(batch.map(({ task }) => [task.track.id, 'locked']))
      },
    })
    const { end, run: told } = await run({ work, lockWait: 600_000 }, { stopping })
    expect(end).toMatchObject({ exitCode: ExitCode.sigterm, locked: 1 })
    expect(JSON.stringify(told.messages)).not.toContain('stayed locked')
  })

  test('a row problem is told in place of the outcome, kept, and nothing is done after it', async () => {
    await add(4)
    const ends = ['done', 'changed', 'set-back', undefined] as const
    const after: number[] = []
    const told: unknown[] = []
    const { end } = await run({
      commits: { size: 4, interval: 60_000 },
      choices: [{ filter: {}, once: true }],
      work: toy({
        commit: async (_, batch) =>
          new Map(
            batch.flatMap(({ task }) => {
              const one = ends[numberOf(task.track.id)]
              return one === undefined ? [] : [[task.track.id, one] as const]
            }),
          ),
        leftoverCure: () => 'Its object is left.',
        afterCommit: async ({ track }) => void after.push(numberOf(track.id)),
        tell: (_, one) => void told.push(one),
      }),
    })
    expect(end).toMatchObject({ exitCode: ExitCode.someFailed, taken: 4 })
    const problem = (code: RowProblem['code'], reason: string, cure: string) => ({
      state: 'failed',
      code,
      reason,
      cure,
    })
    expect(told).toEqual([
      { state: 'done' },
      problem(
        'row.changed',
        'the row changed in the meantime and was left alone',
        'Run it again. Its object is left.',
      ),
      problem('row.set-back', 'something sets it back', 'Find it.'),
      problem('row.deleted', 'the row was deleted in the meantime', 'Its object is left.'),
    ])
    expect(after).toEqual([0])
    // Of a row that is not there nothing can be kept.
    expect((await items()).map(one => [numberOf(one.track_id), one.error_code, one.cure])).toEqual([
      [1, 'row.changed', 'Run it again. Its object is left.'],
      [2, 'row.set-back', 'Find it.'],
    ])
    expect(await claims()).toEqual([])
  })

  test('what fails after a commit ends the run once all of its batch have come to rest', async () => {
    await add(3)
    let rested = 0
    const { thrown } = await run({
      work: toy({
        async afterCommit({ track }) {
          if (numberOf(track.id) === 0) throw new FatalError('after', { code: 'store.denied' })
          await new Promise(resolve => setImmediate(resolve))
          rested++
        },
      }),
    })
    expect(thrown).toMatchObject({ message: 'after' })
    expect(rested).toBe(2)
  })

  test('a dry run reads no more than its limit asks for', async () => {
    await add(70)
    const planned = async (limit: number | undefined, stopping = new AbortController()) => {
      const pages: number[] = []
      const found: number[] = []
      await bed.run(
        'toy',
        async context => {
          const all = plannedTracks(
            context,
            bed.database,
            { choices: [{ filter: { sources: ['LOCAL'] } }, { filter: {} }], limit },
            async tracks => {
              pages.push(tracks.length)
              return tracks
            },
          )
          for await (const { id } of all) {
            found.push(numberOf(id))
            if (found.length === 60) stopping.abort('SIGTERM')
          }
          return ExitCode.ok
        },
        { stopping },
      )
      return [pages, found.length]
    }
    expect(await planned(3)).toEqual([[50], 3])
    expect(await planned(50)).toEqual([[50], 50])
    expect(await planned(55)).toEqual([[55], 55])
    expect(await planned(undefined)).toEqual([[70], 60])
  })
})

/** Of another process, which lives. */
async function aRun(): Promise<string> {
  const id = randomUUID()
  const run = { id, command: 'toy', args: {}, host: 'another machine', pid: 1, version: '0' }
  await startRun(bed.database.knex, run, 3_600)
  return id
}

describe('one track that is named', () => {
  async function named<T>(
    work: Work,
    use: (tracks: NamedTracks<Task, Outcome>, run: RecordedRun) => Promise<T>,
    { lockWait, stopping = new AbortController() }: { lockWait?: number; stopping?: AbortController } = {},
  ): Promise<T> {
    let result: T | undefined
    await bed.run(
      'toy',
      context =>
        recordRun(context, bed.database, async run => {
          result = await use(new NamedTracks(bed.database, run, work, lockWait), run)
          return { exitCode: ExitCode.ok, summary: {} }
        }),
      { stopping },
    )
    return result as T
  }
  const filterOf = (id: string) => ({ ids: [id], sources: ['LOCAL' as const] })

  test('is done, failed, left out, interrupted, or not there', async () => {
    const ids = await add(5)
    await recordItems(bed.database.knex, [
      {
        command: 'toy',
        subject: ids[2] as string,
        trackId: ids[2] as string,
        state: 'failed',
        errorCode: 'row.changed',
        error: 'before',
        cure: undefined,
        runId: await aRun(),
      },
    ])
    const states = ['done', 'failed', '', 'interrupted'] as const
    const work = toy({
      prepare: async tracks =>
        tracks.filter(({ id }) => states[numberOf(id)] !== '').map(track => ({ track })),
      take: async ({ track }) => ({ state: states[numberOf(track.id)] as 'done' }),
    })
    await bed.database.knex('tracks').where({ id: ids[4] }).update({ file_source: 'S3' })
    const ends = await named(work, async tracks => {
      const all: unknown[] = []
      for (const id of [...ids, randomUUID()]) all.push(await tracks.take(filterOf(id)))
      return all
    })
    expect(ends).toEqual([
      { state: 'ended', outcome: { state: 'done' }, problem: undefined },
      {
        state: 'ended',
        outcome: { state: 'failed' },
        problem: { state: 'failed', code: 'file.changed', reason: 'failed' },
      },
      { state: 'left-out' },
      { state: 'interrupted' },
      { state: 'absent' },
      { state: 'absent' },
    ])
    expect(of('tell')).toEqual(['0 done', '1 failed', '3 interrupted'])
    expect(await claims()).toEqual([])
    expect((await items()).map(one => numberOf(one.track_id))).toEqual([1])
  })

  test('that another run has is waited for', async () => {
    const [id] = (await add(1)) as [string]
    const { knex } = bed.database
    const other = await aRun()
    await claimTracks(knex, { kind: 'toy', runId: other, limit: 1 })
    const end = await named(toy(), async tracks => {
      let asked = 0
      const asks = ({ sql }: { sql: string }) => {
        // Asked for once, in vain: then the other lets go of it.
        if (sql.includes('insert into autodj_ledger.claims') && ++asked === 2)
          void knex('autodj_ledger.claims').where({ run_id: other }).delete().then()
      }
      knex.on('query', asks)
      return tracks.take(filterOf(id)).finally(() => knex.off('query', asks))
    })
    expect(end).toMatchObject({ state: 'ended', problem: undefined })
  })

  test('and locked at its commit is tried again, for as long as that is waited for', async () => {
    const ids = await add(2)
    let commits = 0
    const work = toy({
      commit: async (_, batch) =>
        new Map(batch.map(({ task }) => [task.track.id, ++commits < 3 ? 'locked' : 'done'])),
    })
    expect(await named(work, tracks => tracks.take(filterOf(ids[0] as string)))).toMatchObject({
      state: 'ended',
      outcome: { state: 'done' },
    })
    expect(commits).toBe(3)
    commits = Number.NEGATIVE_INFINITY
    happened = []
    expect(await named(work, tracks => tracks.take(filterOf(ids[1] as string)), { lockWait: 120 })).toEqual({
      state: 'locked',
    })
    expect(of('tell')).toEqual([])
    expect(await claims()).toEqual([])
    // A signal ends the wait.
    const stopping = new AbortController()
    const stopped = await named(
      toy({
        commit: async (_, batch) => {
          stopping.abort('SIGTERM')
          return new Map(batch.map(({ task }) => [task.track.id, 'locked']))
        },
      }),
      tracks => tracks.take(filterOf(ids[1] as string)),
      { lockWait: 600_000, stopping },
    )
    expect(stopped).toEqual({ state: 'locked' })
  })

  test('whose commit fails, fails with that, and those of its batch alone', async () => {
    const ids = await add(3)
    const work = toy({
      commit: async (_, batch) => {
        if (batch.some(({ task }) => numberOf(task.track.id) === 0)) throw new Error('connection lost')
        return new Map(batch.map(({ task }) => [task.track.id, 'done']))
      },
    })
    await named(work, async tracks => {
      await expect(tracks.take(filterOf(ids[0] as string))).rejects.toThrow('connection lost')
      expect(await claims()).toEqual([])
      expect(await tracks.take(filterOf(ids[1] as string))).toMatchObject({ state: 'ended' })
    })
  })
})
