import { describe, expect, test } from 'vitest'
import { confirmedBy, decodeUnstated, decodeUtf16 } from '../../../../src/core/tags/text.ts'

const latin = (text: string): Buffer => Buffer.from(text, 'latin1')
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('decodeUnstated', () => {
  test.each([
    ['plain letters', Buffer.from('Bjork'), 'Bjork', 'known'],
    ['UTF-8', Buffer.from('Björk'), 'Björk', 'known'],
    ['UTF-8 of three bytes', Buffer.from('夜行バス'), '夜行バス', 'known'],
    ['UTF-8 with zeros and blanks behind it', Buffer.from('Jóga \0\0'), 'Jóga', 'known'],
    [
      'UTF-8 cut within its last letter',
      Buffer.from('Motörhead — Ö').subarray(0, -1),
      'Motörhead — ',
      'known',
    ],
    ['UTF-16 with a mark', Buffer.from('\ufeffJóga', 'utf16le'), 'Jóga', 'known'],
    ['UTF-16 without one', Buffer.from('Jóga', 'utf16le'), 'Jóga', 'likely'],
    [
      'UTF-16, big-endian, Cyrillic, without one',
      Buffer.from('Песня 1\0', 'utf16le').swap16(),
      'Песня 1',
      'likely',
    ],
    ['UTF-16, Thai, without one', Buffer.from('สวัสดี', 'utf16le'), 'สวัสดี', 'likely'],
    ['Windows-1250: Zażółć', hex('5a 61 bf f3 b3 e6'), 'Za¿ó³æ', 'doubtful'],
    ['Latin-1', Buffer.from('Björk', 'latin1'), 'Björk', 'likely'],
    ['Latin-1 with a sharp s', Buffer.from('Größenwahn', 'latin1'), 'Größenwahn', 'likely'],
    ['Latin-1, Spanish', Buffer.from('¿Qué más? Nº 5', 'latin1'), '¿Qué más? Nº 5', 'likely'],
    ['Windows-1252 quotation marks', hex('93 48 69 94 20 96 20 63 61 66 e9'), '“Hi” – café', 'likely'],
    ['Windows-1251: Песня', hex('cf e5 f1 ed ff'), 'Ïåñíÿ', 'doubtful'],
    ['KOI8-R: Песня', hex('f0 c5 d3 ce d1'), 'ðÅÓÎÑ', 'doubtful'],
    ['three letters with marks in a row', Buffer.from('Abc ÄÖÜ', 'latin1'), 'Abc ÄÖÜ', 'doubtful'],
    ['UTF-16 with a dash', Buffer.from('Jóga – ein', 'utf16le'), 'Jóga – ein', 'likely'],
    ['UTF-16 with a mark, big-endian', Buffer.from('\ufeffJóga', 'utf16le').swap16(), 'Jóga', 'known'],
    ['a dash alone, of Windows-1252', hex('97'), '—', 'doubtful'],
    ['UTF-8 cut within a letter of three bytes', Buffer.from('ä夜').subarray(0, -1), 'ä', 'known'],
    ['UTF-8 cut within a letter of four bytes', Buffer.from('ä🎵').subarray(0, -1), 'ä', 'known'],
    ['half of a mark of UTF-16', Buffer.from('þAb c', 'latin1'), 'þAb c', 'likely'],
    ['DOS 437: café', hex('63 61 66 82'), 'caf‚', 'likely'],
    ['DOS 866: Песня', hex('8f a5 e1 ad ef'), '\x8f¥á\xadï', 'doubtful'],
    ['Shift-JIS: サンプル', hex('83 54 83 93 83 76 83 8b'), 'ƒTƒ“ƒvƒ‹', 'doubtful'],
    ['GBK: 爱', hex('b0 ae'), '°®', 'doubtful'],
    ['EUC-KR: 노래', hex('b3 eb b7 a1'), '³ë·¡', 'doubtful'],
    ['UTF-16 without a mark, two letters', hex('41 00 62 00'), 'Ab', 'likely'],
    ['a letter and a zero', hex('41 00'), 'A', 'known'],
    ['control characters, each before a zero', hex('05 00 41 00 42 00'), '\x05\0A\0B', 'known'],
    ['a blank for each second byte', hex('61 20 62 00'), 'a b', 'known'],
    ['nothing but a mark', hex('ff fe'), '', 'known'],
    ['UTF-8 whose last letter has a byte too many', Buffer.from('c3a4e3808080', 'hex'), 'Ã¤ã€€€', 'doubtful'],
    ['plain letters and the lead of one', hex('41 62 c3'), 'AbÃ', 'doubtful'],
    ['letters with a control character and the lead of one', hex('61 7f c3'), 'a\x7fÃ', 'doubtful'],
    ['UTF-8 that a stray byte ends', hex('c3 a4 62 80'), 'Ã¤b€', 'doubtful'],
    ['Latin-1: signs between blanks and figures', latin('né 5¼ 3 · 2 × 4'), 'né 5¼ 3 · 2 × 4', 'likely'],
    ['Latin-1: a raised figure behind a letter', latin('né 20 m² x'), 'né 20 m² x', 'likely'],
    ['Latin-1: a raised figure behind a figure', latin('né 5²x'), 'né 5²x', 'likely'],
    ['a raised figure within a word', latin('x²y é'), 'x²y é', 'doubtful'],
    ['a sign at the end of a word', latin('né x¿'), 'né x¿', 'doubtful'],
    ['a sign at the beginning of a word', latin('né ¼x'), 'né ¼x', 'doubtful'],
    ['two signs in a row', latin('né °° x'), 'né °° x', 'doubtful'],
    ['a capital at the beginning of a word', latin('Le Été'), 'Le Été', 'likely'],
    ['a capital within a word', latin('cafÉ'), 'cafÉ', 'doubtful'],
    ['more letters with marks than plain ones', latin('Öä Äü a'), 'Öä Äü a', 'doubtful'],
    ['as many', latin('Öa Äb'), 'Öa Äb', 'likely'],
    ['Windows-1253: Μουσική', hex('cc ef f5 f3 e9 ea de'), 'ÌïõóéêÞ', 'doubtful'],
  ])('%s', (_, bytes, text, encoding) => {
    expect(decodeUnstated(bytes)).toEqual({ text, encoding })
  })
})

