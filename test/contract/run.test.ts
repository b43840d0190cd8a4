/** A run that another one has declared dead, because this machine slept: it must not end as if all were done. */
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { heartbeatMs, recentRuns } from '../../src/db/ledger.ts'
import { ExitCode, TemporaryError } from '../../src/errors.ts'
import { recordRun } from '../../src/runs/recorded-run.ts'
import { TestBed } from '../support/bed.ts'
import { pgliteTestDatabase } from '../support/database.ts'

let bed: TestBed
beforeAll(async () => {
  const credentials = { accessKeyId: 'none', secretAccessKey: 'none' }
  const access = { endpoint: 'http://127.0.0.1:9', region: 'us-east-1', bucket: 'none', credentials }
  bed = await TestBed.open(await pgliteTestDatabase(), access)
})
afterAll(() => bed.close())
afterEach(() => {
  vi.useRealTimers()
})

const declareDead = (): Promise<unknown> =>
  bed.database.knex('autodj_ledger.runs').update({ state: 'abandoned' })

test('one that ends with an error is in the ledger with the exit code of that error', async () => {
  const failures = [
    new TemporaryError('away', { code: 'db.unreachable' }),
    Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }),
    new TypeError('it broke'),
  ]
  const codes: (number | null | undefined)[] = []
  for (const failure of failures) {
    const running = bed.run('probe', context =>
      recordRun(context, bed.database, () => Promise.reject(failure)),
    )
    await running.catch(() => undefined)
    codes.push((await recentRuns(bed.database.knex, { limit: 1 }))[0]?.exitCode)
  }
  expect(codes).toEqual([ExitCode.temporary, ExitCode.temporary, ExitCode.fatal])
})

test('its next heartbeat tells it, and it ends as temporary', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const run = await bed.run('probe', context =>
    recordRun(context, bed.database, async ({ lost }) => {
      vi.advanceTimersByTime(heartbeatMs)
      await declareDead()
      const told = new Promise(resolve => lost.addEventListener('abort', resolve, { once: true }))
      vi.advanceTimersByTime(heartbeatMs)
      await told
      lost.throwIfAborted()
      return { exitCode: ExitCode.ok, summary: {} }
    }),
  )
  expect(run.error).toMatchObject({ code: 'run.lost', cure: expect.stringContaining('Run it again') })
  expect(run.exitCode).toBe(ExitCode.temporary)
})
