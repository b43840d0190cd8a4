import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bandwidthAt, parseBandwidth } from '../../../src/core/bandwidth.ts'
import { combineCrc32, decodeCrc32, encodeCrc32 } from '../../../src/core/crc32.ts'
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