test.each([
  ['ff fe 41 00', 'A'],
  ['fe ff 00 41', 'A'],
  ['ff 01 41 00', '\u01ffA'],
  ['41 fe 41 00', '\ufe41A'],
  ['fe 01 41 00', '\u01feA'],
  ['41 ff 41 00', '\uff41A'],
  ['41 00 42', 'A'],
])('UTF-16, little-endian where no mark says so: %s', (bytes, text) => {
  expect(decodeUtf16(hex(bytes))).toBe(text)
})

test('UTF-16, big-endian unless a mark says otherwise', () => {
  expect(decodeUtf16(hex('00 41'), true)).toBe('A')
  expect(decodeUtf16(hex('ff fe 41 00'), true)).toBe('A')
})

test('a path confirms a text with an underscore for any sign, in letters of any size', () => {
  expect(confirmedBy('AC/DÇ', 'ac_dç')).toBe(true)
  expect(confirmedBy('AC/DÇ', 'AC_D_')).toBe(true)
  expect(confirmedBy('AC/DÇ', 'AC-DÇ')).toBe(false)
})

test('a path confirms a text with as many letters and the same plain ones', () => {
  expect(confirmedBy('Pøíbìh', 'Příběh')).toBe(true)
  expect(confirmedBy('Pøíbìh', 'Příběhy')).toBe(false)
  expect(confirmedBy('Pøíbìh', 'Pribeh')).toBe(false)
  expect(confirmedBy('Motörhead', 'Another')).toBe(false)
})
