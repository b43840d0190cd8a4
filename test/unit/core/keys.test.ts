import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  isDeeper,
  keySegment,
  maxKeyBytes,
  nameInKey,
  namesOfKeys,
  objectKey,
} from '../../../src/core/keys.ts'

const sha256 = createHash('sha256').update('content').digest('hex')
const key = (artist: string, title: string, prefix = 'audio/') =>
  objectKey({ prefix, artist, title, sha256, extension: 'mp3' })
const tail = `_${sha256.slice(0, 8)}.mp3`

describe('object keys', () => {
  test.each([
    ['Daft Punk', 'Around the World', 'audio/Daft_Punk/Around_the_World'],
    ['AC/DC', 'T.N.T.', 'audio/AC_DC/T.N.T'],
    ['久石譲', 'あの夏へ', 'audio/久石譲/あの夏へ'],
    ['Motörhead'.normalize('NFD'), 'x', 'audio/Motörhead/x'],
    ['हिन्दी', 'गीत', 'audio/हिन्दी/गीत'],
    ['a+b#c%d?e', '50% & more', 'audio/a_b_c_d_e/50_more'],
    ['..', '.', 'audio/unknown/unknown'],
    ['', '\u0000\n', 'audio/unknown/unknown'],
    ['🎧', '🎵 x', 'audio/unknown/x'],
    ['\ud800broken', 'x', 'audio/broken/x'],
  ])('%j, %j', (artist, title, expected) => expect(key(artist, title)).toBe(expected + tail))

  test('case is kept: names that differ only by it have keys that differ', () => {
    expect(key('ABBA', 'SOS')).not.toBe(key('Abba', 'Sos'))
  })

  test('long names are cut at a character, and stay distinct', () => {
    const long = '長'.repeat(400)
    expect(key(long, 'x')).not.toBe(key(`${long}い`, 'x'))
    expect(key(long, long, `${'p'.repeat(510)}/`).length).toBeGreaterThan(0)
  })

  test('properties: valid, idempotent, within the limits, the same for NFC and NFD', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 600 }),
        fc.string({ unit: 'grapheme' }),
        (artist, title) => {
          const one = key(artist, title)
          expect(Buffer.byteLength(one)).toBeLessThanOrEqual(maxKeyBytes)
          expect(one).toBe(one.normalize('NFC'))
          expect(one.isWellFormed()).toBe(true)
          expect(one).toMatch(/^audio\/[\p{L}\p{M}\p{N}._-]+\/[\p{L}\p{M}\p{N}._-]+$/u)
          for (const segment of one.split('/')) {
            expect(['', '.', '..']).not.toContain(segment)
            expect(Buffer.byteLength(segment)).toBeLessThanOrEqual(200)
          }
          expect(key(artist.normalize('NFD'), title.normalize('NFD'))).toBe(one)
          expect(key(artist, title)).toBe(one)
        },
      ),
    )
  })

  test('a name that someone made to hurt is folded in linear time', () => {
    for (const name of [
      '. '.repeat(500_000),
      `x${'._'.repeat(500_000)}x`,
      `e${'\u0301\u0316'.repeat(500_000)}`,
    ])
      expect(Buffer.byteLength(keySegment(name))).toBeLessThanOrEqual(200)
    expect(keySegment('. '.repeat(500_000))).toBe('unknown')
  })

  test('a folded segment folds to itself', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), name => {
        expect(keySegment(keySegment(name))).toBe(keySegment(name))
      }),
    )
  })
})

describe('names in keys', () => {
  test('a key is told by the artist and title that it was made of', () => {
    const names = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 12 }),
      fc.string({ unit: 'binary', minLength: 30, maxLength: 300 }),
    )
    fc.assert(
      fc.property(
        names,
        names,
        fc.constantFrom('', 'audio/', `${'p'.repeat(300)}/`),
        fc.constantFrom('mp3', 'flac', 'quite-a-long-one'),
        (artist, title, prefix, extension) => {
          const { name } = nameInKey(objectKey({ prefix, artist, title, sha256, extension }), prefix) ?? {}
          expect(namesOfKeys(artist, title, { prefix, extensions: ['opus', extension] })).toContain(name)
        },
      ),
    )
  })

  test.each([
    ['audio/A/b_0123abcd.mp3', { name: 'A/b', extension: 'mp3' }],
    ['audio/A/b_c_0123abcd.mp3', { name: 'A/b_c', extension: 'mp3' }],
    ['audio/A/b_0123ABCD.mp3', undefined],
    ['audio/A/b.mp3', undefined],
    ['audio/b_0123abcd.mp3', undefined],
    ['audio/x/A/b_0123abcd.mp3', undefined],
    ['other/A/b_0123abcd.mp3', undefined],
  ])('%s has %j', (one, name) => {
    expect(nameInKey(one, 'audio/')).toEqual(name)
  })

  test.each([
    ['audio/A/b.mp3', 'audio/', false],
    ['audio/x/A/b.mp3', 'audio/', true],
    ['x/A/b.mp3', '', true],
    ['A/b.mp3', '', false],
    ['other/x/A/b.mp3', 'audio/', false],
  ])('%s is deeper below %j than keys of ours: %s', (one, prefix, deeper) => {
    expect(isDeeper(one, prefix)).toBe(deeper)
  })
})
