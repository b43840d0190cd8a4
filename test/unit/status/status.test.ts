import { expect, test } from 'vitest'
import { nextStep, type SourceCount, type Status } from '../../../src/status/status.ts'

const rows = (
  source: SourceCount['source'],
  tracks: number,
  more: Partial<SourceCount> = {},
): SourceCount => ({
  source,
  tracks,
  bytes: 0,
  withFile: source === 'S3' || source === 'UNAVAILABLE' ? 0 : tracks,
  analysed: tracks,
  ...more,
})
const failed = (command: string, items: number): Status['failures'][number] => ({
  command,
  state: 'failed',
  code: 'x',
  items,
  error: 'e',
  cure: null,
  lastAt: new Date(0),
})
const state = (
  tracks: SourceCount[],
  { served = 0, failures = [] }: { served?: number; failures?: Status['failures'] } = {},
): Status => ({
  tracks,
  objects: { objects: 0, bytes: 0, uploaded: 0, verified: 0, served, failing: 0 },
  runs: [],
  failures,
  working: [],
  locks: [],
})

test.each<[name: string, status: Status, hasCdn: boolean, next: string | undefined]>([
  ['no rows', state([]), true, 'autodj import'],
  ['local files', state([rows('LOCAL', 3), rows('S3', 5)]), true, 'autodj upload-local'],
  ['rows of a deployment without sources', state([rows(null, 3)]), false, 'autodj upload-local'],
  [
    'local files of which every one has failed',
    state([rows('LOCAL', 2), rows('S3', 5)], { failures: [failed('upload-local', 2)] }),
    true,
    'autodj upload-local --retry-failed',
  ],
  ['no audio', state([rows('UNAVAILABLE', 1), rows('S3', 5)], { served: 5 }), true, 'autodj fetch'],
  [
    'no audio, and looked for already',
    state([rows('UNAVAILABLE', 1), rows('S3', 5)], { served: 5, failures: [failed('fetch', 1)] }),
    true,
    undefined,
  ],
  ['not seen through the CDN', state([rows('S3', 5)], { served: 4 }), true, 'autodj verify'],
  ['the same without a CDN', state([rows('S3', 5)], { served: 0 }), false, undefined],
  ['not analysed', state([rows('S3', 5, { analysed: 4 })], { served: 5 }), true, 'autodj analyze'],
  ['local copies left', state([rows('S3', 5, { withFile: 2 })], { served: 5 }), true, 'autodj cleanup'],
  ['all done', state([rows('S3', 5)], { served: 5 }), true, undefined],
])('%s', (_name, status, hasCdn, next) => {
  const step = nextStep(status, hasCdn)
  if (next === undefined) expect(step).toBeUndefined()
  else expect(step).toMatch(new RegExp(`^\`${next}\``))
})
