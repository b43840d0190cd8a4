import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  cleanName,
  foldName,
  matchKey,
  matchKeysOfFile,
  maxNameLength,
  toNfc,
  trackName,
  unknownArtist,
  unknownTitle,
} from '../../../src/core/names.ts'

const nfd = (text: string) => text.normalize('NFD')

describe('trackName', () => {
  test.each([
    // tags win, each for itself
    ['x/y.mp3', { artist: 'Mira Kessel', title: 'Glass Stairs' }, 'Mira Kessel', 'Glass Stairs'],
    ['Mira Kessel/y.mp3', { title: 'Glass Stairs' }, 'Mira Kessel', 'Glass Stairs'],
    ['x/Glass Stairs.mp3', { artist: 'Mira Kessel' }, 'Mira Kessel', 'Glass Stairs'],
    ['Mira Kessel/Glass Stairs.mp3', { artist: ' ', title: '\u0000' }, 'Mira Kessel', 'Glass Stairs'],
    // the path
    ['Hollow Ferry/Slow Crossing.mp3', {}, 'Hollow Ferry', 'Slow Crossing'],
    ['a/Hollow Ferry/Slow Crossing.mp3', {}, 'Hollow Ferry', 'Slow Crossing'],
    ['Sampler/Hollow Ferry - Slow Crossing.mp3', {}, 'Hollow Ferry', 'Slow Crossing'],
    ['Sampler/Hollow Ferry – Slow Crossing - Live.mp3', {}, 'Hollow Ferry', 'Slow Crossing - Live'],
    ['Slow Crossing.mp3', {}, unknownArtist, 'Slow Crossing'],
    ['Plus+Minus/100% #1 (Why Not?).mp3', {}, 'Plus+Minus', '100% #1 (Why Not?)'],
    [nfd('Café Zoë/Déjà vu.m4a'), {}, 'Café Zoë', 'Déjà vu'],
    ['夜行バス/雨の高速道路.opus', {}, '夜行バス', '雨の高速道路'],
    ['A/.mp3', {}, 'A', '.mp3'],
    ['A/no extension', {}, 'A', 'no extension'],
    ['A/Mr. Bright Side', {}, 'A', 'Mr. Bright Side'],
    ['A/ .mp3', {}, 'A', '.mp3'],
    // numbers of tracks, and numbers that belong to the title
    ['A/03 Song.mp3', {}, 'A', 'Song'],
    ['A/12. Song.mp3', {}, 'A', 'Song'],
    ['A/12 - Song.mp3', {}, 'A', 'Song'],
    ['A/1-03 Song.mp3', {}, 'A', 'Song'],
    ['S/07 - B - Song.mp3', {}, 'B', 'Song'],
    ['A/99 Problems.mp3', {}, 'A', '99 Problems'],
    ['A/7 Rings.mp3', {}, 'A', '7 Rings'],
    ['A/1999.mp3', {}, 'A', '1999'],
    ['A/03.mp3', {}, 'A', '03'],
    // nothing dangerous gets through
    ['A\n/B\u001b[31m\u202e.mp3', {}, 'A', 'B [31m'],
    ['x/y.mp3', { artist: 'A\r\nB', title: '\ud800T\u0000' }, 'A B', '\ufffdT'],
    ['', {}, unknownArtist, unknownTitle],
  ])('%j %j', (path, tags, artist, title) => {
    expect(trackName(path, tags)).toEqual({ artist, title })
  })

  test('always gives names fit for a row, whatever path and tags are', () => {
    const text = fc.string({ unit: 'binary', maxLength: 60 })
    fc.assert(
      fc.property(text, fc.option(text), fc.option(text), (path, artist, title) => {
        const name = trackName(path, { artist: artist ?? undefined, title: title ?? undefined })
        for (const value of [name.artist, name.title]) {
          expect(value).not.toBe('')
          expect(value).not.toMatch(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u)
          expect(value.isWellFormed()).toBe(true)
          expect(value).toBe(cleanName(value))
        }
      }),
    )
  })
})

