import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answerFileRequest, type ConditionalHeaders, parseRange } from '../../../src/core/http-range.ts'

const whole = { kind: 'whole' }
const unsatisfiable = { kind: 'unsatisfiable' }
const part = (start: number, end: number) => ({ kind: 'part', start, end })

describe('parseRange of 1000 bytes', () => {
  test.each([
    [undefined, whole],
    ['', whole],
    ['bytes=0-', part(0, 999)],
    ['bytes=0-0', part(0, 0)],
    ['bytes=0-499', part(0, 499)],
    ['bytes=500-999', part(500, 999)],
    ['bytes=500-5000', part(500, 999)],
    ['bytes=999-', part(999, 999)],
    ['bytes=-1', part(999, 999)],
    ['bytes=-500', part(500, 999)],
    ['bytes=-5000', part(0, 999)],
    ['Bytes=1-2', part(1, 2)],
    ['bytes = 1-2', part(1, 2)],
    ['bytes=1-2,', part(1, 2)],
    ['bytes=0-99999999999999999999', part(0, 999)],
    ['bytes=1000-', unsatisfiable],
    ['bytes=1000-2000', unsatisfiable],
    ['bytes=99999999999999999999-', unsatisfiable],
    ['bytes=-0', unsatisfiable],
    ['bytes=2-1', whole],
    ['bytes=-', whole],
    ['bytes=a-b', whole],
    ['bytes=0-1,2-3', whole],
    ['bytes=0x1-2', whole],
    ['kilobytes=0-1', whole],
    ['x bytes=0-1', whole],
    ['bytes 0-1', whole],
    ['items=0-1', whole],
    ['bytes=--1', whole],
  ])('%s', (header, expected) => expect(parseRange(header, 1000)).toEqual(expected))

  test('an empty file has no byte to give', () => {
    expect(parseRange('bytes=0-', 0)).toEqual(unsatisfiable)
    expect(parseRange('bytes=-1', 0)).toEqual(unsatisfiable)
    expect(parseRange(undefined, 0)).toEqual(whole)
  })

  test('a part always lies in the file and is never empty', () => {
    fc.assert(
      fc.property(fc.nat(2_000), fc.option(fc.nat(3_000)), fc.option(fc.nat(3_000)), (size, first, last) => {
        const range = parseRange(`bytes=${first ?? ''}-${last ?? ''}`, size)
        if (range.kind !== 'part') return
        expect(range.start).toBeGreaterThanOrEqual(0)
        expect(range.end).toBeGreaterThanOrEqual(range.start)
        expect(range.end).toBeLessThan(size)
        if (first !== null) expect(range.start).toBe(first)
      }),
    )
  })
})

describe('answerFileRequest', () => {
  const modified = new Date('2026-03-01T12:00:00.750Z')
  const file = { size: 1000, etag: '"a-b"', lastModified: modified, now: new Date('2026-03-02T00:00:00Z') }
  const same = 'Sun, 01 Mar 2026 12:00:00 GMT'
  const before = 'Sun, 01 Mar 2026 11:59:59 GMT'
  const range = 'bytes=10-19'

  test.each([
    ['plain', {}, 200],
    ['range', { range }, 206],
    ['range beyond the end', { range: 'bytes=1000-' }, 416],
    ['If-None-Match hits', { 'if-none-match': '"a-b"' }, 304],
    ['If-None-Match hits weakly', { 'if-none-match': 'W/"a-b"' }, 304],
    ['If-None-Match in a list', { 'if-none-match': '"x", "a-b"' }, 304],
    ['If-None-Match *', { 'if-none-match': '*' }, 304],
    ['If-None-Match wins over a range', { 'if-none-match': '"a-b"', range }, 304],
    ['If-None-Match misses', { 'if-none-match': '"x"' }, 200],
    ['If-None-Match misses, date is not asked', { 'if-none-match': '"x"', 'if-modified-since': same }, 200],
    ['not modified since', { 'if-modified-since': same }, 304],
    ['modified since', { 'if-modified-since': before }, 200],
    ['a date that is none is ignored', { 'if-modified-since': '5' }, 200],
    ['a date without its weekday is ignored', { 'if-modified-since': '2 Mar 2026 00:00:00 GMT' }, 200],
    ['the date as RFC 850 has it', { 'if-modified-since': 'Sunday, 01-Mar-26 12:00:00 GMT' }, 304],
    ['the date as C has it', { 'if-modified-since': 'Sun Mar  1 12:00:00 2026' }, 304],
    ['an earlier date as C has it', { 'if-modified-since': 'Sun Mar  1 11:59:59 2026' }, 200],
    ['If-None-Match that is no tag', { 'if-none-match': 'a-b' }, 200],
    ['If-None-Match without one', { 'if-none-match': '' }, 200],
    ['If-Match that is no tag', { 'if-match': 'a-b' }, 412],
    ['If-Match hits', { 'if-match': '"a-b"', range }, 206],
    ['If-Match compares strongly', { 'if-match': 'W/"a-b"' }, 412],
    ['If-Match misses', { 'if-match': '"x"', range }, 412],
    ['unmodified since', { 'if-unmodified-since': same }, 200],
    ['modified since, precondition', { 'if-unmodified-since': before }, 412],
    ['If-Range by tag', { 'if-range': '"a-b"', range }, 206],
    ['If-Range by another tag', { 'if-range': '"x"', range }, 200],
    ['If-Range by weak tag', { 'if-range': 'W/"a-b"', range }, 200],
    ['If-Range by date', { 'if-range': same, range }, 206],
    ['If-Range by another date', { 'if-range': before, range }, 200],
    ['If-Range of an old file, unsatisfiable range', { 'if-range': '"x"', range: 'bytes=5000-' }, 200],
    ['If-Range that is neither', { 'if-range': 'x', range }, 200],
  ] satisfies [string, ConditionalHeaders, number][])('%s', (_name, headers, status) => {
    expect(answerFileRequest('GET', headers, file).status).toBe(status)
  })

  test('the part is the one asked for', () => {
    expect(answerFileRequest('GET', { range }, file)).toEqual({ status: 206, start: 10, end: 19 })
  })

  test('HEAD knows no ranges, but conditions', () => {
    expect(answerFileRequest('HEAD', { range }, file).status).toBe(200)
    expect(answerFileRequest('HEAD', { range: 'bytes=5000-' }, file).status).toBe(200)
    expect(answerFileRequest('HEAD', { 'if-none-match': '"a-b"' }, file).status).toBe(304)
  })

  test('a date in the very second of the change proves nothing', () => {
    const fresh = { ...file, now: new Date('2026-03-01T12:00:00.900Z') }
    expect(answerFileRequest('GET', { 'if-range': same, range }, fresh).status).toBe(200)
    const later = { ...file, now: new Date('2026-03-01T12:00:01.000Z') }
    expect(answerFileRequest('GET', { 'if-range': same, range }, later).status).toBe(206)
  })
})
