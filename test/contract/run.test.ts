/** A run in the ledger: how it ends, what keeps it alive, and one that another has declared dead, because this machine slept. */
import { spawnSync } from 'node:child_process'
import { hostname } from 'node:os'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { heartbeatMs, recentRuns } from '../../src/db/ledger.ts'
import { ExitCode, TemporaryError } from '../../src/errors.ts'
import { isProcessAlive, machineName, type RecordedRun, recordRun } from '../../src/runs/recorded-run.ts'
import { TestBed } from '../support/bed.ts'
import { pgliteTestDatabase } from '../support/database.ts'

let bed: TestBed
beforeAll(async () => {
  const credentials = { accessKeyId: 'none', secretAccessKey: 'none' }
  const access = { endpoint: 'http://127.0.0.1:9', region: 'us-east-1', bucket: 'none', credentials }
  bed = await TestBed.open(await pgliteTestDatabase(), access)
})
afterAll(() => bed.close())
beforeEach(() => bed.database.knex('autodj_ledger.runs').delete())
afterEach(() => {
  vi.useRealTimers()
})

const declareDead = (): Promise<unknown> =>
  bed.database.knex('autodj_ledger.runs').update({ state: 'abandoned' })
const ended = async () => (await recentRuns(bed.database.knex, { limit: 1 }))[0]

describe('is in the ledger', () => {
  test.each<[ExitCode, string]>([
    [ExitCode.ok, 'done'],
    [ExitCode.someFailed, 'failed'],
    [ExitCode.timeBudget, 'failed'],
    [ExitCode.sigint, 'interrupted'],
    [ExitCode.sigterm, 'interrupted'],
  ])('when it ends with %i as %s, with its summary', async (exitCode, state) => {
    const run = await bed.run('probe', context =>
      recordRun(context, bed.database, async () => ({ exitCode, summary: { moved: 3 } })),
    )
    expect(run.exitCode).toBe(exitCode)
    expect(await ended()).toMatchObject({ command: 'probe', state, exitCode, summary: { moved: 3 } })
  })

  test.each<[string, Error, string | undefined, ExitCode, string]>([
    [
      'one that is foreseen',
      new TemporaryError('away', { code: 'db.unreachable' }),
      undefined,
      ExitCode.temporary,
      'failed',
    ],
    [
      'a full disk',
      Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }),
      undefined,
      ExitCode.temporary,
      'failed',
    ],
    ['a bug', new TypeError('it broke'), undefined, ExitCode.fatal, 'failed'],
    [
      'any, of one that was told to stop',
      new TypeError('it broke'),
      'sigint',
      ExitCode.sigint,
      'interrupted',
    ],
  ])('when it ends with an error: %s', async (_, failure, stop, exitCode, state) => {
    const stopping = new AbortController()
    if (stop !== undefined) stopping.abort(stop)
    const running = bed.run(
      'probe',
      context => recordRun(context, bed.database, () => Promise.reject(failure)),
      { stopping },
    )
    await running.catch(error => expect(error).toBe(failure))
    expect(await ended()).toMatchObject({ state, exitCode, summary: {} })
  })
})

/** Runs work in which time passes as it is told. */
const inTime = (work: (run: RecordedRun) => Promise<void>, lease?: Parameters<typeof recordRun>[3]) => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  return bed.run('probe', context =>
    recordRun(
      context,
      bed.database,
      async run => {
        await work(run)
        return { exitCode: ExitCode.ok, summary: {} }
      },
      lease,
    ),
  )
}

test('is alive as long as its lease says from its last sign of life, which it gives as often as told', async () => {
  const left = async () => {
    const { rows } = await bed.database.knex.raw(
      `select extract(epoch from lease_until - now())::float as left from autodj_ledger.runs`,
    )
    return rows[0].left as number
  }
  await inTime(
    async () => {
      expect(await left()).toBeGreaterThan(900)
      await bed.database.knex('autodj_ledger.runs').update({ lease_until: new Date() })
      vi.advanceTimersByTime(4_999)
      expect(await left()).toBeLessThan(1)
      vi.advanceTimersByTime(1)
      await expect.poll(left).toBeGreaterThan(900)
    },
    { seconds: 1_000, heartbeat: 5_000 },
  )
})

test('whose signs of life, and whose end, do not reach the database goes on and ends as it does, and tells it', async () => {
  const { knex } = bed.database
  const details: string[] = []
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const run = await bed
    .run('probe', context => {
      context.report.detail = text => void details.push(text)
      return recordRun(context, bed.database, async ({ lost }) => {
        await knex.raw('alter table autodj_ledger.runs rename to away')
        vi.advanceTimersByTime(heartbeatMs)
        await expect.poll(() => details).toEqual([expect.stringMatching(/^heartbeat: /)])
        expect(lost.aborted).toBe(false)
        return { exitCode: ExitCode.ok, summary: {} }
      })
    })
    .finally(() => knex.raw('alter table autodj_ledger.away rename to runs'))
  expect(run.exitCode).toBe(ExitCode.ok)
  expect(details[1]).toMatch(/^the end of the run could not be recorded: /)
})

test('that another declared dead is told so by its next heartbeat, and ends as temporary', async () => {
  const run = await inTime(async ({ lost, stopping }) => {
    vi.advanceTimersByTime(heartbeatMs)
    await declareDead()
    const told = new Promise(resolve => lost.addEventListener('abort', resolve, { once: true }))
    vi.advanceTimersByTime(heartbeatMs)
    await told
    expect(stopping.aborted).toBe(true)
    lost.throwIfAborted()
  })
  expect(run.error).toMatchObject({ code: 'run.lost', cure: expect.stringContaining('Run it again') })
  expect(run.exitCode).toBe(ExitCode.temporary)
})

test('ends from within with what it was ended for, and whoever tells it to stop is heard', async () => {
  const reason = new Error('credentials are gone')
  await bed.run('probe', context =>
    recordRun(context, bed.database, async ({ stopping, halt }) => {
      expect(stopping.aborted).toBe(false)
      halt(reason)
      expect([stopping.aborted, stopping.reason]).toEqual([true, reason])
      return { exitCode: ExitCode.ok, summary: {} }
    }),
  )
  for (const by of ['stopping', 'forcing']) {
    const outside = new AbortController()
    await bed.run(
      'probe',
      context =>
        recordRun(context, bed.database, async ({ stopping, lost }) => {
          outside.abort('sigint')
          expect([stopping.aborted, lost.aborted]).toEqual([true, false])
          return { exitCode: ExitCode.ok, summary: {} }
        }),
      { [by]: outside },
    )
  }
})

test('a process is alive while it is there, whoever it belongs to; machines are told apart by their names', () => {
  const { pid } = spawnSync('true')
  expect([isProcessAlive(process.pid), isProcessAlive(1), isProcessAlive(pid)]).toEqual([true, true, false])
  expect(machineName()).toMatch(new RegExp(`^${hostname()}( pid:\\[\\d+\\])?$`))
})
