/** What a worker says at its end, and with which code it ends. */
import { expect, test } from 'vitest'
import { ExitCode } from '../../../src/errors.ts'
import { exitCodeOf, summariseWorker } from '../../../src/worker/summary.ts'

const totals = { done: { fetch: 0, upload: 0, analyze: 0 }, retried: 0, givenUp: 0, interrupted: 0 }
const queues = '`autodj status --queues`'

test.each<[Partial<typeof totals>, string[], string | undefined]>([
  [{}, ['0 jobs done in 1m 30s.'], undefined],
  [{ done: { fetch: 0, upload: 1, analyze: 0 } }, ['1 job done in 1m 30s (1 upload).'], undefined],
  [
    { done: { fetch: 1, upload: 2_000, analyze: 4 } },
    ['2,005 jobs done in 1m 30s (1 fetch, 2,000 upload, 4 analyze).'],
    undefined,
  ],
  [{ retried: 1 }, ['0 jobs done in 1m 30s.', '1 attempt failed and went back into the queue.'], undefined],
  [{ interrupted: 2 }, ['0 jobs done in 1m 30s.', '2 jobs put back for the next worker.'], undefined],
  [
    { givenUp: 3 },
    ['0 jobs done in 1m 30s.', '3 jobs given up; see above, or the ledger, for the reasons.'],
    queues,
  ],
])('%j', (some, lines, next) => {
  const summary = summariseWorker({ ...totals, ...some }, 90)
  expect([summary.lines, summary.next]).toEqual([lines, next])
})

test('its fields for programs', () => {
  const done = { fetch: 1, upload: 20, analyze: 300 }
  expect(summariseWorker({ done, retried: 4, givenUp: 5, interrupted: 6 }, 7.5).fields).toEqual({
    done: 321,
    by_kind: done,
    attempts_failed: 4,
    given_up: 5,
    put_back: 6,
    seconds: 7.5,
  })
})

test.each<[Parameters<typeof exitCodeOf>[0], ExitCode]>([
  [{ stopped: undefined, drained: true, givenUp: 0 }, ExitCode.ok],
  [{ stopped: undefined, drained: true, givenUp: 1 }, ExitCode.someFailed],
  [{ stopped: ExitCode.sigterm, drained: true, givenUp: 0 }, ExitCode.ok],
  [{ stopped: ExitCode.timeBudget, drained: true, givenUp: 1 }, ExitCode.timeBudget],
  [{ stopped: ExitCode.sigint, drained: false, givenUp: 1 }, ExitCode.sigint],
  [{ stopped: undefined, drained: false, givenUp: 1 }, ExitCode.temporary],
])('%j ends with %i', (end, code) => {
  expect(exitCodeOf(end)).toBe(code)
})
