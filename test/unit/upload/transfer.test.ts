import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bandwidthAt, parseBandwidth } from '../../../src/core/bandwidth.ts'
import { combineCrc32, decodeCrc32, encodeCrc32 } from '../../../src/core/crc32.ts'
import { CongestionControl } from '../../../src/core/upload/congestion.ts'
import { maxParts, minPartSize, partSizeFor, partsOf } from '../../../src/core/upload/multipart.ts'

const MiB = 1024 ** 2

describe('parts', () => {
  test.each([
    [100 * MiB, 8 * MiB, 8 * MiB],
    [80_000 * MiB, 8 * MiB, 8 * MiB],
    [80_000 * MiB + 1, 8 * MiB, 9 * MiB],
    [5 * 1024 * 1024 * MiB, 8 * MiB, 525 * MiB],
    [85_000 * MiB, 8.5 * MiB, 8.5 * MiB],
    // S3's limit: 10,000 parts of 5 GiB.
    [10_000 * 5_120 * MiB, 8 * MiB, 5_120 * MiB],
  ])('%i bytes, wanted %i: %i', (size, wanted, expected) => expect(partSizeFor(size, wanted)).toBe(expected))

  test('more than S3 can hold is refused', () =>
    expect(() => partSizeFor(10_000 * 5_120 * MiB + 1, MiB)).toThrow(RangeError))

  test('the last one may be smaller, and is never empty', () => {
    expect(minPartSize).toBe(5 * MiB)
    const sizes = (size: number) => [...partsOf(size, 5)].map(part => part.size)
    expect([0, 4, 5, 6, 10, 11].map(sizes)).toEqual([[], [4], [5], [5, 1], [5, 5], [5, 5, 1]])
  })

  test('parts cover the file once, in order, within the limit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60_000 * 5 * MiB }), size => {
        const partSize = partSizeFor(size, 5 * MiB)
        let [next, count] = [0, 0]
        for (const part of partsOf(size, partSize)) {
          if (part.offset !== next || part.partNumber !== ++count || part.size > partSize)
            throw new Error('gap')
          next += part.size
        }
        expect(next).toBe(size)
        expect(count).toBeLessThanOrEqual(maxParts)
      }),
      { numRuns: 30 },
    )
  })
})

describe('CRC-32 of a whole from its parts', () => {
  test('equals the CRC of the whole', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), parts => {
        let [combined, size] = [0, 0]
        for (const part of parts) {
          combined = combineCrc32(combined, crc32(part), part.length)
          size += part.length
        }
        expect(combined).toBe(crc32(Buffer.concat(parts, size)))
      }),
    )
  })

  test('a shift of over 4 GiB', () => {
    const zeroes = Buffer.alloc(16 * MiB)
    const sum = crc32(zeroes)
    let whole = crc32('head')
    for (let count = 0; count < 320; count++) whole = combineCrc32(whole, sum, zeroes.length)
    let rest = 0
    for (let count = 0; count < 320; count++) rest = combineCrc32(rest, sum, zeroes.length)
    expect(combineCrc32(crc32('head'), rest, 320 * zeroes.length)).toBe(whole)
  })

  test('the check value of the CRC catalogue, as S3 spells it', () => {
    expect(encodeCrc32(crc32('123456789'))).toBe('y/Q5Jg==')
    expect(decodeCrc32('y/Q5Jg==')).toBe(0xcbf43926)
  })
})

describe('bandwidth', () => {
  const monday = (time: string) => new Date(`2026-11-23T${time}:00`)
  test.each([
    ['10M', '12:00', 10 * MiB],
    ['512', '12:00', 512 * 1024],
    ['off', '12:00', Number.POSITIVE_INFINITY],
    ['08:00,512K 19:00,off', '09:00', 512 * 1024],
    ['08:00,512K 19:00,off', '20:00', Number.POSITIVE_INFINITY],
    ['08:00,512K 19:00,10M', '03:00', 10 * MiB],
    ['Sun-20:00,1M Mon-12:00,2M', '11:59', MiB],
    ['Sun-20:00,1M Mon-12:00,2M', '12:00', 2 * MiB],
    ['Tue-00:00,1M', '12:00', MiB],
    [' OFF ', '12:00', Number.POSITIVE_INFINITY],
    ['0', '12:00', Number.POSITIVE_INFINITY],
    ['1.25', '12:00', 1280],
    ['08:30,1M  09:15,2M\n', '08:29', 2 * MiB],
    ['08:30,1M  09:15,2M\n', '08:30', MiB],
    ['08:30,1M  09:15,2M\n', '09:14', MiB],
    ['00:00,1M 23:59,2M', '23:58', MiB],
    ['00:00,1M 23:59,2M', '23:59', 2 * MiB],
    // Of the days named, not of all.
    ['Tue-08:00,1M Sun-20:00,2M', '12:00', 2 * MiB],
    ['Monday-08:00,1M SUNDAY-20:00,2M', '12:00', MiB],
    // As rclone has it.
    ['08:00,1M 08:00,2M', '12:00', MiB],
    ['08:00,1.5', '12:00', 1536],
  ])('%j on a Monday at %s: %d', (text, time, rate) => {
    const table = parseBandwidth(text)
    expect(table && bandwidthAt(table, monday(time))).toBe(rate)
  })

  test('is a table in the order in which it was written', () => {
    expect(parseBandwidth('Mon-08:30,1M 23:00,off')).toEqual([
      { day: 1, minute: 510, rate: MiB },
      { day: undefined, minute: 1380, rate: Number.POSITIVE_INFINITY },
    ])
  })

  test.each([
    'fast',
    'xoff',
    'offx',
    '1.x',
    '1.5.5',
    '08:00',
    '24:00,1M',
    '08:60,1M',
    '108:00,1M',
    'x08:00,1M',
    '08:00,fast',
    '08:00,1M noon,2M',
    '08:00,1M 09:00',
    'Xyz-08:00,1M',
    'Mo-08:00,1M',
    '',
    ',',
  ])('%j is refused', text => expect(parseBandwidth(text)).toBeUndefined())
})

