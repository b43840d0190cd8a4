import { describe, expect, it } from 'vitest'
import {
  defaultDeleteLimit,
  heldBack,
  refuseIfTripped,
  type Stakes,
  trippedBreakers,
} from '../../../src/core/safety.ts'

const limit = defaultDeleteLimit
const removals = (count: number, of: number): Stakes => ({ limit, removals: { count, of } })

describe('circuit breakers', () => {
  const table: [what: string, Stakes, tripped: RegExp | undefined][] = [
    ['nothing at stake', { limit }, undefined],
    ['50 of 200', removals(50, 200), undefined],
    ['51 of 200', removals(51, 200), /51 of 200 objects \(25.5 %\)/],
    ['a quarter of 51', removals(13, 51), undefined],
    ['50 of 51', removals(50, 51), /50 of 51 objects .* allows 13/],
    ['all of 12', removals(12, 12), /allows 3/],
    ['the only orphan of 3', removals(1, 3), undefined],
    ['1 % of 100,000', removals(1000, 100_000), undefined],
    ['more than 1 % of 100,000', removals(1001, 100_000), /--max-delete allows 1000/],
    [
      'one, none allowed',
      { limit: { count: 0 }, removals: { count: 1, of: 0 } },
      /1 of 0 objects would be removed/,
    ],
    ['50 of 200 rows lose their audio', { limit, losses: { count: 50, of: 200 } }, undefined],
    [
      '51 of 200 rows lose their audio',
      { limit, losses: { count: 51, of: 200 } },
      /51 of 200 rows \(25.5 %\) would be left without audio; --max-delete allows 50/,
    ],
    ['empty bucket, rows without objects', { limit, bucket: { rowsWithObject: 0, objects: 0 } }, undefined],
    [
      'empty bucket, one row with an object',
      { limit, bucket: { rowsWithObject: 1, objects: 0 } },
      /bucket looks empty, but 1 row names an object in it/,
    ],
    ['one object', { limit, bucket: { rowsWithObject: 9, objects: 1 } }, undefined],
    [
      'empty audio folder',
      { limit, disk: { root: '/a', rowsWithFile: 1, files: 0 } },
      /\/a looks empty or unmounted, but 1 row names a file/,
    ],
    [
      'empty audio folder nobody needs',
      { limit, disk: { root: '/a', rowsWithFile: 0, files: 0 } },
      undefined,
    ],
    [
      'objects, and a table without rows',
      { limit, bucket: { rowsWithObject: 0, objects: 1 }, rows: { now: 0 } },
      /the table has no rows/,
    ],
    [
      'an empty bucket, and a table without rows',
      { limit, bucket: { rowsWithObject: 0, objects: 0 }, rows: { now: 0 } },
      undefined,
    ],
    ['objects, of rows nobody counted', { limit, bucket: { rowsWithObject: 1, objects: 1 } }, undefined],
    ['files, and rows that name some', { limit, disk: { root: '/a', rowsWithFile: 2, files: 1 } }, undefined],
    ['half the rows', { limit, rows: { now: 50, before: 100 } }, undefined],
    [
      'less than half the rows',
      { limit, rows: { now: 49, before: 100 } },
      /49 rows, but the last run saw 100/,
    ],
    ['first run', { limit, rows: { now: 0 } }, undefined],
  ]
  it.each(table)('%s', (_, stakes, tripped) => {
    const found = trippedBreakers(stakes)
    if (tripped === undefined) expect(found).toEqual([])
    else expect(found).toEqual([{ reason: expect.stringMatching(tripped), cure: expect.any(String) }])
  })

  it('names every reason, with exit code 7', () => {
    const found = trippedBreakers({ ...removals(99, 99), rows: { now: 1, before: 99 } })
    expect(found.length).toBe(2)
    const message = found.map(({ reason }) => reason).join('; ')
    const cure = expect.stringMatching(/pass --max-delete 99. Check DATABASE_URL./)
    expect(() => refuseIfTripped(found)).toThrow(expect.objectContaining({ exitCode: 7, message, cure }))
    expect(() => refuseIfTripped([])).not.toThrow()
  })

  it('holds back what is young or being uploaded', () => {
    const options = { now: 1000, minAge: 100, uploading: false }
    expect(heldBack({ lastModified: 900 }, options)).toBeUndefined()
    expect(heldBack({ lastModified: 901 }, options)).toMatch(/younger/)
    expect(heldBack({ lastModified: 5000 }, options)).toMatch(/younger/)
    const hour = 3_600_000
    expect(heldBack({ lastModified: 0 }, { ...options, now: 1.5 * hour, minAge: 24 * hour })).toBe(
      'younger than --min-age (1.5 of 24.0 h)',
    )
    expect(heldBack({ lastModified: 0 }, { ...options, uploading: true })).toMatch(/under way/)
  })
})
