/** What a run of verify says in the end: counted as it comes, and nothing of what is not served. */
import { expect, test } from 'vitest'
import { finding } from '../../../src/core/diagnosis/causes.ts'
import { Tally } from '../../../src/verify/tally.ts'
import type { TrackResult } from '../../../src/verify/track-result.ts'

const track = (key: string | null) => ({ id: `id of ${key}`, key, size: 1, etag: null, sha256: null })
const served = (more: Partial<TrackResult>): TrackResult => ({
  track: track('a'),
  served: true,
  findings: [],
  ...more,
})

test('nothing at all', () => {
  expect(new Tally().summary()).toEqual({
    tracks: 0,
    served: 0,
    failed: 0,
    checked: { bytes: 0, full: 0, direct: 0 },
    sized: 0,
    providers: {},
    hitRatio: undefined,
    p50: undefined,
    p95: undefined,
    failures: [],
    warnings: [],
  })
})

test('what is served, how, and what was compared of it', () => {
  const tally = new Tally()
  tally.add(served({ cacheHit: true, provider: 'cloudfront', latencyMs: 10, checked: ['bytes'], size: 1 }))
  tally.add(served({ cacheHit: false, provider: 'cloudfront', latencyMs: 10, checked: ['bytes', 'full'] }))
  // Nobody can compare what only one of the two tells.
  tally.add(served({ provider: 'none', size: 1, track: { ...track('a'), size: null } }))
  tally.add(served({ cacheHit: true }))
  // Not served: none of it counts.
  tally.add({
    ...served({ size: 1, cacheHit: true, provider: 'fastly', latencyMs: 90_000, checked: ['direct'] }),
    served: false,
    findings: [finding('object-missing', [])],
  })
  const summary = tally.summary()
  expect(summary).toMatchObject({
    tracks: 5,
    served: 4,
    failed: 1,
    checked: { bytes: 2, full: 1, direct: 0 },
    sized: 1,
    providers: { cloudfront: 2, none: 1 },
    hitRatio: 0.5,
  })
  expect(summary.providers).toEqual({ cloudfront: 2, none: 1 })
  expect(summary.p95).toBeLessThan(20)
})

test('causes by how often they come, with the first of their tracks', () => {
  const tally = new Tally()
  const failed = (key: string | null, ...causes: Parameters<typeof finding>[0][]) =>
    tally.add({ track: track(key), served: false, findings: causes.map(cause => finding(cause, [])) })
  failed('a', 'object-missing')
  for (const key of ['b', null, 'd', 'e']) failed(key, 'oac-missing')
  failed('f', 'object-missing', 'oac-missing')
  tally.add(served({ findings: [finding('caching-headers', [])] }))
  const { failures, warnings } = tally.summary()
  expect(failures.map(({ cause, count, examples }) => [cause, count, examples])).toEqual([
    ['oac-missing', 5, ['b', 'id of null', 'd']],
    ['object-missing', 2, ['a', 'f']],
  ])
  for (const { title, cure } of failures) expect([title, cure]).not.toContain('')
  expect(warnings.map(({ count, examples }) => [count, examples])).toEqual([[1, ['a']]])
})