describe('congestion control', () => {
  const options = { initial: 8, min: 1, max: 64, window: 1_000 }

  /** Runs windows against a store that moves `rate(limit)` bytes a millisecond. */
  function drive(
    control: CongestionControl,
    windows: number,
    rate: (limit: number) => number,
    from = 0,
  ): number {
    let now = from
    for (let window = 0; window < windows; window++) {
      now += 1_000
      control.succeeded(rate(control.limit) * 1_000, now)
    }
    return now
  }

  test('grows while throughput grows, up to the maximum', () => {
    const control = new CongestionControl(options, 0)
    drive(control, 40, limit => limit * 100)
    expect([control.limit, control.peak]).toEqual([64, 64])
    control.throttled(60_000)
    expect([control.limit, control.peak]).toEqual([32, 64])
  })

  test('stops growing when more brings nothing', () => {
    const control = new CongestionControl(options, 0)
    drive(control, 30, limit => Math.min(limit, 12) * 100)
    expect(control.limit).toBeGreaterThanOrEqual(12)
    expect(control.limit).toBeLessThan(32)
  })

  test('it is the rate that has to grow, not what a longer window moved', () => {
    const control = new CongestionControl(options, 0)
    control.succeeded(1_000, 1_000)
    const stepped = control.limit
    expect(stepped).toBeGreaterThan(8)
    control.succeeded(4_000, 5_000)
    expect(control.limit).toBe(stepped)
    // And a shorter one that moved less, but faster, is a gain.
    const other = new CongestionControl(options, 0)
    other.succeeded(4_000, 4_000)
    other.succeeded(2_000, 5_000)
    expect(other.limit).toBeGreaterThan(stepped)
  })

  test('decides nothing before a window is over', () => {
    const control = new CongestionControl(options, 0)
    for (let now = 0; now < 1_000; now += 100) control.succeeded(1_000, now)
    expect(control.limit).toBe(8)
    control.succeeded(1_000, 1_000)
    expect(control.limit).toBe(10)
  })

  test('keeps a step that brings five per cent, and else looks again after eight windows', () => {
    for (const [second, limit] of [
      [1_050, 13],
      [1_049, 10],
    ] as const) {
      const control = new CongestionControl(options, 0)
      control.succeeded(1_000, 1_000)
      expect(control.limit).toBe(10)
      control.succeeded(second, 2_000)
      expect(control.limit).toBe(limit)
    }
    const control = new CongestionControl(options, 0)
    const limits = Array.from({ length: 24 }, (_, window) => {
      control.succeeded(1_000, (window + 1) * 1_000)
      return control.limit
    })
    // A step in the first window, one that is judged useless in the second, eight windows of rest, and so on.
    expect(limits).toEqual([...Array(10).fill(10), ...Array(10).fill(13), ...Array(4).fill(16)])
  })

  test('begins, and stays, between its ends', () => {
    expect(new CongestionControl({ ...options, initial: 100 }, 0).limit).toBe(64)
    expect(new CongestionControl({ ...options, initial: 0, min: 2 }, 0).limit).toBe(2)
  })

  test('after SlowDown it stays for a window, which begins anew', () => {
    const control = new CongestionControl(options, 0)
    control.succeeded(900, 900)
    control.throttled(900)
    control.succeeded(100, 1_899)
    expect(control.limit).toBe(4)
    // The first window of which anything is known: a step.
    control.succeeded(1, 1_900)
    expect(control.limit).toBe(5)
    control.throttled(1_900)
    control.throttled(2_899)
    expect([control.limit, control.halvings]).toEqual([2, 2])
    control.throttled(2_900)
    expect([control.limit, control.halvings]).toEqual([1, 3])
  })

  test('halves on SlowDown, once a window, never below the minimum', () => {
    const control = new CongestionControl(options, 0)
    for (let count = 0; count < 10; count++) control.throttled(500)
    expect([control.limit, control.halvings]).toEqual([4, 1])
    for (let now = 2_000; now < 12_000; now += 1_000) control.throttled(now)
    expect(control.limit).toBe(1)
    const later = drive(control, 3, () => 100, 12_000)
    expect(later).toBe(15_000)
    expect(control.limit).toBeGreaterThan(1)
  })
})
