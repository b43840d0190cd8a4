import { expect, test } from 'vitest'
import { decodeText, listedNames } from '../../../src/core/listed-names.ts'

const utf16 = (text: string, order: 'le' | 'be') => {
  const bytes = Buffer.from(`\uFEFF${text}`, 'utf16le')
  return order === 'le' ? bytes : bytes.swap16()
}

test.each<[string, Uint8Array, string[]]>([
  ['lines', Buffer.from('a.mp3\nb c.mp3\n'), ['a.mp3', 'b c.mp3']],
  ['without a newline at the end', Buffer.from('a.mp3'), ['a.mp3']],
  ['CRLF, empty lines, comments', Buffer.from('# mine\r\n\r\na.mp3\r\nb.mp3\r\n'), ['a.mp3', 'b.mp3']],
  ['half of a mark, at the beginning', Buffer.from([0xfe, 0x61, 0x0a]), ['\uFFFDa']],
  ['half of a mark, behind it', Buffer.from([0x61, 0xff, 0x0a]), ['a\uFFFD']],
  ['half of the other, at the beginning', Buffer.from([0xff, 0x61, 0x0a]), ['\uFFFDa']],
  ['half of the other, behind it', Buffer.from([0x61, 0xfe, 0x0a]), ['a\uFFFD']],
  ['a byte order mark', Buffer.from('\uFEFFBjörk/Jóga.mp3\n'), ['Björk/Jóga.mp3']],
  ['UTF-16 of PowerShell', utf16('Björk/Jóga.mp3\r\nb.mp3\r\n', 'le'), ['Björk/Jóga.mp3', 'b.mp3']],
  ['UTF-16, big end first', utf16('Björk/Jóga.mp3\r\n', 'be'), ['Björk/Jóga.mp3']],
  [
    'NULs of find -print0: names hold whatever they like',
    Buffer.from('#1.mp3\0two\nlines.mp3\0'),
    ['#1.mp3', 'two\nlines.mp3'],
  ],
  ['spaces are part of a name', Buffer.from(' a .mp3 \n'), [' a .mp3 ']],
  ['nothing', Buffer.from(''), []],
])('%s', (_name, bytes, names) => {
  expect(listedNames(decodeText(bytes))).toEqual(names)
})
