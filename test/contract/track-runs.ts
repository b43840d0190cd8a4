/**
 * What every command that works on tracks does alike, whatever it does with them: upload-local, fetch, analyze and the
 * queue's worker go through one list of behaviours.
 */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { planAnalyze, runAnalyze } from '../../src/analyze/run.ts'
import type { Context } from '../../src/context.ts'
import { startRun } from '../../src/db/ledger.ts'
import { claimTracks } from '../../src/db/tracks.ts'
import { ExitCode } from '../../src/errors.ts'
import { runFetch } from '../../src/fetch/run.ts'
import type { Progress } from '../../src/report/reporter.ts'
import { machineName } from '../../src/runs/recorded-run.ts'
import type { ObjectStore } from '../../src/storage/store.ts'
import { enqueueUpload, planUpload, readUploadRequest, runUpload } from '../../src/upload/run.ts'
import { runWorker } from '../../src/worker/run.ts'
import { type BedRun, fakeAudio, type TestBed } from '../support/bed.ts'
import { withTrigger } from '../support/database.ts'
import { itemPage } from '../support/ledger.ts'
import { addObject, analyzeDefaults, rowOf } from './analyze.ts'
import { uploadDefaults } from './upload.ts'
import { fetchDefaults, workerDefaults } from './worker.ts'

interface RunOptions {
  limit?: number
  dryRun?: boolean
  lockWait?: number
  stopping?: AbortController
  /** called with the number of the track whose audio is touched, from 0, before it is */
  onTrack?: (number: number) => Promise<void> | void
}

interface Subject {
  readonly name: string
  /** of its failures in the ledger */
  readonly command: string
  /** of its claims */
  readonly claim: string
  /** What it takes so many of, with the ids in order. A track with `bad: true` fails. */
  add(bed: TestBed, count: number): Promise<string[]>
  run(bed: TestBed, options?: RunOptions): Promise<BedRun & { progress: Counted[] }>
  isDone(bed: TestBed, id: string): Promise<boolean>
  /** what of a row a trigger puts back */
  readonly setBack: string
  /** when a row is done, in SQL of `new`, and what undoes it afterwards */
  readonly undo: { readonly when: string; readonly set: string }
  /** runs by itself over rows, and is not given them one by one by a queue */
  readonly overRows: boolean
}

/** What a bar was told. */
interface Counted {
  label: string
  items: number
  total: number | undefined
  ended: boolean
}

/** 3 s of clicks, 16 bit at 8 kHz: soon analysed. */
function clicks(seed: number): Buffer {
  const rate = 8_000
  const samples = 3 * rate
  const wav = Buffer.alloc(44 + samples * 2)
  wav.write('RIFF')
  wav.writeUInt32LE(wav.length - 8, 4)
  wav.write('WAVEfmt ', 8)
  wav.writeUInt32LE(16, 16)
  wav.writeUInt16LE(1, 20)
  wav.writeUInt16LE(1, 22)
  wav.writeUInt32LE(rate, 24)
  wav.writeUInt32LE(rate * 2, 28)
  wav.writeUInt16LE(2, 32)
  wav.writeUInt16LE(16, 34)
  wav.write('data', 36)
  wav.writeUInt32LE(samples * 2, 40)
  for (let index = 0; index < samples; index++) {
    const phase = index % 4_000
    wav.writeInt16LE(
      Math.round(12_000 * Math.exp(-phase / 200) * Math.sin(phase * (0.3 + seed / 100))),
      44 + index * 2,
    )
  }
  return wav
}

