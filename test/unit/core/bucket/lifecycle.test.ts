/** Rules are written as the S3 API Reference has them (PutBucketLifecycleConfiguration). */
import { describe, expect, test } from 'vitest'
import { type ObservedBucket, ourRules, type Wishes } from '../../../../src/core/bucket/assessment.ts'
import { lifecycle, tieringCost } from '../../../../src/core/bucket/lifecycle.ts'
import type { JsonObject } from '../../../../src/core/bucket/plan.ts'
import { wishes } from '../../../support/bucket-wishes.ts'

const observed = { versioning: { state: 'unset' } } as unknown as ObservedBucket
const rule = (more: JsonObject): JsonObject => ({ ID: 'theirs', Status: 'Enabled', ...more })
const look = (
  rules: JsonObject[],
  more: Partial<Wishes> = {},
  versioning: JsonObject | undefined = undefined,
) =>
  lifecycle({ Rules: rules }, { ...wishes, ...more }, {
    ...observed,
    ...(versioning && { versioning: { state: 'set', value: versioning } }),
  } as ObservedBucket)
const said = (setting: string, ...args: Parameters<typeof look>) =>
  look(...args)
    .checks.filter(check => check.setting === `lifecycle-${setting}`)
    .map(({ state, found }) => `${state}: ${found}`)
const added = (...args: Parameters<typeof look>) =>
  look(...args).changes.flatMap(
    change => (change as { becomes: JsonObject }).becomes['Rules'] as JsonObject[],
  )

const all: JsonObject[] = [
  {},
  { Filter: {} },
  { Filter: { Prefix: '' } },
  { Prefix: '' },
] satisfies JsonObject[]
/** Filters of which a rule cannot be for every object. */
const some: JsonObject[] = [
  { Filter: { Prefix: 'x/' } },
  { Prefix: 'x/' },
  { Filter: { ObjectSizeGreaterThan: 1 } },
  { Filter: { Tag: { Key: 'k', Value: 'v' } } },
  { Filter: { And: { Prefix: '', ObjectSizeGreaterThan: 1 } } },
]

describe('abandoned uploads', () => {
  const within = (DaysAfterInitiation: number) => ({
    AbortIncompleteMultipartUpload: { DaysAfterInitiation },
  })
  const ok = 'ok: abandoned multipart uploads are removed'
  test.each<[JsonObject, boolean]>([
    ...all.map((filter): [JsonObject, boolean] => [{ ...filter, ...within(7) }, true]),
    ...some.map((filter): [JsonObject, boolean] => [{ ...filter, ...within(7) }, false]),
    [within(8), false],
    // Under one of our names it may be gone with the next change, unless it is the one for this.
    [{ ...within(7), ID: ourRules.abort }, true],
    [{ ...within(7), ID: ourRules.tiering }, false],
    [{ Filter: {}, Expiration: { Days: 1 } }, false],
    [{ ...within(1), Status: 'Disabled' }, false],
  ])('%j: %s', (more, isServed) => {
    const given = rule(more)
    const [found] = said('uploads', [given])
    expect(found === ok).toBe(isServed)
    expect(added([given]).some(one => one !== given && one['ID'] === ourRules.abort)).toBe(!isServed)
  })
})

