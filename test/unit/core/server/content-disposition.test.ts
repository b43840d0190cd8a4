import fc from 'fast-check'
import { expect, test } from 'vitest'
import { inlineDisposition } from '../../../../src/core/server/content-disposition.ts'

test.each([
  ['Artist - Title', 'flac', 'inline; filename="Artist - Title.flac"'],
  ['a/b\\c"d\r\nX: y', 'mp3', 'inline; filename="a_b_c_d_X_ y.mp3"'],
  ['  A \t', 'mp3', 'inline; filename="A _.mp3"'],
  ['a'.repeat(181), 'mp3', `inline; filename="${'a'.repeat(180)}.mp3"`],
  [' * ', 'mp3', 'inline; filename="_.mp3"'],
  ['   ', 'mp3', 'inline; filename="audio.mp3"'],
  ['', 'ogg', 'inline; filename="audio.ogg"'],
  ['Déjà', 'm4a', `inline; filename="D_j_.m4a"; filename*=UTF-8''D%C3%A9j%C3%A0.m4a`],
  ["100%'()", 'wav', `inline; filename="100_'().wav"; filename*=UTF-8''100%25%27%28%29.wav`],
])('%j', (name, extension, header) => expect(inlineDisposition(name, extension)).toBe(header))

test('a name is cut between characters, never within one', () => {
  const header = inlineDisposition('\u{1f3a7}'.repeat(200), 'mp3')
  const extended = /filename\*=UTF-8''(.+)$/.exec(header)?.[1] ?? ''
  expect(decodeURIComponent(extended)).toBe(`${'\u{1f3a7}'.repeat(180)}.mp3`)
})

test('any name makes a header that Node.js sends, and the extended name decodes to it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), name => {
      const header = inlineDisposition(name, 'mp3')
      expect(header).toMatch(/^[\x20-\x7e]+$/)
      const extended = /filename\*=UTF-8''(.+)$/.exec(header)?.[1]
      if (extended !== undefined) expect(decodeURIComponent(extended)).toMatch(/\.mp3$/)
    }),
  )
})
