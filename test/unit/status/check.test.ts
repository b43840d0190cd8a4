import { expect, test } from 'vitest'
import { checkStatus } from '../../../src/status/check.ts'
import type { Status } from '../../../src/status/status.ts'

const now = new Date('2026-01-31T12:00:00Z')
const hours = (count: number) => new Date(now.getTime() - count * 3_600_000)
const run = (command: string, more: Partial<Status['runs'][number]> = {}): Status['runs'][number] => ({
  command,
  state: 'done',
  startedAt: hours(6),
  finishedAt: hours(5),
  lastSuccess: hours(5),
  host: 'h',
  pid: 1,
  exitCode: 0,
  summary: {},
  ...more,
})
const failure = (items: number): Status['failures'][number] => ({
  command: 'upload-local',
  state: 'failed',
  code: 'x',
  items,
  error: 'e',
  cure: null,
  lastAt: now,
})
const status = (runs: Status['runs'], failures: Status['failures'] = []): Status => ({
  tracks: [{ source: 'S3', tracks: 302, bytes: 0, withFile: 0, analysed: 0 }],
  objects: { objects: 0, bytes: 0, uploaded: 0, verified: 0, served: 0, failing: 0 },
  runs,
  failures,
  working: [],
  locks: [],
})
const thresholds = { maxFailed: 0, maxAge: 36 * 3_600_000, maxDrift: 0 }

test.each<[string, Status, RegExp | undefined]>([
  ['all is well', status([run('run'), run('reconcile', { summary: { drift: 0 } })]), undefined],
  ['a run without the nightly verb', status([run('upload-local')]), undefined],
  ['no run at all', status([]), /no run has succeeded yet/],
  ['a status that ended well is no run', status([run('status --storage')]), /no run has succeeded yet/],
  [
    'an old one',
    status([run('run', { lastSuccess: hours(40) })]),
    /successful run was 1d 16h ago \(at most 1d 12h\)/,
  ],
  [
    'the night is old, whatever was run by hand',
    status([run('run', { lastSuccess: hours(40) }), run('verify')]),
    /successful run was 1d 16h ago/,
  ],
  ['killed', status([run('run'), run('cleanup', { state: 'lost', exitCode: null })]), /cleanup was killed/],
  [
    'failed',
    status([run('run'), run('import', { state: 'failed', exitCode: 5 })]),
    /import ended with exit code 5/,
  ],
  ['failed items', status([run('run')], [failure(3)]), /3 items failed or skipped \(at most 0\)/],
  [
    'drift',
    status([run('run'), run('reconcile', { exitCode: 4, summary: { drift: 1 } })]),
    /1 difference found/,
  ],
])('%s', (_name, given, problem) => {
  const { problems, line } = checkStatus(given, thresholds, now)
  if (problem === undefined) {
    expect(problems).toEqual([])
    expect(line).toBe(
      'AUTODJ OK: 302 tracks in S3, last successful run 5h ago | s3=302 local=0 failed=0;0 drift=0;0 age=18000s;129600',
    )
  } else {
    expect(problems.join('; ')).toMatch(problem)
    expect(line).toMatch(/^AUTODJ WARNING: [^|]+ \| s3=302 /)
  }
})

test('thresholds are what may be', () => {
  const given = status([run('run')], [failure(3)])
  expect(checkStatus(given, { ...thresholds, maxFailed: 3 }, now).problems).toEqual([])
})