describe('the quarantine', () => {
  const days = (Days: number) => ({ Expiration: { Days } })
  test.each<[JsonObject, boolean]>([
    [{ Filter: { Prefix: 'quarantine/' }, ...days(30) }, true],
    [{ Prefix: 'quarantine/', ...days(1) }, true],
    [{ Filter: { Prefix: 'quarantine/' }, ...days(31) }, false],
    [{ Filter: { Prefix: 'quarantine/' }, Expiration: { ExpiredObjectDeleteMarker: true } }, false],
    [{ Filter: { Prefix: 'quarantine/' }, Transitions: [] }, false],
    [{ Filter: { Prefix: 'quarantine/a/' }, ...days(1) }, false],
    // What expires everything is no rule for the quarantine.
    [{ Filter: {}, ...days(1) }, false],
    [{ Filter: { And: { Prefix: 'quarantine/', ObjectSizeGreaterThan: 1 } }, ...days(1) }, false],
  ])('expires by %j: %s', (more, isServed) => {
    const [found] = said('quarantine', [rule(more)])
    expect(found).toBe(
      isServed
        ? 'ok: quarantine/ expires'
        : 'warning: what reconcile moves to quarantine/ stays there for good',
    )
  })

  const looks = 'ok: quarantine/ is emptied by `autodj cleanup` alone, which looks at the rows first'
  const blind = (what: string) =>
    `warning: a lifecycle rule deletes what is in ${what}, even if a row has lost its object`
  test.each<[JsonObject, string]>([
    [{ Filter: { Prefix: 'quarantine/' }, ...days(14) }, blind('quarantine/ after 14 days')],
    [{ Prefix: 'quarantine/', ...days(14) }, blind('quarantine/ after 14 days')],
    [{ Filter: { Prefix: 'quar' }, ...days(1) }, blind('quarantine/ after 1 days')],
    [{ ...days(1) }, blind('quarantine/ after 1 days')],
    [{ Filter: { Prefix: 'quarantine/2026/' }, ...days(3) }, blind('quarantine/2026/ after 3 days')],
    [
      { Filter: { And: { Prefix: 'quarantine/', ObjectSizeGreaterThan: 1 } }, ...days(3) },
      blind('quarantine/ after 3 days'),
    ],
    [{ Filter: { Tag: { Key: 'k', Value: 'v' } }, ...days(3) }, blind('quarantine/ after 3 days')],
    [
      { Filter: { Prefix: 'quarantine/' }, Expiration: { Date: '2027-01-01T00:00:00.000Z' } },
      blind('quarantine/ on 2027-01-01'),
    ],
    [{ Filter: { Prefix: 'quarantine/' }, Expiration: { ExpiredObjectDeleteMarker: true } }, looks],
    [{ Filter: { Prefix: 'quarantine/' }, Transitions: [{ Days: 1, StorageClass: 'GLACIER' }] }, looks],
    [{ Filter: { Prefix: 'audio/' }, ...days(1) }, looks],
    [{ Filter: { Prefix: 'antine/' }, ...days(1) }, looks],
    [{ Filter: { Prefix: 'quarantine/' }, ...days(14), Status: 'Disabled' }, looks],
  ])('is not to be emptied without a look: %j', (more, found) => {
    const args = [[rule(more)], { quarantine: { prefix: 'quarantine/', days: undefined } }] as const
    expect(said('quarantine', [...args[0]], args[1])).toEqual([found])
    expect(added([...args[0]], args[1]).filter(one => one['ID'] === ourRules.quarantine)).toEqual([])
  })
})

describe('old versions at the prefixes of our own', () => {
  const within = (NoncurrentDays: number) => ({ NoncurrentVersionExpiration: { NoncurrentDays } })
  test.each<[JsonObject, staging: boolean, quarantine: boolean]>([
    [{ ...within(7) }, true, true],
    [{ Filter: { Prefix: 'audio/' }, ...within(7) }, true, false],
    [{ Filter: { Prefix: 'aud' }, ...within(7) }, true, false],
    [{ Filter: { Prefix: 'incoming/' }, ...within(7) }, false, false],
    [{ Filter: { Prefix: 'quarantine/' }, ...within(7) }, false, true],
    [{ Filter: { Prefix: 'quarantine/a/' }, ...within(7) }, false, false],
    [{ ...within(8) }, false, false],
    [{ Filter: { ObjectSizeGreaterThan: 1 }, ...within(7) }, false, false],
    [{ NoncurrentVersionExpiration: { NoncurrentDays: 1, NewerNoncurrentVersions: 1 } }, false, false],
  ])('%j', (more, staging, quarantine) => {
    const states = (setting: string) => said(setting, [rule(more)], {}, { Status: 'Suspended' })
    expect(states('staging-versions')).toEqual([
      staging
        ? 'ok: old versions in audio/.incoming/ expire'
        : 'warning: what fetch was downloading to audio/.incoming/ stays as old versions, unseen, and costs money',
    ])
    expect(states('quarantine-versions')).toEqual([
      quarantine
        ? 'ok: old versions in quarantine/ expire'
        : 'warning: what cleanup deleted in quarantine/ stays as old versions, unseen, and costs money',
    ])
  })

  test('are none in a bucket that never had versions', () => {
    expect(said('staging-versions', [], {}, {})).toEqual([])
    expect(said('staging-versions', [], { versioning: true }, {})).toHaveLength(1)
  })
})

describe('archives', () => {
  const to = (...classes: string[]) => ({
    Transitions: classes.map(StorageClass => ({ Days: 90, StorageClass })),
  })
  test.each<[JsonObject, boolean]>([
    [{ ...to('GLACIER') }, true],
    [{ ...to('DEEP_ARCHIVE') }, true],
    [{ ...to('STANDARD_IA', 'GLACIER') }, true],
    [{ ...to('GLACIER_IR', 'STANDARD_IA') }, false],
    [{ Filter: { Prefix: 'aud' }, ...to('GLACIER') }, true],
    [{ Filter: { Prefix: 'audio/Old/' }, ...to('GLACIER') }, true],
    [{ Filter: { Prefix: 'dio/' }, ...to('GLACIER') }, false],
    [{ Filter: { Prefix: 'my audio/' }, ...to('GLACIER') }, false],
    [{ Filter: { Prefix: 'logs/' }, ...to('GLACIER') }, false],
    // Large files, or those with a tag, are audio all the same.
    [{ Filter: { ObjectSizeGreaterThan: 1 }, ...to('GLACIER') }, true],
    [{ Filter: { And: { Prefix: 'audio/', ObjectSizeGreaterThan: 1 } }, ...to('GLACIER') }, true],
    [{ Filter: { And: { Prefix: 'logs/', ObjectSizeGreaterThan: 1 } }, ...to('GLACIER') }, false],
    [{ ...to('GLACIER'), Status: 'Disabled' }, false],
    [{ Expiration: { Days: 3 } }, false],
  ])('take audio away: %j: %s', (more, isFound) => {
    expect(said('archive', [rule({ ID: 'logs', Expiration: { Days: 1 } }), rule(more)])).toEqual(
      isFound ? ['failure: rule theirs moves audio to an archive, where the CDN cannot read it'] : [],
    )
  })

  test('a rule need not have a name', () => {
    expect(said('archive', [{ Status: 'Enabled', ...to('GLACIER') }])).toEqual([
      'failure: rule (no id) moves audio to an archive, where the CDN cannot read it',
    ])
  })
})