/** The context with a store that tells when a track is touched, and a bar that remembers. */
function observed(
  bed: TestBed,
  context: Context,
  { onTrack }: RunOptions,
  operation: 'put' | 'get' | 'head',
  progress: Counted[],
): Context {
  let number = 0
  const original = bed.store[operation].bind(bed.store) as (...args: unknown[]) => Promise<unknown>
  const store = {
    ...bed.store,
    async [operation](...args: unknown[]) {
      await onTrack?.(number++)
      return original(...args)
    },
  } as ObjectStore
  const { report } = context
  report.progress = ({ label }): Progress => {
    const counted: Counted = { label, items: 0, total: undefined, ended: false }
    progress.push(counted)
    return {
      advance({ items = 0 }) {
        counted.items += items
      },
      total({ items = counted.total }) {
        counted.total = items
      },
      note() {},
      done() {
        counted.ended = true
      },
    }
  }
  return { ...context, store: async () => store }
}

const uploads: Subject = {
  name: 'upload-local',
  command: 'upload-local',
  claim: 'upload',
  overRows: true,
  setBack: 'new.file_source := old.file_source',
  undo: { when: `new.file_source = 'S3'`, set: 'file_source = old.file_source' },
  async add(bed, count) {
    return (await bed.addTracks(count, 2_000)).sort()
  },
  async run(bed, options = {}) {
    const progress: Counted[] = []
    const run = await bed.run(
      'upload-local',
      async plain => {
        const context = observed(bed, plain, options, 'put', progress)
        const { limit, lockWait = 10_000 } = options
        const request = await readUploadRequest(context, { ...uploadDefaults, limit, lockWait })
        if (!options.dryRun) return runUpload(context, request)
        await planUpload(context, request)
        return ExitCode.ok
      },
      options,
    )
    return { ...run, progress }
  },
  isDone: async (bed, id) => (await bed.tracks()).get(id)?.file_source === 'S3',
}

const fetches: Subject = {
  name: 'fetch',
  command: 'fetch',
  claim: 'fetch',
  overRows: true,
  setBack: 'new.file_source := old.file_source',
  undo: { when: `new.file_source = 'S3'`, set: 'file_source = old.file_source' },
  /** Each has its object in S3 already, under its key. */
  async add(bed, count) {
    const ids: string[] = []
    for (let number = 0; number < count; number++) {
      const key = `audio/there/${number}.mp3`
      await bed.store.put(key, fakeAudio(500, number), {
        headers: { contentType: 'audio/mpeg' },
        checksums: {},
      })
      ids.push(await bed.addTrack({ path: null, source: 'UNAVAILABLE', key }))
    }
    return ids.sort()
  },
  async run(bed, options = {}) {
    const progress: Counted[] = []
    const run = await bed.run(
      'fetch',
      plain => {
        const context = observed(bed, plain, options, 'head', progress)
        const { limit, dryRun = false, lockWait = 10_000 } = options
        return runFetch(context, { ...fetchDefaults, limit, dryRun, lockWait })
      },
      options,
    )
    return { ...run, progress }
  },
  isDone: async (bed, id) => (await bed.tracks()).get(id)?.file_source === 'S3',
}

const analyses: Subject = {
  name: 'analyze',
  command: 'analyze',
  claim: 'analyze',
  overRows: true,
  setBack: 'new.analyzed_at := null',
  undo: { when: 'new.analyzed_at is not null', set: 'analyzed_at = null' },
  async add(bed, count) {
    const ids: string[] = []
    for (let number = 0; number < count; number++)
      ids.push(await addObject(bed, `audio/${number}.wav`, clicks(number)))
    return ids.sort()
  },
  async run(bed, options = {}) {
    const progress: Counted[] = []
    const run = await bed.run(
      'analyze',
      async plain => {
        const context = observed(bed, plain, options, 'get', progress)
        const { limit, lockWait = 10_000 } = options
        const flags = { ...analyzeDefaults, limit, lockWait, concurrency: 2 }
        if (!options.dryRun) return runAnalyze(context, flags)
        await planAnalyze(context, flags)
        return ExitCode.ok
      },
      options,
    )
    return { ...run, progress }
  },
  isDone: async (bed, id) => (await rowOf(bed, id)).analyzed_at !== null,
}

