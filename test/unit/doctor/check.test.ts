import { expect, test } from 'vitest'
import {
  type Check,
  type CheckResult,
  failure,
  limitsOf,
  ok,
  runChecks,
  warning,
} from '../../../src/doctor/check.ts'
import { FatalError } from '../../../src/errors.ts'

async function run(checks: readonly Check[], signal = new AbortController().signal): Promise<CheckResult[]> {
  const results: CheckResult[] = []
  for await (const result of runChecks(checks, signal)) results.push(result)
  return results
}
const summary = (results: readonly CheckResult[]) =>
  results.map(({ name, state, cause }) => `${name} ${state}: ${cause}`)

test('in order; what needs a failed or skipped check is skipped, a warning is good enough', async () => {
  const results = await run([
    { name: 'a', run: async () => ok('fine') },
    { name: 'b', needs: ['a'], run: async () => warning('hm', 'do') },
    { name: 'c', needs: ['b'], run: async () => failure('broken', 'mend') },
    { name: 'd', needs: ['a', 'c'], run: async () => ok('never') },
    { name: 'e', needs: ['d'], run: async () => ok('never') },
    { name: 'f', run: async () => ok('still run') },
  ])
  expect(summary(results)).toEqual([
    'a ok: fine',
    'b warning: hm',
    'c failure: broken',
    'd skipped: needs "c"',
    'e skipped: needs "d"',
    'f ok: still run',
  ])
})

test('what a check throws is its failure, with the cure of a typed error', async () => {
  const results = await run([
    {
      name: 'typed',
      run: () => Promise.reject(new FatalError('no bucket', { code: 'bucket.missing', cure: 'make one' })),
    },
    { name: 'plain', run: () => Promise.reject(new Error('oops')) },
  ])
  expect(results).toMatchObject([
    { state: 'failure', cause: 'no bucket', cure: 'make one' },
    { state: 'failure', cause: 'oops', cure: expect.stringContaining('--verbose') },
  ])
})

test('a check that hangs fails after its time, also when it ignores the signal', async () => {
  const results = await run([
    { name: 'deaf', timeoutMs: 20, run: () => new Promise(() => {}) },
    { name: 'next', run: async () => ok('reached') },
  ])
  expect(summary(results)).toEqual(['deaf failure: no answer within 0.02 s', 'next ok: reached'])
})

test('an operator waits seconds, unless he says otherwise; every limit follows', () => {
  expect(limitsOf()).toEqual({ connectMs: 3_000, idleMs: 5_000, patience: 1 })
  expect(limitsOf(30_000)).toEqual({ connectMs: 18_000, idleMs: 30_000, patience: 6 })
})

test('a stop ends it', async () => {
  const abort = new AbortController()
  const running = run(
    [
      {
        name: 'a',
        run: async () => {
          abort.abort(new Error('stopped'))
          return ok('')
        },
      },
      { name: 'b', run: async () => ok('never') },
    ],
    abort.signal,
  )
  await expect(running).rejects.toThrow('stopped')
})
