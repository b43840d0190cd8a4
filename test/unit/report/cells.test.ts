import { expect, test } from 'vitest'
import { displayWidth, wrapWords } from '../../../src/report/cells.ts'

test.each<[string, number, string, string]>([
  ['a line that fits', 40, '  short', '  short'],
  ['words', 20, 'one two three four five', 'one two three four\nfive'],
  [
    'as indented as its line',
    30,
    '  one two three four five six seven',
    '  one two three four five six\n  seven',
  ],
  [
    'a row of a table',
    40,
    '  cleanup       find, not remove (--apply), 0 things, 0 B',
    '  cleanup       find, not remove\n      (--apply), 0 things, 0 B',
  ],
  [
    'a row of a table, over several lines',
    34,
    '  status      300 rows, 300 agree, 300 objects, 300 rows with key, 12 of them new',
    '  status      300 rows, 300 agree,\n      300 objects, 300 rows with\n      key, 12 of them new',
  ],
  [
    'a path stays whole',
    30,
    'look at /srv/a/very/long/path/that/does/not/fit.mp3',
    'look at\n/srv/a/very/long/path/that/does/not/fit.mp3',
  ],
])('%s', (_name, columns, text, wrapped) => {
  expect(wrapWords(text, columns)).toBe(wrapped)
})

test('cells: wide characters take two, accents and joiners none', () => {
  expect(displayWidth('東京')).toBe(4)
  expect(displayWidth('e\u0301')).toBe(1)
  expect(displayWidth('👩‍👩‍👧')).toBe(2)
  expect(wrapWords('東京 事変 群青 日和 透明 人間', 12)).toBe('東京 事変\n群青 日和\n透明 人間')
})
