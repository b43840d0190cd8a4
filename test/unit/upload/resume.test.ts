/** What of an upload that an earlier run began still holds. */
import { describe, expect, test } from 'vitest'
import type { UploadedPart } from '../../../src/storage/store.ts'
import { differingHeaders, headersAsText, partsHeld } from '../../../src/upload/resume.ts'

describe('the parts that the server has', () => {
  const there = (partNumber: number, size: number, crc32?: string): UploadedPart => ({
    partNumber,
    size,
    etag: `e${partNumber}`,
    ...(crc32 !== undefined && { crc32 }),
  })
  const noted = (partNumber: number, etag = `e${partNumber}`) => ({
    partNumber,
    size: 5,
    crc32: `noted ${partNumber}`,
    etag,
  })
  test.each<[string, UploadedPart[], ReturnType<typeof noted>[], Record<number, string>]>([
    ['all of them', [there(1, 5, 'a'), there(2, 5, 'b'), there(3, 2, 'c')], [], { 1: 'a', 2: 'b', 3: 'c' }],
    ['in any order', [there(3, 2, 'c'), there(1, 5, 'a')], [], { 1: 'a', 3: 'c' }],
    ['one of another size', [there(1, 4, 'a'), there(2, 6, 'b'), there(3, 5, 'c')], [], {}],
    ['one beyond the end', [there(4, 5, 'd'), there(1, 5, 'a')], [], { 1: 'a' }],
    ['none', [], [noted(1), noted(2)], {}],
    ['without a checksum, and nobody noted one', [there(1, 5)], [], {}],
    ['without a checksum, of which one was noted', [there(1, 5), there(2, 5)], [noted(2)], { 2: 'noted 2' }],
    ['without a checksum, and noted of another', [there(1, 5)], [noted(1, 'other')], {}],
    ['with a checksum, whatever was noted', [there(1, 5, 'a')], [noted(1)], { 1: 'a' }],
  ])('%s', (_, server, ledger, expected) => {
    const held = partsHeld(12, 5, server, ledger)
    expect(Object.fromEntries([...held].map(([number, { crc32 }]) => [number, crc32]))).toStrictEqual(
      expected,
    )
    for (const [number, part] of held) expect(part).toMatchObject({ partNumber: number, etag: `e${number}` })
  })
})

describe('headers', () => {
  const text = headersAsText
  test('are one text however they are written down, and metadata is none of them', () => {
    const one = { contentType: 'audio/flac', cacheControl: 'x', tags: { b: '2', a: '1' } }
    const same = {
      tags: { a: '1', b: '2' },
      cacheControl: 'x',
      contentType: 'audio/flac',
      storageClass: undefined,
    } as never
    expect(text({ ...one, metadata: { sha256: 'x' } })).toBe(text(same))
    expect(text(one)).toBe('{"cacheControl":"x","contentType":"audio/flac","tags":{"a":"1","b":"2"}}')
  })

  test('that differ are named, whichever side has them', () => {
    const wanted = text({ contentType: 'audio/flac', storageClass: 'STANDARD_IA', tags: { a: '1' } })
    expect(differingHeaders(wanted, wanted)).toEqual([])
    expect(differingHeaders(null, wanted)).toEqual([])
    expect(differingHeaders(text({ contentType: 'audio/flac' }), wanted)).toEqual(['storage class', 'tags'])
    expect(differingHeaders(wanted, text({ contentType: 'audio/mpeg' }))).toEqual([
      'content type',
      'storage class',
      'tags',
    ])
    const tagged = text({ contentType: 'audio/flac', storageClass: 'STANDARD_IA', tags: { a: '2' } })
    expect(differingHeaders(tagged, wanted)).toEqual(['tags'])
    const encrypted = text({ contentType: 'audio/flac', serverSideEncryption: 'aws:kms', kmsKeyId: 'k' })
    expect(differingHeaders(text({ contentType: 'audio/flac' }), encrypted)).toEqual([
      'kms key id',
      'server side encryption',
    ])
  })
})