describe('foldName', () => {
  test.each([
    ['Mira Kessel', 'Mira-Kessel'],
    ['AC/DC', 'acdc'],
    ['Café Zoë', nfd('CAFE ZOE')],
    ['Straße', 'STRASSE'],
    ['ΟΔΥΣΣΕΥΣ', 'Οδυσσεύς'],
    ['Ｆｕｌｌ Ｗｉｄｔｈ', 'full width'],
    ['100% #1 (Why Not?)', '100_1_Why_Not_'],
    ["Don't Stop", 'Don’t Stop'],
    ['İstanbul', 'istanbul'],
    ['Ёлка', 'елка'],
    ['ガラス', nfd('ガラス')],
  ])('%s = %s', (a, b) => {
    expect(foldName(a)).toBe(foldName(b))
  })
  test.each([
    ['ガラス', 'カラス'],
    ['Part 1', 'Part 2'],
    ['✨', '🦦'],
    ['!!!', '???'],
    ['की', 'का'],
  ])('%s is not %s', (a, b) => {
    expect(foldName(a)).not.toBe(foldName(b))
  })

  const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
  test('does not care about Unicode form, and folding twice changes nothing', () => {
    fc.assert(
      fc.property(name, text => {
        const folded = foldName(text)
        expect(foldName(nfd(text))).toBe(folded)
        expect(foldName(text.normalize('NFC'))).toBe(folded)
        expect(foldName(folded)).toBe(folded)
      }),
    )
  })
  test('does not care about case and punctuation where there are letters', () => {
    const letters = fc.string({
      unit: fc.constantFrom(...'abcxyzäößñçğ019жяσωא日本語ガ'),
      minLength: 1,
      maxLength: 20,
    })
    const sign = fc.constantFrom(...' -_.,!?\'"()[]&+#%/:;~…’–')
    fc.assert(
      fc.property(letters, sign, fc.nat(20), (text, mark, at) => {
        const other = `${text.slice(0, at)}${mark}${text.slice(at)}`
        expect(foldName(other)).toBe(foldName(text))
        expect(foldName(text.toUpperCase())).toBe(foldName(text))
      }),
    )
  })
})

describe('matchKey', () => {
  test('keeps artist and title apart', () => {
    expect(matchKey({ artist: 'AB', title: 'C' })).not.toBe(matchKey({ artist: 'A', title: 'BC' }))
  })

  test('a file named by the application meets its row', () => {
    const word = fc.string({ unit: fc.constantFrom(...'abcdeéñ日ж019 '), minLength: 1, maxLength: 12 })
    const text = word.filter(value => /[a-z日ж]/.test(value) && !/^0\d |^\d\d? /.test(value.trim()))
    fc.assert(
      fc.property(text, text, (artist, title) => {
        const asApplication = (value: string) => value.trim().replace(/[^\p{L}\p{N}\p{M}]+/gu, '-')
        const path = `${asApplication(artist)}/${asApplication(title)}.mp3`
        expect(matchKeysOfFile(path)).toContain(matchKey({ artist, title }))
      }),
    )
  })

  test('by tags first, then by path; never by a name that nobody gave', () => {
    expect(matchKeysOfFile('A/B.mp3', { artist: 'C', title: 'D' })).toEqual([
      matchKey({ artist: 'C', title: 'D' }),
      matchKey({ artist: 'A', title: 'B' }),
    ])
    expect(matchKeysOfFile('A/B.mp3', { artist: 'a', title: 'b!' })).toHaveLength(1)
    expect(matchKeysOfFile('B.mp3')).toEqual([])
    expect(matchKeysOfFile('B.mp3', { artist: 'A' })).toEqual([matchKey({ artist: 'A', title: 'B' })])
  })
})

describe('names that someone made to hurt', () => {
  // Code that takes the square of the length would take hours for these.
  const length = 1_000_000
  test.each([
    ['marks of two classes in turn', `e${'\u0301\u0316'.repeat(length / 2)}`],
    ['marks of another script', `か${'\u3099'.repeat(length)}`],
    ['dots and blanks', '. '.repeat(length / 2)],
    ['blanks', `${' '.repeat(length)}x`],
    ['controls', `${'\u0000\u202e'.repeat(length / 2)}x`],
    ['dashes', 'a - '.repeat(length / 4)],
  ])('%s: taken in linear time, and cut', (_, name) => {
    const { title, artist } = trackName('a/b.mp3', { title: name, artist: name })
    for (const kept of [title, artist]) expect(kept.length).toBeLessThanOrEqual(maxNameLength)
    matchKey({ title: name, artist: name })
    matchKeysOfFile(`${name}/${name}`)
    foldName(name)
    toNfc(name)
  })

  test('are cut between characters as readers see them', () => {
    const family = '👩‍👩‍👧'
    const kept = cleanName('x'.repeat(maxNameLength - 3) + family)
    expect(kept).toBe('x'.repeat(maxNameLength - 3))
    expect(cleanName('x'.repeat(maxNameLength))).toHaveLength(maxNameLength)
  })

  test('marks up to 30 in a row are kept, as NFC has them', () => {
    const marks = `q${'\u0301\u0316'.repeat(15)}`
    expect(toNfc(marks)).toBe(marks.normalize('NFC'))
    for (let unit = 0; unit < 0x400; unit += 1) {
      const pair = `e${String.fromCharCode(unit)}`
      expect(toNfc(pair), pair).toBe(pair.normalize('NFC'))
    }
    expect(toNfc(`${marks}\u0301`)).toBe(marks.normalize('NFC'))
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), text => {
        expect(toNfc(text)).toBe(text.normalize('NFC'))
      }),
    )
  })

  test('every direction mark goes, the newest included', () => {
    expect(cleanName('a\u200eb\u200fc\u061cd\u202ee\u2069f')).toBe('abcdef')
  })
})
