import fc from 'fast-check'
import ignore from 'ignore'
import { expect, test } from 'vitest'
import { pathSelector } from '../../../src/core/path-selector.ts'
import { everything, isSelecting, parseFilterFile, type SelectionRules } from '../../../src/core/selection.ts'

const selects = (rules: Partial<SelectionRules>, path: string) =>
  pathSelector({ ...everything, ...rules })(path)
const filters = (text: string) => {
  const rules = parseFilterFile(text)
  if (!Array.isArray(rules)) throw new Error(`line ${rules.line}`)
  return { filters: rules }
}

test.each<[Partial<SelectionRules>, boolean]>([
  [{}, false],
  [{ include: ['a'] }, true],
  [{ exclude: ['a'] }, true],
  [filters('+ a'), true],
  [{ include: ['a'], exclude: ['b'] }, true],
  [{ include: ['a'], exclude: ['b'], ...filters('+ c\n+ d') }, true],
  [{ artists: ['a'] }, true],
  [{ artists: ['a'], albums: ['b'] }, true],
  [{ albums: ['a'], trackIds: ['b'] }, true],
  [{ trackIds: ['b'] }, true],
])('%j selects something: %j', (rules, expected) => {
  expect(isSelecting({ ...everything, ...rules })).toBe(expected)
})

test.each<[Partial<SelectionRules>, string, boolean]>([
  [{}, 'a/b.mp3', true],
  [{ include: ['Artist/'] }, 'Artist/Album/1.mp3', true],
  [{ include: ['Artist/'] }, 'Artist.mp3', false],
  [{ include: ['/Artist/Album/**'] }, 'Artist/Album/cd 1/1.mp3', true],
  [{ include: ['/Artist/Album/**'] }, 'x/Artist/Album/1.mp3', false],
  [{ include: ['*.flac', '*.wav'] }, 'deep/in/a.wav', true],
  [{ include: ['*.flac'] }, 'a.FLAC', false],
  [{ include: ['Artist/*.mp3'] }, 'Artist/Album/1.mp3', false],
  [{ exclude: ['*.tmp'] }, 'a/b.tmp', false],
  [{ exclude: ['*.tmp'] }, 'a/b.mp3', true],
  [{ include: ['Artist/'], exclude: ['*live*'] }, 'Artist/1 (live).mp3', false],
  // The same name, composed and decomposed.
  [{ include: ['Beyonce\u0301/'] }, 'Beyonc\u00e9/1.mp3', true],
  [{ include: ['Beyonc\u00e9/'] }, 'Beyonce\u0301/1.mp3', true],
  // Names that are no pattern.
  [{ include: ['a#b/'] }, 'a#b/1.mp3', true],
  [{ include: ['\\[live\\]/'] }, '[live]/1.mp3', true],
  [{ include: ['東京/'] }, '東京/1.mp3', true],
  // A path that leads out, or is absolute, is a path like any other.
  [{ include: ['*.mp3'] }, '../elsewhere/1.mp3', true],
  [{ include: ['mnt/'] }, '/mnt/x/1.mp3', true],
  // rclone: the first rule that matches decides.
  [filters('+ /Artist/Album/**\n- *'), 'Artist/Album/1.mp3', true],
  [filters('+ /Artist/Album/**\n- *'), 'Artist/Other/1.mp3', false],
  [filters('- *.jpg\n+ *.mp3\n- *'), 'x/1.mp3', true],
  [filters('- *.jpg\n+ *.mp3\n- *'), 'x/1.wav', false],
  [filters('- a/\n!\n- b/'), 'a/1.mp3', true],
  // .gitignore: the last.
  [filters('*.mp3\n!keep.mp3'), 'x/keep.mp3', true],
  [filters('*.mp3\n!keep.mp3'), 'x/1.mp3', false],
  [filters('# a comment\n\n; another\r\n*.tmp\r\n'), 'x.tmp', false],
])('%j: %s is %s', (rules, path, expected) => {
  expect(selects(rules, path)).toBe(expected)
})

test('a line that is no rule is named', () => {
  expect(parseFilterFile('- a\n+b')).toEqual({ line: 2, text: '+b' })
})

test('nothing given selects everything, and says so', () => {
  expect(isSelecting(everything)).toBe(false)
  expect(isSelecting({ ...everything, listed: [] })).toBe(true)
})

test('as the library itself would, however many paths are asked for', () => {
  const piece = fc.constantFrom(
    'a',
    'b',
    'ab',
    '*',
    '**',
    '?',
    '/',
    '[ab]',
    '\\a',
    '!',
    '#',
    ' ',
    '{a,b}',
    '.',
    'é',
    'é',
  )
  const pattern = fc.array(piece, { minLength: 1, maxLength: 6 }).map(parts => parts.join(''))
  const name = fc.array(fc.constantFrom('a', 'b', 'ab', ' ', '/', '{a,b}', '.', 'é', '!', '#'), {
    minLength: 1,
    maxLength: 8,
  })
  fc.assert(
    fc.property(pattern, name, (glob, parts) => {
      const path = parts
        .join('')
        .replaceAll(/\/{2,}/g, '/')
        .replace(/^(\.?\/)+/, '')
        .replace(/\/$/, '')
      fc.pre(path !== '' && !/(^|\/)\.{1,2}(\/|$)/.test(path))
      const bare = ignore({ ignorecase: false, allowRelativePaths: true }).add(glob.normalize('NFC'))
      const isSelected = pathSelector({ ...everything, include: [glob] })
      expect(isSelected(path)).toBe(bare.ignores(path.normalize('NFC')))
    }),
    { numRuns: 3_000 },
  )
})
