import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fillCommand, fillUrl } from '../../../../src/core/fetch/template.ts'

const track = {
  id: '3f0e',
  spotifyId: 'sp1',
  title: 'Don\'t "Stop" $(rm -rf /)\n',
  artist: 'A&B/..',
  album: null,
}

test('each word on its own; unknown placeholders stay', () => {
  expect(
    fillCommand(['dl', '-o', '{output}', '{artist} - {title}', '{nothing}{album}'], track, '/tmp/x/audio'),
  ).toEqual(['dl', '-o', '/tmp/x/audio', 'A&B/.. - Don\'t "Stop" $(rm -rf /)', '{nothing}'])
})

test('every name in braces has its value, in a command as in a URL', () => {
  const all = { id: 'i', spotifyId: 's', title: 't\t\n ', artist: 'a', album: 'l' }
  const text =
    '{id} {spotify_id} {title} {artist} {album} {query} {output} {} {not-it} {constructor} {__proto__}'
  expect(fillCommand([text], all, '-o')).toEqual(['i s t a l a t -o {} {not-it} {constructor} {__proto__}'])
  expect(fillUrl(text, all)).toBe('i s t a l a%20t {output} {} {not-it} {constructor} {__proto__}')
})

test('hyphens go at the start of a word only, with the blanks behind them; the output stays', () => {
  const sly = { ...track, title: '--- -x-', artist: 'a' }
  expect(fillCommand(['{title}', ' {title}', '{output}'], sly, '-o')).toEqual(['-x-', ' --- -x-', '-o'])
})

test('a value cannot become a flag', () => {
  const sly = { ...track, artist: '--exec=sh', title: '-x' }
  expect(fillCommand(['dl', '{query}', '{title}', 'q={title}'], sly, '/o')).toEqual([
    'dl',
    'exec=sh -x',
    'x',
    'q=-x',
  ])
})

test('a value cannot become a placeholder, nor another part of a URL', () => {
  const sly = { ...track, title: '{output}', artist: '../../x?y#z' }
  expect(fillCommand(['dl', '{title}'], sly, '/o')).toEqual(['dl', '{output}'])
  expect(fillUrl('https://h/{artist}/{title}.mp3', sly)).toBe(
    'https://h/..%2F..%2Fx%3Fy%23z/%7Boutput%7D.mp3',
  )
})

test('whatever the names are: as many words, and the same host', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (title, artist) => {
      const any = { ...track, title, artist }
      const words = fillCommand(['dl', '{query}', '{output}'], any, '/o')
      expect(words).toHaveLength(3)
      expect(words.join('')).not.toMatch(/\p{Cc}/u)
      expect(words[1]?.startsWith('-')).toBe(false)
      const url = new URL(fillUrl('https://host.example/{artist}/x/{title}', any))
      expect(url.host).toBe('host.example')
      expect(url.search + url.hash).toBe('')
    }),
  )
})
