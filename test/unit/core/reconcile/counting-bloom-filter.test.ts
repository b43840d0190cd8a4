import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  CountingBloomFilter,
  fingerprint,
  foldedFingerprint,
} from '../../../../src/core/reconcile/counting-bloom-filter.ts'
import { foldCase } from '../../../../src/core/reconcile/names.ts'

describe('CountingBloomFilter', () => {
  it('never takes for single what came twice', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 0xffff_ffff })), fc.nat(20), (prints, expected) => {
        const filter = new CountingBloomFilter(expected)
        for (const print of prints) filter.count(print)
        for (const print of prints) {
          if (prints.filter(one => one === print).length > 1) expect(filter.mayRepeat(print)).toBe(true)
        }
      }),
    )
  })

  it('lets few pass that came once: about as many as share both cells with others', () => {
    const texts = Array.from(
      { length: 20_000 },
      (_, index) => `audio/Artist ${index >> 4}/Title ${index}.mp3`,
    )
    const filter = new CountingBloomFilter(texts.length)
    for (const text of texts) filter.count(fingerprint(text))
    const passed = texts.filter(text => filter.mayRepeat(fingerprint(text))).length
    expect(passed).toBeLessThan(texts.length / 10)
  })

  it('fingerprints are 32 bits, and never 0', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), text => {
        const print = fingerprint(text)
        return Number.isInteger(print) && print > 0 && print <= 0xffff_ffff
      }),
    )
  })

  it('a salt makes another fingerprint', () => {
    const salts = [0, 1, 2, -1]
    expect(new Set(salts.map(salt => fingerprint('a', salt))).size).toBe(salts.length)
  })

  it('names that fold to the same have one fingerprint, and it is that of what they fold to', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', 'A', 'Z', '@', '[', 'É', 'é', 'ς', '1') }), name => {
        expect(foldedFingerprint(name)).toBe(fingerprint(foldCase(name)))
      }),
    )
  })

  it('the quick way folds each letter of Latin-1, and the first beyond it, as the slow one does', () => {
    for (let unit = 0; unit < 0x180; unit += 1) {
      const letter = String.fromCharCode(unit)
      expect(foldedFingerprint(letter), letter).toBe(fingerprint(foldCase(letter)))
    }
  })

  it('of what tells a text by its end alone, the end counts', () => {
    expect(fingerprint('abcd', 5, 2)).toBe(fingerprint('xycd', 5, 2))
    expect(fingerprint('abcd', 5, 2)).not.toBe(fingerprint('abce', 5, 2))
  })
})