/** Uploads, one by one, as the queue names them. */
const worker: Subject = {
  ...uploads,
  name: 'worker',
  overRows: false,
  async run(bed, options = {}) {
    const enqueued = await bed.run('upload-local', async context =>
      enqueueUpload(context, await readUploadRequest(context, uploadDefaults), undefined),
    )
    expect(enqueued.error).toBeUndefined()
    const run = await bed.run(
      'worker',
      plain => {
        const context = observed(bed, plain, options, 'put', [])
        const { lockWait = 10_000 } = options
        return runWorker(context, { ...workerDefaults, fetch: 0, analyze: 0, upload: 8, lockWait })
      },
      options,
    )
    return { ...run, progress: [] }
  },
}

const subjects = [uploads, fetches, analyses, worker]

async function until(what: () => Promise<boolean>): Promise<void> {
  while (!(await what())) await new Promise(resolve => setTimeout(resolve, 20))
}

/** @param locking whether another connection can hold a row: not on PGlite, which has one */
export function trackRunsContract(
  name: string,
  openBed: () => Promise<TestBed>,
  { locking }: { locking: boolean },
): void {
  describe.each(subjects)(`$name as a run over tracks, on ${name}`, subject => {
    let bed: TestBed
    beforeAll(async () => {
      bed = await openBed()
    })
    afterAll(() => bed.close())
    beforeEach(() => bed.reset())

    const done = async (ids: readonly string[]): Promise<string[]> => {
      const found: string[] = []
      for (const id of ids) if (await subject.isDone(bed, id)) found.push(id)
      return found
    }
    const claims = () => bed.database.knex('autodj_ledger.claims')
    const failures = () => itemPage(bed.database.knex, { command: subject.command, limit: 1_000 })

    /** A run in another process, whose claims are alive for so many seconds. */
    const elsewhere = async (
      leaseSeconds: number,
      process = { host: 'another machine', pid: 1 },
    ): Promise<string> => {
      const id = randomUUID()
      const run = { id, command: subject.command, args: {}, ...process, version: '0' }
      await startRun(bed.database.knex, run, leaseSeconds)
      return id
    }
    const claim = (runId: string, ids: readonly string[]) =>
      claimTracks(bed.database.knex, { kind: subject.claim, runId, limit: 1_000, filter: { ids } })

    /** A trigger on some rows while `work` goes on. */
    const meddling = (ids: readonly string[], body: string, work: () => Promise<void>): Promise<void> => {
      const when = `old.id in (${ids.map(id => `'${id}'`).join(', ')})`
      return withTrigger(bed.database, { body: `${body}; return new;`, when }, work)
    }

    test('what a dead run had claimed is taken up again, also where it dies meanwhile', async () => {
      const ids = await subject.add(bed, 6)
      const dead = await elsewhere(-1)
      await claim(dead, ids.slice(0, 2))
      const dying = await elsewhere(60)
      expect((await claim(dying, ids.slice(2, 3))).tracks).toHaveLength(1)
      const run = await subject.run(bed, {
        async onTrack(number) {
          if (number === 0)
            await bed.database
              .knex('autodj_ledger.runs')
              .where({ id: dying })
              .update({ lease_until: new Date(0) })
        },
      })
      expect(run).toMatchObject({ exitCode: ExitCode.ok, error: undefined })
      expect(await done(ids)).toEqual(ids)
      expect(await claims()).toEqual([])
    })

    test.runIf(subject.overRows)(
      'what a process of this machine had claimed is taken up when the process dies, before its lease ends',
      async () => {
        const ids = await subject.add(bed, 4)
        const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
        const dying = await elsewhere(3_600, { host: machineName(), pid: other.pid as number })
        await claim(dying, ids.slice(2))
        const run = await subject.run(bed, {
          async onTrack(number) {
            if (number > 0) return
            other.kill('SIGKILL')
            await once(other, 'exit')
          },
        })
        expect(run).toMatchObject({ exitCode: ExitCode.ok, error: undefined })
        expect(await done(ids)).toEqual(ids)
        expect(await claims()).toEqual([])
      },
    )

    test.runIf(subject.overRows)(
      'what another run has in its hands is counted, and not called done',
      async () => {
        const ids = await subject.add(bed, 3)
        const runId = await elsewhere(60)
        await claim(runId, ids)
        const run = await subject.run(bed)
        expect(run).toMatchObject({ exitCode: ExitCode.ok, items: [], summary: { left_to_others: 3 } })
        expect(run.summary['message']).not.toMatch(/every/i)
        await claims().where({ run_id: runId, track_id: ids[0] }).del()
        const rest = await subject.run(bed)
        expect(rest).toMatchObject({ exitCode: ExitCode.ok, summary: { left_to_others: 2 } })
        expect(await done(ids)).toEqual([ids[0]])
      },
    )

    test('a row that is set back each time is named, and the run ends', async () => {
      const ids = await subject.add(bed, 3)
      await meddling(ids.slice(1, 2), subject.setBack, async () => {
        const run = await subject.run(bed)
        expect(run.exitCode).toBe(ExitCode.someFailed)
        expect(run.items.filter(item => item['state'] === 'failed')).toMatchObject([
          { track_id: ids[1], code: 'row.set-back', cure: expect.stringContaining('a trigger') },
        ])
        expect(run.summary).toMatchObject(subject.overRows ? { rows_changed: 1 } : { done: 2, given_up: 1 })
      })
      expect(await failures()).toMatchObject([
        { trackId: ids[1], errorCode: 'row.set-back', state: 'failed' },
      ])
      expect(await done(ids)).toEqual([ids[0], ids[2]])
      expect(await claims()).toEqual([])
    })

    test.runIf(subject.overRows)(
      'a row that is undone each time it was done is done once more, named, and the run ends',
      async () => {
        const ids = await subject.add(bed, 3)
        const { knex } = bed.database
        await knex.raw(
          `create function public.undo() returns trigger language plpgsql as $$ begin
             update public.tracks set ${subject.undo.set} where id = new.id; return null; end $$`,
        )
        await knex.raw(
          `create constraint trigger undo after update on public.tracks deferrable initially deferred for each row
           when (old.id = '${ids[1]}' and ${subject.undo.when}) execute function public.undo()`,
        )
        try {
          const run = await subject.run(bed)
          expect(run.exitCode).toBe(ExitCode.someFailed)
          const ofIt = run.items.filter(item => item['track_id'] === ids[1])
          expect(ofIt).toHaveLength(3)
          expect(ofIt.at(-1)).toMatchObject({ state: 'failed', code: 'row.set-back' })
        } finally {
          await knex.raw('drop function public.undo() cascade')
        }
        expect(await done(ids)).toEqual([ids[0], ids[2]])
        expect(await claims()).toEqual([])
      },
    )

    test.runIf(subject.overRows)('--limit names in a dry run what a run then takes', async () => {
      const ids = await subject.add(bed, 5)
      for (const limit of [2, 3]) {
        const left = ids.slice(limit === 2 ? 0 : 2)
        const plan = await subject.run(bed, { limit, dryRun: true })
        expect(plan.items.map(item => item['track_id'])).toEqual(left.slice(0, limit))
        const run = await subject.run(bed, { limit })
        expect(new Set(run.items.map(item => item['track_id']))).toEqual(new Set(left.slice(0, limit)))
      }
      expect(await done(ids)).toEqual(ids)
      expect((await subject.run(bed, { limit: 2, dryRun: true })).items).toEqual([])
    })

    test('Ctrl-C: what is in hand is finished and committed, the next run does the rest, each once', async () => {
      const ids = await subject.add(bed, subject === analyses ? 12 : 60)
      const stopping = new AbortController()
      const first = await subject.run(bed, {
        stopping,
        onTrack(number) {
          if (number === 2) stopping.abort('sigint')
        },
      })
      // A worker runs until it is stopped: that is its normal end.
      expect(first.exitCode).toBe(subject.overRows ? ExitCode.sigint : ExitCode.ok)
      expect(first.error).toBeUndefined()
      const told = first.items.map(item => item['track_id'])
      expect(told.length).toBeLessThan(ids.length)
      expect((await done(ids)).sort()).toEqual([...told].sort())
      expect(await claims()).toEqual([])
      const second = await subject.run(bed)
      expect(second).toMatchObject({ exitCode: ExitCode.ok, error: undefined })
      expect([...told, ...second.items.map(item => item['track_id'])].sort()).toEqual(ids)
      expect(await done(ids)).toEqual(ids)
    })

    test.runIf(subject.overRows && subject !== analyses)(
      'what was done is committed when the database refuses further claims',
      async () => {
        const ids = await subject.add(bed, 60)
        const { knex } = bed.database
        await knex.raw(
          `create function autodj_ledger.refuse() returns trigger language plpgsql as $$ begin
             raise exception 'no more claims'; end $$`,
        )
        try {
          const run = subject.run(bed, {
            async onTrack(number) {
              if (number === 0)
                await knex.raw(
                  `create trigger refuse before insert on autodj_ledger.claims
                   for each statement execute function autodj_ledger.refuse()`,
                )
            },
          })
          await expect(run).rejects.toThrow('no more claims')
          expect((await done(ids)).length).toBeGreaterThanOrEqual(50)
        } finally {
          await knex.raw('drop function autodj_ledger.refuse() cascade')
        }
        expect(await claims()).toEqual([])
      },
    )

    test('one that is slow keeps no other waiting', async () => {
      const ids = await subject.add(bed, subject === analyses ? 9 : 60)
      const { promise: opened, resolve: open } = Promise.withResolvers<void>()
      const running = subject.run(bed, { onTrack: number => (number === 0 ? opened : undefined) })
      await until(async () => (await done(ids)).length === ids.length - 1)
      open()
      expect(await running).toMatchObject({ exitCode: ExitCode.ok, error: undefined })
      expect(await done(ids)).toEqual(ids)
    })

    test('commits are of many', async () => {
      const ids = await subject.add(bed, 12)
      await subject.run(bed)
      expect(await done(ids)).toEqual(ids)
      const { rows } = await bed.database.knex.raw(
        'select count(distinct xmin::text)::int as commits from public.tracks',
      )
      expect(rows[0].commits).toBeLessThan(ids.length)
    })

    test.runIf(subject.overRows)('the bar counts each track once, and is taken away', async () => {
      await subject.add(bed, 4)
      const { progress } = await subject.run(bed)
      expect(progress).toMatchObject([{ items: 4, total: 4, ended: true }])
      expect((await subject.run(bed)).progress).toMatchObject([{ items: 0, total: 0, ended: true }])
    })

    test('a row that the database refuses fails in its words; the others are committed', async () => {
      const ids = await subject.add(bed, 7)
      // Whatever SQLSTATE a trigger gives its refusal: of a right that is lacking one might think that no row has it.
      const body = `if new.id = '${ids[5]}' then raise exception 'not on my watch' using errcode = '42501'; end if;
        raise exception 'not on my watch'`
      await meddling([ids[3] as string, ids[5] as string], body, async () => {
        const run = await subject.run(bed)
        expect(run.exitCode).toBe(ExitCode.someFailed)
        const refused = { code: 'row.refused', reason: expect.stringMatching(/: not on my watch$/) }
        const told = run.items.filter(item => item['state'] === 'failed')
        expect(
          told.toSorted((a, b) => (String(a['track_id']) < String(b['track_id']) ? -1 : 1)),
        ).toMatchObject([
          { track_id: ids[3], ...refused },
          { track_id: ids[5], ...refused },
        ])
      })
      expect(await done(ids)).toEqual(ids.filter((_, index) => index !== 3 && index !== 5))
      expect(await failures()).toMatchObject(
        [ids[3], ids[5]].map(trackId => ({ trackId, errorCode: 'row.refused', state: 'failed' })),
      )
      expect(await claims()).toEqual([])
      if (!subject.overRows) return
      expect((await subject.run(bed)).exitCode).toBe(ExitCode.ok)
      expect(await done(ids)).toEqual(ids)
      expect(await failures()).toEqual([])
    })

    test('what every row is refused for is told of each, and the run ends as any other', async () => {
      const ids = await subject.add(bed, 3)
      const { knex } = bed.database
      await knex.raw('alter table public.tracks add constraint closed check (updated_at is null) not valid')
      try {
        const run = await subject.run(bed)
        expect(run.exitCode).toBe(ExitCode.someFailed)
        expect(run.error).toBeUndefined()
        expect(await failures()).toMatchObject(
          ids.map(() => ({
            errorCode: 'row.refused',
            error: expect.stringMatching(/check constraint "closed"$/),
          })),
        )
      } finally {
        await knex.raw('alter table public.tracks drop constraint closed')
      }
    })

    describe.runIf(locking)('rows that another transaction has locked', () => {
      /** Rows locked by somebody else until it is ended. */
      const lock = async (ids: readonly string[]) => {
        const trx = await bed.database.knex.transaction()
        await trx('public.tracks').whereIn('id', ids).forUpdate().select('id')
        const unlock = async (): Promise<void> => {
          if (!trx.isCompleted()) await trx.rollback()
        }
        onTestFinished(unlock)
        return { unlock }
      }

      test('are come back to', async () => {
        const ids = await subject.add(bed, 5)
        const { unlock } = await lock(ids.slice(0, 3))
        const running = subject.run(bed)
        await until(async () => (await done(ids)).length === 2)
        await unlock()
        expect(await running).toMatchObject({ exitCode: ExitCode.ok, error: undefined })
        expect(await done(ids)).toEqual(ids)
      })

      test('and locked only when their work was done, are committed when they are free', async () => {
        const ids = await subject.add(bed, 5)
        let held: Awaited<ReturnType<typeof lock>> | undefined
        const { promise: opened, resolve: open } = Promise.withResolvers<void>()
        const running = subject.run(bed, {
          async onTrack(number) {
            if (number === 0) {
              held = await lock(ids.slice(0, 2))
              open()
            }
            await opened
          },
        })
        // The others of their batch do not wait for them.
        await until(async () => (await done(ids)).length === 3)
        await held?.unlock()
        const run = await running
        expect(run).toMatchObject({ exitCode: ExitCode.ok, error: undefined })
        expect(run.items.map(item => item['track_id']).sort()).toEqual(ids)
        expect(await done(ids)).toEqual(ids)
        expect(await claims()).toEqual([])
      })

      test.runIf(subject.overRows)('all the time, are counted; nothing is said to be done', async () => {
        const ids = await subject.add(bed, 4)
        const { unlock } = await lock(ids)
        try {
          const run = await subject.run(bed, { lockWait: 300 })
          expect(run).toMatchObject({ exitCode: ExitCode.temporary, items: [], summary: { rows_locked: 4 } })
          expect(run.summary['message']).not.toMatch(/every|^Nothing to/i)
          expect(run.messages).toContainEqual(
            expect.objectContaining({
              code: 'row.locked',
              message: expect.stringMatching(
                /^4 rows stayed locked by another transaction, autodj test \(pid \d+/,
              ),
            }),
          )
        } finally {
          await unlock()
        }
        expect((await subject.run(bed)).exitCode).toBe(ExitCode.ok)
        expect(await done(ids)).toEqual(ids)
      })
    })
  })
}