describe('another storage class', () => {
  const tiering = { storageClass: 'STANDARD_IA', days: 30 } as const
  const to = (...classes: string[]) => ({
    Transitions: classes.map(StorageClass => ({ Days: 90, StorageClass })),
  })
  test.each<[JsonObject, boolean]>([
    [{ ...to('STANDARD_IA') }, true],
    [{ ...to('STANDARD_IA', 'GLACIER_IR') }, true],
    [{ ...to('GLACIER_IR') }, false],
    [{ Filter: { Prefix: 'audio/' }, ...to('STANDARD_IA') }, true],
    [{ Filter: { Prefix: 'aud' }, ...to('STANDARD_IA') }, true],
    [{ Filter: { Prefix: 'dio/' }, ...to('STANDARD_IA') }, false],
    [{ Filter: { Prefix: 'audio/Old/' }, ...to('STANDARD_IA') }, false],
    [{ Filter: { Prefix: 'logs/' }, ...to('STANDARD_IA') }, false],
    [{ Filter: { ObjectSizeGreaterThan: 1 }, ...to('STANDARD_IA') }, false],
    [{ Filter: {}, Expiration: { Days: 1 } }, false],
  ])('is reached by %j: %s', (more, isServed) => {
    expect(said('tiering', [rule(more)], { tiering })).toEqual([
      isServed ? 'ok: audio goes to STANDARD_IA' : 'failure: audio does not go to STANDARD_IA',
    ])
  })

  test('is not asked for unless it is wished', () => {
    expect(said('tiering', [])).toEqual([])
  })
})

test('the change says why, and what it costs', () => {
  const change = (days: number) =>
    look([], { tiering: { storageClass: 'STANDARD_IA', days } }).changes[0] as { why: string; cost?: string }
  expect(change(0).why).toBe(
    'abandoned multipart uploads are removed after 7 days; what reconcile moved to quarantine/ is deleted after 30 ' +
      'days; audio goes to STANDARD_IA at once',
  )
  expect(change(30).why).toMatch(/; audio goes to STANDARD_IA after 30 days$/)
  expect(change(30).cost).toBe(tieringCost('STANDARD_IA', undefined))
  const abort = rule({ Filter: {}, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 } })
  expect(look([abort]).changes[0]?.why).toBe('what reconcile moved to quarantine/ is deleted after 30 days')
  const { changes } = look([], {}, { Status: 'Enabled' })
  expect(Object.keys(changes[0] as object)).not.toContain('cost')
  expect(changes[0]?.why).toMatch(
    /; old versions in audio\/\.incoming\/ are deleted after 7 days; old versions in quarantine\/ are deleted after 7 days$/,
  )
})

test('a rule of ours that no longer serves is replaced; one without a name, and those of others, stay', () => {
  const nameless = { Status: 'Enabled', Filter: { Prefix: 'x/' }, Expiration: { Days: 3 } }
  const theirs = rule({ Filter: { Prefix: 'y/' }, Expiration: { Days: 3 } })
  const ours = rule({
    ID: ourRules.abort,
    Filter: { Prefix: '' },
    AbortIncompleteMultipartUpload: { DaysAfterInitiation: 30 },
  })
  expect(added([ours, nameless, theirs])).toEqual([
    nameless,
    theirs,
    { ...ours, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 } },
    {
      ID: ourRules.quarantine,
      Status: 'Enabled',
      Filter: { Prefix: 'quarantine/' },
      Expiration: { Days: 30 },
    },
  ])
})

test.each<[JsonObject, 'Prefix' | 'Filter']>([
  [{ Prefix: 'x/' }, 'Prefix'],
  [{ Filter: { Prefix: 'x/' } }, 'Filter'],
  // Some stores answer with both, or with neither.
  [{ Prefix: '', Filter: { Prefix: 'x/' } }, 'Filter'],
  [{}, 'Filter'],
])('beside %j new rules have a %s', (more, member) => {
  const [, ...ours] = added([rule({ ...more, Expiration: { Days: 3 } })])
  expect(ours).toHaveLength(2)
  for (const one of ours) expect('Prefix' in one ? 'Prefix' : 'Filter').toBe(member)
})
