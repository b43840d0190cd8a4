import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bandwidthAt, parseBandwidth } from '../../../src/core/bandwidth.ts'
import { combineCrc32, decodeCrc32, encodeCrc32 } from '../../../src/core/crc32.ts'
import { CongestionControl } from '../../../src/core/upload/congestion.ts'
import { maxParts, partSizeFor, partsOf } from '../../../src/core/upload/multipart.ts'

const MiB = 1024 ** 2

describe('parts', () => {
  test.each([
    [100 * MiB, 8 * MiB, 8 * MiB],
    [80_000 * MiB, 8 * MiB, 8 * MiB],
    [80_000 * MiB + 1, 8 * MiB, 9 * MiB],
    [5 * 1024 * 1024 * MiB, 8 * MiB, 525 * MiB],
  ])('%i bytes, wanted %i: %i', (size, wanted, expected) => expect(partSizeFor(size, wanted)).toBe(expected))

  test('more than S3 can hold is refused', () =>
    expect(() => partSizeFor(2 ** 53 - 1, MiB)).toThrow(RangeError))

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
  ])('%j on a Monday at %s: %d', (text, time, rate) => {
    const table = parseBandwidth(text)
    expect(table && bandwidthAt(table, monday(time))).toBe(rate)
  })

  test.each(['fast', '25:00,1M', '08:00', 'Xyz-08:00,1M', '08:60,1M', ''])('%j is refused', text =>
    expect(parseBandwidth(text)).toBeUndefined(),
  )
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
